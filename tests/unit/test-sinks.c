/* SPDX-License-Identifier: Apache-2.0 */
/* The sinks for programs: the records of the stream and the rows of the table. */
#include "sink-fixture.h"
#include "tree.h"

static void nothing(struct dn_tree_listener *listener, struct dn_process *process, uint64_t t_ns)
{
}

static struct dn_tree_listener listener = {.born = nothing, .exec = nothing, .exited = nothing};

/* The stream */

static void jsonl(bool process_events)
{
	assert_int_equal(dn_sink_jsonl_new(&output, process_events, &sink), 0);
	assert_int_equal(sink->ops->header(sink, &run), 0);
}

static void test_header_unknown(void **state)
{
	want(DN_M_cpu_total_ns, DN_QUALITY_EXACT, "rusage");
	run.command = NULL;
	run.mode = "attach";
	run.n_targets = 0;
	jsonl(false);
	assert_string_equal(written(),
		"{\"kind\":\"header\",\"schema\":1,\"denet\":\"" DENET_VERSION
		"\",\"time\":\"2026-01-02T03:04:05.678901Z\","
		"\"mode\":\"attach\",\"command\":null,\"cwd\":\"/"
		"src\",\"pid\":null,\"targets\":[],\"tier\":\"procfs\","
		"\"interval_ns\":100000000,"
		"\"host\":{\"hostname\":null,\"kernel\":null,\"arch\":null,\"cpu_model\":null,"
		"\"cpus_online\":null,"
		"\"affinity\":null,\"memory_bytes\":null,\"numa_nodes\":null,\"smt\":null,"
		"\"governor\":null,\"thp\":null,"
		"\"virtualization\":null,\"container\":null,\"cgroup\":{\"version\":null,\"path\":"
		"null,"
		"\"memory_max_bytes\":null,\"cpu_quota_ratio\":null,\"pids_max\":null}},"
		"\"privileges\":{\"euid\":1009,\"capabilities\":[],\"perf_event_paranoid\":null,"
		"\"unprivileged_bpf_disabled\":null,\"btf\":false,\"lockdown\":null,\"no_new_"
		"privs\":false,"
		"\"seccomp\":null,\"yama_ptrace_scope\":null},\"backends\":[],"
		"\"metrics\":{\"cpu.total_ns\":{\"source\":\"rusage\",\"quality\":\"exact\"}}}\n");
}

static void test_header_known(void **state)
{
	const char *header;

	machine.cpus_online = 3;
	machine.smt = 0;
	machine.numa_nodes = 1;
	machine.perf_event_paranoid = -1;
	machine.capabilities = UINT64_C(1) << 39 | UINT64_C(1) << 63;
	strcpy(machine.governor, "performance");
	machine.cgroup = (struct dn_cgroup_facts){.version = 2,
		.path = "/a\xff",
		.has_memory_max = true,
		.memory_max_bytes = UINT64_MAX,
		.has_cpu_quota = true,
		.cpu_quota_ratio = 1.5,
		.has_pids_max = true,
		.pids_max = 97};
	run.n_backends = 3;
	run.backend[0] =
		(struct dn_backend_state){.name = "procfs", .fact = DN_FACT_OK, .active = true};
	run.backend[1] = (struct dn_backend_state){.name = "perf", .fact = DN_FACT_OK};
	run.backend[2] = (struct dn_backend_state){
		.name = "ebpf", .fact = DN_FACT_DENIED, .reason = "EPERM", .hint = "setcap"};
	miss(DN_M_hw_cycles, "no PMU", NULL);
	jsonl(false);
	header = written();
	assert_has(header, "\"command\":[\"make\",\"-j2\"]");
	assert_has(header, "\"pid\":4243,\"targets\":[4243]");
	assert_has(header, "\"cpus_online\":3");
	assert_has(header, "\"smt\":false,\"governor\":\"performance\"");
	assert_has(header,
		"\"cgroup\":{\"version\":2,\"path\":\"/a\xef\xbf\xbd\",\"memory_max_bytes\":null,"
		"\"cpu_quota_ratio\":1.5,\"pids_max\":97}");
	assert_has(header, "\"capabilities\":[\"cap_bpf\",\"cap_63\"],\"perf_event_paranoid\":-1");
	assert_has(header, "\"backends\":[{\"name\":\"procfs\",\"state\":\"active\"},{\"name\":"
			   "\"perf\",\"state\":\"idle\"},"
			   "{\"name\":\"ebpf\",\"state\":\"denied\",\"reason\":\"EPERM\",\"hint\":"
			   "\"setcap\"}]");
	assert_has(header, "\"metrics\":{\"hw.cycles\":{\"source\":null,\"quality\":\"missing\","
			   "\"reason\":\"no PMU\"}}");
}

static void test_time(void **state)
{
	static const struct {
		int64_t seconds;
		const char *text;
	} cases[] = {{0, "1970-01-01T00:00:00.000017Z"}, {951782399, "2000-02-28T23:59:59.000017Z"},
		{951782400, "2000-02-29T00:00:00.000017Z"},
		{4107542399, "2100-02-28T23:59:59.000017Z"},
		{4107542400, "2100-03-01T00:00:00.000017Z"},
		{1735689599, "2024-12-31T23:59:59.000017Z"}, {-1, "1969-12-31T23:59:59.000017Z"},
		{253402300799, "9999-12-31T23:59:59.000017Z"}};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		run.time = (struct timespec){cases[i].seconds, 17999};
		jsonl(false);
		assert_has(written(), cases[i].text);
		sink->ops->close(sink);
	}
	sink = NULL;
}

/* Nested by name whatever the order of the rows; missing ones left out; without a value: null. */
static void test_sample(void **state)
{
	int late = dn_metric_add("cpu.late", DN_KIND_COUNTER, DN_UNIT_COUNT, "late", "test");
	int core = dn_metric_add("hw.cycles.core", DN_KIND_COUNTER, DN_UNIT_COUNT, "core", "test");
	int raw = dn_metric_add("hw.a.b.c", DN_KIND_COUNTER, DN_UNIT_COUNT, "raw", "test");

	set(DN_M_cpu_total_ns, UINT64_MAX);
	set(DN_M_hw_cycles, 13);
	set((unsigned)late, 17);
	set((unsigned)core, 0);
	set((unsigned)raw, 19);
	want(DN_M_cpu_usage_percent, DN_QUALITY_SAMPLED, "cpu.total_ns");
	dn_frame_f64(&frame, DN_M_cpu_usage_percent, 173.25);
	want(DN_M_memory_pss_bytes, DN_QUALITY_SAMPLED, "smaps_rollup");
	miss(DN_M_network_rx_bytes, "denied", NULL);
	want(DN_M_pressure_cpu_some_ns, DN_QUALITY_EXACT, "psi");
	set(DN_M_pressure_io_full_ns, 23);
	set(DN_M_pressure_cpu_full_ns, 29);
	jsonl(false);
	written();
	assert_int_equal(sink->ops->sample(sink, &run, &frame, NULL), 0);
	assert_string_equal(written(),
		"{\"kind\":\"sample\",\"seq\":7,\"t_ns\":700000001,\"interval_ns\":100000007,"
		"\"tree\":{"
		"\"cpu\":{\"total_ns\":18446744073709551615,\"usage_percent\":173.25,\"late\":17},"
		"\"memory\":{\"pss_bytes\":null},\"hw\":{\"cycles\":13,\"cycles.core\":0,\"a\":{"
		"\"b\":{\"c\":19}}}},"
		"\"system\":{\"pressure\":{\"cpu\":{\"some_ns\":null,\"full_ns\":29},\"io\":{"
		"\"full_ns\":23}}}}\n");

	/* What fails later stays in the records, without a value. */
	run.metric[DN_M_cpu_total_ns].quality = DN_QUALITY_MISSING;
	memset(frame.value, 0, sizeof(frame.value));
	frame.gap = true;
	assert_int_equal(sink->ops->sample(sink, &run, &frame, NULL), 0);
	assert_has(written(),
		"\"interval_ns\":100000007,\"gap\":true,\"tree\":{\"cpu\":{\"total_ns\":null,");
}

static void test_sample_empty(void **state)
{
	jsonl(false);
	written();
	assert_int_equal(sink->ops->sample(sink, &run, &frame, NULL), 0);
	assert_string_equal(written(),
		"{\"kind\":\"sample\",\"seq\":7,\"t_ns\":700000001,\"interval_ns\":100000007,"
		"\"tree\":{},\"system\":{}}\n");
}

static void test_processes(void **state)
{
	struct dn_tree *tree;
	struct dn_process *process;

	assert_int_equal(dn_tree_new(&listener, &tree), 0);
	dn_tree_begin(tree, 1000);
	dn_tree_add_target(tree, 4243, true);
	dn_tree_exec(tree, 4243, ") R 1 1\n", 8, 1007);
	process = dn_tree_fork(tree, 4253, 4243, 1011, true);
	assert_non_null(process);
	dn_tree_rename(tree, 4253, "\xff\"\xe2\x82", 4);
	want(DN_M_memory_rss_bytes, DN_QUALITY_EXACT, "statm");
	want(DN_M_cpu_migrations, DN_QUALITY_EXACT, "perf");
	want(DN_M_cpu_total_ns, DN_QUALITY_EXACT, "clocks");
	dn_process_u64(process, DN_M_memory_rss_bytes, 4099);
	jsonl(false);
	written();
	assert_int_equal(sink->ops->sample(sink, &run, &frame, tree), 0);
	assert_has_not(written(), "processes");
	run.per_process = true;
	assert_int_equal(sink->ops->sample(sink, &run, &frame, tree), 0);
	assert_has(written(), "\"processes\":["
			      "{\"pid\":4243,\"ppid\":0,\"start_ns\":0,\"name\":\") R 1 1\\n\","
			      "\"cpu\":{\"total_ns\":null},\"memory\":{\"rss_bytes\":null}},"
			      "{\"pid\":4253,\"ppid\":4243,\"start_ns\":11,\"name\":"
			      "\"\xef\xbf\xbd\\\"\xef\xbf\xbd\","
			      "\"name_hex\":\"ff22e282\",\"cpu\":{\"total_ns\":null},\"memory\":{"
			      "\"rss_bytes\":4099}}]}\n");
	dn_tree_free(tree);
}

static void test_events(void **state)
{
	struct dn_process process = {.pid = 4253,
		.ppid = 4243,
		.name = "cc1",
		.exit_known = true,
		.wait_status = 7 << 8};
	struct dn_event event = {.type = DN_EVENT_EXIT, .t_ns = 31, .process = &process};

	jsonl(false);
	written();
	for (int type = DN_EVENT_FORK; type <= DN_EVENT_EXIT; type++) {
		event.type = (enum dn_event_type)type;
		assert_int_equal(sink->ops->event(sink, &run, &event), 0);
	}
	assert_string_equal(written(), "");
	event = (struct dn_event){.type = DN_EVENT_BACKEND_LOST, .t_ns = 37, .text = "perf: EIO"};
	sink->ops->event(sink, &run, &event);
	assert_string_equal(written(), "{\"kind\":\"event\",\"t_ns\":37,\"event\":\"backend_lost\","
				       "\"text\":\"perf: EIO\"}\n");
	sink->ops->close(sink);

	jsonl(true);
	written();
	event = (struct dn_event){.type = DN_EVENT_EXIT, .t_ns = 31, .process = &process};
	sink->ops->event(sink, &run, &event);
	assert_string_equal(written(),
		"{\"kind\":\"event\",\"t_ns\":31,\"event\":\"exit\",\"pid\":4253,\"ppid\":4243,"
		"\"name\":\"cc1\",\"code\":7}\n");
	process.wait_status = 11;
	sink->ops->event(sink, &run, &event);
	assert_has(written(), "\"name\":\"cc1\",\"signal\":11}");
	process.exit_known = false;
	sink->ops->event(sink, &run, &event);
	assert_has(written(), "\"name\":\"cc1\"}");
	event.type = DN_EVENT_FORK;
	process.exit_known = true;
	sink->ops->event(sink, &run, &event);
	assert_has(written(), "\"event\":\"fork\",\"pid\":4253,\"ppid\":4243,\"name\":\"cc1\"}");
	assert_string_equal(dn_event_name(DN_EVENT_TARGET_LOST), "target_lost");
	assert_string_equal(dn_event_name(DN_EVENT_CPUS_CHANGED), "cpus_changed");
	assert_string_equal(dn_event_name(DN_EVENT_BUDGET), "budget");
	assert_string_equal(dn_event_name(DN_EVENT_LIMIT), "limit");
	assert_string_equal(dn_event_name(DN_EVENT_SECURITY), "security");
	assert_string_equal(dn_event_name(DN_EVENT_OOM), "oom");
}

static void test_summary_record(void **state)
{
	static const struct dn_command_total commands[] = {{.name = "cc1",
								   .count = 127,
								   .cpu_ns = 8311,
								   .wall_ns = 9001,
								   .peak_rss_bytes = 4099,
								   .has_cpu = true,
								   .has_rss = true},
		{.name = "\xff", .count = 3, .wall_ns = 5}};
	static const struct dn_process dead = {
		.pid = 4253, .ppid = 4243, .start_ns = 11, .exit_ns = 47, .name = "cc1"};
	static const struct dn_process live = {.pid = 4243, .alive = true, .name = "make"};
	static const struct dn_process *const processes[] = {&dead, &live};
	const char *record;

	set(DN_M_cpu_total_ns, 8311);
	want(DN_M_network_rx_bytes, DN_QUALITY_LOWER_BOUND, "sock_diag");
	jsonl(false);
	written();
	run.metric[DN_M_network_rx_bytes].changed = true;
	run.metric[DN_M_network_rx_bytes].reason = "17 events lost";
	summary = (struct dn_summary){.t_ns = 53,
		.wall_ns = 59,
		.has_exit = true,
		.wait_status = 11 | 0x80,
		.ended_by = "exit",
		.descendants_left = 2,
		.frame = frame,
		.lost_events = 17,
		.lost_samples = 1,
		.self_cpu_ns = 61,
		.self_max_rss_bytes = 67,
		.command = commands,
		.n_commands = 2,
		.commands_other = 71,
		.process = processes,
		.n_processes = 2};
	assert_int_equal(sink->ops->summary(sink, &run, &summary), 0);
	assert_string_equal(written(),
		"{\"kind\":\"summary\",\"seq\":7,\"t_ns\":53,\"wall_ns\":59,\"ended_by\":\"exit\","
		"\"exit\":{\"code\":null,\"signal\":11,\"signal_name\":\"SIGSEGV\",\"core_dumped\":"
		"true},"
		"\"descendants_left\":2,\"tree\":{\"cpu\":{\"total_ns\":8311},\"network\":{\"rx_"
		"bytes\":null}},\"system\":{},"
		"\"commands\":[{\"name\":\"cc1\",\"count\":127,\"cpu_ns\":8311,\"wall_ns\":9001,"
		"\"peak_rss_bytes\":4099},"
		"{\"name\":\"\xef\xbf\xbd\",\"name_hex\":\"ff\",\"count\":3,\"wall_ns\":5}],"
		"\"commands_other\":71,"
		"\"processes\":[{\"pid\":4253,\"ppid\":4243,\"start_ns\":11,\"end_ns\":47,\"name\":"
		"\"cc1\","
		"\"cpu\":{\"total_ns\":null},\"network\":{\"rx_bytes\":null}},"
		"{\"pid\":4243,\"ppid\":0,\"start_ns\":0,\"end_ns\":null,\"name\":\"make\",\"cpu\":"
		"{\"total_ns\":null},"
		"\"network\":{\"rx_bytes\":null}}],"
		"\"metrics\":{\"network.rx_bytes\":{\"source\":\"sock_diag\",\"quality\":\"lower_"
		"bound\","
		"\"reason\":\"17 events lost\"}},"
		"\"lost\":{\"events\":17,\"samples\":1},\"self\":{\"cpu_ns\":61,\"max_rss_bytes\":"
		"67,\"bpf_ns\":null,\"bpf_runs\":null,\"bpf_programs\":null,\"bpf_maps\":null,"
		"\"bpf_map_bytes\":null,\"load_ns\":null,\"attach_ns\":null}}\n");

	summary.wait_status = 3 << 8;
	sink->ops->summary(sink, &run, &summary);
	record = written();
	assert_has(record, "\"exit\":{\"code\":3,\"signal\":null,\"core_dumped\":false}");
	summary.has_exit = false;
	sink->ops->summary(sink, &run, &summary);
	assert_has(written(), "\"exit\":null");
}

static void test_csv(void **state)
{
	set(DN_M_cpu_total_ns, 17);
	want(DN_M_cpu_usage_percent, DN_QUALITY_EXACT, "cpu.total_ns");
	dn_frame_f64(&frame, DN_M_cpu_usage_percent, 12.5);
	want(DN_M_memory_pss_bytes, DN_QUALITY_EXACT, "smaps_rollup");
	miss(DN_M_network_rx_bytes, "denied", NULL);
	set(DN_M_pressure_io_full_ns, 0);
	set((unsigned)dn_metric_add("hw.x=1", DN_KIND_COUNTER, DN_UNIT_COUNT, "x", "test"),
		UINT64_MAX);
	assert_int_equal(dn_sink_csv_new(&output, &sink), 0);
	assert_int_equal(sink->ops->sample(sink, &run, &frame, NULL), -EINVAL);
	assert_int_equal(sink->ops->header(sink, &run), 0);
	assert_string_equal(written(),
		"seq,t_ns,interval_ns,tree.cpu.total_ns,tree.cpu.usage_percent,"
		"tree.memory.pss_bytes,system.pressure.io.full_ns,tree.hw.x=1\n");
	assert_int_equal(sink->ops->sample(sink, &run, &frame, NULL), 0);
	assert_string_equal(written(), "7,700000001,100000007,17,12.5,,0,18446744073709551615\n");
	summary.frame = frame;
	summary.frame.seq = 8;
	assert_int_equal(sink->ops->summary(sink, &run, &summary), 0);
	assert_string_equal(written(), "8,700000001,100000007,17,12.5,,0,18446744073709551615\n");
}

static void test_csv_text(void **state)
{
	static const char *const cases[][2] = {
		{"", ""},
		{"tree.cpu.total_ns", "tree.cpu.total_ns"},
		{"a,b", "\"a,b\""},
		{"a\"b", "\"a\"\"b\""},
		{"a\nb", "\"a\nb\""},
		{"=cmd|' /C'!A0", "\"'=cmd|' /C'!A0\""},
		{"+1", "\"'+1\""},
		{"-1", "\"'-1\""},
		{"@x", "\"'@x\""},
		{"\tx", "\"'\tx\""},
		{"\rx", "\"'\rx\""},
	};
	char out[64];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		size_t len = dn_csv_text(cases[i][0], out, sizeof(out));

		assert_int_equal(len, strlen(cases[i][1]));
		assert_memory_equal(out, cases[i][1], len);
	}
	/* Whatever the room: never more, and still closed. */
	for (size_t size = 0; size < 24; size++) {
		char *exact = malloc(size ? size : 1);
		size_t len = dn_csv_text("=\"\"\"\"\"\"\"\"\"", exact, size);

		assert_true(len <= size);
		assert_true(len == 0 || (exact[0] == '"' && exact[len - 1] == '"'));
		free(exact);
	}
}

static void test_output_fails(void **state)
{
	close(output.fd);
	output.fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	output.told = true;
	set(DN_M_cpu_total_ns, 17);
	assert_int_equal(dn_sink_jsonl_new(&output, true, &sink), 0);
	assert_int_equal(sink->ops->header(sink, &run), -EBADF);
	assert_int_equal(sink->ops->sample(sink, &run, &frame, NULL), -EPIPE);
	assert_int_equal(output.failed, 2);
	sink->ops->close(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		prepared(test_header_unknown),
		prepared(test_header_known),
		prepared(test_time),
		prepared(test_sample),
		prepared(test_sample_empty),
		prepared(test_processes),
		prepared(test_events),
		prepared(test_summary_record),
		prepared(test_csv),
		cmocka_unit_test(test_csv_text),
		prepared(test_output_fails),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

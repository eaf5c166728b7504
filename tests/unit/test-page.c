/* SPDX-License-Identifier: Apache-2.0 */
/* The sinks for people: numbers, the page at the end and the status line. */
#include <denet/table.h>

#include "sink-fixture.h"

static void test_human(void **state)
{
	static const struct {
		const char *(*print)(uint64_t, char *, size_t);
		uint64_t value;
		const char *text;
	} cases[] = {
		{dn_human_duration, 0, "0 ns"},
		{dn_human_duration, 999, "999 ns"},
		{dn_human_duration, 1000, "1.00 us"},
		{dn_human_duration, 31440000, "31.4 ms"},
		{dn_human_duration, 999499999, "999 ms"},
		{dn_human_duration, 999500000, "1.00 s"},
		{dn_human_duration, 2050000000, "2.05 s"},
		{dn_human_duration, 59949999999, "59.9 s"},
		{dn_human_duration, 59950000000, "1 min 00 s"},
		{dn_human_duration, 187 * NS_PER_S, "3 min 07 s"},
		{dn_human_duration, 3599500 * MS, "1 h 00 min"},
		{dn_human_duration, 3720 * NS_PER_S, "1 h 02 min"},
		{dn_human_duration, 86399 * NS_PER_S, "1 d 00 h"},
		{dn_human_duration, UINT64_MAX, "213504 d 00 h"},
		{dn_human_bytes, 0, "0 B"},
		{dn_human_bytes, 1023, "1023 B"},
		{dn_human_bytes, 1024, "1.0 KiB"},
		{dn_human_bytes, 1468006, "1.4 MiB"},
		{dn_human_bytes, 102348, "99.9 KiB"},
		{dn_human_bytes, 102400, "100 KiB"},
		{dn_human_bytes, 1048575, "1.0 MiB"},
		{dn_human_bytes, UINT64_MAX, "16.0 EiB"},
		{dn_human_count, 0, "0"},
		{dn_human_count, 12345, "12,345"},
		{dn_human_count, 1000003, "1,000,003"},
		{dn_human_count, 10000000, "10,000,000"},
		{dn_human_count, 10000001, "10.0 M"},
		{dn_human_count, 999600000, "1.00 G"},
		{dn_human_count, 1234567890, "1.23 G"},
		{dn_human_count, UINT64_MAX, "18.4 E"},
	};
	static const struct {
		double value;
		const char *text;
	} percents[] = {{0, "0.0 %"}, {0.01, "<0.1 %"}, {0.05, "0.1 %"}, {98.44, "98.4 %"},
		{99.96, "100 %"}, {800.4, "800 %"}, {-1, "-"}, {1e300, ">1e12 %"}};
	char out[32], tight[4];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_string_equal(
			cases[i].print(cases[i].value, out, sizeof(out)), cases[i].text);
	for (size_t i = 0; i < sizeof(percents) / sizeof(percents[0]); i++)
		assert_string_equal(
			dn_human_percent(percents[i].value, out, sizeof(out)), percents[i].text);
	assert_string_equal(dn_human_percent(0.0 / 0.0, out, sizeof(out)), "-");
	assert_string_equal(dn_human_count(12345, tight, sizeof(tight)), "12,");
	assert_string_equal(dn_human_signal(11, out, sizeof(out)), "SIGSEGV");
	assert_string_equal(dn_human_signal(SIGRTMIN + 3, out, sizeof(out)), "SIGRTMIN+3");
	assert_string_equal(dn_human_signal(99, out, sizeof(out)), "signal 99");
}

/* The page at the end */

static const char *page(bool color, unsigned columns)
{
	summary.frame = frame;
	assert_int_equal(dn_sink_summary_new(&output, color, columns, &sink), 0);
	assert_int_equal(sink->ops->header(sink, &run), 0);
	assert_int_equal(sink->ops->sample(sink, &run, &frame, NULL), 0);
	assert_int_equal(lseek(output.fd, 0, SEEK_CUR), 0);
	assert_int_equal(sink->ops->summary(sink, &run, &summary), 0);
	sink->ops->close(sink);
	sink = NULL;
	return written();
}

static void assert_fits(const char *shown, unsigned lines, unsigned columns)
{
	unsigned n = 0;

	for (const char *line = shown; *line; n++) {
		size_t len = strcspn(line, "\n");

		if (len > columns)
			fail_msg("%zu columns: %.*s", len, (int)len, line);
		line += len + 1;
	}
	if (n > lines)
		fail_msg("%u lines: %s", n, shown);
}

static void test_page_single(void **state)
{
	const char *shown;

	summary.has_exit = true;
	summary.wall_ns = 2 * NS_PER_S;
	set(DN_M_cpu_total_ns, 1500 * MS);
	set(DN_M_cpu_user_ns, 1400 * MS);
	run.metric[DN_M_cpu_user_ns].quality = DN_QUALITY_SAMPLED;
	set(DN_M_cpu_run_delay_ns, 100 * MS);
	set(DN_M_memory_peak_rss_bytes, 1468006);
	set(DN_M_network_rx_bytes, 0);
	want(DN_M_io_read_bytes, DN_QUALITY_EXACT, "io");
	shown = page(false, 80);
	assert_has(shown, "make -j2: exit 0 after 2.00 s\n");
	assert_has(shown, "1.50 s total 75 %");
	assert_has(shown, "~1.40 s user 70 %");
	assert_has(shown, "100 ms for CPU 5 %");
	assert_has(shown, "1.4 MiB peak process");
	assert_has(shown, "0 B received");
	assert_has(shown, "~ sampled or scaled\n");
	/* What has no value is not there; one process needs no table; nothing is coloured. */
	assert_has_not(shown, "disk");
	assert_has_not(shown, "blocked");
	assert_has_not(shown, "commands");
	assert_has_not(shown, "missing");
	assert_has_not(shown, "lost");
	assert_has_not(shown, "\033");
	assert_has(page(true, 80), "\033[1mmake -j2\033[0m");
}

static void test_page_tree(void **state)
{
	const char *shown;

	summary.has_exit = true;
	summary.wait_status = 11 | 0x80;
	summary.wall_ns = 12 * NS_PER_S;
	summary.descendants_left = 3;
	set(DN_M_cpu_total_ns, 20400 * MS);
	set(DN_M_cpu_blocked_ns, 7900 * MS);
	set(DN_M_process_started, 313);
	set(DN_M_network_rx_bytes, 1009);
	run.metric[DN_M_network_rx_bytes].quality = DN_QUALITY_LOWER_BOUND;
	set(DN_M_hw_cycles, 1000003);
	set(DN_M_hw_instructions, 1700005);
	set(DN_M_hw_branches, 1000);
	set(DN_M_hw_branch_misses, 21);
	shown = page(false, 80);
	assert_has(shown, "make -j2: killed by SIGSEGV, core dumped, after 12.0 s\n");
	assert_has(shown, "20.4 s = 1.70 CPUs\n");
	assert_has(shown, "7.90 s blocked\n");
	assert_has(shown, "313 started");
	assert_has(shown, "3 descendants live on\n");
	assert_has(shown, ">=1009 B received");
	assert_has(shown, ">= at least");
	assert_has(shown, "1.70 per cycle");
	assert_has(shown, "2.1 % of branches");
	summary.descendants_left = 1;
	assert_has(page(false, 80), "1 descendant lives on\n");
}

static void test_page_ends(void **state)
{
	summary.wall_ns = 5 * NS_PER_S;
	summary.ended_by = "duration";
	assert_has(page(false, 80), "make -j2: measured for 5.00 s, still running\n");
	summary.ended_by = "target";
	run.command = NULL;
	assert_has(page(false, 80), "pid 4243: ended, measured for 5.00 s\n");
	summary.has_exit = true;
	summary.wait_status = 97 << 8;
	assert_has(page(false, 80), "exit 97 after 5.00 s\n");
}

static void test_page_missing(void **state)
{
	const char *shown;

	summary.has_exit = true;
	for (unsigned id = DN_M_hw_cycles; id <= DN_M_hw_branch_misses; id++)
		miss(id, "no PMU", "enable the virtual PMU");
	miss(DN_M_cpu_blocked_ns, "denied", "setcap cap_perfmon+ep /usr/bin/denet");
	miss(DN_M_network_rx_bytes, "denied", NULL);
	miss(DN_M_network_tx_bytes, "denied", NULL);
	want(DN_M_network_sockets, DN_QUALITY_EXACT, "sock_diag");
	summary.lost_events = 17;
	shown = page(false, 90);
	assert_has(shown, "missing   9 metrics: cpu.blocked_ns, 2 of network.*, hw.*; denet doctor "
			  "tells more\n");
	assert_has(shown, "            for 6 of them: enable the virtual PMU\n");
	assert_has(shown, "lost      17 events, 0 samples\n");
	assert_has_not(shown, "setcap");
}

/* All that there is, with hostile names, in a screen. */
static void test_page_full(void **state)
{
	static const struct dn_command_total commands[] = {{.name = "\033[31mred\xff",
								   .count = 1234567,
								   .cpu_ns = UINT64_MAX,
								   .has_cpu = true},
		{.name = "0123456789012345678901234567890123456789012345678901234567890",
			.count = 3},
		{.name = "c", .count = 1}, {.name = "d", .count = 1}, {.name = "e", .count = 1},
		{.name = "f", .count = 1}};
	static char argument[300001];
	char *command[] = {"a\nb\033]0;x\007", argument, NULL};
	char name[32];
	const char *shown;

	memset(argument, 'w', sizeof(argument) - 1);
	run.command = command;
	for (unsigned i = 0; i < 11; i++) {
		snprintf(name, sizeof(name), "hw.event_%u", i);
		assert_true(
			dn_metric_add(name, DN_KIND_COUNTER, DN_UNIT_COUNT, "event", "test") >= 0);
	}
	for (unsigned id = 0; id < dn_metric_count(); id++) {
		const struct dn_probes_info *probes =
			dn_probes_info(dn_metric_group(dn_metric_info(id)));

		if ((probes && !probes->on) || dn_metric_info(id)->kind > DN_KIND_GAUGE)
			continue;
		set(id, 7654321);
		run.metric[id].quality = id % 2 ? DN_QUALITY_SCALED : DN_QUALITY_LOWER_BOUND;
	}
	for (unsigned id = DN_M_hw_llc_loads; id <= DN_M_hw_dtlb_misses; id++)
		miss(id, "no such event",
			"a hint that is so long that one line of eighty columns is too short to "
			"hold it");
	summary.has_exit = true;
	summary.wait_status = 11;
	summary.wall_ns = 3 * NS_PER_S;
	summary.descendants_left = 1234567;
	summary.lost_events = 1;
	summary.command = commands;
	summary.n_commands = 6;
	shown = page(false, 80);
	assert_fits(shown, 24, 80);
	assert_has(shown, "a?b?]0;x? www");
	assert_has(shown, "...: killed by SIGSEGV after 3.00 s\n");
	assert_has(shown, "and 8 more in the stream\n");
	assert_has(shown, "~ sampled or scaled, >= at least");
	assert_has_not(shown, "\033");
	assert_fits(page(false, 120), 24, 120);
	assert_fits(page(false, 0), 24, 100);
	assert_fits(page(false, 1), 60, 60);
	assert_has(page(true, 80), "\033[0m");

	/* Room for the commands when the rest is short. */
	memset(&frame.value, 0, sizeof(frame.value));
	shown = page(false, 80);
	assert_fits(shown, 24, 80);
	assert_has(shown, "1,234,567 x ?[31mred?\n");
	assert_has(shown, "- cpu");
	assert_has(shown, "x e\n");
	assert_has_not(shown, "x f\n");
}

/* What is traced is told by its largest parts; what nobody traced takes no place. */
static void test_page_traced(void **state)
{
	static const char *const names[] = {"count", "errors", "time_ns", "latency"};
	static const char *const paths[] = {"count", "read_bytes", "write_bytes"};
	static struct dn_table_row row[7], file[2];
	static struct dn_histogram histogram;
	struct dn_table calls = {.column = names, .n_columns = 4, .row = row, .n_rows = 7},
			files = {.column = paths, .n_columns = 3, .row = file, .n_rows = 2};
	static const char *const keys[] = {
		"read", "a\033[2Jb\nc", "write", "\xff", "futex", "x6", "x7"};
	const char *shown;

	memset(&histogram, 0, sizeof(histogram));
	dn_histogram_add(&histogram, 1009, 97);
	dn_histogram_add(&histogram, 100003, 3);
	for (unsigned i = 0; i < 7; i++) {
		row[i] = (struct dn_table_row){.key = keys[i]};
		row[i].value[0] = (struct dn_value){.type = DN_VALUE_U64, .u64 = 10007 - i};
		row[i].value[1] = (struct dn_value){.type = DN_VALUE_U64, .u64 = i};
	}
	file[0].key = "/etc/passwd";
	file[0].value[1] = (struct dn_value){.type = DN_VALUE_U64, .u64 = 1468006};
	file[1].key = "/x";
	summary.has_exit = true;
	summary.wall_ns = 2 * NS_PER_S;
	set(DN_M_syscall_count, 104729);
	set(DN_M_syscall_errors, 17);
	set(DN_M_sched_blocked_futex_ns, 1500 * MS);
	set(DN_M_sched_blocked_disk_ns, 0);
	want(DN_M_syscall_by_name, DN_QUALITY_LOWER_BOUND, "sys_exit");
	dn_frame_table(&frame, DN_M_syscall_by_name, &calls);
	shown = page(false, 80);
	assert_has(shown, "  syscalls     104,729 calls               17 failed\n");
	assert_has(shown, "              >=10,007 x        >=0 failed  read\n");
	assert_has(shown, "              >=10,006 x        >=1 failed  a?[2Jb?c\n");
	assert_has(shown, "write\n");
	assert_has(shown, "1.50 s futex\n");
	assert_has_not(shown, "disk");
	assert_has_not(shown, "?\n");
	assert_has_not(shown, "latency");
	assert_has_not(shown, "eBPF");
	assert_fits(shown, 24, 80);

	/* Groups that were switched on. */
	set(DN_M_syscall_time_ns, 700 * MS);
	set(DN_M_file_read_bytes, 2936012);
	set(DN_M_file_write_bytes, 0);
	want(DN_M_syscall_latency, DN_QUALITY_EXACT, "sys_exit");
	dn_frame_histogram(&frame, DN_M_syscall_latency, &histogram);
	want(DN_M_file_by_path, DN_QUALITY_EXACT, "sys_exit");
	dn_frame_table(&frame, DN_M_file_by_path, &files);
	row[0].value[2] = (struct dn_value){.type = DN_VALUE_U64, .u64 = 503 * MS};
	summary.cost = (struct dn_cost){.has_bpf = true,
		.bpf_programs = 13,
		.bpf_map_bytes = 1468006,
		.load_ns = 30 * MS,
		.attach_ns = 7 * MS};
	shown = page(false, 80);
	assert_has(shown, ">=0 failed   >=503 ms  read\n");
	assert_has(shown, ">=1 failed          -  a?[2Jb?c\n");
	assert_has(shown, "futex\n");
	assert_has_not(shown, "x6");
	assert_has(shown, "  latency   syscall.latency            p50  1.02 us  p99   100 us  max  "
			  " 100 us\n");
	assert_has(shown, "  file         2.8 MiB read\n");
	assert_has(shown,
		"  files        1.4 MiB read  /etc/passwd\n                     - read  /x\n");
	assert_has(shown, "            eBPF: 13 programs, 1.4 MiB of maps, 37.0 ms to set up\n");
	assert_has_not(shown, "ran");
	summary.cost.has_bpf_ns = true;
	summary.cost.bpf_ns = 11 * MS;
	summary.cost.bpf_runs = 104729;
	summary.cost.bystander_runs = 1009;
	shown = page(false, 80);
	assert_has(shown,
		"37.0 ms to set up\n            they ran 11.0 ms in 104,729 runs, 1,009 of "
		"these in bystanders\n");
	assert_fits(page(false, 1), 60, 60);
}

static void test_live(void **state)
{
	struct dn_event event = {.type = DN_EVENT_FORK};
	const char *shown;

	set(DN_M_memory_rss_bytes, 1468006);
	set(DN_M_process_count, 3);
	set(DN_M_io_write_chars, 1000);
	frame.t_ns = 100 * MS;
	assert_int_equal(dn_sink_live_new(&output, false, 40, &sink), 0);
	assert_int_equal(sink->ops->event(sink, &run, &event), 0);
	event.type = DN_EVENT_GAP;
	assert_int_equal(sink->ops->event(sink, &run, &event), 0);
	assert_string_equal(written(), "");
	assert_int_equal(sink->ops->sample(sink, &run, &frame, NULL), 0);
	assert_string_equal(written(), "\r100 ms  rss 1.4 MiB  procs 3\033[K");

	/* At most ten a second: of 100 samples 10 ms apart a tenth is shown. */
	for (unsigned i = 0; i < 100; i++) {
		frame.t_ns += 10 * MS;
		dn_frame_u64(
			&frame, DN_M_io_write_chars, frame.value[DN_M_io_write_chars].u64 + 20480);
		assert_int_equal(sink->ops->sample(sink, &run, &frame, NULL), 0);
	}
	shown = written();
	unsigned n = 0;
	for (const char *p = shown; (p = strchr(p, '\r')); p++)
		n++;
	assert_in_range(n, 9, 11);
	assert_has(shown, "1.10 s  rss 1.4 MiB  procs 3  io w 2...\033[K");

	event.type = DN_EVENT_EXEC;
	sink->ops->event(sink, &run, &event);
	assert_string_equal(written(), "");
	event.type = DN_EVENT_BACKEND_LOST;
	sink->ops->event(sink, &run, &event);
	assert_string_equal(written(), "\r\033[K");
	sink->ops->summary(sink, &run, &summary);
	assert_string_equal(written(), "");
	frame.t_ns += NS_PER_S;
	sink->ops->sample(sink, &run, &frame, NULL);
	written();
	sink->ops->close(sink);
	sink = NULL;
	assert_string_equal(written(), "\r\033[K");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_human),
		prepared(test_page_single),
		prepared(test_page_tree),
		prepared(test_page_ends),
		prepared(test_page_missing),
		prepared(test_page_full),
		prepared(test_page_traced),
		prepared(test_live),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

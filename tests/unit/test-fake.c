/* SPDX-License-Identifier: Apache-2.0 */
/* The fake backend: what a script says is what happens, and a bad script names its line. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <denet/arena.h>
#include <denet/backend.h>
#include <denet/table.h>

#include "tree.h"

extern const struct dn_backend_ops dn_backend_fake;

#define TARGET 4241

static unsigned n_degraded;
static unsigned degraded_metric;
static enum dn_quality degraded_quality;
static char degraded_reason[64];
static uint64_t n_lost;

static void on_degrade(
	struct dn_core *core, unsigned metric, enum dn_quality quality, const char *reason)
{
	n_degraded++;
	degraded_metric = metric;
	degraded_quality = quality;
	snprintf(degraded_reason, sizeof(degraded_reason), "%s", reason);
}

static void on_lost(struct dn_core *core, const char *source, uint64_t n)
{
	n_lost += n;
}

struct rig {
	char path[64];
	struct dn_env env;
	struct dn_probe probe;
	struct dn_backend *backend;
	struct dn_tree_listener listener;
	struct dn_core core;
	struct dn_frame frame;
};

static void ignore(struct dn_tree_listener *listener, struct dn_process *process, uint64_t t_ns)
{
}

static int setup(void **state)
{
	struct rig *rig = calloc(1, sizeof(*rig));

	assert_non_null(rig);
	n_degraded = 0;
	n_lost = 0;
	rig->env.proc_fd = rig->env.sys_fd = -1;
	rig->probe.arena = dn_arena_new();
	assert_non_null(rig->probe.arena);
	for (unsigned i = 0; i < DN_METRIC_MAX; i++) {
		rig->probe.offer[i].fact = DN_FACT_UNTRIED;
		dn_metric_set_add(&rig->env.wanted, i);
	}
	rig->listener = (struct dn_tree_listener){ignore, ignore, ignore};
	assert_int_equal(dn_tree_new(&rig->listener, &rig->core.tree), 0);
	assert_non_null(dn_tree_add_target(rig->core.tree, TARGET, true));
	dn_tree_begin(rig->core.tree, 1);
	rig->core.degrade = on_degrade;
	rig->core.lost = on_lost;
	*state = rig;
	return 0;
}

static int teardown(void **state)
{
	struct rig *rig = *state;

	dn_backend_fake.close(rig->backend);
	dn_tree_free(rig->core.tree);
	dn_arena_free(rig->probe.arena);
	if (rig->path[0])
		unlink(rig->path);
	free(rig);
	return 0;
}

static int probe_bytes(struct rig *rig, const char *bytes, size_t len)
{
	int fd;

	strcpy(rig->path, "/tmp/denet-fake-XXXXXX");
	fd = mkstemp(rig->path);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, len), (ssize_t)len);
	close(fd);
	rig->env.script = rig->path;
	return dn_backend_fake.probe(&rig->env, &rig->probe, &rig->backend);
}

static int probe(struct rig *rig, const char *script)
{
	return probe_bytes(rig, script, strlen(script));
}

/* What was offered is assigned. */
static int open_all(struct rig *rig)
{
	struct dn_metric_set assigned = {0};

	for (unsigned i = 0; i < DN_METRIC_MAX; i++) {
		if (rig->probe.offer[i].fact == DN_FACT_OK)
			dn_metric_set_add(&assigned, i);
	}
	return dn_backend_fake.open(rig->backend, &assigned, &rig->core);
}

static int tick(struct rig *rig, uint64_t seq)
{
	memset(&rig->frame, 0, sizeof(rig->frame));
	rig->frame.seq = seq;
	dn_backend_fake.drain(rig->backend);
	return dn_backend_fake.sample(rig->backend, &rig->frame);
}

static void without_a_script_every_metric_has_a_value_of_its_own(void **state)
{
	struct rig *rig = *state;

	assert_int_equal(dn_backend_fake.probe(&rig->env, &rig->probe, &rig->backend), 0);
	assert_int_equal(rig->probe.fact, DN_FACT_OK);
	assert_int_equal(open_all(rig), 0);
	assert_int_equal(tick(rig, 7), 0);
	for (unsigned id = 0; id < DN_M_STATIC_N; id++) {
		const struct dn_metric_info *info = dn_metric_info(id);
		bool from_table = id == DN_M_process_count || id == DN_M_process_started ||
				  id == DN_M_process_exited;

		if (info->flags & DN_FLAG_DERIVED) {
			assert_int_equal(rig->probe.offer[id].fact, DN_FACT_UNTRIED);
			continue;
		}
		/* Invented values say so. */
		assert_int_equal(rig->probe.offer[id].fact, DN_FACT_OK);
		assert_int_equal(rig->probe.offer[id].quality, DN_QUALITY_SIMULATED);
		assert_int_equal(dn_frame_has(&rig->frame, id), !from_table);
		if (from_table)
			continue;
		if (info->kind == DN_KIND_HISTOGRAM) {
			assert_true(rig->frame.value[id].histogram->count == 7);
			continue;
		}
		if (info->kind == DN_KIND_TABLE) {
			assert_int_equal(rig->frame.value[id].table->n_rows, 2);
			assert_int_equal(rig->frame.value[id].table->row[0].value[0].u64, 14);
			continue;
		}
		if (info->unit == DN_UNIT_RATIO) {
			assert_true(rig->frame.value[id].f64 > 0 && rig->frame.value[id].f64 < 1);
			continue;
		}
		assert_int_equal(rig->frame.value[id].u64 % 7, 0);
		for (unsigned other = 0; other < id; other++)
			assert_true(rig->frame.value[other].type != DN_VALUE_U64 ||
				    rig->frame.value[other].u64 != rig->frame.value[id].u64);
	}
	assert_int_equal(rig->frame.value[DN_M_cpu_total_ns].u64, 7 * 101);
	assert_int_equal(
		dn_tree_find(rig->core.tree, TARGET)->value[dn_process_slot(DN_M_cpu_total_ns)].u64,
		7 * 101);
}

static void a_script_offers_and_refuses(void **state)
{
	struct rig *rig = *state;

	dn_metric_set_del(&rig->env.wanted, DN_M_io_read_bytes);
	assert_int_equal(
		probe(rig, "# a comment\n"
			   "offer cpu.total_ns exact \"fake \\x41\\\"\\\\ source\"\n"
			   "\toffer memory.rss_bytes sampled statm \"at moments\" # only\r\n"
			   "refuse hw.cycles unsupported \"no PMU\" \"buy one\"\n"
			   "refuse hw.instructions denied \"not for us\"\n"
			   "offer io.read_bytes exact io"),
		0);
	assert_int_equal(rig->probe.fact, DN_FACT_OK);
	assert_int_equal(rig->probe.offer[DN_M_cpu_total_ns].fact, DN_FACT_OK);
	assert_string_equal(rig->probe.offer[DN_M_cpu_total_ns].source, "fake A\"\\ source");
	assert_int_equal(rig->probe.offer[DN_M_memory_rss_bytes].quality, DN_QUALITY_SAMPLED);
	assert_string_equal(rig->probe.offer[DN_M_memory_rss_bytes].reason, "at moments");
	assert_int_equal(rig->probe.offer[DN_M_hw_cycles].fact, DN_FACT_UNSUPPORTED);
	assert_string_equal(rig->probe.offer[DN_M_hw_cycles].hint, "buy one");
	assert_int_equal(rig->probe.offer[DN_M_hw_instructions].fact, DN_FACT_DENIED);
	assert_null(rig->probe.offer[DN_M_hw_instructions].hint);
	/* Not wanted, so not offered; not mentioned, so not tried. */
	assert_int_equal(rig->probe.offer[DN_M_io_read_bytes].fact, DN_FACT_UNTRIED);
	assert_int_equal(rig->probe.offer[DN_M_hw_branches].fact, DN_FACT_UNTRIED);
}

static void a_refused_backend_refuses_what_it_does_not_offer(void **state)
{
	struct rig *rig = *state;

	assert_int_equal(
		probe(rig, "offer cpu.user_ns sampled x y\nprobe denied \"no\" \"ask\"\n"), 0);
	assert_int_equal(rig->probe.fact, DN_FACT_DENIED);
	assert_string_equal(rig->probe.hint, "ask");
	assert_int_equal(rig->probe.offer[DN_M_cpu_user_ns].fact, DN_FACT_OK);
	assert_int_equal(rig->probe.offer[DN_M_cpu_total_ns].fact, DN_FACT_DENIED);
	assert_int_equal(rig->probe.offer[DN_M_hw_ipc].fact, DN_FACT_UNTRIED);
}

static void ticks_have_their_values_and_the_last_one_stays(void **state)
{
	struct rig *rig = *state;

	assert_int_equal(probe(rig, "offer cpu.total_ns exact x\noffer hw.running_ratio exact x\n"
				    "sample 1 cpu.total_ns=1009\n"
				    "sample 3 cpu.total_ns=18446744073709551615 "
				    "hw.running_ratio=0.25 memory.rss_bytes=4096\n"),
		0);
	assert_int_equal(open_all(rig), 0);
	assert_int_equal(tick(rig, 1), 0);
	assert_int_equal(rig->frame.value[DN_M_cpu_total_ns].u64, 1009);
	assert_false(dn_frame_has(&rig->frame, DN_M_hw_running_ratio));
	assert_int_equal(tick(rig, 2), 0);
	assert_false(dn_frame_has(&rig->frame, DN_M_cpu_total_ns));
	for (uint64_t seq = 3; seq < 6; seq++) {
		assert_int_equal(tick(rig, seq), 0);
		assert_int_equal(rig->frame.value[DN_M_cpu_total_ns].u64, UINT64_MAX);
		assert_true(rig->frame.value[DN_M_hw_running_ratio].f64 == 0.25);
		/* Not assigned. */
		assert_false(dn_frame_has(&rig->frame, DN_M_memory_rss_bytes));
	}
}

static void failures_come_when_they_are_written(void **state)
{
	struct rig *rig = *state;

	assert_int_equal(probe(rig, "offer io.read_bytes exact x\nsample 1 io.read_bytes=3\n"
				    "degrade 2 io.read_bytes lower_bound \"lost it\"\nlost 2 "
				    "17\nsample-error 3 EIO\n"),
		0);
	assert_int_equal(open_all(rig), 0);
	assert_int_equal(tick(rig, 1), 0);
	assert_int_equal(n_degraded, 0);
	assert_int_equal(tick(rig, 2), 0);
	assert_int_equal(n_degraded, 1);
	assert_int_equal(degraded_metric, DN_M_io_read_bytes);
	assert_int_equal(degraded_quality, DN_QUALITY_LOWER_BOUND);
	assert_string_equal(degraded_reason, "lost it");
	assert_int_equal(n_lost, 17);
	assert_int_equal(tick(rig, 3), -EIO);
	assert_int_equal(tick(rig, 4), 0);
	assert_int_equal(n_lost, 17);
}

static void open_fails_as_written(void **state)
{
	struct rig *rig = *state;

	assert_int_equal(probe(rig, "offer cpu.total_ns exact x\nopen-error EMFILE\n"), 0);
	assert_int_equal(open_all(rig), -EMFILE);
}

static void processes_live_and_die(void **state)
{
	struct rig *rig = *state;
	struct dn_process *child;

	assert_int_equal(
		probe(rig,
			"offer process.started exact x\noffer cpu.total_ns exact x\n"
			"fork 1 99991 root \"a\\nb\"\nfork 2 99989 99991 sub\nexec 2 99991 other\n"
			"process 2 99991 cpu.total_ns=31\nprocess 2 root cpu.total_ns=37\nexit 3 "
			"99989\n"),
		0);
	assert_int_equal(open_all(rig), 0);
	assert_int_equal(tick(rig, 1), 0);
	child = dn_tree_find(rig->core.tree, 99991);
	assert_non_null(child);
	assert_string_equal(child->name, "a\nb");
	assert_int_equal(child->ppid, TARGET);
	assert_null(dn_tree_find(rig->core.tree, 99989));
	assert_int_equal(tick(rig, 2), 0);
	assert_string_equal(dn_tree_find(rig->core.tree, 99991)->name, "other");
	assert_int_equal(dn_tree_find(rig->core.tree, 99989)->ppid, 99991);
	assert_int_equal(child->value[dn_process_slot(DN_M_cpu_total_ns)].u64, 31);
	assert_int_equal(
		dn_tree_find(rig->core.tree, TARGET)->value[dn_process_slot(DN_M_cpu_total_ns)].u64,
		37);
	assert_int_equal(dn_tree_started(rig->core.tree), 3);
	assert_int_equal(tick(rig, 3), 0);
	assert_null(dn_tree_find(rig->core.tree, 99989));
	assert_int_equal(dn_tree_exited(rig->core.tree), 1);
	assert_int_equal(tick(rig, 4), 0);
	assert_int_equal(dn_tree_started(rig->core.tree), 3);
}

static void a_bad_script_names_its_line(void **state)
{
	static const struct {
		const char *script, *where;
	} cases[] = {
		{"\n\nnonsense 1\n", "line 3: "},
		{"offer cpu.totally_ns exact x", "line 1: unknown metric: cpu.totally_ns"},
		{"offer hw.ipc exact x", "line 1: nobody supplies"},
		{"offer cpu.total_ns perfect x", "line 1: unknown quality"},
		{"offer cpu.total_ns missing x", "line 1: what is missing"},
		{"offer cpu.total_ns exact", "line 1: this is missing: SOURCE"},
		{"offer cpu.total_ns exact x y z", "line 1: nothing may follow: z"},
		{"#\nrefuse cpu.total_ns ok x", "line 2: not one of"},
		{"sample 0 cpu.total_ns=1", "line 1: not a number in range: 0"},
		{"sample -1 cpu.total_ns=1", "line 1: not a number"},
		{"sample 1 cpu.total_ns=1.5", "line 1: not a value"},
		{"sample 1 cpu.total_ns=18446744073709551616", "line 1: not a value"},
		{"sample 1 cpu.total_ns", "line 1: not METRIC=VALUE"},
		{"sample 1 process.count=2", "line 1: this comes from the process table"},
		{"process 1 7 hw.l1d_loads=2", "line 1: this is not measured per process"},
		{"sample-error 1 EWHAT", "line 1: unknown error"},
		{"lost 1 many", "line 1: not a number"},
		{"fork 1 root root x", "line 1: the root is there already"},
		{"fork 1 2147483648 root x", "line 1: not a process id"},
		{"exit 1 0", "line 1: not a process id"},
		{"offer cpu.total_ns exact \"open", "line 1: a quote is not closed"},
		{"offer cpu.total_ns exact \"\\q\"", "line 1: an escape"},
		{"offer cpu.total_ns exact \"\\x00\"", "line 1: an escape"},
		{"offer cpu.total_ns exact \"\\x4", "line 1: an escape"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct rig *rig;

		assert_int_equal(setup((void **)&rig), 0);
		assert_int_equal(probe(rig, cases[i].script), -EINVAL);
		assert_int_equal(rig->probe.fact, DN_FACT_BROKEN);
		assert_non_null(rig->probe.reason);
		if (!strstr(rig->probe.reason, cases[i].where))
			fail_msg("'%s' gave '%s'", cases[i].script, rig->probe.reason);
		teardown((void **)&rig);
	}
}

static void odd_scripts_are_refused(void **state)
{
	struct rig *rig = *state;
	char long_word[600], nul[] = "offer cpu.total_ns exact a\0b";

	memset(long_word, 'x', sizeof(long_word));
	assert_int_equal(probe_bytes(rig, long_word, sizeof(long_word)), -EINVAL);
	assert_non_null(strstr(rig->probe.reason, "a word is too long"));
	dn_backend_fake.close(rig->backend);
	unlink(rig->path);
	assert_int_equal(probe_bytes(rig, nul, sizeof(nul) - 1), -EINVAL);
	assert_non_null(strstr(rig->probe.reason, "a NUL byte"));
	dn_backend_fake.close(rig->backend);
	unlink(rig->path);
	rig->env.script = rig->path;
	assert_int_equal(dn_backend_fake.probe(&rig->env, &rig->probe, &rig->backend), -EINVAL);
	assert_non_null(strstr(rig->probe.reason, "No such file"));
	dn_backend_fake.close(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			without_a_script_every_metric_has_a_value_of_its_own, setup, teardown),
		cmocka_unit_test_setup_teardown(a_script_offers_and_refuses, setup, teardown),
		cmocka_unit_test_setup_teardown(
			a_refused_backend_refuses_what_it_does_not_offer, setup, teardown),
		cmocka_unit_test_setup_teardown(
			ticks_have_their_values_and_the_last_one_stays, setup, teardown),
		cmocka_unit_test_setup_teardown(
			failures_come_when_they_are_written, setup, teardown),
		cmocka_unit_test_setup_teardown(open_fails_as_written, setup, teardown),
		cmocka_unit_test_setup_teardown(processes_live_and_die, setup, teardown),
		cmocka_unit_test(a_bad_script_names_its_line),
		cmocka_unit_test_setup_teardown(odd_scripts_are_refused, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

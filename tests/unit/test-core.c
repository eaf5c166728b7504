/* SPDX-License-Identifier: Apache-2.0 */
/* The core's pure parts: plan, derivation, process table, sampling interval. Backends are invented.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <denet/cpu-split.h>

#include "derive.h"
#include "plan.h"
#include "sampler.h"
#include "top.h"
#include "tree.h"

static const struct dn_backend_ops low = {.name = "low", .tier = "procfs"};
static const struct dn_backend_ops high = {.name = "high", .tier = "perf"};

static struct dn_plan plan;
static struct dn_metric_set wanted;

static int invented_machine(void **state)
{
	memset(&plan, 0, sizeof(plan));
	memset(&wanted, 0, sizeof(wanted));
	plan.n_backends = 2;
	plan.backend[0].ops = &low;
	plan.backend[1].ops = &high;
	for (unsigned i = 0; i < 2; i++) {
		for (unsigned m = 0; m < DN_METRIC_MAX; m++)
			plan.backend[i].probe.offer[m].fact = DN_FACT_UNTRIED;
	}
	for (unsigned m = 0; m < DN_M_STATIC_N; m++)
		dn_metric_set_add(&wanted, m);
	return 0;
}

static void offer(unsigned backend, unsigned metric, enum dn_quality quality, const char *source)
{
	dn_probe_offer(&plan.backend[backend].probe, metric, quality, source, NULL);
}

static void the_best_quality_wins_per_metric(void **state)
{
	offer(0, DN_M_io_read_bytes, DN_QUALITY_EXACT, "low");
	offer(1, DN_M_io_read_bytes, DN_QUALITY_SAMPLED, "high");
	offer(0, DN_M_cpu_total_ns, DN_QUALITY_LOWER_BOUND, "low");
	offer(1, DN_M_cpu_total_ns, DN_QUALITY_EXACT, "high");
	dn_plan_make(&plan, &wanted);
	assert_int_equal(plan.supplier[DN_M_io_read_bytes], 0);
	assert_int_equal(plan.supplier[DN_M_cpu_total_ns], 1);
	assert_true(dn_metric_set_has(&plan.backend[1].assigned, DN_M_cpu_total_ns));
	assert_false(dn_metric_set_has(&plan.backend[0].assigned, DN_M_cpu_total_ns));
	assert_string_equal(plan.metric[DN_M_cpu_total_ns].source, "high");
	assert_string_equal(plan.tier, "perf");
}

static void equal_offers_go_to_the_higher_tier(void **state)
{
	offer(0, DN_M_memory_minor_faults, DN_QUALITY_EXACT, "low");
	offer(1, DN_M_memory_minor_faults, DN_QUALITY_EXACT, "high");
	dn_plan_make(&plan, &wanted);
	assert_int_equal(plan.supplier[DN_M_memory_minor_faults], 1);
}

static void what_is_not_wanted_is_not_assigned(void **state)
{
	offer(0, DN_M_io_read_bytes, DN_QUALITY_EXACT, "low");
	dn_metric_set_del(&wanted, DN_M_io_read_bytes);
	dn_plan_make(&plan, &wanted);
	assert_int_equal(plan.supplier[DN_M_io_read_bytes], -1);
	assert_false(plan.metric[DN_M_io_read_bytes].wanted);
	assert_false(plan.backend[0].active);
	assert_string_equal(plan.tier, "none");
}

static void not_allowed_explains_more_than_not_there(void **state)
{
	dn_probe_refuse(&plan.backend[0].probe, DN_M_hw_cycles, DN_FACT_DENIED, "EACCES", "setcap");
	dn_probe_refuse(
		&plan.backend[1].probe, DN_M_hw_cycles, DN_FACT_UNSUPPORTED, "no PMU", NULL);
	dn_plan_make(&plan, &wanted);
	assert_int_equal(plan.metric[DN_M_hw_cycles].quality, DN_QUALITY_MISSING);
	assert_string_equal(plan.metric[DN_M_hw_cycles].reason, "EACCES");
	assert_string_equal(plan.metric[DN_M_hw_cycles].hint, "setcap");
	assert_null(plan.metric[DN_M_hw_cycles].source);
	/* Nobody said anything: still a reason. */
	assert_non_null(plan.metric[DN_M_hw_branches].reason);
}

static void an_offer_that_needs_every_process_falls_with_a_lossy_table(void **state)
{
	offer(0, DN_M_io_write_chars, DN_QUALITY_EXACT, "low");
	plan.backend[0].probe.offer[DN_M_io_write_chars].if_lossy = "processes may be missed";
	offer(0, DN_M_process_started, DN_QUALITY_LOWER_BOUND, "walk");
	dn_plan_make(&plan, &wanted);
	assert_int_equal(plan.metric[DN_M_io_write_chars].quality, DN_QUALITY_LOWER_BOUND);
	assert_string_equal(plan.metric[DN_M_io_write_chars].reason, "processes may be missed");
	offer(1, DN_M_process_started, DN_QUALITY_EXACT, "ring");
	dn_plan_make(&plan, &wanted);
	assert_int_equal(plan.metric[DN_M_io_write_chars].quality, DN_QUALITY_EXACT);
}

static void a_dead_backend_hands_over(void **state)
{
	offer(0, DN_M_cpu_total_ns, DN_QUALITY_LOWER_BOUND, "low");
	offer(1, DN_M_cpu_total_ns, DN_QUALITY_EXACT, "high");
	plan.backend[1].dead = true;
	dn_plan_make(&plan, &wanted);
	assert_int_equal(plan.supplier[DN_M_cpu_total_ns], 0);
	plan.backend[0].dead = true;
	plan.backend[0].probe.reason = "it broke";
	dn_plan_make(&plan, &wanted);
	assert_int_equal(plan.metric[DN_M_cpu_total_ns].quality, DN_QUALITY_MISSING);
	assert_string_equal(plan.metric[DN_M_cpu_total_ns].reason, "it broke");
}

static void a_ratio_is_as_good_as_its_worse_half(void **state)
{
	offer(1, DN_M_hw_cycles, DN_QUALITY_EXACT, "pmu");
	offer(1, DN_M_hw_instructions, DN_QUALITY_SCALED, "pmu");
	dn_probe_refuse(&plan.backend[1].probe, DN_M_hw_branches, DN_FACT_UNSUPPORTED, "no PMU",
		"bare metal");
	offer(1, DN_M_hw_branch_misses, DN_QUALITY_EXACT, "pmu");
	dn_plan_make(&plan, &wanted);
	assert_int_equal(plan.metric[DN_M_hw_ipc].quality, DN_QUALITY_SCALED);
	assert_int_equal(plan.metric[DN_M_hw_branch_miss_ratio].quality, DN_QUALITY_MISSING);
	assert_string_equal(plan.metric[DN_M_hw_branch_miss_ratio].reason, "no PMU");
	/* And it falls with either. */
	assert_int_equal(dn_plan_made_of(DN_M_hw_cycles, 0), DN_M_hw_ipc);
	assert_int_equal(dn_plan_made_of(DN_M_hw_cycles, 1), -1);
	assert_int_equal(dn_plan_made_of(DN_M_cpu_total_ns, 0), DN_M_cpu_usage_percent);
	assert_int_equal(dn_plan_made_of(DN_M_io_read_bytes, 0), -1);
}

static void a_forced_tier_that_supplies_nothing_is_an_error(void **state)
{
	struct dn_why why = {0};

	offer(0, DN_M_cpu_total_ns, DN_QUALITY_LOWER_BOUND, "low");
	plan.backend[1].probe.fact = DN_FACT_DENIED;
	plan.backend[1].probe.reason = "perf_event_open: EPERM";
	plan.backend[1].probe.hint = "setcap cap_perfmon+ep";
	dn_plan_make(&plan, &wanted);
	assert_int_equal(dn_plan_check_forced(&plan, "auto", &why), 0);
	assert_int_equal(dn_plan_check_forced(&plan, "procfs", &why), 0);
	assert_int_equal(dn_plan_check_forced(&plan, "perf", &why), -EPERM);
	assert_non_null(strstr(why.text, "perf_event_open: EPERM"));
	assert_string_equal(why.hint, "setcap cap_perfmon+ep");
}

static void rates_come_from_what_changed(void **state)
{
	static struct dn_frame before, frame;

	memset(&before, 0, sizeof(before));
	memset(&frame, 0, sizeof(frame));
	dn_frame_u64(&before, DN_M_cpu_total_ns, 1000);
	dn_frame_u64(&frame, DN_M_cpu_total_ns, 3000);
	dn_frame_u64(&before, DN_M_hw_cycles, 100);
	dn_frame_u64(&before, DN_M_hw_instructions, 100);
	dn_frame_u64(&frame, DN_M_hw_cycles, 200);
	dn_frame_u64(&frame, DN_M_hw_instructions, 350);
	dn_frame_u64(&frame, DN_M_hw_branches, 7);
	dn_derive(&frame, &before, 1000);
	assert_true(frame.value[DN_M_cpu_usage_percent].f64 == 200.0);
	assert_true(frame.value[DN_M_hw_ipc].f64 == 2.5);
	/* A half that is missing, and a divisor that did not move, give nothing, not 0. */
	assert_false(dn_frame_has(&frame, DN_M_hw_branch_miss_ratio));
	assert_false(dn_frame_has(&frame, DN_M_hw_cache_miss_ratio));
}

struct witness {
	struct dn_tree_listener listener;
	int born, exec, exited;
	uint64_t last_exit_ns;
	char last_name[DN_PROCESS_NAME_MAX];
};

static void saw_born(struct dn_tree_listener *listener, struct dn_process *process, uint64_t t_ns)
{
	((struct witness *)listener)->born++;
}

static void saw_exec(struct dn_tree_listener *listener, struct dn_process *process, uint64_t t_ns)
{
	((struct witness *)listener)->exec++;
}

static void saw_exited(struct dn_tree_listener *listener, struct dn_process *process, uint64_t t_ns)
{
	struct witness *witness = (struct witness *)listener;

	witness->exited++;
	witness->last_exit_ns = process->exit_ns;
	memcpy(witness->last_name, process->name, sizeof(process->name));
}

static struct witness witness;

static struct dn_tree *new_tree(void)
{
	struct dn_tree *tree = NULL;

	witness = (struct witness){.listener = {saw_born, saw_exec, saw_exited}};
	assert_int_equal(dn_tree_new(&witness.listener, &tree), 0);
	return tree;
}

static void a_tree_knows_its_own_only(void **state)
{
	struct dn_tree *tree = new_tree();

	assert_non_null(dn_tree_add_target(tree, 100, true));
	dn_tree_begin(tree, 1000);
	assert_true(dn_tree_find(tree, 100)->inherited);
	assert_non_null(dn_tree_fork(tree, 101, 100, 1500, false));
	assert_false(dn_tree_find(tree, 101)->inherited);
	assert_int_equal(dn_tree_find(tree, 101)->start_ns, 500);
	assert_null(dn_tree_fork(tree, 200, 199, 1500, false));
	assert_non_null(dn_tree_fork(tree, 101, 100, 1600, false)); /* told twice */
	dn_tree_exec(tree, 101, "cc1", 3, 1700);
	dn_tree_exit(tree, 101, 1900);
	dn_tree_exit(tree, 101, 1900);
	dn_tree_exit(tree, 100, 2000); /* denet's own child ends when it is reaped */
	assert_int_equal(dn_tree_live(tree), 1);
	assert_string_equal(witness.last_name, "cc1");
	assert_int_equal(witness.last_exit_ns, 900);
	dn_tree_reaped(tree, 100, 0x2a00, 2100);
	assert_int_equal(dn_tree_live(tree), 0);
	assert_int_equal(dn_tree_started(tree), 2);
	assert_int_equal(dn_tree_exited(tree), 2);
	assert_int_equal(witness.born, 2);
	assert_int_equal(witness.exec, 1);
	dn_tree_free(tree);
}

static void a_reused_pid_is_another_process(void **state)
{
	struct dn_tree *tree = new_tree();
	struct dn_process *process;

	dn_tree_add_target(tree, 1, false);
	dn_tree_begin(tree, 0);
	process = dn_tree_fork(tree, 7, 1, 10, false);
	dn_process_u64(process, DN_M_cpu_total_ns, 999);
	dn_tree_exit(tree, 7, 20);
	process = dn_tree_fork(tree, 7, 1, 30, false);
	assert_int_equal(process->value[dn_process_slot(DN_M_cpu_total_ns)].type, DN_VALUE_NONE);
	assert_int_equal(dn_tree_started(tree), 3);
	dn_tree_free(tree);
}

static void many_live_processes_are_all_found(void **state)
{
	struct dn_tree *tree = new_tree();

	dn_tree_add_target(tree, 1, false);
	dn_tree_begin(tree, 0);
	for (pid_t pid = 2; pid < 10007; pid++)
		assert_non_null(dn_tree_fork(tree, pid, pid - 1, 5, false));
	assert_int_equal(dn_tree_live(tree), 10006);
	for (pid_t pid = 2; pid < 10007; pid += 2)
		dn_tree_exit(tree, pid, 6);
	for (pid_t pid = 2; pid < 10007; pid++)
		assert_int_equal(dn_tree_find(tree, pid) != NULL, pid % 2);
	dn_tree_free(tree);
}

static void the_dead_are_folded_by_name_and_bounded(void **state)
{
	static struct dn_summary summary;
	struct dn_tree *tree = new_tree();
	uint64_t counted = 0;
	char name[32];

	dn_tree_add_target(tree, 1, false);
	dn_tree_begin(tree, 0);
	for (int i = 0; i < 1009; i++) {
		struct dn_process *process = dn_tree_fork(tree, 100000 + i, 1, 10, false);

		snprintf(name, sizeof(name), i < 503 ? "cc1" : "p%d", i);
		dn_tree_exec(tree, process->pid, name, strlen(name), 11);
		dn_process_u64(process, DN_M_cpu_total_ns, (uint64_t)i);
		dn_tree_exit(tree, process->pid, 13);
	}
	dn_tree_summarise(tree, 17, &summary);
	assert_int_equal(summary.n_processes, DN_TOP_PROCESSES);
	assert_string_equal(summary.process[0]->name, "p1008");
	assert_int_equal(summary.process[0]->exit_ns, 13);
	assert_string_equal(summary.process[1]->name, "p1007");
	assert_string_equal(summary.command[0].name, "cc1");
	assert_int_equal(summary.command[0].count, 503);
	assert_true(summary.command[0].cpu_ns == 503 * 502 / 2);
	assert_int_equal(summary.n_commands, 507 + 1);
	for (unsigned i = 0; i < summary.n_commands; i++)
		counted += summary.command[i].count;
	assert_int_equal(counted + summary.commands_other, 1010);
	dn_tree_free(tree);
}

static void user_and_system_time_are_parts_that_never_fall(void **state)
{
	struct dn_cpu_split cpu = {0, 0};

	dn_cpu_divide(&cpu, 5000, 0, 0);
	assert_true(cpu.user_ns == 5000 && cpu.system_ns == 0);
	/* The first tick came in the kernel: what was told of user time stands. */
	dn_cpu_divide(&cpu, 7000, 0, 1);
	assert_true(cpu.user_ns == 5000 && cpu.system_ns == 2000);
	dn_cpu_divide(&cpu, 16000, 1, 1);
	assert_true(cpu.user_ns == 8000 && cpu.system_ns == 8000);
	dn_cpu_divide(&cpu, 17000, 9, 1);
	assert_true(cpu.user_ns == 9000 && cpu.system_ns == 8000);
	/* A total that falls is nothing that callers have; the parts are parts of it all the same.
	 */
	dn_cpu_divide(&cpu, 4000, 1, 0);
	assert_true(cpu.user_ns == 4000 && cpu.system_ns == 0);
	cpu = (struct dn_cpu_split){0, 0};
	dn_cpu_divide(&cpu, UINT64_MAX, UINT64_MAX, UINT64_MAX);
	assert_true(cpu.user_ns + cpu.system_ns == UINT64_MAX);
}

static void the_interval_ramps_between_one_and_ten_seconds(void **state)
{
	const uint64_t ms = 1000000, s = 1000 * ms;

	assert_int_equal(dn_sampler_interval(100 * ms, s, 0), 100 * ms);
	assert_int_equal(dn_sampler_interval(100 * ms, s, s), 100 * ms);
	assert_int_equal(dn_sampler_interval(100 * ms, s, 10 * s), s);
	assert_int_equal(dn_sampler_interval(100 * ms, s, 1000 * s), s);
	assert_int_equal(dn_sampler_interval(100 * ms, s, 11 * s / 2), 550 * ms);
	assert_int_equal(dn_sampler_interval(100 * ms, 100 * ms, 5 * s), 100 * ms);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(the_best_quality_wins_per_metric, invented_machine),
		cmocka_unit_test_setup(equal_offers_go_to_the_higher_tier, invented_machine),
		cmocka_unit_test_setup(what_is_not_wanted_is_not_assigned, invented_machine),
		cmocka_unit_test_setup(not_allowed_explains_more_than_not_there, invented_machine),
		cmocka_unit_test_setup(an_offer_that_needs_every_process_falls_with_a_lossy_table,
			invented_machine),
		cmocka_unit_test_setup(a_dead_backend_hands_over, invented_machine),
		cmocka_unit_test_setup(a_ratio_is_as_good_as_its_worse_half, invented_machine),
		cmocka_unit_test_setup(
			a_forced_tier_that_supplies_nothing_is_an_error, invented_machine),
		cmocka_unit_test(rates_come_from_what_changed),
		cmocka_unit_test(a_tree_knows_its_own_only),
		cmocka_unit_test(a_reused_pid_is_another_process),
		cmocka_unit_test(many_live_processes_are_all_found),
		cmocka_unit_test(the_dead_are_folded_by_name_and_bounded),
		cmocka_unit_test(user_and_system_time_are_parts_that_never_fall),
		cmocka_unit_test(the_interval_ramps_between_one_and_ten_seconds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

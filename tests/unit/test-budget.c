/* SPDX-License-Identifier: Apache-2.0 */
/* The policy of --max-overhead, on invented intervals. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* In builds without the eBPF tier too. */
#include "ebpf/budget.c"

#define MS UINT64_C(1000000)

/* 100 ms of a budget of 2 %: the table of processes, calls, their times, and locks. */
static struct dn_budget_input make(void)
{
	struct dn_budget_input input = {.percent = 2, .interval_ns = 100 * MS, .own_ns = 1 * MS};

	input.group[DN_PROBES_LIFECYCLE] = (struct dn_budget_group){.on = true};
	input.group[DN_PROBES_SYSCALLS] = (struct dn_budget_group){.on = true};
	input.group[DN_PROBES_LATENCY] =
		(struct dn_budget_group){.on = true, .can_sample = true, .can_stop = true};
	input.group[DN_PROBES_LOCKS] = (struct dn_budget_group){.on = true, .can_stop = true};
	return input;
}

static void cost(struct dn_budget_input *input, unsigned group, uint64_t run_ns)
{
	input->bpf_ns += run_ns - input->group[group].run_ns;
	input->group[group].run_ns = run_ns;
	input->group[group].runs = run_ns / 50;
}

static struct dn_budget_step decide(const struct dn_budget_input *input)
{
	struct dn_budget_step step = {.action = (enum dn_budget_action)99};

	dn_budget_decide(input, &step);
	return step;
}

static void within_the_budget_nothing_happens(void **state)
{
	struct dn_budget_input input = make();

	cost(&input, DN_PROBES_LATENCY, 1 * MS);
	assert_int_equal(decide(&input).action, DN_BUDGET_KEPT); /* exactly 2 % */
	input.own_ns = 0;
	input.bpf_ns = input.group[DN_PROBES_LATENCY].run_ns = 0;
	assert_int_equal(decide(&input).action, DN_BUDGET_KEPT);
}

static void short_intervals_are_not_judged(void **state)
{
	struct dn_budget_input input = make();

	cost(&input, DN_PROBES_LATENCY, 40 * MS);
	input.interval_ns = DN_BUDGET_INTERVAL_NS - 1;
	assert_int_equal(decide(&input).action, DN_BUDGET_WAIT);
	input.interval_ns = 0;
	assert_int_equal(decide(&input).action, DN_BUDGET_WAIT);
}

static void from_the_most_expensive_down(void **state)
{
	struct dn_budget_input input = make();
	struct dn_budget_step step;

	cost(&input, DN_PROBES_LATENCY, 7 * MS);
	cost(&input, DN_PROBES_LOCKS, 11 * MS);
	step = decide(&input);
	assert_int_equal(step.action, DN_BUDGET_STOP);
	assert_int_equal(step.group, DN_PROBES_LOCKS);
	assert_true(step.used_percent > 18.99 && step.used_percent < 19.01);
	assert_true(step.bpf_percent > 17.99 && step.bpf_percent < 18.01);
	input.group[DN_PROBES_LOCKS].on = false;
	cost(&input, DN_PROBES_LOCKS, 0);
	step = decide(&input);
	assert_int_equal(step.action, DN_BUDGET_SAMPLE);
	assert_int_equal(step.group, DN_PROBES_LATENCY);
	assert_int_equal(step.every, 10);
}

static void rarer_and_then_not_at_all(void **state)
{
	static const struct {
		uint32_t every, then;
	} ladder[] = {{0, 10}, {1, 10}, {3, 10}, {10, 100}, {16, 100}, {99, 100},
		{100, DN_BUDGET_OFF}, {1000, DN_BUDGET_OFF}};
	struct dn_budget_input input = make();

	cost(&input, DN_PROBES_LATENCY, 7 * MS);
	for (size_t i = 0; i < sizeof(ladder) / sizeof(ladder[0]); i++) {
		struct dn_budget_step step;

		input.group[DN_PROBES_LATENCY].every = ladder[i].every;
		step = decide(&input);
		assert_int_equal(step.every, ladder[i].then);
		assert_int_equal(step.action,
			ladder[i].then == DN_BUDGET_OFF ? DN_BUDGET_STOP : DN_BUDGET_SAMPLE);
	}
}

static void what_others_need_is_not_touched(void **state)
{
	struct dn_budget_input input = make();
	struct dn_budget_step step;

	cost(&input, DN_PROBES_LIFECYCLE, 50 * MS);
	cost(&input, DN_PROBES_SYSCALLS, 20 * MS);
	step = decide(&input);
	assert_int_equal(step.action, DN_BUDGET_STUCK);
	/* Nor what costs nothing. */
	assert_int_equal(input.group[DN_PROBES_LOCKS].run_ns, 0);
}

static void no_loss_without_a_gain(void **state)
{
	struct dn_budget_input input = make();

	input.own_ns = 9 * MS; /* denet itself is too dear by 7 % and a little */
	cost(&input, DN_PROBES_LATENCY, 1 * MS);
	assert_int_equal(decide(&input).action, DN_BUDGET_STUCK);
	cost(&input, DN_PROBES_LATENCY, 9 * MS);
	assert_int_equal(decide(&input).action, DN_BUDGET_SAMPLE);
}

/* However it begins, and whatever the steps save, it comes to an end and names no group twice. */
static void it_ends(void **state)
{
	struct dn_budget_input input = {
		.percent = 0.01, .interval_ns = 1000 * MS, .own_ns = 1000 * MS};
	unsigned steps = 0;

	for (unsigned i = 1; i < DN_PROBES_N; i++) {
		input.group[i] = (struct dn_budget_group){.on = true,
			.can_sample = i % 2 == 0,
			.can_stop = true,
			.run_ns = i * 101 * MS};
		input.bpf_ns += i * 101 * MS;
	}
	for (;;) {
		struct dn_budget_step step = decide(&input);

		if (step.action == DN_BUDGET_STUCK)
			break;
		assert_true(step.action == DN_BUDGET_SAMPLE || step.action == DN_BUDGET_STOP);
		assert_true(input.group[step.group].on);
		input.group[step.group].every = step.every;
		if (step.action == DN_BUDGET_STOP)
			input.group[step.group].on = false;
		assert_true(++steps < 3 * DN_PROBES_N);
	}
	assert_true(steps > DN_PROBES_N / 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(within_the_budget_nothing_happens),
		cmocka_unit_test(short_intervals_are_not_judged),
		cmocka_unit_test(from_the_most_expensive_down),
		cmocka_unit_test(rarer_and_then_not_at_all),
		cmocka_unit_test(what_others_need_is_not_touched),
		cmocka_unit_test(no_loss_without_a_gain),
		cmocka_unit_test(it_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

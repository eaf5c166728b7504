/* SPDX-License-Identifier: Apache-2.0 */
/* The perf backend without a kernel: scaling, groups, records, the lives they tell of, names,
 * sysfs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/perf_event.h>

#include "counters.h"
#include "perf-fixture.h"
#include "perf.h"
#include "tasks.h"

/* ---- scaling ---- */

static void test_scale(void **state)
{
	assert_int_equal(dn_perf_scale(7, 13, 13), 7);
	assert_int_equal(dn_perf_scale(1000003, 2000, 1000), 2000006);
	assert_int_equal(dn_perf_scale(101, 7, 3), 235); /* 235.67: never more than was counted */
	/* The product needs more than 64 bits. */
	assert_true(dn_perf_scale(UINT64_C(1) << 62, UINT64_C(3) << 40, UINT64_C(2) << 40) ==
		    UINT64_C(6917529027641081856));
	assert_true(dn_perf_scale(UINT64_MAX, 3, 2) == UINT64_MAX);
	assert_int_equal(dn_perf_scale(0, 5, 3), 0);
	/* Nothing is known then; the caller leaves the value out. */
	assert_int_equal(dn_perf_scale(5, 3, 0), 5);
	/* Clocks that ran past each other scale nothing down. */
	assert_int_equal(dn_perf_scale(17, 5, 7), 17);
}

static void test_decode_group(void **state)
{
	const uint64_t words[] = {2, 1009, 503, 31, 37};
	uint64_t value[4] = {0}, enabled = 0, running = 0;

	assert_int_equal(dn_perf_group_decode(words, 5, 2, value, &enabled, &running), 0);
	assert_int_equal(enabled, 1009);
	assert_int_equal(running, 503);
	assert_int_equal(value[0], 31);
	assert_int_equal(value[1], 37);
	assert_int_equal(dn_perf_group_decode(words, 5, 3, value, &enabled, &running), -EBADMSG);
	assert_int_equal(dn_perf_group_decode(words, 4, 2, value, &enabled, &running), -EBADMSG);
	assert_int_equal(dn_perf_group_decode(words, 0, 2, value, &enabled, &running), -EBADMSG);
}

static void test_combine(void **state)
{
	struct dn_perf_slot whole = {
		.raw = 11, .scaled = 11, .enabled_ns = 97, .running_ns = 97, .n_read = 1};
	struct dn_perf_slot turns = {
		.raw = 11, .scaled = 23, .enabled_ns = 97, .running_ns = 47, .n_read = 1};
	struct dn_perf_slot never = {.enabled_ns = 97, .n_read = 1, .n_unscheduled = 1};
	struct dn_perf_slot asleep = {.n_read = 1};
	const struct dn_perf_slot *one[] = {&whole};
	struct dn_perf_sum sum = dn_perf_combine(one, 1);

	assert_true(sum.known && !sum.scaled && !sum.partial);
	assert_int_equal(sum.value, 11);
	one[0] = &turns;
	sum = dn_perf_combine(one, 1);
	assert_true(sum.known && sum.scaled);
	assert_int_equal(sum.value, 23);
	one[0] = &never;
	assert_false(dn_perf_combine(one, 1).known);
	/* A task that did not run yet counted 0: that is a measurement. */
	one[0] = &asleep;
	sum = dn_perf_combine(one, 1);
	assert_true(sum.known && !sum.scaled);
	assert_int_equal(sum.value, 0);
}

static void test_combine_hybrid(void **state)
{
	/* Each ran while the task was on its kind of CPU: together all the time. */
	struct dn_perf_slot big = {
		.raw = 701, .enabled_ns = 100003, .running_ns = 60002, .n_read = 1};
	struct dn_perf_slot small = {
		.raw = 211, .enabled_ns = 100003, .running_ns = 40001, .n_read = 1};
	const struct dn_perf_slot *both[] = {&big, &small};
	struct dn_perf_sum sum = dn_perf_combine(both, 2);

	assert_true(sum.known && !sum.scaled);
	assert_int_equal(sum.value, 912);
	/* Multiplexed as well: half of the time on no PMU at all. */
	big.running_ns = 30001;
	small.running_ns = 20000;
	sum = dn_perf_combine(both, 2);
	assert_true(sum.known && sum.scaled);
	assert_int_equal(sum.value, dn_perf_scale(912, 100003, 50001));
	big.running_ns = small.running_ns = 0;
	assert_false(dn_perf_combine(both, 2).known);
}

/* ---- groups ---- */

struct fake_pmu {
	unsigned counters; /* that one group may have */
	uint64_t absent; /* config that it does not know */
	int refuse_kernel; /* what exclude_kernel = 0 answers */
	int fail_at, fail_with; /* the n-th call */
	int calls;
	unsigned group_of[256]; /* by descriptor: members of the group that it leads */
};

static int fake_open(void *arg, const struct perf_event_attr *attr, pid_t tid, int cpu, int leader)
{
	struct fake_pmu *pmu = arg;
	int fd;

	pmu->calls++;
	if (pmu->fail_at == pmu->calls)
		return pmu->fail_with;
	if (!attr->exclude_kernel && pmu->refuse_kernel)
		return pmu->refuse_kernel;
	if (attr->config == pmu->absent)
		return -ENOENT;
	assert_true(attr->inherit);
	assert_int_equal(attr->disabled, leader < 0);
	assert_true(attr->read_format & PERF_FORMAT_TOTAL_TIME_RUNNING);
	if (leader >= 0 && pmu->group_of[leader] >= pmu->counters)
		return -EINVAL;
	fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	assert_in_range(fd, 0, 255);
	pmu->group_of[leader < 0 ? fd : leader] = leader < 0 ? 1 : pmu->group_of[leader] + 1;
	return fd;
}

static unsigned n_descriptors(void)
{
	unsigned n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static void specs(struct dn_perf_spec *spec, unsigned n)
{
	memset(spec, 0, n * sizeof(*spec));
	for (unsigned i = 0; i < n; i++) {
		spec[i].attr.type = PERF_TYPE_HARDWARE;
		spec[i].attr.config = 100 + i;
		spec[i].metric = i;
		spec[i].own_row = spec[i].proof = -1;
	}
}

static struct dn_perf_counters *counters_new(
	struct fake_pmu *pmu, const struct dn_perf_tasks *tasks)
{
	struct dn_perf_counters *counters = malloc(sizeof(*counters));

	assert_non_null(counters);
	dn_perf_counters_init(counters, tasks, true, false);
	counters->open = fake_open;
	counters->open_arg = pmu;
	return counters;
}

static void test_groups(void **state)
{
	struct dn_perf_task task[] = {{.pid = 3, .tid = 3}, {.pid = 3, .tid = 5}};
	struct dn_perf_tasks tasks = {.task = task, .n = 2};
	struct fake_pmu pmu = {.counters = 2};
	struct dn_perf_counters *counters = counters_new(&pmu, &tasks);
	unsigned before = n_descriptors();
	struct dn_perf_spec spec[3];

	/* Three events on a PMU of two counters: two groups, on each of two threads. */
	specs(spec, 3);
	assert_int_equal(dn_perf_counters_add(counters, spec, 3), 0);
	assert_int_equal(counters->n_groups, 2);
	assert_int_equal(counters->group[0].n, 2);
	assert_int_equal(counters->group[1].n, 1);
	assert_int_equal(counters->slot[2].group, 1);
	assert_int_equal(n_descriptors() - before, 6);
	assert_true(dn_perf_counters_fit(counters, spec, 2));
	assert_false(dn_perf_counters_fit(counters, spec, 3));
	assert_int_equal(n_descriptors() - before, 6);
	dn_perf_counters_undo(counters, 2);
	assert_int_equal(counters->n_groups, 1);
	assert_int_equal(n_descriptors() - before, 4);
	dn_perf_counters_close(counters);
	assert_int_equal(n_descriptors(), before);
	free(counters);
}

static void test_groups_absent(void **state)
{
	struct dn_perf_task task[] = {{.pid = 3, .tid = 3}};
	struct dn_perf_tasks tasks = {.task = task, .n = 1};
	struct fake_pmu pmu = {.counters = 4, .absent = 100};
	struct dn_perf_counters *counters = counters_new(&pmu, &tasks);
	unsigned before = n_descriptors();
	struct dn_perf_spec spec[3];

	specs(spec, 3);
	assert_int_equal(dn_perf_counters_add(counters, spec, 3), 0);
	assert_int_equal(counters->slot[0].error, -ENOENT);
	assert_int_equal(counters->slot[1].error, 0);
	assert_int_equal(counters->n_groups, 1);
	assert_int_equal(counters->group[0].n, 2);
	assert_int_equal(counters->slot[2].member, 1);
	dn_perf_counters_close(counters);
	assert_int_equal(n_descriptors(), before);
	free(counters);
}

static void test_groups_user_only(void **state)
{
	struct dn_perf_task task[] = {{.pid = 3, .tid = 3}, {.pid = 3, .tid = 5}};
	struct dn_perf_tasks tasks = {.task = task, .n = 2};
	struct fake_pmu pmu = {.counters = 4, .refuse_kernel = -EACCES};
	struct dn_perf_counters *counters = counters_new(&pmu, &tasks);
	struct dn_perf_spec spec[2];

	specs(spec, 2);
	assert_int_equal(dn_perf_counters_add(counters, spec, 2), 0);
	assert_int_equal(counters->view, DN_PERF_VIEW_USER);
	/* One refusal, then it is known. */
	assert_int_equal(pmu.calls, 5);
	/* An event that the user wants of the kernel alone would count nothing. */
	spec[0].attr.exclude_user = 1;
	assert_int_equal(dn_perf_counters_add(counters, spec, 1), 2);
	assert_int_equal(counters->slot[2].error, -EACCES);
	dn_perf_counters_close(counters);
	free(counters);
}

static void test_groups_fail_midway(void **state)
{
	struct dn_perf_task task[] = {
		{.pid = 3, .tid = 3}, {.pid = 3, .tid = 5}, {.pid = 7, .tid = 7}};
	struct dn_perf_tasks tasks = {.task = task, .n = 3};
	struct fake_pmu pmu = {.counters = 4, .fail_at = 3, .fail_with = -EMFILE};
	struct dn_perf_counters *counters = counters_new(&pmu, &tasks);
	unsigned before = n_descriptors();
	struct dn_perf_spec spec[1];

	specs(spec, 1);
	assert_int_equal(dn_perf_counters_add(counters, spec, 1), 0);
	assert_int_equal(counters->slot[0].error, -EMFILE);
	assert_int_equal(n_descriptors(), before);
	/* A thread that died is no failure. */
	pmu.fail_at = pmu.calls + 2;
	pmu.fail_with = -ESRCH;
	assert_int_equal(dn_perf_counters_add(counters, spec, 1), 1);
	assert_int_equal(counters->slot[1].error, 0);
	assert_int_equal(n_descriptors() - before, 2);
	dn_perf_counters_close(counters);
	assert_int_equal(n_descriptors(), before);
	free(counters);
}

/* ---- hardware: from the machine to offers and values ---- */

struct machine {
	struct dn_env env;
	struct dn_probe probe;
	struct dn_perf perf;
	struct dn_core core;
	struct dn_perf_task task;
	struct fake_pmu pmu;
	uint64_t answer[8][5]; /* what read() of the n-th opened leader gives */
	unsigned n_leaders;
	uint64_t config[64];
	unsigned n_configs;
	enum dn_quality degraded[DN_METRIC_MAX];
};

static int machine_open(
	void *arg, const struct perf_event_attr *attr, pid_t tid, int cpu, int leader)
{
	struct machine *machine = arg;
	int fd = fake_open(&machine->pmu, attr, tid, cpu, leader);

	if (fd < 0)
		return fd;
	if (machine->n_configs < 64)
		machine->config[machine->n_configs++] = attr->config;
	if (leader < 0 && machine->n_leaders < 8 && machine->answer[machine->n_leaders][0]) {
		const uint64_t *words = machine->answer[machine->n_leaders];
		int memory = memfd_create("answer", MFD_CLOEXEC);

		assert_true(memory >= 0);
		assert_int_equal(write(memory, words, 40), 40);
		assert_int_equal(lseek(memory, 0, SEEK_SET), 0);
		assert_true(dup3(memory, fd, O_CLOEXEC) == fd);
		close(memory);
	}
	machine->n_leaders += leader < 0;
	return fd;
}

static void machine_degrade(
	struct dn_core *core, unsigned metric, enum dn_quality quality, const char *reason)
{
	struct machine *machine = dn_container_of(core, struct machine, core);

	assert_non_null(reason);
	if (quality > machine->degraded[metric])
		machine->degraded[metric] = quality;
}

static struct machine *machine_new(int sys_fd)
{
	struct machine *machine = calloc(1, sizeof(*machine));

	assert_non_null(machine);
	machine->env.sys_fd = sys_fd;
	machine->env.proc_fd = -1;
	memset(&machine->env.wanted, 0xff, sizeof(machine->env.wanted));
	for (unsigned metric = 0; metric < DN_METRIC_MAX; metric++)
		machine->probe.offer[metric].fact = DN_FACT_UNTRIED;
	machine->probe.arena = dn_arena_new();
	machine->task = (struct dn_perf_task){.pid = 3, .tid = 3};
	machine->perf.tasks = (struct dn_perf_tasks){.task = &machine->task, .n = 1};
	machine->perf.env = &machine->env;
	machine->perf.arena = machine->probe.arena;
	machine->perf.core = &machine->core;
	machine->core.degrade = machine_degrade;
	memset(&machine->perf.assigned, 0xff, sizeof(machine->perf.assigned));
	dn_perf_counters_init(&machine->perf.counters, &machine->perf.tasks, true, false);
	machine->perf.counters.open = machine_open;
	machine->perf.counters.open_arg = machine;
	machine->pmu.absent = UINT64_MAX;
	return machine;
}

static void machine_free(struct machine *machine)
{
	dn_perf_counters_close(&machine->perf.counters);
	dn_arena_free(machine->probe.arena);
	dn_metric_reset();
	free(machine);
}

static void test_hardware_none(void **state)
{
	struct machine *machine = machine_new(-1);

	machine->pmu.fail_at = 1;
	machine->pmu.fail_with = -ENOENT;
	machine->pmu.absent = PERF_COUNT_HW_INSTRUCTIONS;
	dn_perf_hardware_probe(&machine->perf, &machine->probe);
	/* Two questions, not fourteen. */
	assert_int_equal(machine->pmu.calls, 2);
	for (unsigned metric = DN_M_hw_cycles; metric <= DN_M_hw_running_ratio; metric++) {
		assert_int_equal(machine->probe.offer[metric].fact, DN_FACT_UNSUPPORTED);
		assert_non_null(strstr(machine->probe.offer[metric].reason, "no hardware PMU"));
	}
	assert_int_equal(machine->perf.counters.n_groups, 0);
	machine_free(machine);
}

static void test_hardware_extras(void **state)
{
	struct machine *machine = machine_new(-1);

	/* Room for the six basic ones and one pair more. */
	machine->pmu.counters = 8;
	dn_perf_hardware_probe(&machine->perf, &machine->probe);
	assert_int_equal(machine->probe.offer[DN_M_hw_cycles].fact, DN_FACT_OK);
	assert_int_equal(machine->probe.offer[DN_M_hw_cycles].quality, DN_QUALITY_EXACT);
	assert_int_equal(machine->probe.offer[DN_M_hw_branch_misses].fact, DN_FACT_OK);
	assert_int_equal(machine->probe.offer[DN_M_hw_cache_misses].fact, DN_FACT_OK);
	assert_int_equal(machine->probe.offer[DN_M_hw_stalled_cycles_backend].fact, DN_FACT_OK);
	assert_int_equal(machine->probe.offer[DN_M_hw_l1d_loads].fact, DN_FACT_UNSUPPORTED);
	assert_non_null(machine->probe.offer[DN_M_hw_l1d_loads].hint);
	assert_int_equal(machine->perf.counters.n_groups, 4);
	machine_free(machine);
}

static void test_hardware_denied(void **state)
{
	struct machine *machine = machine_new(-1);

	machine->pmu.refuse_kernel = -EACCES;
	machine->pmu.counters = 14;
	dn_perf_hardware_probe(&machine->perf, &machine->probe);
	assert_int_equal(machine->probe.offer[DN_M_hw_cycles].fact, DN_FACT_OK);
	assert_non_null(strstr(machine->probe.offer[DN_M_hw_cycles].source, "user mode only"));
	assert_non_null(machine->probe.offer[DN_M_hw_cycles].reason);
	machine_free(machine);
}

static void test_hardware_hybrid(void **state)
{
	int fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct machine *machine;
	int core, atom;
	bool extended = false;

	assert_true(fd >= 0);
	machine = machine_new(fd);
	machine->pmu.counters = 14;
	dn_perf_hardware_probe(&machine->perf, &machine->probe);
	core = dn_metric_by_name("hw.cpu_core.cycles");
	atom = dn_metric_by_name("hw.cpu_atom.cycles");
	assert_true(core >= 0 && atom >= 0);
	assert_int_equal(machine->probe.offer[core].fact, DN_FACT_OK);
	assert_int_equal(machine->probe.offer[atom].fact, DN_FACT_OK);
	assert_int_equal(machine->probe.offer[DN_M_hw_cycles].fact, DN_FACT_OK);
	for (unsigned i = 0; i < machine->n_configs; i++)
		extended = extended ||
			   machine->config[i] == (UINT64_C(11) << 32 | PERF_COUNT_HW_INSTRUCTIONS);
	assert_true(extended);
	assert_int_equal(machine->perf.counters.n_groups, 14);
	machine_free(machine);
	close(fd);
}

static void test_values(void **state)
{
	struct machine *machine = machine_new(-1);
	struct dn_frame frame = {.final = true};

	machine->pmu.counters = 6;
	/* cycles, instructions: all the time; branches: half of it; cache: opens, but counts
	 * nothing */
	memcpy(machine->answer[0], (uint64_t[]){2, 2000003, 2000003, 7001, 5003}, 40);
	memcpy(machine->answer[1], (uint64_t[]){2, 2000003, 1000001, 1009, 11}, 40);
	memcpy(machine->answer[2], (uint64_t[]){2, 2000003, 2000003, 0, 0}, 40);
	dn_perf_hardware_probe(&machine->perf, &machine->probe);
	dn_perf_values_sample(&machine->perf, &frame);
	assert_true(dn_frame_has(&frame, DN_M_hw_cycles));
	assert_int_equal(frame.value[DN_M_hw_cycles].u64, 7001);
	assert_int_equal(frame.value[DN_M_hw_instructions].u64, 5003);
	assert_int_equal(machine->degraded[DN_M_hw_cycles], DN_QUALITY_EXACT);
	assert_int_equal(frame.value[DN_M_hw_branches].u64, 2018);
	assert_int_equal(frame.value[DN_M_hw_branch_misses].u64, 22);
	assert_int_equal(machine->degraded[DN_M_hw_branches], DN_QUALITY_SCALED);
	assert_true(frame.value[DN_M_hw_running_ratio].f64 > 0.49 &&
		    frame.value[DN_M_hw_running_ratio].f64 < 0.51);
	assert_false(dn_frame_has(&frame, DN_M_hw_cache_references));
	assert_false(dn_frame_has(&frame, DN_M_hw_cache_misses));
	assert_int_equal(machine->degraded[DN_M_hw_cache_misses], DN_QUALITY_MISSING);
	machine_free(machine);
}

static void test_values_never_scheduled(void **state)
{
	struct machine *machine = machine_new(-1);
	struct dn_frame frame = {.final = true};

	machine->pmu.counters = 6;
	memcpy(machine->answer[0], (uint64_t[]){2, 2000003, 0, 0, 0}, 40);
	dn_perf_hardware_probe(&machine->perf, &machine->probe);
	dn_perf_values_sample(&machine->perf, &frame);
	assert_false(dn_frame_has(&frame, DN_M_hw_cycles));
	assert_int_equal(machine->degraded[DN_M_hw_cycles], DN_QUALITY_MISSING);
	machine_free(machine);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_scale),
		cmocka_unit_test(test_decode_group),
		cmocka_unit_test(test_combine),
		cmocka_unit_test(test_combine_hybrid),
		cmocka_unit_test(test_groups),
		cmocka_unit_test(test_groups_absent),
		cmocka_unit_test(test_groups_user_only),
		cmocka_unit_test(test_groups_fail_midway),
		cmocka_unit_test(test_hardware_none),
		cmocka_unit_test(test_hardware_extras),
		cmocka_unit_test(test_hardware_denied),
		cmocka_unit_test(test_hardware_hybrid),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_values_never_scheduled),
	};

	return cmocka_run_group_tests(tests, make_root, remove_root);
}

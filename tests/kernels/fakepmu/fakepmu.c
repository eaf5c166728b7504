/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * A PMU that is none, for guests of an emulator that has no PMU: every event counts the time that
 * it spends on a counter, times a rate of its own. So each ratio, each total and each share of time
 * is known in advance. It proves how counters are opened, grouped, inherited, multiplexed and
 * scaled; it says nothing about hardware. Half of each count is said to be the kernel's.
 *
 * ncounters  counters per CPU; more events take turns, a larger group is refused
 * held       of those, taken by somebody else: opening does not tell, running does
 * dead       1: cache references and misses open and never count
 * hybrid     1: cpu_core on even CPUs and cpu_atom on odd ones, in place of cpu
 */
#include <linux/cpumask.h>
#include <linux/math64.h>
#include <linux/module.h>
#include <linux/percpu.h>
#include <linux/perf_event.h>
#include <linux/sched/clock.h>
#include <linux/sysfs.h>

static int ncounters = 16, held, dead, hybrid;
module_param(ncounters, int, 0644);
module_param(held, int, 0644);
module_param(dead, int, 0644);
module_param(hybrid, int, 0444);

static DEFINE_PER_CPU(int, used);

struct rate {
	u32 type;
	u64 config;
	u32 per_us;
};

#define CACHE(cache, result)                                                                       \
	(PERF_COUNT_HW_CACHE_##cache | PERF_COUNT_HW_CACHE_OP_READ << 8 |                          \
		PERF_COUNT_HW_CACHE_RESULT_##result << 16)

static const struct rate rates[] = {
	{PERF_TYPE_HARDWARE, PERF_COUNT_HW_CPU_CYCLES, 3000},
	{PERF_TYPE_HARDWARE, PERF_COUNT_HW_INSTRUCTIONS, 2400},
	{PERF_TYPE_HARDWARE, PERF_COUNT_HW_CACHE_REFERENCES, 60},
	{PERF_TYPE_HARDWARE, PERF_COUNT_HW_CACHE_MISSES, 12},
	{PERF_TYPE_HARDWARE, PERF_COUNT_HW_BRANCH_INSTRUCTIONS, 480},
	{PERF_TYPE_HARDWARE, PERF_COUNT_HW_BRANCH_MISSES, 24},
	{PERF_TYPE_HARDWARE, PERF_COUNT_HW_BUS_CYCLES, 100},
	{PERF_TYPE_HARDWARE, PERF_COUNT_HW_STALLED_CYCLES_FRONTEND, 300},
	{PERF_TYPE_HARDWARE, PERF_COUNT_HW_STALLED_CYCLES_BACKEND, 600},
	{PERF_TYPE_HARDWARE, PERF_COUNT_HW_REF_CPU_CYCLES, 2000},
	{PERF_TYPE_HW_CACHE, CACHE(L1D, ACCESS), 800},
	{PERF_TYPE_HW_CACHE, CACHE(L1D, MISS), 40},
	{PERF_TYPE_HW_CACHE, CACHE(LL, ACCESS), 50},
	{PERF_TYPE_HW_CACHE, CACHE(LL, MISS), 10},
	{PERF_TYPE_HW_CACHE, CACHE(DTLB, ACCESS), 800},
	{PERF_TYPE_HW_CACHE, CACHE(DTLB, MISS), 2},
	{PERF_TYPE_RAW, 0x3c, 3000},
	{PERF_TYPE_RAW, 0xc0, 2400},
};

static struct pmu fake, fake_atom;

static bool is_ours(const struct perf_event *event)
{
	return event->pmu == &fake || event->pmu == &fake_atom;
}

/* By the clock that time_running is made from: a slow emulator's delays between the two would blur
 * what is to be proven. */
static u64 counted(const struct perf_event *event)
{
	return mul_u64_u32_div(event->ctx->time, (u32)(unsigned long)event->pmu_private, 1000);
}

/* A BPF program reads the events of a CPU without bringing their clock up to date. */
static u64 counted_now(const struct perf_event *event)
{
	const struct perf_event_context *ctx = event->ctx;
	u64 time = ctx->time;

	if (!ctx->task)
		time += local_clock() - ctx->timestamp;
	return mul_u64_u32_div(time, (u32)(unsigned long)event->pmu_private, 1000);
}

static void fake_update(struct perf_event *event, u64 now)
{
	u64 before;

	if (event->hw.state & PERF_HES_STOPPED)
		return;
	before = local64_xchg(&event->hw.prev_count, now);
	local64_add(now - before, &event->count);
}

static void fake_read(struct perf_event *event)
{
	fake_update(event, counted_now(event));
}

static void fake_start(struct perf_event *event, int flags)
{
	local64_set(&event->hw.prev_count, counted(event));
	event->hw.state = 0;
}

static void fake_stop(struct perf_event *event, int flags)
{
	fake_update(event, counted(event));
	event->hw.state = PERF_HES_STOPPED | PERF_HES_UPTODATE;
}

static int fake_add(struct perf_event *event, int flags)
{
	if (__this_cpu_read(used) + held >= ncounters)
		return -EAGAIN; /* the core takes turns then */
	__this_cpu_inc(used);
	event->hw.state = PERF_HES_STOPPED | PERF_HES_UPTODATE;
	if (flags & PERF_EF_START)
		fake_start(event, flags);
	perf_event_update_userpage(event);
	return 0;
}

static void fake_del(struct perf_event *event, int flags)
{
	fake_stop(event, flags);
	__this_cpu_dec(used);
	perf_event_update_userpage(event);
}

static int group_size(struct perf_event *event)
{
	struct perf_event *leader = event->group_leader, *other;
	int n = 1;

	if (leader == event)
		return n;
	n += is_ours(leader);
	for_each_sibling_event(other, leader) n += is_ours(other);
	return n;
}

static int fake_init(struct perf_event *event)
{
	u32 type = event->attr.type;
	unsigned int i;

	if (type == event->pmu->type)
		type = PERF_TYPE_RAW;
	if (hybrid && event->cpu >= 0 && (event->pmu == &fake_atom) != (event->cpu & 1))
		return -ENOENT;
	if (is_sampling_event(event) || has_branch_stack(event))
		return -EOPNOTSUPP;
	for (i = 0; i < ARRAY_SIZE(rates); i++) {
		unsigned long per_us = rates[i].per_us;

		if (rates[i].type != type || rates[i].config != event->attr.config)
			continue;
		if (group_size(event) > ncounters)
			return -EINVAL;
		if (event->attr.exclude_kernel)
			per_us /= 2;
		if (event->pmu == &fake_atom)
			per_us /= 2;
		if (dead && type == PERF_TYPE_HARDWARE &&
			(event->attr.config == PERF_COUNT_HW_CACHE_REFERENCES ||
				event->attr.config == PERF_COUNT_HW_CACHE_MISSES))
			per_us = 0;
		event->pmu_private = (void *)per_us;
		return 0;
	}
	return -ENOENT;
}

static int hybrid_match(struct perf_event *event)
{
	return (event->pmu == &fake_atom) == (smp_processor_id() & 1);
}

static ssize_t cpus_show(struct device *dev, struct device_attribute *attr, char *page)
{
	bool atom = dev_get_drvdata(dev) == &fake_atom;
	ssize_t n = 0;
	int cpu;

	for_each_online_cpu(cpu)
	{
		if ((cpu & 1) == atom)
			n += sysfs_emit_at(page, n, "%s%d", n ? "," : "", cpu);
	}
	return n + sysfs_emit_at(page, n, "\n");
}

static DEVICE_ATTR_RO(cpus);
static struct attribute *hybrid_attrs[] = {&dev_attr_cpus.attr, NULL};
static const struct attribute_group hybrid_group = {.attrs = hybrid_attrs};

PMU_FORMAT_ATTR(event, "config:0-7");
PMU_FORMAT_ATTR(umask, "config:8-15");
static struct attribute *format_attrs[] = {&format_attr_event.attr, &format_attr_umask.attr, NULL};
static const struct attribute_group format_group = {.name = "format", .attrs = format_attrs};

PMU_EVENT_ATTR_STRING(instructions, event_instructions, "event=0xc0");
static struct attribute *event_attrs[] = {&event_instructions.attr.attr, NULL};
static const struct attribute_group event_group = {.name = "events", .attrs = event_attrs};

static const struct attribute_group *plain_groups[] = {&format_group, &event_group, NULL};
static const struct attribute_group *hybrid_groups[] = {
	&format_group, &event_group, &hybrid_group, NULL};

static void pmu_fill(struct pmu *pmu)
{
	*pmu = (struct pmu){.module = THIS_MODULE,
		.task_ctx_nr = perf_hw_context,
		.capabilities = PERF_PMU_CAP_NO_INTERRUPT,
		.attr_groups = plain_groups,
		.event_init = fake_init,
		.add = fake_add,
		.del = fake_del,
		.start = fake_start,
		.stop = fake_stop,
		.read = fake_read};
	if (hybrid) {
		pmu->attr_groups = hybrid_groups;
		pmu->capabilities |=
			PERF_PMU_CAP_EXTENDED_HW_TYPE | PERF_PMU_CAP_HETEROGENEOUS_CPUS;
		pmu->filter_match = hybrid_match;
	}
}

static int __init fakepmu_init(void)
{
	int r;

	pmu_fill(&fake);
	r = perf_pmu_register(&fake, hybrid ? "cpu_core" : "cpu", PERF_TYPE_RAW);
	if (r || !hybrid)
		return r;
	pmu_fill(&fake_atom);
	r = perf_pmu_register(&fake_atom, "cpu_atom", -1);
	if (r)
		perf_pmu_unregister(&fake);
	return r;
}

static void __exit fakepmu_exit(void)
{
	if (hybrid)
		perf_pmu_unregister(&fake_atom);
	perf_pmu_unregister(&fake);
}

module_init(fakepmu_init);
module_exit(fakepmu_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("A PMU with known rates, for tests");

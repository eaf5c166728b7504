/* SPDX-License-Identifier: Apache-2.0 */
/*
 * System calls: one hook at their exit, and one at their entry when somebody needs the time. All
 * groups that look at calls share these two, since the hook itself is what costs; what is not
 * wanted is cut out when the programs are loaded (dn_features). Who wants nothing but counts loads
 * counts.bpf.c instead.
 */
#include "group-file.bpf.h"
#include "group-limits.bpf.h"
#include "group-locks.bpf.h"
#include "group-network.bpf.h"
#include "group-memory.bpf.h"
#include "group-security.bpf.h"
#include "group-syscalls.bpf.h"

/* The last one is for calls of other ABIs. User space makes it small when nobody wants it. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, DN_CALLS_LATENCY + 1);
	__type(key, u32);
	__type(value, struct dn_wire_histogram);
} dn_call_latency SEC(".maps");

static __always_inline void time_call(const struct call *call, struct dn_task *task)
{
	u32 slot = call->index < DN_CALLS_LATENCY ? call->index : DN_CALLS_LATENCY;
	struct dn_wire_histogram *histogram = bpf_map_lookup_elem(&dn_call_latency, &slot);
	struct dn_wire_call *sum = call_sum(call->index);
	u32 weight = task->latency_weight;

	if (sum)
		sum->time_ns += call->duration_ns * weight;
	if (!histogram)
		return;
	if (dn_features & DN_FEATURE_SAMPLED)
		histogram_add_weighted(histogram, call->duration_ns, weight);
	else
		histogram_add(histogram, call->duration_ns);
}

DN_RAW_TRACEPOINT(sys_enter)
int BPF_PROG(dn_sys_enter, struct pt_regs *regs, long nr)
{
	struct dn_task *task = task_counting();

	if (!task)
		return 0;
	if (dn_features & DN_FEATURE_FILE)
		file_enter(task, regs, nr);
	if (dn_features & DN_FEATURE_MEMORY)
		memory_enter(task, regs, nr);
	if (!(dn_features & (DN_FEATURE_LATENCY | DN_FEATURE_TIMED_OTHERS)))
		return 0;
	if (dn_features & DN_FEATURE_LATENCY) {
		task->latency_weight = (u32)sample_weight(DN_GROUP_LATENCY);
		/* Nobody else needs the time of a call that is not looked at. */
		if (!task->latency_weight && !(dn_features & DN_FEATURE_TIMED_OTHERS)) {
			task->enter_ns = 0;
			return 0;
		}
	}
	task->enter_ns = bpf_ktime_get_ns();
	return 0;
}

DN_RAW_TRACEPOINT(sys_exit)
int BPF_PROG(dn_sys_exit, struct pt_regs *regs, long result)
{
	struct dn_task *task = task_counting();
	struct call call = {};
	u64 weight;

	if (!task || !call_ends(&call, regs, result))
		return 0;
	if (task->enter_ns) {
		call.now_ns = bpf_ktime_get_ns();
		call.duration_ns = call.now_ns - task->enter_ns;
		task->enter_ns = 0;
	}
	if (dn_features & DN_FEATURE_COUNT) {
		weight = sample_weight(DN_GROUP_SYSCALLS);
		if (weight)
			count_call(&call, task, weight);
	}
	if (dn_features & DN_FEATURE_LATENCY && call.duration_ns && task->latency_weight)
		time_call(&call, task);
	if (dn_features & DN_FEATURE_LOCKS)
		locks_exit(&call, task);
	if (dn_features & DN_FEATURE_LIMITS)
		limits_exit(&call);
	if (dn_features & DN_FEATURE_FILE)
		file_exit(&call, task);
	if (dn_features & DN_FEATURE_SECURITY)
		security_exit(&call, task);
	if (dn_features & DN_FEATURE_NETWORK)
		network_exit(&call);
	if (dn_features & DN_FEATURE_MEMORY)
		memory_exit(&call, task);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * System calls: one hook at their exit, and one at their entry when somebody needs the time. All
 * groups that look at calls share these two, since the hook itself is what costs; what is not
 * wanted is cut out when the programs are loaded (dn_features).
 */
#include "call.bpf.h"
#include "group-file.bpf.h"
#include "group-limits.bpf.h"
#include "group-locks.bpf.h"
#include "group-network.bpf.h"
#include "group-memory.bpf.h"
#include "group-security.bpf.h"

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, DN_CALLS_N + 1);
	__type(key, u32);
	__type(value, struct dn_wire_call);
} dn_calls SEC(".maps");

/* The last one is for calls of other ABIs. User space makes it small when nobody wants it. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, DN_CALLS_LATENCY + 1);
	__type(key, u32);
	__type(value, struct dn_wire_histogram);
} dn_call_latency SEC(".maps");

/* clone and fork return twice; the child's return is no call that it made. */
static __always_inline bool is_birth(u32 index, s64 result)
{
	if (result != 0)
		return false;
#if defined(__TARGET_ARCH_x86)
	return index == 56 || index == 57 || index == 58 || index == 435 ||
	       index == DN_CALLS_PER_ABI + 2 || index == DN_CALLS_PER_ABI + 120 ||
	       index == DN_CALLS_PER_ABI + 190 || index == DN_CALLS_PER_ABI + 435;
#else
	return index == 220 || index == 435 || index == DN_CALLS_PER_ABI + 2 ||
	       index == DN_CALLS_PER_ABI + 120 || index == DN_CALLS_PER_ABI + 190 ||
	       index == DN_CALLS_PER_ABI + 435;
#endif
}

static __always_inline void count_call(const struct call *call, struct dn_task *task, u64 weight)
{
	struct dn_wire_call *sum = bpf_map_lookup_elem(&dn_calls, &call->index);
	bool error = is_error(call->result);

	task->calls += weight;
	if (error)
		task->errors += weight;
	if (!sum)
		return;
	sum->count += weight;
	if (error)
		sum->errors += weight;
}

static __always_inline void time_call(const struct call *call, struct dn_task *task)
{
	u32 slot = call->index < DN_CALLS_LATENCY ? call->index : DN_CALLS_LATENCY;
	struct dn_wire_histogram *histogram = bpf_map_lookup_elem(&dn_call_latency, &slot);
	struct dn_wire_call *sum = bpf_map_lookup_elem(&dn_calls, &call->index);
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
	struct task_struct *self = task_now();
	struct call call = {};
	u64 weight;
	s64 nr;

	if (!task)
		return 0;
	nr = current_call(self, regs);
	call.regs = (u64)regs;
	call.result = result;
	call.index = call_index(nr, task_abi(self));
	/* Somebody called number -1; after rt_sigreturn the result is the interrupted code's. */
	if (nr == -1 && result == -38 /* ENOSYS */)
		call.index = DN_CALLS_N;
	if (is_birth(call.index, result))
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

/* Calls that never return are counted where the thread ends. */
DN_TASK_TRACEPOINT(sched_process_exit)
int dn_last_call(unsigned long long *ctx)
{
	struct task_struct *leaving = ctx_task(ctx);
	struct dn_task *task = task_find(leaving);
	struct call call = {};
	s64 nr;

	if (!task)
		note_outside();
	if (!task || !(task->flags & DN_TASK_ACTIVE))
		return 0;
	nr = regs_call(task_regs(leaving));
	call.index = call_index(nr, task_abi(leaving));
#if defined(__TARGET_ARCH_x86)
	if (call.index != 60 && call.index != 231 && call.index != DN_CALLS_PER_ABI + 1 &&
		call.index != DN_CALLS_PER_ABI + 252)
		return 0;
#else
	if (call.index != 93 && call.index != 94 && call.index != DN_CALLS_PER_ABI + 1 &&
		call.index != DN_CALLS_PER_ABI + 248)
		return 0;
#endif
	if (dn_features & DN_FEATURE_COUNT) {
		u64 weight = sample_weight(DN_GROUP_SYSCALLS);

		if (weight)
			count_call(&call, task, weight);
	}
	return 0;
}

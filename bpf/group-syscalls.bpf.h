/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counting calls, for the two objects that do: the one that does nothing else (counts.bpf.c) and
 * the one that holds all groups that look at calls (syscalls.bpf.c).
 */
#ifndef DENET_GROUP_SYSCALLS_BPF_H
#define DENET_GROUP_SYSCALLS_BPF_H

#include "call.bpf.h"

/* In rows, since each entry of a per-CPU table costs the start a third of a microsecond. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, DN_CALL_ROWS);
	__type(key, u32);
	__type(value, struct dn_wire_calls);
} dn_calls SEC(".maps");

static __always_inline struct dn_wire_call *call_sum(u32 index)
{
	u32 row = index / DN_CALLS_PER_ROW, in_row = index % DN_CALLS_PER_ROW;
	struct dn_wire_calls *calls = bpf_map_lookup_elem(&dn_calls, &row);

	if (!calls)
		return 0;
	KEEP(in_row); /* no arithmetic on the pointer before it was checked */
	return in_row < DN_CALLS_PER_ROW ? &calls->call[in_row] : 0;
}

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
	struct dn_wire_call *sum = call_sum(call->index);
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

/* The call that ends here; false for none: a birth. */
static __always_inline bool call_ends(struct call *call, struct pt_regs *regs, long result)
{
	struct task_struct *self = task_now();
	s64 nr = current_call(self, regs);

	call->regs = (u64)regs;
	call->result = result;
	call->index = call_index(nr, task_abi(self));
	/* Somebody called number -1; after rt_sigreturn the result is the interrupted code's. */
	if (nr == -1 && result == -38 /* ENOSYS */)
		call->index = DN_CALLS_N;
	return !is_birth(call->index, result);
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

#endif

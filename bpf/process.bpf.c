/* SPDX-License-Identifier: Apache-2.0 */
/* Who is in the tree, from birth to death. The end itself is told by a switch (switch.bpf.c). */
#include <asm-generic/errno-base.h>

#include "usage.bpf.h"

struct dn_birth {
	u64 start_ns;
	u32 tgid, zero;
};

/*
 * Processes whose end was noticed, for as long as others of their threads may notice it. Each CPU
 * has as many places, made by user space, and takes them from nobody else.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(map_flags, BPF_F_NO_COMMON_LRU);
	__uint(max_entries, 1);
	__type(key, struct dn_birth);
	__type(value, u32);
} dn_ended SEC(".maps");

/* Lives */

/*
 * The kernel runs no program on top of itself on one CPU. Where others can preempt a program (Linux
 * 7), it leaves out what they do there until that one goes on, be it a birth. So each of these hooks
 * has a second program, loaded there only, for what the first one did not see: both would have to be
 * preempted at once.
 */
static __always_inline bool is_seen(struct dn_task *state, u32 what, bool again)
{
	if (!again) {
		state->seen |= what;
		return false;
	}
	if (!(state->seen & what))
		return false;
	state->seen &= ~what;
	return true;
}

static __always_inline int on_fork(
	struct task_struct *parent, struct task_struct *child, bool again)
{
	struct dn_task *state = task_find(parent), *born;
	struct dn_wire_control *c = control();
	struct dn_wire_totals *sum = totals();
	struct dn_wire_record *record;
	bool thread;

	if (!state)
		note_outside();
	if (!state || !c || !sum || state->flags & DN_TASK_WAITS_FOR_EXEC)
		return 0;
	if (is_seen(state, DN_SEEN_FORK, again))
		return 0;
	thread = child->tgid == parent->tgid;
	if (!thread && c->no_children)
		return 0;
	born = task_make(child);
	if (!born) {
		lose(DN_LOSS_TASK);
		return 0;
	}
	born->flags = state->flags & DN_TASK_ACTIVE;
	if (!born->flags)
		return 0;
	if (thread) {
		born->start_ns = state->start_ns; /* its process' */
		sum->threads++;
		return 0;
	}
	sum->forks++;
	record = record_reserve(sizeof(*record));
	if (!record)
		return 0;
	record_head(record, DN_RECORD_FORK, child, 0);
	record_submit(record);
	return 0;
}

DN_TRACEPOINT(sched_process_fork)
int BPF_PROG(dn_fork, struct task_struct *parent, struct task_struct *child)
{
	return on_fork(parent, child, false);
}

DN_TRACEPOINT(sched_process_fork)
int BPF_PROG(dn_fork_again, struct task_struct *parent, struct task_struct *child)
{
	return on_fork(parent, child, true);
}

#ifdef DENET_HASH
/* A thread that isn't the leader executes: from then on it has the leader's number. */
static __always_inline struct dn_task *take_number(struct task_struct *task, u32 old)
{
	struct dn_task *state = bpf_map_lookup_elem(&dn_tasks, &old);
	u32 tid = (u32)task->pid;

	if (!state || tid == old)
		return 0;
	bpf_map_update_elem(&dn_tasks, &tid, state, BPF_ANY);
	bpf_map_delete_elem(&dn_tasks, &old);
	return bpf_map_lookup_elem(&dn_tasks, &tid);
}
#endif

static __always_inline int on_exec(unsigned long long *ctx, bool again)
{
	struct task_struct *task = ctx_task(ctx);
	struct dn_task *state = task_find(task);
	struct dn_wire_totals *sum = totals();
	struct dn_wire_record *record;

#ifdef DENET_HASH
	if (!state)
		state = take_number(task, (u32)ctx[1]);
#endif
	if (!state)
		note_outside();
	if (!state || !sum || is_seen(state, DN_SEEN_EXEC, again))
		return 0;
	if (state->flags & DN_TASK_WAITS_FOR_EXEC)
		state->flags = DN_TASK_ACTIVE;
	if (!(state->flags & DN_TASK_ACTIVE))
		return 0;
	sum->execs++;
	record = record_reserve(sizeof(*record));
	if (!record)
		return 0;
	record_head(record, DN_RECORD_EXEC, task, 0);
	record_submit(record);
	return 0;
}

DN_TASK_TRACEPOINT(sched_process_exec)
int dn_exec(unsigned long long *ctx)
{
	return on_exec(ctx, false);
}

DN_TASK_TRACEPOINT(sched_process_exec)
int dn_exec_again(unsigned long long *ctx)
{
	return on_exec(ctx, true);
}

/* Of the thread itself; by another one (a write to its comm) it is not told. */
DN_TASK_TRACEPOINT(task_rename)
int dn_rename(unsigned long long *ctx)
{
	struct task_struct *task = ctx_task(ctx);
	struct dn_task *state = task_find(task);
	const char *comm = (const char *)ctx[1];
	struct dn_wire_record *record;

	if (!state)
		note_outside();
	if (!state || ctx[0] != bpf_get_current_task() || !(state->flags & DN_TASK_ACTIVE) ||
		task->pid != task->tgid)
		return 0;
	record = record_reserve(sizeof(*record));
	if (!record)
		return 0;
	record_head(record, DN_RECORD_RENAME, task, 0);
	bpf_probe_read_kernel_str(record->comm, sizeof(record->comm), comm);
	record_submit(record);
	return 0;
}

static __always_inline u32 wait_status(struct task_struct *task)
{
	if (BPF_CORE_READ(task, signal, flags) & SIGNAL_GROUP_EXIT)
		return (u32)BPF_CORE_READ(task, signal, group_exit_code);
	return (u32)BPF_CORE_READ(task, group_leader, exit_code);
}

/* Threads that end at once may all find that none of them lives: the first one that does speaks for
 * the process. */
static __always_inline bool is_first_to_find_none(struct task_struct *task)
{
	struct dn_birth birth = {
		.start_ns = BPF_CORE_READ(task, group_leader, start_time), .tgid = (u32)task->tgid};
	u32 one = 1;

	return map_update(&dn_ended, &birth, &one, BPF_NOEXIST) != -EEXIST;
}

/*
 * A process ends with the last switch of its last thread, where its CPU time is complete. What may
 * be gone by then, since its parent may have waited for it, is kept here.
 */
static __always_inline int on_exit(unsigned long long *ctx, bool again)
{
	struct task_struct *task = ctx_task(ctx);
	struct dn_task *state = task_find(task);
	struct dn_wire_totals *sum = totals();
	bool last;

	if (!state)
		note_outside();
	if (!state || !(state->flags & DN_TASK_ACTIVE) || !sum)
		return 0;
	if (is_seen(state, DN_SEEN_EXIT, again))
		return 0;
	last = BPF_CORE_READ(task, signal, live.counter) <= 0;
	if (last && !is_first_to_find_none(task)) {
		u32 tgid = (u32)task->tgid;

		/* Not by process_of(): its end may be told already. */
		harvest(task, state, bpf_map_lookup_elem(&dn_processes, &tgid));
		return 0;
	}
	/* Its last switch has the rest; should the kernel skip that, this much is not lost. */
	harvest(task, state, process_of(task));
	if (!last)
		return 0;
	state->flags |= DN_TASK_LAST;
	state->exit_ns = bpf_ktime_get_ns();
	state->exit_pid = tgid_here(task);
	state->exit_ppid = tgid_here(BPF_CORE_READ(task, real_parent));
	state->exit_status = wait_status(task);
	if (!state->start_ns)
		state->start_ns = BPF_CORE_READ(task, group_leader, start_time);
	sum->leaving++;
	return 0;
}

DN_TASK_TRACEPOINT(sched_process_exit)
int dn_exit(unsigned long long *ctx)
{
	return on_exit(ctx, false);
}

DN_TASK_TRACEPOINT(sched_process_exit)
int dn_exit_again(unsigned long long *ctx)
{
	return on_exit(ctx, true);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Switches: when each thread ran, what it waited for meanwhile, and its end, which is its last one.
 */
#include "usage.bpf.h"

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct dn_wire_sched);
} dn_sched SEC(".maps");

static __always_inline void tell_exit(
	struct task_struct *task, struct dn_task *state, struct dn_wire_usage *process)
{
	struct dn_wire_totals *sum = totals();
	struct dn_wire_record_usage *record;
	u64 peak = BPF_CORE_READ(task, signal, maxrss);
	u32 tgid = (u32)task->tgid;

	if (!sum)
		return;
	sum->exits++;
	if (peak > sum->peak_rss_pages)
		sum->peak_rss_pages = peak;
	record = record_reserve(sizeof(*record));
	if (record) {
		record->head.type = DN_RECORD_EXIT;
		record->head.pid = state->exit_pid;
		record->head.ppid = state->exit_ppid;
		record->head.value = state->exit_status;
		record->head.t_ns = state->exit_ns;
		bpf_probe_read_kernel(record->head.comm, sizeof(record->head.comm), &task->comm);
		record->start_ns = state->start_ns;
		record->birth_ns = BPF_CORE_READ(task, group_leader, start_time);
		record->peak_rss_pages = peak;
		record->virtual_pages = record->threads = 0;
		bpf_probe_read_kernel(&record->usage, sizeof(record->usage), process);
		record_submit(record);
	}
	bpf_map_delete_elem(&dn_processes, &tgid);
}

/*
 * How long it waited for the CPU that it has, by the kernel's own sum, which is complete once it
 * runs: so no hook is needed where threads are woken.
 */
static __always_inline void account_wait(struct task_struct *task, struct dn_task *state)
{
	u64 sum = task->sched_info.run_delay, delay = sum - state->delay_seen_ns;
	u64 spent = state->pending_ns, whole = state->on_ns - state->blocked_ns;
	u64 kind = state->kind;
	u32 zero = 0;
	struct dn_wire_totals *all = totals();
	struct dn_wire_sched *sched;

	state->delay_seen_ns = sum;
	if (!dn_details || !all || !state->on_ns)
		return;
	sched = bpf_map_lookup_elem(&dn_sched, &zero);
	if (!sched)
		return;
	histogram_add(&sched->run_delay, delay);
	/* Older verifiers forget a bound that the compiler checked in another register. */
	KEEP(kind);
	if (kind == DN_BLOCKED_NONE || kind >= DN_BLOCKED_N)
		return;
	state->kind = DN_BLOCKED_NONE;
	all->blocked_ns[kind] += spent > delay ? spent - delay : 0;
	histogram_add(&sched->blocked[kind], whole > delay ? whole - delay : 0);
}

static __always_inline void switched_out(
	struct task_struct *task, struct dn_task *state, bool preempted, u64 now)
{
	struct dn_wire_usage *process;
	u32 tgid = (u32)task->tgid;
	u64 why;

	if (!(state->flags & DN_TASK_ACTIVE)) {
		state->on_ns = 0;
		return;
	}
	/* Kernels were seen to skip the event of a switch: it can't go without having come. */
	if (!state->on_ns &&
		(state->owed_ns || task->sched_info.run_delay != state->delay_seen_ns)) {
		u32 kind;

		state->on_ns = now;
		state->pending_ns = owed(state, now, &kind);
	}
	account_wait(task, state);
	if (state->on_ns)
		state->on_cpu_ns += now - state->on_ns;
	state->on_ns = 0;
	state->ran = 1;
	state->owed_ns = 0;
	why = task_state_of(task);
	if (why & TASK_DEAD) {
		/* It was made at the exit, and may be gone when others were quicker. */
		process = bpf_map_lookup_elem(&dn_processes, &tgid);
		harvest(task, state, process);
		if (state->flags & DN_TASK_LAST && process)
			tell_exit(task, state, process);
#ifdef DENET_HASH
		{
			u32 tid = task->pid;

			bpf_map_delete_elem(&dn_tasks, &tid);
		}
#endif
	} else if (why && !preempted) {
		state->kind = dn_details ? kind_of(task) : DN_BLOCKED_OTHER;
		state->blocked_ns = now;
		state->owed_ns = now;
	}
}

static __always_inline void switched_in(struct task_struct *task, struct dn_task *state, u64 now)
{
	struct dn_wire_totals *sum = totals();
	u32 kind;

	if (sum)
		sum->arrivals++;
	state->on_ns = now;
	state->ran = 1;
	/* The gated command gets its CPU to go: here, and not at its exec, the kernel's sums are
	 * whole. */
	if (state->flags & DN_TASK_WAITS_FOR_EXEC && !state->start_ns) {
		state->start_ns = now;
		baseline(task, state);
	}
	if (!(state->flags & DN_TASK_ACTIVE))
		return;
	state->pending_ns = owed(state, now, &kind);
	state->owed_ns = 0;
}

DN_TRACEPOINT(sched_switch)
int BPF_PROG(dn_switch, bool preempted, struct task_struct *prev, struct task_struct *next)
{
	struct dn_task *out = task_find(prev), *in = task_find(next);
	u64 now;

	if (!out) {
		KEEP(in); /* else the compiler asks for both at once, with arithmetic on pointers */
		if (!in) {
			note_outside();
			return 0;
		}
	}
	now = bpf_ktime_get_ns();
	if (out)
		switched_out(prev, out, preempted, now);
	if (in)
		switched_in(next, in, now);
	return 0;
}

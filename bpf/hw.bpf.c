/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hardware counters of each process. The counters count all that a CPU does; they are read when a
 * thread of the tree gets a CPU and when it leaves it, and the difference is the thread's. What
 * runs while denet looks is brought up to date by dn_hw_look, which user space runs on each CPU.
 */
#include "common.bpf.h"

#define TASK_DEAD 0x80

/* An event per kind and CPU: kind * dn_hw_cpus + cpu. User space opens them. */
struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(max_entries, DN_HW_N);
	__uint(key_size, sizeof(u32));
	__uint(value_size, sizeof(u32));
} dn_hw_events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct dn_wire_hw_totals);
} dn_hw_totals SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct dn_wire_hw_key);
	__type(value, struct dn_wire_hw_process);
} dn_hw_processes SEC(".maps");

/* What the counters of a CPU said. */
struct dn_hw_reading {
	u32 tid; /* whose time on this CPU began then; 0: of nobody who counts */
	u32 valid; /* a bit per kind */
	struct bpf_perf_event_value at[DN_HW_N];
};

/* [0]: when the thread that runs now got the CPU; [1]: just now. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 2);
	__type(key, u32);
	__type(value, struct dn_hw_reading);
} dn_hw_readings SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct dn_wire_hw_process);
} dn_hw_scratch SEC(".maps");

/* Set before loading. */
const volatile u32 dn_hw_kinds; /* a bit per kind that counts here */
const volatile u32 dn_hw_cpus;

static __always_inline struct dn_hw_reading *reading(u32 which)
{
	return bpf_map_lookup_elem(&dn_hw_readings, &which);
}

static __noinline void read_counters(struct dn_hw_reading *now)
{
	u32 cpu = bpf_get_smp_processor_id(), valid = 0;

	for (u32 i = 0; i < DN_HW_N; i++) {
		if (dn_hw_kinds >> i & 1 &&
			bpf_perf_event_read_value(&dn_hw_events, i * dn_hw_cpus + cpu, &now->at[i],
				sizeof(now->at[i])) == 0)
			valid |= 1u << i;
	}
	now->valid = valid;
}

/* From now on the CPU counts for this thread. */
static __noinline void begin(struct task_struct *task, struct dn_task *state,
	struct dn_hw_reading *start, struct dn_hw_reading *now)
{
	/* Its process' number is searched for once, while it has one; 0 can be the answer. */
	if (!state->group[DN_SLOT_HW])
		state->group[DN_SLOT_HW] = 1ull << 32 | tgid_here(task);
	start->tid = 0;
	start->valid = now->valid;
	for (u32 i = 0; i < DN_HW_N; i++)
		start->at[i] = now->at[i];
	start->tid = (u32)BPF_CORE_READ(task, pid);
}

static __always_inline void copy_comm(struct dn_wire_hw_process *process, struct task_struct *task)
{
	struct task_struct *leader = BPF_CORE_READ(task, group_leader);

	bpf_probe_read_kernel(process->comm, sizeof(process->comm), &leader->comm);
}

static __noinline struct dn_wire_hw_process *process_of(
	struct task_struct *task, struct dn_task *state, bool make)
{
	struct dn_wire_hw_process *process, *fresh;
	struct dn_wire_hw_key key = {};
	u32 zero = 0;

	key.pid = (u32)state->group[DN_SLOT_HW];
	key.birth_ns = BPF_CORE_READ(task, group_leader, start_time);
	process = bpf_map_lookup_elem(&dn_hw_processes, &key);
	if (process || !make)
		return process;
	fresh = bpf_map_lookup_elem(&dn_hw_scratch, &zero);
	if (!fresh)
		return 0;
	copy_comm(fresh, task); /* the rest of it stays zero */
	bpf_map_update_elem(&dn_hw_processes, &key, fresh, BPF_NOEXIST);
	return bpf_map_lookup_elem(&dn_hw_processes, &key);
}

static __noinline void credit(struct task_struct *task, struct dn_task *state,
	const struct dn_hw_reading *from, const struct dn_hw_reading *to)
{
	struct dn_wire_hw_process *process = process_of(task, state, true);
	u32 zero = 0, valid = from->valid & to->valid;
	struct dn_wire_hw_totals *all = bpf_map_lookup_elem(&dn_hw_totals, &zero);

	if (!all)
		return;
	if (valid != dn_hw_kinds)
		all->unread++;
	if (!process)
		all->no_room++;
	for (u32 i = 0; i < DN_HW_N; i++) {
		u64 count = to->at[i].counter - from->at[i].counter;
		u64 enabled = to->at[i].enabled - from->at[i].enabled;
		u64 running = to->at[i].running - from->at[i].running;

		if (!(valid >> i & 1))
			continue;
		all->sum.kind[i].count += count;
		all->sum.kind[i].enabled_ns += enabled;
		all->sum.kind[i].running_ns += running;
		if (!process)
			continue;
		__sync_fetch_and_add(&process->sum.kind[i].count, count);
		__sync_fetch_and_add(&process->sum.kind[i].enabled_ns, enabled);
		__sync_fetch_and_add(&process->sum.kind[i].running_ns, running);
	}
}

/* The last switch of the last thread: user space may take the process out of the table. */
static __noinline void tell_dead(struct task_struct *task, struct dn_task *state)
{
	struct dn_wire_hw_process *process = process_of(task, state, false);

	if (!process)
		return;
	copy_comm(process, task);
	process->dead_ns = bpf_ktime_get_ns();
}

DN_TRACEPOINT(sched_switch)
int BPF_PROG(dn_hw_switch, bool preempted, struct task_struct *prev, struct task_struct *next)
{
	struct dn_task *out = task_find(prev), *in = task_find(next);
	struct dn_hw_reading *start, *now;
	bool begins = in && in->flags & DN_TASK_ACTIVE, ends;

	if (!out && !begins) {
		note_outside();
		return 0;
	}
	start = reading(0);
	now = reading(1);
	if (!start || !now)
		return 0;
	ends = out && out->flags & DN_TASK_ACTIVE && start->tid == (u32)BPF_CORE_READ(prev, pid);
	if (ends || begins)
		read_counters(now);
	if (ends)
		credit(prev, out, start, now);
	start->tid = 0;
	if (begins)
		begin(next, in, start, now);
	if (out && out->flags & DN_TASK_LAST && task_state_of(prev) & TASK_DEAD)
		tell_dead(prev, out);
	return 0;
}

/* The gated command counts from its exec on; this comes before the process table lets it count. */
DN_RAW_TRACEPOINT(sched_process_exec)
int dn_hw_exec(void *ctx)
{
	struct task_struct *task = task_now();
	struct dn_task *state = task_find(task);
	struct dn_hw_reading *start = reading(0), *now = reading(1);

	if (!state || !start || !now)
		return 0;
	if (state->flags & DN_TASK_WAITS_FOR_EXEC) {
		read_counters(now);
		begin(task, state, start, now);
	} else if (state->flags & DN_TASK_ACTIVE) {
		struct dn_wire_hw_process *process = process_of(task, state, false);

		if (process)
			copy_comm(process, task);
	}
	return 0;
}

/* Run by user space on each CPU, in an interrupt of what runs there. */
SEC("raw_tp")
int dn_hw_look(void *ctx)
{
	struct dn_task *state = task_counting();
	struct dn_hw_reading *start = reading(0), *now = reading(1);
	struct task_struct *task = task_now();

	if (!state || !start || !now)
		return 0;
	read_counters(now);
	if (start->tid == (u32)bpf_get_current_pid_tgid())
		credit(task, state, start, now);
	begin(task, state, start, now);
	return 0;
}

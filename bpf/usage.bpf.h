/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a thread used, and what it is blocked in: for those who look at threads, the hooks of their
 * lives (process.bpf.c) and the passes over all of them (pass.bpf.c).
 *
 * Counters of the kernel are read where they are complete: at the last switch of each thread,
 * whoever waits for it; of live threads by a pass. Each reading advances what was counted of the
 * thread before, by compare-and-swap, so that no part is counted twice or lost whoever reads when.
 */
#ifndef DENET_USAGE_BPF_H
#define DENET_USAGE_BPF_H

#include "common.bpf.h"

#define SIGNAL_GROUP_EXIT 0x4
#define TASK_DEAD 0x80
#define TASK_WAKING 0x200

/* What a process used, by tgid: from its first reading to its end. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, u32);
	__type(value, struct dn_wire_usage);
} dn_processes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct dn_wire_usage);
} dn_scratch SEC(".maps");

/* Set before loading: what a call blocks in, by its index in the tables. */
const volatile u8 dn_block_class[DN_CALLS_N];
const volatile bool dn_details; /* the group sched: time by kind, histograms */

/* Usage */

static __noinline __attribute__((unused)) void read_usage(
	struct task_struct *task, const struct dn_task *state, struct dn_wire_usage *usage)
{
	u64 *v = usage->value;
	v[DN_USAGE_CPU_NS] = task->se.sum_exec_runtime;
	v[DN_USAGE_UTIME_NS] = task->utime;
	v[DN_USAGE_STIME_NS] = task->stime;
	v[DN_USAGE_RUN_DELAY_NS] = task->sched_info.run_delay;
	v[DN_USAGE_VOLUNTARY] = task->nvcsw;
	v[DN_USAGE_INVOLUNTARY] = task->nivcsw;
	v[DN_USAGE_MIGRATIONS] = task->se.nr_migrations;
	v[DN_USAGE_MINOR_FAULTS] = task->min_flt;
	v[DN_USAGE_MAJOR_FAULTS] = task->maj_flt;
	if (bpf_core_field_exists(task->ioac.rchar)) {
		v[DN_USAGE_READ_CHARS] = task->ioac.rchar;
		v[DN_USAGE_WRITE_CHARS] = task->ioac.wchar;
		v[DN_USAGE_READ_CALLS] = task->ioac.syscr;
		v[DN_USAGE_WRITE_CALLS] = task->ioac.syscw;
	}
	if (bpf_core_field_exists(task->ioac.read_bytes)) {
		v[DN_USAGE_READ_BYTES] = task->ioac.read_bytes;
		v[DN_USAGE_WRITE_BYTES] = task->ioac.write_bytes;
		v[DN_USAGE_CANCELLED_BYTES] = task->ioac.cancelled_write_bytes;
	}
	v[DN_USAGE_ON_CPU_NS] = state->on_cpu_ns;
	v[DN_USAGE_BLOCKED_NS] = state->off_ns;
	v[DN_USAGE_CALLS] = state->calls;
	v[DN_USAGE_ERRORS] = state->errors;
}

static __noinline __attribute__((unused)) struct dn_wire_usage *process_of(struct task_struct *task)
{
	u32 tgid = (u32)task->tgid;
	struct dn_wire_usage *process = bpf_map_lookup_elem(&dn_processes, &tgid), *zero;
	u32 none = 0;

	if (process)
		return process;
	zero = bpf_map_lookup_elem(&dn_scratch, &none);
	if (!zero)
		return 0;
	__builtin_memset(zero, 0, sizeof(*zero));
	if (map_update(&dn_processes, &tgid, zero, BPF_NOEXIST) < 0 &&
		!bpf_map_lookup_elem(&dn_processes, &tgid))
		lose(DN_LOSS_PROCESS);
	return bpf_map_lookup_elem(&dn_processes, &tgid);
}

struct dn_settlement {
	struct dn_task *state;
	const struct dn_wire_usage *now;
	struct dn_wire_totals *sum;
	struct dn_wire_usage *process;
};

/* Not inlined: of the loop below clang would make one that older verifiers take for endless. */
static __noinline long settle_one(u32 i, struct dn_settlement *s)
{
	u64 more;

	if (i >= DN_USAGE_N)
		return 1;
	more = advance(&s->state->counted[i], s->now->value[i]);
	/* A pass may be preempted here by a switch on its own CPU that adds too. */
	__sync_fetch_and_add(&s->process->value[i], more);
	if (i == DN_USAGE_BLOCKED_NS)
		more = advance(&s->state->off_counted_ns, s->now->value[i]);
	__sync_fetch_and_add(&s->sum->usage.value[i], more);
	return 0;
}

DN_VERIFIED_ONCE int settle(struct dn_task *state, const struct dn_wire_usage *now,
	struct dn_wire_totals *sum, struct dn_wire_usage *process)
{
	struct dn_settlement settlement = {state, now, sum, process};

	if (!state || !now || !sum || !process)
		return 0;
#ifndef DENET_HASH
	/* Here the verifier looks at one of them, and not at twenty. */
	if (bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_loop)) {
		bpf_loop(DN_USAGE_N, settle_one, &settlement, 0);
		return 0;
	}
#endif
	for (u32 i = 0; i < DN_USAGE_N; i++)
		settle_one(i, &settlement);
	return 0;
}

/* Brings the sums up to what the thread used until now. */
static __noinline __attribute__((unused)) void harvest(
	struct task_struct *task, struct dn_task *state, struct dn_wire_usage *process)
{
	struct dn_wire_usage now = {};
	u32 zero = 0;

	if (!process)
		process = bpf_map_lookup_elem(&dn_scratch, &zero); /* nobody reads it there */
	read_usage(task, state, &now);
	settle(state, &now, totals(), process);
}

static __noinline __attribute__((unused)) void baseline(
	struct task_struct *task, struct dn_task *state)
{
	struct dn_wire_usage now = {};

	read_usage(task, state, &now);
	for (u32 i = 0; i < DN_USAGE_N; i++)
		state->counted[i] = now.value[i];
	state->off_counted_ns = state->off_ns;
	state->delay_seen_ns = task->sched_info.run_delay;
}

/* Blocking */

#define S_IFMT 0170000
#define S_IFSOCK 0140000
#define S_IFIFO 0010000

static __always_inline u32 kind_of_fd(struct task_struct *task, u32 fd)
{
	struct fdtable *table = BPF_CORE_READ(task, files, fdt);
	struct file **array, *file = 0;
	u16 mode;

	if (!table || fd >= BPF_CORE_READ(table, max_fds))
		return DN_BLOCKED_OTHER;
	array = BPF_CORE_READ(table, fd);
	bpf_probe_read_kernel(&file, sizeof(file), &array[fd]);
	if (!file)
		return DN_BLOCKED_OTHER;
	mode = BPF_CORE_READ(file, f_inode, i_mode) & S_IFMT;
	if (mode == S_IFSOCK)
		return DN_BLOCKED_NETWORK;
	return mode == S_IFIFO ? DN_BLOCKED_PIPE : DN_BLOCKED_OTHER;
}

static __noinline __attribute__((unused)) u32 kind_of(struct task_struct *task)
{
	struct pt_regs *regs;
	u32 index, kind;
	s64 nr;

	if (BPF_CORE_READ_BITFIELD_PROBED(task, in_iowait))
		return DN_BLOCKED_DISK;
	regs = task_regs(task);
	nr = regs_call(regs);
	if (nr < 0)
		return DN_BLOCKED_OTHER;
	index = call_index(nr, task_abi(task));
	if (index >= DN_CALLS_N)
		return DN_BLOCKED_OTHER;
	kind = dn_block_class[index];
	if (kind == DN_BLOCKED_BY_FD)
		return kind_of_fd(task, (u32)regs_argument(regs, 0));
	return kind;
}

/*
 * The blocked time up to now that is in no sum yet, which it is from here on, and what it was
 * blocked in. One wins it: who reads the kind before it has won has that of the interval won.
 */
static __always_inline u64 owed(struct dn_task *state, u64 now, u32 *kind)
{
	u64 from = state->owed_ns;

	KEEP(from);
	*kind = *(volatile u32 *)&state->kind;
	if (!from || from >= now)
		return 0;
#ifdef DENET_HASH
	state->owed_ns = now;
#else
	if (__sync_val_compare_and_swap(&state->owed_ns, from, now) != from)
		return 0;
#endif
	__sync_fetch_and_add(&state->off_ns, now - from);
	return now - from;
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who is in the tree, from birth to death, and what each used. Counters of the kernel are read
 * where they are complete: at the exit of each thread and at its last switch, whoever waits for it;
 * of live threads by a pass over all tasks. Each reading advances what was counted of the thread
 * before, by compare-and-swap, so that no part is counted twice or lost whoever reads when.
 */
#include "common.bpf.h"

#define SIGNAL_GROUP_EXIT 0x4
#define TASK_DEAD 0x80
#define TASK_UNINTERRUPTIBLE 0x2

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

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct dn_wire_sched);
} dn_sched SEC(".maps");

/* Set before loading: what a call blocks in, by its index in the tables. */
const volatile u8 dn_block_class[DN_CALLS_N];
const volatile bool dn_details; /* the group sched: time by kind, histograms */

/* Usage */

static __noinline void read_usage(
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

/* The compiler shall not make a branch of arithmetic on this value. */
#define KEEP(value) asm volatile("" : "+r"(value))

/*
 * What is new of one counter; 0 when somebody else was quicker. Without branches, as twenty of
 * these in a row would otherwise cost the verifier its time, and the user the start.
 */
static __always_inline u64 advance(u64 *counted, u64 value)
{
	u64 old = *counted, more = value - old, mask = ~(u64)((s64)more >> 63);

	KEEP(mask);
	more &= mask;
	KEEP(more);
#ifdef DENET_HASH
	*counted = old + more; /* no compare-and-swap on the kernels that need this build */
#else
	{
		u64 differs = __sync_val_compare_and_swap(counted, old, old + more) ^ old;

		KEEP(differs);
		mask = ((differs | -differs) >> 63) - 1;
		KEEP(mask);
		more &= mask;
	}
#endif
	return more;
}

static __noinline struct dn_wire_usage *process_of(struct task_struct *task)
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
	if (bpf_map_update_elem(&dn_processes, &tgid, zero, BPF_NOEXIST) < 0 &&
		!bpf_map_lookup_elem(&dn_processes, &tgid))
		lose(DN_LOSS_PROCESS);
	return bpf_map_lookup_elem(&dn_processes, &tgid);
}

/* Brings the sums up to what the thread used until now. */
static __noinline void harvest(
	struct task_struct *task, struct dn_task *state, struct dn_wire_usage *process)
{
	struct dn_wire_usage now = {};
	struct dn_wire_totals *sum = totals();
	u32 zero = 0;

	if (!process)
		process = bpf_map_lookup_elem(&dn_scratch, &zero); /* nobody reads it there */
	if (!sum || !process)
		return;
	read_usage(task, state, &now);
	for (u32 i = 0; i < DN_USAGE_N; i++) {
		u64 more = advance(&state->counted[i], now.value[i]);

		sum->usage.value[i] += more;
		__sync_fetch_and_add(&process->value[i], more);
	}
}

static __noinline void baseline(struct task_struct *task, struct dn_task *state)
{
	struct dn_wire_usage now = {};

	read_usage(task, state, &now);
	for (u32 i = 0; i < DN_USAGE_N; i++)
		state->counted[i] = now.value[i];
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

static __noinline u32 kind_of(struct task_struct *task)
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

/* Puts the blocked time up to now into the sums. Only one wins each part of it. */
static __always_inline void credit_blocked(struct dn_task *state, u64 now)
{
	u64 from = state->owed_ns, spent;
	struct dn_wire_totals *sum;
	u32 kind = state->kind;

	if (!from || from >= now)
		return;
#ifdef DENET_HASH
	state->owed_ns = now;
#else
	if (__sync_val_compare_and_swap(&state->owed_ns, from, now) != from)
		return;
#endif
	spent = now - from;
	__sync_fetch_and_add(&state->off_ns, spent);
	sum = totals();
	if (!sum)
		return;
	/* Woken, it is not blocked in anything any more, but waits for a CPU. */
	if (!state->runnable_ns && kind > DN_BLOCKED_NONE && kind < DN_BLOCKED_N)
		sum->blocked_ns[kind] += spent;
}

static __always_inline void thread_begins(struct task_struct *task, struct dn_task *state, u64 now)
{
	if (task_state_of(task) & 0x3) {
		state->kind = kind_of(task);
		state->owed_ns = now;
		state->blocked_ns = now;
	}
}

/* Lives */

DN_TRACEPOINT(sched_process_fork)
int BPF_PROG(dn_fork, struct task_struct *parent, struct task_struct *child)
{
	struct dn_task *state = task_find(parent), *born;
	struct dn_wire_control *c = control();
	struct dn_wire_totals *sum = totals();
	struct dn_wire_record *record;
	bool thread;

	if (!state || !c || !sum || state->flags & DN_TASK_WAITS_FOR_EXEC)
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
	born->runnable_ns = bpf_ktime_get_ns();
	if (thread) {
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

DN_RAW_TRACEPOINT(sched_process_exec)
int dn_exec(void *ctx)
{
	struct task_struct *task = task_now();
	struct dn_task *state = task_find(task);
	struct dn_wire_totals *sum = totals();
	struct dn_wire_record *record;

	if (!state || !sum)
		return 0;
	if (state->flags & DN_TASK_WAITS_FOR_EXEC) {
		/* The kernel's sum of a running task is as old as the last tick: CPU time counts
		 * from where it was complete, when the command was let through the gate. */
		u64 at_gate = state->on_runtime_ns;

		baseline(task, state);
		state->counted[DN_USAGE_CPU_NS] = at_gate;
		state->flags = DN_TASK_ACTIVE;
	}
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

/* Of the thread itself; by another one (a write to its comm) it is not told. */
DN_RAW_TRACEPOINT(task_rename)
int BPF_PROG(dn_rename, struct task_struct *renamed, const char *comm)
{
	struct task_struct *task = task_now();
	struct dn_task *state = task_find(task);
	struct dn_wire_record *record;

	if (!state || BPF_CORE_READ(renamed, pid) != task->pid ||
		!(state->flags & DN_TASK_ACTIVE) || task->pid != task->tgid)
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

DN_RAW_TRACEPOINT(sched_process_exit)
int dn_exit(void *ctx)
{
	struct task_struct *task = task_now();
	struct dn_task *state = task_find(task);
	struct dn_wire_totals *sum = totals();

	if (!state || !(state->flags & DN_TASK_ACTIVE) || !sum)
		return 0;
	harvest(task, state, process_of(task));
	if (BPF_CORE_READ(task, signal, live.counter) > 0)
		return 0;
	/* The last thread: its process ends with its last switch, where its CPU time is complete.
	 */
	state->flags |= DN_TASK_LAST;
	state->exit_ns = bpf_ktime_get_ns();
	sum->leaving++;
	return 0;
}

/* The last switch of the last thread. */
static __noinline void tell_exit(struct task_struct *task, struct dn_task *state)
{
	struct dn_wire_usage *process = process_of(task);
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
		record_head(&record->head, DN_RECORD_EXIT, task, wait_status(task));
		record->head.t_ns = state->exit_ns;
		record->start_ns = BPF_CORE_READ(task, group_leader, start_time);
		record->peak_rss_pages = peak;
		record->virtual_pages = record->threads = 0;
		if (process)
			bpf_probe_read_kernel(&record->usage, sizeof(record->usage), process);
		else
			__builtin_memset(&record->usage, 0, sizeof(record->usage));
		record_submit(record);
	}
	bpf_map_delete_elem(&dn_processes, &tgid);
}

/* Switches */

static __always_inline void switched_out(struct task_struct *task, bool preempted, u64 now)
{
	struct dn_task *state = task_find(task);
	u64 why;

	if (!state)
		return;
	if (state->on_ns)
		state->on_cpu_ns += now - state->on_ns;
	state->on_ns = 0;
	if (!(state->flags & DN_TASK_ACTIVE))
		return;
	why = task_state_of(task);
	if (why & TASK_DEAD) {
		harvest(task, state, process_of(task));
		if (state->flags & DN_TASK_LAST)
			tell_exit(task, state);
#ifdef DENET_HASH
		{
			u32 tid = task->pid;

			bpf_map_delete_elem(&dn_tasks, &tid);
		}
#endif
	} else if (why == 0 || preempted) {
		state->runnable_ns = now;
	} else {
		state->runnable_ns = 0;
		state->kind = dn_details ? kind_of(task) : DN_BLOCKED_OTHER;
		state->blocked_ns = now;
		state->owed_ns = now;
	}
}

static __always_inline void switched_in(struct task_struct *task, u64 now)
{
	struct dn_task *state = task_find(task);
	struct dn_wire_sched *sched;
	u32 zero = 0, kind;

	if (!state)
		return;
	state->on_ns = now;
	if (state->flags & DN_TASK_WAITS_FOR_EXEC && !state->on_runtime_ns)
		state->on_runtime_ns = task->se.sum_exec_runtime;
	if (!(state->flags & DN_TASK_ACTIVE))
		return;
	credit_blocked(state, now);
	state->owed_ns = 0;
	kind = state->kind;
	if (dn_details) {
		sched = bpf_map_lookup_elem(&dn_sched, &zero);
		if (sched && state->runnable_ns && now > state->runnable_ns)
			histogram_add(&sched->run_delay, now - state->runnable_ns);
		if (sched && kind > DN_BLOCKED_NONE && kind < DN_BLOCKED_N && state->blocked_ns) {
			u64 until = state->runnable_ns ? state->runnable_ns : now;

			if (until >= state->blocked_ns)
				histogram_add(&sched->blocked[kind], until - state->blocked_ns);
		}
	}
	state->kind = DN_BLOCKED_NONE;
	state->runnable_ns = 0;
	state->blocked_ns = 0;
}

DN_TRACEPOINT(sched_switch)
int BPF_PROG(dn_switch, bool preempted, struct task_struct *prev, struct task_struct *next)
{
	u64 now = bpf_ktime_get_ns();

	switched_out(prev, preempted, now);
	switched_in(next, now);
	return 0;
}

DN_TRACEPOINT(sched_wakeup)
int BPF_PROG(dn_wakeup, struct task_struct *task)
{
	struct dn_task *state = task_find(task);
	u64 now;

	if (!state || !(state->flags & DN_TASK_ACTIVE) || state->runnable_ns || state->on_ns)
		return 0;
	now = bpf_ktime_get_ns();
	credit_blocked(state, now);
	state->runnable_ns = now;
	return 0;
}

/* Passes over all tasks */

static __always_inline void mark(struct task_struct *task, struct dn_wire_control *c)
{
	struct task_struct *leader = task->group_leader, *parent = task->real_parent;
	struct dn_task *state = 0;

	if (task_find(task))
		return;
	if (leader && leader != task)
		state = task_find(leader);
	if (!state && parent && !c->no_children) {
		state = task_find(parent);
		if (!state && (parent = parent->group_leader))
			state = task_find(parent);
	}
	if (!state)
		return;
	state = task_make(task);
	if (!state) {
		lose(DN_LOSS_TASK);
		return;
	}
	c->live.changed++;
}

static __noinline void report(struct seq_file *seq, struct task_struct *task)
{
	struct dn_wire_usage *process = process_of(task);
	struct dn_wire_record_usage record = {};

	record_head(&record.head, DN_RECORD_LIVE, task, 0);
	record.start_ns = task->start_time;
	record.peak_rss_pages = BPF_CORE_READ(task, mm, hiwater_rss);
	record.virtual_pages = BPF_CORE_READ(task, mm, total_vm);
	record.threads = (u64)BPF_CORE_READ(task, signal, nr_threads);
	if (process)
		bpf_probe_read_kernel(&record.usage, sizeof(record.usage), process);
	bpf_seq_write(seq, &record, sizeof(record));
}

SEC("dn_iter/task")
int dn_pass(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;
	struct dn_wire_control *c = control();
	struct dn_task *state;
	bool leader;

	if (!task || !c)
		return 0;
	if (c->pass == DN_PASS_MARK) {
		mark(task, c);
		return 0;
	}
	state = task_find(task);
	if (!state)
		return 0;
	if (c->pass == DN_PASS_ACTIVATE) {
		if (state->flags & (DN_TASK_ACTIVE | DN_TASK_WAITS_FOR_EXEC))
			return 0;
		baseline(task, state);
		thread_begins(task, state, bpf_ktime_get_ns());
		state->flags |= DN_TASK_ACTIVE;
		c->live.changed++;
		return 0;
	}
	if (!(state->flags & DN_TASK_ACTIVE))
		return 0;
	leader = task->pid == task->tgid;
	if (c->pass == DN_PASS_REPORT) {
		if (leader && BPF_CORE_READ(task, signal, live.counter) > 0)
			report(ctx->meta->seq, task);
		return 0;
	}
	credit_blocked(state, bpf_ktime_get_ns());
	if (BPF_CORE_READ(task, signal, live.counter) <= 0)
		return 0; /* it told, or is about to tell, of itself */
	harvest(task, state, process_of(task));
	c->live.threads++;
	if (leader) {
		u64 peak = BPF_CORE_READ(task, mm, hiwater_rss);

		c->live.processes++;
		c->live.virtual_pages += BPF_CORE_READ(task, mm, total_vm);
		if (peak > c->live.peak_rss_pages)
			c->live.peak_rss_pages = peak;
	}
	return 0;
}

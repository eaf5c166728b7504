/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Passes over all tasks of the machine: who belongs to the tree when denet attaches, and what live
 * threads used since the last pass. Loaded while the command starts already.
 */
#include "usage.bpf.h"

/*
 * Set before loading: passes mark. A pointer that is followed without copying makes the verifier
 * search all of the kernel's BTF, several times, 0.8 ms each: who never marks is spared that.
 */
const volatile bool dn_marks;

static __always_inline void thread_begins(struct task_struct *task, struct dn_task *state, u64 now)
{
	if (task_state_of(task) & 0x3) {
		state->kind = kind_of(task);
		state->owed_ns = now;
		state->blocked_ns = now;
	}
}

/* As task_state_of(), by a pointer that needs no copying. */
static __always_inline u64 state_now(struct task_struct *task)
{
	if (bpf_core_field_exists(task->__state))
		return task->__state;
	return task_state_of(task);
}

/* A thread that was woken and waits for a CPU has the rest of its time when it runs: only then it
 * is known how much of it was waiting. */
static __always_inline void credit_blocked(
	struct task_struct *task, struct dn_task *state, struct dn_wire_control *c, u64 now)
{
	struct dn_wire_totals *sum = totals();
	u64 spent, index;
	u32 kind;

	if (!(state_now(task) & ~(u64)TASK_WAKING))
		return;
	spent = owed(state, now, &kind);
	index = kind;
	if (!sum || !spent || index >= DN_BLOCKED_N)
		return;
	KEEP(index);
	if (index <= DN_BLOCKED_NONE || index >= DN_BLOCKED_N)
		return;
	__sync_fetch_and_add(&sum->blocked_ns[index], spent);
	c->blocked[index]++;
	c->blocked_until_ns[index] += now;
}

/*
 * Most threads of most trees have not run since the last look: all that changed of such a one is
 * how long it has been blocked. Of it as little memory as possible is touched: ten times a second
 * nothing of it is in a cache any more.
 */
static __always_inline void add_waiting(struct dn_task *state)
{
	struct dn_wire_totals *sum = totals();

	if (sum)
		__sync_fetch_and_add(&sum->usage.value[DN_USAGE_BLOCKED_NS],
			advance(&state->off_counted_ns, state->off_ns));
}

/* A switch that the kernel did not tell of shows in its own counts. */
static __always_inline bool has_run(struct task_struct *task, struct dn_task *state)
{
	return task->nvcsw != state->counted[DN_USAGE_VOLUNTARY] ||
	       task->nivcsw != state->counted[DN_USAGE_INVOLUNTARY];
}

static __noinline void harvest_live(
	struct seq_file *seq, struct task_struct *task, struct dn_task *state)
{
	u32 pid;

	if (BPF_CORE_READ(task, signal, live.counter) <= 0)
		return; /* it told, or is about to tell, of itself */
	if (state->ran) {
		pid = tgid_here(task);
		/* No room: this thread is shown to the program again. */
		if (bpf_seq_write(seq, &pid, sizeof(pid)) < 0)
			return;
#ifdef DENET_HASH
		state->ran = 0;
#else
		/* Not before whether it runs is read: it may get a CPU in between. */
		__sync_lock_test_and_set(&state->ran, 0);
#endif
		if (*(volatile u64 *)&state->on_ns || !state_now(task))
			state->ran = 1; /* it runs on, or is about to */
	}
	harvest(task, state, process_of(task));
}

static __noinline void add_waiting_to_process(struct task_struct *task, struct dn_task *state)
{
	struct dn_wire_usage *process = process_of(task);

	if (process)
		__sync_fetch_and_add(&process->value[DN_USAGE_BLOCKED_NS],
			advance(&state->counted[DN_USAGE_BLOCKED_NS], state->off_ns));
	add_waiting(state);
}

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
	c->changed++;
}

static __noinline void report(struct seq_file *seq, struct task_struct *task)
{
	struct dn_wire_usage *process = process_of(task);
	struct dn_wire_record_usage record = {};

	record_head(&record.head, DN_RECORD_LIVE, task, 0);
	record.start_ns = record.birth_ns = task->start_time;
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
	struct seq_file *seq;
	struct dn_task *state;

	if (!task || !c)
		return 0;
	if (c->pass == DN_PASS_MARK) {
		if (dn_marks)
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
		state->ran = 1; /* whoever has a CPU was not seen to get it */
		state->flags |= DN_TASK_ACTIVE;
		c->changed++;
		return 0;
	}
	if (!(state->flags & DN_TASK_ACTIVE))
		return 0;
	seq = ctx->meta->seq; /* once: see dn_marks */
	if (c->pass == DN_PASS_REPORT) {
		if (task->pid == task->tgid && BPF_CORE_READ(task, signal, live.counter) > 0)
			report(seq, task);
		return 0;
	}
	credit_blocked(task, state, c, bpf_ktime_get_ns());
	if (state->ran || (c->pass == DN_PASS_HARVEST_ALL && has_run(task, state)))
		harvest_live(seq, task, state);
	else if (c->pass == DN_PASS_HARVEST_ALL)
		add_waiting_to_process(task, state);
	else
		add_waiting(state);
	return 0;
}

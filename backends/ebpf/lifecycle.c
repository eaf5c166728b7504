/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The group lifecycle: the process table, and what each process used. The kernel side
 * (bpf/process.bpf.c) adds up what threads used as they end; a pass before each sample adds what
 * live ones used meanwhile.
 */
#include <errno.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include <bpf/libbpf.h>

#include <denet/cpu-split.h>
#include <denet/fs.h>

#include "ebpf.h"

#define LIVES "dn_fork dn_exec dn_exit"
#define USAGE "dn_fork dn_exec dn_exit dn_switch dn_pass"
#define SOURCE_LIVES "tp_btf sched_process_fork, exec, exit"
#define SOURCE_USAGE "tp_btf sched_process_exit, iter/task"
/* Ends of processes while one of their threads is between its end and the hook. */
#define ENDED_PER_CPU 256
#define TICKS "the kernel splits user and system time by sampling at its tick"

static const struct dn_ebpf_metric metrics[] = {
	{DN_M_process_started, DN_QUALITY_EXACT, SOURCE_LIVES, LIVES, NULL},
	{DN_M_process_exited, DN_QUALITY_EXACT, SOURCE_LIVES, LIVES, NULL},
	{DN_M_process_count, DN_QUALITY_EXACT, SOURCE_LIVES, LIVES, NULL},
	{DN_M_process_execs, DN_QUALITY_EXACT, "tp_btf sched_process_exec", LIVES, NULL},
	{DN_M_process_threads_started, DN_QUALITY_EXACT, "tp_btf sched_process_fork", LIVES, NULL},
	{DN_M_process_exits, DN_QUALITY_EXACT, "tp_btf sched_process_exit", LIVES, NULL},
	{DN_M_process_lifetime, DN_QUALITY_EXACT, "tp_btf sched_process_exit", LIVES, NULL},
	{DN_M_cpu_total_ns, DN_QUALITY_EXACT, SOURCE_USAGE, USAGE, NULL},
	{DN_M_cpu_user_ns, DN_QUALITY_SAMPLED, SOURCE_USAGE, USAGE, TICKS},
	{DN_M_cpu_system_ns, DN_QUALITY_SAMPLED, SOURCE_USAGE, USAGE, TICKS},
	{DN_M_cpu_run_delay_ns, DN_QUALITY_EXACT, SOURCE_USAGE, USAGE, NULL},
	{DN_M_cpu_voluntary_switches, DN_QUALITY_EXACT, SOURCE_USAGE, USAGE, NULL},
	{DN_M_cpu_involuntary_switches, DN_QUALITY_EXACT, SOURCE_USAGE, USAGE, NULL},
	{DN_M_cpu_migrations, DN_QUALITY_EXACT, SOURCE_USAGE, USAGE, NULL},
	{DN_M_memory_minor_faults, DN_QUALITY_EXACT, SOURCE_USAGE, USAGE, NULL},
	{DN_M_memory_major_faults, DN_QUALITY_EXACT, SOURCE_USAGE, USAGE, NULL},
	{DN_M_io_read_chars, DN_QUALITY_EXACT, SOURCE_USAGE, USAGE, NULL},
	{DN_M_io_write_chars, DN_QUALITY_EXACT, SOURCE_USAGE, USAGE, NULL},
	{DN_M_io_read_calls, DN_QUALITY_EXACT, SOURCE_USAGE, USAGE, NULL},
	{DN_M_io_write_calls, DN_QUALITY_EXACT, SOURCE_USAGE, USAGE, NULL},
	{DN_M_io_read_bytes, DN_QUALITY_EXACT, SOURCE_USAGE, USAGE, NULL},
	{DN_M_io_write_bytes, DN_QUALITY_EXACT, SOURCE_USAGE, USAGE, NULL},
	{DN_M_io_cancelled_write_bytes, DN_QUALITY_EXACT, SOURCE_USAGE, USAGE, NULL},
};

/* Counters that are as the kernel side has them. */
static const struct {
	unsigned metric;
	enum dn_wire_usage_id usage;
} counters[] = {
	{DN_M_cpu_total_ns, DN_USAGE_CPU_NS},
	{DN_M_cpu_run_delay_ns, DN_USAGE_RUN_DELAY_NS},
	{DN_M_cpu_voluntary_switches, DN_USAGE_VOLUNTARY},
	{DN_M_cpu_involuntary_switches, DN_USAGE_INVOLUNTARY},
	{DN_M_cpu_migrations, DN_USAGE_MIGRATIONS},
	{DN_M_memory_minor_faults, DN_USAGE_MINOR_FAULTS},
	{DN_M_memory_major_faults, DN_USAGE_MAJOR_FAULTS},
	{DN_M_io_read_chars, DN_USAGE_READ_CHARS},
	{DN_M_io_write_chars, DN_USAGE_WRITE_CHARS},
	{DN_M_io_read_calls, DN_USAGE_READ_CALLS},
	{DN_M_io_write_calls, DN_USAGE_WRITE_CALLS},
	{DN_M_io_read_bytes, DN_USAGE_READ_BYTES},
	{DN_M_io_write_bytes, DN_USAGE_WRITE_BYTES},
	{DN_M_io_cancelled_write_bytes, DN_USAGE_CANCELLED_BYTES},
	{DN_M_sched_on_cpu_ns, DN_USAGE_ON_CPU_NS},
	{DN_M_cpu_blocked_ns, DN_USAGE_BLOCKED_NS},
	{DN_M_syscall_count, DN_USAGE_CALLS},
	{DN_M_syscall_errors, DN_USAGE_ERRORS},
};

#define N_COUNTERS (sizeof(counters) / sizeof(counters[0]))

struct lifecycle {
	struct dn_histogram lifetime;
	struct dn_ebpf_table exits;
	struct dn_cpu_split cpu;
	uint64_t code[256], signal[128];
	bool resync; /* records were lost: the table is compared with what lives */
	uintptr_t generation; /* of the pass that compares */
	uint64_t attached_ns; /* who lives since before this has no record of its birth; 0: none */
};

static struct lifecycle *data_of(const struct dn_ebpf *ebpf)
{
	return ebpf->group_data[DN_PROBES_LIFECYCLE];
}

static uint64_t last_of(const struct dn_process *process, unsigned metric)
{
	const struct dn_value *value = &process->value[dn_process_slot(metric)];

	return value->type == DN_VALUE_U64 ? value->u64 : 0;
}

static void divide(struct dn_cpu_split *cpu, const struct dn_wire_usage *usage)
{
	dn_cpu_divide(cpu, usage->value[DN_USAGE_CPU_NS], usage->value[DN_USAGE_UTIME_NS],
		usage->value[DN_USAGE_STIME_NS]);
}

static void put_process(
	const struct dn_ebpf *ebpf, struct dn_process *process, const struct dn_wire_usage *usage)
{
	struct dn_cpu_split cpu = {
		last_of(process, DN_M_cpu_user_ns), last_of(process, DN_M_cpu_system_ns)};

	for (unsigned i = 0; i < N_COUNTERS; i++) {
		if (dn_ebpf_has(ebpf, counters[i].metric))
			dn_process_u64(
				process, counters[i].metric, usage->value[counters[i].usage]);
	}
	divide(&cpu, usage);
	if (dn_ebpf_has(ebpf, DN_M_cpu_user_ns))
		dn_process_u64(process, DN_M_cpu_user_ns, cpu.user_ns);
	if (dn_ebpf_has(ebpf, DN_M_cpu_system_ns))
		dn_process_u64(process, DN_M_cpu_system_ns, cpu.system_ns);
}

/* Records */

static size_t comm_len(const struct dn_wire_record *record)
{
	return strnlen(record->comm, sizeof(record->comm));
}

/* It was there when denet attached, and had ended before the first look at who is there. */
static struct dn_process *unseen_birth(
	struct dn_ebpf *ebpf, const struct dn_wire_record_usage *record)
{
	const struct lifecycle *self = data_of(ebpf);
	pid_t pid = (pid_t)record->head.pid;
	struct dn_process *process;

	if (!ebpf->process_source || pid <= 0 || record->start_ns >= self->attached_ns ||
		self->generation > 1)
		return NULL;
	/* A target was in the tree from the beginning; its end was noticed before its last switch.
	 */
	for (unsigned i = 0; i < ebpf->env->n_targets; i++) {
		if (ebpf->env->targets[i] == pid)
			return NULL;
	}
	process = dn_tree_fork(
		ebpf->core->tree, pid, (pid_t)record->head.ppid, record->head.t_ns, true);
	if (process)
		dn_tree_rename(ebpf->core->tree, pid, record->head.comm, comm_len(&record->head));
	return process;
}

static void on_exit_record(struct dn_ebpf *ebpf, const struct dn_wire_record_usage *record)
{
	struct lifecycle *self = data_of(ebpf);
	struct dn_process *process = dn_tree_find(ebpf->core->tree, (pid_t)record->head.pid);
	int status = (int)record->head.value;
	uint64_t start = record->start_ns;

	/* The command lives from when it is let through its gate. */
	if (!ebpf->env->attach && (pid_t)record->head.pid == ebpf->env->targets[0])
		start = ebpf->core->t0_ns;
	dn_histogram_add(&self->lifetime, dn_sub_sat(record->head.t_ns, start), 1);
	if (WIFSIGNALED(status))
		self->signal[WTERMSIG(status) & 127]++;
	else
		self->code[WEXITSTATUS(status) & 255]++;
	if (!process)
		process = unseen_birth(ebpf, record);
	if (!ebpf->process_source || !process)
		return;
	put_process(ebpf, process, &record->usage);
	dn_tree_exit_status(ebpf->core->tree, (pid_t)record->head.pid, status, record->head.t_ns);
}

static void on_record(struct dn_ebpf *ebpf, const struct dn_wire_record *record, size_t size)
{
	struct dn_tree *tree = ebpf->core->tree;
	pid_t pid = (pid_t)record->pid;

	if (record->type == DN_RECORD_EXIT) {
		on_exit_record(ebpf, (const struct dn_wire_record_usage *)record);
		return;
	}
	if (!ebpf->process_source || pid <= 0)
		return;
	if (record->type == DN_RECORD_FORK)
		(void)dn_tree_fork(tree, pid, (pid_t)record->ppid, record->t_ns, true);
	else if (record->type == DN_RECORD_EXEC)
		dn_tree_exec(tree, pid, record->comm, comm_len(record), record->t_ns);
	else if (record->type == DN_RECORD_RENAME)
		dn_tree_rename(tree, pid, record->comm, comm_len(record));
}

/* Live processes */

static void on_live(struct dn_ebpf *ebpf, const void *entry)
{
	const struct dn_wire_record_usage *record = entry;
	struct lifecycle *self = data_of(ebpf);
	pid_t pid = (pid_t)record->head.pid;
	struct dn_process *process = dn_tree_find(ebpf->core->tree, pid);

	if (!process && ebpf->process_source && pid > 0) {
		process = dn_tree_fork(
			ebpf->core->tree, pid, (pid_t)record->head.ppid, record->head.t_ns, true);
		if (process)
			dn_tree_rename(
				ebpf->core->tree, pid, record->head.comm, comm_len(&record->head));
	}
	if (!process)
		return;
	process->backend[ebpf->base.index] = (void *)self->generation;
	put_process(ebpf, process, &record->usage);
}

static void prepare(struct dn_ebpf *ebpf, const char *name, struct bpf_object *object)
{
	int cpus = libbpf_num_possible_cpus();

	if (strcmp(name, "process") != 0)
		return;
	dn_ebpf_resize(object, "dn_ended", ENDED_PER_CPU * (cpus > 0 ? (uint32_t)cpus : 1));
	if (dn_ebpf_is_preempted())
		return;
	dn_ebpf_leave_out(object, "dn_fork_again");
	dn_ebpf_leave_out(object, "dn_exec_again");
	dn_ebpf_leave_out(object, "dn_exit_again");
}

static int start(struct dn_ebpf *ebpf)
{
	struct lifecycle *self = calloc(1, sizeof(*self));
	int r = self ? 0 : -ENOMEM;

	if (r == 0) {
		ebpf->group_data[DN_PROBES_LIFECYCLE] = self;
		self->generation = 1;
		r = dn_ebpf_flag_targets(ebpf);
	}
	if (r == 0 && ebpf->env->attach)
		r = dn_ebpf_flag_running(ebpf);
	if (r == 0 && ebpf->env->attach) {
		self->attached_ns = dn_now_ns();
		r = dn_ebpf_pass(
			ebpf, DN_PASS_REPORT, sizeof(struct dn_wire_record_usage), on_live);
	}
	return r;
}

/* After lost records: who is not among the living has ended. */
static void resync(struct dn_ebpf *ebpf)
{
	struct lifecycle *self = data_of(ebpf);
	struct dn_process *next;

	self->generation++;
	if (dn_ebpf_pass(ebpf, DN_PASS_REPORT, sizeof(struct dn_wire_record_usage), on_live) < 0)
		return;
	self->resync = false;
	for (struct dn_process *p = dn_tree_first(ebpf->core->tree); p; p = next) {
		next = p->next;
		if (p->backend[ebpf->base.index] != (void *)self->generation)
			dn_tree_exit(ebpf->core->tree, p->pid, dn_now_ns());
	}
}

static void degrade_ends(struct dn_ebpf *ebpf, const char *reason)
{
	dn_ebpf_degrade(ebpf, DN_M_process_exited, DN_QUALITY_LOWER_BOUND, reason);
	dn_ebpf_degrade(ebpf, DN_M_process_count, DN_QUALITY_LOWER_BOUND, reason);
	dn_ebpf_degrade(ebpf, DN_M_process_exits, DN_QUALITY_LOWER_BOUND, reason);
	dn_ebpf_degrade(ebpf, DN_M_process_lifetime, DN_QUALITY_LOWER_BOUND, reason);
}

static void check_losses(struct dn_ebpf *ebpf, bool final)
{
	struct lifecycle *self = data_of(ebpf);
	static const char text[] = "records of births and deaths were lost";

	if (ebpf->losses[DN_LOSS_RING] > ebpf->losses_told[DN_LOSS_RING]) {
		self->resync = true;
		dn_ebpf_degrade(ebpf, DN_M_process_started, DN_QUALITY_LOWER_BOUND, text);
		degrade_ends(ebpf, text);
	}
	/* The last look has waited for them. */
	if (final && ebpf->totals.leaving > ebpf->totals.exits) {
		self->resync = true;
		degrade_ends(ebpf, "the last switch of a process that ended was not seen");
	}
	if (self->resync && ebpf->process_source)
		resync(ebpf);
}

static void put_exits(struct dn_ebpf *ebpf, struct dn_frame *frame)
{
	static const char *const columns[] = {"count"};
	struct lifecycle *self = data_of(ebpf);

	dn_ebpf_table_begin(&self->exits, columns, 1, 256 + 128);
	for (unsigned i = 0; i < 256 + 128; i++) {
		uint64_t n = i < 256 ? self->code[i] : self->signal[i - 256];
		const char *abbreviation = i < 256 ? NULL : sigabbrev_np((int)i - 256);
		struct dn_table_row *row;
		char key[32];

		if (!n)
			continue;
		if (i < 256)
			snprintf(key, sizeof(key), "%u", i);
		else if (abbreviation)
			snprintf(key, sizeof(key), "SIG%s", abbreviation);
		else
			snprintf(key, sizeof(key), "signal_%u", i - 256);
		row = dn_ebpf_table_row(&self->exits, key);
		if (row)
			dn_ebpf_table_add(row, 0, n);
	}
	dn_frame_table(frame, DN_M_process_exits, dn_ebpf_table_end(&self->exits, 0));
}

static void sample(struct dn_ebpf *ebpf, struct dn_frame *frame)
{
	struct lifecycle *self = data_of(ebpf);
	const struct dn_wire_usage *usage = &ebpf->totals.usage;

	check_losses(ebpf, frame->final);
	if (ebpf->alive && (ebpf->env->per_process || frame->final)) {
		(void)dn_ebpf_pass(
			ebpf, DN_PASS_REPORT, sizeof(struct dn_wire_record_usage), on_live);
		/* After its parts, so that no part is more than the whole. */
		(void)dn_ebpf_read_totals(ebpf, false);
	}
	for (unsigned i = 0; i < N_COUNTERS; i++) {
		if (dn_ebpf_has(ebpf, counters[i].metric))
			dn_frame_u64(frame, counters[i].metric, usage->value[counters[i].usage]);
	}
	divide(&self->cpu, usage);
	if (dn_ebpf_has(ebpf, DN_M_cpu_user_ns))
		dn_frame_u64(frame, DN_M_cpu_user_ns, self->cpu.user_ns);
	if (dn_ebpf_has(ebpf, DN_M_cpu_system_ns))
		dn_frame_u64(frame, DN_M_cpu_system_ns, self->cpu.system_ns);
	if (dn_ebpf_has(ebpf, DN_M_process_execs))
		dn_frame_u64(frame, DN_M_process_execs, ebpf->totals.execs);
	if (dn_ebpf_has(ebpf, DN_M_process_threads_started))
		dn_frame_u64(frame, DN_M_process_threads_started, ebpf->totals.threads);
	if (!ebpf->env->detail && !frame->final)
		return;
	if (dn_ebpf_has(ebpf, DN_M_process_lifetime))
		dn_frame_histogram(frame, DN_M_process_lifetime, &self->lifetime);
	if (dn_ebpf_has(ebpf, DN_M_process_exits))
		put_exits(ebpf, frame);
}

static void finish(struct dn_ebpf *ebpf)
{
	struct lifecycle *self = data_of(ebpf);

	if (!self)
		return;
	dn_ebpf_table_free(&self->exits);
	free(self);
	ebpf->group_data[DN_PROBES_LIFECYCLE] = NULL;
}

const struct dn_ebpf_group dn_ebpf_group_lifecycle = {
	.id = DN_PROBES_LIFECYCLE,
	.object = "process",
	.metric = metrics,
	.n_metrics = sizeof(metrics) / sizeof(metrics[0]),
	.prepare = prepare,
	.start = start,
	.sample = sample,
	.record = on_record,
	.finish = finish,
};

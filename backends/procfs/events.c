/* SPDX-License-Identifier: Apache-2.0 */
/* Births and deaths: baselines, what denet's own children leave when they are reaped, what nobody
 * will ever get. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <denet/fs.h>

#include "procfs.h"

/* What denet's child touches between the baseline and its exec: 220 KiB were seen; with sanitizers,
 * a third more. */
#define FLOOR_MARGIN (128 * 1024)
#define GHOSTS_MAX 4096
#define GATE_WAIT_NS UINT64_C(20000000)

static const unsigned count_metrics[DN_PROCFS_COUNT_N] = {
	[DN_PROCFS_CPU] = DN_M_cpu_total_ns,
	[DN_PROCFS_USER] = DN_M_cpu_user_ns,
	[DN_PROCFS_SYSTEM] = DN_M_cpu_system_ns,
	[DN_PROCFS_MINFLT] = DN_M_memory_minor_faults,
	[DN_PROCFS_MAJFLT] = DN_M_memory_major_faults,
	[DN_PROCFS_VOLUNTARY] = DN_M_cpu_voluntary_switches,
	[DN_PROCFS_INVOLUNTARY] = DN_M_cpu_involuntary_switches,
	[DN_PROCFS_IO + DN_PROCFS_IO_RCHAR] = DN_M_io_read_chars,
	[DN_PROCFS_IO + DN_PROCFS_IO_WCHAR] = DN_M_io_write_chars,
	[DN_PROCFS_IO + DN_PROCFS_IO_SYSCR] = DN_M_io_read_calls,
	[DN_PROCFS_IO + DN_PROCFS_IO_SYSCW] = DN_M_io_write_calls,
	[DN_PROCFS_IO + DN_PROCFS_IO_READ_BYTES] = DN_M_io_read_bytes,
	[DN_PROCFS_IO + DN_PROCFS_IO_WRITE_BYTES] = DN_M_io_write_bytes,
	[DN_PROCFS_IO + DN_PROCFS_IO_CANCELLED] = DN_M_io_cancelled_write_bytes,
};

unsigned dn_procfs_count_metric(enum dn_procfs_count count)
{
	return count_metrics[count];
}

void dn_procfs_add_counts(struct dn_procfs_counts *sum, const struct dn_procfs_counts *what)
{
	for (int i = 0; i < DN_PROCFS_COUNT_N; i++)
		sum->v[i] = dn_add_sat(sum->v[i], what->v[i]);
}

static void degrade_text(
	struct dn_procfs *p, unsigned metric, enum dn_quality quality, const char *text)
{
	if (dn_metric_set_has(&p->assigned, metric))
		p->core->degrade(p->core, metric, quality, text);
}

void dn_procfs_degrade(
	struct dn_procfs *p, unsigned metric, enum dn_quality quality, const char *format, ...)
{
	char text[256];
	va_list args;

	if (!dn_metric_set_has(&p->assigned, metric))
		return;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	degrade_text(p, metric, quality, text);
}

void dn_procfs_degrade_reaped(struct dn_procfs *p, const char *format, ...)
{
	char text[256];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	for (int i = 0; i < DN_PROCFS_COUNT_N; i++)
		degrade_text(p, count_metrics[i], DN_QUALITY_LOWER_BOUND, text);
	degrade_text(p, DN_M_memory_peak_rss_bytes, DN_QUALITY_LOWER_BOUND, text);
}

void dn_procfs_check_sigchld(struct dn_procfs *p, struct dn_procfs_member *m, uint64_t ignored)
{
	m->sigchld_checked = true;
	if (p->autoreap_told || !(ignored >> (SIGCHLD - 1) & 1) || p->env->no_children)
		return;
	p->autoreap_told = true;
	dn_procfs_degrade_reaped(p,
		"%d (%.*s) ignores SIGCHLD: the kernel reaps its children itself and their numbers "
		"are lost",
		(int)m->pid, (int)m->comm_len, m->comm);
}

bool dn_procfs_above_floor(const struct dn_procfs *p, uint64_t bytes)
{
	return bytes > dn_add_sat(p->floor_bytes, FLOOR_MARGIN + p->floor_bytes / 2);
}

void dn_procfs_keep_peak(struct dn_procfs *p, const struct dn_procfs_member *m)
{
	if (m->target && !p->env->attach && !m->execed && !dn_procfs_above_floor(p, m->hwm_bytes))
		return;
	if (m->hwm_bytes > p->hwm_bytes)
		p->hwm_bytes = m->hwm_bytes;
}

void dn_procfs_set_execed(struct dn_procfs *p, struct dn_procfs_member *m)
{
	if (m->execed)
		return;
	dn_procfs_keep_peak(p, m);
	m->execed = true;
	m->hwm_bytes = 0;
}

int dn_procfs_open_self_io(struct dn_procfs *p)
{
	char path[48];
	int fd = dn_open_at(p->env->proc_fd, "self/io", O_RDONLY);

	if (fd < 0)
		return fd;
	p->self_io_fd = fd;
	snprintf(path, sizeof(path), "self/task/%d/io", (int)p->self_tid);
	fd = dn_open_at(p->env->proc_fd, path, O_RDONLY);
	if (fd < 0)
		return fd;
	p->self_task_io_fd = fd;
	return 0;
}

/*
 * What denet has reaped since it lives: its process's account less its only thread's. The first
 * read is seen by the second and taken off again: its bytes and its one call. So nothing that denet
 * itself reads or writes is in it.
 */
static void read_reaped_io(struct dn_procfs *p, struct dn_procfs_io_mark *ret)
{
	uint64_t process[DN_PROCFS_IO_N], thread[DN_PROCFS_IO_N];
	char text[512];
	ssize_t n, seen;

	ret->valid = false;
	if (p->self_io_fd < 0 || p->self_task_io_fd < 0)
		return;
	seen = pread(p->self_io_fd, text, sizeof(text) - 1, 0);
	if (seen <= 0)
		return;
	n = pread(p->self_task_io_fd, p->scratch->buffer, sizeof(p->scratch->buffer) - 1, 0);
	if (n <= 0)
		return;
	text[seen] = '\0';
	p->scratch->buffer[n] = '\0';
	if (dn_procfs_parse_io(text, (size_t)seen, process) < 0 ||
		dn_procfs_parse_io(p->scratch->buffer, (size_t)n, thread) < 0)
		return;
	thread[DN_PROCFS_IO_RCHAR] = dn_sub_sat(thread[DN_PROCFS_IO_RCHAR], (uint64_t)seen);
	thread[DN_PROCFS_IO_SYSCR] = dn_sub_sat(thread[DN_PROCFS_IO_SYSCR], 1);
	for (int i = 0; i < DN_PROCFS_IO_N; i++)
		ret->v[i] = dn_sub_sat(process[i], thread[i]);
	ret->valid = true;
}

/*
 * Until denet's child sleeps behind its gate, what it does on its way there would be taken for the
 * command's. On a busy machine it may not have run at all yet.
 */
static bool wait_for_gate(struct dn_procfs *p, struct dn_procfs_member *m)
{
	uint64_t deadline = dn_add_sat(dn_now_ns(), GATE_WAIT_NS);
	struct dn_procfs_stat stat;

	do {
		ssize_t n = dn_procfs_read_file(p, m, "stat");

		if (n < 0 || dn_procfs_parse_stat(p->scratch->buffer, (size_t)n, &stat) < 0)
			return false;
		if (stat.state == 'S')
			return true;
		sched_yield();
	} while (dn_now_ns() < deadline);
	return false;
}

static uint64_t own_peak(void)
{
	struct rusage self;

	return getrusage(RUSAGE_SELF, &self) == 0
		       ? dn_procfs_mul_sat((uint64_t)self.ru_maxrss, 1024)
		       : 0;
}

/* In attach, of every process; in a run, of the command before its exec. */
static void take_base(struct dn_procfs *p, struct dn_procfs_member *m)
{
	uint64_t clock;

	/* A fork has no more than its parent had. */
	if (!p->env->attach && (p->no_proc || !wait_for_gate(p, m)))
		p->floor_bytes = own_peak();
	m->own_base = calloc(1, sizeof(*m->own_base));
	m->basing = true;
	(void)dn_procfs_read_clock(p, m);
	clock = m->clock_ns;
	if (p->classes & 1u << DN_PROCFS_CLASS_STAT)
		(void)dn_procfs_read_stat(p, m);
	if (p->io && dn_procfs_read_io(p, m) < 0 && !m->gone && !m->zombie)
		p->io_without_base = true;
	if (p->classes & 1u << DN_PROCFS_CLASS_STATUS)
		(void)dn_procfs_read_status(p, m);
	if (p->classes & 1u << DN_PROCFS_CLASS_SCHED)
		(void)dn_procfs_read_sched(p, m);
	m->basing = false;
	m->dirty = false;
	m->reaped_faults_base = m->reaped_faults;
	dn_procfs_add_counts(&p->base, &m->now);
	if (p->env->attach) {
		unsigned fresh = 1u << DN_PROCFS_CLASS_STAT | 1u << DN_PROCFS_CLASS_IO |
				 1u << DN_PROCFS_CLASS_SCHED;

		m->read = fresh & p->classes;
		for (int i = 0; i < DN_PROCFS_CLASS_N; i++)
			m->seen_ns[i] = clock;
		return;
	}
	/* Ticks say nothing of so short a time; put_split() takes it off both. */
	p->base.v[DN_PROCFS_USER] = p->base.v[DN_PROCFS_SYSTEM] = 0;
	p->gate_ns = m->clock_ns;
	if (m->hwm_bytes > p->floor_bytes)
		p->floor_bytes = m->hwm_bytes;
	m->hwm_bytes = 0;
	m->execed = false;
}

static void forget(struct dn_procfs *p, struct dn_procfs_member *m)
{
	if (m->process)
		m->process->backend[p->backend.index] = NULL;
	dn_procfs_remove(p, m);
}

static void on_born(struct dn_procfs *p, const struct dn_process_event *event)
{
	struct dn_process *process = event->process;
	struct dn_procfs_member *m = dn_procfs_find(p, process->pid);
	bool base = (process->inherited || p->core->t0_ns == 0) && !p->env->still;

	if (process->backend[p->backend.index] || (p->env->no_children && !process->is_target))
		return;
	if (m && !m->process && !dn_procfs_is_gone(p, m)) {
		/* Told dead by its source, and now denet's zombie: the same process. */
		m->process = process;
		p->n_ghosts--;
		process->backend[p->backend.index] = m;
		return;
	}
	if (m)
		forget(p, m);
	m = dn_procfs_add(p, process->pid, process->ppid, process);
	if (!m) {
		dn_procfs_degrade_reaped(p, "more processes at once than denet follows");
		return;
	}
	process->backend[p->backend.index] = m;
	m->target = process->is_target;
	/* The command of a run is denet's own child: its pid can't be anybody else's. Its
	 * descriptor can wait. */
	if (!(base && m->target && !p->env->attach) && dn_procfs_open_member(p, m) == -ESRCH) {
		forget(p, m);
		return;
	}
	if (base)
		take_base(p, m);
}

void dn_procfs_depart(struct dn_procfs *p, struct dn_procfs_member *m, bool seen_dead)
{
	for (int i = 0; i < DN_PROCFS_COUNT_N; i++) {
		/* A zombie still shows its last word on these. */
		if (seen_dead && i <= DN_PROCFS_MAJFLT)
			continue;
		dn_procfs_degrade(p, count_metrics[i], DN_QUALITY_LOWER_BOUND,
			"%d (%.*s) ended under a parent that is not measured: what it did after "
			"the last look is lost",
			(int)m->pid, (int)m->comm_len, m->comm);
	}
	dn_procfs_degrade(p, DN_M_memory_peak_rss_bytes, DN_QUALITY_LOWER_BOUND,
		"%d (%.*s) ended under a parent that is not measured: its peak after the last look "
		"is lost",
		(int)m->pid, (int)m->comm_len, m->comm);
	dn_procfs_add_counts(&p->departed, &m->now);
}

static void keep_delay(struct dn_procfs *p, struct dn_procfs_member *m)
{
	p->reaped_delay_ns =
		dn_add_sat(p->reaped_delay_ns, dn_sub_sat(m->delay_ns, m->delay_base_ns));
	m->delay_ns = m->delay_base_ns;
}

static void look_at_zombie(struct dn_procfs *p, struct dn_procfs_member *m)
{
	ssize_t n;

	if (p->cpu)
		(void)dn_procfs_read_clock(p, m);
	if (p->classes & 1u << DN_PROCFS_CLASS_STAT)
		(void)dn_procfs_read_stat(p, m);
	if (p->classes & 1u << DN_PROCFS_CLASS_SCHED)
		(void)dn_procfs_read_sched(p, m);
	if (p->env->no_children && p->classes & 1u << DN_PROCFS_CLASS_STATUS)
		(void)dn_procfs_read_status(p, m);
	if (m->had_child_exit && !p->no_proc) {
		struct dn_procfs_status status;

		n = dn_procfs_read_file(p, m, "status");
		if (n >= 0 && dn_procfs_parse_status(p->scratch->buffer, (size_t)n, &status) == 0 &&
			status.has_ignored)
			dn_procfs_check_sigchld(p, m, status.ignored);
	}
}

static void on_exited(struct dn_procfs *p, const struct dn_process_event *event)
{
	struct dn_process *process = event->process;
	struct dn_procfs_member *m = process->backend[p->backend.index];
	struct dn_procfs_member *parent = dn_procfs_find(p, process->ppid);
	bool denets, gone;

	if (parent && parent != m && !process->child_of_denet) {
		parent->dirty = true;
		parent->had_child_exit = true;
	}
	process->backend[p->backend.index] = NULL;
	if (!m)
		return;
	if (parent && !parent->process)
		parent = NULL; /* it ended before: somebody else reaps its child */
	gone = dn_procfs_is_gone(p, m);
	if (!gone)
		look_at_zombie(p, m);
	gone = m->gone;
	keep_delay(p, m);
	dn_procfs_keep_peak(p, m);
	denets = process->child_of_denet || (!parent && p->env->subreaper);
	m->process = NULL;
	p->n_ghosts++;
	if (!denets && (!parent || p->env->no_children)) {
		dn_procfs_depart(p, m, !gone);
		dn_procfs_remove(p, m);
	} else if (gone || p->n_ghosts > GHOSTS_MAX) {
		dn_procfs_remove(p, m);
	}
}

static struct dn_procfs_member *member_of(struct dn_procfs *p, const struct dn_process_event *event)
{
	struct dn_procfs_member *m =
		event->process ? event->process->backend[p->backend.index] : NULL;

	return m ? m : dn_procfs_find(p, event->pid);
}

static void on_zombie(struct dn_procfs *p, const struct dn_process_event *event)
{
	struct dn_procfs_member *m = member_of(p, event);

	if (m) {
		m->zombie = true;
		look_at_zombie(p, m);
		if (p->source || p->env->no_children)
			dn_procfs_tell_name(p, m);
		/* Its children are denet's now, and the end is near. */
		p->walk.due_ns = 0;
	}
	if (p->io)
		read_reaped_io(p, &p->mark);
}

static uint64_t timeval_ns(const struct timeval *tv)
{
	return dn_add_sat(dn_procfs_mul_sat((uint64_t)tv->tv_sec, UINT64_C(1000000000)),
		(uint64_t)tv->tv_usec * 1000);
}

static void counts_of_rusage(const struct rusage *rusage, struct dn_procfs_counts *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->v[DN_PROCFS_USER] = timeval_ns(&rusage->ru_utime);
	ret->v[DN_PROCFS_SYSTEM] = timeval_ns(&rusage->ru_stime);
	ret->v[DN_PROCFS_CPU] = dn_add_sat(ret->v[DN_PROCFS_USER], ret->v[DN_PROCFS_SYSTEM]);
	ret->v[DN_PROCFS_MINFLT] = (uint64_t)rusage->ru_minflt;
	ret->v[DN_PROCFS_MAJFLT] = (uint64_t)rusage->ru_majflt;
	ret->v[DN_PROCFS_VOLUNTARY] = (uint64_t)rusage->ru_nvcsw;
	ret->v[DN_PROCFS_INVOLUNTARY] = (uint64_t)rusage->ru_nivcsw;
}

/* --no-children: rusage holds the children too, once there were any. */
void dn_procfs_degrade_own_only(struct dn_procfs *p, const struct dn_procfs_member *m)
{
	static const char *const format = "%d (%.*s) had children, and the kernel adds theirs to "
					  "its own: only what it had before is known";

	if (p->own_only_told)
		return;
	p->own_only_told = true;
	for (int i = DN_PROCFS_VOLUNTARY; i < DN_PROCFS_COUNT_N; i++)
		dn_procfs_degrade(p, count_metrics[i], DN_QUALITY_LOWER_BOUND, format, (int)m->pid,
			(int)m->comm_len, m->comm);
	dn_procfs_degrade(p, DN_M_memory_peak_rss_bytes, DN_QUALITY_LOWER_BOUND, format,
		(int)m->pid, (int)m->comm_len, m->comm);
}

/* A process that reaped nobody: what it leaves is its own. */
static void show_last_word(struct dn_procfs *p, struct dn_procfs_member *m,
	const struct dn_procfs_counts *last, uint64_t maxrss_bytes)
{
	for (int i = 0; i < DN_PROCFS_COUNT_N; i++) {
		if (i == DN_PROCFS_CPU || (i >= DN_PROCFS_IO && !p->mark.valid))
			continue;
		dn_procfs_show(p, m, count_metrics[i], (enum dn_procfs_count)i, last->v[i]);
	}
	if (dn_procfs_above_floor(p, maxrss_bytes))
		dn_procfs_show_gauge(p, m, DN_M_memory_peak_rss_bytes, maxrss_bytes);
}

static void on_reaped(struct dn_procfs *p, const struct dn_process_event *event)
{
	struct dn_procfs_member *m;
	struct dn_procfs_io_mark after = {.valid = false};
	struct dn_procfs_counts counts;
	uint64_t maxrss = dn_procfs_mul_sat((uint64_t)event->rusage->ru_maxrss, 1024);

	if (p->io)
		read_reaped_io(p, &after);
	m = member_of(p, event);
	if (p->env->no_children && !(m && m->target))
		return;
	counts_of_rusage(event->rusage, &counts);
	for (int i = 0; i < DN_PROCFS_IO_N && after.valid && p->mark.valid; i++)
		counts.v[DN_PROCFS_IO + i] = dn_sub_sat(after.v[i], p->mark.v[i]);
	if (p->io && !(after.valid && p->mark.valid)) {
		for (int i = DN_PROCFS_IO; i < DN_PROCFS_COUNT_N; i++)
			dn_procfs_degrade(p, count_metrics[i], DN_QUALITY_LOWER_BOUND,
				"denet could not read its own I/O account when %d was reaped",
				(int)event->pid);
	}
	if (m && p->env->no_children && dn_procfs_reaped_some(m)) {
		dn_procfs_degrade_own_only(p, m);
		dn_procfs_add_counts(&p->reaped, &m->now);
	} else {
		dn_procfs_add_counts(&p->reaped, &counts);
		if (maxrss > p->maxrss_bytes)
			p->maxrss_bytes = maxrss;
		if (m && !dn_procfs_reaped_some(m))
			show_last_word(p, m, &counts, maxrss);
	}
	p->mark.valid = false;
	if (!m)
		return;
	keep_delay(p, m);
	dn_procfs_keep_peak(p, m);
	forget(p, m);
}

void dn_procfs_on_event(struct dn_backend *backend, const struct dn_process_event *event)
{
	struct dn_procfs *p = (struct dn_procfs *)backend;
	struct dn_procfs_member *m;

	if (!p->core)
		return;
	switch (event->type) {
	case DN_PROCESS_BORN:
		on_born(p, event);
		break;
	case DN_PROCESS_EXEC:
		m = event->process->backend[p->backend.index];
		if (!m)
			break;
		dn_procfs_set_execed(p, m);
		break;
	case DN_PROCESS_EXITED:
		on_exited(p, event);
		break;
	case DN_PROCESS_ZOMBIE:
		on_zombie(p, event);
		break;
	case DN_PROCESS_REAPED:
		on_reaped(p, event);
		break;
	}
}

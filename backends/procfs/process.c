/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Readers of one process. One descriptor per process is kept open: statm, which is read at every
 * sample and proves that the pid is still the process that we mean. The other files are opened by
 * path, rarely, and believed only while that descriptor still answers.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <denet/fs.h>

#include "procfs.h"

/* One read: these files come whole, and a second one would cost as much as the first. */
static ssize_t read_once(int fd, char *buffer, size_t size)
{
	ssize_t n;

	do
		n = pread(fd, buffer, size - 1, 0);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	buffer[n] = '\0';
	return n;
}

static int clock_of(pid_t pid, uint64_t *ret_ns)
{
	struct timespec ts;

	/* The CPU clock of all threads of pid; of any user's process. Not in the vDSO, so no libc
	 * is in the way. */
	if (syscall(SYS_clock_gettime, (clockid_t)(~(unsigned)pid << 3 | 2), &ts) < 0)
		return -errno;
	*ret_ns = dn_timespec_ns(&ts);
	return 0;
}

static void mark_gone(struct dn_procfs *p, struct dn_procfs_member *m)
{
	struct dn_procfs_member *parent;

	if (m->gone)
		return;
	m->gone = true;
	p->vanished++;
	parent = dn_procfs_find(p, m->ppid);
	if (parent) {
		parent->dirty = true;
		parent->had_child_exit = true;
	}
}

/* Who answers is the process that we mean, or it is marked gone. */
bool dn_procfs_is_gone(struct dn_procfs *p, struct dn_procfs_member *m)
{
	char path[16], byte;
	uint64_t ns;

	if (m->gone)
		return true;
	if (p->env->fixture) {
		snprintf(path, sizeof(path), "%d", (int)m->pid);
		if (faccessat(p->env->proc_fd, path, F_OK, 0) < 0)
			mark_gone(p, m);
	} else if (m->fd >= 0) {
		if (pread(m->fd, &byte, 1, 0) < 0 && errno == ESRCH)
			mark_gone(p, m);
	} else if (clock_of(m->pid, &ns) < 0) {
		mark_gone(p, m);
	}
	return m->gone;
}

ssize_t dn_procfs_read_file(struct dn_procfs *p, struct dn_procfs_member *m, const char *name)
{
	char path[64];
	ssize_t n;

	snprintf(path, sizeof(path), "%d/%s", (int)m->pid, name);
	{
		dn_cleanup(dn_closep) int fd =
			dn_open_at(p->env->proc_fd, path, O_RDONLY | O_NONBLOCK);

		n = fd < 0 ? fd : read_once(fd, p->scratch->buffer, sizeof(p->scratch->buffer));
	}
	if (m->fd >= 0 || n == -ENOENT || n == -ESRCH) {
		if (dn_procfs_is_gone(p, m))
			return -ESRCH;
	}
	return n;
}

/* Up to the limit of descriptors, less what the rest of denet may need. */
static bool may_keep(const struct dn_procfs *p)
{
	return p->n_kept < p->kept_max;
}

int dn_procfs_open_member(struct dn_procfs *p, struct dn_procfs_member *m)
{
	char path[32];
	int fd;

	if (p->no_proc || !may_keep(p))
		return dn_procfs_is_gone(p, m) ? -ESRCH : 0;
	snprintf(path, sizeof(path), "%d/statm", (int)m->pid);
	fd = dn_open_at(p->env->proc_fd, path, O_RDONLY | O_NONBLOCK);
	if (fd >= 0) {
		m->fd = fd;
		p->n_kept++;
		m->hidden = false;
		return 0;
	}
	if (fd == -EMFILE || fd == -ENFILE) {
		p->kept_max = p->n_kept;
		return 0;
	}
	if (dn_procfs_is_gone(p, m))
		return -ESRCH;
	m->hidden = fd == -ENOENT || fd == -EPERM || fd == -EACCES;
	return 0;
}

void dn_procfs_show(struct dn_procfs *p, struct dn_procfs_member *m, unsigned metric,
	enum dn_procfs_count count, uint64_t own)
{
	if (m->basing && m->own_base)
		m->own_base->v[count] = own;
	/* What the command is at the gate says nothing of what it will have done. */
	if (m->basing && !p->env->attach)
		return;
	if (m->process && dn_metric_set_has(&p->assigned, metric))
		dn_process_u64(m->process, metric,
			dn_sub_sat(own, m->own_base ? m->own_base->v[count] : 0));
}

void dn_procfs_show_gauge(
	struct dn_procfs *p, struct dn_procfs_member *m, unsigned metric, uint64_t value)
{
	/* Before the command's exec it would be that of denet's own child. */
	if (m->process && !m->basing && dn_metric_set_has(&p->assigned, metric))
		dn_process_u64(m->process, metric, value);
}

static void set_cpu(struct dn_procfs *p, struct dn_procfs_member *m, uint64_t own_ns)
{
	m->clock_ns = own_ns;
	m->now.v[DN_PROCFS_CPU] = p->env->no_children ? own_ns : dn_add_sat(own_ns, m->reaped_ns);
	dn_procfs_show(p, m, DN_M_cpu_total_ns, DN_PROCFS_CPU, own_ns);
}

int dn_procfs_read_clock(struct dn_procfs *p, struct dn_procfs_member *m)
{
	uint64_t ns = 0;
	int r;

	if (p->env->fixture)
		return dn_procfs_is_gone(p, m) ? -ESRCH : 0;
	r = clock_of(m->pid, &ns);
	if (r < 0 || ns < m->clock_ns) {
		/* Reaped; or its pid is somebody else's by now, whose clock began later. */
		mark_gone(p, m);
		return -ESRCH;
	}
	set_cpu(p, m, ns);
	return 0;
}

static void remember_identity(
	struct dn_procfs *p, struct dn_procfs_member *m, const struct dn_procfs_stat *stat)
{
	size_t len = stat->comm_len < sizeof(m->comm) ? stat->comm_len : sizeof(m->comm);
	bool known = m->start_ticks != 0 || m->comm_len != 0;
	bool both = stat->start_stack != 0 && m->start_stack != 0;

	bool other = known && (len != m->comm_len || memcmp(m->comm, stat->comm, len) != 0);

	m->start_ticks = stat->start_ticks;
	if (known && both && stat->start_stack != m->start_stack)
		m->new_image = true; /* the stack begins elsewhere, under whatever name */
	else if (other && both)
		m->new_name = true;
	else if (other)
		m->new_image = true; /* the stack is not for us to see, or gone; most often it is an
					exec */
	if (m->new_image)
		dn_procfs_set_execed(p, m);
	if (stat->state != 'Z')
		m->start_stack = stat->start_stack;
	memcpy(m->comm, stat->comm, len);
	m->comm_len = len;
}

int dn_procfs_read_stat(struct dn_procfs *p, struct dn_procfs_member *m)
{
	struct dn_procfs_stat stat;
	ssize_t n = dn_procfs_read_file(p, m, "stat");
	uint64_t user, system, keep;

	if (n < 0)
		return (int)n;
	if (dn_procfs_parse_stat(p->scratch->buffer, (size_t)n, &stat) < 0)
		return -EINVAL;
	if (m->start_ticks && m->start_ticks != stat.start_ticks && !p->env->fixture) {
		mark_gone(p, m);
		return -ESRCH;
	}
	remember_identity(p, m, &stat);
	m->dirty = false;
	m->zombie = stat.state == 'Z' && stat.threads <= 1;
	m->threads = stat.threads > 0 && stat.threads < 1u << 30 ? (unsigned)stat.threads : 1;
	m->threaded |= m->threads > 1;
	m->reaped_faults = dn_add_sat(stat.cminflt, stat.cmajflt);
	m->reaped_ns = dn_procfs_mul_sat(dn_add_sat(stat.cutime, stat.cstime), p->tick_ns);
	user = dn_procfs_mul_sat(stat.utime, p->tick_ns);
	system = dn_procfs_mul_sat(stat.stime, p->tick_ns);
	keep = p->env->no_children ? 0 : UINT64_MAX; /* mask: what the children add */
	m->now.v[DN_PROCFS_USER] =
		dn_add_sat(user, dn_procfs_mul_sat(stat.cutime, p->tick_ns) & keep);
	m->now.v[DN_PROCFS_SYSTEM] =
		dn_add_sat(system, dn_procfs_mul_sat(stat.cstime, p->tick_ns) & keep);
	m->now.v[DN_PROCFS_MINFLT] = dn_add_sat(stat.minflt, stat.cminflt & keep);
	m->now.v[DN_PROCFS_MAJFLT] = dn_add_sat(stat.majflt, stat.cmajflt & keep);
	if (p->env->fixture)
		set_cpu(p, m, dn_add_sat(user, system));
	else
		m->now.v[DN_PROCFS_CPU] = dn_add_sat(m->clock_ns, m->reaped_ns & keep);
	dn_procfs_show(p, m, DN_M_cpu_user_ns, DN_PROCFS_USER, user);
	dn_procfs_show(p, m, DN_M_cpu_system_ns, DN_PROCFS_SYSTEM, system);
	dn_procfs_show(p, m, DN_M_memory_minor_faults, DN_PROCFS_MINFLT, stat.minflt);
	dn_procfs_show(p, m, DN_M_memory_major_faults, DN_PROCFS_MAJFLT, stat.majflt);
	if (!m->zombie)
		dn_procfs_show_gauge(p, m, DN_M_process_threads, m->threads);
	return 0;
}

int dn_procfs_read_statm(struct dn_procfs *p, struct dn_procfs_member *m)
{
	struct dn_procfs_statm statm;
	ssize_t n;

	if (m->fd < 0)
		(void)dn_procfs_open_member(p, m);
	m->has_mm = false;
	if (m->gone)
		return -ESRCH;
	if (m->fd >= 0) {
		n = read_once(m->fd, p->scratch->buffer, sizeof(p->scratch->buffer));
		if (n == -ESRCH)
			mark_gone(p, m);
	} else {
		n = dn_procfs_read_file(p, m, "statm");
	}
	if (n < 0)
		return (int)n;
	if (dn_procfs_parse_statm(p->scratch->buffer, (size_t)n, &statm) < 0)
		return -EINVAL;
	if (statm.size_pages == 0) {
		/* A zombie, or a process whose main thread has ended while others run. */
		if (!m->zombie && dn_procfs_read_stat(p, m) < 0)
			return -ESRCH;
		if (m->zombie || dn_procfs_read_task_statm(p, m, &statm) < 0)
			return 0;
	}
	m->has_mm = true;
	m->rss_bytes = dn_procfs_mul_sat(statm.rss_pages, p->page_bytes);
	m->size_bytes = dn_procfs_mul_sat(statm.size_pages, p->page_bytes);
	dn_procfs_show_gauge(p, m, DN_M_memory_rss_bytes, m->rss_bytes);
	dn_procfs_show_gauge(p, m, DN_M_memory_virtual_bytes, m->size_bytes);
	return 0;
}

int dn_procfs_read_io(struct dn_procfs *p, struct dn_procfs_member *m)
{
	static const unsigned metrics[DN_PROCFS_IO_N] = {DN_M_io_read_chars, DN_M_io_write_chars,
		DN_M_io_read_calls, DN_M_io_write_calls, DN_M_io_read_bytes, DN_M_io_write_bytes,
		DN_M_io_cancelled_write_bytes};
	uint64_t value[DN_PROCFS_IO_N];
	ssize_t n = dn_procfs_read_file(p, m, "io");

	if (n == -ESRCH)
		return -ESRCH;
	if (n < 0) {
		/* A zombie's file is not for us; its parent's will have it. Of a live one we must
		 * not claim to know. */
		if (!m->zombie)
			(void)dn_procfs_read_stat(p, m);
		m->io_refused = !m->zombie && !m->gone;
		return (int)n;
	}
	if (dn_procfs_parse_io(p->scratch->buffer, (size_t)n, value) < 0)
		return -EINVAL;
	m->io_refused = false;
	if (p->env->no_children) {
		/* Its children's I/O is in it as soon as it reaped one: what was read before
		 * stands. */
		int r = dn_procfs_read_stat(p, m);

		if (r < 0)
			return r;
		if (dn_procfs_reaped_some(m)) {
			dn_procfs_degrade_own_only(p, m);
			return 0;
		}
	}
	for (int i = 0; i < DN_PROCFS_IO_N; i++)
		m->now.v[DN_PROCFS_IO + i] = value[i];
	/* The account holds the children that were reaped: then it is the tree's, not its own. Read
	 * after the account, or one that is reaped in between would be in it unnoticed. */
	if (!m->basing && !p->env->no_children && !dn_procfs_reaped_some(m) &&
		dn_procfs_read_stat(p, m) < 0)
		return 0;
	for (int i = 0; i < DN_PROCFS_IO_N; i++) {
		if (m->basing || !dn_procfs_reaped_some(m))
			dn_procfs_show(p, m, metrics[i], (enum dn_procfs_count)(DN_PROCFS_IO + i),
				value[i]);
		else if (m->process && dn_metric_set_has(&p->assigned, metrics[i]))
			dn_process_none(m->process, metrics[i]);
	}
	return 0;
}

/* getdents64(2) into the caller's buffer: opendir() would allocate 32 KiB for each. */
int dn_procfs_each_number(
	int dir_fd, char *buffer, size_t size, bool (*fn)(void *arg, pid_t number), void *arg)
{
	for (;;) {
		long n = syscall(SYS_getdents64, dir_fd, buffer, size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : 0;
		for (long at = 0; at < n;) {
			const struct dirent64 *entry = (const struct dirent64 *)(buffer + at);
			uint64_t number;

			at += entry->d_reclen;
			if (dn_parse_u64_whole(entry->d_name, &number) < 0 || number > INT32_MAX)
				continue;
			if (!fn(arg, (pid_t)number))
				return 0;
		}
	}
}

static bool count_one(void *arg, pid_t number)
{
	uint64_t *n = arg;

	(void)number;
	return ++*n < 1000000;
}

int dn_procfs_read_fds(struct dn_procfs *p, struct dn_procfs_member *m)
{
	char path[32];
	struct stat st;
	uint64_t n = 0;

	m->has_fds = false;
	if (m->zombie || m->hidden)
		return 0;
	snprintf(path, sizeof(path), "%d/fd", (int)m->pid);
	if (!p->no_fd_count) {
		if (fstatat(p->env->proc_fd, path, &st, 0) < 0)
			return dn_procfs_is_gone(p, m) ? -ESRCH : -errno;
		n = st.st_size > 0 ? (uint64_t)st.st_size : 0;
	} else {
		dn_cleanup(dn_closep) int fd =
			dn_open_at(p->env->proc_fd, path, O_RDONLY | O_DIRECTORY);
		int r;

		if (fd < 0 && dn_procfs_is_gone(p, m))
			return -ESRCH;
		if (fd == -EACCES || fd == -EPERM)
			dn_procfs_degrade(p, DN_M_process_fds, DN_QUALITY_LOWER_BOUND,
				"/proc/%d/fd (%.*s) is not readable for this user", (int)m->pid,
				(int)m->comm_len, m->comm);
		if (fd < 0)
			return fd;
		r = dn_procfs_each_number(
			fd, p->scratch->entries, sizeof(p->scratch->entries), count_one, &n);
		if (r < 0)
			return r;
	}
	if (dn_procfs_is_gone(p, m))
		return -ESRCH;
	m->fds = n;
	m->has_fds = true;
	dn_procfs_show_gauge(p, m, DN_M_process_fds, n);
	return 0;
}

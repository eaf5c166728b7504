/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The process source of last resort: finds children in /proc/PID/task/TID/children, or, where the
 * kernel has none of these, by the parent in every process's stat. What lives and dies between two
 * walks is not seen.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <denet/fs.h>

#include "procfs.h"

#define PACE 160 /* a walk may begin when PACE times the cost of the last has passed */
#define THREADS_MAX 4096

/* Deaths are told after the walk: telling one frees the member. */
static void note_death(struct dn_procfs *p, pid_t pid)
{
	if (p->walk.n_dead == p->walk.dead_size) {
		size_t size = p->walk.dead_size ? p->walk.dead_size * 2 : 64;
		pid_t *dead = reallocarray(p->walk.dead, size, sizeof(*dead));

		if (!dead)
			return; /* the next walk finds it dead again */
		p->walk.dead = dead;
		p->walk.dead_size = size;
	}
	p->walk.dead[p->walk.n_dead++] = pid;
}

void dn_procfs_tell_name(struct dn_procfs *p, struct dn_procfs_member *m)
{
	if (!m->process || (m->comm_len == 0 && m->start_ticks == 0)) /* a name may be empty */
		return;
	if (m->named && m->new_image)
		dn_tree_exec(p->core->tree, m->pid, m->comm, m->comm_len, dn_now_ns());
	else if (!m->named || m->new_name)
		dn_tree_rename(p->core->tree, m->pid, m->comm, m->comm_len);
	m->named = true;
	m->new_name = m->new_image = false;
}

static bool is_foreign(const struct dn_procfs *p, pid_t pid)
{
	for (unsigned i = 0; i < p->walk.n_foreign; i++) {
		if (p->walk.foreign[i] == pid)
			return true;
	}
	return false;
}

static void found(struct dn_procfs *p, pid_t pid, pid_t ppid, bool force)
{
	struct dn_process *process;
	struct dn_procfs_member *m = dn_procfs_find(p, pid);

	if ((m && m->process && !m->gone) || p->n_members >= DN_PROCFS_MEMBERS_MAX)
		return;
	/* A zombie was told dead; its parent's list has it until it is reaped. */
	if (m && !m->process && !force && !dn_procfs_is_gone(p, m))
		return;
	if (dn_tree_find(p->core->tree, pid))
		return;
	process = dn_tree_fork(p->core->tree, pid, ppid, dn_now_ns(), force);
	if (!process)
		return;
	m = process->backend[p->backend.index];
	if (!m) {
		note_death(p, pid);
		return;
	}
	if (m->comm_len == 0)
		(void)dn_procfs_read_stat(p, m);
	dn_procfs_tell_name(p, m);
}

struct parent {
	struct dn_procfs *p;
	pid_t pid;
	bool force;
	unsigned n;
	int task_fd;
};

/* 0 or negative errno of the file itself. */
static int read_children(const struct parent *parent, int dir_fd, const char *path)
{
	struct dn_procfs *p = parent->p;
	dn_cleanup(dn_closep) int fd = dn_open_at(dir_fd, path, O_RDONLY | O_NONBLOCK);
	size_t kept = 0;
	off_t offset = 0;

	if (fd < 0)
		return fd;
	for (;;) {
		ssize_t n = pread(
			fd, p->scratch->list + kept, sizeof(p->scratch->list) - 1 - kept, offset);
		size_t len, position = 0;
		pid_t pid;
		int r;

		if (n < 0)
			return errno == EINTR ? 0 : -errno;
		offset += n;
		len = kept + (size_t)n;
		p->scratch->list[len] = '\0';
		while ((r = dn_procfs_next_pid(p->scratch->list, len, n == 0, &position, &pid)) >
			0) {
			if (!parent->force || !is_foreign(p, pid))
				found(p, pid, parent->pid, parent->force);
		}
		if (r < 0 || n == 0)
			return r;
		kept = len - position;
		memmove(p->scratch->list, p->scratch->list + position, kept);
		if (kept >= sizeof(p->scratch->list) - 1)
			return -EINVAL;
	}
}

static bool children_of_thread(void *arg, pid_t tid)
{
	struct parent *parent = arg;
	char path[48];

	snprintf(path, sizeof(path), "%d/children", (int)tid);
	(void)read_children(parent, parent->task_fd, path);
	return ++parent->n < THREADS_MAX;
}

static int children_of_process(struct parent *parent, const char *name, bool threaded)
{
	struct dn_procfs *p = parent->p;
	char path[64];
	int fd, r;

	if (!threaded) {
		snprintf(path, sizeof(path), "%s/task/%d/children", name, (int)parent->pid);
		return read_children(parent, p->env->proc_fd, path);
	}
	snprintf(path, sizeof(path), "%s/task", name);
	fd = dn_open_at(p->env->proc_fd, path, O_RDONLY | O_DIRECTORY);
	if (fd < 0)
		return fd;
	parent->task_fd = fd;
	r = dn_procfs_each_number(
		fd, p->scratch->tasks, sizeof(p->scratch->tasks), children_of_thread, parent);
	close(fd);
	return r;
}

struct scanned {
	pid_t pid, ppid;
};

struct scan {
	struct dn_procfs *p;
	struct scanned *all;
	size_t n, size;
};

static bool scan_one(void *arg, pid_t pid)
{
	struct scan *scan = arg;
	struct dn_procfs *p = scan->p;
	struct dn_procfs_stat stat;
	char path[32];
	ssize_t n;

	if (dn_procfs_find(p, pid))
		return true;
	snprintf(path, sizeof(path), "%d/stat", (int)pid);
	n = dn_read_file_at(p->env->proc_fd, path, p->scratch->buffer, sizeof(p->scratch->buffer));
	if (n < 0 || dn_procfs_parse_stat(p->scratch->buffer, (size_t)n, &stat) < 0)
		return true;
	if (scan->n == scan->size) {
		size_t size = scan->size ? scan->size * 2 : 256;
		struct scanned *all = reallocarray(scan->all, size, sizeof(*all));

		if (!all || size > 8 * DN_PROCFS_MEMBERS_MAX) {
			if (all)
				scan->all = all;
			return false;
		}
		scan->all = all;
		scan->size = size;
	}
	scan->all[scan->n++] = (struct scanned){pid, stat.ppid};
	return true;
}

/* One look at every process, then generation by generation. */
static void scan_all(struct dn_procfs *p)
{
	struct scan scan = {.p = p};
	dn_cleanup(dn_closep) int fd = dn_open_at(p->env->proc_fd, ".", O_RDONLY | O_DIRECTORY);
	bool more = true;

	if (fd < 0)
		return;
	(void)dn_procfs_each_number(
		fd, p->scratch->tasks, sizeof(p->scratch->tasks), scan_one, &scan);
	for (unsigned generation = 0; more && generation < 64; generation++) {
		more = false;
		for (size_t i = 0; i < scan.n; i++) {
			struct scanned *s = &scan.all[i];
			bool orphan =
				p->env->subreaper && s->ppid == p->self && !is_foreign(p, s->pid);

			if (s->pid == 0 || (!orphan && !dn_procfs_find(p, s->ppid)))
				continue;
			found(p, s->pid, s->ppid, orphan);
			s->pid = 0;
			more = true;
		}
	}
	free(scan.all);
}

/* Its parent is denet: the core reaps it and tells its end. */
static bool is_denets(struct dn_procfs *p, struct dn_procfs_member *m)
{
	struct dn_procfs_stat stat;
	ssize_t n;

	if (m->process->child_of_denet)
		return true;
	n = dn_procfs_read_file(p, m, "stat");
	return n >= 0 && dn_procfs_parse_stat(p->scratch->buffer, (size_t)n, &stat) == 0 &&
	       stat.ppid == p->self;
}

static void find_deaths(struct dn_procfs *p)
{
	for (struct dn_procfs_member *m = p->first; m; m = m->next) {
		if (!m->process)
			continue;
		dn_procfs_tell_name(p, m);
		(void)dn_procfs_read_clock(p, m);
		if (m->gone || (m->zombie && !is_denets(p, m)))
			note_death(p, m->pid);
	}
}

static void tell_deaths(struct dn_procfs *p)
{
	uint64_t now = dn_now_ns();

	/* Children before their parents, so that who reaped them is still known. */
	for (size_t i = p->walk.n_dead; i > 0; i--)
		dn_tree_exit(p->core->tree, p->walk.dead[i - 1], now);
	p->walk.n_dead = 0;
}

static void find_orphans(struct dn_procfs *p)
{
	struct parent self = {.p = p, .pid = p->self, .force = true};
	char path[64];

	if (p->env->attach || p->env->fixture || !p->env->subreaper)
		return;
	snprintf(path, sizeof(path), "self/task/%d/children", (int)p->self_tid);
	(void)read_children(&self, p->env->proc_fd, path);
}

void dn_procfs_walk(struct dn_procfs *p, bool forced)
{
	uint64_t begin = dn_now_ns(), end;

	if (p->no_proc || p->env->no_children ||
		(!forced && (p->env->still || begin < p->walk.due_ns)))
		return;
	find_deaths(p);
	tell_deaths(p);
	/* New members are appended: the loop comes to them, generation by generation. */
	for (struct dn_procfs_member *m = p->first; m && !p->walk.no_children_files; m = m->next) {
		struct parent parent = {.p = p, .pid = m->pid};
		char name[16];
		int r;

		if (m->gone || m->zombie || !m->process)
			continue;
		/* Who has not run has not forked. */
		if (m->walked && m->walked_ns == m->clock_ns && !p->env->fixture)
			continue;
		m->walked = true;
		m->walked_ns = m->clock_ns;
		snprintf(name, sizeof(name), "%d", (int)m->pid);
		r = children_of_process(&parent, name, m->threads > 1 || m->threaded);
		if (r == -ENOENT && !dn_procfs_is_gone(p, m) && p->first == m)
			p->walk.no_children_files = true;
	}
	if (p->walk.no_children_files)
		scan_all(p);
	else
		find_orphans(p);
	tell_deaths(p);
	end = dn_now_ns();
	p->walk.due_ns = dn_add_sat(end, dn_procfs_mul_sat(end - begin, PACE));
}

/* Children that denet was started with are not the command's. And the kernel may have no such
 * files. */
static void read_own_children(struct dn_procfs *p)
{
	char path[64];
	size_t position = 0;
	ssize_t n;
	pid_t pid;

	snprintf(path, sizeof(path), "self/task/%d/children", (int)p->self_tid);
	n = dn_read_file_at(p->env->proc_fd, path, p->scratch->list, sizeof(p->scratch->list));
	p->walk.no_children_files = n == -ENOENT;
	if (n < 0)
		return;
	while (p->walk.n_foreign < sizeof(p->walk.foreign) / sizeof(p->walk.foreign[0]) &&
		dn_procfs_next_pid(p->scratch->list, (size_t)n, true, &position, &pid) > 0) {
		if (!dn_procfs_find(p, pid))
			p->walk.foreign[p->walk.n_foreign++] = pid;
	}
}

void dn_procfs_walk_start(struct dn_procfs *p)
{
	if (p->no_proc)
		return;
	for (struct dn_procfs_member *m = p->first; m; m = m->next) {
		if (m->comm_len == 0)
			(void)dn_procfs_read_stat(p, m);
	}
	if (!p->env->fixture)
		read_own_children(p);
	if (p->env->attach)
		dn_procfs_walk(p, true);
	if (!p->env->still)
		return;
	/* There is no other walk that would find those that were found as zombies. */
	find_deaths(p);
	tell_deaths(p);
}

void dn_procfs_walk_finish(struct dn_procfs *p)
{
	free(p->walk.dead);
	p->walk.dead = NULL;
	p->walk.dead_size = p->walk.n_dead = 0;
}

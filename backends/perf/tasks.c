/* SPDX-License-Identifier: Apache-2.0 */
/* Finds the threads of running processes and of their descendants through task/TID/children. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <denet/fs.h>

#include "tasks.h"

#define TASKS_MAX 65536
#define CHILDREN_BYTES_MAX (1 << 20)

/* A set of positive numbers, open addressing. */
struct pid_set {
	pid_t *slot;
	size_t n, size;
};

static void pid_set_finish(struct pid_set *set)
{
	free(set->slot);
}

/* 1 when it was added, 0 when it was there, -ENOMEM. */
static int pid_set_add(struct pid_set *set, pid_t pid)
{
	size_t i;

	if (set->n * 2 >= set->size) {
		struct pid_set larger = {.size = set->size ? set->size * 2 : 64};

		larger.slot = calloc(larger.size, sizeof(pid_t));
		if (!larger.slot)
			return -ENOMEM;
		for (i = 0; i < set->size; i++) {
			if (set->slot[i] != 0)
				(void)pid_set_add(&larger, set->slot[i]);
		}
		free(set->slot);
		*set = larger;
	}
	i = ((uint32_t)pid * UINT32_C(2654435761)) & (set->size - 1);
	while (set->slot[i] != 0) {
		if (set->slot[i] == pid)
			return 0;
		i = (i + 1) & (set->size - 1);
	}
	set->slot[i] = pid;
	set->n++;
	return 1;
}

int dn_perf_tasks_add(struct dn_perf_tasks *tasks, pid_t pid, pid_t tid, pid_t ppid)
{
	if (tasks->n >= TASKS_MAX)
		return -E2BIG;
	if (tasks->n == tasks->size) {
		size_t size = tasks->size ? tasks->size * 2 : 16;
		struct dn_perf_task *larger = reallocarray(tasks->task, size, sizeof(*larger));

		if (!larger)
			return -ENOMEM;
		tasks->task = larger;
		tasks->size = size;
	}
	tasks->task[tasks->n++] = (struct dn_perf_task){.pid = pid, .tid = tid, .ppid = ppid};
	return 0;
}

void dn_perf_tasks_finish(struct dn_perf_tasks *tasks)
{
	free(tasks->task);
	memset(tasks, 0, sizeof(*tasks));
}

bool dn_perf_tasks_cover(const struct dn_perf_tasks *before, const struct dn_perf_tasks *now)
{
	dn_cleanup(pid_set_finish) struct pid_set known = {0};

	for (size_t i = 0; i < before->n; i++) {
		if (pid_set_add(&known, before->task[i].tid) < 0)
			return false;
	}
	for (size_t i = 0; i < now->n; i++) {
		if (pid_set_add(&known, now->task[i].tid) != 0)
			return false;
	}
	return true;
}

static bool parse_pid(const char **text, pid_t *ret)
{
	uint64_t number;

	if (dn_parse_u64(text, &number) < 0 || number == 0 || number > INT32_MAX)
		return false;
	*ret = (pid_t)number;
	return true;
}

/* State letter of a stat line; 0 when there is none. The name may hold anything, ')' too. */
static char stat_state(const char *text)
{
	const char *end = strrchr(text, ')');

	return end && end[1] == ' ' ? end[2] : 0;
}

static bool task_blocked(int task_fd, const char *tid)
{
	char path[64], text[1024];
	char state;

	(void)snprintf(path, sizeof(path), "%.20s/stat", tid);
	if (dn_read_file_at(task_fd, path, text, sizeof(text)) <= 0)
		return false;
	state = stat_state(text);
	return state == 'S' || state == 'D' || state == 'T' || state == 't' || state == 'I';
}

struct walk {
	struct pid_set seen;
	pid_t (*queue)[2]; /* pid, parent */
	size_t head, tail, size;
	char *buffer;
};

static void walk_finish(struct walk *walk)
{
	pid_set_finish(&walk->seen);
	free(walk->queue);
	free(walk->buffer);
}

static int enqueue(struct walk *walk, pid_t pid, pid_t ppid)
{
	int r = pid_set_add(&walk->seen, pid);

	if (r <= 0)
		return r;
	if (walk->tail >= TASKS_MAX)
		return -E2BIG;
	if (walk->tail == walk->size) {
		size_t size = walk->size ? walk->size * 2 : 64;
		pid_t(*larger)[2] = reallocarray(walk->queue, size, sizeof(*larger));

		if (!larger)
			return -ENOMEM;
		walk->queue = larger;
		walk->size = size;
	}
	walk->queue[walk->tail][0] = pid;
	walk->queue[walk->tail++][1] = ppid;
	return 0;
}

static int read_children(struct walk *walk, int task_fd, const char *tid, pid_t pid)
{
	const char *p = walk->buffer;
	char path[64];
	pid_t child;

	(void)snprintf(path, sizeof(path), "%.20s/children", tid);
	if (dn_read_file_at(task_fd, path, walk->buffer, CHILDREN_BYTES_MAX) <= 0)
		return 0;
	while (parse_pid(&p, &child)) {
		int r = enqueue(walk, child, pid);

		if (r < 0)
			return r;
		while (*p == ' ')
			p++;
	}
	return 0;
}

static void closedirp(DIR **dir)
{
	if (*dir)
		closedir(*dir);
}

static int read_process(struct walk *walk, int proc_fd, pid_t pid, pid_t ppid, bool children,
	bool states, struct dn_perf_tasks *ret)
{
	dn_cleanup(closedirp) DIR *dir = NULL;
	char path[64];
	struct dirent *entry;
	int fd;

	(void)snprintf(path, sizeof(path), "%d/task", pid);
	fd = dn_open_at(proc_fd, path, O_RDONLY | O_DIRECTORY);
	if (fd < 0)
		return fd == -EMFILE || fd == -ENFILE ? fd : 0;
	dir = fdopendir(fd);
	if (!dir) {
		close(fd);
		return -ENOMEM;
	}
	while ((entry = readdir(dir))) {
		const char *p = entry->d_name;
		pid_t tid;
		int r;

		if (!parse_pid(&p, &tid) || *p)
			continue;
		r = dn_perf_tasks_add(ret, pid, tid, ppid);
		if (r < 0)
			return r;
		if (states)
			ret->task[ret->n - 1].blocked = task_blocked(fd, entry->d_name);
		if (children) {
			r = read_children(walk, fd, entry->d_name, pid);
			if (r < 0)
				return r;
		}
	}
	return 0;
}

int dn_perf_tasks_walk(int proc_fd, const pid_t *targets, unsigned n_targets, bool children,
	bool states, struct dn_perf_tasks *ret)
{
	dn_cleanup(walk_finish) struct walk walk = {0};
	struct dn_perf_tasks tasks = {0};
	int r = 0;

	if (children) {
		walk.buffer = malloc(CHILDREN_BYTES_MAX);
		if (!walk.buffer)
			return -ENOMEM;
		tasks.blind = faccessat(proc_fd, "thread-self/children", F_OK, 0) < 0;
	}
	for (unsigned i = 0; i < n_targets && r >= 0; i++)
		r = enqueue(&walk, targets[i], 0);
	while (walk.head < walk.tail && r >= 0) {
		r = read_process(&walk, proc_fd, walk.queue[walk.head][0], walk.queue[walk.head][1],
			children, states, &tasks);
		walk.head++;
	}
	if (r < 0) {
		dn_perf_tasks_finish(&tasks);
		return r;
	}
	*ret = tasks;
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The threads that events are opened on. */
#ifndef DENET_PERF_TASKS_H
#define DENET_PERF_TASKS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct dn_perf_task {
	pid_t pid, tid;
	pid_t ppid; /* 0 for a target */
	bool blocked; /* walk with states: sleeping or stopped, not waiting for a CPU */
};

struct dn_perf_tasks {
	struct dn_perf_task *task;
	size_t n, size;
	bool blind; /* this kernel has no children files: descendants can't be found */
};

/*
 * All threads of the targets and, with children, of their descendants, parents first. What vanishes
 * on the way is left out. 0 or negative errno.
 */
int dn_perf_tasks_walk(int proc_fd, const pid_t *targets, unsigned n_targets, bool children,
	bool states, struct dn_perf_tasks *ret);
int dn_perf_tasks_add(struct dn_perf_tasks *tasks, pid_t pid, pid_t tid, pid_t ppid);
/* Every task of now was in before. Sorts nothing, changes nothing. */
bool dn_perf_tasks_cover(const struct dn_perf_tasks *before, const struct dn_perf_tasks *now);
void dn_perf_tasks_finish(struct dn_perf_tasks *tasks);

#endif

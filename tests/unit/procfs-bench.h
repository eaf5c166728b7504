/* SPDX-License-Identifier: Apache-2.0 */
/* A procfs backend on a bench: its own process table, a core that remembers what was degraded, a
 * recorded /proc. */
#ifndef DENET_TEST_PROCFS_BENCH_H
#define DENET_TEST_PROCFS_BENCH_H

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include <denet/arena.h>
#include <denet/fs.h>

#include "procfs.h"
#include "tree.h"

extern const struct dn_backend_ops dn_backend_procfs;

/* a backend, its tree and a core that remembers what was degraded */

struct bench {
	struct dn_core core;
	struct dn_tree_listener listener;
	struct dn_env env;
	struct dn_probe probe;
	struct dn_backend *backend;
	struct dn_frame frame;
	enum dn_quality quality[DN_METRIC_MAX];
	char reason[256]; /* the last */
	char root[64];
	pid_t target;
};

static void tell(struct bench *b, enum dn_process_event_type type, struct dn_process *process,
	pid_t pid, const struct rusage *rusage)
{
	struct dn_process_event event = {.type = type,
		.process = process,
		.pid = pid,
		.t_ns = dn_now_ns(),
		.rusage = rusage};

	b->backend->ops->on_event(b->backend, &event);
}

static void on_born(struct dn_tree_listener *listener, struct dn_process *process, uint64_t t_ns)
{
	struct bench *b = dn_container_of(listener, struct bench, listener);

	if (b->backend)
		tell(b, DN_PROCESS_BORN, process, process->pid, NULL);
}

static void on_exec(struct dn_tree_listener *listener, struct dn_process *process, uint64_t t_ns)
{
	tell(dn_container_of(listener, struct bench, listener), DN_PROCESS_EXEC, process,
		process->pid, NULL);
}

static void on_exited(struct dn_tree_listener *listener, struct dn_process *process, uint64_t t_ns)
{
	tell(dn_container_of(listener, struct bench, listener), DN_PROCESS_EXITED, process,
		process->pid, NULL);
}

static void degrade(
	struct dn_core *core, unsigned metric, enum dn_quality quality, const char *reason)
{
	struct bench *b = dn_container_of(core, struct bench, core);

	if (quality > b->quality[metric])
		b->quality[metric] = quality;
	snprintf(b->reason, sizeof(b->reason), "%s", reason);
}

static void settle(struct dn_core *core, unsigned metric, enum dn_quality quality,
	const char *source, const char *reason, const char *hint)
{
}

static void lost(struct dn_core *core, const char *source, uint64_t n)
{
}

/* proc: NULL for the real one. Everything that is offered is assigned, less the process source when
 * source is false. */
static void start(struct bench *b, const char *proc, pid_t target, bool no_children, bool source)
{
	struct dn_metric_set assigned = {{0}};

	memset(b, 0, sizeof(*b));
	b->target = target;
	b->core = (struct dn_core){.degrade = degrade, .settle = settle, .lost = lost};
	b->listener =
		(struct dn_tree_listener){.born = on_born, .exec = on_exec, .exited = on_exited};
	assert_int_equal(dn_tree_new(&b->listener, &b->core.tree), 0);
	b->env = (struct dn_env){.sys_fd = -1,
		.attach = proc != NULL,
		.fixture = proc != NULL,
		.no_children = no_children,
		.subreaper = proc == NULL,
		.targets = &b->target,
		.n_targets = 1};
	b->env.proc_fd = open(proc ? proc : "/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(b->env.proc_fd >= 0);
	for (unsigned m = 0; m < DN_M_STATIC_N; m++)
		dn_metric_set_add(&b->env.wanted, m);
	assert_non_null(dn_tree_add_target(b->core.tree, target, proc == NULL));
	b->probe.arena = dn_arena_new();
	for (unsigned m = 0; m < DN_METRIC_MAX; m++)
		b->probe.offer[m].fact = DN_FACT_UNTRIED;
	assert_int_equal(dn_backend_procfs.probe(&b->env, &b->probe, &b->backend), 0);
	for (unsigned m = 0; m < DN_M_STATIC_N; m++) {
		if (b->probe.offer[m].fact == DN_FACT_OK && (source || m != DN_M_process_started))
			dn_metric_set_add(&assigned, m);
	}
	assert_int_equal(b->backend->ops->open(b->backend, &assigned, &b->core), 0);
	b->core.t0_ns = dn_now_ns();
	dn_tree_begin(b->core.tree, b->core.t0_ns);
}

static void sample(struct bench *b, bool final)
{
	memset(&b->frame, 0, sizeof(b->frame));
	b->frame.final = final;
	assert_int_equal(b->backend->ops->sample(b->backend, &b->frame), 0);
}

static void finish(struct bench *b)
{
	b->backend->ops->close(b->backend);
	dn_arena_free(b->probe.arena);
	dn_tree_free(b->core.tree);
	close(b->env.proc_fd);
}

static uint64_t value(const struct bench *b, unsigned metric)
{
	assert_true(dn_frame_has(&b->frame, metric));
	return b->frame.value[metric].u64;
}

/* a recorded /proc */

static void write_file(const char *root, pid_t pid, const char *name, const char *format, ...)
{
	char path[160];
	va_list args;
	FILE *file;

	snprintf(path, sizeof(path), "%s/%d/%s", root, (int)pid, name);
	file = fopen(path, "we");
	assert_non_null(file);
	va_start(args, format);
	vfprintf(file, format, args);
	va_end(args);
	fclose(file);
}

static void record(const char *root, pid_t pid, pid_t ppid, unsigned minflt, unsigned cminflt,
	unsigned ticks, unsigned cticks, unsigned wchar)
{
	char path[160];

	snprintf(path, sizeof(path), "%s/%d", root, (int)pid);
	mkdir(path, 0700);
	snprintf(path, sizeof(path), "%s/%d/task", root, (int)pid);
	mkdir(path, 0700);
	snprintf(path, sizeof(path), "%s/%d/task/%d", root, (int)pid, (int)pid);
	mkdir(path, 0700);
	write_file(root, pid, "stat",
		"%d (p%d) S %d 1 1 0 -1 0 %u %u 0 0 %u 0 %u 0 20 0 1 0 %d 4096 2 1 1 1 1 0\n", pid,
		pid, ppid, minflt, cminflt, ticks, cticks, pid);
	write_file(root, pid, "statm", "17 3 1 1 0 1 0\n");
	write_file(root, pid, "io",
		"rchar: 0\nwchar: %u\nsyscr: 0\nsyscw: 0\nread_bytes: 0\nwrite_bytes: "
		"0\ncancelled_write_bytes: 0\n",
		wchar);
}

static void children(const char *root, pid_t pid, const char *list)
{
	char name[64];

	snprintf(name, sizeof(name), "task/%d/children", (int)pid);
	write_file(root, pid, name, "%s", list);
}

static void forget_recording(const char *root, const char *what)
{
	char command[200];

	snprintf(command, sizeof(command), "rm -rf '%s%s'", root, what);
	assert_int_equal(system(command), 0);
}

#endif

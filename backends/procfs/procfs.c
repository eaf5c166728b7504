/* SPDX-License-Identifier: Apache-2.0 */
/* The procfs backend: no privilege needed, nothing to install. Its life, from probe to close. */
#include <errno.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include <denet/fs.h>

#include "procfs.h"

static bool any_of(const struct dn_metric_set *set, const unsigned *metrics, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (dn_metric_set_has(set, metrics[i]))
			return true;
	}
	return false;
}

#define ANY(p, ...)                                                                                \
	any_of(&(p)->assigned, (const unsigned[]){__VA_ARGS__},                                    \
		sizeof((const unsigned[]){__VA_ARGS__}) / sizeof(unsigned))

/* What is assigned decides which files are read. */
static void choose_classes(struct dn_procfs *p)
{
	p->cpu = ANY(p, DN_M_cpu_total_ns);
	p->io = ANY(p, DN_M_io_read_bytes, DN_M_io_write_bytes, DN_M_io_cancelled_write_bytes,
		DN_M_io_read_chars, DN_M_io_write_chars, DN_M_io_read_calls, DN_M_io_write_calls);
	p->peak = ANY(p, DN_M_memory_peak_rss_bytes);
	p->pss = ANY(p, DN_M_memory_pss_bytes);
	p->source = ANY(p, DN_M_process_started);
	p->gauges_only = !p->cpu && !p->io && !p->source && !p->env->no_children &&
			 !ANY(p, DN_M_cpu_user_ns, DN_M_cpu_system_ns, DN_M_cpu_run_delay_ns,
				 DN_M_memory_minor_faults, DN_M_memory_major_faults,
				 DN_M_cpu_voluntary_switches, DN_M_cpu_involuntary_switches);
	p->classes = 0;
	if (p->no_proc)
		return;
	if (p->cpu || p->env->no_children ||
		ANY(p, DN_M_cpu_user_ns, DN_M_cpu_system_ns, DN_M_memory_minor_faults,
			DN_M_memory_major_faults, DN_M_process_threads))
		p->classes |= 1u << DN_PROCFS_CLASS_STAT;
	if (p->io)
		p->classes |= 1u << DN_PROCFS_CLASS_IO;
	if (p->peak || ANY(p, DN_M_cpu_voluntary_switches, DN_M_cpu_involuntary_switches,
			       DN_M_memory_swap_bytes))
		p->classes |= 1u << DN_PROCFS_CLASS_STATUS;
	if (ANY(p, DN_M_cpu_run_delay_ns))
		p->classes |= 1u << DN_PROCFS_CLASS_SCHED;
	if (ANY(p, DN_M_process_fds))
		p->classes |= 1u << DN_PROCFS_CLASS_FDS;
	if (p->pss || ANY(p, DN_M_memory_rss_bytes, DN_M_memory_virtual_bytes,
			      DN_M_memory_peak_tree_rss_bytes))
		p->classes |= 1u << DN_PROCFS_CLASS_STATM;
}

static int procfs_open(
	struct dn_backend *backend, const struct dn_metric_set *assigned, struct dn_core *core)
{
	struct dn_procfs *p = (struct dn_procfs *)backend;
	long ticks = sysconf(_SC_CLK_TCK), page = sysconf(_SC_PAGESIZE);
	struct rlimit limit;
	int r;

	p->assigned = *assigned;
	p->core = core;
	/* A recorded tree is that of a machine with 100 ticks a second and pages of 4 KiB. */
	p->tick_ns = UINT64_C(1000000000) / (uint64_t)(ticks > 0 && !p->env->fixture ? ticks : 100);
	p->page_bytes = page > 0 && !p->env->fixture ? (uint64_t)page : 4096;
	p->self = p->env->fixture ? -1 : getpid(); /* nobody there is denet's child */
	p->self_tid = (pid_t)syscall(SYS_gettid);
	choose_classes(p);
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur > 64)
		p->kept_max = limit.rlim_cur - 64 < DN_PROCFS_MEMBERS_MAX
				      ? (unsigned)(limit.rlim_cur - 64)
				      : DN_PROCFS_MEMBERS_MAX;
	if (p->io && !p->env->attach) {
		r = dn_procfs_open_self_io(p);
		if (r < 0)
			return r;
	}
	dn_procfs_system_open(p);
	for (struct dn_process *process = dn_tree_first(core->tree); process;
		process = process->next) {
		struct dn_process_event event = {
			.type = DN_PROCESS_BORN, .process = process, .pid = process->pid};

		dn_procfs_on_event(backend, &event);
	}
	if (p->source)
		dn_procfs_walk_start(p);
	return 0;
}

static void procfs_started(struct dn_backend *backend)
{
	struct dn_procfs *p = (struct dn_procfs *)backend;

	/* Without a header there is time until the first sample; most commands end before. */
	if (p->env->header)
		dn_procfs_system_started(p);
}

static void procfs_drain(struct dn_backend *backend)
{
	struct dn_procfs *p = (struct dn_procfs *)backend;

	if (p->source)
		dn_procfs_walk(p, false);
}

static int procfs_sample(struct dn_backend *backend, struct dn_frame *frame)
{
	struct dn_procfs *p = (struct dn_procfs *)backend;

	dn_procfs_sample_tree(p, frame);
	for (struct dn_procfs_member *m = p->env->no_children ? p->first : NULL; m; m = m->next)
		dn_procfs_tell_name(p, m); /* there is no walk that would */
	dn_procfs_sample_pss(p, frame, dn_now_ns());
	if (!p->env->header && !frame->final)
		dn_procfs_system_started(p);
	dn_procfs_system_sample(p, frame);
	return 0;
}

static void procfs_close(struct dn_backend *backend)
{
	struct dn_procfs *p = (struct dn_procfs *)backend;

	if (!p)
		return;
	dn_procfs_free_members(p);
	dn_procfs_walk_finish(p);
	dn_procfs_system_free(p->system);
	if (p->self_io_fd >= 0)
		close(p->self_io_fd);
	if (p->self_task_io_fd >= 0)
		close(p->self_task_io_fd);
	free(p->scratch);
	free(p);
}

const struct dn_backend_ops dn_backend_procfs = {
	.name = "procfs",
	.summary = "/proc, CPU clocks, rusage, cgroup files: no privilege needed",
	.tier = "procfs",
	.probe = dn_procfs_probe,
	.open = procfs_open,
	.started = procfs_started,
	.drain = procfs_drain,
	.sample = procfs_sample,
	.on_event = dn_procfs_on_event,
	.close = procfs_close,
};

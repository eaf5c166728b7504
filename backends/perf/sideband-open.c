/* SPDX-License-Identifier: Apache-2.0 */
/* Opens the sideband: which events on which CPUs, and rings as large as the user's share of locked
 * memory allows. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <denet/fs.h>

#include "sideband.h"

#define PAGES_MOST 64
#define PAGES_LEAST 8
#define CPUS_TEXT "devices/system/cpu/online"
/*
 * Attached to running threads, each needs an event per CPU. Few of them cost less than records of
 * the whole machine, whose every context switch somebody pays for; above the larger number the
 * descriptors are too many.
 */
#define EVENTS_FEW 256
#define EVENTS_MOST 2000
#define DESCRIPTORS_SPARE 512

static void make_attr(
	const struct dn_perf_sideband *sideband, unsigned pages, struct perf_event_attr *ret)
{
	const struct dn_env *env = sideband->env;
	bool wide = sideband->cpu_wide;

	*ret = (struct perf_event_attr){
		.size = sizeof(*ret),
		.type = PERF_TYPE_SOFTWARE,
		.config = PERF_COUNT_SW_DUMMY,
		.sample_type = PERF_SAMPLE_TID | PERF_SAMPLE_TIME,
		.sample_id_all = 1,
		.exclude_kernel = 1,
		.exclude_hv = 1,
		.task = 1,
		.mmap = 1, /* tells an exec that goes on from one that lost its events */
		.comm = 1,
		.comm_exec = 1,
		.context_switch = 1,
		.inherit = !wide,
		.inherit_thread = !wide && env->no_children,
		.disabled = 1,
		.enable_on_exec = !env->attach,
		.watermark = 1,
		.wakeup_watermark = pages * (unsigned)sysconf(_SC_PAGESIZE) / 4,
		.use_clockid = 1,
		.clockid = CLOCK_MONOTONIC,
		.read_format = sideband->format_lost ? PERF_FORMAT_LOST : 0,
	};
}

static int open_event(struct dn_perf_sideband *sideband, pid_t tid, int cpu, unsigned pages)
{
	struct perf_event_attr attr;
	int r;

	make_attr(sideband, pages, &attr);
	r = dn_perf_sys_open(NULL, &attr, tid, cpu, -1);
	if (r == -EINVAL && sideband->format_lost && !sideband->cpu[0].ring.map) {
		/* Older kernels tell of losses only by a record. */
		sideband->format_lost = false;
		make_attr(sideband, pages, &attr);
		r = dn_perf_sys_open(NULL, &attr, tid, cpu, -1);
		if (r == -EINVAL)
			sideband->format_lost = true;
	}
	return r;
}

/* The event that owns the CPU's ring, which is made smaller until the user's share of locked memory
 * takes it. */
static int open_owner(
	struct dn_perf_sideband *sideband, struct dn_perf_cpu *cpu, pid_t tid, unsigned number)
{
	for (unsigned pages = PAGES_MOST;; pages /= 2) {
		int fd = open_event(sideband, tid, (int)number, pages);
		int r;

		if (fd < 0)
			return fd;
		r = dn_perf_ring_map(&cpu->ring, fd, pages);
		if (r >= 0)
			return fd;
		close(fd);
		if (r != -EPERM)
			return r;
		if (pages <= PAGES_LEAST)
			return -ENOBUFS;
	}
}

/* All tasks on one CPU, into one ring, which the first that lives owns. */
static int open_cpu(struct dn_perf_sideband *sideband, struct dn_perf_cpu *cpu, unsigned number,
	const struct dn_perf_tasks *tasks)
{
	size_t n = sideband->cpu_wide ? 1 : tasks->n;
	int owner = -1;

	cpu->fd = malloc(n * sizeof(int));
	if (!cpu->fd)
		return -ENOMEM;
	cpu->n_fds = n;
	for (size_t i = 0; i < n; i++)
		cpu->fd[i] = -1;
	for (size_t i = 0; i < n; i++) {
		pid_t tid = sideband->cpu_wide ? -1 : tasks->task[i].tid;
		int r = owner < 0 ? open_owner(sideband, cpu, tid, number)
				  : open_event(sideband, tid, (int)number, PAGES_MOST);

		if (r == -ESRCH)
			continue;
		if (r < 0)
			return r;
		cpu->fd[i] = r;
		if (owner < 0)
			owner = r;
		else if (ioctl(r, PERF_EVENT_IOC_SET_OUTPUT, owner) < 0)
			return -errno;
	}
	cpu->source.fd = owner;
	cpu->sideband = sideband;
	return owner >= 0 ? 0 : -ESRCH;
}

static void drop_cpus(struct dn_perf_sideband *sideband)
{
	struct dn_perf_sideband rest = *sideband;

	sideband->online_fd = -1;
	dn_perf_sideband_close(sideband);
	rest.cpu = NULL;
	rest.n_cpus = 0;
	*sideband = rest;
}

static int open_cpus(struct dn_perf_sideband *sideband, const unsigned *number, unsigned n,
	bool cpu_wide, const struct dn_perf_tasks *tasks)
{
	sideband->cpu = calloc(n, sizeof(*sideband->cpu));
	if (!sideband->cpu)
		return -ENOMEM;
	sideband->cpu_wide = cpu_wide;
	sideband->format_lost = true;
	for (unsigned i = 0; i < n; i++) {
		int r;

		sideband->n_cpus++;
		r = open_cpu(sideband, &sideband->cpu[i], number[i], tasks);
		if (r < 0) {
			drop_cpus(sideband);
			return r;
		}
	}
	return 0;
}

static bool descriptors_for(size_t n)
{
	struct rlimit limit;

	return getrlimit(RLIMIT_NOFILE, &limit) == 0 && n + DESCRIPTORS_SPARE <= limit.rlim_cur;
}

static int open_attached(struct dn_perf_sideband *sideband, const unsigned *number, unsigned n,
	const struct dn_perf_tasks *tasks)
{
	size_t events = tasks->n * n;
	int r;

	if (events > EVENTS_FEW && !sideband->env->no_children) {
		r = open_cpus(sideband, number, n, true, tasks);
		if (r >= 0)
			return r;
	}
	if (events > EVENTS_MOST || !descriptors_for(events))
		return -EMFILE;
	return open_cpus(sideband, number, n, false, tasks);
}

static int read_cpus(struct dn_perf_sideband *sideband, unsigned *number)
{
	const struct dn_env *env = sideband->env;
	int n;

	if (env->sys_fd >= 0)
		sideband->online_fd = dn_open_at(env->sys_fd, CPUS_TEXT, O_RDONLY);
	if (sideband->online_fd >= 0 && dn_pread_file(sideband->online_fd, sideband->online,
						sizeof(sideband->online)) > 0) {
		n = dn_perf_cpu_list_parse(sideband->online, number, DN_PERF_CPUS_MAX);
		if (n > 0)
			return n;
	}
	/* No sysfs: CPUs without gaps are what nearly every machine has, and a gap is an error at
	 * open. */
	n = (int)sysconf(_SC_NPROCESSORS_ONLN);
	for (int i = 0; i < n && i < DN_PERF_CPUS_MAX; i++)
		number[i] = (unsigned)i;
	return n;
}

static void refuse(struct dn_perf_sideband *sideband, struct dn_probe *probe, size_t n_tasks, int r,
	struct dn_perf_refusal *ret)
{
	if (r == -ENOBUFS) {
		ret->fact = DN_FACT_DENIED;
		ret->reason = "perf sideband: no locked memory left for its rings; other profilers "
			      "of this "
			      "user hold it (perf_event_mlock_kb)";
		ret->hint = dn_perf_hint_capability(probe, sideband->env);
	} else if (r == -EMFILE && sideband->env->attach) {
		ret->fact = DN_FACT_DENIED;
		ret->reason = dn_probe_printf(probe,
			"perf sideband: %zu running threads need too many events without "
			"CAP_PERFMON",
			n_tasks);
		ret->hint = dn_perf_hint_capability(probe, sideband->env);
	} else {
		*ret = dn_perf_explain(probe, sideband->env, "perf sideband", r);
	}
}

int dn_perf_sideband_open(struct dn_perf_sideband *sideband, const struct dn_env *env,
	const struct dn_perf_tasks *tasks, struct dn_probe *probe, struct dn_perf_refusal *ret)
{
	unsigned number[DN_PERF_CPUS_MAX];
	int n, r;

	*sideband = (struct dn_perf_sideband){.env = env, .online_fd = -1};
	n = read_cpus(sideband, number);
	if (n <= 0 || n > DN_PERF_CPUS_MAX) {
		*ret = (struct dn_perf_refusal){.fact = DN_FACT_UNSUPPORTED,
			.reason = dn_probe_printf(probe,
				"perf sideband: an event on each of %d CPUs would slow down every "
				"fork",
				n)};
		r = -EOPNOTSUPP;
	} else if (env->attach) {
		r = open_attached(sideband, number, (unsigned)n, tasks);
	} else {
		r = open_cpus(sideband, number, (unsigned)n, false, tasks);
	}
	if (r < 0) {
		if (r != -EOPNOTSUPP || n <= DN_PERF_CPUS_MAX)
			refuse(sideband, probe, tasks->n, r, ret);
		dn_closep(&sideband->online_fd);
		sideband->online_fd = -1;
		return r;
	}
	return 0;
}

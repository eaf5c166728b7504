/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernel tells per thread only: context switches and the time spent waiting for a CPU. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include <denet/fs.h>

#include "procfs.h"

#define THREADS_MAX 4096

struct visit {
	struct dn_procfs *p;
	struct dn_procfs_member *m;
	const char *name;
	unsigned n;
	uint64_t a, b; /* sums */
	struct dn_procfs_statm statm;
};

static ssize_t read_of_thread(struct visit *visit, pid_t tid)
{
	char name[64];

	snprintf(name, sizeof(name), "task/%d/%s", (int)tid, visit->name);
	return dn_procfs_read_file(visit->p, visit->m, name);
}

static int each_thread(struct visit *visit, bool (*fn)(void *arg, pid_t tid))
{
	char path[32];

	snprintf(path, sizeof(path), "%d/task", (int)visit->m->pid);
	dn_cleanup(dn_closep) int fd =
		dn_open_at(visit->p->env->proc_fd, path, O_RDONLY | O_DIRECTORY);
	if (fd < 0)
		return fd;
	return dn_procfs_each_number(
		fd, visit->p->scratch->entries, sizeof(visit->p->scratch->entries), fn, visit);
}

static bool add_switches(void *arg, pid_t tid)
{
	struct visit *visit = arg;
	struct dn_procfs_status status;
	ssize_t n = read_of_thread(visit, tid);

	if (n >= 0 && dn_procfs_parse_status(visit->p->scratch->buffer, (size_t)n, &status) == 0 &&
		status.has_switches) {
		visit->a = dn_add_sat(visit->a, status.voluntary);
		visit->b = dn_add_sat(visit->b, status.involuntary);
	}
	return ++visit->n < THREADS_MAX && !visit->m->gone;
}

static void set_switches(
	struct dn_procfs *p, struct dn_procfs_member *m, uint64_t voluntary, uint64_t involuntary)
{
	/* A thread that ended took its numbers with it: what was seen stands. */
	if (voluntary > m->now.v[DN_PROCFS_VOLUNTARY])
		m->now.v[DN_PROCFS_VOLUNTARY] = voluntary;
	if (involuntary > m->now.v[DN_PROCFS_INVOLUNTARY])
		m->now.v[DN_PROCFS_INVOLUNTARY] = involuntary;
	dn_procfs_show(p, m, DN_M_cpu_voluntary_switches, DN_PROCFS_VOLUNTARY,
		m->now.v[DN_PROCFS_VOLUNTARY]);
	dn_procfs_show(p, m, DN_M_cpu_involuntary_switches, DN_PROCFS_INVOLUNTARY,
		m->now.v[DN_PROCFS_INVOLUNTARY]);
}

int dn_procfs_read_status(struct dn_procfs *p, struct dn_procfs_member *m)
{
	struct dn_procfs_status status;
	ssize_t n = dn_procfs_read_file(p, m, "status");

	m->has_vm = false;
	if (n < 0)
		return (int)n;
	if (dn_procfs_parse_status(p->scratch->buffer, (size_t)n, &status) < 0)
		return -EINVAL;
	if (status.has_ignored && m->had_child_exit)
		dn_procfs_check_sigchld(p, m, status.ignored);
	if (status.has_hwm) {
		m->has_vm = true;
		m->hwm_bytes = status.hwm_bytes;
		m->swap_bytes = status.has_swap ? status.swap_bytes : 0;
		dn_procfs_show_gauge(p, m, DN_M_memory_peak_rss_bytes, m->hwm_bytes);
		dn_procfs_show_gauge(p, m, DN_M_memory_swap_bytes, m->swap_bytes);
	}
	if (status.has_threads && status.threads > 1)
		m->threaded = true;
	if (!status.has_switches)
		return 0;
	if (m->threaded && !m->zombie) {
		struct visit visit = {.p = p, .m = m, .name = "status"};

		if (each_thread(&visit, add_switches) == 0)
			set_switches(p, m, visit.a, visit.b);
		return m->gone ? -ESRCH : 0;
	}
	set_switches(p, m, status.voluntary, status.involuntary);
	return 0;
}

static bool add_delay(void *arg, pid_t tid)
{
	struct visit *visit = arg;
	struct dn_procfs_schedstat schedstat;
	ssize_t n = read_of_thread(visit, tid);

	if (n >= 0 &&
		dn_procfs_parse_schedstat(visit->p->scratch->buffer, (size_t)n, &schedstat) == 0)
		visit->a = dn_add_sat(visit->a, schedstat.delay_ns);
	return ++visit->n < THREADS_MAX && !visit->m->gone;
}

int dn_procfs_read_sched(struct dn_procfs *p, struct dn_procfs_member *m)
{
	struct visit visit = {.p = p, .m = m, .name = "schedstat"};

	if ((m->threaded || m->threads > 1) && !m->zombie) {
		int r = each_thread(&visit, add_delay);

		if (r < 0)
			return dn_procfs_is_gone(p, m) ? -ESRCH : r;
	} else {
		struct dn_procfs_schedstat schedstat;
		ssize_t n = dn_procfs_read_file(p, m, "schedstat");

		if (n < 0)
			return (int)n;
		if (dn_procfs_parse_schedstat(p->scratch->buffer, (size_t)n, &schedstat) < 0)
			return -EINVAL;
		visit.a = schedstat.delay_ns;
	}
	if (visit.a > m->delay_ns)
		m->delay_ns = visit.a;
	if (m->basing)
		m->delay_base_ns = m->delay_ns;
	dn_procfs_show_gauge(
		p, m, DN_M_cpu_run_delay_ns, dn_sub_sat(m->delay_ns, m->delay_base_ns));
	return m->gone ? -ESRCH : 0;
}

static bool take_statm(void *arg, pid_t tid)
{
	struct visit *visit = arg;
	ssize_t n;

	if (tid == visit->m->pid)
		return true;
	n = read_of_thread(visit, tid);
	if (n > 0 &&
		dn_procfs_parse_statm(visit->p->scratch->buffer, (size_t)n, &visit->statm) == 0 &&
		visit->statm.size_pages > 0) {
		visit->a = 1;
		return false;
	}
	return ++visit->n < 16 && !visit->m->gone;
}

int dn_procfs_read_task_statm(
	struct dn_procfs *p, struct dn_procfs_member *m, struct dn_procfs_statm *ret)
{
	struct visit visit = {.p = p, .m = m, .name = "statm"};

	if (each_thread(&visit, take_statm) < 0 || visit.a == 0)
		return -ENOENT;
	*ret = visit.statm;
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What this backend could supply here. Mostly known beforehand; a few files are tried. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <denet/fs.h>

#include "procfs.h"

static const char if_lossy[] = "processes that the kernel reaps itself (SIGCHLD ignored) leave "
			       "nothing, and nobody here would notice";
static const char attach_reason[] =
	"processes of an attached tree are read while they live: their last moments may be missed";
static const char portions_reason[] = "no peak is missed, but the kernel counts pages in portions "
				      "per CPU: it may be off by some pages per CPU";
static const char gauge_reason[] = "a gauge, seen at each sample";
static const char split_reason[] = "the kernel splits user and system time at its timer tick";
static const char other_user_hint[] =
	"run denet as the user of the process, or give it CAP_SYS_PTRACE: setcap cap_sys_ptrace+ep "
	"on the denet binary";

static bool wanted(const struct dn_procfs *p, unsigned metric)
{
	return dn_metric_set_has(&p->env->wanted, metric);
}

static void offer(struct dn_procfs *p, struct dn_probe *probe, unsigned metric,
	enum dn_quality quality, const char *source, const char *reason)
{
	if (wanted(p, metric))
		dn_probe_offer(probe, metric, quality, source, reason);
}

static void refuse(struct dn_procfs *p, struct dn_probe *probe, unsigned metric, enum dn_fact fact,
	const char *reason, const char *hint)
{
	if (wanted(p, metric))
		dn_probe_refuse(probe, metric, fact, reason, hint);
}

/* Counters that reach denet by being reaped. */
static void offer_reaped(struct dn_procfs *p, struct dn_probe *probe, unsigned metric,
	const char *source, const char *live_source)
{
	bool tick = metric == DN_M_cpu_user_ns || metric == DN_M_cpu_system_ns;

	if (p->env->attach)
		offer(p, probe, metric, DN_QUALITY_SAMPLED, live_source,
			tick ? split_reason : attach_reason);
	else
		offer(p, probe, metric, tick ? DN_QUALITY_SAMPLED : DN_QUALITY_EXACT, source,
			tick ? split_reason : NULL);
	if (wanted(p, metric) && !p->env->no_children)
		probe->offer[metric].if_lossy = if_lossy;
}

static void probe_counters(struct dn_procfs *p, struct dn_probe *probe)
{
	const struct dn_env *env = p->env;

	offer_reaped(p, probe, DN_M_cpu_total_ns, "CPU clocks, rusage",
		env->fixture ? "stat" : "CPU clocks, stat");
	offer_reaped(p, probe, DN_M_cpu_user_ns, "rusage, stat", "stat");
	offer_reaped(p, probe, DN_M_cpu_system_ns, "rusage, stat", "stat");
	offer_reaped(p, probe, DN_M_memory_minor_faults, "rusage, stat", "stat");
	offer_reaped(p, probe, DN_M_memory_major_faults, "rusage, stat", "stat");
	offer_reaped(p, probe, DN_M_memory_peak_rss_bytes, "ru_maxrss, VmHWM", "VmHWM");
	if (wanted(p, DN_M_memory_peak_rss_bytes) && !env->attach) {
		probe->offer[DN_M_memory_peak_rss_bytes].quality = DN_QUALITY_SAMPLED;
		probe->offer[DN_M_memory_peak_rss_bytes].reason = portions_reason;
	}
	for (unsigned m = DN_M_cpu_voluntary_switches; m <= DN_M_cpu_involuntary_switches; m++) {
		if (env->attach)
			offer(p, probe, m, DN_QUALITY_LOWER_BOUND, "status",
				"what threads and processes did between the last look and their "
				"end is lost");
		else
			offer_reaped(p, probe, m, "rusage, status", "status");
	}
}

/* 0 or negative errno of /proc/PID/io, or of denet's own. */
static int try_io(struct dn_procfs *p)
{
	char path[32], text[512];
	uint64_t io[DN_PROCFS_IO_N];
	ssize_t n;

	if (p->env->attach && p->env->n_targets > 0)
		snprintf(path, sizeof(path), "%d/io", (int)p->env->targets[0]);
	else
		snprintf(path, sizeof(path), "self/io");
	n = dn_read_file_at(p->env->proc_fd, path, text, sizeof(text));
	if (n < 0)
		return (int)n;
	return dn_procfs_parse_io(text, (size_t)n, io);
}

static void probe_io(struct dn_procfs *p, struct dn_probe *probe)
{
	static const unsigned metrics[] = {DN_M_io_read_bytes, DN_M_io_write_bytes,
		DN_M_io_cancelled_write_bytes, DN_M_io_read_chars, DN_M_io_write_chars,
		DN_M_io_read_calls, DN_M_io_write_calls};
	const char *reason = NULL, *hint = NULL;
	bool any = false;
	int r;

	for (size_t i = 0; i < sizeof(metrics) / sizeof(metrics[0]); i++)
		any = any || wanted(p, metrics[i]);
	if (!any)
		return;
	r = try_io(p);
	if (r < 0 && p->env->attach && p->env->n_targets > 0) {
		reason = dn_probe_printf(
			probe, "/proc/%d/io: %s", (int)p->env->targets[0], strerror(-r));
		hint = r == -EACCES || r == -EPERM ? other_user_hint : NULL;
	} else if (r < 0) {
		reason = dn_probe_printf(probe, "/proc/self/io: %s", strerror(-r));
	}
	for (size_t i = 0; i < sizeof(metrics) / sizeof(metrics[0]); i++) {
		if (r < 0)
			refuse(p, probe, metrics[i], dn_fact_from_errno(r), reason, hint);
		else
			offer_reaped(p, probe, metrics[i], "own io across wait, /proc/PID/io",
				"/proc/PID/io");
	}
}

/* Of whom a file is tried: denet itself, or, in a recording that may be without denet, the target.
 */
static void example(const struct dn_procfs *p, const char *name, char *path, size_t size)
{
	if (p->env->still && p->env->n_targets > 0)
		snprintf(path, size, "%d/%s", (int)p->env->targets[0], name);
	else
		snprintf(path, size, "self/%s", name);
}

/* Opening is not counting: a kernel without scheduler statistics shows zeros. */
static void probe_delay(struct dn_procfs *p, struct dn_probe *probe)
{
	struct dn_procfs_schedstat schedstat;
	char path[32], text[128];
	ssize_t n;

	if (!wanted(p, DN_M_cpu_run_delay_ns))
		return;
	example(p, "schedstat", path, sizeof(path));
	n = dn_read_file_at(p->env->proc_fd, path, text, sizeof(text));
	if (n < 0 || dn_procfs_parse_schedstat(text, (size_t)n, &schedstat) < 0 ||
		schedstat.slices == 0) {
		refuse(p, probe, DN_M_cpu_run_delay_ns,
			n < 0 ? dn_fact_from_errno((int)n) : DN_FACT_UNSUPPORTED,
			"/proc/PID/schedstat: this kernel was built without scheduler statistics",
			NULL);
		return;
	}
	offer(p, probe, DN_M_cpu_run_delay_ns, DN_QUALITY_LOWER_BOUND, "schedstat",
		"read of each live thread: what threads waited between the last look and their end "
		"is lost");
}

static void probe_gauges(struct dn_procfs *p, struct dn_probe *probe)
{
	struct stat st;
	char path[32];

	offer(p, probe, DN_M_memory_rss_bytes, DN_QUALITY_SAMPLED, "statm", gauge_reason);
	offer(p, probe, DN_M_memory_virtual_bytes, DN_QUALITY_SAMPLED, "statm", gauge_reason);
	offer(p, probe, DN_M_memory_swap_bytes, DN_QUALITY_SAMPLED, "status", gauge_reason);
	offer(p, probe, DN_M_memory_peak_tree_rss_bytes, DN_QUALITY_SAMPLED, "statm",
		"the largest sum that a sample saw");
	offer(p, probe, DN_M_process_threads, DN_QUALITY_SAMPLED, "stat", gauge_reason);
	if (wanted(p, DN_M_memory_pss_bytes)) {
		example(p, "smaps_rollup", path, sizeof(path));
		if (faccessat(p->env->proc_fd, path, F_OK, 0) < 0)
			refuse(p, probe, DN_M_memory_pss_bytes, dn_fact_from_errno(-errno),
				"this kernel has no /proc/PID/smaps_rollup", NULL);
		else
			offer(p, probe, DN_M_memory_pss_bytes, DN_QUALITY_SAMPLED, "smaps_rollup",
				"read rarely: reading may take 0.5 % of the time at most");
	}
	if (wanted(p, DN_M_process_fds)) {
		p->no_fd_count = p->env->fixture ||
				 fstatat(p->env->proc_fd, "self/fd", &st, 0) < 0 || st.st_size <= 0;
		offer(p, probe, DN_M_process_fds, DN_QUALITY_SAMPLED,
			p->no_fd_count ? "entries of /proc/PID/fd" : "size of /proc/PID/fd",
			gauge_reason);
	}
}

static void probe_source(struct dn_procfs *p, struct dn_probe *probe)
{
	static const char reason[] = "found by walking the children files: what lives and dies "
				     "between two walks is not seen";

	if (p->env->no_children) {
		offer(p, probe, DN_M_process_started, DN_QUALITY_EXACT, "the targets", NULL);
		offer(p, probe, DN_M_process_exited, DN_QUALITY_EXACT, "the targets", NULL);
		offer(p, probe, DN_M_process_count, DN_QUALITY_EXACT, "the targets", NULL);
		return;
	}
	offer(p, probe, DN_M_process_started, DN_QUALITY_LOWER_BOUND, "children walk", reason);
	offer(p, probe, DN_M_process_exited, DN_QUALITY_LOWER_BOUND, "children walk", reason);
	offer(p, probe, DN_M_process_count, DN_QUALITY_SAMPLED, "children walk", gauge_reason);
}

/* Only what wait4() and CPU clocks tell. */
static void probe_without_proc(struct dn_procfs *p, struct dn_probe *probe, int r)
{
	static const char hint[] = "mount procfs on /proc";

	p->no_proc = true;
	probe->fact = DN_FACT_BROKEN;
	probe->reason =
		dn_probe_printf(probe, "/proc/self/stat: %s: no procfs there", strerror(-r));
	probe->hint = hint;
	for (unsigned m = 0; m < DN_M_STATIC_N; m++) {
		if (dn_metric_info(m)->flags & DN_FLAG_DERIVED ||
			(m >= DN_M_network_rx_bytes && m <= DN_M_network_sockets) ||
			(m >= DN_M_hw_cycles && m <= DN_M_hw_branch_miss_ratio) ||
			m == DN_M_cpu_blocked_ns || m == DN_M_cpu_migrations)
			continue;
		refuse(p, probe, m, DN_FACT_BROKEN, probe->reason, hint);
	}
	if (p->env->attach || p->env->no_children)
		return;
	probe_counters(p, probe);
}

static int try_proc(const struct dn_env *env)
{
	struct dn_procfs_stat stat;
	char text[1024];
	ssize_t n;

	if (env->fixture)
		return 0;
	n = dn_read_file_at(env->proc_fd, "self/stat", text, sizeof(text));
	if (n < 0)
		return (int)n;
	return dn_procfs_parse_stat(text, (size_t)n, &stat);
}

int dn_procfs_probe(
	const struct dn_env *env, struct dn_probe *probe, struct dn_backend **ret_backend)
{
	extern const struct dn_backend_ops dn_backend_procfs;
	struct dn_procfs *p = calloc(1, sizeof(*p));
	int r;

	if (!p)
		return -ENOMEM;
	p->scratch = malloc(sizeof(*p->scratch));
	if (!p->scratch) {
		free(p);
		return -ENOMEM;
	}
	p->backend.ops = &dn_backend_procfs;
	p->env = env;
	p->self_io_fd = p->self_task_io_fd = -1;
	*ret_backend = &p->backend;
	r = try_proc(env);
	if (r < 0) {
		probe_without_proc(p, probe, r);
		return 0;
	}
	probe->fact = DN_FACT_OK;
	probe_counters(p, probe);
	probe_io(p, probe);
	probe_delay(p, probe);
	probe_gauges(p, probe);
	probe_source(p, probe);
	dn_procfs_system_probe(p, probe);
	return 0;
}

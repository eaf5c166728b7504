/* SPDX-License-Identifier: Apache-2.0 */
/* The perf backend: counters that the tree inherits, and the sideband as the process table. */
#include <errno.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <denet/fs.h>
#include <denet/machine.h>

#include "perf.h"

/* Attaching starts over when threads come while it goes on: more often than this only a storm of
 * them needs. */
#define ATTACH_TRIES 5
/* By this much two clocks of the same thing may differ without meaning anything. */
#define SLACK_NS UINT64_C(5000000)

static const unsigned sideband_metrics[] = {
	DN_M_process_started, DN_M_process_exited, DN_M_process_count, DN_M_cpu_blocked_ns};

#define N_SIDEBAND_METRICS (sizeof(sideband_metrics) / sizeof(sideband_metrics[0]))

void dn_perf_offer(struct dn_probe *probe, const struct dn_env *env, unsigned metric,
	enum dn_quality quality, const char *source, const char *reason)
{
	if (dn_metric_set_has(&env->wanted, metric))
		dn_probe_offer(probe, metric, quality, source, reason);
}

void dn_perf_refuse(struct dn_probe *probe, const struct dn_env *env, unsigned metric,
	const struct dn_perf_refusal *refusal)
{
	if (dn_metric_set_has(&env->wanted, metric))
		dn_probe_refuse(probe, metric, refusal->fact, refusal->reason, refusal->hint);
}

void dn_perf_degrade(
	struct dn_perf *perf, unsigned metric, enum dn_quality quality, const char *reason)
{
	if (!dn_metric_set_has(&perf->assigned, metric))
		return;
	dn_metric_set_add(&perf->degraded, metric);
	perf->core->degrade(perf->core, metric, quality, reason);
}

/* Everything that this backend supplies by following the tree. */
static void degrade_all(struct dn_perf *perf, enum dn_quality quality, const char *reason)
{
	for (unsigned metric = 0; metric < dn_metric_count(); metric++) {
		if (metric != DN_M_hw_running_ratio)
			dn_perf_degrade(perf, metric, quality, reason);
	}
}

static void degrade_sideband(struct dn_perf *perf, const char *reason)
{
	for (unsigned i = 0; i < N_SIDEBAND_METRICS; i++)
		dn_perf_degrade(perf, sideband_metrics[i], DN_QUALITY_LOWER_BOUND, reason);
}

static void on_taken(void *arg, pid_t pid)
{
	struct dn_perf *perf = arg;
	const struct dn_process *process = dn_tree_find(perf->core->tree, pid);

	if (perf->taken)
		return; /* the first one's name will do */
	perf->taken = true;
	degrade_all(perf, DN_QUALITY_LOWER_BOUND,
		dn_arena_printf(perf->arena,
			"%s (pid %d) is setuid or unreadable: the kernel took its counters away",
			process && process->name[0] ? process->name : "a process", pid));
}

static bool sideband_wanted(const struct dn_env *env)
{
	for (unsigned i = 0; i < N_SIDEBAND_METRICS; i++) {
		if (dn_metric_set_has(&env->wanted, sideband_metrics[i]))
			return true;
	}
	return false;
}

static void probe_sideband(struct dn_perf *perf, struct dn_probe *probe)
{
	struct dn_perf_refusal refusal = {0};

	if (!sideband_wanted(perf->env))
		return;
	perf->has_sideband = dn_perf_sideband_open(&perf->sideband, perf->env, &perf->tasks, probe,
				     &refusal) == 0;
	for (unsigned i = 0; i < N_SIDEBAND_METRICS; i++) {
		if (perf->has_sideband)
			dn_perf_offer(probe, perf->env, sideband_metrics[i], DN_QUALITY_EXACT,
				"perf sideband", NULL);
		else
			dn_perf_refuse(probe, perf->env, sideband_metrics[i], &refusal);
	}
}

static void close_events(struct dn_perf *perf)
{
	dn_perf_counters_close(&perf->counters);
	if (perf->has_sideband)
		dn_perf_sideband_close(&perf->sideband);
	perf->has_sideband = false;
}

static int find_tasks(const struct dn_env *env, struct dn_perf_tasks *ret)
{
	struct dn_perf_tasks tasks = {0};
	int r = 0;

	if (env->attach)
		return dn_perf_tasks_walk(
			env->proc_fd, env->targets, env->n_targets, !env->no_children, false, ret);
	for (unsigned i = 0; i < env->n_targets && r >= 0; i++)
		r = dn_perf_tasks_add(&tasks, env->targets[i], env->targets[i], 0);
	/* Nobody to measure: what works is tried on ourselves. */
	if (env->n_targets == 0)
		r = dn_perf_tasks_add(&tasks, 0, 0, 0);
	if (r < 0) {
		dn_perf_tasks_finish(&tasks);
		return r;
	}
	*ret = tasks;
	return 0;
}

static void open_events(struct dn_perf *perf, struct dn_probe *probe)
{
	dn_perf_counters_init(
		&perf->counters, &perf->tasks, !perf->env->attach, perf->env->no_children);
	dn_perf_software_probe(perf, probe);
	probe_sideband(perf, probe);
	dn_perf_hardware_probe(perf, probe);
	dn_perf_events_probe(perf, probe);
}

/*
 * Opens everything on every thread of the targets. Events are inherited by what a thread starts
 * after its own were opened, so that a thread that appears meanwhile may have them already or not,
 * and nobody can tell: opening them again would count twice. Then all is closed and begun anew.
 */
static int open_until_stable(struct dn_perf *perf, struct dn_probe *probe)
{
	for (unsigned tries = 0;; tries++) {
		dn_cleanup(dn_perf_tasks_finish) struct dn_perf_tasks now = {0};
		int r = find_tasks(perf->env, &perf->tasks);

		if (r < 0)
			return r;
		if (perf->tasks.n == 0)
			return -ESRCH;
		open_events(perf, probe);
		if (!perf->env->attach)
			return 0;
		r = find_tasks(perf->env, &now);
		if (r < 0)
			return r;
		perf->raced = !dn_perf_tasks_cover(&perf->tasks, &now);
		if (!perf->raced || tries + 1 == ATTACH_TRIES)
			return 0;
		close_events(perf);
		dn_perf_tasks_finish(&perf->tasks);
	}
}

static void refuse_all(
	struct dn_perf *perf, struct dn_probe *probe, const struct dn_perf_refusal *refusal)
{
	static const unsigned software[] = {DN_M_cpu_total_ns, DN_M_cpu_migrations,
		DN_M_memory_minor_faults, DN_M_memory_major_faults};

	for (unsigned i = 0; i < sizeof(software) / sizeof(software[0]); i++)
		dn_perf_refuse(probe, perf->env, software[i], refusal);
	for (unsigned i = 0; i < N_SIDEBAND_METRICS; i++)
		dn_perf_refuse(probe, perf->env, sideband_metrics[i], refusal);
	for (unsigned metric = DN_M_hw_cycles; metric <= DN_M_hw_running_ratio; metric++)
		dn_perf_refuse(probe, perf->env, metric, refusal);
	for (unsigned i = 0; i < perf->n_events; i++)
		dn_probe_refuse(probe, perf->event[i].metric, refusal->fact, refusal->reason,
			refusal->hint);
	probe->fact = refusal->fact;
	probe->reason = refusal->reason;
	probe->hint = refusal->hint;
}

/* The whole is what its best part is; else it says what the first part said. */
static void sum_up(struct dn_probe *probe)
{
	const struct dn_offer *first = NULL;

	for (unsigned metric = 0; metric < dn_metric_count(); metric++) {
		const struct dn_offer *offer = &probe->offer[metric];

		if (offer->fact == DN_FACT_OK) {
			probe->fact = DN_FACT_OK;
			probe->reason = NULL;
			probe->hint = NULL;
			return;
		}
		if (!first && offer->fact != DN_FACT_UNTRIED)
			first = offer;
	}
	if (first) {
		probe->fact = first->fact;
		probe->reason = first->reason;
		probe->hint = first->hint;
	}
}

static void perf_close(struct dn_backend *backend)
{
	struct dn_perf *perf = (struct dn_perf *)backend;

	if (!perf)
		return;
	close_events(perf);
	dn_perf_tasks_finish(&perf->tasks);
	free(perf);
}

static int perf_probe(
	const struct dn_env *env, struct dn_probe *probe, struct dn_backend **ret_backend)
{
	static const struct dn_perf_refusal recorded = {
		.fact = DN_FACT_UNSUPPORTED, .reason = "a recorded tree has no perf events"};
	struct dn_perf_refusal gone;
	struct dn_perf *perf = calloc(1, sizeof(*perf));
	int r;

	if (!perf)
		return -ENOMEM;
	perf->base.ops = &dn_backend_perf;
	perf->env = env;
	perf->arena = probe->arena;
	perf->sideband.online_fd = -1;
	*ret_backend = &perf->base;
	if (env->fixture) {
		refuse_all(perf, probe, &recorded);
		return 0;
	}
	if (env->events) {
		r = dn_perf_events_parse(perf, probe);
		if (r < 0)
			return r;
	}
	r = open_until_stable(perf, probe);
	if (r < 0) {
		close_events(perf);
		gone = dn_perf_explain(probe, env, "perf", r);
		refuse_all(perf, probe, &gone);
		return 0;
	}
	sum_up(probe);
	if (env->n_targets == 0)
		close_events(perf);
	return 0;
}

static bool is_assigned(void *arg, const struct dn_perf_spec *spec)
{
	const struct dn_perf *perf = arg;

	return dn_metric_set_has(&perf->assigned, spec->metric) ||
	       (spec->own_row >= 0 && dn_metric_set_has(&perf->assigned, (unsigned)spec->own_row));
}

/* CPU time that the targets used before measuring began: the rusage at their end has it too. */
static uint64_t clocks_of_targets(const struct dn_env *env)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < env->n_targets; i++) {
		struct timespec used;
		clockid_t clock;

		if (clock_getcpuclockid(env->targets[i], &clock) == 0 &&
			clock_gettime(clock, &used) == 0)
			sum = dn_add_sat(sum, dn_timespec_ns(&used));
	}
	return sum;
}

static int open_sideband(struct dn_perf *perf)
{
	bool needed = false;
	int r;

	for (unsigned i = 0; i < N_SIDEBAND_METRICS; i++)
		needed = needed || dn_metric_set_has(&perf->assigned, sideband_metrics[i]);
	if (!perf->has_sideband)
		return needed ? -ENODEV : 0;
	perf->sideband.on_taken = on_taken;
	perf->sideband.on_taken_arg = perf;
	if (needed) {
		r = dn_perf_sideband_start(&perf->sideband, perf->core, &perf->tasks,
			dn_metric_set_has(&perf->assigned, DN_M_process_started));
		if (r >= 0)
			return 0;
	} else {
		r = 0;
	}
	dn_perf_sideband_close(&perf->sideband);
	perf->has_sideband = false;
	return r;
}

/* Running tasks are counted from now on; a command's counters begin by themselves at its exec. */
static void perf_started(struct dn_backend *backend)
{
	struct dn_perf *perf = (struct dn_perf *)backend;

	if (perf->env->attach)
		dn_perf_counters_enable(&perf->counters);
	else
		perf->stolen_ns = dn_machine_stolen_ns(perf->env->proc_fd);
}

static int perf_open(
	struct dn_backend *backend, const struct dn_metric_set *assigned, struct dn_core *core)
{
	struct dn_perf *perf = (struct dn_perf *)backend;
	int r;

	if (perf->env->fixture || perf->env->n_targets == 0)
		return -EOPNOTSUPP;
	perf->assigned = *assigned;
	perf->core = core;
	dn_perf_counters_keep(&perf->counters, is_assigned, perf);
	dn_perf_software_open(perf);
	r = open_sideband(perf);
	if (r < 0)
		return r;
	if (perf->env->attach) {
		if (perf->raced)
			degrade_all(perf, DN_QUALITY_LOWER_BOUND,
				"threads came and went while their events were opened");
		if (perf->tasks.blind)
			degrade_all(perf, DN_QUALITY_LOWER_BOUND,
				"this kernel does not list children: those that ran before are not "
				"counted");
	} else {
		perf->baseline_cpu_ns = clocks_of_targets(perf->env);
	}
	return 0;
}

static void perf_drain(struct dn_backend *backend)
{
	struct dn_perf *perf = (struct dn_perf *)backend;

	if (perf->has_sideband)
		dn_perf_sideband_drain(&perf->sideband);
}

static void sample_sideband(struct dn_perf *perf, struct dn_frame *frame)
{
	uint64_t blocked_ns, lost;

	dn_perf_sideband_drain(&perf->sideband);
	lost = dn_perf_sideband_lost(&perf->sideband, frame->final);
	if (frame->final) {
		/* Losses that only the end shows leave processes behind whose end was lost. */
		perf->sideband.sweep_ns = 0;
		dn_perf_sideband_drain(&perf->sideband);
	}
	if (lost > 0) {
		perf->core->lost(perf->core, "perf sideband", lost);
		degrade_sideband(perf, "records of forks, exits or switches were lost");
	}
	if (dn_perf_sideband_cpus_changed(&perf->sideband))
		degrade_sideband(perf, "CPUs came or went: what ran on a new one was not seen");
	blocked_ns = dn_perf_sideband_blocked(&perf->sideband);
	/* Records that two CPUs wrote at the same time may be told in the wrong order. */
	if (blocked_ns > perf->blocked_ns)
		perf->blocked_ns = blocked_ns;
	if (dn_metric_set_has(&perf->assigned, DN_M_cpu_blocked_ns))
		dn_frame_u64(frame, DN_M_cpu_blocked_ns, perf->blocked_ns);
	if (perf->env->per_process || frame->final)
		dn_perf_sideband_per_process(&perf->sideband);
}

/* A task's clock runs on while the hypervisor runs others: with so much on all CPUs together. */
static bool could_be_stolen(const struct dn_perf *perf, uint64_t ns)
{
	uint64_t now_ns = dn_machine_stolen_ns(perf->env->proc_fd);

	return ns <= SLACK_NS + perf->reaped_cpu_ns / 20 + dn_sub_sat(now_ns, perf->stolen_ns);
}

/*
 * The counters of a process are closed early in its end: what the kernel still does for it, freeing
 * its memory above all, is not in them, and neither are parts of waking it up. Who was waited for
 * told the whole in its rusage, which is then the better number. Where rusage is the smaller one,
 * some were reaped by nobody: their ends are in neither.
 */
static void settle_cpu(struct dn_perf *perf, struct dn_frame *frame)
{
	uint64_t counted_ns = frame->value[DN_M_cpu_total_ns].u64;
	uint64_t reaped_ns = dn_sub_sat(perf->reaped_cpu_ns, perf->baseline_cpu_ns);
	bool all_ended = !perf->env->attach && !perf->env->no_children &&
			 dn_tree_live(perf->core->tree) == 0 && perf->reaped_cpu_ns > 0;

	if (!dn_frame_has(frame, DN_M_cpu_total_ns)) {
		if (!all_ended || !dn_metric_set_has(&perf->assigned, DN_M_cpu_total_ns))
			return;
		dn_frame_u64(frame, DN_M_cpu_total_ns, reaped_ns);
		dn_perf_degrade(perf, DN_M_cpu_total_ns, DN_QUALITY_LOWER_BOUND,
			"the counter could not be read at the end: this is what was waited for");
		return;
	}
	/* The clock also counts what a hypervisor stole and what interrupts took. */
	if (all_ended && (dn_tree_started(perf->core->tree) < 2 ||
				 counted_ns <= reaped_ns + reaped_ns / 20 + SLACK_NS))
		dn_frame_u64(frame, DN_M_cpu_total_ns, reaped_ns);
	else if (all_ended && could_be_stolen(perf, counted_ns - reaped_ns))
		dn_perf_degrade(perf, DN_M_cpu_total_ns, DN_QUALITY_SAMPLED,
			"time that the hypervisor gave to others may have been counted");
	else if (dn_tree_exited(perf->core->tree) > 0)
		dn_perf_degrade(perf, DN_M_cpu_total_ns, DN_QUALITY_LOWER_BOUND,
			"what the end of a process takes, as freeing its memory, is only told to "
			"who "
			"waits for it");
}

static int perf_sample(struct dn_backend *backend, struct dn_frame *frame)
{
	struct dn_perf *perf = (struct dn_perf *)backend;

	if (perf->has_sideband)
		sample_sideband(perf, frame);
	dn_perf_values_sample(perf, frame);
	if (frame->final)
		settle_cpu(perf, frame);
	return 0;
}

static uint64_t timeval_ns(const struct timeval *tv)
{
	return (uint64_t)tv->tv_sec * UINT64_C(1000000000) + (uint64_t)tv->tv_usec * 1000;
}

/*
 * Without the sideband nobody says that an exec lost the counters. But what was reaped says how
 * much CPU it used, and much more than what was counted it can't be.
 */
static void check_reaped(struct dn_perf *perf)
{
	uint64_t limit_ns;
	unsigned i;

	dn_perf_counters_read(&perf->counters);
	for (i = 0; i < perf->counters.n_slots; i++) {
		if (perf->counters.slot[i].spec.metric == DN_M_cpu_total_ns)
			break;
	}
	if (i == perf->counters.n_slots)
		return;
	limit_ns = dn_add_sat(perf->counters.slot[i].raw, perf->baseline_cpu_ns);
	limit_ns = dn_add_sat(limit_ns, limit_ns / 4 + SLACK_NS);
	if (perf->reaped_cpu_ns > limit_ns)
		degrade_all(perf, DN_QUALITY_LOWER_BOUND,
			"reaped processes used more CPU than was counted: a setuid or unreadable "
			"program "
			"loses its counters");
}

static void perf_on_event(struct dn_backend *backend, const struct dn_process_event *event)
{
	struct dn_perf *perf = (struct dn_perf *)backend;

	if (event->type != DN_PROCESS_REAPED || !event->rusage ||
		!dn_metric_set_has(&perf->assigned, DN_M_cpu_total_ns))
		return;
	perf->reaped_cpu_ns =
		dn_add_sat(perf->reaped_cpu_ns, dn_add_sat(timeval_ns(&event->rusage->ru_utime),
							timeval_ns(&event->rusage->ru_stime)));
	if (!perf->has_sideband)
		check_reaped(perf);
}

const struct dn_backend_ops dn_backend_perf = {
	.name = "perf",
	.summary =
		"perf events: counters that the whole tree inherits, and a lossless process table",
	.tier = "perf",
	.probe = perf_probe,
	.open = perf_open,
	.started = perf_started,
	.drain = perf_drain,
	.sample = perf_sample,
	.on_event = perf_on_event,
	.close = perf_close,
};

/* SPDX-License-Identifier: Apache-2.0 */
/* Frames, header and summary: what backends say, made whole, checked against each other, handed to
 * the sinks. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <denet/arena.h>
#include <denet/cpu-split.h>
#include <denet/fs.h>

#include "derive.h"
#include "session.h"

/* Time that the hypervisor stole or interrupts took is in the one total and not in the other. */
#define CPU_SLACK_NS 5000000
#define END_SLACK_NS 10000 /* of each thread that ended: 4 us were measured */

void dn_session_header(struct dn_session *session)
{
	struct dn_run *run = &session->run;

	run->mode = session->attach ? "attach" : "run";
	run->command = session->attach ? NULL : session->options->argv;
	run->cwd = getcwd(session->cwd, sizeof(session->cwd));
	run->targets = session->env.targets;
	run->n_targets = session->env.n_targets;
	run->tier = session->plan.tier;
	run->interval_ns = session->options->interval_ns;
	run->per_process = session->options->per_process;
	run->detail = session->options->detail;
	run->n_backends = session->plan.n_backends;
	for (unsigned i = 0; i < session->plan.n_backends; i++) {
		const struct dn_plan_backend *backend = &session->plan.backend[i];

		run->backend[i] = (struct dn_backend_state){.name = backend->ops->name,
			.fact = backend->dead ? DN_FACT_BROKEN : backend->probe.fact,
			.active = backend->active && !backend->dead,
			.reason = backend->probe.reason,
			.hint = backend->probe.hint};
	}
	if (session->header_wanted) {
		dn_machine_read(session->env.proc_fd, session->env.sys_fd, &session->machine);
		run->machine = &session->machine;
	}
	session->header_done = true;
	for (unsigned i = 0; i < session->n_sinks; i++)
		(void)session->sink[i]->ops->header(session->sink[i], run);
}

/* What points into a backend is gone with it. */
static void drop_pointers(struct dn_frame *frame)
{
	for (unsigned m = 0; m < dn_metric_count(); m++) {
		if (frame->value[m].type == DN_VALUE_HISTOGRAM ||
			frame->value[m].type == DN_VALUE_TABLE)
			frame->value[m].type = DN_VALUE_NONE;
	}
}

/* A backend that died: what its counters had is a lower bound; the rest is gone. */
static void bury(struct dn_session *session, struct dn_frame *frame, unsigned index, int error)
{
	struct dn_plan_backend *backend = &session->plan.backend[index];
	const char *text = dn_arena_printf(
		session->plan.arena, "backend %s died: %s", backend->ops->name, strerror(-error));

	for (unsigned m = 0; m < dn_metric_count(); m++) {
		bool counted = dn_metric_info(m)->kind == DN_KIND_COUNTER &&
			       session->before.value[m].type != DN_VALUE_NONE;

		if (session->plan.supplier[m] != (int)index)
			continue;
		dn_session_degrade(
			session, m, counted ? DN_QUALITY_LOWER_BOUND : DN_QUALITY_MISSING, text);
		if (frame->value[m].type == DN_VALUE_HISTOGRAM ||
			frame->value[m].type == DN_VALUE_TABLE)
			frame->value[m].type = DN_VALUE_NONE;
	}
	if (backend->ops->cost)
		backend->ops->cost(backend->instance, &session->cost);
	session->open_backends &= ~(1u << index);
	session->run.backend[index].active = false;
	session->run.backend[index].fact = DN_FACT_BROKEN;
	session->run.backend[index].reason = text;
	backend->dead = true;
	backend->ops->close(backend->instance);
	backend->instance = NULL;
	dn_session_event(session, DN_EVENT_BACKEND_LOST, NULL, dn_now_ns(), text);
	dn_warn("%s; continuing without it", text);
}

/* What was declared missing on the way has no value, whatever an earlier look said. */
static void drop_missing(const struct dn_session *session, struct dn_frame *frame)
{
	for (unsigned m = 0; m < dn_metric_count(); m++) {
		if (session->run.metric[m].wanted &&
			session->run.metric[m].quality == DN_QUALITY_MISSING)
			frame->value[m].type = DN_VALUE_NONE;
	}
}

static void put_process_counts(struct dn_session *session, struct dn_frame *frame)
{
	const int *supplier = session->plan.supplier;

	if (supplier[DN_M_process_count] >= 0)
		dn_frame_u64(frame, DN_M_process_count, dn_tree_live(session->tree));
	if (supplier[DN_M_process_started] >= 0)
		dn_frame_u64(frame, DN_M_process_started, dn_tree_started(session->tree));
	if (supplier[DN_M_process_exited] >= 0)
		dn_frame_u64(frame, DN_M_process_exited, dn_tree_exited(session->tree));
}

/* A cumulative counter never falls, whatever tick truncation or an unreadable zombie did to this
 * look at it. */
static void keep_counters_monotonic(struct dn_session *session, struct dn_frame *frame)
{
	for (unsigned m = 0; m < dn_metric_count(); m++) {
		const struct dn_value *last = &session->before.value[m];

		if (dn_metric_info(m)->kind != DN_KIND_COUNTER || last->type != DN_VALUE_U64)
			continue;
		if (frame->value[m].type != DN_VALUE_U64 || frame->value[m].u64 >= last->u64)
			continue;
		/* perf's clock runs on while a hypervisor runs others; what is reaped tells, too
		 * late. */
		if (frame->final && m == DN_M_cpu_total_ns &&
			last->u64 > frame->value[m].u64 + frame->value[m].u64 / 100)
			dn_session_degrade(session, m, DN_QUALITY_SAMPLED,
				"time that the hypervisor gave to others was counted on the way");
		frame->value[m].u64 = last->u64;
	}
}

static bool nothing_escaped(const struct dn_session *session)
{
	return !session->attach && session->root_exited && !session->options->no_children &&
	       dn_tree_live(session->tree) == 0;
}

/* What rusage may lack though all were waited for: each thread's way from where it is accounted to
 * its last switch, microseconds. */
static uint64_t rusage_slack(
	const struct dn_session *session, const struct dn_frame *frame, uint64_t reaped)
{
	const struct dn_value *threads = &frame->value[DN_M_process_threads_started];
	uint64_t ends = dn_tree_exited(session->tree);

	if (threads->type == DN_VALUE_U64)
		ends = dn_add_sat(ends, threads->u64);
	return reaped / 20 + CPU_SLACK_NS + ends * END_SLACK_NS;
}

/*
 * Two independent totals of CPU time: what denet's wait calls were told (rusage), and what the
 * supplier counted. Where rusage is short, the kernel reaped children unseen, and all that is
 * learned by waiting is short.
 */
static void cross_check_cpu(struct dn_session *session, const struct dn_frame *frame)
{
	int supplier = session->plan.supplier[DN_M_cpu_total_ns];
	uint64_t reaped = dn_sub_sat(session->reaped_cpu_ns, session->gate_cpu_ns), counted;
	char text[160];

	if (supplier < 0 || !nothing_escaped(session) ||
		frame->value[DN_M_cpu_total_ns].type != DN_VALUE_U64 ||
		session->plan.backend[supplier].probe.offer[DN_M_cpu_total_ns].if_lossy)
		return;
	counted = frame->value[DN_M_cpu_total_ns].u64;
	if (dn_tree_started(session->tree) < 2 ||
		counted <= reaped + rusage_slack(session, frame, reaped))
		return;
	snprintf(text, sizeof(text),
		"%llu ms of CPU time belong to processes that nobody waited for: their numbers are "
		"lost",
		(unsigned long long)((counted - reaped) / 1000000));
	for (unsigned m = 0; m < dn_metric_count(); m++) {
		int s = session->plan.supplier[m];

		if (s >= 0 && session->plan.backend[s].probe.offer[m].if_lossy)
			dn_session_degrade(session, m, DN_QUALITY_LOWER_BOUND, text);
	}
}

static uint64_t last_of(const struct dn_session *session, unsigned metric)
{
	const struct dn_value *last = &session->before.value[metric];

	return last->type == DN_VALUE_U64 ? last->u64 : 0;
}

/*
 * The total is of another source (it begins at the exec, rusage at the fork) or of a finer clock
 * than the ticks: the parts are made parts of that one.
 */
static void fit_cpu_split(const struct dn_session *session, struct dn_frame *frame)
{
	struct dn_value *user = &frame->value[DN_M_cpu_user_ns],
			*system = &frame->value[DN_M_cpu_system_ns];
	const struct dn_value *total = &frame->value[DN_M_cpu_total_ns];
	struct dn_cpu_split split = {
		last_of(session, DN_M_cpu_user_ns), last_of(session, DN_M_cpu_system_ns)};

	if (user->type != DN_VALUE_U64 || system->type != DN_VALUE_U64 ||
		session->plan.supplier[DN_M_cpu_total_ns] < 0 ||
		session->plan.metric[DN_M_cpu_total_ns].quality == DN_QUALITY_SIMULATED)
		return;
	if (total->type != DN_VALUE_U64) {
		/* Parts of what nobody can say at this look; at the next one it might be less. */
		user->type = system->type = DN_VALUE_NONE;
		return;
	}
	dn_cpu_fit(&split, total->u64, &user->u64, &system->u64);
}

static void fill_frame(struct dn_session *session, struct dn_frame *frame, bool final)
{
	bool still = session->env.still;
	uint64_t now = final && session->root_exited && !session->options->wait_tree
			       ? session->root_exit_ns
			       : dn_now_ns();

	if (still)
		now = session->core.t0_ns;
	memset(frame, 0, sizeof(*frame));
	frame->seq = ++session->seq;
	frame->t_ns = dn_sub_sat(now, session->core.t0_ns);
	frame->interval_ns = still ? 1 : dn_sampler_mark(&session->sampler, now, &frame->gap);
	frame->final = final;
	for (unsigned i = 0; i < session->plan.n_backends; i++) {
		int r;

		if (!(session->open_backends >> i & 1))
			continue;
		r = session->plan.backend[i].ops->sample(session->plan.backend[i].instance, frame);
		if (r < 0)
			bury(session, frame, i, r);
	}
	put_process_counts(session, frame);
	drop_missing(session, frame);
	keep_counters_monotonic(session, frame);
	fit_cpu_split(session, frame);
	if (final)
		cross_check_cpu(session, frame);
	dn_derive(frame, session->before.seq ? &session->before : NULL,
		still ? 0 : frame->interval_ns);
	if ((session->options->per_process || final) && !still)
		dn_tree_derive(session->tree, now);
}

/* A counter without a value at this look keeps its last one for the next comparison. */
static void remember(struct dn_session *session)
{
	struct dn_frame last = session->before;

	session->before = session->frame;
	for (unsigned m = 0; m < dn_metric_count(); m++) {
		if (session->before.value[m].type == DN_VALUE_NONE &&
			dn_metric_info(m)->kind == DN_KIND_COUNTER)
			session->before.value[m] = last.value[m];
	}
	/* Backends change what these point to at their next sample. */
	if (!session->frame.final)
		drop_pointers(&session->before);
}

void dn_session_sample(struct dn_session *session, bool final)
{
	struct dn_frame *frame = &session->frame;

	fill_frame(session, frame, final);
	if (frame->gap)
		dn_session_event(session, DN_EVENT_GAP, NULL, session->core.t0_ns + frame->t_ns,
			"denet was stopped, starved, or the machine slept");
	for (unsigned i = 0; i < session->n_sinks; i++)
		(void)session->sink[i]->ops->sample(
			session->sink[i], &session->run, frame, session->tree);
	remember(session);
}

void dn_session_on_tick(struct dn_sampler *sampler)
{
	struct dn_session *session = dn_container_of(sampler, struct dn_session, sampler);

	if (!session->measuring)
		return;
	dn_session_drain(session);
	/* Orphans whose SIGCHLD merged with another. */
	dn_session_reap(session);
	if (!session->measuring)
		return;
	dn_session_sample(session, false);
	dn_session_privileges(session);
}

void dn_session_summary(struct dn_session *session)
{
	struct dn_summary summary = {.ended_by = session->ended_by};
	const struct dn_process *root =
		session->attach ? NULL : dn_tree_find(session->tree, session->child.pid);
	struct rusage self;
	uint64_t now = session->core.t0_ns + session->frame.t_ns;

	if (dn_tree_lost(session->tree) > 0) {
		session->lost_events =
			dn_add_sat(session->lost_events, dn_tree_lost(session->tree));
		dn_session_degrade(session, DN_M_process_started, DN_QUALITY_LOWER_BOUND,
			"the process table was full");
		dn_session_degrade(session, DN_M_process_exited, DN_QUALITY_LOWER_BOUND,
			"the process table was full");
		dn_session_degrade(session, DN_M_process_count, DN_QUALITY_LOWER_BOUND,
			"the process table was full");
	}
	for (unsigned m = 0; m < dn_metric_count(); m++) {
		if (dn_metric_info(m)->kind == DN_KIND_COUNTER &&
			session->frame.value[m].type == DN_VALUE_NONE &&
			session->before.value[m].type != DN_VALUE_NONE)
			dn_session_degrade(session, m, DN_QUALITY_LOWER_BOUND,
				"the last look had no value: this is that of the look before");
	}
	summary.t_ns = summary.wall_ns = session->frame.t_ns;
	summary.has_exit = session->root_exited;
	summary.wait_status = session->root_status;
	summary.descendants_left = dn_tree_live(session->tree) - (root ? 1 : 0);
	/* What a last look could not see is what the look before saw; ratios are over the whole
	 * run. */
	summary.frame = session->before;
	dn_derive(&summary.frame, NULL, summary.wall_ns);
	drop_missing(session, &summary.frame);
	summary.lost_events = session->lost_events;
	summary.lost_samples = session->sampler.missed;
	getrusage(RUSAGE_SELF, &self);
	summary.self_cpu_ns =
		(uint64_t)(self.ru_utime.tv_sec + self.ru_stime.tv_sec) * UINT64_C(1000000000) +
		(uint64_t)(self.ru_utime.tv_usec + self.ru_stime.tv_usec) * 1000;
	if (!session->env.fixture)
		summary.self_max_rss_bytes = dn_machine_own_peak(session->env.proc_fd);
	summary.cost = session->cost;
	for (unsigned i = 0; i < session->plan.n_backends; i++) {
		const struct dn_plan_backend *backend = &session->plan.backend[i];

		if (session->open_backends >> i & 1 && backend->ops->cost)
			backend->ops->cost(backend->instance, &summary.cost);
	}
	dn_tree_summarise(session->tree, now, &summary);
	for (unsigned i = 0; i < session->n_sinks; i++)
		(void)session->sink[i]->ops->summary(session->sink[i], &session->run, &summary);
}

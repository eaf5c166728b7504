/* SPDX-License-Identifier: Apache-2.0 */
/*
 * --max-overhead: what each interval cost is put before the policy (budget.c), and its answer is
 * carried out and told.
 *
 * A program may work for several groups. Its run time belongs to those that can have less of it; if
 * one that can't be had less of needs it too, it is nobody's to save.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <denet/fs.h>

#include "budget.h"
#include "ebpf.h"

struct dn_ebpf_overhead {
	bool begun, stuck;
	uint64_t t_ns, own_ns; /* when the interval began, and denet's CPU time then */
	uint64_t run_ns[DN_EBPF_PROGRAMS_MAX], runs[DN_EBPF_PROGRAMS_MAX];
	uint32_t every[DN_PROBES_N];
	uint32_t stopped; /* groups: a bit each */
};

static bool needs(const struct dn_ebpf_group *group, const char *program)
{
	for (unsigned i = 0; i < group->n_metrics; i++) {
		if (dn_ebpf_has_word(group->metric[i].programs, program))
			return true;
	}
	return false;
}

/* The process table is what all others rest on. */
static bool is_running(const struct dn_ebpf *ebpf, const struct dn_ebpf_group *group)
{
	return dn_ebpf_on(ebpf, group->id) && !(ebpf->overhead->stopped >> group->id & 1);
}

/* Groups that run and need the program: a bit each. */
static uint32_t users_of(const struct dn_ebpf *ebpf, const char *program)
{
	uint32_t users = 0;

	for (unsigned i = 0; i < dn_n_ebpf_groups; i++) {
		const struct dn_ebpf_group *group = dn_ebpf_groups[i];

		if (is_running(ebpf, group) && needs(group, program))
			users |= 1u << group->id;
	}
	return users;
}

static void fill_group(
	const struct dn_ebpf *ebpf, const struct dn_ebpf_group *group, struct dn_budget_group *ret)
{
	ret->on = is_running(ebpf, group);
	ret->can_sample = group->sampled;
	ret->every = ebpf->overhead->every[group->id];
	if (!ret->on || group->id == DN_PROBES_LIFECYCLE)
		return;
	for (unsigned p = 0; p < ebpf->objects.n_programs; p++) {
		const struct dn_ebpf_program *program = &ebpf->objects.program[p];

		if (program->link >= 0 && users_of(ebpf, program->name) == 1u << group->id)
			ret->can_stop = true;
	}
	/* Told to look at nothing it costs its hook, and nothing but that. */
	ret->can_stop |= group->sampled;
}

static void fill(
	const struct dn_ebpf *ebpf, struct dn_budget_input *input, uint64_t *run_ns, uint64_t *runs)
{
	const struct dn_ebpf_overhead *self = ebpf->overhead;
	uint32_t reducible = 0;

	for (unsigned i = 0; i < dn_n_ebpf_groups; i++) {
		struct dn_budget_group *group = &input->group[dn_ebpf_groups[i]->id];

		fill_group(ebpf, dn_ebpf_groups[i], group);
		if (group->can_stop)
			reducible |= 1u << dn_ebpf_groups[i]->id;
	}
	for (unsigned p = 0; p < ebpf->objects.n_programs; p++) {
		uint64_t ns, n;
		uint32_t users;
		unsigned count;

		run_ns[p] = dn_ebpf_run_ns(ebpf, p, &runs[p]);
		ns = dn_sub_sat(run_ns[p], self->run_ns[p]);
		n = dn_sub_sat(runs[p], self->runs[p]);
		input->bpf_ns = dn_add_sat(input->bpf_ns, ns);
		users = users_of(ebpf, ebpf->objects.program[p].name);
		if (!users || users >> DN_PROBES_LIFECYCLE & 1)
			continue;
		/* One that stays would run it all the same, but for what can be sampled. */
		if (users & reducible)
			users &= reducible;
		count = (unsigned)__builtin_popcount(users);
		for (unsigned g = 0; g < DN_PROBES_N; g++) {
			if (users >> g & 1) {
				input->group[g].run_ns += ns / count;
				input->group[g].runs += n;
			}
		}
	}
}

/* Detaches what only this group needed, and tells the rest to look at nothing for it. */
static void stop(struct dn_ebpf *ebpf, enum dn_probe_group id)
{
	dn_ebpf_set_sampling(ebpf, id, DN_BUDGET_OFF);
	for (unsigned p = 0; p < ebpf->objects.n_programs; p++) {
		struct dn_ebpf_program *program = &ebpf->objects.program[p];

		if (program->link < 0 || users_of(ebpf, program->name) != 1u << id)
			continue;
		close(program->link);
		program->link = -1;
	}
	ebpf->overhead->stopped |= 1u << id;
}

/* What a group tells when it sees only a part, or nothing more. */
static void degrade(
	struct dn_ebpf *ebpf, const struct dn_ebpf_group *group, bool stopped, const char *reason)
{
	for (unsigned i = 0; i < group->n_metrics; i++) {
		unsigned metric = group->metric[i].metric;
		bool gauge = dn_metric_info(metric)->kind == DN_KIND_GAUGE;

		dn_ebpf_degrade(ebpf, metric,
			!stopped ? DN_QUALITY_SAMPLED
			: gauge	 ? DN_QUALITY_MISSING
				 : DN_QUALITY_LOWER_BOUND,
			reason);
	}
}

static void carry_out(struct dn_ebpf *ebpf, const struct dn_budget_step *step, uint64_t now_ns)
{
	enum dn_probe_group id = (enum dn_probe_group)step->group;
	const struct dn_ebpf_group *group = dn_ebpf_group(id);
	const char *name = dn_probes_info(step->group)->name, *what, *reason;
	bool stopped = step->action == DN_BUDGET_STOP;

	if (stopped) {
		stop(ebpf, id);
		what = dn_arena_printf(ebpf->arena, "%s is switched off", name);
		reason = dn_arena_printf(ebpf->arena,
			"%s was switched off after %.3f s to keep to --max-overhead", name,
			(double)dn_sub_sat(now_ns, ebpf->core->t0_ns) / 1e9);
	} else {
		dn_ebpf_set_sampling(ebpf, id, step->every);
		what = dn_arena_printf(
			ebpf->arena, "%s looks at one event in %u", name, step->every);
		/* The first reason stays: the rate may fall further. */
		reason = dn_arena_printf(ebpf->arena,
			"%s looked at a part of its events to keep to --max-overhead", name);
	}
	ebpf->overhead->every[id] = step->every;
	degrade(ebpf, group, stopped, reason);
	if (id == DN_PROBES_LATENCY)
		dn_ebpf_degrade_call_tables(ebpf,
			stopped ? DN_QUALITY_LOWER_BOUND : DN_QUALITY_SAMPLED,
			dn_arena_printf(ebpf->arena, "times: %s", reason));
	ebpf->core->event(ebpf->core, DN_EVENT_BUDGET, NULL, now_ns,
		dn_arena_printf(ebpf->arena,
			"%s: tracing took %.2f %% of a CPU (%.2f %% in BPF programs), "
			"--max-overhead "
			"is %g %%",
			what, step->used_percent, step->bpf_percent,
			ebpf->env->max_overhead_percent));
}

static void tell_stuck(struct dn_ebpf *ebpf, const struct dn_budget_step *step, uint64_t now_ns)
{
	if (ebpf->overhead->stuck)
		return;
	ebpf->overhead->stuck = true;
	ebpf->core->event(ebpf->core, DN_EVENT_BUDGET, NULL, now_ns,
		dn_arena_printf(ebpf->arena,
			"nothing is left to switch off: tracing took %.2f %% of a CPU (%.2f %% in "
			"BPF "
			"programs), --max-overhead is %g %%",
			step->used_percent, step->bpf_percent, ebpf->env->max_overhead_percent));
}

int dn_ebpf_overhead_open(struct dn_ebpf *ebpf)
{
	if (!(ebpf->env->max_overhead_percent > 0))
		return 0;
	ebpf->overhead = calloc(1, sizeof(*ebpf->overhead));
	if (!ebpf->overhead)
		return -ENOMEM;
	for (unsigned i = 0; i < DN_PROBES_N; i++)
		ebpf->overhead->every[i] = ebpf->env->sample_every[i];
	return 0;
}

void dn_ebpf_overhead_close(struct dn_ebpf *ebpf)
{
	free(ebpf->overhead);
	ebpf->overhead = NULL;
}

/* Where an interval ends the next one begins. */
static void begin(struct dn_ebpf_overhead *self, uint64_t now_ns, uint64_t own_ns,
	const uint64_t *run_ns, const uint64_t *runs)
{
	self->t_ns = now_ns;
	self->own_ns = own_ns;
	memcpy(self->run_ns, run_ns, sizeof(self->run_ns));
	memcpy(self->runs, runs, sizeof(self->runs));
	self->begun = true;
}

void dn_ebpf_overhead_watch(struct dn_ebpf *ebpf)
{
	struct dn_ebpf_overhead *self = ebpf->overhead;
	uint64_t run_ns[DN_EBPF_PROGRAMS_MAX] = {0}, runs[DN_EBPF_PROGRAMS_MAX] = {0};
	uint64_t now_ns = dn_now_ns(), own_ns = dn_spent_ns();
	struct dn_budget_input input = {.percent = ebpf->env->max_overhead_percent};
	struct dn_budget_step step;

	if (!self)
		return;
	/* Setting up is over at the first look; it is told as load and attach time. */
	if (!self->begun) {
		fill(ebpf, &input, run_ns, runs);
		begin(self, now_ns, own_ns, run_ns, runs);
		if (!ebpf->accounted)
			ebpf->core->event(ebpf->core, DN_EVENT_BUDGET, NULL, now_ns,
				dn_arena_printf(ebpf->arena,
					"--max-overhead can't be kept: the run time of BPF "
					"programs "
					"can't be measured (BPF_ENABLE_STATS: %s)",
					strerror(-ebpf->stats_error)));
		return;
	}
	if (!ebpf->accounted)
		return;
	input.interval_ns = dn_sub_sat(now_ns, self->t_ns);
	input.own_ns = dn_sub_sat(own_ns, self->own_ns);
	fill(ebpf, &input, run_ns, runs);
	dn_budget_decide(&input, &step);
	if (step.action == DN_BUDGET_WAIT)
		return;
	if (step.action == DN_BUDGET_STUCK)
		tell_stuck(ebpf, &step, now_ns);
	else if (step.action != DN_BUDGET_KEPT)
		carry_out(ebpf, &step, now_ns);
	begin(self, now_ns, own_ns, run_ns, runs);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Supplier per metric: the best quality wins, then the higher tier. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <denet/arena.h>

#include "plan.h"

/* Lowest first; a tier includes those before it. "fake" stands apart. */
static const char *const tiers[] = {"procfs", "perf", "ebpf"};

static int tier_rank(const char *tier)
{
	for (unsigned i = 0; i < sizeof(tiers) / sizeof(tiers[0]); i++) {
		if (strcmp(tiers[i], tier) == 0)
			return (int)i;
	}
	return -1;
}

static bool tier_includes(const char *chosen, const char *tier)
{
	if (strcmp(chosen, "auto") == 0)
		return tier_rank(tier) >= 0;
	if (tier_rank(chosen) < 0)
		return strcmp(chosen, tier) == 0;
	return tier_rank(tier) >= 0 && tier_rank(tier) <= tier_rank(chosen);
}

static bool tier_exists(const char *tier)
{
	if (strcmp(tier, "auto") == 0)
		return true;
	for (unsigned i = 0; i < dn_n_backends; i++) {
		if (strcmp(dn_backends[i]->tier, tier) == 0)
			return true;
	}
	return false;
}

int dn_plan_probe(
	const char *tier, const struct dn_env *env, struct dn_plan *plan, struct dn_why *why)
{
	if (!tier_exists(tier)) {
		dn_why_set(why, "this denet was built without the '%s' tier", tier);
		dn_why_hint(why, "leave --backend out to take the best one that works");
		return -EINVAL;
	}
	plan->arena = dn_arena_new();
	if (!plan->arena)
		return -ENOMEM;
	for (unsigned i = 0; i < dn_n_backends && plan->n_backends < DN_BACKEND_MAX; i++) {
		struct dn_plan_backend *backend;
		int r;

		if (!tier_includes(tier, dn_backends[i]->tier))
			continue;
		backend = &plan->backend[plan->n_backends];
		backend->ops = dn_backends[i];
		backend->probe.arena = plan->arena;
		r = backend->ops->probe(env, &backend->probe, &backend->instance);
		if (r == -EINVAL && backend->probe.reason) {
			/* What the user asked of it (an event, a script) does not exist. */
			dn_why_set(why, "%s", backend->probe.reason);
			if (backend->probe.hint)
				dn_why_hint(why, "%s", backend->probe.hint);
			plan->n_backends++;
			return r;
		}
		if (backend->probe.detail)
			dn_debug("backend %s: %s", backend->ops->name, backend->probe.detail);
		if (r < 0)
			backend->dead = true;
		else
			backend->instance->index = plan->n_backends;
		plan->n_backends++;
	}
	return 0;
}

struct candidate {
	int backend; /* -1: none */
	enum dn_quality quality;
	const char *reason;
};

static struct candidate best_offer(const struct dn_plan *plan, unsigned metric, bool lossless)
{
	struct candidate best = {.backend = -1, .quality = DN_QUALITY_MISSING};

	for (unsigned i = 0; i < plan->n_backends; i++) {
		const struct dn_plan_backend *backend = &plan->backend[i];
		const struct dn_offer *offer = &backend->probe.offer[metric];
		enum dn_quality quality = offer->quality;
		const char *reason = offer->reason;

		if (backend->dead || offer->fact != DN_FACT_OK)
			continue;
		if (offer->if_lossy && !lossless && quality < DN_QUALITY_LOWER_BOUND) {
			quality = DN_QUALITY_LOWER_BOUND;
			reason = offer->if_lossy;
		}
		if (best.backend < 0 || quality <= best.quality)
			best = (struct candidate){(int)i, quality, reason};
	}
	return best;
}

/* Of several refusals the one that says most: not allowed, then broken, then not there. */
static void explain_missing(
	const struct dn_plan *plan, unsigned metric, struct dn_metric_state *state)
{
	static const int weight[] = {[DN_FACT_OK] = 0,
		[DN_FACT_UNTRIED] = 0,
		[DN_FACT_UNSUPPORTED] = 1,
		[DN_FACT_BROKEN] = 2,
		[DN_FACT_DENIED] = 3};
	int best = 0;

	state->reason = "no backend of this run supplies it";
	for (unsigned i = 0; i < plan->n_backends; i++) {
		const struct dn_plan_backend *backend = &plan->backend[i];
		const struct dn_offer *offer = &backend->probe.offer[metric];

		if (backend->dead && offer->fact == DN_FACT_OK && best < 2) {
			best = 2;
			state->reason = backend->probe.reason ? backend->probe.reason
							      : "its backend could not start";
			state->hint = backend->probe.hint;
		} else if (weight[offer->fact] > best && offer->reason) {
			best = weight[offer->fact];
			state->reason = offer->reason;
			state->hint = offer->hint;
		}
	}
}

/* What each derived metric is made of. */
static const struct {
	unsigned derived, from[2];
} derivations[] = {
	{DN_M_cpu_usage_percent, {DN_M_cpu_total_ns, DN_M_cpu_total_ns}},
	{DN_M_hw_ipc, {DN_M_hw_instructions, DN_M_hw_cycles}},
	{DN_M_hw_cache_miss_ratio, {DN_M_hw_cache_misses, DN_M_hw_cache_references}},
	{DN_M_hw_branch_miss_ratio, {DN_M_hw_branch_misses, DN_M_hw_branches}},
};

void dn_plan_add_inputs(struct dn_metric_set *set)
{
	for (unsigned i = 0; i < sizeof(derivations) / sizeof(derivations[0]); i++) {
		if (!dn_metric_set_has(set, derivations[i].derived))
			continue;
		dn_metric_set_add(set, derivations[i].from[0]);
		dn_metric_set_add(set, derivations[i].from[1]);
	}
}

int dn_plan_made_of(unsigned metric, unsigned i)
{
	for (unsigned d = 0; d < sizeof(derivations) / sizeof(derivations[0]); d++) {
		if ((derivations[d].from[0] == metric || derivations[d].from[1] == metric) &&
			i-- == 0)
			return (int)derivations[d].derived;
	}
	return -1;
}

static void plan_derived(struct dn_plan *plan)
{
	for (unsigned i = 0; i < sizeof(derivations) / sizeof(derivations[0]); i++) {
		const struct dn_metric_state *a = &plan->metric[derivations[i].from[0]];
		const struct dn_metric_state *b = &plan->metric[derivations[i].from[1]];
		const struct dn_metric_state *worse = b->quality > a->quality ? b : a;
		struct dn_metric_state *state = &plan->metric[derivations[i].derived];

		if (!state->wanted)
			continue;
		state->quality = worse->quality;
		state->source = worse->quality == DN_QUALITY_MISSING ? NULL : "derived";
		state->reason = worse->reason;
		state->hint = worse->hint;
	}
}

void dn_plan_make(struct dn_plan *plan, const struct dn_metric_set *wanted)
{
	struct candidate source = best_offer(plan, DN_M_process_started, false);
	bool lossless = source.backend >= 0 && source.quality == DN_QUALITY_EXACT;
	int tier = -1;

	for (unsigned i = 0; i < plan->n_backends; i++) {
		memset(&plan->backend[i].assigned, 0, sizeof(plan->backend[i].assigned));
		plan->backend[i].active = false;
	}
	for (unsigned m = 0; m < DN_METRIC_MAX; m++) {
		const struct dn_metric_info *info = dn_metric_info(m);
		struct dn_metric_state *state = &plan->metric[m];
		struct candidate best;

		plan->supplier[m] = -1;
		*state = (struct dn_metric_state){.quality = DN_QUALITY_MISSING};
		if (!info || !dn_metric_set_has(wanted, m))
			continue;
		state->wanted = true;
		if (info->flags & DN_FLAG_DERIVED)
			continue;
		best = best_offer(plan, m, lossless);
		if (best.backend < 0) {
			explain_missing(plan, m, state);
			continue;
		}
		plan->supplier[m] = best.backend;
		state->quality = best.quality;
		state->source = plan->backend[best.backend].probe.offer[m].source;
		state->reason = best.reason;
		dn_metric_set_add(&plan->backend[best.backend].assigned, m);
		plan->backend[best.backend].active = true;
	}
	plan_derived(plan);
	plan->tier = "none";
	for (unsigned i = 0; i < plan->n_backends; i++) {
		int rank = tier_rank(plan->backend[i].ops->tier);

		if (plan->backend[i].active && rank >= tier) {
			tier = rank;
			plan->tier = plan->backend[i].ops->tier;
		}
	}
}

int dn_plan_check_forced(const struct dn_plan *plan, const char *tier, struct dn_why *why)
{
	const struct dn_plan_backend *refused = NULL;

	bool wanted = false;

	for (unsigned m = 0; m < DN_METRIC_MAX && !wanted; m++)
		wanted = plan->metric[m].wanted;
	if (!wanted || strcmp(tier, "auto") == 0)
		return 0;
	for (unsigned i = 0; i < plan->n_backends; i++) {
		if (strcmp(plan->backend[i].ops->tier, tier) != 0)
			continue;
		if (plan->backend[i].active)
			return 0;
		refused = &plan->backend[i];
	}
	dn_why_set(why, "the %s tier supplies nothing here: %s", tier,
		refused && refused->probe.reason ? refused->probe.reason : "no reason was given");
	if (refused && refused->probe.hint)
		dn_why_hint(why, "%s", refused->probe.hint);
	return refused && refused->probe.fact == DN_FACT_DENIED ? -EPERM : -EOPNOTSUPP;
}

void dn_plan_finish(struct dn_plan *plan)
{
	for (unsigned i = plan->n_backends; i > 0; i--) {
		struct dn_plan_backend *backend = &plan->backend[i - 1];

		if (backend->instance)
			backend->ops->close(backend->instance);
		backend->instance = NULL;
	}
	dn_arena_free(plan->arena);
	plan->arena = NULL;
}

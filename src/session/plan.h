/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which backend supplies which metric, how good that is, why the others can't be had and what would
 * unlock them. dn_plan_probe() asks the backends; dn_plan_make() decides and is pure: tests feed it
 * invented machines.
 */
#ifndef DENET_PLAN_H
#define DENET_PLAN_H

#include <denet/backend.h>
#include <denet/log.h>
#include <denet/sink.h>

struct dn_plan_backend {
	const struct dn_backend_ops *ops;
	struct dn_backend *instance; /* owned until the session takes it; NULL when probe failed */
	struct dn_probe probe;
	bool dead; /* failed to open, or died: takes no part in the plan */
	struct dn_metric_set assigned;
	bool active; /* assigned is not empty */
};

struct dn_plan {
	struct dn_plan_backend backend[DN_BACKEND_MAX];
	unsigned n_backends;
	struct dn_arena *arena;
	/* the decision */
	int supplier[DN_METRIC_MAX]; /* index of a backend; -1: missing or derived */
	struct dn_metric_state metric[DN_METRIC_MAX];
	const char *tier;
};

/*
 * Probes every backend of the chosen tier ("auto": all but fake). -EINVAL for a tier that this
 * build lacks, with why. A backend's own refusal is no error here. The plan is zeroed before.
 */
int dn_plan_probe(
	const char *tier, const struct dn_env *env, struct dn_plan *plan, struct dn_why *why);
/* Adds what the derived metrics of the set are made of. */
void dn_plan_add_inputs(struct dn_metric_set *set);
/* The derived metric number i that is made of metric, or -1 when there are no more. */
int dn_plan_made_of(unsigned metric, unsigned i);
/* No syscalls. */
void dn_plan_make(struct dn_plan *plan, const struct dn_metric_set *wanted);
/* A forced tier that supplies nothing: -EPERM or -EOPNOTSUPP with why and hint; else 0. */
int dn_plan_check_forced(const struct dn_plan *plan, const char *tier, struct dn_why *why);
/* Closes the instances that are still owned. Safe on a zeroed plan. */
void dn_plan_finish(struct dn_plan *plan);

#endif

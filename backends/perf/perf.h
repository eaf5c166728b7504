/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of this backend share. */
#ifndef DENET_PERF_PERF_H
#define DENET_PERF_PERF_H

#include <denet/arena.h>

#include "counters.h"
#include "sideband.h"

#define DN_PERF_EVENTS_MAX 32

struct dn_perf {
	struct dn_backend base;
	const struct dn_env *env;
	struct dn_arena *arena; /* of the probe: reasons live in it */
	struct dn_core *core;
	struct dn_perf_tasks tasks;
	struct dn_perf_counters counters;
	struct dn_perf_sideband sideband;
	bool has_sideband;
	bool raced; /* attach: threads came while their events were opened */
	bool taken; /* a process lost its events */
	struct dn_perf_spec event[DN_PERF_EVENTS_MAX]; /* of --events, those that exist here */
	unsigned n_events;
	struct dn_metric_set assigned;
	struct dn_metric_set degraded; /* said once is enough */
	uint64_t blocked_ns;
	uint64_t reaped_cpu_ns, baseline_cpu_ns;
	uint64_t stolen_ns; /* by the hypervisor until we began; 0 unknown */
};

/* Offers and refusals of what is wanted; of what is not, nothing is said. */
void dn_perf_offer(struct dn_probe *probe, const struct dn_env *env, unsigned metric,
	enum dn_quality quality, const char *source, const char *reason);
void dn_perf_refuse(struct dn_probe *probe, const struct dn_env *env, unsigned metric,
	const struct dn_perf_refusal *refusal);

extern const struct dn_backend_ops dn_backend_perf;

/* software.c: task-clock, migrations, faults */
void dn_perf_software_probe(struct dn_perf *perf, struct dn_probe *probe);
void dn_perf_software_open(struct dn_perf *perf);

/* hardware.c: the PMU */
void dn_perf_hardware_probe(struct dn_perf *perf, struct dn_probe *probe);
/* --events: fills perf->event and refuses what is not of this machine. -EINVAL with the probe's
 * reason for nonsense. */
int dn_perf_events_parse(struct dn_perf *perf, struct dn_probe *probe);
void dn_perf_events_probe(struct dn_perf *perf, struct dn_probe *probe);

/* values.c: from counters to frames */
void dn_perf_values_sample(struct dn_perf *perf, struct dn_frame *frame);

/* Degrades an assigned metric once per quality. reason must live long: static or of the arena. */
void dn_perf_degrade(
	struct dn_perf *perf, unsigned metric, enum dn_quality quality, const char *reason);

#endif

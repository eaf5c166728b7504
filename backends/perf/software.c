/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Software events. Without the right to see the kernel only task-clock is what it says: the others
 * open all the same, but the kernel then answers 0, or counts a part.
 */
#include <errno.h>

#include "perf.h"

struct software_row {
	unsigned metric;
	uint64_t config;
	const char *source;
};

static const struct software_row rows[] = {
	{DN_M_cpu_migrations, PERF_COUNT_SW_CPU_MIGRATIONS, "perf cpu-migrations"},
	{DN_M_memory_minor_faults, PERF_COUNT_SW_PAGE_FAULTS_MIN, "perf page-faults"},
	{DN_M_memory_major_faults, PERF_COUNT_SW_PAGE_FAULTS_MAJ, "perf page-faults"},
};

#define N_ROWS (sizeof(rows) / sizeof(rows[0]))

static struct dn_perf_spec spec_of(unsigned metric, uint64_t config)
{
	return (struct dn_perf_spec){.attr = {.type = PERF_TYPE_SOFTWARE, .config = config},
		.metric = metric,
		.own_row = -1,
		.proof = -1};
}

static bool wanted(const struct dn_perf *perf)
{
	for (unsigned i = 0; i < N_ROWS; i++) {
		if (dn_metric_set_has(&perf->env->wanted, rows[i].metric))
			return true;
	}
	return dn_metric_set_has(&perf->env->wanted, DN_M_cpu_total_ns);
}

/* One event is tried: software events are refused together or not at all. The others are opened
 * when they are assigned. */
void dn_perf_software_probe(struct dn_perf *perf, struct dn_probe *probe)
{
	struct dn_perf_spec spec = spec_of(DN_M_cpu_total_ns, PERF_COUNT_SW_TASK_CLOCK);
	struct dn_perf_refusal refusal = {0};
	int slot, error;

	if (!wanted(perf))
		return;
	slot = dn_perf_counters_add(&perf->counters, &spec, 1);
	error = slot < 0 ? slot : perf->counters.slot[slot].error;
	if (error < 0) {
		refusal = dn_perf_explain(probe, perf->env, "perf task-clock", error);
		dn_perf_refuse(probe, perf->env, DN_M_cpu_total_ns, &refusal);
	} else {
		/* Of an attached tree nobody tells what the ends of its processes take. */
		dn_perf_offer(probe, perf->env, DN_M_cpu_total_ns,
			perf->env->attach ? DN_QUALITY_LOWER_BOUND : DN_QUALITY_EXACT,
			"perf task-clock",
			perf->env->attach ? "what freeing the memory of an ended process takes is "
					    "not counted"
					  : NULL);
		if (perf->counters.view == DN_PERF_VIEW_USER)
			refusal = (struct dn_perf_refusal){.fact = DN_FACT_DENIED,
				.reason = "perf counts user mode only without CAP_PERFMON; the "
					  "kernel "
					  "would answer 0 or a part",
				.hint = dn_perf_hint_capability(probe, perf->env)};
	}
	for (unsigned i = 0; i < N_ROWS; i++) {
		bool faults = rows[i].metric != DN_M_cpu_migrations;

		if (refusal.reason)
			dn_perf_refuse(probe, perf->env, rows[i].metric, &refusal);
		else
			dn_perf_offer(probe, perf->env, rows[i].metric,
				faults ? DN_QUALITY_LOWER_BOUND : DN_QUALITY_EXACT, rows[i].source,
				faults ? "faults that the kernel takes for a process, as for "
					 "direct "
					 "I/O, are not counted"
				       : NULL);
	}
}

void dn_perf_software_open(struct dn_perf *perf)
{
	struct dn_perf_spec spec[N_ROWS];
	unsigned n = 0;
	int slot;

	for (unsigned i = 0; i < N_ROWS; i++) {
		if (dn_metric_set_has(&perf->assigned, rows[i].metric))
			spec[n++] = spec_of(rows[i].metric, rows[i].config);
	}
	if (n == 0)
		return;
	slot = dn_perf_counters_add(&perf->counters, spec, n);
	for (unsigned i = 0; i < n; i++) {
		if (slot < 0 || perf->counters.slot[(unsigned)slot + i].error < 0)
			dn_perf_degrade(perf, spec[i].metric, DN_QUALITY_MISSING,
				"the event could not be opened when measuring began");
	}
}

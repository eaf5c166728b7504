/* SPDX-License-Identifier: Apache-2.0 */
/* Hardware events: which ones, in which groups, on which PMUs. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "perf.h"
#include "pmu.h"

#define CACHE(cache, result)                                                                       \
	(PERF_COUNT_HW_CACHE_##cache | PERF_COUNT_HW_CACHE_OP_READ << 8 |                          \
		PERF_COUNT_HW_CACHE_RESULT_##result << 16)

struct hardware_row {
	unsigned metric;
	uint32_t type;
	uint64_t config;
	unsigned pair; /* rows of one pair share a group */
	unsigned proof;
};

/* The first pairs are what everybody asks about; they are not multiplexed for the sake of those
 * behind them. */
static const struct hardware_row rows[] = {
	{DN_M_hw_cycles, PERF_TYPE_HARDWARE, PERF_COUNT_HW_CPU_CYCLES, 0, DN_M_hw_cycles},
	{DN_M_hw_instructions, PERF_TYPE_HARDWARE, PERF_COUNT_HW_INSTRUCTIONS, 0,
		DN_M_hw_instructions},
	{DN_M_hw_branches, PERF_TYPE_HARDWARE, PERF_COUNT_HW_BRANCH_INSTRUCTIONS, 1,
		DN_M_hw_branches},
	{DN_M_hw_branch_misses, PERF_TYPE_HARDWARE, PERF_COUNT_HW_BRANCH_MISSES, 1,
		DN_M_hw_branches},
	{DN_M_hw_cache_references, PERF_TYPE_HARDWARE, PERF_COUNT_HW_CACHE_REFERENCES, 2,
		DN_M_hw_cache_references},
	{DN_M_hw_cache_misses, PERF_TYPE_HARDWARE, PERF_COUNT_HW_CACHE_MISSES, 2,
		DN_M_hw_cache_references},
	{DN_M_hw_stalled_cycles_frontend, PERF_TYPE_HARDWARE, PERF_COUNT_HW_STALLED_CYCLES_FRONTEND,
		3, DN_M_hw_stalled_cycles_frontend},
	{DN_M_hw_stalled_cycles_backend, PERF_TYPE_HARDWARE, PERF_COUNT_HW_STALLED_CYCLES_BACKEND,
		3, DN_M_hw_stalled_cycles_backend},
	{DN_M_hw_l1d_loads, PERF_TYPE_HW_CACHE, CACHE(L1D, ACCESS), 4, DN_M_hw_l1d_loads},
	{DN_M_hw_l1d_misses, PERF_TYPE_HW_CACHE, CACHE(L1D, MISS), 4, DN_M_hw_l1d_loads},
	{DN_M_hw_llc_loads, PERF_TYPE_HW_CACHE, CACHE(LL, ACCESS), 5, DN_M_hw_llc_loads},
	{DN_M_hw_llc_misses, PERF_TYPE_HW_CACHE, CACHE(LL, MISS), 5, DN_M_hw_llc_loads},
	{DN_M_hw_dtlb_loads, PERF_TYPE_HW_CACHE, CACHE(DTLB, ACCESS), 6, DN_M_hw_dtlb_loads},
	{DN_M_hw_dtlb_misses, PERF_TYPE_HW_CACHE, CACHE(DTLB, MISS), 6, DN_M_hw_dtlb_loads},
};

#define N_ROWS (sizeof(rows) / sizeof(rows[0]))
#define N_PAIRS 7
#define N_BASIC_PAIRS 3

static const char source_all[] = "perf hardware counter";
static const char source_user[] = "perf hardware counter, user mode only";
static const char reason_user[] = "the kernel's share is not counted without CAP_PERFMON";

struct hardware {
	struct dn_perf *perf;
	struct dn_probe *probe;
	struct dn_perf_pmu pmu[DN_PERF_PMUS_MAX];
	unsigned n_pmus; /* 0: one PMU, or PMUs that need no name */
	bool known[N_ROWS];
};

static bool row_wanted(const struct hardware *hardware, unsigned row)
{
	return dn_metric_set_has(&hardware->perf->env->wanted, rows[row].metric);
}

static struct dn_perf_spec spec_of(const struct hardware *hardware, unsigned row, unsigned pmu)
{
	struct dn_perf_spec spec = {.attr = {.type = rows[row].type, .config = rows[row].config},
		.metric = rows[row].metric,
		.own_row = -1,
		.proof = (int)rows[row].proof};

	if (hardware->n_pmus > 0) {
		const struct dn_metric_info *info = dn_metric_info(rows[row].metric);
		char name[128], help[160];

		spec.attr.config |= (uint64_t)hardware->pmu[pmu].type << PERF_PMU_TYPE_SHIFT;
		spec.pmu = hardware->pmu[pmu].name;
		(void)snprintf(
			name, sizeof(name), "hw.%s.%s", spec.pmu, strchr(info->name, '.') + 1);
		(void)snprintf(help, sizeof(help), "%s, on the CPUs of %s", info->help, spec.pmu);
		spec.own_row =
			dn_metric_add(name, DN_KIND_COUNTER, DN_UNIT_COUNT, help, source_all);
	}
	return spec;
}

static unsigned pair_specs(
	const struct hardware *hardware, unsigned pair, unsigned pmu, struct dn_perf_spec *spec)
{
	unsigned n = 0;

	for (unsigned row = 0; row < N_ROWS; row++) {
		if (rows[row].pair == pair && row_wanted(hardware, row))
			spec[n++] = spec_of(hardware, row, pmu);
	}
	return n;
}

static void refuse_rest(struct hardware *hardware, const struct dn_perf_refusal *refusal)
{
	for (unsigned row = 0; row < N_ROWS; row++) {
		if (!hardware->known[row])
			dn_perf_refuse(
				hardware->probe, hardware->perf->env, rows[row].metric, refusal);
		hardware->known[row] = true;
	}
}

/* What the slots of one row say, over all PMUs. */
static void answer_row(struct hardware *hardware, unsigned row)
{
	const struct dn_perf_counters *counters = &hardware->perf->counters;
	const struct dn_env *env = hardware->perf->env;
	bool user = counters->view == DN_PERF_VIEW_USER;
	const char *reason = user ? reason_user : NULL;
	enum dn_quality quality = DN_QUALITY_EXACT;
	unsigned n_open = 0, n = 0;
	int error = 0;

	for (unsigned i = 0; i < counters->n_slots; i++) {
		const struct dn_perf_slot *slot = &counters->slot[i];

		if (slot->spec.metric != rows[row].metric)
			continue;
		n++;
		if (slot->error < 0) {
			error = slot->error;
			continue;
		}
		n_open++;
		if (slot->spec.own_row >= 0)
			dn_probe_offer(hardware->probe, (unsigned)slot->spec.own_row,
				DN_QUALITY_EXACT, user ? source_user : source_all, reason);
	}
	if (n == 0 || hardware->known[row])
		return;
	hardware->known[row] = true;
	if (n_open == 0) {
		struct dn_perf_refusal refusal =
			error == -ENOENT || error == -EOPNOTSUPP
				? (struct dn_perf_refusal){.fact = DN_FACT_UNSUPPORTED,
					  .reason = "this machine's PMU does not have the event"}
				: dn_perf_explain(hardware->probe, env, source_all, error);

		dn_perf_refuse(hardware->probe, env, rows[row].metric, &refusal);
		return;
	}
	if (n_open < n) {
		quality = DN_QUALITY_LOWER_BOUND;
		reason = "not every kind of CPU of this machine counts it";
	}
	dn_perf_offer(hardware->probe, env, rows[row].metric, quality,
		user ? source_user : source_all, reason);
}

static void add_pair(struct hardware *hardware, unsigned pair)
{
	struct dn_perf_spec spec[DN_PERF_GROUP_MAX];

	for (unsigned pmu = 0; pmu < (hardware->n_pmus ? hardware->n_pmus : 1); pmu++) {
		unsigned n = pair_specs(hardware, pair, pmu, spec);

		if (n > 0)
			(void)dn_perf_counters_add(&hardware->perf->counters, spec, n);
	}
}

static bool error_is_absence(int error)
{
	return error == -ENOENT || error == -EOPNOTSUPP || error == -ENODEV || error == -ENXIO;
}

/*
 * The first pair decides whether there is a PMU at all: no driver lacks both cycles and
 * instructions, and asking for the other dozen would cost every start. Only then it is looked
 * whether there are several PMUs.
 */
static bool first_pair(struct hardware *hardware)
{
	struct dn_perf *perf = hardware->perf;
	struct dn_perf_counters *counters = &perf->counters;
	struct dn_perf_spec spec[2] = {spec_of(hardware, 0, 0), spec_of(hardware, 1, 0)};
	unsigned first = counters->n_slots;
	struct dn_perf_refusal refusal;
	const struct dn_perf_slot *slot = &counters->slot[first];
	bool asked = row_wanted(hardware, 0) && row_wanted(hardware, 1);

	if (dn_perf_counters_add(counters, spec, 2) < 0)
		return false;
	if (slot[0].error < 0 && slot[1].error < 0) {
		if (error_is_absence(slot[0].error) && error_is_absence(slot[1].error))
			refusal = (struct dn_perf_refusal){.fact = DN_FACT_UNSUPPORTED,
				.reason = dn_probe_printf(hardware->probe,
					"perf_event_open: %s, no hardware PMU in this machine",
					strerrorname_np(-slot[0].error) ?: "?"),
				.hint = "run on bare metal or in a VM with a virtual PMU"};
		else
			refusal = dn_perf_explain(
				hardware->probe, perf->env, source_all, slot[0].error);
		dn_perf_counters_undo(counters, first);
		refuse_rest(hardware, &refusal);
		dn_perf_refuse(hardware->probe, perf->env, DN_M_hw_running_ratio, &refusal);
		return false;
	}
	hardware->n_pmus = dn_perf_pmus(perf->env->sys_fd, hardware->pmu, DN_PERF_PMUS_MAX);
	if (hardware->n_pmus > 0 || !asked) {
		dn_perf_counters_undo(counters, first);
		add_pair(hardware, 0);
	}
	return true;
}

static bool row_open(const struct hardware *hardware, unsigned row)
{
	const struct dn_perf_counters *counters = &hardware->perf->counters;

	for (unsigned i = 0; i < counters->n_slots; i++) {
		if (counters->slot[i].spec.metric == rows[row].metric &&
			counters->slot[i].error == 0)
			return true;
	}
	return false;
}

/* Whether everything that is open could be on the PMU at the same time. */
static bool all_fit(struct hardware *hardware)
{
	struct dn_perf_spec spec[N_ROWS];
	unsigned n = 0;

	for (unsigned row = 0; row < N_ROWS; row++) {
		if (row_wanted(hardware, row) && row_open(hardware, row))
			spec[n++] = spec_of(hardware, row, 0);
	}
	return dn_perf_counters_fit(&hardware->perf->counters, spec, n);
}

static void try_extra_pair(struct hardware *hardware, unsigned pair)
{
	unsigned first = hardware->perf->counters.n_slots;
	bool open = false;

	add_pair(hardware, pair);
	for (unsigned i = first; i < hardware->perf->counters.n_slots; i++)
		open = open || hardware->perf->counters.slot[i].error == 0;
	if (open && !all_fit(hardware)) {
		static const struct dn_perf_refusal refusal = {.fact = DN_FACT_UNSUPPORTED,
			.reason = "the PMU has too few counters to count it beside the basic "
				  "events all "
				  "the time",
			.hint = "ask for it alone with --metrics"};

		dn_perf_counters_undo(&hardware->perf->counters, first);
		for (unsigned row = 0; row < N_ROWS; row++) {
			if (rows[row].pair == pair) {
				dn_perf_refuse(hardware->probe, hardware->perf->env,
					rows[row].metric, &refusal);
				hardware->known[row] = true;
			}
		}
	}
}

void dn_perf_hardware_probe(struct dn_perf *perf, struct dn_probe *probe)
{
	struct hardware hardware = {.perf = perf, .probe = probe};
	bool any = false;

	for (unsigned row = 0; row < N_ROWS; row++)
		any = any || row_wanted(&hardware, row);
	if (!any || !first_pair(&hardware))
		return;
	for (unsigned pair = 1; pair < N_PAIRS; pair++) {
		if (pair < N_BASIC_PAIRS)
			add_pair(&hardware, pair);
		else
			try_extra_pair(&hardware, pair);
		for (unsigned row = 0; row < N_ROWS; row++) {
			if (rows[row].pair <= pair)
				answer_row(&hardware, row);
		}
	}
	dn_perf_offer(probe, perf->env, DN_M_hw_running_ratio, DN_QUALITY_EXACT,
		"perf time_running over time_enabled", NULL);
}

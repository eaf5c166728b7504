/* SPDX-License-Identifier: Apache-2.0 */
/* From what the counters read to what a frame says, and what can't be said. */
#include "perf.h"

/* Counted time below which 0 may be the truth. */
#define PROOF_NS UINT64_C(1000000)

struct metric_sum {
	const struct dn_perf_slot *slot[DN_PERF_SLOTS_MAX];
	unsigned n;
	struct dn_perf_sum sum;
};

static void gather(const struct dn_perf_counters *counters, unsigned metric, struct metric_sum *ret)
{
	ret->n = 0;
	for (unsigned i = 0; i < counters->n_slots; i++) {
		if (counters->slot[i].error == 0 && counters->slot[i].spec.metric == metric)
			ret->slot[ret->n++] = &counters->slot[i];
	}
	ret->sum = ret->n ? dn_perf_combine(ret->slot, ret->n) : (struct dn_perf_sum){0};
}

/* The event, or the one that it is a share of, stayed 0 although the tasks ran: it opens, but it
 * doesn't count here. */
static bool counts(const struct dn_perf_counters *counters, int proof)
{
	struct metric_sum sum;

	if (proof < 0)
		return true;
	gather(counters, (unsigned)proof, &sum);
	return sum.n == 0 || sum.sum.value > 0 || sum.sum.running_ns <= PROOF_NS;
}

static void put(struct dn_perf *perf, struct dn_frame *frame, unsigned metric, uint64_t value)
{
	if (dn_metric_set_has(&perf->assigned, metric))
		dn_frame_u64(frame, metric, value);
}

static void put_own_rows(struct dn_perf *perf, struct dn_frame *frame, const struct metric_sum *sum)
{
	for (unsigned i = 0; i < sum->n; i++) {
		const struct dn_perf_slot *slot = sum->slot[i];

		if (slot->spec.own_row < 0)
			continue;
		put(perf, frame, (unsigned)slot->spec.own_row,
			sum->sum.scaled
				? dn_perf_scale(slot->raw, sum->sum.enabled_ns, sum->sum.running_ns)
				: slot->raw);
		if (sum->sum.scaled)
			dn_perf_degrade(perf, (unsigned)slot->spec.own_row, DN_QUALITY_SCALED,
				"the counters took turns with others");
	}
}

static void judge(struct dn_perf *perf, unsigned metric, const struct dn_perf_sum *sum, bool final)
{
	if (sum->scaled) {
		const char *reason = "the counters took turns with others";

		if (!dn_metric_set_has(&perf->degraded, metric))
			reason = dn_arena_printf(perf->arena,
				"the counters took turns: this one was on the PMU for %u %% of the "
				"time",
				(unsigned)((unsigned __int128)sum->running_ns * 100 /
					   sum->enabled_ns));
		dn_perf_degrade(perf, metric, DN_QUALITY_SCALED, reason);
	}
	if (sum->partial && final)
		dn_perf_degrade(perf, metric, DN_QUALITY_LOWER_BOUND,
			"on some threads the event never got onto the PMU");
}

static void sample_metric(
	struct dn_perf *perf, struct dn_frame *frame, const struct dn_perf_slot *slot)
{
	unsigned metric = slot->spec.metric;
	struct metric_sum sum;

	gather(&perf->counters, metric, &sum);
	if (slot != sum.slot[0])
		return;
	if (slot->spec.attr.type == PERF_TYPE_SOFTWARE) {
		if (slot->n_read > 0 && slot->n_failed == 0)
			put(perf, frame, metric, slot->raw);
		return;
	}
	if (sum.sum.failed)
		return;
	if (!sum.sum.known) {
		if (frame->final && sum.sum.enabled_ns > 0)
			dn_perf_degrade(perf, metric, DN_QUALITY_MISSING,
				"the event never got onto the PMU: other users hold its counters");
		return;
	}
	if (!counts(&perf->counters, slot->spec.proof)) {
		if (frame->final)
			dn_perf_degrade(perf, metric, DN_QUALITY_MISSING,
				"the event opens, but it does not count on this machine");
		return;
	}
	judge(perf, metric, &sum.sum, frame->final);
	put(perf, frame, metric, sum.sum.value);
	put_own_rows(perf, frame, &sum);
}

static void sample_ratio(struct dn_perf *perf, struct dn_frame *frame)
{
	double least = 1;
	bool any = false;

	for (unsigned i = 0; i < perf->counters.n_slots; i++) {
		const struct dn_perf_slot *slot = &perf->counters.slot[i];
		struct metric_sum sum;

		if (slot->error < 0 || slot->spec.attr.type == PERF_TYPE_SOFTWARE)
			continue;
		gather(&perf->counters, slot->spec.metric, &sum);
		if (sum.sum.failed || sum.sum.enabled_ns == 0)
			continue;
		any = true;
		if (sum.sum.scaled || !sum.sum.known) {
			double ratio = (double)sum.sum.running_ns / (double)sum.sum.enabled_ns;

			least = ratio < least ? ratio : least;
		}
	}
	if (any && dn_metric_set_has(&perf->assigned, DN_M_hw_running_ratio))
		dn_frame_f64(frame, DN_M_hw_running_ratio, least);
}

void dn_perf_values_sample(struct dn_perf *perf, struct dn_frame *frame)
{
	dn_perf_counters_read(&perf->counters);
	for (unsigned i = 0; i < perf->counters.n_slots; i++) {
		if (perf->counters.slot[i].error == 0)
			sample_metric(perf, frame, &perf->counters.slot[i]);
	}
	sample_ratio(perf, frame);
}

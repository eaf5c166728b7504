/* SPDX-License-Identifier: Apache-2.0 */
#include "budget.h"

/* Whether less of it would be a step, and not only a loss. */
static bool can_be_less(const struct dn_budget_group *group)
{
	return group->on && group->run_ns > 0 && (group->can_stop || group->can_sample);
}

static uint32_t next_rate(uint32_t every)
{
	if (every < 10)
		return 10;
	return every < DN_BUDGET_EVERY_MAX ? DN_BUDGET_EVERY_MAX : DN_BUDGET_OFF;
}

static double percent_of(uint64_t ns, uint64_t interval_ns)
{
	return 100.0 * (double)ns / (double)interval_ns;
}

void dn_budget_decide(const struct dn_budget_input *input, struct dn_budget_step *ret)
{
	struct dn_budget_step step = {.action = DN_BUDGET_WAIT};
	const struct dn_budget_group *dearest = 0;
	uint64_t reducible_ns = 0;

	*ret = step;
	if (input->interval_ns < DN_BUDGET_INTERVAL_NS)
		return;
	step.bpf_percent = percent_of(input->bpf_ns, input->interval_ns);
	step.used_percent = step.bpf_percent + percent_of(input->own_ns, input->interval_ns);
	step.action = DN_BUDGET_KEPT;
	if (step.used_percent > input->percent) {
		step.action = DN_BUDGET_STUCK;
		for (unsigned i = 0; i < DN_PROBES_N; i++) {
			const struct dn_budget_group *group = &input->group[i];

			if (!can_be_less(group))
				continue;
			reducible_ns += group->run_ns;
			if (!dearest || group->run_ns > dearest->run_ns) {
				dearest = group;
				step.group = i;
			}
		}
	}
	/* Where denet itself is what costs, less of the others is a loss without a gain. */
	if (dearest && percent_of(reducible_ns, input->interval_ns) * DN_BUDGET_GAIN >=
			       step.used_percent - input->percent) {
		uint32_t every = dearest->can_sample ? next_rate(dearest->every) : DN_BUDGET_OFF;

		/* What can't be stopped goes on as rarely as it can. */
		step.action = every == DN_BUDGET_OFF ? DN_BUDGET_STOP : DN_BUDGET_SAMPLE;
		step.every = every;
	}
	*ret = step;
}

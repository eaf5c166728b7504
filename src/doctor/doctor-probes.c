/* SPDX-License-Identifier: Apache-2.0 */
/* What becomes of each probe group here: from what the plan found for its metrics. */
#include <string.h>

#include "doctor.h"

static bool is_of(const struct dn_doctor *doctor, unsigned id, unsigned group)
{
	return dn_metric_group(dn_metric_info(id)) == group && doctor->run.metric[id].wanted;
}

static bool same(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

/* How many metrics of the group are missing for this reason. */
static unsigned count_of(const struct dn_doctor *doctor, unsigned group, const char *reason)
{
	unsigned n = 0;

	for (unsigned id = 0; id < DN_M_STATIC_N; id++) {
		const struct dn_metric_state *state = &doctor->run.metric[id];

		n += is_of(doctor, id, group) && state->quality == DN_QUALITY_MISSING &&
		     same(state->reason, reason);
	}
	return n;
}

void dn_doctor_group(const struct dn_doctor *doctor, unsigned group, struct dn_doctor_group *ret)
{
	unsigned most = 0;

	*ret = (struct dn_doctor_group){.info = dn_probes_info(group)};
	for (unsigned id = 0; id < DN_M_STATIC_N; id++) {
		const struct dn_metric_state *state = &doctor->run.metric[id];
		unsigned n;

		if (!is_of(doctor, id, group))
			continue;
		ret->metrics++;
		if (state->quality != DN_QUALITY_MISSING)
			continue;
		ret->missing++;
		n = count_of(doctor, group, state->reason);
		/* What can be changed says more than what can't. */
		if (n > most || (n == most && state->hint && !ret->hint)) {
			most = n;
			ret->reason = state->reason;
			ret->hint = state->hint;
		}
	}
}

bool dn_doctor_group_lacks(const struct dn_doctor *doctor, unsigned group, unsigned id)
{
	return is_of(doctor, id, group) && doctor->run.metric[id].quality == DN_QUALITY_MISSING;
}

const char *dn_doctor_group_state(const struct dn_doctor_group *group)
{
	if (group->missing == 0)
		return "works";
	return group->missing < group->metrics ? "in part" : "missing";
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The events of --events: names to rows, rows to counters. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "names.h"
#include "perf.h"

static int nonsense(struct dn_probe *probe, const char *reason, const char *hint)
{
	probe->fact = DN_FACT_UNSUPPORTED;
	probe->reason = reason;
	probe->hint = hint;
	return -EINVAL;
}

static int add_row(const char *name)
{
	char part[DN_PERF_NAME_MAX], row[DN_PERF_NAME_MAX + 16], help[DN_PERF_NAME_MAX + 32];

	dn_perf_names_metric(name, part, sizeof(part));
	(void)snprintf(row, sizeof(row), "hw.event.%s", part);
	(void)snprintf(help, sizeof(help), "Event %s", name);
	return dn_metric_add(
		row, DN_KIND_COUNTER, DN_UNIT_COUNT, help, "perf, as --events names it");
}

static int parse_one(struct dn_perf *perf, struct dn_probe *probe, const char *name)
{
	struct dn_perf_spec spec = {.own_row = -1, .proof = -1};
	char text[512];
	int row;

	switch (dn_perf_names_encode(perf->env->sys_fd, name, &spec.attr, text, sizeof(text))) {
	case DN_PERF_NAME_OK:
	case DN_PERF_NAME_ELSEWHERE:
		break;
	case DN_PERF_NAME_WRONG:
		return nonsense(probe, dn_probe_printf(probe, "event '%s': %s", name, text),
			"names are those of perf list and of libpfm4's showevtinfo");
	case DN_PERF_NAME_NO_LIBRARY:
		return nonsense(probe,
			dn_probe_printf(
				probe, "event '%s': this denet was built without libpfm4", name),
			"write rNNNN or PMU/EVENT/");
	case DN_PERF_NAME_UNKNOWN:
	default:
		return nonsense(probe, dn_probe_printf(probe, "no event '%s'", name),
			*text ? dn_probe_printf(probe, "did you mean: %s", text) : NULL);
	}
	row = add_row(name);
	if (row < 0 || perf->n_events == DN_PERF_EVENTS_MAX)
		return nonsense(probe,
			dn_probe_printf(
				probe, "event '%s': more than %d events", name, DN_PERF_EVENTS_MAX),
			NULL);
	for (unsigned i = 0; i < perf->n_events; i++) {
		if (perf->event[i].metric == (unsigned)row)
			return 0;
	}
	if (*text) {
		dn_probe_refuse(probe, (unsigned)row, DN_FACT_UNSUPPORTED,
			dn_probe_printf(probe,
				"the event belongs to %s, which this machine does not have", text),
			NULL);
		return 0;
	}
	spec.metric = (unsigned)row;
	perf->event[perf->n_events++] = spec;
	return 0;
}

int dn_perf_events_parse(struct dn_perf *perf, struct dn_probe *probe)
{
	const char *list = perf->env->events;
	char name[DN_PERF_NAME_MAX];
	int r;

	while ((r = dn_perf_names_next(&list, name, sizeof(name))) > 0) {
		r = parse_one(perf, probe, name);
		if (r < 0)
			return r;
	}
	if (r < 0)
		return nonsense(probe,
			dn_probe_printf(probe, "--events '%s': an empty or overlong name",
				perf->env->events),
			"separate the names by single commas");
	return 0;
}

/* Software events and tracepoints open without the right to see the kernel and then count nothing,
 * or a part. */
static bool kernel_only(const struct perf_event_attr *attr)
{
	if (attr->type == PERF_TYPE_TRACEPOINT)
		return true;
	return attr->type == PERF_TYPE_SOFTWARE && attr->config != PERF_COUNT_SW_TASK_CLOCK &&
	       attr->config != PERF_COUNT_SW_CPU_CLOCK;
}

static struct dn_perf_refusal refusal_of(
	struct dn_perf *perf, struct dn_probe *probe, const struct dn_perf_spec *spec, int error)
{
	struct dn_perf_refusal refusal = {.fact = DN_FACT_UNSUPPORTED};

	switch (error) {
	case -ENOENT:
	case -EOPNOTSUPP:
	case -ENODEV:
	case -ENXIO:
		refusal.reason = dn_probe_printf(probe,
			"perf_event_open: %s, this machine has no PMU for it",
			strerrorname_np(-error) ?: "?");
		refusal.hint = "run on bare metal or in a VM with a virtual PMU";
		break;
	case -EINVAL:
		refusal.reason =
			"perf_event_open: EINVAL, the PMU does not count this event for single "
			"processes";
		break;
	default:
		refusal = dn_perf_explain(
			probe, perf->env, dn_metric_info(spec->metric)->name, error);
	}
	return refusal;
}

void dn_perf_events_probe(struct dn_perf *perf, struct dn_probe *probe)
{
	for (unsigned i = 0; i < perf->n_events; i++) {
		const struct dn_perf_spec *spec = &perf->event[i];
		struct dn_perf_refusal refusal;
		int slot = dn_perf_counters_add(&perf->counters, spec, 1);
		int error = slot < 0 ? slot : perf->counters.slot[slot].error;
		bool user = perf->counters.view == DN_PERF_VIEW_USER;

		if (error == 0 && user && kernel_only(&spec->attr)) {
			dn_perf_counters_undo(&perf->counters, (unsigned)slot);
			dn_probe_refuse(probe, spec->metric, DN_FACT_DENIED,
				"perf counts user mode only without CAP_PERFMON; the kernel would "
				"answer 0 "
				"or a part",
				dn_perf_hint_capability(probe, perf->env));
		} else if (error == 0) {
			/* The software clocks run in the kernel too. */
			user = user && spec->attr.type != PERF_TYPE_SOFTWARE;
			dn_probe_offer(probe, spec->metric, DN_QUALITY_EXACT,
				user ? "perf event, user mode only" : "perf event",
				user ? "the kernel's share is not counted without CAP_PERFMON"
				     : NULL);
		} else {
			refusal = refusal_of(perf, probe, spec, error);
			dn_probe_refuse(
				probe, spec->metric, refusal.fact, refusal.reason, refusal.hint);
		}
	}
}

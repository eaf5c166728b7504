/* SPDX-License-Identifier: Apache-2.0 */
/* The registry as data, with the rows that are added at run time. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <denet/metric.h>
#include <denet/process.h>

#define COUNTER DN_KIND_COUNTER
#define GAUGE DN_KIND_GAUGE
#define HISTOGRAM DN_KIND_HISTOGRAM
#define TABLE DN_KIND_TABLE
#define NS DN_UNIT_NS
#define BYTES DN_UNIT_BYTES
#define COUNT DN_UNIT_COUNT
#define RATIO DN_UNIT_RATIO
#define PERCENT DN_UNIT_PERCENT
#define TREE DN_SCOPE_TREE
#define SYSTEM DN_SCOPE_SYSTEM
#define NONE DN_FLAG_NONE
#define PROC DN_FLAG_PROC
#define DERIVED DN_FLAG_DERIVED
#define IN(group) (DN_PROBES_##group << DN_FLAG_GROUP_SHIFT)

static const struct dn_metric_info rows[DN_M_STATIC_N] = {
#define M(id, name, kind, unit, scope, flags, help, sources)                                       \
	[DN_M_##id] = {name, kind, unit, scope, flags, help, sources},
#include <denet/metrics.def>
#undef M
};

static struct dn_metric_info added[DN_METRIC_DYNAMIC_MAX];
static unsigned n_added;

const struct dn_metric_info *dn_metric_info(unsigned id)
{
	if (id < DN_M_STATIC_N)
		return &rows[id];
	if (id < DN_M_STATIC_N + n_added)
		return &added[id - DN_M_STATIC_N];
	return NULL;
}

unsigned dn_metric_count(void)
{
	return DN_M_STATIC_N + n_added;
}

int dn_metric_by_name(const char *name)
{
	for (unsigned id = 0; id < dn_metric_count(); id++) {
		if (strcmp(dn_metric_info(id)->name, name) == 0)
			return (int)id;
	}
	return -ENOENT;
}

static bool name_is_valid(const char *name)
{
	bool start = true;

	for (const char *p = name; *p; p++) {
		if (*p == '.') {
			if (start)
				return false;
			start = true;
			continue;
		}
		if (!((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') ||
			    (*p >= '0' && *p <= '9') || strchr("_:=-", *p)))
			return false;
		start = false;
	}
	return !start && strlen(name) < 200;
}

int dn_metric_add(const char *name, enum dn_metric_kind kind, enum dn_metric_unit unit,
	const char *help, const char *sources)
{
	struct dn_metric_info row = {.kind = kind, .unit = unit, .scope = DN_SCOPE_TREE};
	int id = dn_metric_by_name(name);

	if (id >= 0)
		return id;
	if (!name_is_valid(name))
		return -EINVAL;
	if (n_added == DN_METRIC_DYNAMIC_MAX)
		return -ENOSPC;
	row.name = strdup(name);
	row.help = strdup(help);
	row.sources = strdup(sources);
	if (!row.name || !row.help || !row.sources) {
		free((char *)row.name);
		free((char *)row.help);
		free((char *)row.sources);
		return -ENOMEM;
	}
	added[n_added] = row;
	return (int)(DN_M_STATIC_N + n_added++);
}

void dn_metric_reset(void)
{
	while (n_added > 0) {
		n_added--;
		free((char *)added[n_added].name);
		free((char *)added[n_added].help);
		free((char *)added[n_added].sources);
	}
}

const struct dn_probes_info *dn_probes_info(unsigned group)
{
	static const struct dn_probes_info groups[DN_PROBES_N] = {
#define G(id, name, on, help) [DN_PROBES_##id] = {name, on, help},
#include <denet/probes.def>
#undef G
	};

	return group > DN_PROBES_NONE && group < DN_PROBES_N ? &groups[group] : NULL;
}

const char *dn_quality_name(enum dn_quality quality)
{
	static const char *const names[] = {
		"exact", "scaled", "sampled", "simulated", "lower_bound", "missing"};

	return (unsigned)quality < DN_QUALITY_N ? names[quality] : "missing";
}

const char *dn_fact_name(enum dn_fact fact)
{
	static const char *const names[] = {"untried", "ok", "unsupported", "denied", "broken"};

	return (unsigned)fact < sizeof(names) / sizeof(names[0]) ? names[fact] : "broken";
}

const char *dn_unit_name(enum dn_metric_unit unit)
{
	static const char *const names[] = {"ns", "bytes", "count", "ratio", "percent"};

	return (unsigned)unit < sizeof(names) / sizeof(names[0]) ? names[unit] : "count";
}

const char *dn_kind_name(enum dn_metric_kind kind)
{
	static const char *const names[] = {"counter", "gauge", "histogram", "table"};

	return (unsigned)kind < sizeof(names) / sizeof(names[0]) ? names[kind] : "gauge";
}

const char *dn_scope_key(enum dn_metric_scope scope)
{
	return scope == DN_SCOPE_SYSTEM ? "system" : "tree";
}

enum dn_fact dn_fact_from_errno(int r)
{
	switch (r) {
	case 0:
		return DN_FACT_OK;
	case -EPERM:
	case -EACCES:
		return DN_FACT_DENIED;
	case -ENOENT:
	case -ENODEV:
	case -ENOSYS:
	case -EOPNOTSUPP:
	case -ENOTDIR:
	case -ENXIO:
		return DN_FACT_UNSUPPORTED;
	default:
		return DN_FACT_BROKEN;
	}
}

int dn_process_slot(unsigned metric)
{
	/* Filled on first use: slots are the rank of the metric among those that have the flag. */
	static int8_t slots[DN_M_STATIC_N];
	static bool ready;

	if (!ready) {
		int8_t next = 0;

		for (unsigned id = 0; id < DN_M_STATIC_N; id++)
			slots[id] = rows[id].flags & DN_FLAG_PROC && next < DN_PROCESS_METRIC_MAX
					    ? next++
					    : -1;
		ready = true;
	}
	return metric < DN_M_STATIC_N ? slots[metric] : -1;
}

/* A row with the flag but without a slot would silently lose its values. */
enum {
#define M(id, name, kind, unit, scope, flags, help, sources)                                       \
	SLOT_##id = ((flags)&DN_FLAG_PROC) ? 1 : 0,
#include <denet/metrics.def>
#undef M
};
_Static_assert(0
#define M(id, name, kind, unit, scope, flags, help, sources) +SLOT_##id
#include <denet/metrics.def>
#undef M
		       <= DN_PROCESS_METRIC_MAX,
	"raise DN_PROCESS_METRIC_MAX");

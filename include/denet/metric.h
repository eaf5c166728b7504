/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Metrics: the registry's rows as data, sets of them, and what can be said of one (quality, facts).
 * Knows nothing of how a metric is measured or written.
 */
#ifndef DENET_METRIC_H
#define DENET_METRIC_H

#include <stdbool.h>
#include <stdint.h>

enum dn_metric {
#define M(id, name, kind, unit, scope, flags, help, sources) DN_M_##id,
#include "metrics.def"
#undef M
	DN_M_STATIC_N, /* rows above; rows added at run time (--events, hybrid PMUs) follow */
	DN_METRIC_DYNAMIC_MAX = 48,
	DN_METRIC_MAX = DN_M_STATIC_N + DN_METRIC_DYNAMIC_MAX,
};

enum dn_metric_kind {
	DN_KIND_COUNTER,
	DN_KIND_GAUGE,
	DN_KIND_HISTOGRAM, /* a distribution (table.h); cumulative, the unit is that of its values
			    */
	DN_KIND_TABLE, /* counters by key (table.h); cumulative, the unit is that of its rows */
};
enum dn_metric_unit { DN_UNIT_NS, DN_UNIT_BYTES, DN_UNIT_COUNT, DN_UNIT_RATIO, DN_UNIT_PERCENT };
enum dn_metric_scope { DN_SCOPE_TREE, DN_SCOPE_SYSTEM };

/*
 * Probe groups: what is measured together, switched on together (--probes) and fails together. A
 * row without a group belongs to every run.
 */
enum dn_probe_group {
	DN_PROBES_NONE,
#define G(id, name, on, help) DN_PROBES_##id,
#include "probes.def"
#undef G
	DN_PROBES_N,
};

#define DN_FLAG_GROUP_SHIFT 8
enum dn_metric_flags { DN_FLAG_NONE = 0, DN_FLAG_PROC = 1 << 0, DN_FLAG_DERIVED = 1 << 1 };

struct dn_probes_info {
	const char *name; /* as --probes takes it */
	bool on; /* part of every run */
	const char *help;
};
/* NULL for DN_PROBES_NONE and what does not exist. */
const struct dn_probes_info *dn_probes_info(unsigned group);

/* Best first: comparing two qualities with < asks which is better. */
enum dn_quality {
	DN_QUALITY_EXACT,
	DN_QUALITY_SCALED, /* multiplexed hardware counter, extrapolated */
	DN_QUALITY_SAMPLED, /* seen at moments only */
	DN_QUALITY_SIMULATED, /* a model, not this machine */
	DN_QUALITY_LOWER_BOUND, /* at least this much; something may have been lost */
	DN_QUALITY_MISSING, /* not measured; there is a reason */
	DN_QUALITY_N,
};

/* What asking for a thing answered. "No" and "not allowed" are different answers. */
enum dn_fact {
	DN_FACT_UNTRIED, /* nobody asked for it, so it was not tried */
	DN_FACT_OK,
	DN_FACT_UNSUPPORTED, /* this kernel or machine does not have it */
	DN_FACT_DENIED, /* it is there, but not for us: the hint says what would unlock it */
	DN_FACT_BROKEN, /* an answer nobody expected */
};

struct dn_metric_info {
	const char *name; /* dotted */
	enum dn_metric_kind kind;
	enum dn_metric_unit unit;
	enum dn_metric_scope scope;
	unsigned flags;
	const char *help;
	const char *sources;
};

static inline enum dn_probe_group dn_metric_group(const struct dn_metric_info *info)
{
	return (enum dn_probe_group)(info->flags >> DN_FLAG_GROUP_SHIFT);
}

/* NULL for an id that does not exist. */
const struct dn_metric_info *dn_metric_info(unsigned id);
/* Static and dynamic rows: valid ids are 0 .. dn_metric_count() - 1. */
unsigned dn_metric_count(void);
/*
 * Adds a row at run time; the strings are copied. Returns the id; the id of the existing row when
 * the name is known; -ENOSPC when DN_METRIC_DYNAMIC_MAX rows were added; -EINVAL for a name that is
 * not a dotted path of [A-Za-z0-9_:=-].
 */
int dn_metric_add(const char *name, enum dn_metric_kind kind, enum dn_metric_unit unit,
	const char *help, const char *sources);
/* Forgets dynamic rows (tests). */
void dn_metric_reset(void);
/* -ENOENT when no metric has that name. */
int dn_metric_by_name(const char *name);

const char *dn_quality_name(enum dn_quality quality); /* "exact", ... */
const char *dn_fact_name(
	enum dn_fact fact); /* "ok", "unsupported", "denied", "broken", "untried" */
const char *dn_unit_name(enum dn_metric_unit unit);
const char *dn_kind_name(enum dn_metric_kind kind); /* "counter", "gauge", "histogram", "table" */
/* The key in a record that holds metrics of this scope: "tree" or "system". */
const char *dn_scope_key(enum dn_metric_scope scope);
/* DN_FACT_* for 0 or a negative errno. */
enum dn_fact dn_fact_from_errno(int r);

struct dn_metric_set {
	uint64_t bits[(DN_METRIC_MAX + 63) / 64];
};

static inline void dn_metric_set_add(struct dn_metric_set *set, unsigned id)
{
	set->bits[id / 64] |= UINT64_C(1) << (id % 64);
}

static inline void dn_metric_set_del(struct dn_metric_set *set, unsigned id)
{
	set->bits[id / 64] &= ~(UINT64_C(1) << (id % 64));
}

static inline bool dn_metric_set_has(const struct dn_metric_set *set, unsigned id)
{
	return set->bits[id / 64] >> (id % 64) & 1;
}

#endif

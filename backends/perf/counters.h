/* SPDX-License-Identifier: Apache-2.0 */
/* Counting events on every task of the tree: groups, reading, scaling. */
#ifndef DENET_PERF_COUNTERS_H
#define DENET_PERF_COUNTERS_H

#include "event.h"
#include "tasks.h"

#define DN_PERF_SLOTS_MAX 96
#define DN_PERF_GROUP_MAX 4

/* Whether the kernel's share is counted: found by the first event that opens, then the same for
 * all. */
enum dn_perf_view { DN_PERF_VIEW_UNKNOWN, DN_PERF_VIEW_ALL, DN_PERF_VIEW_USER };

/* One event as wanted. */
struct dn_perf_spec {
	struct perf_event_attr
		attr; /* type, config*, exclude_*; the rest is made when it is opened */
	unsigned metric; /* the row that it is a part of */
	int own_row; /* of several PMUs: the row of this one alone; else -1 */
	int proof; /* the metric that must not be 0 once the tasks ran, or this one doesn't count
		      either; -1 */
	const char *pmu; /* of several PMUs: its name; else NULL */
};

/* One event as opened. */
struct dn_perf_slot {
	struct dn_perf_spec spec;
	int error; /* 0 or why it isn't open */
	unsigned group, member;
	/* after dn_perf_counters_read(): sums over tasks */
	uint64_t raw; /* as counted */
	uint64_t scaled; /* extrapolated to the time enabled */
	uint64_t enabled_ns, running_ns;
	unsigned n_read; /* tasks that had an answer */
	unsigned n_unscheduled; /* of those, never on the PMU although enabled: nothing is known */
	unsigned n_failed; /* tasks that could not be read this time */
};

struct dn_perf_group {
	unsigned n; /* members */
	unsigned slot[DN_PERF_GROUP_MAX];
	int *fd; /* [task * DN_PERF_GROUP_MAX + member] */
	bool closed;
};

struct dn_perf_counters {
	dn_perf_open_fn *open;
	void *open_arg;
	const struct dn_perf_tasks *tasks; /* borrowed */
	bool enable_on_exec;
	bool threads_only; /* children are not counted */
	enum dn_perf_view view;
	bool exclude_guest; /* this PMU counts nothing else */
	struct dn_perf_slot slot[DN_PERF_SLOTS_MAX];
	unsigned n_slots;
	struct dn_perf_group group[DN_PERF_SLOTS_MAX];
	unsigned n_groups;
};

void dn_perf_counters_init(struct dn_perf_counters *counters, const struct dn_perf_tasks *tasks,
	bool enable_on_exec, bool threads_only);
/*
 * Opens n events that belong together, in one group as far as the PMU takes them, on every task.
 * What doesn't open says so in its slot's error. Returns the index of the first slot; -ENOSPC.
 */
int dn_perf_counters_add(
	struct dn_perf_counters *counters, const struct dn_perf_spec *spec, unsigned n);
/* The PMU could hold all n at the same time. Leaves nothing open. */
bool dn_perf_counters_fit(
	struct dn_perf_counters *counters, const struct dn_perf_spec *spec, unsigned n);
/* Takes back what was added from this slot on. */
void dn_perf_counters_undo(struct dn_perf_counters *counters, unsigned first_slot);
/* Closes the groups of which no member is kept. */
void dn_perf_counters_keep(struct dn_perf_counters *counters,
	bool (*keep)(void *arg, const struct dn_perf_spec *spec), void *arg);
/* For tasks that run already. */
void dn_perf_counters_enable(struct dn_perf_counters *counters);
void dn_perf_counters_read(struct dn_perf_counters *counters);
void dn_perf_counters_close(struct dn_perf_counters *counters);

/* What the slots of one metric say together. */
struct dn_perf_sum {
	uint64_t value;
	uint64_t enabled_ns, running_ns;
	bool known; /* value may be reported */
	bool failed; /* not everything could be read this time */
	bool scaled; /* value is extrapolated */
	bool partial; /* some tasks are not in it */
};
/* Several slots: the same event on the PMUs of different kinds of CPU, each running while the
 * others do not. */
struct dn_perf_sum dn_perf_combine(const struct dn_perf_slot *const *slot, unsigned n);

/* value * enabled / running, stopping at 2^64-1; value when running is 0. */
uint64_t dn_perf_scale(uint64_t value, uint64_t enabled, uint64_t running);
/* What read() of a group's leader gave. 0 or -EBADMSG. */
int dn_perf_group_decode(const uint64_t *words, size_t n_words, unsigned members,
	uint64_t *ret_values, uint64_t *ret_enabled, uint64_t *ret_running);

#endif

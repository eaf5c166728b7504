/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The policy of --max-overhead: what to do next, from what an interval cost. Pure: no clock, no
 * kernel, no memory of its own but what is in struct dn_budget.
 *
 * An interval costs denet's own CPU time and the run time of its BPF programs, in all processes.
 * When that is above the budget, the group that costs most of what can be had less of is made to
 * look at one event in ten, then in a hundred, and then stopped; the next interval is judged anew.
 * Nothing is ever turned up again: what is measured does not flicker.
 */
#ifndef DENET_EBPF_BUDGET_H
#define DENET_EBPF_BUDGET_H

#include <stdbool.h>
#include <stdint.h>

#include <denet/metric.h>

#define DN_BUDGET_INTERVAL_NS UINT64_C(50000000) /* shorter ones are added up: noise */
#define DN_BUDGET_EVERY_MAX 100 /* rarer than one in so many is not worth its hook */
#define DN_BUDGET_GAIN 2 /* steps must be able to save half of what is too much */
#define DN_BUDGET_OFF UINT32_MAX

struct dn_budget_group {
	bool on;
	bool can_sample; /* its programs can look at one event in so many */
	bool can_stop; /* it has programs that no other group needs */
	uint32_t every; /* of so many events one is looked at; 0 and 1: all */
	uint64_t run_ns, runs; /* in the interval: its part of what its programs ran */
};

struct dn_budget_input {
	double percent; /* the budget: 100 is one CPU */
	uint64_t interval_ns;
	uint64_t own_ns; /* denet's CPU time in the interval */
	uint64_t bpf_ns; /* run time of all its programs in it; those of no group too */
	struct dn_budget_group group[DN_PROBES_N];
};

enum dn_budget_action {
	DN_BUDGET_KEPT, /* nothing to do */
	DN_BUDGET_WAIT, /* too short to judge: the interval goes on */
	DN_BUDGET_SAMPLE, /* group: one event in every */
	DN_BUDGET_STOP, /* group: none */
	DN_BUDGET_STUCK, /* above it, and nothing is left that would help */
};

struct dn_budget_step {
	enum dn_budget_action action;
	unsigned group; /* enum dn_probe_group */
	uint32_t every;
	double used_percent, bpf_percent; /* in the interval */
};

void dn_budget_decide(const struct dn_budget_input *input, struct dn_budget_step *ret);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The hardware events of the group hw: one per kind and CPU, in the kernel's table of them. */
#ifndef DENET_EBPF_HW_H
#define DENET_EBPF_HW_H

#include "ebpf.h"

/* Why a kind of event can't be had. */
enum dn_hw_state {
	DN_HW_COUNTS,
	DN_HW_REFUSED, /* error says why */
	DN_HW_SILENT, /* it opens, but it does not count */
	DN_HW_HELD, /* it opens, but it never got onto the PMU */
};

struct dn_hw_events {
	enum dn_hw_state state[DN_HW_N];
	int error[DN_HW_N];
	uint32_t kinds; /* that count: a bit each */
	bool exclude_guest; /* this PMU wants to be told that no guest is meant */
};

/* Tries each kind on the CPU that we are on, by value. */
void dn_hw_events_try(struct dn_hw_events *events, int sys_fd);
/* Opens them on all CPUs and hands them to the map, which keeps them. 0 or negative errno. */
int dn_hw_events_fill(struct dn_hw_events *events, int sys_fd, int map, unsigned n_cpus);

/* What count would be if the event had been on the PMU all the time. */
uint64_t dn_hw_scale(uint64_t count, uint64_t enabled, uint64_t running);

#endif

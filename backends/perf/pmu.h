/* SPDX-License-Identifier: Apache-2.0 */
/* What sysfs says of PMUs and CPUs. All paths are relative to a descriptor of /sys, so that a
 * fixture will do. */
#ifndef DENET_PERF_PMU_H
#define DENET_PERF_PMU_H

#include <linux/perf_event.h>
#include <stdint.h>
#include <stddef.h>

#define DN_PERF_PMUS_MAX 4
#define DN_PERF_CPUS_MAX 32 /* above that a ring per CPU costs every fork too much */

struct dn_perf_pmu {
	char name[32];
	uint32_t type;
};

/* PMUs of different kinds of CPU, when there are at least two; else 0. */
unsigned dn_perf_pmus(int sys_fd, struct dn_perf_pmu *ret, unsigned max);

/*
 * "PMU/term=value,.../" or "PMU/event/" with optional u or k behind. 0; -ENOENT without such a PMU,
 * event or term; -EINVAL for what is not of this form; -E2BIG for a value that its field can't
 * hold.
 */
int dn_perf_pmu_encode(int sys_fd, const char *text, struct perf_event_attr *ret);

/* "0-3,8": the numbers. Their count (which may exceed max; only max are stored) or -EINVAL. */
int dn_perf_cpu_list_parse(const char *text, unsigned *ret, unsigned max);

#endif

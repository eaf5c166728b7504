/* SPDX-License-Identifier: Apache-2.0 */
/*
 * User and system time. How they relate the kernel samples at its tick, and what they are together
 * is known exactly, from elsewhere. So both are parts of that total: they never exceed it, and
 * neither falls when a tick turns the relation. The kernel does the same for getrusage().
 */
#ifndef DENET_CPU_SPLIT_H
#define DENET_CPU_SPLIT_H

#include <stdint.h>

#include <denet/fs.h>

struct dn_cpu_split {
	uint64_t user_ns, system_ns;
};

/* Divides total_ns as the samples relate; split is the division before, of a total not greater. */
static inline void dn_cpu_divide(struct dn_cpu_split *split, uint64_t total_ns,
	uint64_t user_samples, uint64_t system_samples)
{
	double user = (double)user_samples, system = (double)system_samples;
	uint64_t user_ns = user + system > 0
				   ? (uint64_t)((double)total_ns * (user / (user + system)))
				   : total_ns;

	if (user_ns > dn_sub_sat(total_ns, split->system_ns))
		user_ns = dn_sub_sat(total_ns, split->system_ns);
	if (user_ns < split->user_ns)
		user_ns = split->user_ns < total_ns ? split->user_ns : total_ns;
	split->user_ns = user_ns;
	split->system_ns = total_ns - user_ns;
}

/* Makes two parts of another source parts of the total where they are more than that. */
static inline void dn_cpu_fit(
	struct dn_cpu_split *split, uint64_t total_ns, uint64_t *user_ns, uint64_t *system_ns)
{
	if (dn_add_sat(*user_ns, *system_ns) > total_ns) {
		dn_cpu_divide(split, total_ns, *user_ns, *system_ns);
		*user_ns = split->user_ns;
		*system_ns = split->system_ns;
	}
	*split = (struct dn_cpu_split){*user_ns, *system_ns};
}

#endif

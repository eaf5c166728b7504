/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bounded memory of dead processes: totals per command name, and the most expensive single ones. A
 * fork bomb costs no more than these tables.
 */
#ifndef DENET_TOP_H
#define DENET_TOP_H

#include <denet/sink.h>

#define DN_TOP_PROCESSES 10
#define DN_TOP_COMMANDS 512

struct dn_top {
	struct dn_process process[DN_TOP_PROCESSES]; /* copies, by CPU, most expensive first */
	const struct dn_process *order[DN_TOP_PROCESSES];
	unsigned n_processes;
	struct dn_command_total *
		command; /* open addressing by name, 2 * DN_TOP_COMMANDS slots; NULL until needed */
	unsigned n_commands;
	uint64_t other; /* processes whose name found no room */
	bool sorted;
};

/* end_ns: when it ended, or now; since measuring began. */
void dn_top_add(struct dn_top *top, const struct dn_process *process, uint64_t end_ns);
/* Sorts and hands out; dn_top_add() must not be called any more. */
void dn_top_report(struct dn_top *top, struct dn_summary *summary);
void dn_top_finish(struct dn_top *top);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* What happens at a moment and gets a record of its own. */
#ifndef DENET_EVENT_H
#define DENET_EVENT_H

#include <stdint.h>

struct dn_process;

enum dn_event_type {
	DN_EVENT_FORK,
	DN_EVENT_EXEC,
	DN_EVENT_EXIT,
	DN_EVENT_GAP, /* the machine slept or denet was stopped */
	DN_EVENT_BACKEND_LOST, /* a backend died; text says which and why */
	DN_EVENT_CPUS_CHANGED, /* the set of online CPUs changed */
	DN_EVENT_TARGET_LOST, /* a target of attach is gone */
	DN_EVENT_BUDGET, /* denet took a step to keep to --max-overhead; text says which */
	DN_EVENT_LIMIT, /* a call failed because a limit was reached; text says which */
	DN_EVENT_SECURITY, /* a security-relevant call or a capability that was denied */
	DN_EVENT_OOM, /* the kernel killed a process of the tree for lack of memory */
};
const char *dn_event_name(
	enum dn_event_type type); /* "fork", "exec", "exit", "gap", "backend_lost", ... */

struct dn_event {
	enum dn_event_type type;
	uint64_t t_ns; /* since measuring began */
	const struct dn_process
		*process; /* FORK, EXEC, EXIT, TARGET_LOST; may be NULL in LIMIT, SECURITY, OOM */
	const char *text; /* all but FORK, EXEC and EXIT; may be NULL */
};

#endif

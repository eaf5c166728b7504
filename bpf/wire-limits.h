/* SPDX-License-Identifier: Apache-2.0 */
/* What both sides of the probe group limits share. */
#ifndef DENET_WIRE_LIMITS_H
#define DENET_WIRE_LIMITS_H

#include "wire.h"

/* Errors that say that a limit or a resource was reached, of the calls of which that is true. */
enum dn_wire_limit {
	DN_LIMIT_EMFILE,
	DN_LIMIT_ENFILE,
	DN_LIMIT_ENOMEM,
	DN_LIMIT_EAGAIN,
	DN_LIMIT_ENOSPC,
	DN_LIMIT_EDQUOT,
	DN_LIMIT_EFBIG,
	DN_LIMIT_E2BIG,
	DN_LIMIT_ENOBUFS,
	DN_LIMIT_ENOLCK,
	DN_LIMIT_N,
	/* Also a bit of a call: it has no errors, but returns less than it was asked for (brk). */
	DN_LIMIT_SILENT = 15,
};

/* Per CPU. */
struct dn_wire_limits {
	__u64 hits;
	__u64 other; /* those of them that found no room by call */
};

#define DN_LIMIT_CALLS 512

/* By enum dn_wire_limit << 16 | index of the call. */
struct dn_wire_limit_call {
	__u64 hits;
	struct dn_wire_window window;
};

#endif

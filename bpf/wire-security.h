/* SPDX-License-Identifier: Apache-2.0 */
/* What both sides of the probe group security share. */
#ifndef DENET_WIRE_SECURITY_H
#define DENET_WIRE_SECURITY_H

#include "wire.h"

/* Which calls of a name count. */
enum dn_wire_security {
	DN_SECURITY_ALWAYS,
	DN_SECURITY_NAMESPACES, /* when its first argument has flags for namespaces */
	DN_SECURITY_CLONE3, /* the same of what its first argument points to */
	DN_SECURITY_PRCTL, /* options that change what the process may do */
	DN_SECURITY_PERSONALITY, /* when it is changed and not asked for */
};

/* Calls are known by their place in the table of user space, from 1 on. */
#define DN_SECURITY_CALLS 80

/* A rule: enum dn_wire_security, and in a byte each from the second on the places of the arguments
 * that a record has, which are numbers; from 6 on: none. */
#define DN_SECURITY_ARGUMENTS 3

/* Per CPU. */
struct dn_wire_security_call {
	__u64 count, errors;
};

#define DN_CAPABILITIES 64

/* Per CPU. */
struct dn_wire_capability {
	__u64 checks, denials;
};

/* Records are limited by call, and for other calls by capability. */
#define DN_SECURITY_WINDOWS (DN_SECURITY_CALLS + DN_CAPABILITIES)

#endif

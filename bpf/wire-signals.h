/* SPDX-License-Identifier: Apache-2.0 */
/* What both sides of the probe group signals share. */
#ifndef DENET_WIRE_SIGNALS_H
#define DENET_WIRE_SIGNALS_H

#include "wire.h"

#define DN_SIGNALS_N 65 /* 0 is none */

/* By number, per CPU. */
struct dn_wire_signal {
	__u64 generated;
	__u64 delivered;
	__u64 ignored; /* generated, and nobody was to be told of it */
	__u64 merged; /* generated, while one of the number was pending already */
	__u64 lost; /* generated, and the queue had no room */
};

struct dn_wire_sender {
	__u32 signal;
	__u32 kernel; /* 1: no process sent it */
	__u32 pid; /* as denet's pid namespace numbers it; 0: it is not in there */
	char comm[DN_WIRE_COMM];
};

_Static_assert(sizeof(struct dn_wire_signal) == 40, "no holes");
_Static_assert(sizeof(struct dn_wire_sender) == 28, "no holes");

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* What both sides of the probe group block share. */
#ifndef DENET_WIRE_BLOCK_H
#define DENET_WIRE_BLOCK_H

#include "wire.h"

#define DN_BLOCK_DEVICES 32
#define DN_BLOCK_REQUESTS 8192 /* between the queue and their completion */

/* By device (major << 20 | minor), per CPU. */
struct dn_wire_block {
	char name[32];
	__u64 reads, writes, other, errors;
	__u64 read_bytes, write_bytes, time_ns;
	struct dn_wire_histogram latency;
};

/* A request, by its address, from the queue to its completion. */
struct dn_wire_block_request {
	__u64 insert_ns, issue_ns; /* 0: not yet */
	__u32 weight; /* for how many it stands; 0: it is not of the tree, or not looked at */
	__u32 failed;
};

_Static_assert(sizeof(struct dn_wire_block) % 8 == 0, "no holes");
_Static_assert(sizeof(struct dn_wire_block_request) == 24, "no holes");

#endif

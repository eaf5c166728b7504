/* SPDX-License-Identifier: Apache-2.0 */
/* One ring that the kernel writes records into and we read. */
#ifndef DENET_PERF_RING_H
#define DENET_PERF_RING_H

#include "record.h"

struct dn_perf_ring {
	void *map; /* NULL: not mapped */
	size_t data_bytes;
	uint64_t tail, head; /* tail: consumed; head: as of dn_perf_ring_begin() */
	struct dn_perf_record record; /* the next one when ready */
	unsigned record_bytes; /* of it; 0: none is ready */
	uint64_t broken; /* times that the contents made no sense and were skipped */
};

/* pages must be a power of 2. 0 or negative errno. */
int dn_perf_ring_map(struct dn_perf_ring *ring, int fd, unsigned pages);
void dn_perf_ring_unmap(struct dn_perf_ring *ring);
/* Looks how far the kernel has written. */
void dn_perf_ring_begin(struct dn_perf_ring *ring);
/* The next record that says something, or NULL. It stays the next until it is taken. */
const struct dn_perf_record *dn_perf_ring_peek(struct dn_perf_ring *ring);
void dn_perf_ring_take(struct dn_perf_ring *ring);
/* Gives what was taken back to the kernel. */
void dn_perf_ring_end(struct dn_perf_ring *ring);

#endif

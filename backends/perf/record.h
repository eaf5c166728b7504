/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernel writes into a sideband ring, decoded. */
#ifndef DENET_PERF_RECORD_H
#define DENET_PERF_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum dn_perf_record_type {
	DN_PERF_OTHER,
	DN_PERF_FORK,
	DN_PERF_EXIT,
	DN_PERF_COMM,
	DN_PERF_SWITCH,
	DN_PERF_MMAP, /* executable memory was mapped */
	DN_PERF_LOST,
};

struct dn_perf_record {
	enum dn_perf_record_type type;
	uint64_t t_ns;
	pid_t pid, tid;
	pid_t ppid; /* FORK: who called fork */
	bool exec; /* COMM: by an exec */
	bool out; /* SWITCH: left the CPU */
	bool preempt; /* SWITCH: against its will */
	uint64_t lost;
	char comm[64];
	size_t comm_len;
};

/*
 * One record at data, of which available bytes are there. sample_type must be TID | TIME with
 * sample_id_all. Returns its size; 0 when it is not whole yet; -EBADMSG for what no kernel writes.
 */
int dn_perf_record_decode(const void *data, size_t available, struct dn_perf_record *ret);

/* The same from a ring of mask + 1 bytes, between two positions that only grow. */
int dn_perf_record_at(
	const uint8_t *ring, size_t mask, uint64_t tail, uint64_t head, struct dn_perf_record *ret);

#endif

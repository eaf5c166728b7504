/* SPDX-License-Identifier: Apache-2.0 */
/* What both sides of the probe group memory share. */
#ifndef DENET_WIRE_MEMORY_H
#define DENET_WIRE_MEMORY_H

#include "wire.h"

/* Calls that change how much memory a process has, made by user space by their names. */
enum dn_wire_memory_call {
	DN_MEMORY_NONE,
	DN_MEMORY_MMAP,
	DN_MEMORY_MMAP_BLOCK, /* of i386: its argument points to a block of arguments */
	DN_MEMORY_MUNMAP,
	DN_MEMORY_MREMAP,
	DN_MEMORY_SHMGET,
	/* From here on: what it was before is looked at when the call is entered. */
	DN_MEMORY_BRK,
	DN_MEMORY_RESIZE, /* of a file, by descriptor */
};

/* Per CPU, of calls. */
struct dn_wire_memory_calls {
	__u64 mapped, unmapped, raised, shared;
};

#define DN_MEMORY_SEGMENTS 1024

/* Per CPU, of everything else. */
struct dn_wire_memory {
	__u64 faults_user, faults_kernel;
	__u64 kmalloc_calls, kmalloc_bytes, kfree_calls;
	__u64 cache_calls, cache_bytes, cache_frees;
	__u64 reclaims, reclaim_ns;
	__u64 oom_kills;
	struct dn_wire_histogram fault, major_fault;
};

_Static_assert(sizeof(struct dn_wire_memory) % 8 == 0, "no holes");

#endif

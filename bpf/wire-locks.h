/* SPDX-License-Identifier: Apache-2.0 */
/* What both sides of the probe group locks share. */
#ifndef DENET_WIRE_LOCKS_H
#define DENET_WIRE_LOCKS_H

#include "wire.h"

/* Calls in which a thread waits for a futex, made by user space by their names. */
enum dn_wire_futex {
	DN_FUTEX_NONE,
	DN_FUTEX_OPERATION, /* futex, futex_time64: the second argument says what */
	DN_FUTEX_WAITV, /* several at once: an array of struct futex_waitv */
	DN_FUTEX_WAIT,
	DN_FUTEX_RESTART, /* restart_syscall: goes on with what a stop interrupted */
};

/* Of all futexes, per CPU. */
struct dn_wire_futexes {
	__u64 other; /* waits on addresses that found no room */
	struct dn_wire_histogram wait;
};

#define DN_FUTEX_ADDRESSES 4096

struct dn_wire_futex_key {
	__u64 address; /* 0: could not be read */
	__u32 pid; /* of denet's own pid namespace */
	__u32 unused;
};

struct dn_wire_futex_address {
	__u64 waits, time_ns, max_ns;
};

/* Locks of the kernel */
enum dn_wire_lock {
	DN_LOCK_OTHER,
	DN_LOCK_SPIN,
	DN_LOCK_RWLOCK_READ, /* spinning */
	DN_LOCK_RWLOCK_WRITE,
	DN_LOCK_RWSEM_READ, /* sleeping */
	DN_LOCK_RWSEM_WRITE,
	DN_LOCK_MUTEX,
	DN_LOCK_RT,
	DN_LOCK_RT_READ,
	DN_LOCK_RT_WRITE,
	DN_LOCK_PERCPU_READ,
	DN_LOCK_PERCPU_WRITE,
	DN_LOCK_N,
};

/* Per CPU. */
struct dn_wire_contention {
	__u64 outer_ns; /* without the waits inside of other waits */
	struct dn_wire_histogram wait[DN_LOCK_N];
};

_Static_assert(sizeof(struct dn_wire_futex_key) == 16, "no holes");
_Static_assert(sizeof(struct dn_wire_futexes) % 8 == 0, "no holes");
_Static_assert(sizeof(struct dn_wire_contention) % 8 == 0, "no holes");

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Futexes: a call waited when it slept, or would have had its turn come later: it was woken, timed
 * out, or was interrupted. A word that has another value already (EAGAIN) and calls that are wrong
 * did not wait.
 */
#ifndef DENET_GROUP_LOCKS_BPF_H
#define DENET_GROUP_LOCKS_BPF_H

#include "call.bpf.h"
#include "wire-locks.h"

#define FUTEX_WAIT 0
#define FUTEX_LOCK_PI 6
#define FUTEX_WAIT_BITSET 9
#define FUTEX_WAIT_REQUEUE_PI 11
#define FUTEX_LOCK_PI2 13
#define FUTEX_CMD_MASK 127

#define ERESTARTNOHAND 514
#define ERESTART_RESTARTBLOCK 516

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct dn_wire_futexes);
} dn_futexes SEC(".maps");

/* User space makes it DN_FUTEX_ADDRESSES large when the group is on. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, struct dn_wire_futex_key);
	__type(value, struct dn_wire_futex_address);
} dn_futex_addresses SEC(".maps");

/* Set before loading: enum dn_wire_futex by index of the call. */
const volatile u8 dn_futex_calls[DN_CALLS_N];

static __always_inline bool futex_waited(s64 result)
{
	return result >= 0 || result == -ETIMEDOUT || result == -EINTR ||
	       (result <= -ERESTARTSYS && result >= -ERESTARTNOHAND) ||
	       result == -ERESTART_RESTARTBLOCK;
}

static __always_inline bool futex_waits(u64 operation)
{
	switch (operation & FUTEX_CMD_MASK) {
	case FUTEX_WAIT:
	case FUTEX_LOCK_PI:
	case FUTEX_WAIT_BITSET:
	case FUTEX_WAIT_REQUEUE_PI:
	case FUTEX_LOCK_PI2:
		return true;
	default:
		return false;
	}
}

/* Of several: the one that was woken, else the first. */
static __always_inline u64 futex_of_vector(const struct call *call)
{
	struct {
		u64 value, address;
		u32 flags, reserved;
	} wait = {};
	u64 at = call_argument(call, 0);

	if (call->result > 0 && call->result < 128)
		at += (u64)call->result * sizeof(wait);
	bpf_probe_read_user(&wait, sizeof(wait), (const void *)at);
	return wait.address;
}

static __always_inline void futex_longest(u64 *longest, u64 ns)
{
#ifdef DENET_HASH
	if (ns > *longest)
		*longest = ns;
#else
	for (u32 i = 0; i < 4; i++) {
		u64 old = *(volatile u64 *)longest;

		if (ns <= old || __sync_val_compare_and_swap(longest, old, ns) == old)
			break;
	}
#endif
}

static __noinline void futex_count(u64 address, u64 ns, u32 weight)
{
	struct dn_wire_futex_key key = {.address = address, .pid = tgid_here(task_now())};
	struct dn_wire_futex_address *found, none = {};
	struct dn_wire_futexes *all;
	u32 zero = 0;

	all = bpf_map_lookup_elem(&dn_futexes, &zero);
	if (!all)
		return;
	histogram_add_weighted(&all->wait, ns, weight);
	found = bpf_map_lookup_elem(&dn_futex_addresses, &key);
	if (!found) {
		bpf_map_update_elem(&dn_futex_addresses, &key, &none, BPF_NOEXIST);
		found = bpf_map_lookup_elem(&dn_futex_addresses, &key);
	}
	if (!found) {
		all->other += weight;
		return;
	}
	__sync_fetch_and_add(&found->waits, weight);
	__sync_fetch_and_add(&found->time_ns, ns * weight);
	futex_longest(&found->max_ns, ns);
}

DN_VERIFIED_ONCE int locks_exit(const struct call *call, struct dn_task *task)
{
	u64 *stopped, address;
	u32 kind, weight;

	if (!call || !task)
		return 0;
	stopped = &task->group[DN_SLOT_FUTEX];
	address = *stopped;
	kind = call->index < DN_CALLS_N ? dn_futex_calls[call->index] : DN_FUTEX_NONE;
	/* Whatever it waited for in the kernel, it does not any more. */
	task->group[DN_SLOT_LOCK] = task->group[DN_SLOT_INNER] = 0;
	if (kind == DN_FUTEX_NONE && !address)
		return 0;
	*stopped = 0;
	switch (kind) {
	case DN_FUTEX_OPERATION:
		if (!futex_waits(call_argument(call, 1)))
			return 0;
		address = call_argument(call, 0);
		break;
	case DN_FUTEX_WAITV:
		address = futex_of_vector(call);
		break;
	case DN_FUTEX_WAIT:
		address = call_argument(call, 0);
		break;
	case DN_FUTEX_RESTART:
		if (!address)
			return 0;
		break;
	default:
		return 0;
	}
	if (!futex_waited(call->result) || !call->duration_ns)
		return 0;
	if (call->result == -ERESTART_RESTARTBLOCK)
		*stopped = address;
	weight = sample_weight(DN_GROUP_LOCKS);
	if (weight)
		futex_count(address, call->duration_ns, weight);
	return 0;
}

#endif

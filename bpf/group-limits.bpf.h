/* SPDX-License-Identifier: Apache-2.0 */
/* Calls that failed because a limit was reached: which error says so depends on the call. */
#ifndef DENET_GROUP_LIMITS_BPF_H
#define DENET_GROUP_LIMITS_BPF_H

#include "call.bpf.h"
#include "wire-limits.h"

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct dn_wire_limits);
} dn_limits SEC(".maps");

/* User space makes it DN_LIMIT_CALLS large when the group is on. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct dn_wire_limit_call);
} dn_limits_by_call SEC(".maps");

/* Set before loading: a bit per enum dn_wire_limit that counts, by index of the call. */
const volatile u16 dn_limit_calls[DN_CALLS_N];

static __always_inline u32 limit_of(s64 result)
{
	switch (result) {
	case -EMFILE:
		return DN_LIMIT_EMFILE;
	case -ENFILE:
		return DN_LIMIT_ENFILE;
	case -ENOMEM:
		return DN_LIMIT_ENOMEM;
	case -EAGAIN:
		return DN_LIMIT_EAGAIN;
	case -ENOSPC:
		return DN_LIMIT_ENOSPC;
	case -EDQUOT:
		return DN_LIMIT_EDQUOT;
	case -EFBIG:
		return DN_LIMIT_EFBIG;
	case -E2BIG:
		return DN_LIMIT_E2BIG;
	case -ENOBUFS:
		return DN_LIMIT_ENOBUFS;
	case -ENOLCK:
		return DN_LIMIT_ENOLCK;
	default:
		return DN_LIMIT_N;
	}
}

static __noinline void limit_hit(u32 limit, u32 index, s32 result, u32 weight)
{
	struct dn_wire_limit_call *found, none = {};
	struct dn_wire_limits *all;
	u32 key = limit << 16 | index, zero = 0, times;

	all = bpf_map_lookup_elem(&dn_limits, &zero);
	if (!all)
		return;
	all->hits += weight;
	found = bpf_map_lookup_elem(&dn_limits_by_call, &key);
	if (!found) {
		bpf_map_update_elem(&dn_limits_by_call, &key, &none, BPF_NOEXIST);
		found = bpf_map_lookup_elem(&dn_limits_by_call, &key);
	}
	if (!found) {
		all->other += weight;
		return;
	}
	__sync_fetch_and_add(&found->hits, weight);
	times = may_tell(&found->window, weight);
	if (times)
		tell_call(DN_RECORD_LIMIT, times, index, result, 0, 0, 0, 0);
}

DN_VERIFIED_ONCE int limits_exit(const struct call *call)
{
	u32 limits, limit, weight;
	s64 result;

	if (!call)
		return 0;
	result = call->result;
	if (call->index >= DN_CALLS_N)
		return 0;
	limits = dn_limit_calls[call->index];
	if (limits & 1 << DN_LIMIT_SILENT) {
		if ((u64)result >= call_argument(call, 0))
			return 0;
		result = -ENOMEM;
	} else if (!is_error(result)) {
		return 0;
	}
	limit = limit_of(result);
	if (limit == DN_LIMIT_N || !(limits >> limit & 1))
		return 0;
	weight = (u32)sample_weight(DN_GROUP_LIMITS);
	if (weight)
		limit_hit(limit, call->index, (s32)result, weight);
	return 0;
}

#endif

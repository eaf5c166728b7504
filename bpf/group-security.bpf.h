/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls that change what a process may do, and calls that failed for want of a capability. Which
 * capabilities were denied in a call is noted by bpf/security.bpf.c.
 */
#ifndef DENET_GROUP_SECURITY_BPF_H
#define DENET_GROUP_SECURITY_BPF_H

#include <linux/prctl.h>

#include "call.bpf.h"
#include "wire-security.h"

/* CLONE_NEWTIME, _NEWNS, _NEWCGROUP, _NEWUTS, _NEWIPC, _NEWUSER, _NEWPID, _NEWNET. The first one is
 * a part of the signal in clone's flags. */
#define NAMESPACES 0x7e020080u
#define NEWTIME 0x80u

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, DN_SECURITY_CALLS);
	__type(key, u32);
	__type(value, struct dn_wire_security_call);
} dn_security SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, DN_SECURITY_WINDOWS);
	__type(key, u32);
	__type(value, struct dn_wire_window);
} dn_security_windows SEC(".maps");

/* Set before loading: by index of the call, its place in the table; 0: none. */
const volatile u8 dn_security_calls[DN_CALLS_N];
const volatile u32 dn_security_rules[DN_SECURITY_CALLS];
const volatile u32 dn_clone_place; /* of clone */

static __always_inline bool security_option(u64 option)
{
	switch ((u32)option) {
	case PR_SET_DUMPABLE:
	case PR_SET_KEEPCAPS:
	case PR_SET_SECCOMP:
	case PR_CAPBSET_DROP:
	case PR_SET_SECUREBITS:
	case PR_SET_NO_NEW_PRIVS:
	case PR_CAP_AMBIENT:
	case PR_SET_PTRACER:
		return true;
	default:
		return false;
	}
}

/* ret_first: the first argument, or what it points to. */
static __always_inline bool security_counts(
	const struct call *call, u32 place, u32 when, u64 *ret_first)
{
	u64 first = call_argument(call, 0);
	u64 flags = first;

	*ret_first = first;
	switch (when) {
	case DN_SECURITY_CLONE3:
		flags = 0;
		bpf_probe_read_user(&flags, sizeof(flags), (const void *)first);
		*ret_first = flags;
		return flags & NAMESPACES;
	case DN_SECURITY_NAMESPACES:
		if (place == dn_clone_place)
			flags &= ~(u64)NEWTIME;
		return flags & NAMESPACES;
	case DN_SECURITY_PRCTL:
		return security_option(first);
	case DN_SECURITY_PERSONALITY:
		return (u32)first != 0xffffffff;
	default:
		return true;
	}
}

static __always_inline u64 security_argument(const struct call *call, u32 n, u64 first)
{
	if (n == 0)
		return first;
	return n < 6 ? call_argument(call, n) : 0;
}

static __noinline u32 security_may_tell(u32 window)
{
	struct dn_wire_window *found = bpf_map_lookup_elem(&dn_security_windows, &window);

	return found ? may_tell(found, 1) : 0;
}

/* A call of the table; 1 when it is one that counts. */
static __noinline u32 security_call(const struct call *call, u32 place, u64 denied)
{
	struct dn_wire_security_call *sum;
	u32 rule, times, weight;
	u64 first = 0;

	if (!call || place >= DN_SECURITY_CALLS)
		return 0;
	rule = dn_security_rules[place];
	if (!security_counts(call, place, rule & 0xff, &first))
		return 0;
	weight = (u32)sample_weight(DN_GROUP_SECURITY);
	sum = bpf_map_lookup_elem(&dn_security, &place);
	if (!sum || !weight)
		return 1;
	sum->count += weight;
	if (is_error(call->result))
		sum->errors += weight;
	times = security_may_tell(place);
	if (times)
		tell_call(DN_RECORD_SECURITY, times, call->index, (s32)call->result,
			security_argument(call, rule >> 8 & 0xff, first),
			security_argument(call, rule >> 16 & 0xff, first),
			security_argument(call, rule >> 24 & 0xff, first), denied);
	return 1;
}

static __always_inline u32 lowest_bit(u64 bits)
{
	return log2_floor(bits & -bits);
}

DN_VERIFIED_ONCE int security_exit(const struct call *call, struct dn_task *task)
{
	u64 *noted, denied;
	u32 place, times;

	if (!call || !task)
		return 0;
	noted = &task->group[DN_SLOT_DENIED];
	denied = *noted;
	place = call->index < DN_CALLS_N ? dn_security_calls[call->index] : 0;
	*noted = 0;
	/* The kernel also asks just to know: only a call that then fails was refused something. */
	if (call->result != -EPERM && call->result != -EACCES)
		denied = 0;
	if (place && security_call(call, place, denied))
		return 0;
	if (!denied)
		return 0;
	times = security_may_tell(DN_SECURITY_CALLS + lowest_bit(denied));
	if (times)
		tell_call(DN_RECORD_CAPABILITY, times, call->index, (s32)call->result, 0, 0, 0,
			denied);
	return 0;
}

#endif

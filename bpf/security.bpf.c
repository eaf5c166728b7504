/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Capability checks: the kernel asks the current thread's credentials. It also asks to know whether
 * a limit binds, or what to show in /proc, where "no" is no refusal; not all hooks tell which. All
 * answers count here; records are made of calls that failed (group-security.bpf.h).
 */
#include "common.bpf.h"
#include "wire-security.h"

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, DN_CAPABILITIES);
	__type(key, u32);
	__type(value, struct dn_wire_capability);
} dn_capabilities SEC(".maps");

static __always_inline int capability(const void *ctx, u32 which, s32 answer)
{
	struct dn_task *task = task_counting();
	struct dn_wire_capability *sum;
	u64 weight;

	if (!task || which >= DN_CAPABILITIES || is_interrupt(ctx))
		return 0;
	if (answer)
		task->group[DN_SLOT_DENIED] |= 1ull << which;
	weight = sample_weight(DN_GROUP_SECURITY);
	sum = bpf_map_lookup_elem(&dn_capabilities, &which);
	if (!sum || !weight)
		return 0;
	sum->checks += weight;
	if (answer)
		sum->denials += weight;
	return 0;
}

/* The event, where the kernel has it. */
DN_TRACEPOINT(cap_capable)
int BPF_PROG(dn_cap_event, u64 cred, u64 wanted_in, u64 has_in, u32 which, s32 answer)
{
	return capability(ctx, which, answer);
}

/* Else the function. */
SEC("dn_fexit/cap_capable")
int BPF_PROG(dn_cap_function, u64 cred, u64 wanted_in, u32 which, u32 options, s32 answer)
{
	return capability(ctx, which, answer);
}

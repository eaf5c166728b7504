/* SPDX-License-Identifier: Apache-2.0 */
#include "derive.h"

double dn_derive_percent(uint64_t cpu_ns, uint64_t interval_ns)
{
	return interval_ns ? 100.0 * (double)cpu_ns / (double)interval_ns : 0.0;
}

static bool delta(
	const struct dn_frame *frame, const struct dn_frame *before, unsigned id, uint64_t *ret)
{
	uint64_t then = 0;

	if (frame->value[id].type != DN_VALUE_U64)
		return false;
	if (before) {
		if (before->value[id].type != DN_VALUE_U64)
			return false;
		then = before->value[id].u64;
	}
	if (frame->value[id].u64 < then)
		return false;
	*ret = frame->value[id].u64 - then;
	return true;
}

static void ratio(struct dn_frame *frame, const struct dn_frame *before, unsigned id, unsigned over,
	unsigned under)
{
	uint64_t a, b;

	if (delta(frame, before, over, &a) && delta(frame, before, under, &b) && b > 0)
		dn_frame_f64(frame, id, (double)a / (double)b);
}

void dn_derive(struct dn_frame *frame, const struct dn_frame *before, uint64_t interval_ns)
{
	uint64_t cpu;

	if (interval_ns && delta(frame, before, DN_M_cpu_total_ns, &cpu))
		dn_frame_f64(frame, DN_M_cpu_usage_percent, dn_derive_percent(cpu, interval_ns));
	ratio(frame, before, DN_M_hw_ipc, DN_M_hw_instructions, DN_M_hw_cycles);
	ratio(frame, before, DN_M_hw_cache_miss_ratio, DN_M_hw_cache_misses,
		DN_M_hw_cache_references);
	ratio(frame, before, DN_M_hw_branch_miss_ratio, DN_M_hw_branch_misses, DN_M_hw_branches);
}

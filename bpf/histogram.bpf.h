/* SPDX-License-Identifier: Apache-2.0 */
/* Counting in log-linear buckets; the same ones as <denet/table.h>. */
#ifndef DENET_HISTOGRAM_BPF_H
#define DENET_HISTOGRAM_BPF_H

#include "kernel.bpf.h"
#include "wire.h"

/* The compiler shall take this value as it is: make no branch of arithmetic on it, check no copy of
 * it. */
#define KEEP(value) asm volatile("" : "+r"(value))

/* Moves value down by n bits if it has more than that; how far it did. Without a branch: the
 * verifier would walk all the ways through several of them. */
static __always_inline u32 halve(u64 *value, u32 n)
{
	u64 fits = ((*value >> n) - 1) >> 63;
	u64 by;

	KEEP(fits);
	by = (fits ^ 1) * n;
	KEEP(by);
	*value >>= by & 63;
	return (u32)by;
}

/* floor(log2 value), value > 0. There is no instruction for it. */
static __always_inline u32 log2_floor(u64 value)
{
	u32 r = halve(&value, 32);

	r += halve(&value, 16);
	r += halve(&value, 8);
	r += halve(&value, 4);
	r += halve(&value, 2);
	return r + (u32)(value >> 1);
}

static __always_inline u32 histogram_index(u64 value)
{
	u32 e, index;

	if (value < 8)
		return (u32)value;
	e = log2_floor(value);
	index = (e - 2) * 8 + (u32)(value >> (e - 3) & 7);
	return index < DN_WIRE_BUCKETS ? index : DN_WIRE_BUCKETS - 1;
}

/*
 * A function that the verifier looks at once, and not at every call: it is not static for that,
 * takes pointers to memory only and checks them. Kernels that need the other build can't do it.
 */
#ifdef DENET_HASH
#define DN_VERIFIED_ONCE static __noinline __attribute__((unused))
#else
#define DN_VERIFIED_ONCE __noinline __attribute__((weak))
#endif

/* Of a per-CPU map: nobody else writes it meanwhile, but for an interrupt. */
DN_VERIFIED_ONCE int histogram_add(struct dn_wire_histogram *histogram, u64 value)
{
	u64 index = histogram_index(value);

	if (!histogram)
		return 0;
	histogram->sum += value;
	if (value > histogram->max)
		histogram->max = value;
	if (~value > histogram->min_inverse)
		histogram->min_inverse = ~value;
	KEEP(index);
	if (index < DN_WIRE_BUCKETS)
		histogram->bucket[index]++;
	return 0;
}

#endif

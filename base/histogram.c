/* SPDX-License-Identifier: Apache-2.0 */
/* Log-linear histograms: counting, merging, percentiles. Counts saturate, they never wrap. */
#include <denet/fs.h>
#include <denet/table.h>

#define SUB_BITS 3

_Static_assert(DN_HISTOGRAM_SUB == 1 << SUB_BITS, "buckets per power of two");
_Static_assert(DN_HISTOGRAM_N == (64 - SUB_BITS + 1) * DN_HISTOGRAM_SUB, "one bucket per value");

unsigned dn_histogram_index(uint64_t value)
{
	unsigned exponent;

	if (value < DN_HISTOGRAM_SUB)
		return (unsigned)value;
	exponent = 63 - (unsigned)__builtin_clzll(value);
	return (exponent - SUB_BITS + 1) * DN_HISTOGRAM_SUB +
	       (unsigned)(value >> (exponent - SUB_BITS) & (DN_HISTOGRAM_SUB - 1));
}

uint64_t dn_histogram_upper(unsigned index)
{
	unsigned shift;

	if (index < 2 * DN_HISTOGRAM_SUB)
		return index;
	if (index >= DN_HISTOGRAM_N)
		return UINT64_MAX;
	shift = index / DN_HISTOGRAM_SUB - 1;
	/* Of the last bucket the sum is 2^64 and wraps to 0, less 1 is right again. */
	return ((uint64_t)(DN_HISTOGRAM_SUB + index % DN_HISTOGRAM_SUB + 1) << shift) - 1;
}

void dn_histogram_add(struct dn_histogram *histogram, uint64_t value, uint64_t times)
{
	uint64_t *bucket = &histogram->bucket[dn_histogram_index(value)], sum;

	if (times == 0)
		return;
	if (histogram->count == 0 || value < histogram->min)
		histogram->min = value;
	if (histogram->count == 0 || value > histogram->max)
		histogram->max = value;
	if (__builtin_mul_overflow(value, times, &sum))
		sum = UINT64_MAX;
	histogram->count = dn_add_sat(histogram->count, times);
	histogram->sum = dn_add_sat(histogram->sum, sum);
	*bucket = dn_add_sat(*bucket, times);
}

void dn_histogram_merge(struct dn_histogram *into, const struct dn_histogram *from)
{
	if (from->count == 0)
		return;
	if (into->count == 0 || from->min < into->min)
		into->min = from->min;
	if (into->count == 0 || from->max > into->max)
		into->max = from->max;
	into->count = dn_add_sat(into->count, from->count);
	into->sum = dn_add_sat(into->sum, from->sum);
	for (unsigned i = 0; i < DN_HISTOGRAM_N; i++)
		into->bucket[i] = dn_add_sat(into->bucket[i], from->bucket[i]);
}

/* The least whole number that is not below p parts of count, from 1 to count. */
static uint64_t rank_of(uint64_t count, double p)
{
	double exact = p * (double)count;
	uint64_t rank;

	if (!(exact > 1))
		return 1;
	/* 2^64 as a double: from there on the conversion is undefined. */
	if (exact >= 18446744073709551616.0)
		return count;
	rank = (uint64_t)exact;
	rank += (double)rank < exact;
	return rank < count ? rank : count;
}

uint64_t dn_histogram_percentile(const struct dn_histogram *histogram, double p)
{
	uint64_t rank, seen = 0, upper;

	if (histogram->count == 0)
		return 0;
	rank = rank_of(histogram->count, p);
	for (unsigned i = 0; i < DN_HISTOGRAM_N; i++) {
		seen = dn_add_sat(seen, histogram->bucket[i]);
		if (seen < rank)
			continue;
		upper = dn_histogram_upper(i);
		if (upper < histogram->min)
			return histogram->min;
		return upper < histogram->max ? upper : histogram->max;
	}
	/* The buckets hold less than count says: read while the kernel was counting. */
	return histogram->max;
}

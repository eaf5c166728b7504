/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Values that are more than a number: distributions, and counters by key. Both are cumulative since
 * measuring began. They belong to the backend that made them and stay valid until its next sample.
 */
#ifndef DENET_TABLE_H
#define DENET_TABLE_H

#include <stddef.h>
#include <stdint.h>

#include <denet/frame.h>

/*
 * Log-linear: eight buckets per power of two, so that a bucket's bounds differ by at most 12.5 %,
 * and one bucket per value below 16. The kernel side (bpf/histogram.bpf.h) counts in the same
 * buckets.
 */
#define DN_HISTOGRAM_SUB 8
#define DN_HISTOGRAM_N 496

struct dn_histogram {
	uint64_t count, sum;
	uint64_t min, max; /* exact; meaningless while count is 0 */
	uint64_t bucket[DN_HISTOGRAM_N];
};

unsigned dn_histogram_index(uint64_t value);
/* The largest value that a bucket holds. */
uint64_t dn_histogram_upper(unsigned index);
void dn_histogram_add(struct dn_histogram *histogram, uint64_t value, uint64_t times);
void dn_histogram_merge(struct dn_histogram *into, const struct dn_histogram *from);
/* The upper bound of the bucket that holds the p-th part (0 to 1) of the values, within min and
 * max; 0 when there are none. */
uint64_t dn_histogram_percentile(const struct dn_histogram *histogram, double p);

#define DN_TABLE_COLUMNS_MAX 8
#define DN_TABLE_KEY_MAX 256

struct dn_table_row {
	const char *key; /* raw bytes, NUL-terminated: every sink encodes for itself */
	struct dn_value value[DN_TABLE_COLUMNS_MAX]; /* U64, HISTOGRAM, or NONE */
};

struct dn_table {
	const char *const *column; /* names, static */
	unsigned n_columns;
	const struct dn_table_row
		*row; /* in the order in which they are to be shown, keys differ */
	unsigned n_rows;
	uint64_t other; /* events of keys that found no room */
};

#endif

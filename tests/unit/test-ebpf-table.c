/* SPDX-License-Identifier: Apache-2.0 */
/* Tables in the making, and the kernel side's histograms against those of the contract. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ebpf.h"

/* The kernel side's arithmetic, compiled for this machine: all that it needs of kernel.bpf.h. */
#define DENET_KERNEL_BPF_H
#define DENET_HASH
#undef __always_inline
#define __always_inline inline __attribute__((always_inline))
#define __noinline __attribute__((noinline))
typedef uint32_t u32;
typedef uint64_t u64;
#include "histogram.bpf.h"

static const char *const columns[] = {"count", "bytes", "latency"};

static void rows_are_found_again(void **unused)
{
	struct dn_ebpf_table table = {0};
	struct dn_table_row *row;
	const struct dn_table *done;
	char key[32];

	dn_ebpf_table_begin(&table, columns, 3, 211);
	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < 211; i++) {
			snprintf(key, sizeof(key), "key%u", i);
			row = dn_ebpf_table_row(&table, key);
			assert_non_null(row);
			assert_int_equal(row->value[2].type, DN_VALUE_NONE);
			dn_ebpf_table_add(row, 0, i);
			dn_ebpf_table_add(row, 1, 1);
		}
	}
	/* No room for another; those that are there are still found. */
	assert_null(dn_ebpf_table_row(&table, "one more"));
	assert_non_null(dn_ebpf_table_row(&table, "key7"));
	/* A key that another one begins with is another one. */
	assert_null(dn_ebpf_table_row(&table, "key"));
	done = dn_ebpf_table_end(&table, 0);
	assert_int_equal(done->n_rows, 211);
	assert_int_equal(done->n_columns, 3);
	for (unsigned i = 0; i < 211; i++) {
		snprintf(key, sizeof(key), "key%u", 210 - i);
		assert_string_equal(done->row[i].key, key); /* largest first */
		assert_int_equal(done->row[i].value[0].u64, 3 * (210 - i));
		assert_int_equal(done->row[i].value[1].u64, 3);
	}
	dn_ebpf_table_free(&table);
	assert_null(table.row);
}

static void equal_rows_are_in_the_order_of_their_keys(void **unused)
{
	struct dn_ebpf_table table = {0};
	const struct dn_table *done;

	dn_ebpf_table_begin(&table, columns, 2, 7);
	for (const char *key = "dbca"; *key; key++)
		dn_ebpf_table_add(dn_ebpf_table_row(&table, (char[]){*key, '\0'}), 1, 5);
	/* One without a value counts as 0. */
	(void)dn_ebpf_table_row(&table, "A");
	done = dn_ebpf_table_end(&table, 1);
	assert_string_equal(done->row[0].key, "a");
	assert_string_equal(done->row[3].key, "d");
	assert_string_equal(done->row[4].key, "A");
	dn_ebpf_table_free(&table);
}

static void long_keys_and_full_sums(void **unused)
{
	struct dn_ebpf_table table = {0};
	struct dn_table_row *row;
	char key[DN_TABLE_KEY_MAX + 50];

	memset(key, 'x', sizeof(key));
	key[sizeof(key) - 1] = '\0';
	dn_ebpf_table_begin(&table, columns, 99, 3);
	assert_int_equal(table.table.n_columns, DN_TABLE_COLUMNS_MAX);
	row = dn_ebpf_table_row(&table, key);
	assert_int_equal(strlen(row->key), DN_TABLE_KEY_MAX - 1);
	assert_ptr_equal(dn_ebpf_table_row(&table, key), row);
	dn_ebpf_table_add(row, 0, UINT64_MAX - 1);
	dn_ebpf_table_add(row, 0, 7);
	assert_true(row->value[0].u64 == UINT64_MAX);
	assert_non_null(dn_ebpf_table_row(&table, ""));
	/* Beginning again forgets. */
	dn_ebpf_table_begin(&table, columns, 1, 3);
	assert_int_equal(dn_ebpf_table_end(&table, 0)->n_rows, 0);
	dn_ebpf_table_free(&table);
	dn_ebpf_table_free(&table);
}

static void histograms_stay_where_they_are(void **unused)
{
	struct dn_ebpf_table table = {0};
	struct dn_histogram *first;
	char key[32];

	dn_ebpf_table_begin(&table, columns, 3, 503);
	first = dn_ebpf_table_histogram(&table, dn_ebpf_table_row(&table, "first"), 2);
	assert_non_null(first);
	dn_histogram_add(first, 1009, 3);
	for (unsigned i = 0; i < 502; i++) { /* the rows move as their number grows */
		snprintf(key, sizeof(key), "%u", i);
		assert_non_null(dn_ebpf_table_histogram(&table, dn_ebpf_table_row(&table, key), 2));
	}
	assert_ptr_equal(
		dn_ebpf_table_histogram(&table, dn_ebpf_table_row(&table, "first"), 2), first);
	assert_int_equal(first->count, 3);
	dn_ebpf_table_free(&table);
}

/* Histograms */

static void buckets_are_those_of_the_contract(void **unused)
{
	uint64_t value = 1;

	for (value = 0; value < 100003; value++)
		assert_int_equal(histogram_index(value), dn_histogram_index(value));
	for (unsigned shift = 3; shift < 64; shift++) {
		for (int near = -9; near <= 9; near++) {
			unsigned index;

			value = (UINT64_C(1) << shift) + (uint64_t)(int64_t)near;
			index = dn_histogram_index(value);
			if (index >= DN_WIRE_BUCKETS)
				index = DN_WIRE_BUCKETS - 1;
			assert_int_equal(histogram_index(value), index);
		}
	}
	assert_int_equal(histogram_index(UINT64_MAX), DN_WIRE_BUCKETS - 1);
	assert_true(dn_histogram_upper(DN_WIRE_BUCKETS - 1) >= (UINT64_C(1) << 40) - 1);
}

static void logarithms(void **unused)
{
	for (unsigned shift = 0; shift < 64; shift++) {
		assert_int_equal(log2_floor(UINT64_C(1) << shift), shift);
		assert_int_equal(
			log2_floor(((UINT64_C(1) << shift) - 1) | UINT64_C(1) << shift), shift);
	}
}

/* What several CPUs counted, added up, is what one would have counted. */
static void sums_of_cpus_are_the_whole(void **unused)
{
	struct dn_wire_histogram cpu[3] = {0};
	struct dn_histogram sum = {0}, whole = {0};
	uint64_t value = 7;

	for (unsigned i = 0; i < 10007; i++) {
		value = value * UINT64_C(6364136223846793005) + 1;
		assert_int_equal(
			histogram_add(&cpu[i % 2], value >> 26), 0); /* the third is idle */
		dn_histogram_add(&whole, value >> 26, 1);
	}
	for (unsigned i = 0; i < 3; i++)
		dn_ebpf_histogram_add(&sum, &cpu[i]);
	assert_int_equal(sum.count, 10007);
	assert_memory_equal(&sum, &whole, sizeof(sum));
	assert_int_equal(histogram_add(NULL, 1), 0);
}

static void an_empty_one_adds_nothing(void **unused)
{
	struct dn_wire_histogram none = {0};
	struct dn_histogram sum = {0}, empty = {0};

	dn_ebpf_histogram_add(&sum, &none);
	assert_memory_equal(&sum, &empty, sizeof(sum));
	/* Zeros are values. */
	assert_int_equal(histogram_add(&none, 0), 0);
	dn_ebpf_histogram_add(&sum, &none);
	assert_int_equal(sum.count, 1);
	assert_int_equal(sum.min, 0);
	assert_int_equal(sum.max, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rows_are_found_again),
		cmocka_unit_test(equal_rows_are_in_the_order_of_their_keys),
		cmocka_unit_test(long_keys_and_full_sums),
		cmocka_unit_test(histograms_stay_where_they_are),
		cmocka_unit_test(buckets_are_those_of_the_contract),
		cmocka_unit_test(logarithms),
		cmocka_unit_test(sums_of_cpus_are_the_whole),
		cmocka_unit_test(an_empty_one_adds_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

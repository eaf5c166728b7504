/* SPDX-License-Identifier: Apache-2.0 */
/* Log-linear histograms against known answers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <denet/table.h>

static struct dn_histogram histogram, other;

static int set_up(void **state)
{
	memset(&histogram, 0, sizeof(histogram));
	memset(&other, 0, sizeof(other));
	return 0;
}

static void values_have_known_buckets(void **state)
{
	static const struct {
		uint64_t value;
		unsigned index;
		uint64_t upper;
	} cases[] = {
		{0, 0, 0},
		{1, 1, 1},
		{7, 7, 7},
		{8, 8, 8},
		{15, 15, 15},
		{16, 16, 17},
		{17, 16, 17},
		{18, 17, 19},
		{31, 23, 31},
		{32, 24, 35},
		{1000, 63, 1023},
		{1023, 63, 1023},
		{1024, 64, 1151},
		{1000000, 143, 1048575},
		{UINT64_C(1) << 63, 488, (UINT64_C(9) << 60) - 1},
		{UINT64_MAX - 1, 495, UINT64_MAX},
		{UINT64_MAX, 495, UINT64_MAX},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(dn_histogram_index(cases[i].value), cases[i].index);
		assert_true(dn_histogram_upper(cases[i].index) == cases[i].upper);
	}
	assert_true(dn_histogram_upper(DN_HISTOGRAM_N) == UINT64_MAX);
}

/* No value between two buckets, none in two, and the bounds as near as promised. */
static void buckets_cover_all_values(void **state)
{
	uint64_t lower = 0;

	for (unsigned i = 0; i < DN_HISTOGRAM_N; i++) {
		uint64_t upper = dn_histogram_upper(i);

		assert_true(upper >= lower);
		assert_int_equal(dn_histogram_index(lower), i);
		assert_int_equal(dn_histogram_index(upper), i);
		assert_true((upper - lower) <= lower / 8);
		lower = upper + 1;
	}
	assert_true(lower == 0);
}

static void an_empty_one_has_no_values(void **state)
{
	assert_true(dn_histogram_percentile(&histogram, 0.5) == 0);
	dn_histogram_add(&histogram, 17, 0);
	assert_true(histogram.count == 0 && histogram.sum == 0);
	dn_histogram_merge(&histogram, &other);
	assert_true(histogram.count == 0 && histogram.min == 0 && histogram.max == 0);
}

static void counts_sums_and_ends_are_exact(void **state)
{
	dn_histogram_add(&histogram, 1009, 3);
	dn_histogram_add(&histogram, 101, 1);
	dn_histogram_add(&histogram, 100003, 7);
	assert_true(histogram.count == 11);
	assert_true(histogram.sum == 3 * 1009 + 101 + 7 * 100003);
	assert_true(histogram.min == 101 && histogram.max == 100003);
	assert_true(histogram.bucket[dn_histogram_index(1009)] == 3);
}

static void percentiles_of_small_values_are_exact(void **state)
{
	for (uint64_t v = 1; v <= 10; v++)
		dn_histogram_add(&histogram, v, 1);
	assert_true(dn_histogram_percentile(&histogram, 0) == 1);
	assert_true(dn_histogram_percentile(&histogram, 0.1) == 1);
	assert_true(dn_histogram_percentile(&histogram, 0.11) == 2);
	assert_true(dn_histogram_percentile(&histogram, 0.5) == 5);
	assert_true(dn_histogram_percentile(&histogram, 0.95) == 10);
	assert_true(dn_histogram_percentile(&histogram, 1) == 10);
	assert_true(dn_histogram_percentile(&histogram, 7) == 10);
}

static void percentiles_stay_within_the_ends(void **state)
{
	dn_histogram_add(&histogram, 1009, 97);
	dn_histogram_add(&histogram, 1000003, 3);
	assert_true(dn_histogram_percentile(&histogram, 0.5) == 1023);
	assert_true(dn_histogram_percentile(&histogram, 0.97) == 1023);
	assert_true(dn_histogram_percentile(&histogram, 0.99) == 1000003);
	memset(&histogram, 0, sizeof(histogram));
	dn_histogram_add(&histogram, 1009, 1);
	assert_true(dn_histogram_percentile(&histogram, 0.5) == 1009);
	/* Ends that were read later than the buckets. */
	histogram.min = 2003;
	histogram.max = 3001;
	assert_true(dn_histogram_percentile(&histogram, 0.5) == 2003);
	histogram.count = 5;
	assert_true(dn_histogram_percentile(&histogram, 0.99) == 3001);
}

static void the_largest_values_do_not_wrap(void **state)
{
	dn_histogram_add(&histogram, UINT64_MAX, 2);
	assert_true(histogram.sum == UINT64_MAX && histogram.max == UINT64_MAX);
	assert_true(dn_histogram_percentile(&histogram, 0.5) == UINT64_MAX);
	dn_histogram_add(&histogram, 0, UINT64_MAX);
	assert_true(histogram.count == UINT64_MAX && histogram.min == 0);
	assert_true(histogram.bucket[0] == UINT64_MAX);
	assert_true(dn_histogram_percentile(&histogram, 0.5) == 0);
	assert_true(dn_histogram_percentile(&histogram, 1) == 0);
	dn_histogram_merge(&histogram, &histogram);
	assert_true(histogram.count == UINT64_MAX && histogram.bucket[495] == 4);
}

static void merging_is_adding_all(void **state)
{
	struct dn_histogram all = {0};
	uint64_t value = 1;

	for (unsigned i = 0; i < 1009; i++) {
		value = value * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
		dn_histogram_add(i % 3 ? &histogram : &other, value >> (i % 61), 1 + i % 5);
		dn_histogram_add(&all, value >> (i % 61), 1 + i % 5);
	}
	dn_histogram_merge(&histogram, &other);
	assert_memory_equal(&histogram, &all, sizeof(all));
	memset(&other, 0, sizeof(other));
	dn_histogram_merge(&other, &all);
	assert_memory_equal(&other, &all, sizeof(all));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(values_have_known_buckets, set_up),
		cmocka_unit_test_setup(buckets_cover_all_values, set_up),
		cmocka_unit_test_setup(an_empty_one_has_no_values, set_up),
		cmocka_unit_test_setup(counts_sums_and_ends_are_exact, set_up),
		cmocka_unit_test_setup(percentiles_of_small_values_are_exact, set_up),
		cmocka_unit_test_setup(percentiles_stay_within_the_ends, set_up),
		cmocka_unit_test_setup(the_largest_values_do_not_wrap, set_up),
		cmocka_unit_test_setup(merging_is_adding_all, set_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

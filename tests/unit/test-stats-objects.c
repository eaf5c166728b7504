/* SPDX-License-Identifier: Apache-2.0 */
/* `denet stats`: metrics whose values are objects, known ones and those that only the header names.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "stats-report.h"

#define HEADER                                                                                     \
	"{\"kind\":\"header\",\"schema\":1,\"metrics\":{"                                          \
	"\"net.future\":{\"source\":\"x\",\"quality\":\"exact\",\"kind\":\"histogram\","           \
	"\"unit\":\"bytes\"},"                                                                     \
	"\"net.by_any\":{\"source\":\"x\",\"quality\":\"exact\",\"kind\":\"table\"},"              \
	"\"syscall.latency\":{\"source\":\"x\",\"quality\":\"exact\"}}}\n"
#define HISTOGRAM(count, min) "{\"count\":" count ",\"sum\":17,\"min\":" min ",\"buckets\":[[5,3]]}"

static struct dn_stats *stats;

static int drop(void **state)
{
	dn_stats_free(stats);
	stats = NULL;
	return 0;
}

static int take(const char *text)
{
	struct dn_why why = {0};
	size_t size;
	char *room;
	int r;

	drop(NULL);
	assert_int_equal(dn_stats_new(false, &stats), 0);
	assert_int_equal(dn_stats_space(stats, &room, &size), 0);
	assert_true(size >= strlen(text));
	memcpy(room, text, strlen(text));
	r = dn_stats_commit(stats, strlen(text), &why);
	return r < 0 ? r : dn_stats_end(stats, &why);
}

static const struct dn_series *find(const char *name)
{
	for (unsigned i = 0; i < stats->n_series; i++) {
		if (strcmp(stats->series[i].name, name) == 0)
			return &stats->series[i];
	}
	return NULL;
}

static void the_last_histogram_counts(void **state)
{
	const struct dn_series *series;

	assert_int_equal(
		take(HEADER "{\"kind\":\"sample\",\"seq\":1,\"t_ns\":7,\"tree\":{\"syscall\":{"
			    "\"latency\":" HISTOGRAM("3",
				    "5") "}}}\n"
					 "{\"kind\":\"summary\",\"seq\":2,\"t_ns\":11,\"tree\":{"
					 "\"syscall\":{\"latency\":" HISTOGRAM("7", "4") "}}}\n"),
		0);
	series = find("syscall.latency");
	assert_non_null(series);
	assert_int_equal(series->shape, DN_SERIES_HISTOGRAM);
	assert_int_equal(series->unit, DN_UNIT_NS);
	assert_true(series->distribution[DN_DISTRIBUTION_COUNT] == 7);
	assert_true(series->distribution[DN_DISTRIBUTION_MIN] == 4);
	assert_int_equal(series->distribution_known >> DN_DISTRIBUTION_P99 & 1, 0);
	assert_true(dn_stats_is_shown(stats, series));
	assert_null(find("syscall.latency.count"));
	assert_int_equal(stats->odd, 0);
}

static void the_header_tells_of_unknown_ones(void **state)
{
	const struct dn_series *series;

	assert_int_equal(
		take(HEADER "{\"kind\":\"summary\",\"seq\":1,\"t_ns\":7,\"tree\":{\"net\":{"
			    "\"future\":" HISTOGRAM("3",
				    "5") ",\"by_any\":{\"a\":{\"count\":3},\"b\":{\"count\":5}},"
					 "\"by_any_other\":7,\"other\":9}}}\n"),
		0);
	series = find("net.future");
	assert_non_null(series);
	assert_int_equal(series->shape, DN_SERIES_HISTOGRAM);
	assert_int_equal(series->unit, DN_UNIT_BYTES);
	assert_true(series->distribution[DN_DISTRIBUTION_COUNT] == 3);
	/* A table has no series, nor has what stands beside it; the rest is read as ever. */
	assert_null(find("net.by_any.a.count"));
	assert_null(find("net.by_any_other"));
	assert_non_null(find("net.other"));
	assert_false(dn_stats_is_shown(stats, find("net.by_any")));
}

static void odd_histograms_are_survived(void **state)
{
	const struct dn_series *series;

	assert_int_equal(
		take(HEADER "{\"kind\":\"summary\",\"seq\":1,\"t_ns\":7,\"tree\":{\"syscall\":{"
			    "\"latency\":{\"count\":-1,\"sum\":1.5,\"min\":\"x\",\"max\":null,"
			    "\"p50\":18446744073709551615,\"p95\":true}}}}\n"),
		0);
	series = find("syscall.latency");
	assert_int_equal(series->distribution_known, 1u << DN_DISTRIBUTION_P50);
	assert_true(series->distribution[DN_DISTRIBUTION_P50] == UINT64_MAX);
	assert_int_equal(stats->odd, 4);
	assert_false(dn_stats_is_shown(stats, series));
	/* A number where a histogram belongs, and the other way round. */
	assert_int_equal(take("{\"kind\":\"sample\",\"seq\":1,\"t_ns\":7,\"tree\":{\"syscall\":{"
			      "\"latency\":17,\"by_name\":17,\"count\":{\"count\":3}}}}\n"),
		0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(the_last_histogram_counts, drop),
		cmocka_unit_test_teardown(the_header_tells_of_unknown_ones, drop),
		cmocka_unit_test_teardown(odd_histograms_are_survived, drop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

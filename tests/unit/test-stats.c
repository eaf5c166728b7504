/* SPDX-License-Identifier: Apache-2.0 */
/* `denet stats`: what is made of whole streams, good and bad. */
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "stats-report.h"

#define LEN(array) (sizeof(array) / sizeof((array)[0]))

/* Streams */

static struct dn_stats *feed_begin(bool lenient)
{
	struct dn_stats *stats = NULL;

	assert_int_equal(dn_stats_new(lenient, &stats), 0);
	return stats;
}

static int feed(struct dn_stats *stats, const char *data, size_t len, struct dn_why *why)
{
	while (len > 0) {
		size_t size, n;
		char *room;
		int r;

		assert_int_equal(dn_stats_space(stats, &room, &size), 0);
		assert_true(size > 0);
		n = len < size ? len : size;
		memcpy(room, data, n);
		r = dn_stats_commit(stats, n, why);
		if (r < 0)
			return r;
		data += n;
		len -= n;
	}
	return 0;
}

/* piece 0: all at once */
static struct dn_stats *read_stream(
	const char *data, size_t len, size_t piece, bool lenient, int *ret, struct dn_why *why)
{
	struct dn_stats *stats = feed_begin(lenient);
	int r = 0;

	for (size_t n; r == 0 && len > 0; data += n, len -= n) {
		n = piece && piece < len ? piece : len;
		r = feed(stats, data, n, why);
	}
	*ret = r == 0 ? dn_stats_end(stats, why) : r;
	return stats;
}

static char *fixture(const char *name, size_t *ret_len)
{
	const char *source = getenv("DENET_SOURCE");
	char path[4096], *data = malloc(1 << 16);
	FILE *file;

	assert_non_null(data);
	snprintf(path, sizeof(path), "%s/tests/fixtures/streams/%s", source ? source : ".", name);
	file = fopen(path, "r");
	if (!file)
		fail_msg("no fixture %s", path);
	*ret_len = fread(data, 1, 1 << 16, file);
	fclose(file);
	return data;
}

static struct dn_stats *read_fixture(const char *name, bool lenient, int *ret, struct dn_why *why)
{
	size_t len;
	char *data = fixture(name, &len);
	struct dn_stats *stats = read_stream(data, len, 0, lenient, ret, why);

	free(data);
	return stats;
}

static const struct dn_series *series_of(const struct dn_stats *stats, const char *name)
{
	for (unsigned i = 0; i < stats->n_series; i++) {
		if (strcmp(stats->series[i].name, name) == 0)
			return &stats->series[i];
	}
	fail_msg("no series %s", name);
	return NULL;
}

static char *as_json(const struct dn_stats *stats)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	assert_non_null(out);
	assert_int_equal(dn_stats_print_json(stats, "f", out), 0);
	fclose(out);
	return text;
}

static char *as_text(const struct dn_stats *stats, unsigned columns)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	assert_non_null(out);
	dn_stats_print_text(stats, "f", false, columns, out);
	fclose(out);
	return text;
}

static void our_stream_is_summed_up(void **state)
{
	const struct dn_series *cpu, *rss, *psi;
	struct dn_why why = {0};
	struct dn_stats *stats;
	char *text;
	int r;

	stats = read_fixture("run.jsonl", false, &r, &why);
	assert_int_equal(r, 0);
	assert_int_equal(stats->run.format, DN_STATS_OURS);
	assert_int_equal(stats->run.samples, 3);
	assert_true(stats->run.has_header && stats->run.has_summary && !stats->torn);
	assert_int_equal(stats->run.wall_ns, 401000003);
	assert_int_equal(stats->run.exit_code.value, 3);
	assert_int_equal(stats->run.n_events, 2);
	assert_int_equal(stats->run.gaps, 0);
	assert_int_equal(stats->odd, 0);
	cpu = series_of(stats, "cpu.total_ns");
	assert_true(cpu->total.u64 == 270000000);
	assert_string_equal(dn_stats_quality(cpu), "lower_bound");
	assert_true(fabs(cpu->hist.max - 2e9) < 1);
	assert_true(fabs(dn_series_mean(cpu) - 675000000) < 1);
	/* 200 of 400 ms were at 10 %, 100 at 50 %, 100 at 200 %: time decides, not the number of
	 * samples. */
	assert_true(fabs(dn_series_quantile(cpu, 0.5) / 1e8 - 1) < 0.009);
	assert_true(fabs(dn_series_quantile(cpu, 0.75) / 5e8 - 1) < 0.009);
	/* The summary's value is the last one, though a sample had null. */
	assert_true(series_of(stats, "cpu.user_ns")->total.u64 == 110000017);
	rss = series_of(stats, "memory.rss_bytes");
	assert_true(rss->max.u64 == 3145728 && rss->min.u64 == 1048576 && rss->last.u64 == 2097152);
	psi = series_of(stats, "pressure.cpu.some_ns");
	assert_int_equal(psi->scope, DN_SCOPE_SYSTEM);
	assert_true(psi->total.u64 == 14000009);
	assert_true(dn_stats_is_missing(stats, series_of(stats, "hw.cycles")));
	text = as_json(stats);
	assert_non_null(strstr(text, "\"command\":[\"make\",\"-j8\"]"));
	assert_non_null(strstr(text,
		"\"cpu.total_ns\":{\"kind\":\"counter\",\"unit\":\"ns\",\"scope\":\"tree\","));
	assert_non_null(
		strstr(text, "\"missing\":{\"hw.cycles\":{\"reason\":\"perf_event_open: EACCES\""));
	assert_non_null(strstr(text, "\"total\":270000000,"));
	free(text);
	text = as_text(stats, 0);
	assert_non_null(strstr(text, "exit status 3"));
	assert_non_null(strstr(text, "cpu.total_ns>"));
	assert_non_null(strstr(text, "note: 17 events were lost"));
	free(text);
	dn_stats_free(stats);
}

/* However the bytes come, the result is one. */
static void pieces_do_not_matter(void **state)
{
	static const char *const name[] = {
		"run.jsonl", "torn.jsonl", "older-tree.jsonl", "future-fields.jsonl"};

	for (size_t i = 0; i < LEN(name); i++) {
		struct dn_why why = {0};
		struct dn_stats *stats;
		char *whole, *parts;
		size_t len;
		char *data = fixture(name[i], &len);
		int r;

		stats = read_stream(data, len, 0, false, &r, &why);
		assert_int_equal(r, 0);
		whole = as_json(stats);
		dn_stats_free(stats);
		for (size_t piece = 1; piece < 131; piece += 13) {
			stats = read_stream(data, len, piece, false, &r, &why);
			assert_int_equal(r, 0);
			parts = as_json(stats);
			assert_string_equal(whole, parts);
			free(parts);
			dn_stats_free(stats);
		}
		free(whole);
		free(data);
	}
}

/* A stream that was cut anywhere behind its header is a stream with at most one torn line. */
static void cut_streams_are_read(void **state)
{
	size_t len, header;
	char *data = fixture("run.jsonl", &len);

	header = (size_t)((char *)memchr(data, '\n', len) - data) + 1;
	for (size_t cut = header; cut <= len; cut++) {
		struct dn_why why = {0};
		struct dn_stats *stats;
		bool at_end = data[cut - 1] == '\n' || data[cut] == '\n';
		int r;

		stats = read_stream(data, cut, 0, false, &r, &why);
		assert_int_equal(r, 0);
		assert_int_equal(stats->torn, !at_end);
		if (stats->torn) {
			assert_true(stats->torn_offset < cut);
			assert_int_equal(data[stats->torn_offset - 1], '\n');
			assert_int_equal(stats->torn_offset + stats->torn_bytes, cut);
		}
		dn_stats_free(stats);
	}
	free(data);
}

/* Any byte may be wrong: no crash, and the reports stay printable. */
static void flipped_bytes_are_survived(void **state)
{
	static const unsigned char flip[] = {0x01, 0x20, 0x80, 0xff};
	size_t len;
	char *data = fixture("run.jsonl", &len);

	for (size_t i = 0; i < len; i += 3) {
		struct dn_why why = {0};
		struct dn_stats *stats;
		char *text;
		int r;

		data[i] = (char)(data[i] ^ flip[i / 3 % LEN(flip)]);
		stats = read_stream(data, len, 0, true, &r, &why);
		assert_true(r == 0 || r == -EPROTONOSUPPORT);
		text = as_text(stats, 80);
		for (const char *p = text; *p; p++)
			assert_true((unsigned char)*p >= 0x20 || *p == '\n');
		free(text);
		dn_stats_free(stats);
		data[i] = (char)(data[i] ^ flip[i / 3 % LEN(flip)]);
	}
	free(data);
}

static void damage_is_told(void **state)
{
	struct dn_why why = {0};
	struct dn_stats *stats;
	char *text;
	int r;

	stats = read_fixture("damaged.jsonl", false, &r, &why);
	assert_int_equal(r, -EBADMSG);
	assert_non_null(strstr(why.text, "line 3, which begins at byte 1359"));
	dn_stats_free(stats);
	stats = read_fixture("damaged.jsonl", true, &r, &why);
	assert_int_equal(r, 0);
	assert_int_equal(stats->bad, 1);
	assert_int_equal(stats->bad_line, 3);
	assert_int_equal(stats->run.samples, 2);
	/* The lost sample leaves a hole in seq. */
	assert_int_equal(stats->run.gaps, 1);
	assert_int_equal(stats->run.gap_missing, 1);
	assert_int_equal(stats->run.gap_line, 4);
	text = as_text(stats, 0);
	assert_non_null(
		strstr(text, "1 damaged lines were skipped, the first is line 3 at byte 1359"));
	free(text);
	dn_stats_free(stats);
	stats = read_fixture("newer-schema.jsonl", true, &r, &why);
	assert_int_equal(r, -EPROTONOSUPPORT);
	assert_non_null(strstr(why.text, "schema 2"));
	dn_stats_free(stats);
}

static struct dn_stats *read_string(const char *text, bool lenient, int *ret)
{
	struct dn_why why = {0};

	return read_stream(text, strlen(text), 0, lenient, ret, &why);
}

static void odd_inputs_have_answers(void **state)
{
	static const struct {
		const char *text;
		int r;
		uint64_t samples;
	} row[] = {{"", -ENODATA, 0}, {"\n\n  \r\n", -ENODATA, 0}, {"{}\n", -ENODATA, 0},
		{"[]\n", -EBADMSG, 0}, {"7\n", -EBADMSG, 0}, {"a,b\n", -EBADMSG, 0},
		{"{\"unknown\":42}\n", -ENODATA, 0}, {"{\"kind\":7}\n", -ENODATA, 0},
		{"{\"kind\":\"header\"}\n", -EBADMSG, 0},
		{"{\"kind\":\"header\",\"schema\":\"1\"}\n", -EBADMSG, 0},
		{"{\"kind\":\"header\",\"schema\":1}\n", 0, 0},
		{"{\"kind\":\"sample\"}\n", -EBADMSG, 0},
		{"{\"kind\":\"sample\",\"t_ns\":-1}\n", -EBADMSG, 0},
		{"{\"kind\":\"sample\",\"t_ns\":1}", 0, 1},
		{"\xef\xbb\xbf{\"kind\":\"sample\",\"t_ns\":1}\r\n", 0, 1},
		{"{\"kind\":\"sample\",\"t_ns\":1,\"tree\":7,\"system\":[]}\n", 0, 1},
		{"{\"kind\":\"sum", -ENODATA, 0},
		{"{\"kind\":\"tree\",\"ts_ms\":1,\"aggregated\":null}\n", 0, 1},
		{"{\"kind\":\"tree\"}\n", -EBADMSG, 0}};

	for (size_t i = 0; i < LEN(row); i++) {
		struct dn_stats *stats;
		int r;

		stats = read_string(row[i].text, false, &r);
		if (r != row[i].r)
			fail_msg("%s gave %d", row[i].text, r);
		assert_int_equal(stats->run.samples, row[i].samples);
		dn_stats_free(stats);
	}
}

static void bad_values_are_left_out(void **state)
{
	struct dn_stats *stats;
	int r;

	stats = read_string("{\"kind\":\"sample\",\"seq\":1,\"t_ns\":1000,\"tree\":{\"cpu\":{"
			    "\"total_ns\":\"7\",\"user_ns\":-3,"
			    "\"system_ns\":1e999,\"usage_percent\":true},\"memory\":{\"rss_bytes\":"
			    "null,\"swap_bytes\":[1]}}}\n",
		false, &r);
	assert_int_equal(r, 0);
	assert_int_equal(stats->odd, 4);
	for (unsigned i = 0; i < stats->n_series; i++)
		assert_int_equal(stats->series[i].n, 0);
	dn_stats_free(stats);
	/* Counters that fall and time that goes back: told, and nothing wraps. */
	stats = read_string("{\"kind\":\"sample\",\"seq\":1,\"t_ns\":2000,\"tree\":{\"cpu\":{"
			    "\"total_ns\":1009}}}\n"
			    "{\"kind\":\"sample\",\"seq\":2,\"t_ns\":3000,\"tree\":{\"cpu\":{"
			    "\"total_ns\":13}}}\n"
			    "{\"kind\":\"sample\",\"seq\":2,\"t_ns\":1000,\"tree\":{\"cpu\":{"
			    "\"total_ns\":2003}}}\n",
		false, &r);
	assert_int_equal(r, 0);
	assert_int_equal(series_of(stats, "cpu.total_ns")->fell, 1);
	assert_true(series_of(stats, "cpu.total_ns")->total.u64 == 2003);
	assert_int_equal(stats->run.disorder, 1);
	assert_int_equal(stats->run.wall_ns, 3000);
	dn_stats_free(stats);
}

static void unknown_things_are_ignored(void **state)
{
	struct dn_why why = {0};
	struct dn_stats *stats;
	int r;

	stats = read_fixture("future-fields.jsonl", false, &r, &why);
	assert_int_equal(r, 0);
	assert_int_equal(stats->unknown, 1);
	assert_true(series_of(stats, "cpu.total_ns")->total.u64 == UINT64_MAX);
	assert_string_equal(dn_stats_quality(series_of(stats, "cpu.total_ns")), "unknown");
	/* The stream itself says what a metric is that we don't know. */
	assert_int_equal(series_of(stats, "disk.spin_count")->shape, DN_SERIES_COUNTER);
	assert_true(series_of(stats, "disk.spin_count")->total.u64 == 211);
	assert_int_equal(series_of(stats, "cpu.charm.up")->shape, DN_SERIES_GAUGE);
	assert_true(series_of(stats, "cpu.charm.up")->last.u64 == 11);
	dn_stats_free(stats);
}

static void last_run_counts(void **state)
{
	size_t len;
	char *data = fixture("run.jsonl", &len), *twice = malloc(2 * len);
	struct dn_why why = {0};
	struct dn_stats *stats;
	int r;

	assert_non_null(twice);
	memcpy(twice, data, len);
	memcpy(twice + len, data, len);
	stats = read_stream(twice, 2 * len, 0, false, &r, &why);
	assert_int_equal(r, 0);
	assert_int_equal(stats->runs, 2);
	assert_int_equal(stats->run.samples, 3);
	assert_true(series_of(stats, "cpu.total_ns")->total.u64 == 270000000);
	assert_int_equal(series_of(stats, "cpu.total_ns")->fell, 0);
	dn_stats_free(stats);
	free(twice);
	free(data);
}

static void older_tree_is_understood(void **state)
{
	const struct dn_series *read_bytes;
	struct dn_why why = {0};
	struct dn_stats *stats;
	char *text;
	int r;

	stats = read_fixture("older-tree.jsonl", false, &r, &why);
	assert_int_equal(r, 0);
	assert_int_equal(stats->run.format, DN_STATS_OLDER);
	assert_int_equal(stats->runs, 1);
	assert_int_equal(stats->run.samples, 3);
	assert_int_equal(stats->run.wall_ns, 2010000000);
	assert_string_equal(stats->run.hostname, "lab");
	assert_true(series_of(stats, "memory.rss_bytes")->max.u64 == 4096 * 1024);
	read_bytes = series_of(stats, "io.read_bytes");
	/* It falls when a child ends: the largest sum is what is known. */
	assert_true(read_bytes->total.u64 == 30011);
	assert_int_equal(read_bytes->fell, 0);
	assert_true(read_bytes->hist.min > 20003); /* nor is there a rate of falling */
	assert_string_equal(dn_stats_quality(read_bytes), "lower_bound");
	/* perf's values are additions. */
	assert_true(series_of(stats, "hw.cycles")->total.u64 == 4000020);
	assert_true(dn_stats_is_missing(stats, series_of(stats, "hw.cache_misses")));
	assert_true(series_of(stats, "system.network.rx_bytes")->total.u64 == 20054);
	for (unsigned i = 0; i < stats->n_series; i++)
		assert_string_not_equal(stats->series[i].name, "network.rx_bytes");
	text = as_text(stats, 0);
	assert_non_null(strstr(text, "the whole host's traffic"));
	assert_non_null(strstr(text, "sort -n a b.txt"));
	assert_null(strstr(text, "hw.cache_misses "));
	free(text);
	dn_stats_free(stats);
}

static void older_untagged_is_understood(void **state)
{
	struct dn_why why = {0};
	struct dn_stats *stats;
	int r;

	stats = read_fixture("older-untagged.jsonl", false, &r, &why);
	assert_int_equal(r, 0);
	assert_int_equal(stats->run.format, DN_STATS_OLDER);
	assert_int_equal(stats->run.samples, 3);
	assert_int_equal(stats->run.wall_ns, 2000000000);
	assert_true(series_of(stats, "system.network.rx_bytes")->total.u64 == 600);
	assert_true(series_of(stats, "io.read_bytes")->total.u64 == 307);
	assert_true(series_of(stats, "memory.rss_bytes")->max.u64 == 1536 * 1024);
	dn_stats_free(stats);
	stats = read_string("{\"total_time_secs\":10.5,\"sample_count\":42,\"max_threads\":7,"
			    "\"peak_mem_rss_kb\":13}\n",
		false, &r);
	assert_int_equal(r, 0);
	assert_int_equal(stats->run.wall_ns, 10500000000);
	assert_true(series_of(stats, "memory.rss_bytes")->max.u64 == 13 * 1024);
	dn_stats_free(stats);
}

/* Limits */

static void long_lines_are_refused(void **state)
{
	static const char good[] = "{\"kind\":\"sample\",\"seq\":1,\"t_ns\":1009,\"tree\":{\"cpu\":"
				   "{\"total_ns\":7}}}\n";
	size_t size = (size_t)1 << 20;
	char *spaces = malloc(size);
	struct dn_why why = {0};
	struct dn_stats *stats;

	assert_non_null(spaces);
	memset(spaces, ' ', size);
	for (int lenient = 0; lenient < 2; lenient++) {
		int r = 0;

		stats = feed_begin(lenient);
		assert_int_equal(feed(stats, good, strlen(good), &why), 0);
		for (unsigned i = 0; r == 0 && i < 40; i++)
			r = feed(stats, spaces, size, &why);
		assert_int_equal(r, lenient ? 0 : -EBADMSG);
		/* Memory stays near the limit of one line. */
		assert_true(stats->input.size <= DN_LINE_MAX + (1 << 20));
		if (lenient) {
			assert_int_equal(feed(stats, "}\n", 2, &why), 0);
			assert_int_equal(feed(stats, good, strlen(good), &why), 0);
			assert_int_equal(dn_stats_end(stats, &why), 0);
			assert_int_equal(stats->bad, 1);
			assert_int_equal(stats->bad_line, 2);
			assert_int_equal(stats->lines, 3);
			assert_int_equal(stats->run.samples, 2);
		}
		dn_stats_free(stats);
	}
	free(spaces);
	/* Just below the limit is a record like others. */
	stats = feed_begin(false);
	spaces = malloc(DN_LINE_MAX + 1);
	assert_non_null(spaces);
	memset(spaces, ' ', DN_LINE_MAX);
	memcpy(spaces, good, strlen(good) - 1);
	spaces[DN_LINE_MAX] = '\n';
	assert_int_equal(feed(stats, spaces, DN_LINE_MAX + 1, &why), 0);
	assert_int_equal(dn_stats_end(stats, &why), 0);
	assert_int_equal(stats->run.samples, 1);
	dn_stats_free(stats);
	free(spaces);
}

/* A flood of keys and metrics: bounded, told, and what is known is still read. */
static void floods_are_bounded(void **state)
{
	struct dn_why why = {0};
	struct dn_stats *stats = feed_begin(false);
	char line[512], *text;

	for (unsigned i = 0; i < 6000; i++) {
		snprintf(line, sizeof(line), "{\"x%u\":{\"y\":1},\"kind\":\"flood\"}\n", i);
		assert_int_equal(feed(stats, line, strlen(line), &why), 0);
	}
	for (unsigned i = 1; i <= 1000; i++) {
		snprintf(line, sizeof(line),
			"{\"kind\":\"sample\",\"seq\":%u,\"t_ns\":%u,\"tree\":{\"cpu\":{\"total_"
			"ns\":%u},\"m%u\":{\"n\":%u}}}\n",
			i, i * 1000, i * 17, i, i);
		assert_int_equal(feed(stats, line, strlen(line), &why), 0);
	}
	assert_int_equal(dn_stats_end(stats, &why), 0);
	assert_int_equal(stats->run.samples, 1000);
	assert_true(series_of(stats, "cpu.total_ns")->total.u64 == 17000);
	assert_int_equal(stats->n_series <= DN_STATS_SERIES_MAX, 1);
	assert_true(stats->too_many);
	text = as_text(stats, 0);
	assert_non_null(strstr(text, "more metrics than"));
	free(text);
	for (unsigned i = 0; i < 100; i++) {
		snprintf(line, sizeof(line), "{\"kind\":\"event\",\"t_ns\":1,\"event\":\"e%u\"}\n",
			i);
		assert_int_equal(feed(stats, line, strlen(line), &why), 0);
	}
	assert_int_equal(stats->run.n_events, DN_STATS_EVENTS_MAX);
	assert_int_equal(stats->run.events_other, 100 - DN_STATS_EVENTS_MAX);
	dn_stats_free(stats);
}

static void text_is_safe_and_fits(void **state)
{
	struct dn_stats *stats;
	char *text;
	int r;

	stats = read_string("{\"kind\":\"header\",\"schema\":1,\"denet\":\"\\u001b[2J\","
			    "\"command\":[\"a\\u001b]0;x\\u0007\",\"b\\nc\"],"
			    "\"host\":{\"hostname\":\"\\u202ee\"},\"metrics\":{\"hw.cycles\":{"
			    "\"quality\":\"missing\",\"reason\":\"\\u009b1m\"}}}\n"
			    "{\"kind\":\"sample\",\"seq\":1,\"t_ns\":1000000007,\"tree\":{\"cpu\":{"
			    "\"total_ns\":500000003},\"\\u001b[31m\":7}}\n",
		false, &r);
	assert_int_equal(r, 0);
	for (unsigned columns = 40; columns <= 120; columns += 40) {
		unsigned width = 0;

		text = as_text(stats, columns);
		assert_null(strchr(text, '\033'));
		assert_null(strstr(text, "\xe2\x80\xae"));
		assert_null(strstr(text, "\xc2\x9b"));
		/* The table fits; sentences may be longer. */
		for (const char *p = strstr(text, "counter"); *p && *p != '\n'; p++)
			width++;
		assert_true(width <= columns);
		free(text);
	}
	dn_stats_free(stats);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(our_stream_is_summed_up),
		cmocka_unit_test(pieces_do_not_matter),
		cmocka_unit_test(cut_streams_are_read),
		cmocka_unit_test(flipped_bytes_are_survived),
		cmocka_unit_test(damage_is_told),
		cmocka_unit_test(odd_inputs_have_answers),
		cmocka_unit_test(bad_values_are_left_out),
		cmocka_unit_test(unknown_things_are_ignored),
		cmocka_unit_test(last_run_counts),
		cmocka_unit_test(older_tree_is_understood),
		cmocka_unit_test(older_untagged_is_understood),
		cmocka_unit_test(long_lines_are_refused),
		cmocka_unit_test(floods_are_bounded),
		cmocka_unit_test(text_is_safe_and_fits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The scanner of recorded streams against JSON's grammar, and the histogram's error. */
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

#include "stats-decode.h"
#include "stats-scan.h"
#include "stats-series.h"

#define LEN(array) (sizeof(array) / sizeof((array)[0]))

/* The scanner */

/* Keeps scalars and arrays, enters objects; the tag is the key's first byte below its parent's. */
static unsigned keep_all(
	void *user, uint32_t parent, const char *key, size_t len, uint32_t *ret_tag)
{
	*ret_tag = parent << 8 | (len ? (unsigned char)key[0] : 0);
	return DN_SCAN_KEEP | DN_SCAN_ENTER | DN_SCAN_KEEP_ARRAY;
}

static unsigned keep_none(
	void *user, uint32_t parent, const char *key, size_t len, uint32_t *ret_tag)
{
	return 0;
}

static int scan_text(struct dn_scan *scan, const char *text, size_t len)
{
	static char buffer[1 << 16];
	const char *reason = NULL;
	size_t at = 0;
	bool object;
	int r;

	assert_true(len + 1 + DN_SCAN_PAD <= sizeof(buffer));
	memset(buffer, '"', sizeof(buffer)); /* what stands behind a line must not matter */
	memcpy(buffer, text, len);
	buffer[len] = '\n';
	r = dn_scan_line(scan, buffer, len, &object, &reason, &at);
	if (r < 0) {
		assert_int_equal(r, -EBADMSG);
		assert_non_null(reason);
		assert_true(at <= len);
	}
	return r;
}

/* One text through both ways of the scanner: as it is, and as the value of a key that is kept,
 * twice. */
static bool accepts(const char *text, size_t len)
{
	struct dn_scan *keep = NULL, *skip = NULL;
	char wrapped[4096];
	int bare, kept, again, skipped, n;

	assert_int_equal(dn_scan_new(keep_all, NULL, &keep), 0);
	assert_int_equal(dn_scan_new(keep_none, NULL, &skip), 0);
	bare = scan_text(keep, text, len);
	n = snprintf(wrapped, sizeof(wrapped), "{\"a\":");
	assert_true(len + (size_t)n + 2 < sizeof(wrapped));
	memcpy(wrapped + n, text, len);
	memcpy(wrapped + n + len, "}", 1);
	kept = scan_text(keep, wrapped, (size_t)n + len + 1);
	again = scan_text(keep, wrapped, (size_t)n + len + 1);
	skipped = scan_text(skip, wrapped, (size_t)n + len + 1);
	dn_scan_free(keep);
	dn_scan_free(skip);
	assert_int_equal(kept, again);
	assert_int_equal(kept, skipped);
	/* Empty text is no value either way; all else must agree. */
	assert_int_equal(bare, kept);
	return bare == 0;
}

static void scan_accepts_valid(void **state)
{
	static const char *const valid[] = {"0", "-0", "7", "-7", "123", "18446744073709551615",
		"18446744073709551616", "1e7", "1E+7", "1e-7", "0e1", "0E+1", "1.5", "-1.5e3",
		"0.1e-9", "1e999", "-1e9999", "123456789012345678901234567890",
		"0.000000000000000000000000000001", "true", "false", "null", "\"\"", "\"a\"",
		"\"a b\"", "\" \"", "\"\x7f\"", "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\u0000\"",
		"\"\\u0061\\u30af\\u30EA\"", "\"\\ud83d\\ude00\"", "\"\\uD800\"",
		"\"\\udc00\\ud800\"", "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"",
		"\"\xef\xbf\xbf\"", "\"\xf4\x8f\xbf\xbf\"", "\"\xe2\x80\xa8\"", "[]", "[ ]", "[1]",
		"[1,2]", "[ 1 , 2 ]", "[\"a\"]", "[[],[]]", "[[[[[]]]]]", "[null,1,\"1\",{}]", "{}",
		"{ }", "{\"b\":1}", "{ \"b\" : 1 , \"c\" : [ ] }", "{\"b\":1,\"b\":2}", "{\"\":0}",
		"{\"b\":{\"c\":{}}}", "{\"\\u0062\":1}", "{\"b\\u0000c\":1}", "\t[1]\r", " 1 ",
		"{\"b\":[{\"c\":[{}]}]}", "[-0.0]", "[1e00]"};

	for (size_t i = 0; i < LEN(valid); i++) {
		if (!accepts(valid[i], strlen(valid[i])))
			fail_msg("refused: %s", valid[i]);
	}
}

static void scan_refuses_invalid(void **state)
{
	static const char *const invalid[] = {"-", "+1", "01", "-01", "00", "1.", ".5", "-.5", "1e",
		"1e+", "1.e1", "0x1", "1_000", "1a", "0.1.2", "1eE2", "--1", "NaN", "-NaN",
		"Infinity", "-Infinity", "inf", "tru", "truee", "True", "nul", "falsy", "\"", "\"a",
		"\"\\\"", "\"\\x\"", "\"\\u12\"", "\"\\u12G4\"", "\"\\u\"", "\"\\\n\"", "\"\t\"",
		"\"\x01\"", "\"\x1f\"", "\"\x80\"", "\"\xc0\xaf\"", "\"\xc1\x81\"", "\"\xc3\"",
		"\"\xc3(\"", "\"\xe0\x80\xaf\"", "\"\xed\xa0\x80\"", "\"\xf0\x80\x80\x80\"",
		"\"\xf4\x90\x80\x80\"", "\"\xf8\x88\x80\x80\x80\"", "\"\xff\"", "\"\xe2\x82\"",
		"'a'", "[", "]", "[1", "[1,", "[1,]", "[,1]", "[1 2]", "[1;2]", "[1}", "[\"a\"",
		"[\"a\":1]", "{", "}", "{]", "{,}", "{\"a\"}", "{\"a\":}", "{\"a\" 1}",
		"{\"a\":1,}", "{\"a\":1 \"b\":2}", "{\"a\":1]", "{a:1}", "{1:1}",
		"{\"a\":1,,\"b\":2}", "{\"a\"::1}", "{\"a\":1}}", "[]]", "1 2", "1,2", "[1]x",
		"{\"a\":1}#", "/**/1", "[1//]", "\xef\xbb\xbf{}", "\xc3\xa9", "[\"a\",\n1", "a",
		"*", "{\"a\":tru}", "{\"a\":\"b}", "[\x0c]", "<null>"};

	for (size_t i = 0; i < LEN(invalid); i++) {
		if (accepts(invalid[i], strlen(invalid[i])))
			fail_msg("accepted: %s", invalid[i]);
	}
	assert_false(accepts("", 0));
	assert_false(accepts("1\0", 2));
	assert_false(accepts("\0", 1));
	assert_false(accepts("\"a\0b\"", 5));
	assert_false(accepts("[1,\0]", 5));
}

static void scan_limits_depth(void **state)
{
	char text[200];

	for (unsigned depth = 60; depth <= 66; depth++) {
		struct dn_scan *scan = NULL;
		unsigned n = 0;

		assert_int_equal(dn_scan_new(keep_all, NULL, &scan), 0);
		memset(text, '[', depth);
		memset(text + depth, ']', depth);
		assert_int_equal(scan_text(scan, text, 2 * depth),
			depth <= DN_SCAN_DEPTH_MAX ? 0 : -EBADMSG);
		dn_scan_free(scan);
		/* The same by objects that are entered. */
		assert_int_equal(dn_scan_new(keep_all, NULL, &scan), 0);
		char *objects = malloc(8 * depth);

		assert_non_null(objects);
		for (unsigned i = 0; i + 1 < depth; i++, n += 5)
			memcpy(objects + n, "{\"a\":", 5);
		memcpy(objects + n, "{}", 2);
		n += 2;
		memset(objects + n, '}', depth - 1);
		n += depth - 1;
		assert_int_equal(
			scan_text(scan, objects, n), depth <= DN_SCAN_DEPTH_MAX ? 0 : -EBADMSG);
		free(objects);
		dn_scan_free(scan);
	}
}

static struct dn_scan_value one_value(const char *text)
{
	struct dn_scan *scan = NULL;
	struct dn_scan_value value;
	char line[256];

	assert_int_equal(dn_scan_new(keep_all, NULL, &scan), 0);
	snprintf(line, sizeof(line), "{\"a\":%s}", text);
	assert_int_equal(scan_text(scan, line, strlen(line)), 0);
	assert_int_equal(dn_scan_count(scan), 1);
	value = *dn_scan_value(scan, 0);
	dn_scan_free(scan);
	return value;
}

static void numbers_are_exact(void **state)
{
	static const struct {
		const char *text;
		uint64_t value;
	} integer[] = {{"0", 0}, {"-0", 0}, {"9", 9}, {"10", 10}, {"1234567", 1234567},
		{"12345678", 12345678}, {"123456789", 123456789},
		{"1234567890123456", 1234567890123456},
		{"9007199254740993", UINT64_C(9007199254740993)},
		{"9223372036854775808", UINT64_C(9223372036854775808)},
		{"9999999999999999999", UINT64_C(9999999999999999999)},
		{"18446744073709551615", UINT64_MAX}};
	static const char *const real[] = {"0.1", "0.30000000000000004", "20.299999237060547",
		"1e22", "1e23", "98.5", "1.7976931348623157e308", "2.2250738585072014e-308",
		"18446744073709551616", "3.141592653589793", "1e-7", "123456789.123456789",
		"0.1000000000000000055511151231257827", "123456789012345678901234567890", "5e-324"};

	for (size_t i = 0; i < LEN(integer); i++) {
		struct dn_scan_value value = one_value(integer[i].text);

		assert_int_equal(value.type, DN_SCAN_U64);
		assert_true(value.u64 == integer[i].value);
	}
	for (size_t i = 0; i < LEN(real); i++) {
		struct dn_scan_value value = one_value(real[i]);
		double want = strtod(real[i], NULL);

		assert_int_equal(value.type, DN_SCAN_F64);
		/* One unit in the last place where long double is no wider than double. */
		if (sizeof(long double) > sizeof(double) && want >= 2.3e-308)
			assert_true(value.f64 == want);
		else
			assert_true(fabs(value.f64 - want) <= want * 1e-15 + 5e-324);
	}
	assert_int_equal(one_value("-5").type, DN_SCAN_NEGATIVE);
	assert_true(one_value("-5").f64 == -5);
	assert_int_equal(one_value("1e400").type, DN_SCAN_HUGE);
	assert_int_equal(one_value("1e99999999999999999999").type, DN_SCAN_HUGE);
	assert_int_equal(one_value("1e-99999999999999999999").type, DN_SCAN_F64);
	assert_true(one_value("0e99999999999").f64 == 0);
}

/* Every run of digits is parsed as one at a time would. */
static void short_numbers_match(void **state)
{
	uint64_t seed = 1000003;

	for (unsigned i = 0; i < 20000; i++) {
		char text[64];
		const char *p = text;
		uint64_t got = 0, want;

		seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
		want = seed >> (i % 60 + 2) | 1;
		memset(text, '7', sizeof(text));
		snprintf(text, sizeof(text), "%llu,", (unsigned long long)want);
		assert_true(dn_number_short(&p, &got));
		assert_true(got == want);
		assert_int_equal(*p, ',');
	}
}

static void strings_are_decoded(void **state)
{
	static const struct {
		const char *raw, *text;
	} row[] = {{"\"\"", ""}, {"\"abc\"", "abc"}, {"\"a\\n\\t\\\"\\\\\\/\"", "a\n\t\"\\/"},
		{"\"\\u00e9\"", "\xc3\xa9"}, {"\"\\u20AC\"", "\xe2\x82\xac"},
		{"\"\\ud83d\\ude00!\"", "\xf0\x9f\x98\x80!"}, {"\"\\ud83d\"", "\xef\xbf\xbd"},
		{"\"\\ud83dx\"", "\xef\xbf\xbdx"}, {"\"\\u0000\"", "\xef\xbf\xbd"},
		{"\"\xf0\x9f\x98\x80\"", "\xf0\x9f\x98\x80"}};
	char out[64];

	for (size_t i = 0; i < LEN(row); i++) {
		assert_int_equal(dn_scan_decode(row[i].raw, strlen(row[i].raw), out, sizeof(out)),
			strlen(row[i].text));
		assert_string_equal(out, row[i].text);
	}
	/* Cut between characters, never inside one. */
	assert_int_equal(dn_scan_decode("\"ab\xe2\x82\xac\"", 7, out, 5), 2);
	assert_string_equal(out, "ab");
}

/* Records of changing shape: what is predicted wrong is still read right. */
static void keys_are_told_apart(void **state)
{
	static const char *const line[] = {"{\"a\":1,\"b\":{\"c\":2,\"d\":3}}",
		"{\"b\":{\"d\":5,\"c\":7},\"a\":11}", "{\"ab\":13}", "{\"a\" : 17}",
		"{\"\\u0061\":19}", "{\"a\":23,\"a\":29}", "{}", "{\"b\":[31]}"};
	static const uint64_t want_a[] = {1, 11, 0, 17, 19, 29, 0, 0},
			      want_c[] = {2, 7, 0, 0, 0, 0, 0, 0};
	struct dn_scan *scan = NULL;

	assert_int_equal(dn_scan_new(keep_all, NULL, &scan), 0);
	for (unsigned round = 0; round < 3; round++) {
		for (size_t i = 0; i < LEN(line); i++) {
			uint64_t a = 0, c = 0;

			assert_int_equal(scan_text(scan, line[i], strlen(line[i])), 0);
			for (size_t k = 0; k < dn_scan_count(scan); k++) {
				const struct dn_scan_value *value = dn_scan_value(scan, k);

				if (value->tag == 'a' && value->type == DN_SCAN_U64 && i != 2)
					a = value->u64;
				if (value->tag == ('b' << 8 | 'c'))
					c = value->u64;
			}
			assert_int_equal(a, want_a[i]);
			assert_int_equal(c, want_c[i]);
		}
	}
	dn_scan_free(scan);
}

/* The histogram */

static void quantiles_are_near(void **state)
{
	for (unsigned k = 0; k < 40; k++) {
		struct dn_hist hist = {0};
		double scale = ldexp(1.37, (int)k * 2 - 18);

		for (unsigned i = 1; i <= 1009; i++)
			dn_hist_add(&hist, scale * i, 1);
		for (unsigned percent = 1; percent <= 100; percent += 3) {
			double want = scale * ceil(1009 * percent / 100.0);

			assert_true(fabs(dn_hist_quantile(&hist, percent / 100.0, false) / want -
					    1) < 0.009);
		}
		assert_true(fabs(dn_hist_mean(&hist) / (scale * 505) - 1) < 1e-9);
		dn_hist_finish(&hist);
	}
}

static void quantiles_weigh_and_clamp(void **state)
{
	struct dn_hist hist = {0};

	assert_true(dn_hist_quantile(&hist, 0.5, false) == 0);
	dn_hist_add(&hist, 101, 7);
	assert_true(dn_hist_quantile(&hist, 0.01, false) == 101);
	assert_true(dn_hist_quantile(&hist, 1, false) == 101);
	dn_hist_add(&hist, 0, 9993);
	assert_true(dn_hist_quantile(&hist, 0.99, false) == 0);
	assert_true(dn_hist_quantile(&hist, 0.9995, false) > 100);
	/* Beyond both ends of the table. */
	dn_hist_add(&hist, 1e-300, 1);
	dn_hist_add(&hist, 1e300, UINT64_MAX);
	assert_true(dn_hist_quantile(&hist, 0.5, false) <= 1e300);
	dn_hist_finish(&hist);
	for (unsigned i = 1; i <= 61; i++)
		dn_hist_add(&hist, i, 1);
	assert_true(dn_hist_quantile(&hist, 0.5, true) == 31);
	dn_hist_finish(&hist);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(scan_accepts_valid),
		cmocka_unit_test(scan_refuses_invalid),
		cmocka_unit_test(scan_limits_depth),
		cmocka_unit_test(numbers_are_exact),
		cmocka_unit_test(short_numbers_match),
		cmocka_unit_test(strings_are_decoded),
		cmocka_unit_test(keys_are_told_apart),
		cmocka_unit_test(quantiles_are_near),
		cmocka_unit_test(quantiles_weigh_and_clamp),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

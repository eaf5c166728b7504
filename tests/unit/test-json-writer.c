/* SPDX-License-Identifier: Apache-2.0 */
/* The JSON writer: nesting, numbers, and strings from bytes of any kind. */
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

#include "json-writer.h"

#define FFFD "\xef\xbf\xbd"

static void assert_text(const struct dn_json *json, const char *expected)
{
	char *text = strndup(json->data ? json->data : "", json->len);

	assert_int_equal(dn_json_error(json), 0);
	assert_string_equal(text, expected);
	free(text);
}

static void test_nesting(void **state)
{
	struct dn_json json;

	dn_json_init(&json);
	dn_json_object(&json);
	dn_json_put_u64(&json, "a", 17);
	dn_json_key(&json, "b");
	dn_json_array(&json);
	dn_json_array(&json);
	dn_json_array_end(&json);
	dn_json_object(&json);
	dn_json_object_end(&json);
	dn_json_null(&json);
	dn_json_array_end(&json);
	dn_json_put_bool(&json, "c", true);
	dn_json_put_bool(&json, "d", false);
	dn_json_put_string(&json, "e", NULL);
	dn_json_put_f64(&json, "f", 0.5);
	dn_json_object_end(&json);
	dn_json_newline(&json);
	dn_json_object(&json);
	dn_json_object_end(&json);
	dn_json_newline(&json);
	assert_text(&json,
		"{\"a\":17,\"b\":[[],{},null],\"c\":true,\"d\":false,\"e\":null,\"f\":0.5}\n{}\n");

	dn_json_reset(&json);
	dn_json_u64(&json, 1);
	assert_text(&json, "1");
	dn_json_finish(&json);
	assert_null(json.data);
}

static void test_bad_nesting(void **state)
{
	struct dn_json json;

	dn_json_init(&json);
	dn_json_object(&json);
	assert_int_equal(dn_json_error(&json), -EINVAL);
	dn_json_object_end(&json);
	assert_int_equal(dn_json_error(&json), 0);
	dn_json_object_end(&json);
	assert_int_equal(dn_json_error(&json), -EINVAL);

	dn_json_reset(&json);
	dn_json_object(&json);
	dn_json_key(&json, "a");
	dn_json_object_end(&json);
	assert_int_equal(dn_json_error(&json), -EINVAL);

	dn_json_reset(&json);
	dn_json_object(&json);
	dn_json_newline(&json);
	assert_int_equal(dn_json_error(&json), -EINVAL);

	dn_json_reset(&json);
	for (unsigned i = 0; i < DN_JSON_DEPTH_MAX - 1; i++)
		dn_json_array(&json);
	for (unsigned i = 0; i < DN_JSON_DEPTH_MAX - 1; i++)
		dn_json_array_end(&json);
	assert_int_equal(dn_json_error(&json), 0);
	dn_json_reset(&json);
	for (unsigned i = 0; i < 3 * DN_JSON_DEPTH_MAX; i++)
		dn_json_array(&json);
	assert_int_equal(dn_json_error(&json), -EINVAL);
	for (unsigned i = 0; i < 3 * DN_JSON_DEPTH_MAX; i++)
		dn_json_array_end(&json);
	assert_int_equal(dn_json_error(&json), -EINVAL);
	dn_json_finish(&json);
}

static void test_integers(void **state)
{
	char expected[32], text[DN_FORMAT_U64_MAX + 1];
	uint64_t value = 0;
	struct dn_json json;

	/* Every length, around each power of ten. */
	for (unsigned digits = 0; digits < 20; digits++) {
		for (int around = -1; around <= 1; around++) {
			uint64_t v = value + (uint64_t)around;
			size_t len = dn_format_u64(v, text);

			text[len] = '\0';
			snprintf(expected, sizeof(expected), "%llu", (unsigned long long)v);
			assert_string_equal(text, expected);
		}
		value = value ? value * 10 : 1;
	}
	dn_json_init(&json);
	dn_json_array(&json);
	dn_json_u64(&json, UINT64_MAX);
	dn_json_i64(&json, INT64_MIN);
	dn_json_i64(&json, INT64_MAX);
	dn_json_i64(&json, -7);
	dn_json_i64(&json, 0);
	dn_json_array_end(&json);
	assert_text(&json, "[18446744073709551615,-9223372036854775808,9223372036854775807,-7,0]");
	dn_json_finish(&json);
}

static void test_fractions(void **state)
{
	static const struct {
		double value;
		const char *text;
	} cases[] = {
		{0, "0"},
		{-0.0, "0"},
		{1, "1"},
		{98.0, "98"},
		{0.1, "0.1"},
		{173.251, "173.251"},
		{0.000001, "0.000001"},
		{0.0000004, "0"},
		{-0.0000004, "0"},
		{0.9999996, "1"},
		{1.9999994, "1.999999"},
		{-2.5, "-2.5"},
		{3.14159265358979, "3.141593"},
		{1e15 + 0.5, "1000000000000000.5"},
		{9007199254740993.0, "9007199254740992"},
		{18446744073709549568.0, "18446744073709549568"},
		{1e20, "100000000000000000000"},
		{-1e20, "-100000000000000000000"},
	};
	char text[DN_FORMAT_F64_MAX + 1];
	struct dn_json json;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		text[dn_format_f64(cases[i].value, text)] = '\0';
		assert_string_equal(text, cases[i].text);
	}
	assert_true(dn_format_f64(-1.7976931348623157e308, text) == 310);
	assert_int_equal(dn_format_f64(NAN, text), 0);
	dn_json_init(&json);
	dn_json_array(&json);
	dn_json_f64(&json, NAN);
	dn_json_f64(&json, INFINITY);
	dn_json_f64(&json, -INFINITY);
	dn_json_f64(&json, 0.25);
	dn_json_array_end(&json);
	assert_text(&json, "[null,null,null,0.25]");
	dn_json_finish(&json);
}

static void test_strings(void **state)
{
	static const struct {
		const char *bytes, *text;
	} cases[] = {
		{"", ""},
		{"plain", "plain"},
		{"\"},{\"pid\":1", "\\\"},{\\\"pid\\\":1"},
		{"a\\b/c", "a\\\\b/c"},
		{"\n\r\t\b\f\x01\x1f\x7f", "\\n\\r\\t\\u0008\\u000c\\u0001\\u001f\\u007f"},
		{"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"},
		{"\xc2\x80\xc2\x9f\xc2\xa0", "\\u0080\\u009f\xc2\xa0"},
		{"\xe2\x80\xa7\xe2\x80\xa8\xe2\x80\xa9\xe2\x80\xaa",
			"\xe2\x80\xa7\\u2028\\u2029\xe2\x80\xaa"},
		{"\xed\x9f\xbf\xee\x80\x80\xf4\x8f\xbf\xbf",
			"\xed\x9f\xbf\xee\x80\x80\xf4\x8f\xbf\xbf"},
		/* one U+FFFD for each maximal subpart */
		{"\xff", FFFD},
		{"a\x80z", "a" FFFD "z"},
		{"\xc0\xaf", FFFD FFFD},
		{"\xc1\xbf", FFFD FFFD},
		{"\xe0\x80\x80", FFFD FFFD FFFD},
		{"\xe0\x9f\xbf", FFFD FFFD FFFD},
		{"\xed\xa0\x80", FFFD FFFD FFFD},
		{"\xf0\x8f\xbf\xbf", FFFD FFFD FFFD FFFD},
		{"\xf4\x90\x80\x80", FFFD FFFD FFFD FFFD},
		{"\xf5\x80", FFFD FFFD},
		{"\xe2\x82", FFFD},
		{"\xe2\x82\"", FFFD "\\\""},
		{"\xf0\x9f\x98", FFFD},
		{"\xf0\x9f\x98\xf0\x9f\x98\x80", FFFD "\xf0\x9f\x98\x80"},
		{"\xff\xfe\xc0\xaf", FFFD FFFD FFFD FFFD},
	};
	char expected[64];
	struct dn_json json;

	dn_json_init(&json);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		dn_json_reset(&json);
		dn_json_string(&json, cases[i].bytes);
		snprintf(expected, sizeof(expected), "\"%s\"", cases[i].text);
		assert_text(&json, expected);
		assert_int_equal(dn_utf8_valid(cases[i].bytes, strlen(cases[i].bytes)),
			strstr(cases[i].text, FFFD) == NULL);
	}
	dn_json_reset(&json);
	dn_json_string_n(&json, "a\0b", 3);
	assert_text(&json, "\"a\\u0000b\"");
	dn_json_reset(&json);
	dn_json_object(&json);
	dn_json_key(&json, "k\n");
	dn_json_u64(&json, 3);
	dn_json_object_end(&json);
	assert_text(&json, "{\"k\\n\":3}");
	dn_json_finish(&json);
}

/* Whatever goes in: what comes out is one line of valid UTF-8 without controls. */
static void test_any_bytes(void **state)
{
	uint32_t seed = 12345;
	struct dn_json json;

	dn_json_init(&json);
	for (unsigned round = 0; round < 20011; round++) {
		char bytes[23];
		size_t len = round % sizeof(bytes), quotes = 0;

		for (size_t i = 0; i < len; i++) {
			seed = seed * 1103515245 + 12345;
			/* Half of them where the borders of UTF-8 are. */
			bytes[i] = seed >> 30 & 1
					   ? (char)(seed >> 16)
					   : "\xc2\xe0\xed\xf0\xf4\x80\x9f\xa0\x90\x8f\xbf\"\\\n"
						     [seed >> 16 & 7];
		}
		dn_json_reset(&json);
		dn_json_string_n(&json, bytes, len);
		assert_int_equal(dn_json_error(&json), 0);
		assert_true(dn_utf8_valid(json.data, json.len));
		for (size_t i = 0; i < json.len; i++) {
			assert_true((unsigned char)json.data[i] >= 0x20 && json.data[i] != 0x7f);
			if (json.data[i] == '\\')
				i++;
			else
				quotes += json.data[i] == '"';
		}
		assert_int_equal(quotes, 2);
	}
	dn_json_finish(&json);
}

static void test_large(void **state)
{
	size_t len = 1048583;
	char *bytes = malloc(len + 1);
	struct dn_json json;
	char *p;

	assert_non_null(bytes);
	memset(bytes, '\n', len);
	bytes[len] = '\0';
	dn_json_init(&json);
	dn_json_string(&json, bytes);
	assert_int_equal(dn_json_error(&json), 0);
	assert_int_equal(json.len, 2 * len + 2);
	free(bytes);

	dn_json_reset(&json);
	p = dn_json_room(&json, 1000003);
	assert_non_null(p);
	memcpy(p, "[17]", 4);
	json.len += 4;
	assert_text(&json, "[17]");
	/* More than any memory is an error that stays. */
	assert_null(dn_json_room(&json, SIZE_MAX - 7));
	dn_json_u64(&json, 1);
	assert_int_equal(dn_json_error(&json), -ENOMEM);
	assert_int_equal(json.len, 4);
	dn_json_reset(&json);
	assert_int_equal(dn_json_error(&json), 0);
	dn_json_finish(&json);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nesting),
		cmocka_unit_test(test_bad_nesting),
		cmocka_unit_test(test_integers),
		cmocka_unit_test(test_fractions),
		cmocka_unit_test(test_strings),
		cmocka_unit_test(test_any_bytes),
		cmocka_unit_test(test_large),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

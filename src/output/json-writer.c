/* SPDX-License-Identifier: Apache-2.0 */
/* The JSON writer: a growing buffer, commas by itself, strict about UTF-8, independent of any
 * locale. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json-writer.h"

static const char digit_pairs[] =
	"00010203040506070809101112131415161718192021222324252627282930313233343536373839"
	"40414243444546474849505152535455565758596061626364656667686970717273747576777879"
	"8081828384858687888990919293949596979899";

void dn_json_init(struct dn_json *json)
{
	memset(json, 0, sizeof(*json));
}

void dn_json_finish(struct dn_json *json)
{
	free(json->data);
	dn_json_init(json);
}

void dn_json_reset(struct dn_json *json)
{
	json->len = 0;
	json->depth = 0;
	json->error = false;
	json->after_key = false;
	json->need_comma[0] = false;
}

/* depth beyond the limit is how a nesting error is remembered. */
static void fail_nesting(struct dn_json *json)
{
	json->depth = DN_JSON_DEPTH_MAX;
	json->error = true;
}

int dn_json_error(const struct dn_json *json)
{
	if (json->depth != 0 || json->after_key)
		return json->error && json->depth < DN_JSON_DEPTH_MAX ? -ENOMEM : -EINVAL;
	return json->error ? -ENOMEM : 0;
}

static bool grow(struct dn_json *json, size_t n)
{
	size_t need, size;
	char *data;

	if (__builtin_add_overflow(json->len, n, &need) || need > SIZE_MAX / 2) {
		json->error = true;
		return false;
	}
	size = json->size ? json->size : 4096;
	while (size < need)
		size *= 2;
	data = realloc(json->data, size);
	if (!data) {
		json->error = true;
		return false;
	}
	json->data = data;
	json->size = size;
	return true;
}

static inline char *room(struct dn_json *json, size_t n)
{
	if (__builtin_expect(json->error, 0))
		return NULL;
	if (json->size - json->len < n && !grow(json, n))
		return NULL;
	return json->data + json->len;
}

char *dn_json_room(struct dn_json *json, size_t n)
{
	return room(json, n);
}

static inline void put(struct dn_json *json, const char *bytes, size_t len)
{
	char *p = room(json, len);

	if (!p)
		return;
	memcpy(p, bytes, len);
	json->len += len;
}

static inline void put_char(struct dn_json *json, char c)
{
	char *p = room(json, 1);

	if (!p)
		return;
	*p = c;
	json->len++;
}

/* The comma before a value or key, when one is due. */
static inline void separate(struct dn_json *json)
{
	if (json->error)
		return;
	if (json->after_key) {
		json->after_key = false;
		return;
	}
	if (json->need_comma[json->depth])
		put_char(json, ',');
	json->need_comma[json->depth] = true;
}

static void open_nesting(struct dn_json *json, char c)
{
	separate(json);
	if (json->error)
		return;
	if (json->depth + 1 >= DN_JSON_DEPTH_MAX) {
		fail_nesting(json);
		return;
	}
	put_char(json, c);
	json->need_comma[++json->depth] = false;
}

static void close_nesting(struct dn_json *json, char c)
{
	if (json->error)
		return;
	if (json->depth == 0 || json->after_key) {
		fail_nesting(json);
		return;
	}
	json->depth--;
	put_char(json, c);
}

void dn_json_object(struct dn_json *json)
{
	open_nesting(json, '{');
}

void dn_json_object_end(struct dn_json *json)
{
	close_nesting(json, '}');
}

void dn_json_array(struct dn_json *json)
{
	open_nesting(json, '[');
}

void dn_json_array_end(struct dn_json *json)
{
	close_nesting(json, ']');
}

void dn_json_newline(struct dn_json *json)
{
	if (json->depth != 0 || json->after_key) {
		fail_nesting(json);
		return;
	}
	put_char(json, '\n');
	json->need_comma[0] = false;
}

/* Numbers */

size_t dn_format_u64(uint64_t value, char *out)
{
	char text[DN_FORMAT_U64_MAX];
	size_t at = sizeof(text), len;

	while (value >= 100) {
		at -= 2;
		memcpy(text + at, digit_pairs + 2 * (value % 100), 2);
		value /= 100;
	}
	if (value >= 10) {
		at -= 2;
		memcpy(text + at, digit_pairs + 2 * value, 2);
	} else {
		text[--at] = (char)('0' + value);
	}
	len = sizeof(text) - at;
	memcpy(out, text + at, len);
	return len;
}

size_t dn_format_f64(double value, char *out)
{
	size_t len = 0;
	uint64_t whole, fraction;
	double size = fabs(value);

	if (!isfinite(value))
		return 0;
	/* Here doubles have no fraction, and "%.0f" has nothing that a locale could change. */
	if (size >= 18446744073709551616.0)
		return (size_t)snprintf(out, DN_FORMAT_F64_MAX, "%.0f", value);
	whole = (uint64_t)size;
	fraction = (uint64_t)((size - (double)whole) * 1e6 + 0.5);
	if (fraction >= 1000000) {
		whole++;
		fraction = 0;
	}
	if (value < 0 && (whole || fraction))
		out[len++] = '-';
	len += dn_format_u64(whole, out + len);
	if (fraction == 0)
		return len;
	out[len++] = '.';
	for (uint64_t unit = 100000; fraction > 0; unit /= 10) {
		out[len++] = (char)('0' + fraction / unit);
		fraction %= unit;
	}
	return len;
}

void dn_json_u64(struct dn_json *json, uint64_t value)
{
	char *p;

	separate(json);
	p = room(json, DN_FORMAT_U64_MAX);
	if (p)
		json->len += dn_format_u64(value, p);
}

void dn_json_i64(struct dn_json *json, int64_t value)
{
	char *p;

	separate(json);
	p = room(json, DN_FORMAT_U64_MAX + 1);
	if (!p)
		return;
	if (value < 0) {
		*p++ = '-';
		json->len++;
	}
	json->len += dn_format_u64(value < 0 ? -(uint64_t)value : (uint64_t)value, p);
}

void dn_json_f64(struct dn_json *json, double value)
{
	char *p;

	if (!isfinite(value)) {
		dn_json_null(json);
		return;
	}
	separate(json);
	p = room(json, DN_FORMAT_F64_MAX);
	if (p)
		json->len += dn_format_f64(value, p);
}

void dn_json_bool(struct dn_json *json, bool value)
{
	separate(json);
	put(json, value ? "true" : "false", value ? 4 : 5);
}

void dn_json_null(struct dn_json *json)
{
	separate(json);
	put(json, "null", 4);
}

/* Strings */

/*
 * Length of the code point at p, which is not ASCII. Not UTF-8 (overlong forms, surrogates, beyond
 * U+10FFFF, cut): *ret_valid false, and the length of the maximal subpart, what one U+FFFD stands
 * for.
 */
static size_t utf8_next(const unsigned char *p, size_t left, bool *ret_valid)
{
	unsigned char low = 0x80, high = 0xbf;
	size_t n, i;

	*ret_valid = false;
	if (p[0] >= 0xc2 && p[0] <= 0xdf)
		n = 2;
	else if (p[0] >= 0xe0 && p[0] <= 0xef)
		n = 3;
	else if (p[0] >= 0xf0 && p[0] <= 0xf4)
		n = 4;
	else
		return 1;
	if (p[0] == 0xe0)
		low = 0xa0;
	else if (p[0] == 0xed)
		high = 0x9f;
	else if (p[0] == 0xf0)
		low = 0x90;
	else if (p[0] == 0xf4)
		high = 0x8f;
	for (i = 1; i < n && i < left; i++) {
		if (p[i] < low || p[i] > high)
			return i;
		low = 0x80;
		high = 0xbf;
	}
	*ret_valid = i == n;
	return i;
}

bool dn_utf8_valid(const char *bytes, size_t len)
{
	const unsigned char *p = (const unsigned char *)bytes;
	bool valid = true;

	for (size_t i = 0; i < len && valid;)
		i += p[i] < 0x80 ? 1 : utf8_next(p + i, len - i, &valid);
	return valid;
}

static inline bool is_plain(unsigned char c)
{
	return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

static void put_escape(struct dn_json *json, unsigned code)
{
	static const char hex[] = "0123456789abcdef";
	char text[6] = {'\\', 'u', hex[code >> 12 & 15], hex[code >> 8 & 15], hex[code >> 4 & 15],
		hex[code & 15]};

	put(json, text, sizeof(text));
}

static void put_ascii(struct dn_json *json, unsigned char c)
{
	char text[2] = {'\\', (char)c};

	switch (c) {
	case '"':
	case '\\':
		break;
	case '\n':
		text[1] = 'n';
		break;
	case '\r':
		text[1] = 'r';
		break;
	case '\t':
		text[1] = 't';
		break;
	default:
		put_escape(json, c);
		return;
	}
	put(json, text, sizeof(text));
}

static size_t put_wide(struct dn_json *json, const unsigned char *p, size_t left)
{
	bool valid;
	size_t n = utf8_next(p, left, &valid);

	if (!valid)
		put(json, "\xef\xbf\xbd", 3);
	else if (n == 2 && p[0] == 0xc2 && p[1] < 0xa0) /* C1 controls */
		put_escape(json, p[1]);
	else if (n == 3 && p[0] == 0xe2 && p[1] == 0x80 &&
		 (p[2] & 0xfe) == 0xa8) /* line separators */
		put_escape(json, 0x2000 | (p[2] & 0x3f));
	else
		put(json, (const char *)p, n);
	return n;
}

static void put_quoted(struct dn_json *json, const char *bytes, size_t len)
{
	const unsigned char *p = (const unsigned char *)bytes;
	size_t i = 0;

	put_char(json, '"');
	while (i < len && !json->error) {
		size_t start = i;

		while (i < len && is_plain(p[i]))
			i++;
		if (i > start)
			put(json, bytes + start, i - start);
		if (i == len)
			break;
		if (p[i] < 0x80)
			put_ascii(json, p[i++]);
		else
			i += put_wide(json, p + i, len - i);
	}
	put_char(json, '"');
}

void dn_json_string_n(struct dn_json *json, const char *bytes, size_t len)
{
	separate(json);
	put_quoted(json, bytes, len);
}

void dn_json_string(struct dn_json *json, const char *bytes)
{
	if (bytes)
		dn_json_string_n(json, bytes, strlen(bytes));
	else
		dn_json_null(json);
}

void dn_json_key_n(struct dn_json *json, const char *key, size_t len)
{
	if (json->after_key) {
		fail_nesting(json);
		return;
	}
	separate(json);
	put_quoted(json, key, len);
	put_char(json, ':');
	json->after_key = true;
}

void dn_json_key(struct dn_json *json, const char *key)
{
	dn_json_key_n(json, key, strlen(key));
}

void dn_json_put_u64(struct dn_json *json, const char *key, uint64_t value)
{
	dn_json_key(json, key);
	dn_json_u64(json, value);
}

void dn_json_put_f64(struct dn_json *json, const char *key, double value)
{
	dn_json_key(json, key);
	dn_json_f64(json, value);
}

void dn_json_put_bool(struct dn_json *json, const char *key, bool value)
{
	dn_json_key(json, key);
	dn_json_bool(json, value);
}

void dn_json_put_string(struct dn_json *json, const char *key, const char *bytes)
{
	dn_json_key(json, key);
	dn_json_string(json, bytes);
}

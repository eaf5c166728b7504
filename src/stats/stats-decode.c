/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers and strings of JSON text that the scanner has already checked. */
#include <float.h>
#include <string.h>

#include "stats-decode.h"
#include "stats-scan.h"

/*
 * mantissa times ten to the exponent. Long double has the bits (64 or more) to do this with one
 * rounding for all that a printed double needs; where it is no wider than a double the last digit
 * may be off. No strtod: it asks the locale.
 */
static unsigned char scale(uint64_t mantissa, int64_t exponent, bool negative, double *ret)
{
	static const long double step = 1e27L;
	long double value = (long double)mantissa;
	long double power = 1;

	if (mantissa == 0 || exponent < -350)
		value = 0, exponent = 0;
	if (exponent > 310)
		return DN_SCAN_HUGE;
	for (; exponent > 27; exponent -= 27)
		value *= step;
	for (; exponent < -27; exponent += 27)
		value /= step;
	for (int64_t i = exponent < 0 ? -exponent : exponent; i > 0; i--)
		power *= 10;
	value = exponent < 0 ? value / power : value * power;
	if (value > (long double)DBL_MAX)
		return DN_SCAN_HUGE;
	*ret = negative ? -(double)value : (double)value;
	return DN_SCAN_F64;
}

unsigned char dn_number_parse(const char *text, size_t len, uint64_t *ret_u64, double *ret_f64)
{
	const char *p = text, *end = text + len;
	bool negative = false, integer = true, fits = true, minus = false;
	uint64_t mantissa = 0;
	int64_t exponent = 0, written = 0;

	if (*p == '-') {
		negative = true;
		p++;
	}
	for (bool fraction = false; p < end && (*p | 0x20) != 'e'; p++) {
		unsigned d = (unsigned)(unsigned char)*p - '0';
		uint64_t more;

		if (*p == '.') {
			fraction = true;
			integer = false;
		} else if (fits && !__builtin_mul_overflow(mantissa, UINT64_C(10), &more) &&
			   !__builtin_add_overflow(more, (uint64_t)d, &more)) {
			mantissa = more;
			exponent -= fraction;
		} else {
			/* Digits below the precision: they only count as places. */
			fits = false;
			exponent += !fraction;
		}
	}
	if (p < end) {
		integer = false;
		p++;
		if (*p == '+' || *p == '-')
			minus = *p++ == '-';
		for (; p < end; p++) {
			if (written < 1000000000)
				written = written * 10 + (*p - '0');
		}
		exponent += minus ? -written : written;
	}
	if (integer && fits && (!negative || mantissa == 0)) {
		*ret_u64 = mantissa;
		return DN_SCAN_U64;
	}
	if (integer && fits) {
		*ret_f64 = -(double)mantissa;
		return DN_SCAN_NEGATIVE;
	}
	return scale(mantissa, exponent, negative, ret_f64);
}

static unsigned hex4(const char *p)
{
	unsigned value = 0;

	for (unsigned i = 0; i < 4; i++) {
		unsigned char c = (unsigned char)p[i];

		value = value << 4 | (c <= '9' ? c - 0x30u : (c | 0x20) - 0x57u);
	}
	return value;
}

/* One character of a raw string as a code point; *p moves behind it. Half surrogates and NUL become
 * U+FFFD. */
static uint32_t escaped(const char **p, const char *end)
{
	static const char from[] = "bfnrt", to[] = "\b\f\n\r\t";
	char c = (*p)[1];
	const char *known;
	uint32_t code;

	*p += 2;
	if (c != 'u') {
		known = strchr(from, c);
		return known ? (unsigned char)to[known - from] : (unsigned char)c;
	}
	code = hex4(*p);
	*p += 4;
	if (code >= 0xd800 && code <= 0xdbff && end - *p >= 6 && (*p)[0] == '\\' &&
		(*p)[1] == 'u') {
		uint32_t low = hex4(*p + 2);

		if (low >= 0xdc00 && low <= 0xdfff) {
			*p += 6;
			return 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
		}
	}
	return code == 0 || (code >= 0xd800 && code <= 0xdfff) ? 0xfffd : code;
}

static size_t encode(uint32_t code, char out[4])
{
	if (code < 0x80) {
		out[0] = (char)code;
		return 1;
	}
	if (code < 0x800) {
		out[0] = (char)(0xc0 | code >> 6);
		out[1] = (char)(0x80 | (code & 0x3f));
		return 2;
	}
	if (code < 0x10000) {
		out[0] = (char)(0xe0 | code >> 12);
		out[1] = (char)(0x80 | (code >> 6 & 0x3f));
		out[2] = (char)(0x80 | (code & 0x3f));
		return 3;
	}
	out[0] = (char)(0xf0 | code >> 18);
	out[1] = (char)(0x80 | (code >> 12 & 0x3f));
	out[2] = (char)(0x80 | (code >> 6 & 0x3f));
	out[3] = (char)(0x80 | (code & 0x3f));
	return 4;
}

size_t dn_scan_decode(const char *raw, size_t len, char *out, size_t size)
{
	const char *p = raw + 1, *end = raw + len - 1;
	size_t used = 0;

	if (size == 0)
		return 0;
	while (p < end) {
		char code[4];
		size_t n = 1;

		if (*p == '\\') {
			n = encode(escaped(&p, end), code);
		} else {
			unsigned char c = (unsigned char)*p;

			n = c < 0xc0 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
			memcpy(code, p, n);
			p += n;
		}
		if (used + n > size - 1)
			break;
		memcpy(out + used, code, n);
		used += n;
	}
	out[used] = '\0';
	return used;
}

bool dn_scan_next_string(
	const char *raw, size_t len, size_t *pos, const char **ret, size_t *ret_len)
{
	size_t i = *pos, start;

	while (i < len && raw[i] != '"') {
		/* Only brackets, commas and space may stand before a string of an array of strings.
		 */
		if (!strchr("[, \t\r", raw[i]))
			return false;
		i++;
	}
	if (i >= len)
		return false;
	start = i++;
	while (raw[i] != '"')
		i += raw[i] == '\\' ? 2 : 1;
	i++;
	*pos = i;
	*ret = raw + start;
	*ret_len = i - start;
	return true;
}

bool dn_scan_is(const struct dn_scan_value *value, const char *word)
{
	size_t len = strlen(word);

	return value && value->type == DN_SCAN_STRING && value->len == len + 2 &&
	       memcmp(value->text + 1, word, len) == 0;
}

void dn_scan_copy(const struct dn_scan_value *value, char *out, size_t size)
{
	if (value && value->type == DN_SCAN_STRING)
		dn_scan_decode(value->text, value->len, out, size);
}

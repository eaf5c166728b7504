/* SPDX-License-Identifier: Apache-2.0 */
/* What the scanner found, as values: numbers and strings of checked JSON text. */
#ifndef DENET_STATS_DECODE_H
#define DENET_STATS_DECODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Eight ASCII digits at once: neighbours are added up pairwise, by multiplications. */
static inline uint64_t dn_number_eight(uint64_t word)
{
	word -= UINT64_C(0x3030303030303030);
	word = word * 10 + (word >> 8);
	return ((word & UINT64_C(0x000000ff000000ff)) * UINT64_C(0x000f424000000064) +
		       (word >> 16 & UINT64_C(0x000000ff000000ff)) *
			       UINT64_C(0x0000271000000001)) >>
	       32;
}

static inline bool dn_number_is_eight(uint64_t word)
{
	return ((word & UINT64_C(0xf0f0f0f0f0f0f0f0)) |
		       ((word + UINT64_C(0x0606060606060606)) & UINT64_C(0xf0f0f0f0f0f0f0f0)) >>
			       4) == UINT64_C(0x3333333333333333);
}

/*
 * A plain integer of at most 19 digits, the first not 0; moves *text behind it. False, with nothing
 * moved, when there is more to it (a point, an exponent, more digits). Reads up to 8 bytes behind
 * the digits.
 */
static inline bool dn_number_short(const char **text, uint64_t *ret)
{
	const char *p = *text;
	uint64_t value = 0;
	unsigned digits = 0, d;

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	uint64_t word;

	__builtin_memcpy(&word, p, sizeof(word));
	if (dn_number_is_eight(word)) {
		value = dn_number_eight(word);
		p += 8;
		digits = 8;
	}
#endif
	while ((d = (unsigned)(unsigned char)*p - '0') < 10 && digits < 19) {
		value = value * 10 + d;
		p++;
		digits++;
	}
	if (d < 10 || *p == '.' || (*p | 0x20) == 'e')
		return false;
	*text = p;
	*ret = value;
	return true;
}

/*
 * A number of valid JSON grammar. Returns an enum dn_scan_type: integers up to 2^64-1 exactly as
 * U64, those below zero as NEGATIVE in *ret_f64, all else as F64, or HUGE with nothing set.
 */
unsigned char dn_number_parse(const char *text, size_t len, uint64_t *ret_u64, double *ret_f64);

#endif

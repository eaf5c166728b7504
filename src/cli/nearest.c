/* SPDX-License-Identifier: Apache-2.0 */
/* The word that was probably meant: edit distance with swapped neighbours, and shortened words. */
#include <string.h>

#include "options.h"

#define WORD_MAX 64

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static unsigned min3(unsigned a, unsigned b, unsigned c)
{
	unsigned m = a < b ? a : b;

	return m < c ? m : c;
}

/* Insert, delete, replace and swap two neighbours: one each. Both at most WORD_MAX long. */
static unsigned distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
	unsigned rows[3][WORD_MAX + 1];
	unsigned *before = rows[0], *last = rows[1], *row = rows[2];

	for (size_t j = 0; j <= b_len; j++)
		last[j] = (unsigned)j;
	for (size_t i = 1; i <= a_len; i++) {
		unsigned *spare = before;

		row[0] = (unsigned)i;
		for (size_t j = 1; j <= b_len; j++) {
			unsigned cost = lower(a[i - 1]) != lower(b[j - 1]);

			row[j] = min3(last[j] + 1, row[j - 1] + 1, last[j - 1] + cost);
			if (i > 1 && j > 1 && lower(a[i - 1]) == lower(b[j - 2]) &&
				lower(a[i - 2]) == lower(b[j - 1]) && before[j - 2] + 1 < row[j])
				row[j] = before[j - 2] + 1;
		}
		before = last;
		last = row;
		row = spare;
	}
	return last[b_len];
}

/* "inter" for "interval", "rss_bytes" for "memory.rss_bytes": far by distance, near for people. */
static bool is_part(const char *word, size_t len, const char *candidate, size_t candidate_len)
{
	if (len < 3 || len >= candidate_len)
		return false;
	if (memcmp(word, candidate, len) == 0)
		return true;
	return candidate[candidate_len - len - 1] == '.' &&
	       memcmp(word, candidate + candidate_len - len, len) == 0;
}

const char *dn_nearest(const char *word, const char *const *candidates)
{
	size_t len = strlen(word);
	const char *best = NULL;
	unsigned best_distance = WORD_MAX;

	if (len == 0 || len > WORD_MAX)
		return NULL;
	for (; *candidates; candidates++) {
		size_t candidate_len = strlen(*candidates);
		size_t longer = len > candidate_len ? len : candidate_len;
		const char *without_unit;
		unsigned d;

		if (candidate_len == 0 || candidate_len > WORD_MAX)
			continue;
		d = distance(word, len, *candidates, candidate_len);
		without_unit = memrchr(*candidates, '_', candidate_len);
		if (d > (longer + 2) / 4 && without_unit) {
			/* "cpu.totl" for "cpu.total_ns": the unit is what people leave out. */
			size_t short_len = (size_t)(without_unit - *candidates);
			unsigned shorter = distance(word, len, *candidates, short_len) + 1;

			longer = len > short_len ? len : short_len;
			d = shorter <= (longer + 2) / 4 + 1 ? shorter - 1 : d;
		}
		if (d > (longer + 2) / 4) {
			if (!is_part(word, len, *candidates, candidate_len))
				continue;
			/* Behind every real misspelling, shorter completions first. */
			d = WORD_MAX / 2 + (unsigned)(candidate_len - len) / 2;
		}
		if (d < best_distance) {
			best_distance = d;
			best = *candidates;
		}
	}
	return best;
}

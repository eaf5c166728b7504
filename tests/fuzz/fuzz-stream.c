/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzes the reader of recorded streams: bytes in pieces of any size, both reports. The first byte
 * picks the pieces; the result must not depend on them.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stats-report.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int read_pieces(
	const uint8_t *data, size_t size, size_t piece, bool lenient, struct dn_stats **ret)
{
	struct dn_why why = {0};
	int r;

	if (dn_stats_new(lenient, ret) < 0)
		abort();
	while (size > 0) {
		size_t room, n = piece < size ? piece : size;
		char *to;

		if (dn_stats_space(*ret, &to, &room) < 0)
			abort();
		n = n < room ? n : room;
		memcpy(to, data, n);
		r = dn_stats_commit(*ret, n, &why);
		if (r < 0)
			return r;
		data += n;
		size -= n;
		/* Pieces of changing size, but the same ones each time. */
		piece = piece * 5 % 251 + 1;
	}
	return dn_stats_end(*ret, &why);
}

static void check_text(const char *text)
{
	for (const char *p = text; *p; p++) {
		if ((unsigned char)*p < 0x20 && *p != '\n')
			abort();
	}
}

static char *report(const struct dn_stats *stats, bool json)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		abort();
	if (!json)
		dn_stats_print_text(stats, "f", false, 80, out);
	else if (dn_stats_print_json(stats, "f", out) < 0)
		abort();
	fclose(out);
	return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct dn_stats *whole, *parts;
	char *a, *b;
	int r, s;

	if (size < 1)
		return 0;
	r = read_pieces(data + 1, size - 1, size, data[0] & 1, &whole);
	s = read_pieces(data + 1, size - 1, data[0] / 2 + 1, data[0] & 1, &parts);
	if (r != s)
		abort();
	a = report(whole, true);
	b = report(parts, true);
	/* After an error the pieces decide how much had been read. */
	if (r == 0 && strcmp(a, b) != 0)
		abort();
	free(a);
	free(b);
	a = report(whole, false);
	check_text(a);
	free(a);
	dn_stats_free(whole);
	dn_stats_free(parts);
	return 0;
}

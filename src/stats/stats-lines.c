/* SPDX-License-Identifier: Apache-2.0 */
/* Blocks to lines. No mmap: a file that is cut while it is read must not end in SIGBUS, and a pipe
 * has no map. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "stats-lines.h"
#include "stats-scan.h"

#define BLOCK                                                                                      \
	((size_t)256 << 10) /* fits the second-level cache; larger ones measured no faster         \
			     */

int dn_lines_space(struct dn_lines *lines, char **ret, size_t *ret_size)
{
	size_t len = lines->end - lines->begin, size;
	char *data;

	if (lines->size - lines->end < BLOCK / 2 && lines->begin) {
		memmove(lines->data, lines->data + lines->begin, len);
		lines->searched -= lines->begin;
		lines->begin = 0;
		lines->end = len;
	}
	if (lines->size - lines->end < BLOCK / 2) {
		/* dn_lines_next() gives up lines above the limit, so this ends at twice that. */
		size = lines->size ? 2 * lines->size : BLOCK;
		if (size > DN_LINE_MAX + BLOCK)
			size = DN_LINE_MAX + BLOCK;
		if (size < lines->end + BLOCK / 2)
			size = lines->end + BLOCK / 2;
		data = realloc(lines->data, size + DN_SCAN_PAD);
		if (!data)
			return -ENOMEM;
		memset(data + size, 0, DN_SCAN_PAD);
		lines->data = data;
		lines->size = size;
	}
	*ret = lines->data + lines->end;
	*ret_size = lines->size - lines->end;
	return 0;
}

void dn_lines_commit(struct dn_lines *lines, size_t n)
{
	lines->end += n;
}

static void hand_out(struct dn_lines *lines, size_t len, char **ret, size_t *ret_len)
{
	*ret = lines->data + lines->begin;
	*ret_len = len;
	lines->number++;
	lines->offset = lines->next_offset;
	lines->next_offset += len + 1;
	lines->begin += len + 1;
	lines->searched = lines->begin;
}

static int too_long(struct dn_lines *lines)
{
	bool told = lines->skipping;

	if (!told) {
		lines->number++;
		lines->offset = lines->next_offset;
	}
	lines->skipping = true;
	lines->next_offset += lines->end - lines->begin;
	lines->begin = lines->end = lines->searched = 0;
	return told ? 0 : -EMSGSIZE;
}

int dn_lines_next(struct dn_lines *lines, char **ret, size_t *ret_len)
{
	char *newline;

	if (lines->begin == lines->end)
		lines->begin = lines->end = lines->searched = 0;
	for (;;) {
		size_t len;

		newline = lines->end == lines->searched
				  ? NULL
				  : memchr(lines->data + lines->searched, '\n',
					    lines->end - lines->searched);
		if (!newline) {
			lines->searched = lines->end;
			if (lines->skipping || lines->end - lines->begin > DN_LINE_MAX)
				return too_long(lines);
			return 0;
		}
		len = (size_t)(newline - lines->data) - lines->begin;
		if (lines->skipping) {
			lines->skipping = false;
			lines->next_offset += len + 1;
			lines->begin += len + 1;
			lines->searched = lines->begin;
			continue;
		}
		hand_out(lines, len, ret, ret_len);
		return len > DN_LINE_MAX ? -EMSGSIZE : 1;
	}
}

int dn_lines_rest(struct dn_lines *lines, char **ret, size_t *ret_len)
{
	size_t len = lines->end - lines->begin;

	if (len == 0 || lines->skipping)
		return 0;
	lines->data[lines->end] = '\n';
	hand_out(lines, len, ret, ret_len);
	lines->begin = lines->end;
	return 1;
}

void dn_lines_finish(struct dn_lines *lines)
{
	free(lines->data);
	memset(lines, 0, sizeof(*lines));
}

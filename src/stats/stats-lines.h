/* SPDX-License-Identifier: Apache-2.0 */
/* Blocks of bytes to lines, in one buffer that grows with the longest line up to a limit. */
#ifndef DENET_STATS_LINES_H
#define DENET_STATS_LINES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DN_LINE_MAX ((size_t)16 << 20)

struct dn_lines {
	char *data;
	size_t size; /* of data, without its padding */
	size_t begin, end;
	size_t searched; /* no newline before this */
	bool skipping; /* in the rest of a line that is too long */
	uint64_t number; /* of the line that was handed out last, from 1 */
	uint64_t offset; /* of its first byte in the input */
	uint64_t next_offset;
};

/* Room for the next read; -ENOMEM. */
int dn_lines_space(struct dn_lines *lines, char **ret, size_t *ret_size);
void dn_lines_commit(struct dn_lines *lines, size_t n);
/*
 * The next whole line: 1 and *ret, readable and ending as dn_scan_line() wants it; 0 when more
 * bytes are needed; -EMSGSIZE once for a line that is too long, which is passed over.
 */
int dn_lines_next(struct dn_lines *lines, char **ret, size_t *ret_len);
/* At the end of the input: what stands behind the last newline. 1, or 0 when nothing does. */
int dn_lines_rest(struct dn_lines *lines, char **ret, size_t *ret_len);
void dn_lines_finish(struct dn_lines *lines);

#endif

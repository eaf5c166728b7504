/* SPDX-License-Identifier: Apache-2.0 */
/* Between the two files of the parser: the words (options.c) and what they mean together
 * (options-check.c). */
#ifndef DENET_OPTIONS_PARSE_H
#define DENET_OPTIONS_PARSE_H

#include "options.h"

struct dn_parser {
	int argc;
	char **argv;
	int next;
	struct dn_options *options;
	struct dn_why *why;
	uint64_t seen; /* a bit for each row of the table */
};

/* The message, and where to read more. Always -EINVAL. */
int dn_parser_fail(const struct dn_parser *parser, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* Was the option with this long name given? */
bool dn_parser_seen(const struct dn_parser *parser, const char *name);
/* Judges and completes what was given. 0 or -EINVAL. */
int dn_parser_check(const struct dn_parser *parser);

#endif

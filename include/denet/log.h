/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages for people, on stderr, one line each: what failed, on what, why, what to do. Only
 * commands and wiring log; library code and backends return errors. Every byte of outside origin is
 * made safe for a terminal.
 */
#ifndef DENET_LOG_H
#define DENET_LOG_H

#include <stdbool.h>
#include <stddef.h>

/* "denet: " + text. */
void dn_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* As dn_error, but silenced by --quiet. */
void dn_warn(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Only with --debug. */
void dn_debug(const char *format, ...) __attribute__((format(printf, 1, 2)));
void dn_log_set(bool quiet, bool debug);

/* Why something did not work, handed up; text and hint are whole sentences without a final period.
 */
struct dn_why {
	char text[320];
	char hint[320];
};

void dn_why_set(struct dn_why *why, const char *format, ...) __attribute__((format(printf, 2, 3)));
void dn_why_hint(struct dn_why *why, const char *format, ...) __attribute__((format(printf, 2, 3)));

/*
 * Makes bytes safe for one terminal line: C0, DEL, C1, bidi and zero-width controls, private use
 * and invalid UTF-8 become '?'. Cuts at max_columns (0: no limit) with "...". Returns the length;
 * output is NUL-terminated and fits.
 */
size_t dn_text_safe(const char *bytes, size_t len, size_t max_columns, char *out, size_t size);

#endif

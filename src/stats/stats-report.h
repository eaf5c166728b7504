/* SPDX-License-Identifier: Apache-2.0 */
/* What `denet stats` prints, for people and as JSON. Both say the same. */
#ifndef DENET_STATS_REPORT_H
#define DENET_STATS_REPORT_H

#include <stdbool.h>
#include <stdio.h>

#include "stats-model.h"

#define DN_STATS_NOTES_MAX 16

/* One sentence each: what the reader has to know before trusting the numbers. */
struct dn_stats_notes {
	char text[DN_STATS_NOTES_MAX][320];
	unsigned n;
};

void dn_stats_notes_make(const struct dn_stats *stats, struct dn_stats_notes *ret);
/* "exact", ..., or "unknown" when the stream did not say or said it in a word we don't know. */
const char *dn_stats_quality(const struct dn_series *series);
/* Declared as not measured, or a 0 that the older tool writes for what it could not open. */
bool dn_stats_is_missing(const struct dn_stats *stats, const struct dn_series *series);
/* Has numbers to show. */
bool dn_stats_is_shown(const struct dn_stats *stats, const struct dn_series *series);

/* columns 0: not a terminal. The file's name is shown as given. */
void dn_stats_print_text(
	const struct dn_stats *stats, const char *file, bool color, unsigned columns, FILE *out);
/* 0 or negative errno. */
int dn_stats_print_json(const struct dn_stats *stats, const char *file, FILE *out);

#endif

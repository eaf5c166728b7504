/* SPDX-License-Identifier: Apache-2.0 */
/* A table for people: columns as wide as their widest cell, the last one cut to the screen. */
#ifndef DENET_BPF_TABLE_H
#define DENET_BPF_TABLE_H

#include <stdbool.h>
#include <stdio.h>

#define DN_TABLE_CELL_SIZE 272
#define DN_TABLE_TEXT_COLUMNS 64 /* text of outside origin is cut at this */

struct dn_text_table {
	const char *drop;
	const char *const *title; /* per column; those that begin with '>' stand at the right */
	unsigned n_columns, n_rows, room;
	char (*cell)[DN_TABLE_CELL_SIZE];
	bool failed;
};

/* drop: digits of the columns that go first where the screen is narrow. */
void dn_text_table_init(struct dn_text_table *table, const char *const *title, unsigned n_columns,
	const char *drop);
void dn_text_table_finish(struct dn_text_table *table);
/* The next cell, row by row. Any bytes: made safe for a terminal here. */
void dn_text_table_add(struct dn_text_table *table, unsigned column, const char *bytes);
/* All rows, or the first so many. columns 0: no limit. */
void dn_text_table_print(
	const struct dn_text_table *table, unsigned rows, unsigned columns, bool color, FILE *out);

#endif

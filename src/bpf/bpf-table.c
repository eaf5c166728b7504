/* SPDX-License-Identifier: Apache-2.0 */
/* Tables whose cells are text of any origin. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include <denet/log.h>

#include "bpf-table.h"

#define COLUMNS_MAX 16
#define DROPPED UINT_MAX
#define LAST_MIN 20 /* the last column is never cut to less */

void dn_text_table_init(
	struct dn_text_table *table, const char *const *title, unsigned n_columns, const char *drop)
{
	*table = (struct dn_text_table){.title = title, .n_columns = n_columns, .drop = drop};
}

void dn_text_table_finish(struct dn_text_table *table)
{
	free(table->cell);
	table->cell = NULL;
}

void dn_text_table_add(struct dn_text_table *table, unsigned column, const char *bytes)
{
	if (column == 0 && table->n_rows == table->room) {
		unsigned more = table->room ? table->room * 2 : 32;
		void *bigger = reallocarray(
			table->cell, (size_t)more * table->n_columns, DN_TABLE_CELL_SIZE);

		if (!bigger) {
			table->failed = true;
			return;
		}
		table->cell = bigger;
		table->room = more;
	}
	if (table->failed)
		return;
	if (column == 0)
		table->n_rows++;
	dn_text_safe(bytes, strlen(bytes), DN_TABLE_TEXT_COLUMNS,
		table->cell[(size_t)(table->n_rows - 1) * table->n_columns + column],
		DN_TABLE_CELL_SIZE);
}

/* Characters, not bytes. */
static unsigned width_of(const char *text)
{
	unsigned n = 0;

	for (; *text; text++)
		n += ((unsigned char)*text & 0xc0) != 0x80;
	return n;
}

static void print_row(const struct dn_text_table *table, const char *const *cell,
	const unsigned *width, unsigned columns, FILE *out)
{
	unsigned used = 0, last = table->n_columns - 1;

	for (unsigned c = 0; c < table->n_columns; c++) {
		int pad = (int)(width[c] - width_of(cell[c]));

		if (width[c] == DROPPED)
			continue;
		if (c == last) {
			char cut[DN_TABLE_CELL_SIZE];
			unsigned left = columns > used + LAST_MIN ? columns - used : LAST_MIN;

			dn_text_safe(
				cell[c], strlen(cell[c]), columns ? left : 0, cut, sizeof(cut));
			fprintf(out, "%s\n", cut);
		} else if (table->title[c][0] == '>') {
			fprintf(out, "%*s%s  ", pad, "", cell[c]);
		} else {
			fprintf(out, "%s%*s  ", cell[c], pad, "");
		}
		used += width[c] + 2;
	}
}

static void fit(const struct dn_text_table *table, unsigned *width, unsigned columns)
{
	unsigned last = table->n_columns - 1;
	const char *drop = table->drop;

	while (columns && *drop) {
		unsigned need = width[last] < LAST_MIN ? width[last] : LAST_MIN;

		for (unsigned c = 0; c < last; c++)
			need += width[c] == DROPPED ? 0 : width[c] + 2;
		if (need <= columns)
			return;
		width[*drop++ - '0'] = DROPPED;
	}
}

void dn_text_table_print(
	const struct dn_text_table *table, unsigned rows, unsigned columns, bool color, FILE *out)
{
	unsigned width[COLUMNS_MAX] = {0};
	const char *cell[COLUMNS_MAX];

	if (rows > table->n_rows)
		rows = table->n_rows;
	for (unsigned c = 0; c < table->n_columns; c++) {
		cell[c] = table->title[c] + (table->title[c][0] == '>');
		width[c] = width_of(cell[c]);
		for (unsigned r = 0; r < rows; r++) {
			unsigned w = width_of(table->cell[(size_t)r * table->n_columns + c]);

			width[c] = w > width[c] ? w : width[c];
		}
	}
	fit(table, width, columns);
	if (color)
		fputs("\033[1m", out);
	print_row(table, cell, width, columns, out);
	if (color)
		fputs("\033[0m", out);
	for (unsigned r = 0; r < rows; r++) {
		for (unsigned c = 0; c < table->n_columns; c++)
			cell[c] = table->cell[(size_t)r * table->n_columns + c];
		print_row(table, cell, width, columns, out);
	}
}

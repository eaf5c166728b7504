/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A page for people: rows of a name and cells, the cells' values and labels in columns of fixed
 * width, colours when told. What is to be printed grows in text.
 */
#ifndef DENET_GRID_H
#define DENET_GRID_H

#include <stdbool.h>
#include <stddef.h>

#define DN_GRID_INDENT 12 /* two spaces and the name of the row */
#define DN_GRID_VALUE_WIDTH 10
#define DN_GRID_CELL_WIDTH 23 /* a value, a space, a label of up to 11, a space */

#define DN_GRID_BOLD "1"
#define DN_GRID_RED "1;31"
#define DN_GRID_YELLOW "33"
#define DN_GRID_CYAN "36"
#define DN_GRID_DIM "2"

struct dn_grid {
	bool color;
	unsigned columns;
	char text[16384]; /* NUL-terminated; what does not fit is left out */
	size_t len;
	unsigned lines;
	/* the row being made */
	const char *name;
	unsigned cells, cursor;
};

void dn_grid_put(struct dn_grid *grid, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
void dn_grid_colored(struct dn_grid *grid, const char *color, const char *text);
void dn_grid_end_line(struct dn_grid *grid);
/* A row without a cell is not printed. name is shorter than DN_GRID_INDENT - 2. */
void dn_grid_row(struct dn_grid *grid, const char *name);
/* color: of the label, or NULL. */
void dn_grid_cell(struct dn_grid *grid, const char *color, const char *value, const char *label);
void dn_grid_row_end(struct dn_grid *grid);
/* A row of text of any origin, made safe and cut to the width. color may be NULL. */
void dn_grid_text(struct dn_grid *grid, const char *name, const char *color, const char *text);
/* The same below a row, with a second line when one is too short. */
void dn_grid_two_lines(struct dn_grid *grid, const char *color, const char *text);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Rows and cells of a page for people. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <denet/log.h>

#include "grid.h"

void dn_grid_put(struct dn_grid *grid, const char *format, ...)
{
	size_t room = sizeof(grid->text) - grid->len;
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(grid->text + grid->len, room, format, args);
	va_end(args);
	if (n > 0)
		grid->len += (size_t)n < room ? (size_t)n : room - 1;
}

void dn_grid_colored(struct dn_grid *grid, const char *color, const char *text)
{
	if (grid->color)
		dn_grid_put(grid, "\033[%sm%s\033[0m", color, text);
	else
		dn_grid_put(grid, "%s", text);
}

void dn_grid_end_line(struct dn_grid *grid)
{
	dn_grid_put(grid, "\n");
	grid->lines++;
}

static void start_line(struct dn_grid *grid, const char *name)
{
	dn_grid_put(grid, "  ");
	dn_grid_colored(grid, DN_GRID_CYAN, name);
	dn_grid_put(grid, "%*s", DN_GRID_INDENT - 2 - (int)strlen(name), "");
	grid->cursor = DN_GRID_INDENT;
}

void dn_grid_row(struct dn_grid *grid, const char *name)
{
	grid->name = name;
	grid->cells = 0;
}

void dn_grid_row_end(struct dn_grid *grid)
{
	if (grid->cells)
		dn_grid_end_line(grid);
}

/*
 * Values end at fixed columns; what is too long moves only its neighbours. A narrow terminal gets
 * more lines.
 */
void dn_grid_cell(struct dn_grid *grid, const char *color, const char *value, const char *label)
{
	unsigned need = (unsigned)strlen(value) + 1 + (unsigned)strlen(label);
	unsigned stop = DN_GRID_INDENT + DN_GRID_VALUE_WIDTH + grid->cells * DN_GRID_CELL_WIDTH;
	unsigned pad;

	if (grid->cells == 0) {
		start_line(grid, grid->name);
	} else if (stop - DN_GRID_VALUE_WIDTH + need > grid->columns &&
		   grid->cursor + 1 + need > grid->columns) {
		dn_grid_end_line(grid);
		start_line(grid, "");
		grid->cells = 0;
		stop = DN_GRID_INDENT + DN_GRID_VALUE_WIDTH;
	}
	pad = grid->cursor + strlen(value) < stop ? stop - grid->cursor - (unsigned)strlen(value)
						  : 1;
	/* It fits beside its neighbour, but not in its column. */
	if (grid->cells > 0 && grid->cursor + pad + need > grid->columns)
		pad = 1;
	dn_grid_put(grid, "%*s%s ", (int)pad, "", value);
	if (color)
		dn_grid_colored(grid, color, label);
	else
		dn_grid_put(grid, "%s", label);
	grid->cursor += pad + need;
	grid->cells++;
}

void dn_grid_text(struct dn_grid *grid, const char *name, const char *color, const char *text)
{
	char safe[1024];

	dn_text_safe(text, strlen(text), grid->columns - DN_GRID_INDENT, safe, sizeof(safe));
	start_line(grid, name);
	if (color)
		dn_grid_colored(grid, color, safe);
	else
		dn_grid_put(grid, "%s", safe);
	dn_grid_end_line(grid);
}

void dn_grid_two_lines(struct dn_grid *grid, const char *color, const char *text)
{
	size_t room = grid->columns - DN_GRID_INDENT, len = strlen(text), cut = room;
	char first[512];

	if (len <= room || room >= sizeof(first)) {
		dn_grid_text(grid, "", color, text);
		return;
	}
	while (cut > room / 2 && text[cut] != ' ')
		cut--;
	if (text[cut] != ' ')
		cut = room;
	snprintf(first, sizeof(first), "%.*s", (int)cut, text);
	dn_grid_text(grid, "", color, first);
	dn_grid_text(grid, "", color, text + cut + (text[cut] == ' '));
}

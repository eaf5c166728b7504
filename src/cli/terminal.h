/* SPDX-License-Identifier: Apache-2.0 */
/* What a terminal wants: whether to colour, and how wide it is. */
#ifndef DENET_TERMINAL_H
#define DENET_TERMINAL_H

#include "options.h"

/* --color, else: a terminal, NO_COLOR unset or empty, TERM not "dumb". */
bool dn_terminal_color(int fd, enum dn_color color);
/* Columns of the terminal at fd; 0 when it is none. */
unsigned dn_terminal_columns(int fd);

#endif

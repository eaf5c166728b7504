/* SPDX-License-Identifier: Apache-2.0 */
/* Strings that live and die together. */
#ifndef DENET_ARENA_H
#define DENET_ARENA_H

struct dn_arena;

struct dn_arena *dn_arena_new(
	void); /* NULL when memory is short; the functions below accept that */
void dn_arena_free(struct dn_arena *arena);
/* Never NULL; a fixed text when memory is short. */
const char *dn_arena_printf(struct dn_arena *arena, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

#endif

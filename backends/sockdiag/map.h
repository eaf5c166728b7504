/* SPDX-License-Identifier: Apache-2.0 */
/* A bounded table from a number to something that the caller owns. */
#ifndef DENET_SOCKDIAG_MAP_H
#define DENET_SOCKDIAG_MAP_H

#include <stddef.h>
#include <stdint.h>

struct dn_map_slot {
	uint64_t key;
	void *value; /* NULL: free slot */
};

struct dn_map {
	struct dn_map_slot *slot;
	size_t size; /* a power of two, or 0 */
	size_t n;
};

void *dn_map_get(const struct dn_map *map, uint64_t key);
/* The key must be new. 0; -ENOMEM; -ENOSPC when it holds max already. */
int dn_map_put(struct dn_map *map, uint64_t key, void *value, size_t max);
/* What was there, or NULL. */
void *dn_map_take(struct dn_map *map, uint64_t key);
/*
 * Walks: at starts at 0; the next value or NULL at the end. A value may be taken while walking if
 * the same place is looked at again (*at -= 1).
 */
void *dn_map_next(const struct dn_map *map, size_t *at);
/* Frees the table, and the values with free(). */
void dn_map_finish(struct dn_map *map);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Open addressing with linear probing; removal shifts back, so that there are no tombstones to
 * clean up. */
#include <errno.h>
#include <stdlib.h>

#include "map.h"

#define FIRST_SIZE 64

static size_t home(const struct dn_map *map, uint64_t key)
{
	key ^= key >> 33;
	key *= UINT64_C(0xff51afd7ed558ccd);
	key ^= key >> 33;
	return (size_t)key & (map->size - 1);
}

static size_t find(const struct dn_map *map, uint64_t key)
{
	size_t i = home(map, key);

	while (map->slot[i].value && map->slot[i].key != key)
		i = (i + 1) & (map->size - 1);
	return i;
}

void *dn_map_get(const struct dn_map *map, uint64_t key)
{
	return map->n ? map->slot[find(map, key)].value : NULL;
}

static int grow(struct dn_map *map)
{
	struct dn_map bigger = {.size = map->size ? map->size * 2 : FIRST_SIZE, .n = map->n};

	bigger.slot = calloc(bigger.size, sizeof(*bigger.slot));
	if (!bigger.slot)
		return -ENOMEM;
	for (size_t i = 0; i < map->size; i++) {
		if (map->slot[i].value)
			bigger.slot[find(&bigger, map->slot[i].key)] = map->slot[i];
	}
	free(map->slot);
	*map = bigger;
	return 0;
}

int dn_map_put(struct dn_map *map, uint64_t key, void *value, size_t max)
{
	size_t i;

	if (map->n >= max)
		return -ENOSPC;
	if (map->n * 4 >= map->size * 3) {
		int r = grow(map);

		if (r < 0)
			return r;
	}
	i = find(map, key);
	map->n += !map->slot[i].value;
	map->slot[i] = (struct dn_map_slot){.key = key, .value = value};
	return 0;
}

void *dn_map_take(struct dn_map *map, uint64_t key)
{
	size_t mask = map->size - 1, hole, i;
	void *value;

	if (map->n == 0)
		return NULL;
	hole = find(map, key);
	value = map->slot[hole].value;
	if (!value)
		return NULL;
	for (i = (hole + 1) & mask; map->slot[i].value; i = (i + 1) & mask) {
		/* May it move to the hole? Only when its home is not between the hole and its
		 * place. */
		if (((i - home(map, map->slot[i].key)) & mask) < ((i - hole) & mask))
			continue;
		map->slot[hole] = map->slot[i];
		hole = i;
	}
	map->slot[hole].value = NULL;
	map->n--;
	return value;
}

void *dn_map_next(const struct dn_map *map, size_t *at)
{
	while (*at < map->size) {
		void *value = map->slot[(*at)++].value;

		if (value)
			return value;
	}
	return NULL;
}

void dn_map_finish(struct dn_map *map)
{
	for (size_t i = 0; i < map->size; i++)
		free(map->slot[i].value);
	free(map->slot);
	*map = (struct dn_map){0};
}

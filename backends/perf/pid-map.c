/* SPDX-License-Identifier: Apache-2.0 */
/* A hash of nodes by pid or tid, chained; it grows and never shrinks. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>

#include "pid-map.h"

#define BUCKETS_MIN 64

static size_t bucket_of(const struct dn_pid_map *map, pid_t pid)
{
	return ((uint32_t)pid * UINT32_C(2654435761) >> 8) & (map->n_buckets - 1);
}

struct dn_pid_node *dn_pid_map_find(const struct dn_pid_map *map, pid_t pid)
{
	struct dn_pid_node *node;

	if (map->n_buckets == 0)
		return NULL;
	node = map->bucket[bucket_of(map, pid)];
	while (node && node->pid != pid)
		node = node->next;
	return node;
}

static int grow(struct dn_pid_map *map)
{
	struct dn_pid_map larger = {.n_buckets = map->n_buckets ? map->n_buckets * 4 : BUCKETS_MIN};

	larger.bucket = calloc(larger.n_buckets, sizeof(struct dn_pid_node *));
	if (!larger.bucket)
		return map->n_buckets ? 0 : -ENOMEM; /* longer chains, still right */
	for (size_t i = 0; i < map->n_buckets; i++) {
		struct dn_pid_node *next;

		for (struct dn_pid_node *node = map->bucket[i]; node; node = next) {
			struct dn_pid_node **slot = &larger.bucket[bucket_of(&larger, node->pid)];

			next = node->next;
			node->next = *slot;
			*slot = node;
		}
	}
	free(map->bucket);
	map->bucket = larger.bucket;
	map->n_buckets = larger.n_buckets;
	return 0;
}

int dn_pid_map_add(struct dn_pid_map *map, struct dn_pid_node *node, pid_t pid)
{
	struct dn_pid_node **slot;

	if (map->n >= map->n_buckets * 2) {
		int r = grow(map);

		if (r < 0)
			return r;
	}
	node->pid = pid;
	slot = &map->bucket[bucket_of(map, pid)];
	node->next = *slot;
	*slot = node;
	map->n++;
	return 0;
}

void dn_pid_map_remove(struct dn_pid_map *map, struct dn_pid_node *node)
{
	struct dn_pid_node **at = &map->bucket[bucket_of(map, node->pid)];

	while (*at != node)
		at = &(*at)->next;
	*at = node->next;
	map->n--;
}

void dn_pid_map_finish(struct dn_pid_map *map)
{
	for (size_t i = 0; i < map->n_buckets; i++) {
		struct dn_pid_node *next;

		for (struct dn_pid_node *node = map->bucket[i]; node; node = next) {
			next = node->next;
			free(node);
		}
	}
	free(map->bucket);
	*map = (struct dn_pid_map){0};
}

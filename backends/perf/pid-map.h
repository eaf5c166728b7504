/* SPDX-License-Identifier: Apache-2.0 */
/* A hash of nodes by pid or tid. The nodes are their owners' first members, allocated with malloc.
 */
#ifndef DENET_PERF_PID_MAP_H
#define DENET_PERF_PID_MAP_H

#include <stddef.h>
#include <sys/types.h>

struct dn_pid_node {
	struct dn_pid_node *next;
	pid_t pid;
};

struct dn_pid_map {
	struct dn_pid_node **bucket;
	size_t n_buckets, n;
};

struct dn_pid_node *dn_pid_map_find(const struct dn_pid_map *map, pid_t pid);
int dn_pid_map_add(struct dn_pid_map *map, struct dn_pid_node *node, pid_t pid);
void dn_pid_map_remove(struct dn_pid_map *map, struct dn_pid_node *node);
/* Frees the nodes too. */
void dn_pid_map_finish(struct dn_pid_map *map);

#endif

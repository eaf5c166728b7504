/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One level-triggered epoll loop. A source is embedded in its owner; descriptors are borrowed and
 * must be removed before they are closed. Removing any source in any callback is safe.
 */
#ifndef DENET_LOOP_H
#define DENET_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define dn_container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

struct dn_source {
	int fd;
	/* events: EPOLL*. A negative return ends the loop with that errno. */
	int (*dispatch)(struct dn_source *source, uint32_t events);
	bool added;
};

struct dn_loop;

int dn_loop_new(struct dn_loop **ret_loop);
void dn_loop_free(struct dn_loop *loop);
/* source->fd and source->dispatch are set by the caller. 0 or negative errno. */
int dn_loop_add(struct dn_loop *loop, struct dn_source *source, uint32_t events);
/* Idempotent. */
void dn_loop_remove(struct dn_loop *loop, struct dn_source *source);
/* Runs until dn_loop_quit() or a callback fails. */
int dn_loop_run(struct dn_loop *loop);
void dn_loop_quit(struct dn_loop *loop);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Talking to NETLINK_SOCK_DIAG: events of destroyed TCP sockets, dumps, and questions about one
 * socket. */
#ifndef DENET_SOCKDIAG_DIAG_H
#define DENET_SOCKDIAG_DIAG_H

#include "message.h"

struct dn_diag {
	int event_fd;
	int query_fd; /* -1 until something is asked */
	uint32_t seq;
	uint32_t drops; /* as the kernel counts them for event_fd */
	uint8_t *buffer; /* NULL until a dump is asked for */
};

/* Listens for destroyed sockets of this network namespace. 0 or negative errno. */
int dn_diag_open(struct dn_diag *diag);
/* Whether the kernel answers for TCP: its part that does may be a module that can't be loaded,
 * which listening does not tell. */
int dn_diag_try(struct dn_diag *diag);
void dn_diag_close(struct dn_diag *diag);
/* 1: *ret is a destroyed socket; 0: nothing is waiting; -ENOBUFS: *ret_lost events were lost; other
 * negative errno. */
int dn_diag_event(struct dn_diag *diag, struct dn_tcp *ret, uint64_t *ret_lost);
/* Waits until an event is there, at most so long. */
void dn_diag_wait(struct dn_diag *diag, unsigned timeout_ms);
/* The socket with that family and id; a cookie of all ones matches any. -ENOENT when the kernel has
 * none. */
int dn_diag_query(struct dn_diag *diag, uint8_t family, const struct inet_diag_sockid *id,
	struct dn_tcp *ret);
/* The TCP sockets of the namespace in these states; each returns 0 or a negative errno, which ends
 * the dump. */
#define DN_DIAG_LISTENING (1u << DN_TCP_LISTEN)
#define DN_DIAG_CONNECTED (~(1u << DN_TCP_LISTEN | 1u << DN_TCP_CLOSE | 1u << DN_TCP_TIME_WAIT))
int dn_diag_dump(struct dn_diag *diag, uint32_t states,
	int (*each)(void *arg, const struct dn_tcp *tcp), void *arg);

#endif

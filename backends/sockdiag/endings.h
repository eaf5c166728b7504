/* SPDX-License-Identifier: Apache-2.0 */
/* Both ends of a connection on this machine know what the other one received. */
#ifndef DENET_SOCKDIAG_ENDINGS_H
#define DENET_SOCKDIAG_ENDINGS_H

#include "sockdiag.h"

/*
 * A destroyed socket. waiting: it is ours, and whether it received the peer's FIN is for the other
 * end to say; its lower value is in the totals already.
 */
void dn_endings_add(struct dn_sockdiag *s, const struct dn_tcp *tcp, struct dn_process *owner,
	struct dn_listener *listener, bool waiting);
void dn_endings_exited(struct dn_sockdiag *s, const struct dn_process *process);
/* Nobody will say more: what still waits is a doubt. */
void dn_endings_settle(struct dn_sockdiag *s);

/* Payload bytes, each once. */
uint64_t dn_account_sent(const struct dn_tcp *tcp);
/* The same for both ends of a connection, and for IPv4 in an IPv6 socket. */
uint64_t dn_endings_key(const struct dn_tcp *tcp);
/* A listening socket with that address may have accepted it. */
bool dn_endings_covers(
	uint8_t family, const struct inet_diag_sockid *listener, const struct dn_tcp *tcp);
/* The same of the other end of tcp. */
bool dn_endings_covers_peer(
	uint8_t family, const struct inet_diag_sockid *listener, const struct dn_tcp *tcp);
/* Both ends are on this machine. */
bool dn_endings_is_local(const struct dn_tcp *tcp);
/* Some connection may be for both listening sockets. */
bool dn_endings_overlap(const struct dn_listener *a, const struct dn_listener *b);
/* b is the other end of a. */
bool dn_endings_are_peers(const struct dn_tcp *a, const struct dn_tcp *b);

#endif

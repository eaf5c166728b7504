/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the kernel says of TCP sockets, as plain values. Parsers only: they take bytes, check bounds
 * first and keep nothing.
 */
#ifndef DENET_SOCKDIAG_MESSAGE_H
#define DENET_SOCKDIAG_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <linux/inet_diag.h>

/* States of a TCP socket, as idiag_state has them. */
enum {
	DN_TCP_ESTABLISHED = 1,
	DN_TCP_SYN_SENT,
	DN_TCP_SYN_RECV,
	DN_TCP_FIN_WAIT1,
	DN_TCP_FIN_WAIT2,
	DN_TCP_TIME_WAIT,
	DN_TCP_CLOSE,
	DN_TCP_CLOSE_WAIT,
	DN_TCP_LAST_ACK,
	DN_TCP_LISTEN,
	DN_TCP_CLOSING,
	DN_TCP_NEW_SYN_RECV,
};

/* One socket in one message. */
struct dn_tcp {
	struct inet_diag_sockid id;
	uint8_t family;
	uint8_t state;
	uint32_t inode;
	uint32_t uid; /* of who made the socket; 0 in a last word */
	uint32_t rqueue,
		wqueue; /* received and not read, FIN included; written and not acknowledged */
	bool has_info; /* the fields below; false for what the kernel keeps in short (TIME_WAIT) */
	uint64_t sent, resent; /* payload bytes, sent includes resent */
	uint64_t acked; /* with one for our SYN and one for our FIN */
	uint64_t received; /* with one for the peer's FIN */
	uint32_t data_segments_in;
	uint32_t retransmits; /* segments */
	uint32_t last_sent_ms, last_received_ms; /* ago; the establishing counts as both */
};

static inline uint64_t dn_tcp_cookie(const struct dn_tcp *tcp)
{
	return (uint64_t)tcp->id.idiag_cookie[1] << 32 | tcp->id.idiag_cookie[0];
}

enum dn_message_kind {
	DN_MESSAGE_TCP, /* *ret is set */
	DN_MESSAGE_DONE, /* the end of a dump */
	DN_MESSAGE_ERROR, /* *ret_error is a negative errno */
	DN_MESSAGE_OTHER, /* well-formed, not about TCP */
	DN_MESSAGE_END, /* nothing whole is left */
};

/*
 * The next message in [*data, *data + *len); both are moved behind it. Every call either moves on
 * or answers DN_MESSAGE_END.
 */
enum dn_message_kind dn_message_next(
	const uint8_t **data, size_t *len, uint32_t *ret_seq, struct dn_tcp *ret, int *ret_error);

/* Since the boot of the network namespace. */
struct dn_snmp {
	uint64_t opens; /* TCP connections, ActiveOpens + PassiveOpens */
	uint64_t datagrams; /* UDP, in and out */
};

/* The text of /proc/net/snmp. 0; -EINVAL when the TCP columns are not there. */
int dn_snmp_parse(const char *text, struct dn_snmp *ret);

/* The text of /proc/net/sockstat: TCP sockets of the machine, connected or not. 0 or -EINVAL. */
int dn_sockstat_parse(const char *text, uint64_t *ret);

/* "socket:[123]" and nothing else. */
bool dn_socket_inode(const char *link, size_t len, uint32_t *ret);

#endif

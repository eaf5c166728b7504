/* SPDX-License-Identifier: Apache-2.0 */
/* What both sides of the probe group network share. */
#ifndef DENET_WIRE_NETWORK_H
#define DENET_WIRE_NETWORK_H

#include "wire.h"

enum dn_wire_protocol {
	DN_PROTOCOL_TCP, /* with MPTCP, as the program sees it */
	DN_PROTOCOL_UDP,
	DN_PROTOCOL_UNIX,
	DN_PROTOCOL_OTHER,
	DN_PROTOCOL_N,
};

/* What a call does with a socket. Made by user space, by the call's index in the tables. */
enum dn_wire_socket_call {
	DN_SOCKET_NONE,
	DN_SOCKET_CONNECT,
	DN_SOCKET_ACCEPT,
	DN_SOCKET_SEND, /* sendto: an address in argument 4 */
	DN_SOCKET_SENDMSG,
	DN_SOCKET_SENDMMSG,
	DN_SOCKET_WRITE, /* of any descriptor */
	DN_SOCKET_RECV, /* recvfrom: flags in argument 3 */
	DN_SOCKET_RECVMSG, /* flags in argument 2 */
	DN_SOCKET_RECVMMSG, /* flags in argument 3 */
	DN_SOCKET_READ, /* of any descriptor */
	DN_SOCKET_SENDFILE, /* from argument 1 to argument 0 */
	DN_SOCKET_SPLICE, /* from argument 0 to argument 2 */
	DN_SOCKET_MULTIPLEX, /* socketcall of 32-bit programs */
	DN_SOCKET_RING, /* io_uring: what it moves is no call */
};

/* Failures by errno; larger ones, and there are none, in the first. */
#define DN_NETWORK_ERRNOS 136

/* Sums of the tree, per CPU. */
struct dn_wire_network {
	struct {
		__u64 rx_bytes, tx_bytes, rx_calls, tx_calls;
	} protocol[DN_PROTOCOL_N];
	/* of the TCP sockets of the tree, as the kernel counts them */
	__u64 rx_bytes, tx_bytes, retransmits;
	__u64 connects, accepts, resets;
	__u64 adopted; /* connections that came from elsewhere while they carried data */
	__u64 rings; /* calls of io_uring */
	__u64 multipath; /* MPTCP sockets that were used */
	__u64 cut; /* calls with more messages than could be looked at */
	__u64 failures[DN_NETWORK_ERRNOS];
};

enum dn_wire_network_time {
	DN_NETWORK_CONNECT,
	DN_NETWORK_RTT,
	DN_NETWORK_UNIX,
	DN_NETWORK_TIMES,
};

#define DN_SOCKETS 65536
#define DN_SOCKET_OWNERS 16384

/* A TCP socket of the tree, by its address in the kernel, from when it is seen to its end. */
struct dn_wire_socket {
	__u64 rx_bytes, tx_bytes, retransmits; /* what the sums have of it */
	__u64 syn_ns; /* while it connects: since when */
	__u32 owner; /* process that it was first seen with; 0: nobody that denet could name */
	__u32 segments; /* received, when the round-trip time was last looked at */
	__u32 calling; /* the call that connects it has not returned */
	__u32 error; /* that ended its connecting */
	__u32 told; /* the error is in the failures */
	__u32 hole;
};

/* Bytes of a process's sockets, by pid as denet's namespace numbers it. */
struct dn_wire_socket_owner {
	__u64 rx_bytes, tx_bytes;
};

/* Of the moment, made by a pass over the sockets. */
struct dn_wire_sockets {
	__u64 connections;
};

/* A Unix socket: what was sent to it and not yet received, and since when. */
#define DN_UNIX_SENDS 16
#define DN_UNIX_SOCKETS 2048

struct dn_wire_unix {
	__u64 inode; /* of the receiving end; 0 while it is not accepted */
	__u64 sent, received; /* bytes of a stream, messages of others */
	__u64 received_ns; /* the end of the last receive */
	__u64 next; /* place of the next send */
	struct {
		__u64 end; /* it was received when so much was received */
		__u64 since_ns; /* 0: nothing is here */
	} send[DN_UNIX_SENDS];
};

_Static_assert(sizeof(struct dn_wire_network) == 8 * (26 + DN_NETWORK_ERRNOS), "no holes");
_Static_assert(sizeof(struct dn_wire_socket) == 56, "no holes");
_Static_assert(sizeof(struct dn_wire_unix) == 40 + 16 * DN_UNIX_SENDS, "no holes");

#endif

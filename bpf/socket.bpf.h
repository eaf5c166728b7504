/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The TCP sockets of the tree, for those who make them known (calls, state changes) and those who
 * read their counters. The kernel's own counters of a socket are the measurement: they are read at
 * each change of its state, by a pass before each sample, and at its end, and what is new of them
 * goes into the sums.
 */
#ifndef DENET_SOCKET_BPF_H
#define DENET_SOCKET_BPF_H

#include "common.bpf.h"
#include "wire-network.h"

/* Families, types, protocols and states are ABI. */
#define DN_AF_UNIX 1
#define DN_AF_INET 2
#define DN_AF_INET6 10
#define DN_SOCK_STREAM 1
#define DN_IPPROTO_TCP 6
#define DN_IPPROTO_UDP 17
#define DN_IPPROTO_MPTCP 262
#define DN_TCP_ESTABLISHED 1
#define DN_TCP_SYN_SENT 2
#define DN_TCP_FIN_WAIT1 4
#define DN_TCP_FIN_WAIT2 5
#define DN_TCP_CLOSE 7
#define DN_TCP_CLOSE_WAIT 8
#define DN_TCP_LAST_ACK 9
#define DN_TCP_CLOSING 11

#define DN_S_IFMT 0170000
#define DN_S_IFSOCK 0140000

/* User space makes the hashes large (DN_SOCKETS, DN_SOCKET_OWNERS) when the group is on. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, u64);
	__type(value, struct dn_wire_socket);
} dn_sockets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct dn_wire_network);
} dn_network SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, DN_NETWORK_TIMES);
	__type(key, u32);
	__type(value, struct dn_wire_histogram);
} dn_network_times SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, u32);
	__type(value, struct dn_wire_socket_owner);
} dn_socket_owners SEC(".maps");

static __always_inline struct dn_wire_network *network(void)
{
	u32 zero = 0;

	return bpf_map_lookup_elem(&dn_network, &zero);
}

/* A function of numbers only, which the verifier of every kernel looks at once. */
#define DN_OF_NUMBERS __noinline __attribute__((weak))

DN_OF_NUMBERS int network_time(u32 which, u64 ns)
{
	struct dn_wire_histogram *histogram = bpf_map_lookup_elem(&dn_network_times, &which);

	if (histogram)
		histogram_add(histogram, ns);
	return 0;
}

DN_OF_NUMBERS int network_failure(u32 error)
{
	struct dn_wire_network *sum = network();
	u64 index = error < DN_NETWORK_ERRNOS ? error : 0;

	KEEP(index);
	if (sum && index < DN_NETWORK_ERRNOS)
		__sync_fetch_and_add(&sum->failures[index], 1);
	return 0;
}

/* Only one tells the error that ended a connecting. */
static __always_inline bool socket_claim(u32 *told)
{
#ifdef DENET_HASH
	u32 before = *told;

	*told = 1;
	return !before;
#else
	return __sync_val_compare_and_swap(told, 0, 1) == 0;
#endif
}

/*
 * The payload among what the kernel counts: the peer's FIN counts as a byte, and sent bytes count
 * again when they are sent again. The FIN is marked right after it is counted: looked at last.
 */
static __always_inline void socket_read(struct tcp_sock *tcp, struct dn_wire_socket *now)
{
	u64 received = BPF_CORE_READ(tcp, bytes_received);
	u64 sent = BPF_CORE_READ(tcp, bytes_sent), again = BPF_CORE_READ(tcp, bytes_retrans);
	unsigned long flags;

	now->retransmits = BPF_CORE_READ(tcp, total_retrans);
	now->tx_bytes = sent > again ? sent - again : 0;
	flags = BPF_CORE_READ((struct sock *)tcp, __sk_common.skc_flags);
	if (received && flags >> bpf_core_enum_value(enum sock_flags, SOCK_DONE) & 1)
		received--;
	now->rx_bytes = received;
}

/* Brings the sums up to what the socket carried until now. */
static __noinline __attribute__((unused)) void socket_harvest(
	struct tcp_sock *tcp, struct dn_wire_socket *socket)
{
	struct dn_wire_network *sum = network();
	struct dn_wire_socket_owner *owner;
	struct dn_wire_socket now = {};
	u32 pid = socket->owner;
	u64 rx, tx, again;

	if (!sum)
		return;
	socket_read(tcp, &now);
	rx = advance(&socket->rx_bytes, now.rx_bytes);
	tx = advance(&socket->tx_bytes, now.tx_bytes);
	again = advance(&socket->retransmits, now.retransmits);
	__sync_fetch_and_add(&sum->rx_bytes, rx);
	__sync_fetch_and_add(&sum->tx_bytes, tx);
	__sync_fetch_and_add(&sum->retransmits, again);
	if (!pid || !(rx | tx))
		return;
	owner = bpf_map_lookup_elem(&dn_socket_owners, &pid);
	if (!owner) {
		struct dn_wire_socket_owner none = {};

		bpf_map_update_elem(&dn_socket_owners, &pid, &none, BPF_NOEXIST);
		owner = bpf_map_lookup_elem(&dn_socket_owners, &pid);
	}
	if (!owner)
		return; /* the sums have it; only the process lacks it */
	__sync_fetch_and_add(&owner->rx_bytes, rx);
	__sync_fetch_and_add(&owner->tx_bytes, tx);
}

/* Once per look: the smoothed round-trip time, if something came since the last one. */
static __noinline __attribute__((unused)) void socket_rtt(
	struct tcp_sock *tcp, struct dn_wire_socket *socket)
{
	u32 segments = BPF_CORE_READ(tcp, segs_in), us8 = BPF_CORE_READ(tcp, srtt_us);

	if (!us8 || segments == socket->segments)
		return;
	socket->segments = segments;
	network_time(DN_NETWORK_RTT, (u64)us8 * 125); /* eighths of a microsecond */
}

/* A socket is made known, with what it carried before or without. */
static __noinline __attribute__((unused)) struct dn_wire_socket *socket_make(
	struct tcp_sock *tcp, u32 owner, u32 baseline)
{
	struct dn_wire_socket made = {};
	u64 key = (u64)tcp;

	if (baseline) {
		socket_read(tcp, &made);
		made.segments = BPF_CORE_READ(tcp, segs_in);
	}
	made.owner = owner;
	if (map_update(&dn_sockets, &key, &made, BPF_NOEXIST) < 0 &&
		!bpf_map_lookup_elem(&dn_sockets, &key))
		lose(DN_LOSS_MAP);
	return bpf_map_lookup_elem(&dn_sockets, &key);
}

/* The socket of an open file; 0 when it is none. */
static __always_inline struct sock *socket_of_file(struct file *file)
{
	struct socket *socket;

	if (!file || (BPF_CORE_READ(file, f_inode, i_mode) & DN_S_IFMT) != DN_S_IFSOCK)
		return 0;
	socket = BPF_CORE_READ(file, private_data);
	return BPF_CORE_READ(socket, sk);
}

static __always_inline u32 socket_protocol(struct sock *sk)
{
	u16 family = BPF_CORE_READ(sk, __sk_common.skc_family), protocol;

	if (family == DN_AF_UNIX)
		return DN_PROTOCOL_UNIX;
	if (family != DN_AF_INET && family != DN_AF_INET6)
		return DN_PROTOCOL_OTHER;
	protocol = BPF_CORE_READ(sk, sk_protocol);
	if (protocol == DN_IPPROTO_TCP || protocol == DN_IPPROTO_MPTCP)
		return DN_PROTOCOL_TCP;
	return protocol == DN_IPPROTO_UDP ? DN_PROTOCOL_UDP : DN_PROTOCOL_OTHER;
}

static __always_inline bool is_multipath(struct sock *sk)
{
	return BPF_CORE_READ(sk, sk_protocol) == DN_IPPROTO_MPTCP;
}

/* It carries data, or may have some left to carry. */
static __always_inline bool is_connection(struct sock *sk)
{
	const u32 states = 1u << DN_TCP_ESTABLISHED | 1u << DN_TCP_FIN_WAIT1 |
			   1u << DN_TCP_FIN_WAIT2 | 1u << DN_TCP_CLOSE_WAIT |
			   1u << DN_TCP_LAST_ACK | 1u << DN_TCP_CLOSING;

	return states >> (BPF_CORE_READ(sk, __sk_common.skc_state) & 31) & 1;
}

#endif

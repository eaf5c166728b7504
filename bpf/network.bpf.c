/* SPDX-License-Identifier: Apache-2.0 */
/* The lives of the tree's TCP sockets. Most of this runs in interrupts, whoever is interrupted. */
#include "socket.bpf.h"

/* A call of this thread connects it: the state changes in the call. */
static __noinline void begin_connect(struct sock *sk, struct dn_wire_socket *socket)
{
	if (!socket) {
		if (!task_counting() || socket_protocol(sk) != DN_PROTOCOL_TCP)
			return;
		socket = socket_make((struct tcp_sock *)sk, tgid_here(task_now()), 0);
		if (!socket)
			return;
	} else {
		/* Disconnected and connected again: its counters begin anew. */
		socket->rx_bytes = socket->tx_bytes = socket->retransmits = 0;
		socket->segments = socket->error = socket->told = 0;
	}
	socket->syn_ns = bpf_ktime_get_ns();
	socket->calling = 1;
}

static __noinline void end_connect(struct sock *sk, struct dn_wire_socket *socket)
{
	u32 error = (u32)BPF_CORE_READ(sk, sk_err);
	struct dn_wire_network *sum = network();

	socket->syn_ns = 0;
	if (!error || !sum)
		return; /* nobody wanted it any more */
	__sync_fetch_and_add(&socket->error, error);
	if (!socket->calling && socket_claim(&socket->told))
		network_failure(error);
}

DN_RAW_TRACEPOINT(inet_sock_set_state)
int BPF_PROG(dn_socket_state, struct sock *sk, int before, int after)
{
	u64 key = (u64)sk, began;
	struct dn_wire_socket *socket = bpf_map_lookup_elem(&dn_sockets, &key);
	struct dn_wire_network *sum;

	if (after == DN_TCP_SYN_SENT) {
		begin_connect(sk, socket);
		return 0;
	}
	if (!socket)
		return 0;
	began = socket->syn_ns;
	if (began && after == DN_TCP_ESTABLISHED) {
		socket->syn_ns = 0;
		sum = network();
		if (sum)
			__sync_fetch_and_add(&sum->connects, 1);
		network_time(DN_NETWORK_CONNECT, bpf_ktime_get_ns() - began);
	}
	socket_harvest((struct tcp_sock *)sk, socket);
	if (after != DN_TCP_CLOSE)
		return 0;
	socket_rtt((struct tcp_sock *)sk, socket);
	if (began)
		end_connect(sk, socket);
	return 0;
}

DN_RAW_TRACEPOINT(tcp_destroy_sock)
int BPF_PROG(dn_socket_end, struct sock *sk)
{
	u64 key = (u64)sk;
	struct dn_wire_socket *socket = bpf_map_lookup_elem(&dn_sockets, &key);
	struct dn_wire_network *sum = network();

	if (!socket || !sum)
		return 0;
	socket_harvest((struct tcp_sock *)sk, socket);
	if (socket->error && socket_claim(&socket->told))
		network_failure(socket->error);
	bpf_map_delete_elem(&dn_sockets, &key);
	return 0;
}

static __always_inline void count_reset(struct sock *sk)
{
	u64 key = (u64)sk;
	struct dn_wire_network *sum = network();

	if (sum && bpf_map_lookup_elem(&dn_sockets, &key))
		__sync_fetch_and_add(&sum->resets, 1);
}

DN_RAW_TRACEPOINT(tcp_send_reset)
int BPF_PROG(dn_reset_sent, struct sock *sk)
{
	count_reset(sk);
	return 0;
}

/* A refused connect is a failure and no reset. */
DN_RAW_TRACEPOINT(tcp_receive_reset)
int BPF_PROG(dn_reset_received, struct sock *sk)
{
	if (BPF_CORE_READ(sk, __sk_common.skc_state) != DN_TCP_SYN_SENT)
		count_reset(sk);
	return 0;
}

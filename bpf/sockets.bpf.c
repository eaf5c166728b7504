/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Passes over sockets: those that the tree holds when measuring begins, and what the known ones
 * carried since the last pass. Loaded when first needed.
 */
#include "socket.bpf.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct dn_wire_sockets);
} dn_sockets_now SEC(".maps");

/* Baselines: of each connection that a thread of the tree holds. */
SEC("dn_iter/task_file")
int dn_held_sockets(struct bpf_iter__task_file *ctx)
{
	struct task_struct *task = ctx->task;
	struct file *file = ctx->file;
	struct dn_wire_network *sum = network();
	struct sock *sk;

	if (!task || !file || !sum || !task_find(task))
		return 0;
	sk = socket_of_file(file);
	if (!sk || socket_protocol(sk) != DN_PROTOCOL_TCP)
		return 0;
	if (is_multipath(sk))
		sum->multipath++;
	else if (is_connection(sk))
		socket_make((struct tcp_sock *)sk, tgid_here(task), 1);
	return 0;
}

SEC("dn_iter/bpf_map_elem/dn_sockets")
int dn_known_sockets(struct bpf_iter__bpf_map_elem *ctx)
{
	u64 *at = ctx->key;
	struct dn_wire_socket *socket;
	struct dn_wire_sockets *now;
	struct sock *sk;
	u32 zero = 0;
	u64 key;

	if (!at)
		return 0;
	key = *at;
	socket = bpf_map_lookup_elem(&dn_sockets, &key);
	now = bpf_map_lookup_elem(&dn_sockets_now, &zero);
	if (!socket || !now)
		return 0;
	sk = (struct sock *)key;
	socket_harvest((struct tcp_sock *)sk, socket);
	socket_rtt((struct tcp_sock *)sk, socket);
	/* Without a struct socket nobody holds it any more: it only sends what is left. */
	if (is_connection(sk) && BPF_CORE_READ(sk, sk_socket))
		now->connections++;
	return 0;
}

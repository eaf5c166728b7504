/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The group network, as far as system calls tell it: bytes and calls by protocol, accepts,
 * failures, which TCP sockets are the tree's, and how long what is sent on Unix sockets waits
 * there.
 */
#ifndef DENET_GROUP_NETWORK_BPF_H
#define DENET_GROUP_NETWORK_BPF_H

#include "call.bpf.h"
#include "socket.bpf.h"

#define MSG_PEEK 0x2
#define MSG_ERRQUEUE 0x2000
#define DN_MESSAGES_MAX 1024 /* the kernel's own limit of one sendmmsg */
#define DN_MESSAGES_FEW 16 /* where the kernel has no bpf_loop */

/* Kernels before 6.8 verify every function, called or not: let there be nothing in it. */
#define NETWORK_OFF (!(dn_features & DN_FEATURE_NETWORK))

/* By the receiving socket's address in the kernel. The idle ones make room. User space makes it
 * DN_UNIX_SOCKETS large when the group is on. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1);
	__type(key, u64);
	__type(value, struct dn_wire_unix);
} dn_unix SEC(".maps");

/* Nobody writes it: it would not fit on the stack. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct dn_wire_unix);
} dn_unix_new SEC(".maps");

/* Set before loading: enum dn_wire_socket_call by index. */
const volatile u8 dn_socket_calls[DN_CALLS_N];

/* Argument n of a call; packed: of one that socketcall stands for, where its arguments are. */
DN_OF_NUMBERS u64 network_argument(u64 regs, u32 n, u32 abi, u64 packed)
{
	u32 value = 0;

	if (NETWORK_OFF)
		return 0;
	if (!packed)
		return regs_argument_of((struct pt_regs *)regs, n, abi);
	bpf_probe_read_user(&value, sizeof(value), (const void *)(packed + n * 4));
	return value;
}

/* The calls that socketcall stands for; their numbers are ABI. */
DN_OF_NUMBERS u32 network_unpack(u64 number)
{
	if (NETWORK_OFF)
		return 0;
	switch (number) {
	case 3:
		return DN_SOCKET_CONNECT;
	case 5:
	case 18:
		return DN_SOCKET_ACCEPT;
	case 9: /* send, which has no address */
		return DN_SOCKET_WRITE;
	case 11:
		return DN_SOCKET_SEND;
	case 10:
	case 12:
		return DN_SOCKET_RECV;
	case 16:
		return DN_SOCKET_SENDMSG;
	case 17:
		return DN_SOCKET_RECVMSG;
	case 19:
		return DN_SOCKET_RECVMMSG;
	case 20:
		return DN_SOCKET_SENDMMSG;
	default:
		return DN_SOCKET_NONE;
	}
}

/* The socket that a descriptor of the current task is open on; 0 for none. */
DN_OF_NUMBERS u64 network_socket(u32 fd)
{
	struct task_struct *task = task_now();
	struct file **array, *file = 0;
	u32 n;

	if (NETWORK_OFF)
		return 0;
#ifdef DENET_HASH
	n = BPF_CORE_READ(task, files, fdt, max_fds);
	array = BPF_CORE_READ(task, files, fdt, fd);
#else
	n = task->files->fdt->max_fds;
	array = task->files->fdt->fd;
#endif
	if (fd >= n)
		return 0;
	bpf_probe_read_kernel(&file, sizeof(file), &array[fd]);
	return (u64)socket_of_file(file);
}

/* Messages */

struct network_messages {
	u64 at, bytes;
	u32 stride;
};

static long network_add_message(u32 i, struct network_messages *messages)
{
	u32 bytes = 0;

	bpf_probe_read_user(
		&bytes, sizeof(bytes), (const void *)(messages->at + i * messages->stride));
	messages->bytes += bytes;
	return 0;
}

/* Bytes of the messages of one call; at is the length of the first: struct mmsghdr ends with it,
 * and padding where it is wide. */
DN_OF_NUMBERS u64 network_messages(u64 at, u32 stride, u32 n)
{
	struct network_messages messages = {.at = at, .stride = stride};
	struct dn_wire_network *sum;

	if (NETWORK_OFF)
		return 0;
	if (n > DN_MESSAGES_MAX)
		n = DN_MESSAGES_MAX;
#ifndef DENET_HASH
	if (bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_loop)) {
		bpf_loop(n, network_add_message, &messages, 0);
		return messages.bytes;
	}
#endif
	for (u32 i = 0; i < DN_MESSAGES_FEW && i < n; i++)
		network_add_message(i, &messages);
	sum = network();
	if (n > DN_MESSAGES_FEW && sum)
		sum->cut++;
	return messages.bytes;
}

/* Unix sockets */

static __always_inline u64 unix_inode(struct sock *sk)
{
	struct socket_alloc *socket = (struct socket_alloc *)BPF_CORE_READ(sk, sk_socket);

	return socket ? BPF_CORE_READ(socket, vfs_inode.i_ino) : 0;
}

/* Places are taken by exchange: who sends and who receives meet without a lock. */
static __always_inline u64 unix_take(u64 *since_ns)
{
#ifdef DENET_HASH
	u64 taken = *since_ns;

	*since_ns = 0;
	return taken;
#else
	return __sync_lock_test_and_set(since_ns, 0);
#endif
}

static __always_inline u64 unix_count(u64 *counter, u64 n)
{
#ifdef DENET_HASH
	*counter += n;
	return *counter;
#else
	return __sync_fetch_and_add(counter, n) + n;
#endif
}

/* Made by whoever comes first: a receive may return before the send does. */
static __always_inline struct dn_wire_unix *unix_queue(u64 receiver)
{
	struct dn_wire_unix *queue = bpf_map_lookup_elem(&dn_unix, &receiver), *made;
	u64 inode = unix_inode((struct sock *)receiver);
	u32 zero = 0;

	if (queue && queue->inode && queue->inode != inode) {
		/* Another socket where that one was. */
		bpf_map_delete_elem(&dn_unix, &receiver);
		queue = 0;
	}
	if (!queue) {
		made = bpf_map_lookup_elem(&dn_unix_new, &zero);
		if (made)
			bpf_map_update_elem(&dn_unix, &receiver, made, BPF_NOEXIST);
		queue = bpf_map_lookup_elem(&dn_unix, &receiver);
	}
	if (queue && !queue->inode)
		queue->inode = inode; /* it is new, or was accepted */
	return queue;
}

DN_OF_NUMBERS int unix_sent(u64 receiver, u64 n, u64 since_ns, u64 now_ns)
{
	struct dn_wire_unix *queue = unix_queue(receiver);
	u64 end, place, taken, ahead;

	if (NETWORK_OFF)
		return 0;
	if (!queue)
		return 0;
	end = unix_count(&queue->sent, n);
	if (queue->received >= end) {
		if (queue->received_ns >= since_ns)
			return network_time(DN_NETWORK_UNIX, queue->received_ns - since_ns);
		/* Received before it was sent: somebody unknown had sent as much. */
		ahead = queue->received - (end - n);
		unix_count(&queue->sent, ahead);
		end += ahead;
	}
	place = unix_count(&queue->next, 1) % DN_UNIX_SENDS;
	if (queue->send[place].since_ns)
		return 0; /* more wait than there are places */
	queue->send[place].end = end;
	__sync_fetch_and_add(&queue->send[place].since_ns, since_ns);
	/* It may have been received before it stood there. */
	if (queue->received < end)
		return 0;
	taken = unix_take(&queue->send[place].since_ns);
	return taken ? network_time(DN_NETWORK_UNIX, now_ns - taken) : 0;
}

DN_OF_NUMBERS int unix_received(u64 receiver, u64 n, u64 now_ns)
{
	struct dn_wire_unix *queue = unix_queue(receiver);
	u64 until;

	if (NETWORK_OFF)
		return 0;
	if (!queue)
		return 0;
	queue->received_ns = now_ns;
	until = unix_count(&queue->received, n);
	for (u32 i = 0; i < DN_UNIX_SENDS; i++) {
		u64 taken;

		if (!queue->send[i].since_ns || queue->send[i].end > until)
			continue;
		taken = unix_take(&queue->send[i].since_ns);
		if (taken)
			network_time(DN_NETWORK_UNIX, now_ns - taken);
	}
	return 0;
}

#define NETWORK_SENDS 1
#define NETWORK_COUNTS 2
#define NETWORK_ADDRESSED 4 /* names its receiver, who could not be found here */

DN_OF_NUMBERS int network_unix(u64 at, u64 bytes, u64 messages, u64 since_ns, u64 now_ns)
{
	u64 n = messages >> 8, peer, what = messages & 255;
	struct sock *sk = (struct sock *)at;

	if (NETWORK_OFF)
		return 0;
	if (BPF_CORE_READ(sk, sk_type) == DN_SOCK_STREAM)
		n = bytes;
	else if (what & NETWORK_ADDRESSED)
		return 0;
	if (!since_ns || !n)
		return 0;
	if (!(what & NETWORK_SENDS))
		return unix_received(at, n, now_ns);
	peer = (u64)BPF_CORE_READ((struct unix_sock *)at, peer);
	return peer ? unix_sent(peer, n, since_ns, now_ns) : 0;
}

/* TCP sockets */

static __always_inline bool is_failure(s64 result)
{
	return result < 0 && result > -ERESTARTSYS && result != -EAGAIN && result != -EINPROGRESS &&
	       result != -EALREADY && result != -EINTR;
}

/*
 * A call on a TCP socket has returned. True when its failure is in the sums: that of a connecting
 * may have been told by the change of state, and is told once.
 */
DN_OF_NUMBERS int network_tcp(u64 key, s64 result)
{
	struct sock *sk = (struct sock *)key;
	struct dn_wire_socket *socket = bpf_map_lookup_elem(&dn_sockets, &key);
	struct dn_wire_network *sum = network();
	bool failed = is_failure(result);
	u32 error;

	if (NETWORK_OFF)
		return 0;
	if (!sum)
		return false;
	if (!socket) {
		if (is_multipath(sk)) {
			sum->multipath++;
		} else if (is_connection(sk)) {
			sum->adopted++;
			socket_make((struct tcp_sock *)sk, tgid_here(task_now()), 1);
		}
		return false;
	}
	socket->calling = 0;
	error = socket->error;
	if (!error || (failed && error != (u32)-result))
		return false;
	if (socket_claim(&socket->told))
		network_failure(error);
	if (failed)
		socket->error = 0; /* the program knows it now */
	return failed;
}

DN_OF_NUMBERS int network_accept(u32 fd)
{
	struct dn_wire_network *sum = network();
	struct sock *sk;

	if (NETWORK_OFF)
		return 0;
	if (!sum)
		return 0;
	sum->accepts++;
	sk = (struct sock *)network_socket(fd);
	if (!sk || socket_protocol(sk) != DN_PROTOCOL_TCP)
		return 0;
	if (is_multipath(sk))
		sum->multipath++;
	else
		socket_make((struct tcp_sock *)sk, tgid_here(task_now()), 0);
	return 0;
}

/* Calls */

/* The socket's part of a call. The protocol, when it moved something. */
DN_OF_NUMBERS int network_transfer(u64 at, u64 bytes, u32 what, s64 result)
{
	struct sock *sk = (struct sock *)at;
	struct dn_wire_network *sum = network();
	u32 protocol = socket_protocol(sk), weight;

	if (NETWORK_OFF)
		return 0;
	if (!sum || protocol >= DN_PROTOCOL_N)
		return DN_PROTOCOL_N;
	if (protocol == DN_PROTOCOL_TCP && network_tcp(at, result))
		return DN_PROTOCOL_N;
	if (result < 0) {
		if (is_failure(result))
			network_failure((u32)-result);
		return DN_PROTOCOL_N;
	}
	if (!(what & NETWORK_COUNTS))
		return DN_PROTOCOL_N;
	weight = (u32)sample_weight(DN_GROUP_NETWORK);
	if (what & NETWORK_SENDS) {
		sum->protocol[protocol].tx_bytes += bytes * weight;
		sum->protocol[protocol].tx_calls += weight;
	} else {
		sum->protocol[protocol].rx_bytes += bytes * weight;
		sum->protocol[protocol].rx_calls += weight;
	}
	return protocol;
}

/* Looks at data that stays where it is, or at what is no data. */
static __always_inline bool network_is_peek(u64 regs, u32 how, u32 abi, u64 packed)
{
	u32 n = how == DN_SOCKET_RECVMSG ? 2 : 3;

	if (how != DN_SOCKET_RECVMSG && how != DN_SOCKET_RECV && how != DN_SOCKET_RECVMMSG)
		return false;
	return network_argument(regs, n, abi, packed) & (MSG_PEEK | MSG_ERRQUEUE);
}

/* Does the (first) message name its receiver? */
DN_OF_NUMBERS int network_is_addressed(u64 regs, u32 how, u32 abi, u64 packed)
{
	u64 name = 0;

	if (NETWORK_OFF)
		return 0;
	if (how == DN_SOCKET_SEND)
		return network_argument(regs, 4, abi, packed) != 0;
	if (how != DN_SOCKET_SENDMSG && how != DN_SOCKET_SENDMMSG)
		return 0;
	bpf_probe_read_user(
		&name, abi == 0 ? 8 : 4, (const void *)network_argument(regs, 1, abi, packed));
	return name != 0;
}

static __always_inline u64 network_bytes(u64 regs, u32 how, u32 abi, u64 packed, s64 result)
{
	u64 at;

	if (result <= 0 || (how != DN_SOCKET_SENDMMSG && how != DN_SOCKET_RECVMMSG))
		return result > 0 ? (u64)result : 0;
	at = network_argument(regs, 1, abi, packed);
	return network_messages(at + (abi == 0 ? 56 : 28), abi == 0 ? 64 : 32, (u32)result);
}

/* From one descriptor to another: either may be a socket. */
DN_OF_NUMBERS int network_move(u32 from, u32 to, s64 result, u64 since_ns, u64 now_ns)
{
	u64 bytes = result > 0 ? (u64)result : 0, sk = network_socket(to);

	if (NETWORK_OFF)
		return 0;
	if (sk && network_transfer(sk, bytes, NETWORK_SENDS | NETWORK_COUNTS, result) ==
			  DN_PROTOCOL_UNIX)
		network_unix(sk, bytes, 1 << 8 | NETWORK_SENDS, since_ns, now_ns);
	sk = network_socket(from);
	if (sk && network_transfer(sk, bytes, NETWORK_COUNTS, result) == DN_PROTOCOL_UNIX)
		network_unix(sk, bytes, 1 << 8, since_ns, now_ns);
	return 0;
}

DN_OF_NUMBERS int network_rings(void)
{
	struct dn_wire_network *sum = network();

	if (sum)
		sum->rings++;
	return 0;
}

/* No socket at all: what reads and writes files as well is none of ours. */
DN_OF_NUMBERS int network_no_socket(u32 how, s64 result)
{
	struct dn_wire_network *sum = network();

	if (NETWORK_OFF)
		return 0;
	if (sum && is_failure(result) && how != DN_SOCKET_READ && how != DN_SOCKET_WRITE)
		network_failure((u32)-result);
	return 0;
}

DN_OF_NUMBERS int network_returned(u64 regs, u64 index, s64 result, u64 since_ns, u64 now_ns)
{
	u32 how, abi, what;
	u64 packed = 0, sk, bytes, messages;

	if (NETWORK_OFF)
		return 0;
	if (index >= DN_CALLS_N)
		return 0;
	how = dn_socket_calls[index];
	abi = (u32)index / DN_CALLS_PER_ABI;
	if (how == DN_SOCKET_MULTIPLEX) {
		how = network_unpack(network_argument(regs, 0, abi, 0));
		packed = network_argument(regs, 1, abi, 0);
	}
	if (how == DN_SOCKET_RING)
		return network_rings();
	if (how == DN_SOCKET_ACCEPT && result >= 0)
		return network_accept((u32)result);
	if (how == DN_SOCKET_SENDFILE || how == DN_SOCKET_SPLICE) {
		u32 from = (u32)network_argument(regs, how == DN_SOCKET_SENDFILE ? 1 : 0, abi, 0);
		u32 to = (u32)network_argument(regs, how == DN_SOCKET_SENDFILE ? 0 : 2, abi, 0);

		return network_move(from, to, result, since_ns, now_ns);
	}
	if (how == DN_SOCKET_NONE)
		return 0;
	sk = network_socket((u32)network_argument(regs, 0, abi, packed));
	if (!sk)
		return network_no_socket(how, result);
	if (result >= 0 && network_is_peek(regs, how, abi, packed))
		return 0;
	bytes = network_bytes(regs, how, abi, packed, result);
	what = how >= DN_SOCKET_SEND && how <= DN_SOCKET_WRITE ? NETWORK_SENDS : 0;
	if (how != DN_SOCKET_CONNECT)
		what |= NETWORK_COUNTS;
	if (network_transfer(sk, bytes, what, result) != DN_PROTOCOL_UNIX)
		return 0;
	messages = how == DN_SOCKET_SENDMMSG || how == DN_SOCKET_RECVMMSG ? (u64)result : 1;
	if (network_is_addressed(regs, how, abi, packed))
		what |= NETWORK_ADDRESSED;
	return network_unix(sk, bytes, messages << 8 | what, since_ns, now_ns);
}

static __always_inline void network_exit(const struct call *call)
{
	if (call->index < DN_CALLS_N && dn_socket_calls[call->index])
		network_returned(call->regs, call->index, call->result,
			call->now_ns - call->duration_ns, call->now_ns);
}

#endif

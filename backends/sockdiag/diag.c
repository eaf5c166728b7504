/* SPDX-License-Identifier: Apache-2.0 */
/* Plain netlink sockets: the kernel answers while it is asked, so nothing here ever waits for an
 * answer. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <netinet/in.h>

#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <linux/tcp.h>

#include <denet/fs.h>

#include "diag.h"

#ifndef SK_MEMINFO_DROPS
#define SK_MEMINFO_DROPS 8
#endif

#define EVENT_BYTES 4096
#define DUMP_BYTES 65536
/* What an unprivileged process gets of it is up to net.core.rmem_max. */
#define EVENT_QUEUE_BYTES (8 << 20)
/* Answers to older questions that may be skipped before giving up. */
#define STALE_MAX 64

static int open_socket(uint32_t groups)
{
	struct sockaddr_nl address = {.nl_family = AF_NETLINK, .nl_groups = groups};
	dn_cleanup(dn_closep) int fd =
		socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_SOCK_DIAG);

	if (fd < 0)
		return -errno;
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	return dn_steal_fd(&fd);
}

int dn_diag_open(struct dn_diag *diag)
{
	int size = EVENT_QUEUE_BYTES;

	*diag = (struct dn_diag){.event_fd = -1, .query_fd = -1};
	diag->event_fd = open_socket(
		1u << (SKNLGRP_INET_TCP_DESTROY - 1) | 1u << (SKNLGRP_INET6_TCP_DESTROY - 1));
	if (diag->event_fd < 0)
		return diag->event_fd;
	if (setsockopt(diag->event_fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) < 0)
		(void)setsockopt(diag->event_fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	return 0;
}

void dn_diag_close(struct dn_diag *diag)
{
	if (diag->event_fd >= 0)
		close(diag->event_fd);
	if (diag->query_fd >= 0)
		close(diag->query_fd);
	free(diag->buffer);
	*diag = (struct dn_diag){.event_fd = -1, .query_fd = -1};
}

/* One datagram from the kernel. The length; 0 when nothing is there. */
static ssize_t receive(int fd, uint8_t *buffer, size_t size)
{
	for (;;) {
		struct sockaddr_nl from = {0};
		socklen_t from_len = sizeof(from);
		ssize_t n = recvfrom(fd, buffer, size, MSG_DONTWAIT | MSG_TRUNC,
			(struct sockaddr *)&from, &from_len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? 0 : -errno;
		/* Another process may write to a netlink socket; and what was cut can't be trusted.
		 */
		if (from_len != sizeof(from) || from.nl_pid != 0 || n == 0 || (size_t)n > size)
			continue;
		return n;
	}
}

static uint64_t count_drops(struct dn_diag *diag)
{
	uint32_t info[SK_MEMINFO_DROPS + 1] = {0}, lost;
	socklen_t len = sizeof(info);

	if (getsockopt(diag->event_fd, SOL_SOCKET, SO_MEMINFO, info, &len) < 0 ||
		len < sizeof(info))
		return 1;
	lost = info[SK_MEMINFO_DROPS] - diag->drops;
	diag->drops = info[SK_MEMINFO_DROPS];
	return lost ? lost : 1;
}

int dn_diag_event(struct dn_diag *diag, struct dn_tcp *ret, uint64_t *ret_lost)
{
	uint8_t buffer[EVENT_BYTES];

	for (;;) {
		ssize_t n = receive(diag->event_fd, buffer, sizeof(buffer));
		const uint8_t *data = buffer;
		enum dn_message_kind kind;
		size_t len;
		uint32_t seq;
		int error;

		if (n == -ENOBUFS)
			*ret_lost = count_drops(diag);
		if (n <= 0)
			return (int)n;
		/* The kernel sends one message in one datagram here. */
		len = (size_t)n;
		kind = dn_message_next(&data, &len, &seq, ret, &error);
		if (kind == DN_MESSAGE_TCP)
			return 1;
	}
}

void dn_diag_wait(struct dn_diag *diag, unsigned timeout_ms)
{
	struct pollfd fd = {.fd = diag->event_fd, .events = POLLIN};

	(void)poll(&fd, 1, (int)timeout_ms);
}

static int ask(struct dn_diag *diag, void *request, size_t size)
{
	struct nlmsghdr *header = request;

	if (diag->query_fd < 0)
		diag->query_fd = open_socket(0);
	if (diag->query_fd < 0)
		return diag->query_fd;
	header->nlmsg_seq = ++diag->seq;
	header->nlmsg_len = (uint32_t)size;
	for (;;) {
		if (send(diag->query_fd, request, size, 0) >= 0)
			return 0;
		if (errno != EINTR)
			return -errno;
	}
}

int dn_diag_query(
	struct dn_diag *diag, uint8_t family, const struct inet_diag_sockid *id, struct dn_tcp *ret)
{
	struct {
		struct nlmsghdr header;
		struct inet_diag_req_v2 request;
	} question = {
		.header = {.nlmsg_type = SOCK_DIAG_BY_FAMILY, .nlmsg_flags = NLM_F_REQUEST},
		.request = {.sdiag_family = family,
			.sdiag_protocol = IPPROTO_TCP,
			.idiag_ext = 1 << (INET_DIAG_INFO - 1),
			.idiag_states = UINT32_MAX,
			.id = *id},
	};
	uint8_t buffer[EVENT_BYTES];
	int r = ask(diag, &question, sizeof(question));

	for (unsigned i = 0; r == 0 && i < STALE_MAX; i++) {
		ssize_t n = receive(diag->query_fd, buffer, sizeof(buffer));
		const uint8_t *data = buffer;
		enum dn_message_kind kind;
		size_t len;
		uint32_t seq;

		if (n <= 0)
			return n < 0 ? (int)n : -EPROTO;
		len = (size_t)n;
		kind = dn_message_next(&data, &len, &seq, ret, &r);
		if (kind == DN_MESSAGE_END || seq != diag->seq) {
			r = 0;
			continue;
		}
		if (kind == DN_MESSAGE_TCP)
			return 0;
	}
	return r < 0 ? r : -EPROTO;
}

static int read_dump(
	struct dn_diag *diag, int (*each)(void *arg, const struct dn_tcp *tcp), void *arg)
{
	for (;;) {
		ssize_t n = receive(diag->query_fd, diag->buffer, DUMP_BYTES);
		const uint8_t *data = diag->buffer;
		struct dn_tcp tcp;
		size_t len;
		uint32_t seq;
		int r = 0;

		if (n <= 0)
			return n < 0 ? (int)n : -EPROTO;
		len = (size_t)n;
		for (;;) {
			enum dn_message_kind kind = dn_message_next(&data, &len, &seq, &tcp, &r);

			if (kind == DN_MESSAGE_END)
				break;
			if (seq != diag->seq)
				continue;
			if (kind == DN_MESSAGE_DONE)
				return 0;
			if (kind == DN_MESSAGE_TCP)
				r = each(arg, &tcp);
			if (r < 0)
				return r;
		}
	}
}

static int each_ignored(void *arg, const struct dn_tcp *tcp)
{
	return 0;
}

int dn_diag_try(struct dn_diag *diag)
{
	return dn_diag_dump(diag, 0, each_ignored, NULL);
}

int dn_diag_dump(struct dn_diag *diag, uint32_t states,
	int (*each)(void *arg, const struct dn_tcp *tcp), void *arg)
{
	/* The older request: one walk for both families. */
	struct {
		struct nlmsghdr header;
		struct inet_diag_req request;
	} question = {
		.header = {.nlmsg_type = TCPDIAG_GETSOCK,
			.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
		.request = {.idiag_family = AF_INET,
			.idiag_ext = 1 << (INET_DIAG_INFO - 1),
			.idiag_states = states},
	};
	int r;

	if (!diag->buffer)
		diag->buffer = malloc(DUMP_BYTES);
	if (!diag->buffer)
		return -ENOMEM;
	r = ask(diag, &question, sizeof(question));
	if (r == 0)
		r = read_dump(diag, each, arg);
	if (r < 0 && diag->query_fd >= 0) {
		/* A dump in progress would answer the next question. */
		close(diag->query_fd);
		diag->query_fd = -1;
	}
	return r;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sockbytes [N=503] [SIZE=997]: N messages of SIZE bytes over loopback TCP and UDP and over Unix
 * stream and datagram sockets, each received whole before the next is sent. Every second message
 * goes by write() and read(), the others by send() and recv(). The child sends, the parent receives
 * and answers each message with a byte on a pipe. Truth: bytes and calls by protocol, the same on
 * both ends.
 */
#include <netinet/in.h>
#include <sys/socket.h>

#include "workload.h"

static char data[65536];
static uint64_t n, size;

static void inet_pair(int type, int ends[2])
{
	struct sockaddr_in address = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(address);
	int first = socket(AF_INET, type | SOCK_CLOEXEC, 0);

	ends[0] = socket(AF_INET, type | SOCK_CLOEXEC, 0);
	if (first < 0 || ends[0] < 0 || bind(first, (struct sockaddr *)&address, len) < 0 ||
		getsockname(first, (struct sockaddr *)&address, &len) < 0)
		die("bind");
	if (type == SOCK_STREAM && listen(first, 1) < 0)
		die("listen");
	if (connect(ends[0], (struct sockaddr *)&address, len) < 0)
		die("connect");
	ends[1] = first;
	if (type == SOCK_STREAM) {
		ends[1] = accept4(first, NULL, NULL, SOCK_CLOEXEC);
		if (ends[1] < 0)
			die("accept4");
		close(first);
	}
}

static void transmit(int fd, int answers)
{
	char byte;

	for (uint64_t i = 0; i < n; i++) {
		ssize_t r = i % 2 ? write(fd, data, size) : send(fd, data, size, MSG_NOSIGNAL);

		if (r != (ssize_t)size)
			die("send");
		if (read(answers, &byte, 1) != 1)
			die("answer");
	}
}

/* Returns the calls it took: a stream may hand a message over in parts. */
static uint64_t receive(int fd, int answers, bool stream)
{
	uint64_t calls = 0;

	for (uint64_t i = 0; i < n; i++) {
		for (uint64_t got = 0; got < size;) {
			ssize_t r = i % 2 ? read(fd, data, size - got)
					  : recv(fd, data, size - got, stream ? MSG_WAITALL : 0);

			if (r <= 0)
				die("receive");
			calls++;
			got += (uint64_t)r;
		}
		write_all(answers, data, 1);
	}
	return calls;
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int family, type;
	} kinds[] = {
		{"tcp", AF_INET, SOCK_STREAM},
		{"udp", AF_INET, SOCK_DGRAM},
		{"unix_stream", AF_UNIX, SOCK_STREAM},
		{"unix_dgram", AF_UNIX, SOCK_DGRAM},
	};
	char text[1024];
	size_t length = 0;

	n = argument(argc, argv, 1, 503);
	size = argument(argc, argv, 2, 997);
	if (size < 1 || size > sizeof(data) / 2)
		return 98;
	for (size_t k = 0; k < sizeof(kinds) / sizeof(*kinds); k++) {
		int ends[2], answers[2];
		uint64_t calls;
		pid_t pid;

		if (kinds[k].family == AF_INET)
			inet_pair(kinds[k].type, ends);
		else if (socketpair(AF_UNIX, kinds[k].type | SOCK_CLOEXEC, 0, ends) < 0)
			die("socketpair");
		if (pipe2(answers, O_CLOEXEC) < 0)
			die("pipe");
		pid = fork_or_die();
		if (pid == 0) {
			transmit(ends[0], answers[0]);
			_exit(0);
		}
		calls = receive(ends[1], answers[1], kinds[k].type == SOCK_STREAM);
		if (wait_for(pid) != 0)
			die("sender");
		for (int i = 0; i < 2; i++) {
			close(ends[i]);
			close(answers[i]);
		}
		length += (size_t)snprintf(text + length, sizeof(text) - length,
			"%s\"%s\":{\"tx_bytes\":%llu,\"tx_calls\":%llu,\"rx_bytes\":%llu,\"rx_"
			"calls\":%llu}",
			k ? "," : "", kinds[k].name, (unsigned long long)(n * size),
			(unsigned long long)n, (unsigned long long)(n * size),
			(unsigned long long)calls);
	}
	emit("{\"processes\":5,\"protocols\":{%s}}", text);
	return 0;
}

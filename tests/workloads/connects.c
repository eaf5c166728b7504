/* SPDX-License-Identifier: Apache-2.0 */
/*
 * connects [OK=101] [REFUSED=53] [EMPTY=7]: OK TCP connections over loopback, each accepted and
 * closed by both ends; REFUSED to a port where nobody listens; EMPTY calls of accept4 on a listener
 * without connections (EAGAIN). Truth: all of it.
 */
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include "workload.h"

static int bound(struct sockaddr_in *address, int flags)
{
	socklen_t len = sizeof(*address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);

	*address = (struct sockaddr_in){
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	if (fd < 0 || bind(fd, (struct sockaddr *)address, len) < 0 ||
		getsockname(fd, (struct sockaddr *)address, &len) < 0)
		die("bind");
	return fd;
}

int main(int argc, char **argv)
{
	uint64_t ok = argument(argc, argv, 1, 101), refused = argument(argc, argv, 2, 53);
	uint64_t empty = argument(argc, argv, 3, 7);
	struct sockaddr_in open_address, closed_address;
	int listener = bound(&open_address, SOCK_NONBLOCK);
	int closed = bound(&closed_address, 0); /* keeps the port, and never listens */
	struct pollfd incoming = {.fd = listener, .events = POLLIN};

	if (listen(listener, 16) < 0)
		die("listen");
	for (uint64_t i = 0; i < ok; i++) {
		int out = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), in;

		if (out < 0 ||
			connect(out, (struct sockaddr *)&open_address, sizeof(open_address)) < 0)
			die("connect");
		/* The client may know of its connection before the listener does. */
		if (poll(&incoming, 1, -1) != 1)
			die("poll");
		in = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		if (in < 0)
			die("accept4");
		close(out);
		close(in);
	}
	for (uint64_t i = 0; i < refused; i++) {
		int out = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

		if (out < 0 ||
			connect(out, (struct sockaddr *)&closed_address, sizeof(closed_address)) ==
				0 ||
			errno != ECONNREFUSED)
			die("refused connect");
		close(out);
	}
	for (uint64_t i = 0; i < empty; i++)
		if (accept4(listener, NULL, NULL, SOCK_CLOEXEC) >= 0 || errno != EAGAIN)
			die("empty accept4");
	close(closed);
	emit("{\"processes\":1,\"connects\":%llu,\"accepts\":%llu,\"refused\":%llu,\"empty_"
	     "accepts\":%llu}",
		(unsigned long long)ok, (unsigned long long)ok, (unsigned long long)refused,
		(unsigned long long)empty);
	return 0;
}

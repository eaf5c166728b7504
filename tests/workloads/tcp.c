/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tcp N HOLD [SENDERS=1] [send]: each of SENDERS processes sends N bytes over its own loopback
 * connection to a forked receiver that reads all; both hold the connection HOLD ms before they
 * close it. With a fourth argument by send() and recv(), which /proc/PID/io does not count. Truth:
 * payload bytes each way over all connections.
 */
#include <netinet/in.h>
#include <sys/socket.h>

#include "workload.h"

static char data[65536];

static void receive(int fd, uint64_t n, uint64_t hold_ns, bool by_socket_call)
{
	uint64_t got = 0;

	while (got < n) {
		ssize_t r = by_socket_call ? recv(fd, data, sizeof(data), 0)
					   : read(fd, data, sizeof(data));

		if (r <= 0)
			die("receive");
		got += (uint64_t)r;
	}
	nap(hold_ns);
	close(fd);
	_exit(0);
}

static void transmit(int fd, uint64_t n, uint64_t hold_ns, bool by_socket_call)
{
	while (n > 0) {
		size_t len = n < sizeof(data) ? (size_t)n : sizeof(data);
		ssize_t r =
			by_socket_call ? send(fd, data, len, MSG_NOSIGNAL) : write(fd, data, len);

		if (r <= 0)
			die("transmit");
		n -= (uint64_t)r;
	}
	nap(hold_ns);
	close(fd);
	_exit(0);
}

int main(int argc, char **argv)
{
	uint64_t n = argument(argc, argv, 1, 1000000), hold_ns = argument(argc, argv, 2, 100) * MS;
	uint64_t senders = argument(argc, argv, 3, 1);
	bool by_socket_call = argc > 4;
	struct sockaddr_in address = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int failed = 0;

	if (listener < 0 || bind(listener, (struct sockaddr *)&address, len) < 0 ||
		listen(listener, 128) < 0 ||
		getsockname(listener, (struct sockaddr *)&address, &len) < 0)
		die("listen");
	for (uint64_t i = 0; i < senders; i++) {
		int out = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), in;

		if (out < 0 || connect(out, (struct sockaddr *)&address, len) < 0)
			die("connect");
		in = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		if (in < 0)
			die("accept");
		if (fork_or_die() == 0) {
			close(out);
			receive(in, n, hold_ns, by_socket_call);
		}
		if (fork_or_die() == 0) {
			close(in);
			transmit(out, n, hold_ns, by_socket_call);
		}
		close(in);
		close(out);
	}
	for (uint64_t i = 0; i < 2 * senders; i++)
		failed |= wait_for(-1);
	emit("{\"processes\":%llu,\"tx_bytes\":%llu,\"rx_bytes\":%llu}",
		(unsigned long long)(2 * senders + 1), (unsigned long long)(n * senders),
		(unsigned long long)(n * senders));
	return failed != 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* sockdiag: connections that only their listening socket tells whose they were, by hand-made last
 * words and with a real child that serves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <arpa/inet.h>
#include <cmocka.h>

#include <denet/arena.h>

#include "sockdiag/endings.h"
#include "sockdiag/map.h"
#include "sockdiag/sockdiag.h"
#include "sockdiag-fixture.h"

/* ---- listening sockets by hand ---- */

static struct dn_tcp tcp_at(const char *source, uint16_t sport, uint64_t cookie)
{
	struct dn_tcp tcp = {.has_info = true,
		.family = strchr(source, ':') ? AF_INET6 : AF_INET,
		.inode = 4099,
		.id = {.idiag_sport = htons(sport), .idiag_cookie = {(uint32_t)cookie}}};

	assert_int_equal(inet_pton(tcp.family, source, tcp.id.idiag_src), 1);
	return tcp;
}

static void test_covers(void **state)
{
	static const struct {
		const char *listener, *source;
		bool covered;
	} rows[] = {
		{"127.0.0.1", "127.0.0.1", true},
		{"127.0.0.1", "127.0.0.2", false},
		{"0.0.0.0", "127.0.0.2", true},
		{"0.0.0.0", "::ffff:127.0.0.2", true},
		{"0.0.0.0", "::1", false},
		{"127.0.0.1", "::ffff:127.0.0.1", true},
		{"::", "::1", true},
		{"::", "127.0.0.1", true},
		{"::1", "::1", true},
		{"::1", "fe80::7", false},
		{"::1", "127.0.0.1", false},
	};

	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct dn_tcp listener = tcp_at(rows[i].listener, 1009, 3);
		struct dn_tcp tcp = tcp_at(rows[i].source, 1009, 5), peer = {.family = tcp.family};
		struct dn_listener a = {.family = listener.family, .id = listener.id};
		struct dn_listener b = {.family = tcp.family, .id = tcp.id};

		assert_int_equal(
			dn_endings_covers(listener.family, &listener.id, &tcp), rows[i].covered);
		assert_int_equal(dn_endings_overlap(&a, &b), rows[i].covered);
		assert_int_equal(dn_endings_overlap(&b, &a), rows[i].covered);
		memcpy(peer.id.idiag_dst, tcp.id.idiag_src, sizeof(peer.id.idiag_dst));
		peer.id.idiag_dport = tcp.id.idiag_sport;
		assert_int_equal(dn_endings_covers_peer(listener.family, &listener.id, &peer),
			rows[i].covered);
		tcp.id.idiag_sport = htons(1013);
		assert_false(dn_endings_covers(listener.family, &listener.id, &tcp));
	}
}

/* One listening socket, of the tree alone, since the 3rd dump. */
static struct dn_listener *hand_made(struct dn_sockdiag *s)
{
	struct dn_tcp tcp = tcp_at("0.0.0.0", 1009, 17);
	struct dn_port *port = calloc(1, sizeof(*port));
	struct dn_listener *l = calloc(1, sizeof(*l));

	assert_true(port && l);
	*s = (struct dn_sockdiag){.dumps = 5};
	*l = (struct dn_listener){.cookie = 17,
		.id = tcp.id,
		.family = tcp.family,
		.inode = tcp.inode,
		.ours = true,
		.ready = true,
		.verified = true,
		.ready_dump = 3};
	port->port = tcp.id.idiag_sport;
	port->first = l;
	assert_int_equal(dn_map_put(&s->ports, port->port, port, 1), 0);
	assert_int_equal(dn_map_put(&s->listeners, 17, l, 1), 0);
	assert_int_equal(dn_map_put(&s->guarded, l->inode, l, 1), 0);
	return l;
}

static struct dn_tcp last_word(void)
{
	struct dn_tcp tcp = tcp_at("10.0.0.7", 1009, 19);

	tcp.id.idiag_dst[0] = htonl(0x0a00000b);
	tcp.id.idiag_dport = htons(2003);
	tcp.sent = 1009;
	tcp.acked = 1010;
	tcp.retransmits = 2;
	return tcp;
}

static void test_accepted(void **state)
{
	struct dn_sockdiag s;
	struct dn_listener *l = hand_made(&s);
	struct dn_seen seen = {.first_dump = 3};
	struct dn_tcp tcp = last_word();

	assert_true(dn_listen_accepted(&s, &tcp, NULL));
	assert_int_equal(l->fresh.traffic.tx, 1009);
	assert_int_equal(l->fresh.traffic.retransmits, 2);
	assert_int_equal(s.accepted, 1);
	/* Was there when the socket was found to be the tree's alone: held, or waiting. */
	assert_false(dn_listen_accepted(&s, &tcp, &seen));
	seen.queued = true;
	seen.old = true;
	seen.base.tx = 503;
	assert_true(dn_listen_accepted(&s, &tcp, &seen));
	assert_int_equal(l->fresh.traffic.tx, 1009 + 506);
	assert_int_equal(l->fresh.n, 2);
	assert_int_equal(s.accepted, 1);
	seen = (struct dn_seen){.first_dump = 4};
	assert_true(dn_listen_accepted(&s, &tcp, &seen));
	/* Its own SYN was acknowledged: it was not accepted. */
	tcp.acked = 1011;
	assert_false(dn_listen_accepted(&s, &tcp, NULL));
	tcp = last_word();
	tcp.id.idiag_sport = htons(1013);
	assert_false(dn_listen_accepted(&s, &tcp, NULL));
	tcp = last_word();
	tcp.id.idiag_dport = 0;
	assert_false(dn_listen_accepted(&s, &tcp, NULL));
	/* Held outside the tree too. */
	tcp = last_word();
	l->ready = false;
	assert_false(dn_listen_accepted(&s, &tcp, NULL));
	l->ready = true;
	l->ours = false;
	assert_false(dn_listen_accepted(&s, &tcp, NULL));
	dn_listen_finish(&s);
}

static void test_listener_dies(void **state)
{
	struct dn_sockdiag s;
	struct dn_listener *l = hand_made(&s);
	struct dn_seen seen = {.first_dump = 4};
	struct dn_tcp tcp = last_word(), gone = tcp_at("0.0.0.0", 1009, 17);

	assert_true(dn_listen_accepted(&s, &tcp, NULL));
	dn_listen_closed(&s, &gone);
	assert_true(l->dead);
	/* What it had accepted stays; who accepts after it is not known. */
	assert_int_equal(l->fresh.n, 1);
	assert_false(dn_listen_accepted(&s, &tcp, NULL));
	assert_true(dn_listen_accepted(&s, &tcp, &seen));
	seen.first_dump = 5;
	assert_false(dn_listen_accepted(&s, &tcp, &seen));
	dn_listen_finish(&s);
}

static void test_another_listened(void **state)
{
	struct dn_sockdiag s;
	struct dn_listener *l = hand_made(&s);
	struct dn_tcp tcp = last_word(), other = tcp_at("10.0.0.7", 1009, 23);

	assert_true(dn_listen_accepted(&s, &tcp, NULL));
	assert_true(dn_listen_accepted(&s, &tcp, NULL));
	dn_listen_closed(&s, &other);
	assert_int_equal(l->fresh.n, 0);
	assert_int_equal(l->fresh.traffic.tx, 0);
	assert_int_equal(s.accepted, 0);
	assert_int_equal(s.doubts.unknown, 2);
	assert_int_equal(s.theirs_closed, 2);
	assert_int_equal(s.closed.tx, 0);
	dn_listen_finish(&s);
}

/* ---- real sockets ---- */

static struct sockaddr_in listening_at;

static void listening_begin(void)
{
	socklen_t len = sizeof(listening_at);

	listening_at = (struct sockaddr_in){
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	listening = socket(AF_INET, SOCK_STREAM, 0);
	assert_true(listening >= 0);
	assert_int_equal(bind(listening, (struct sockaddr *)&listening_at, len), 0);
	assert_int_equal(listen(listening, 7), 0);
	assert_int_equal(getsockname(listening, (struct sockaddr *)&listening_at, &len), 0);
}

static void listening_end(void)
{
	close(listening);
	listening = -1;
}

/* A client outside the tree; the child has closed its end first. */
static void call_child(struct machine *machine)
{
	char data[1009];
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(connect(fd, (struct sockaddr *)&listening_at, sizeof(listening_at)), 0);
	assert_int_equal(send(fd, data, 101, 0), 101);
	step(machine, 'a');
	assert_int_equal(recv(fd, data, sizeof(data), MSG_WAITALL), sizeof(data));
	assert_int_equal(recv(fd, data, 1, 0), 0);
	close(fd);
}

static bool check_listening(struct dn_sockdiag *s)
{
	assert_true(dn_scan_round(s, true));
	s->unlisted = true;
	if (!dn_listen_check(s, true))
		return false;
	dn_sockdiag_dump(s, false);
	dn_listen_ready(s);
	return true;
}

/* Connections that nobody sees alive, to a socket of the tree alone. */
static void test_served(void **state)
{
	struct machine machine;
	struct dn_sockdiag *s;

	listening_begin();
	machine_init(&machine, true);
	s = dn_sockdiag_of(machine.backend);
	(void)check_listening(s);
	for (unsigned i = 0; i < 7; i++)
		call_child(&machine);
	expect_frame(&machine, true, UINT64_C(7) * 101, UINT64_C(7) * 1009, 0);
	assert_int_equal(s->accepted, 0);
	assert_int_equal(s->doubts.last_fin, 0);
	assert_int_equal(s->doubts.reset, 0);
	/* The other ends are nobody's that is known. */
	assert_int_equal(s->doubts.callers, 7);
	assert_int_equal(machine.quality[DN_M_network_rx_bytes], DN_QUALITY_LOWER_BOUND);
	machine_finish(&machine);
	listening_end();
}

/* The same while a process outside holds the listening socket too. */
static void test_served_shared(void **state)
{
	struct machine machine;
	struct dn_sockdiag *s;
	int hold[2], status;
	pid_t stranger;
	char byte;

	listening_begin();
	assert_int_equal(pipe2(hold, O_CLOEXEC), 0);
	stranger = fork();
	assert_true(stranger >= 0);
	if (stranger == 0) {
		close(hold[1]);
		(void)!read(hold[0], &byte, 1);
		_exit(0);
	}
	close(hold[0]);
	machine_init(&machine, true);
	s = dn_sockdiag_of(machine.backend);
	assert_false(check_listening(s));
	for (unsigned i = 0; i < 5; i++)
		call_child(&machine);
	expect_frame(&machine, true, 0, 0, 0);
	assert_int_equal(s->accepted, 0);
	assert_true(s->doubts.unknown >= 5);
	assert_int_equal(machine.quality[DN_M_network_tx_bytes], DN_QUALITY_LOWER_BOUND);
	/* Without it, what comes from now on is the tree's. */
	assert_int_equal(write(hold[1], "x", 1), 1);
	close(hold[1]);
	assert_int_equal(waitpid(stranger, &status, 0), stranger);
	assert_true(check_listening(s));
	call_child(&machine);
	expect_frame(&machine, true, 101, 1009, 0);
	machine_finish(&machine);
	listening_end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_covers),
		cmocka_unit_test(test_accepted),
		cmocka_unit_test(test_listener_dies),
		cmocka_unit_test(test_another_listened),
		cmocka_unit_test(test_served),
		cmocka_unit_test(test_served_shared),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* sockdiag: parsers, books and the last byte by hand-made words; then real connections of a real
 * child. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <linux/tcp.h>

#include <denet/arena.h>

#include "sockdiag/endings.h"
#include "sockdiag/map.h"
#include "sockdiag/message.h"
#include "sockdiag/sockdiag.h"
#include "sockdiag-fixture.h"

/* ---- messages ---- */

struct message {
	uint8_t bytes[1024];
	size_t len;
};

static void append(struct message *m, const void *data, size_t len)
{
	assert_true(m->len + len <= sizeof(m->bytes));
	memcpy(m->bytes + m->len, data, len);
	m->len += len;
}

static void add_attribute(struct message *m, uint16_t type, const void *data, size_t len)
{
	struct nlattr attribute = {.nla_len = (uint16_t)(NLA_HDRLEN + len), .nla_type = type};
	static const uint8_t zero[4];

	append(m, &attribute, sizeof(attribute));
	append(m, data, len);
	append(m, zero, NLA_ALIGN(len) - len);
}

static void begin_message(struct message *m, uint16_t type, const void *body, size_t len)
{
	struct nlmsghdr header = {.nlmsg_type = type, .nlmsg_seq = 7};

	memset(m, 0, sizeof(*m));
	append(m, &header, sizeof(header));
	append(m, body, len);
}

static void end_message(struct message *m)
{
	uint32_t len = (uint32_t)m->len;

	memcpy(m->bytes, &len, sizeof(len));
}

static void make_socket(struct message *m, uint8_t protocol, size_t info_len)
{
	struct inet_diag_msg msg = {.idiag_family = AF_INET,
		.idiag_state = DN_TCP_CLOSE_WAIT,
		.idiag_inode = 4099,
		.idiag_rqueue = 3,
		.idiag_wqueue = 5,
		.id.idiag_cookie = {11, 13}};
	struct tcp_info info = {.tcpi_bytes_sent = 10007,
		.tcpi_bytes_retrans = 101,
		.tcpi_bytes_acked = 9901,
		.tcpi_bytes_received = 20011,
		.tcpi_data_segs_in = 17,
		.tcpi_total_retrans = 2,
		.tcpi_last_data_sent = 19,
		.tcpi_last_data_recv = 23};

	begin_message(m, SOCK_DIAG_BY_FAMILY, &msg, sizeof(msg));
	add_attribute(m, INET_DIAG_PROTOCOL, &protocol, 1);
	add_attribute(m, INET_DIAG_INFO, &info, info_len);
	end_message(m);
}

static enum dn_message_kind parse(
	const struct message *m, size_t len, struct dn_tcp *tcp, int *error)
{
	/* On the heap, exactly as long: an address sanitizer sees every byte too far. */
	uint8_t *copy = malloc(len ? len : 1);
	const uint8_t *data = copy;
	enum dn_message_kind kind;
	size_t left = len;
	uint32_t seq = 0;

	assert_non_null(copy);
	memcpy(copy, m->bytes, len);
	kind = dn_message_next(&data, &left, &seq, tcp, error);
	assert_true(kind == DN_MESSAGE_END || left < len);
	assert_true(kind == DN_MESSAGE_END || seq == 7);
	free(copy);
	return kind;
}

static void test_message_socket(void **state)
{
	struct message m;
	struct dn_tcp tcp;
	int error = 0;

	make_socket(&m, IPPROTO_TCP, sizeof(struct tcp_info));
	assert_int_equal(parse(&m, m.len, &tcp, &error), DN_MESSAGE_TCP);
	assert_true(tcp.has_info);
	assert_int_equal(tcp.state, DN_TCP_CLOSE_WAIT);
	assert_int_equal(tcp.inode, 4099);
	assert_int_equal(tcp.rqueue, 3);
	assert_int_equal(tcp.wqueue, 5);
	assert_int_equal(tcp.sent, 10007);
	assert_int_equal(tcp.resent, 101);
	assert_int_equal(tcp.acked, 9901);
	assert_int_equal(tcp.received, 20011);
	assert_int_equal(tcp.data_segments_in, 17);
	assert_int_equal(tcp.retransmits, 2);
	assert_int_equal(tcp.last_sent_ms, 19);
	assert_int_equal(tcp.last_received_ms, 23);
	assert_true(dn_tcp_cookie(&tcp) == (UINT64_C(13) << 32 | 11));
	assert_int_equal(dn_account_sent(&tcp), 9906);
	/* A kernel that does not tell resent bytes: no counts rather than wrong ones. */
	make_socket(&m, IPPROTO_TCP, offsetof(struct tcp_info, tcpi_bytes_retrans));
	assert_int_equal(parse(&m, m.len, &tcp, &error), DN_MESSAGE_TCP);
	assert_false(tcp.has_info);
}

static void test_message_other(void **state)
{
	struct message m;
	struct dn_tcp tcp;
	int error = 0, code = -ENOENT;

	make_socket(&m, IPPROTO_UDP, sizeof(struct tcp_info));
	assert_int_equal(parse(&m, m.len, &tcp, &error), DN_MESSAGE_OTHER);
	begin_message(&m, NLMSG_ERROR, &code, sizeof(code));
	end_message(&m);
	assert_int_equal(parse(&m, m.len, &tcp, &error), DN_MESSAGE_ERROR);
	assert_int_equal(error, -ENOENT);
	code = INT32_MIN;
	begin_message(&m, NLMSG_ERROR, &code, sizeof(code));
	end_message(&m);
	assert_int_equal(parse(&m, m.len, &tcp, &error), DN_MESSAGE_ERROR);
	assert_int_equal(error, -EPROTO);
	begin_message(&m, NLMSG_DONE, &code, sizeof(code));
	end_message(&m);
	assert_int_equal(parse(&m, m.len, &tcp, &error), DN_MESSAGE_DONE);
}

static void test_message_truncated(void **state)
{
	struct message m;
	struct dn_tcp tcp;
	int error = 0;

	make_socket(&m, IPPROTO_TCP, sizeof(struct tcp_info));
	for (size_t len = 0; len < m.len; len++)
		assert_int_equal(parse(&m, len, &tcp, &error), DN_MESSAGE_END);
	/* A message that says it is as short as it was cut. */
	for (uint32_t len = NLMSG_HDRLEN; len < m.len; len++) {
		memcpy(m.bytes, &len, sizeof(len));
		(void)parse(&m, len, &tcp, &error);
	}
}

static void test_message_hostile_attributes(void **state)
{
	static const uint16_t lengths[] = {0, 1, 3, 0xffff, 0x7fff};

	for (unsigned i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		struct message m;
		struct dn_tcp tcp;
		int error = 0;

		make_socket(&m, IPPROTO_TCP, sizeof(struct tcp_info));
		memcpy(m.bytes + NLMSG_HDRLEN + NLMSG_ALIGN(sizeof(struct inet_diag_msg)),
			&lengths[i], 2);
		assert_int_equal(parse(&m, m.len, &tcp, &error), DN_MESSAGE_TCP);
		assert_false(tcp.has_info);
	}
}

/* ---- texts ---- */

static void test_snmp(void **state)
{
	static const char text[] =
		"Ip: Forwarding\nIp: 2\n"
		"Tcp: RtoAlgorithm MaxConn ActiveOpens PassiveOpens AttemptFails\n"
		"Tcp: 1 -1 101 1009 7\n"
		"Udp: InDatagrams NoPorts InErrors OutDatagrams\nUdp: 31 5 5 37\n";
	struct dn_snmp snmp;

	assert_int_equal(dn_snmp_parse(text, &snmp), 0);
	assert_int_equal(snmp.opens, 1110);
	assert_int_equal(snmp.datagrams, 68);
	assert_int_equal(dn_snmp_parse("", &snmp), -EINVAL);
	assert_int_equal(dn_snmp_parse("Tcp: ActiveOpens PassiveOpens\n", &snmp), -EINVAL);
	assert_int_equal(dn_snmp_parse("Tcp: ActiveOpens PassiveOpens\nTcp: 3", &snmp), -EINVAL);
	assert_int_equal(dn_snmp_parse("Tcp: ActiveOpens Other\nTcp: 3 5\n", &snmp), -EINVAL);
	assert_int_equal(
		dn_snmp_parse(
			"Tcp: ActiveOpens PassiveOpens\nTcp: 18446744073709551615 5\n", &snmp),
		-EINVAL);
	assert_int_equal(snmp.opens, 1110);
}

static void test_sockstat(void **state)
{
	uint64_t made = 0;

	assert_int_equal(dn_sockstat_parse("sockets: used 7\n"
					   "TCP: inuse 3 orphan 1 tw 5 alloc 1009 mem 2\n"
					   "UDP: inuse 2 mem 1\n",
				 &made),
		0);
	assert_int_equal(made, 1009);
	assert_int_equal(dn_sockstat_parse("", &made), -EINVAL);
	assert_int_equal(dn_sockstat_parse("sockets: used 7\nTCP: inuse 3\n", &made), -EINVAL);
	assert_int_equal(
		dn_sockstat_parse("sockets: used 7\nTCP: inuse 3\nUDP: alloc 5\n", &made), -EINVAL);
	assert_int_equal(dn_sockstat_parse("x\nTCP: alloc ", &made), -EINVAL);
	assert_int_equal(made, 1009);
}

static void test_inode(void **state)
{
	uint32_t inode = 0;

#define INODE(text) dn_socket_inode(text, sizeof(text) - 1, &inode)
	assert_true(INODE("socket:[4294967291]"));
	assert_int_equal(inode, 4294967291u);
	assert_false(INODE("socket:[4294967296]"));
	assert_false(INODE("socket:[]"));
	assert_false(INODE("socket:[17"));
	assert_false(INODE("socket:[17]x"));
	assert_false(INODE("socket:[17] (deleted)"));
	assert_false(INODE("pipe:[17]"));
	assert_false(INODE("/tmp/socket:[17]"));
	assert_false(INODE("socket:[000000000000000000000000000000000000000000000017]"));
	assert_false(dn_socket_inode("socket:[17]", 10, &inode));
}

static void test_map(void **state)
{
	static uint8_t there[997];
	struct dn_map map = {0};
	uint32_t random = 12345;
	size_t n = 0;

	assert_null(dn_map_get(&map, 5));
	assert_null(dn_map_take(&map, 5));
	for (unsigned i = 0; i < 20011; i++) {
		unsigned key = (random = random * 1664525 + 1013904223) >> 8;

		key %= 997;
		if (there[key]) {
			assert_ptr_equal(dn_map_take(&map, key), &there[key]);
			n--;
		} else {
			assert_int_equal(dn_map_put(&map, key, &there[key], 997), 0);
			n++;
		}
		there[key] = !there[key];
		assert_int_equal(map.n, n);
	}
	for (unsigned key = 0; key < 997; key++)
		assert_ptr_equal(dn_map_get(&map, key), there[key] ? &there[key] : NULL);
	assert_int_equal(dn_map_put(&map, 100003, &there, n), -ENOSPC);
	/* Taking all while walking. */
	for (size_t at = 0; n > 0; n--) {
		uint8_t *value = dn_map_next(&map, &at);

		if (!value) {
			at = 0;
			value = dn_map_next(&map, &at);
		}
		assert_non_null(value);
		assert_ptr_equal(dn_map_take(&map, (uint64_t)(value - there)), value);
		at--;
	}
	assert_int_equal(map.n, 0);
	dn_map_finish(&map);
}

/* ---- the last byte ---- */

static void test_received_alone(void **state)
{
	struct dn_connection c = {.syn = -1};
	struct dn_tcp tcp = {.has_info = true, .received = 1010, .data_segments_in = 3};
	uint64_t rx = 0;

	/* Never seen alive: 1010 bytes, or 1009 and a FIN. */
	assert_false(dn_account_received(&c, &tcp, &rx));
	assert_int_equal(rx, 1009);
	/* Seen after the FIN. */
	c.fin_seen = true;
	assert_true(dn_account_received(&c, &tcp, &rx));
	assert_int_equal(rx, 1009);
	c.fin_seen = false;
	/* Nothing came since it was last seen without one. */
	c.last = tcp;
	assert_true(dn_account_received(&c, &tcp, &rx));
	assert_int_equal(rx, 1010);
	/* One came, in no segment with data. */
	c.last.received = 1009;
	assert_true(dn_account_received(&c, &tcp, &rx));
	assert_int_equal(rx, 1009);
	/* One came in a segment with data. */
	c.last.data_segments_in = 2;
	assert_false(dn_account_received(&c, &tcp, &rx));
	/* No data ever. */
	tcp.received = 1;
	tcp.data_segments_in = 0;
	assert_true(dn_account_received(&c, &tcp, &rx));
	assert_int_equal(rx, 0);
}

static void test_received_unread(void **state)
{
	struct dn_connection c = {.syn = 1};
	struct dn_tcp tcp = {.has_info = true,
		.received = 1010,
		.data_segments_in = 3,
		.rqueue = 1,
		.sent = 503};
	uint64_t rx = 0;

	/* A FIN of ours was acknowledged, so nothing but the peer's FIN was unread. */
	tcp.acked = 505;
	assert_true(dn_account_received(&c, &tcp, &rx));
	assert_int_equal(rx, 1009);
	/* Only our SYN: an abort with one byte unread looks the same. */
	tcp.acked = 504;
	assert_false(dn_account_received(&c, &tcp, &rx));
	/* We accepted it: the SYN does not count, so this is a FIN. */
	c.syn = 0;
	assert_true(dn_account_received(&c, &tcp, &rx));
	c.syn = -1;
	assert_false(dn_account_received(&c, &tcp, &rx));
}

static void test_received_by_peer(void **state)
{
	struct dn_tcp tcp = {.received = 1010};
	uint64_t rx = 0;

	assert_int_equal(dn_account_received_by_peer(&tcp, 1010, &rx), 1);
	assert_int_equal(rx, 1010);
	assert_int_equal(dn_account_received_by_peer(&tcp, 1009, &rx), 1);
	assert_int_equal(rx, 1009);
	assert_int_equal(dn_account_received_by_peer(&tcp, 2003, &rx), 1);
	assert_int_equal(rx, 1010);
	assert_int_equal(dn_account_received_by_peer(&tcp, 0, &rx), 0);
}

static void test_older(void **state)
{
	struct dn_tcp tcp = {.has_info = true,
		.state = DN_TCP_ESTABLISHED,
		.id.idiag_dport = 80,
		.sent = 1,
		.last_sent_ms = 1301};

	assert_true(dn_account_older(&tcp, UINT64_C(1000000000)));
	assert_false(dn_account_older(&tcp, UINT64_C(1200000000)));
	tcp.state = DN_TCP_SYN_SENT;
	assert_false(dn_account_older(&tcp, UINT64_C(1000000000)));
	tcp.state = DN_TCP_ESTABLISHED;
	tcp.id.idiag_dport = 0;
	assert_false(dn_account_older(&tcp, UINT64_C(1000000000)));
}

static void test_peers(void **state)
{
	struct dn_tcp a = {
		.family = AF_INET, .id = {.idiag_sport = htons(1009), .idiag_dport = htons(2003)}};
	struct dn_tcp b = {
		.family = AF_INET6, .id = {.idiag_sport = htons(2003), .idiag_dport = htons(1009)}};

	a.id.idiag_src[0] = htonl(0x7f000001);
	a.id.idiag_dst[0] = htonl(0x7f000002);
	b.id.idiag_src[2] = b.id.idiag_dst[2] = htonl(0xffff);
	b.id.idiag_src[3] = htonl(0x7f000002);
	b.id.idiag_dst[3] = htonl(0x7f000001);
	assert_true(dn_endings_are_peers(&a, &b));
	assert_true(dn_endings_key(&a) == dn_endings_key(&b));
	assert_false(dn_endings_are_peers(&a, &a));
	b.id.idiag_dport = htons(1013);
	assert_false(dn_endings_are_peers(&a, &b));
}

/* ---- real sockets ---- */

static void test_live(void **state)
{
	struct machine machine;
	struct dn_process *process;

	machine_init(&machine, true);
	step(&machine, 'c');
	step(&machine, 't');
	expect_frame(&machine, true, 10510, 10510, 2);
	process = dn_tree_find(machine.core.tree, machine.child);
	assert_non_null(process);
	assert_int_equal(process->value[dn_process_slot(DN_M_network_rx_bytes)].u64, 10510);
	assert_int_equal(process->value[dn_process_slot(DN_M_network_tx_bytes)].u64, 10510);
	machine_finish(&machine);
}

static void test_closed(void **state)
{
	for (unsigned i = 0; i < 2; i++) {
		struct machine machine;
		struct dn_sockdiag *s;

		machine_init(&machine, i == 0);
		s = dn_sockdiag_of(machine.backend);
		step(&machine, 'c');
		assert_true(dn_scan_round(s, true));
		dn_sockdiag_dump(s, false);
		expect_frame(&machine, false, 0, 0, 2);
		step(&machine, 't');
		expect_frame(&machine, false, 10510, 10510, 2);
		step(&machine, 't');
		step(&machine, 'x');
		reap(&machine);
		expect_frame(&machine, true, 21020, 21020, 0);
		/* Nothing of ours is in doubt; what others do at the same time may be. */
		assert_int_equal(s->doubts.last_fin, 0);
		assert_int_equal(s->doubts.reset, 0);
		assert_int_equal(s->doubts.late, 0);
		assert_int_equal(s->connections.n, 0);
		machine_finish(&machine);
	}
}

static void test_never_seen(void **state)
{
	struct machine machine;

	machine_init(&machine, true);
	step(&machine, 'c');
	step(&machine, 't');
	step(&machine, 'x');
	reap(&machine);
	expect_frame(&machine, true, 0, 0, 0);
	/* Nothing was attributed, and that is said. */
	assert_int_equal(machine.quality[DN_M_network_rx_bytes], DN_QUALITY_LOWER_BOUND);
	assert_int_equal(machine.quality[DN_M_network_tx_bytes], DN_QUALITY_LOWER_BOUND);
	assert_int_equal(machine.quality[DN_M_network_retransmits], DN_QUALITY_LOWER_BOUND);
	machine_finish(&machine);
}

static void test_fixture(void **state)
{
	struct dn_env env = {.proc_fd = -1, .sys_fd = -1, .fixture = true};
	struct dn_probe probe = {.arena = dn_arena_new()};
	struct dn_backend *backend = NULL;

	dn_metric_set_add(&env.wanted, DN_M_network_rx_bytes);
	assert_int_equal(dn_backend_sockdiag.probe(&env, &probe, &backend), 0);
	assert_int_equal(probe.fact, DN_FACT_UNSUPPORTED);
	assert_int_equal(probe.offer[DN_M_network_rx_bytes].fact, DN_FACT_UNSUPPORTED);
	dn_backend_sockdiag.close(backend);
	dn_backend_sockdiag.close(NULL);
	dn_arena_free(probe.arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_message_socket),
		cmocka_unit_test(test_message_other),
		cmocka_unit_test(test_message_truncated),
		cmocka_unit_test(test_message_hostile_attributes),
		cmocka_unit_test(test_snmp),
		cmocka_unit_test(test_inode),
		cmocka_unit_test(test_sockstat),
		cmocka_unit_test(test_map),
		cmocka_unit_test(test_received_alone),
		cmocka_unit_test(test_received_unread),
		cmocka_unit_test(test_received_by_peer),
		cmocka_unit_test(test_older),
		cmocka_unit_test(test_peers),
		cmocka_unit_test(test_live),
		cmocka_unit_test(test_closed),
		cmocka_unit_test(test_never_seen),
		cmocka_unit_test(test_fixture),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

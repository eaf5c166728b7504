/* SPDX-License-Identifier: Apache-2.0 */
/* sockdiag: parsers, books and the last byte by hand-made words; then real connections of a real
 * child. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <linux/tcp.h>

#include <denet/arena.h>
#include <denet/fs.h>

#include "sockdiag/endings.h"
#include "sockdiag/map.h"
#include "sockdiag/message.h"
#include "sockdiag/sockdiag.h"
#include "tree.h"

extern const struct dn_backend_ops dn_backend_sockdiag;

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
}

static void test_message_short_info(void **state)
{
	struct message m;
	struct dn_tcp tcp;
	int error = 0;

	/* A kernel that does not tell resent bytes: no counts rather than wrong ones. */
	make_socket(&m, IPPROTO_TCP, offsetof(struct tcp_info, tcpi_bytes_retrans));
	assert_int_equal(parse(&m, m.len, &tcp, &error), DN_MESSAGE_TCP);
	assert_false(tcp.has_info);
	make_socket(&m, IPPROTO_TCP, offsetof(struct tcp_info, tcpi_bytes_retrans) + 8);
	assert_int_equal(parse(&m, m.len, &tcp, &error), DN_MESSAGE_TCP);
	assert_true(tcp.has_info);
	assert_int_equal(tcp.resent, 101);
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

struct machine {
	struct dn_core core;
	struct dn_tree_listener listener;
	struct dn_backend *backend;
	struct dn_probe probe;
	struct dn_env env;
	enum dn_quality quality[DN_METRIC_MAX];
	pid_t child;
	int to_child, from_child;
};

static void on_degrade(
	struct dn_core *core, unsigned metric, enum dn_quality quality, const char *reason)
{
	struct machine *machine = dn_container_of(core, struct machine, core);

	assert_non_null(reason);
	if (quality > machine->quality[metric])
		machine->quality[metric] = quality;
}

static void on_lost(struct dn_core *core, const char *source, uint64_t n)
{
}

static void tell(
	struct machine *machine, enum dn_process_event_type type, struct dn_process *process)
{
	struct dn_process_event event = {.type = type, .process = process, .pid = process->pid};

	if (machine->backend)
		dn_backend_sockdiag.on_event(machine->backend, &event);
}

static void on_born(struct dn_tree_listener *listener, struct dn_process *process, uint64_t t_ns)
{
	tell(dn_container_of(listener, struct machine, listener), DN_PROCESS_BORN, process);
}

static void on_exec(struct dn_tree_listener *listener, struct dn_process *process, uint64_t t_ns)
{
	tell(dn_container_of(listener, struct machine, listener), DN_PROCESS_EXEC, process);
}

static void on_exited(struct dn_tree_listener *listener, struct dn_process *process, uint64_t t_ns)
{
	tell(dn_container_of(listener, struct machine, listener), DN_PROCESS_EXITED, process);
}

/* What the child does: a step for each byte it reads, a byte back when it is done. */
static void child_main(int commands, int answers, bool client_first)
{
	static char data[20011];
	struct sockaddr_in address = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(address);
	int listener = -1, client = -1, server = -1;
	char command;

	while (read(commands, &command, 1) == 1) {
		switch (command) {
		case 'c':
			listener = socket(AF_INET, SOCK_STREAM, 0);
			if (bind(listener, (struct sockaddr *)&address, len) < 0 ||
				listen(listener, 1) < 0 ||
				getsockname(listener, (struct sockaddr *)&address, &len) < 0)
				_exit(3);
			client = socket(AF_INET, SOCK_STREAM, 0);
			if (connect(client, (struct sockaddr *)&address, len) < 0)
				_exit(4);
			server = accept(listener, NULL, NULL);
			break;
		case 't':
			if (send(client, data, 10007, 0) != 10007 ||
				recv(server, data, 10007, MSG_WAITALL) != 10007 ||
				send(server, data, 503, 0) != 503 ||
				recv(client, data, 503, MSG_WAITALL) != 503)
				_exit(5);
			break;
		case 'x':
			close(client_first ? client : server);
			(void)!recv(client_first ? server : client, data, 1, 0);
			close(client_first ? server : client);
			break;
		}
		if (write(answers, &command, 1) != 1)
			_exit(6);
	}
	_exit(0);
}

static void step(struct machine *machine, char command)
{
	char answer = 0;

	assert_int_equal(write(machine->to_child, &command, 1), 1);
	assert_int_equal(read(machine->from_child, &answer, 1), 1);
	assert_int_equal(answer, command);
}

/* False when this machine has no sock_diag. */
static bool machine_init(struct machine *machine, bool client_first)
{
	int to[2], from[2];

	*machine = (struct machine){.listener = {on_born, on_exec, on_exited}};
	assert_int_equal(pipe2(to, O_CLOEXEC), 0);
	assert_int_equal(pipe2(from, O_CLOEXEC), 0);
	machine->child = fork();
	assert_true(machine->child >= 0);
	if (machine->child == 0) {
		close(to[1]);
		close(from[0]);
		child_main(to[0], from[1], client_first);
	}
	close(to[0]);
	close(from[1]);
	machine->to_child = to[1];
	machine->from_child = from[0];
	machine->env = (struct dn_env){.proc_fd = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC),
		.sys_fd = -1,
		.per_process = true,
		.targets = &machine->child,
		.n_targets = 1};
	for (unsigned i = DN_M_network_rx_bytes; i <= DN_M_network_sockets; i++)
		dn_metric_set_add(&machine->env.wanted, i);
	machine->core = (struct dn_core){.degrade = on_degrade, .lost = on_lost};
	assert_int_equal(dn_loop_new(&machine->core.loop), 0);
	assert_int_equal(dn_tree_new(&machine->listener, &machine->core.tree), 0);
	assert_non_null(dn_tree_add_target(machine->core.tree, machine->child, true));
	machine->probe.arena = dn_arena_new();
	assert_int_equal(
		dn_backend_sockdiag.probe(&machine->env, &machine->probe, &machine->backend), 0);
	machine->backend->ops = &dn_backend_sockdiag;
	machine->backend->index = 1;
	if (machine->probe.fact != DN_FACT_OK)
		return false;
	assert_int_equal(
		dn_backend_sockdiag.open(machine->backend, &machine->env.wanted, &machine->core),
		0);
	machine->core.t0_ns = dn_now_ns();
	dn_tree_begin(machine->core.tree, machine->core.t0_ns);
	return true;
}

static void reap(struct machine *machine)
{
	int status;

	if (machine->to_child < 0)
		return;
	close(machine->to_child);
	close(machine->from_child);
	machine->to_child = -1;
	assert_int_equal(waitpid(machine->child, &status, 0), machine->child);
	assert_int_equal(status, 0);
	dn_tree_reaped(machine->core.tree, machine->child, status, dn_now_ns());
}

static void machine_finish(struct machine *machine)
{
	reap(machine);
	dn_backend_sockdiag.close(machine->backend);
	dn_tree_free(machine->core.tree);
	dn_loop_free(machine->core.loop);
	dn_arena_free(machine->probe.arena);
	close(machine->env.proc_fd);
}

static void expect_frame(struct machine *machine, bool final, uint64_t bytes, uint64_t sockets)
{
	struct dn_frame frame = {.final = final};

	/* However slow this machine is, the values are asked for. */
	dn_sockdiag_of(machine->backend)->budget_ns = INT64_C(1000000000);
	assert_int_equal(dn_backend_sockdiag.sample(machine->backend, &frame), 0);
	assert_true(dn_frame_has(&frame, DN_M_network_rx_bytes));
	assert_int_equal(frame.value[DN_M_network_rx_bytes].u64, bytes);
	assert_int_equal(frame.value[DN_M_network_tx_bytes].u64, bytes);
	assert_int_equal(frame.value[DN_M_network_sockets].u64, sockets);
}

static void test_live(void **state)
{
	struct machine machine;
	struct dn_process *process;

	if (!machine_init(&machine, true)) {
		machine_finish(&machine);
		skip();
	}
	step(&machine, 'c');
	step(&machine, 't');
	expect_frame(&machine, true, 10510, 2);
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

		if (!machine_init(&machine, i == 0)) {
			machine_finish(&machine);
			skip();
		}
		s = dn_sockdiag_of(machine.backend);
		step(&machine, 'c');
		assert_true(dn_scan_round(s, true));
		dn_sockdiag_dump(s, false);
		expect_frame(&machine, false, 0, 2);
		step(&machine, 't');
		expect_frame(&machine, false, 10510, 2);
		step(&machine, 't');
		step(&machine, 'x');
		reap(&machine);
		expect_frame(&machine, true, 21020, 0);
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

	if (!machine_init(&machine, true)) {
		machine_finish(&machine);
		skip();
	}
	step(&machine, 'c');
	step(&machine, 't');
	step(&machine, 'x');
	reap(&machine);
	expect_frame(&machine, true, 0, 0);
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
		cmocka_unit_test(test_message_short_info),
		cmocka_unit_test(test_message_other),
		cmocka_unit_test(test_message_truncated),
		cmocka_unit_test(test_message_hostile_attributes),
		cmocka_unit_test(test_snmp),
		cmocka_unit_test(test_inode),
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

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sockdiag backend on a real child that opens, uses and closes a loopback connection step by
 * step. To be included behind cmocka.h, by a test.
 */
#ifndef DENET_SOCKDIAG_FIXTURE_H
#define DENET_SOCKDIAG_FIXTURE_H

#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <netinet/in.h>

#include <denet/arena.h>
#include <denet/fs.h>

#include "sockdiag/sockdiag.h"
#include "tree.h"

extern const struct dn_backend_ops dn_backend_sockdiag;

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
}

static void on_exited(struct dn_tree_listener *listener, struct dn_process *process, uint64_t t_ns)
{
	tell(dn_container_of(listener, struct machine, listener), DN_PROCESS_EXITED, process);
}

/* Listens for both the child and whoever else a test forks; -1: none does. */
static int listening = -1;

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
		case 'a':
			server = accept(listening, NULL, NULL);
			if (recv(server, data, 101, MSG_WAITALL) != 101 ||
				send(server, data, 1009, 0) != 1009)
				_exit(7);
			close(server);
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

static void machine_finish(struct machine *machine);

/* Skips the test where there is no sock_diag. */
static void machine_init(struct machine *machine, bool client_first)
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
	if (machine->probe.fact != DN_FACT_OK) {
		machine_finish(machine);
		skip();
	}
	assert_int_equal(
		dn_backend_sockdiag.open(machine->backend, &machine->env.wanted, &machine->core),
		0);
	machine->core.t0_ns = dn_now_ns();
	dn_tree_begin(machine->core.tree, machine->core.t0_ns);
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

static void expect_frame(
	struct machine *machine, bool final, uint64_t rx, uint64_t tx, uint64_t sockets)
{
	struct dn_frame frame = {.final = final};

	/* However slow this machine is, the values are asked for. */
	dn_sockdiag_of(machine->backend)->budget_ns = INT64_C(1000000000);
	assert_int_equal(dn_backend_sockdiag.sample(machine->backend, &frame), 0);
	assert_true(dn_frame_has(&frame, DN_M_network_rx_bytes));
	assert_int_equal(frame.value[DN_M_network_rx_bytes].u64, rx);
	assert_int_equal(frame.value[DN_M_network_tx_bytes].u64, tx);
	assert_int_equal(frame.value[DN_M_network_sockets].u64, sockets);
}

#endif

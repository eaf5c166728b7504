/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The group network. TCP bytes, retransmits and round-trip times are the kernel's own counters of
 * the sockets that the tree was seen with; bytes and calls by protocol are what the calls returned.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include <denet/fs.h>
#include <syscalls.h>

#include "ebpf.h"
#include "wire-network.h"

#define CALLS "dn_fork dn_exec dn_exit dn_sys_enter dn_sys_exit"
#define SOCKETS CALLS " dn_socket_state dn_socket_end"
#define KNOWN SOCKETS " dn_known_sockets dn_held_sockets"
#define SOURCE_CALLS "raw_tp sys_exit"
#define SOURCE_STATE "raw_tp inet_sock_set_state"
#define SOURCE_SOCKETS "raw_tp inet_sock_set_state, tcp_destroy_sock, iter/bpf_map_elem"

static const struct dn_ebpf_metric metrics[] = {
	{DN_M_network_rx_bytes, DN_QUALITY_EXACT, SOURCE_SOCKETS, KNOWN, NULL},
	{DN_M_network_tx_bytes, DN_QUALITY_EXACT, SOURCE_SOCKETS, KNOWN, NULL},
	{DN_M_network_retransmits, DN_QUALITY_EXACT, SOURCE_SOCKETS, KNOWN, NULL},
	{DN_M_network_sockets, DN_QUALITY_SAMPLED, "iter/bpf_map_elem", KNOWN,
		"seen at moments only"},
	{DN_M_network_by_protocol, DN_QUALITY_EXACT, SOURCE_CALLS, CALLS, NULL},
	{DN_M_network_connects, DN_QUALITY_EXACT, SOURCE_STATE, SOCKETS, NULL},
	{DN_M_network_accepts, DN_QUALITY_EXACT, SOURCE_CALLS, CALLS, NULL},
	{DN_M_network_failures, DN_QUALITY_EXACT, SOURCE_CALLS ", inet_sock_set_state", SOCKETS,
		NULL},
	{DN_M_network_connect_latency, DN_QUALITY_EXACT, SOURCE_STATE, SOCKETS, NULL},
	{DN_M_network_resets, DN_QUALITY_EXACT, "raw_tp tcp_send_reset, tcp_receive_reset",
		SOCKETS " dn_reset_sent dn_reset_received", NULL},
	{DN_M_network_rtt, DN_QUALITY_SAMPLED, SOURCE_SOCKETS, KNOWN,
		"looked at with each sample and when a connection ends"},
	{DN_M_network_unix_latency, DN_QUALITY_SAMPLED, "raw_tp sys_enter, sys_exit", CALLS,
		"sends and receives are paired by their place in the stream; datagrams with an "
		"address, and what waits behind 16 others, are left out"},
};

static const struct {
	const char *name;
	enum dn_wire_socket_call call;
} calls[] = {
	{"connect", DN_SOCKET_CONNECT},
	{"accept", DN_SOCKET_ACCEPT},
	{"accept4", DN_SOCKET_ACCEPT},
	{"sendto", DN_SOCKET_SEND},
	{"sendmsg", DN_SOCKET_SENDMSG},
	{"sendmmsg", DN_SOCKET_SENDMMSG},
	{"write", DN_SOCKET_WRITE},
	{"writev", DN_SOCKET_WRITE},
	{"pwritev2", DN_SOCKET_WRITE},
	{"send", DN_SOCKET_WRITE},
	{"recvfrom", DN_SOCKET_RECV},
	{"recv", DN_SOCKET_RECV},
	{"recvmsg", DN_SOCKET_RECVMSG},
	{"recvmmsg", DN_SOCKET_RECVMMSG},
	{"recvmmsg_time64", DN_SOCKET_RECVMMSG},
	{"read", DN_SOCKET_READ},
	{"readv", DN_SOCKET_READ},
	{"preadv2", DN_SOCKET_READ},
	{"sendfile", DN_SOCKET_SENDFILE},
	{"sendfile64", DN_SOCKET_SENDFILE},
	{"splice", DN_SOCKET_SPLICE},
	{"socketcall", DN_SOCKET_MULTIPLEX},
	{"io_uring_setup", DN_SOCKET_RING},
	{"io_uring_enter", DN_SOCKET_RING},
};

static const char *const protocols[DN_PROTOCOL_N] = {
	[DN_PROTOCOL_TCP] = "tcp",
	[DN_PROTOCOL_UDP] = "udp",
	[DN_PROTOCOL_UNIX] = "unix",
	[DN_PROTOCOL_OTHER] = "other",
};

struct network {
	struct dn_wire_network sum;
	struct dn_histogram time[DN_NETWORK_TIMES];
	uint64_t adopted_before; /* by the time the baselines were complete */
	struct dn_ebpf_table by_protocol, failures;
};

static uint8_t kind_of(unsigned index)
{
	const char *name =
		dn_syscall_name((enum dn_abi)(index / DN_CALLS_PER_ABI), index % DN_CALLS_PER_ABI);

	for (unsigned i = 0; name && i < sizeof(calls) / sizeof(calls[0]); i++) {
		if (strcmp(name, calls[i].name) == 0)
			return (uint8_t)calls[i].call;
	}
	return DN_SOCKET_NONE;
}

static void prepare(struct dn_ebpf *ebpf, const char *name, struct bpf_object *object)
{
	uint8_t kinds[DN_CALLS_N];

	/* The first object that has the maps makes them. */
	dn_ebpf_resize(object, "dn_sockets", DN_SOCKETS);
	dn_ebpf_resize(object, "dn_socket_owners", DN_SOCKET_OWNERS);
	if (strcmp(name, "syscalls") != 0)
		return;
	for (unsigned i = 0; i < DN_CALLS_N; i++)
		kinds[i] = kind_of(i);
	(void)dn_ebpf_set(object, "dn_socket_calls", kinds, sizeof(kinds));
	dn_ebpf_resize(object, "dn_unix", DN_UNIX_SOCKETS);
}

static int start(struct dn_ebpf *ebpf)
{
	ebpf->group_data[DN_PROBES_NETWORK] = calloc(1, sizeof(struct network));
	return ebpf->group_data[DN_PROBES_NETWORK] ? 0 : -ENOMEM;
}

/* Passes */

static int pass(struct dn_ebpf *ebpf, const char *name)
{
	const struct dn_ebpf_program *program;
	int fd, r = dn_ebpf_objects_load_late(&ebpf->objects, "sockets");
	char nothing[64];
	ssize_t n;

	if (r < 0)
		return r;
	program = dn_ebpf_program(&ebpf->objects, name);
	if (!program || program->link < 0)
		return -EOPNOTSUPP;
	fd = bpf_iter_create(program->link);
	if (fd < 0)
		return -errno;
	do {
		n = read(fd, nothing, sizeof(nothing));
	} while (n > 0 || (n < 0 && (errno == EINTR || errno == EAGAIN)));
	r = n < 0 ? -errno : 0;
	close(fd);
	return r;
}

static void add_sums(void *arg, const void *value)
{
	const uint64_t *from = value;
	uint64_t *into = arg;

	for (unsigned i = 0; i < sizeof(struct dn_wire_network) / sizeof(uint64_t); i++)
		into[i] += from[i];
}

static int read_sums(struct dn_ebpf *ebpf, struct network *self)
{
	memset(&self->sum, 0, sizeof(self->sum));
	return dn_ebpf_read_percpu(ebpf, dn_ebpf_map(&ebpf->objects, "syscalls", "dn_network"), 0,
		sizeof(struct dn_wire_network), add_sums, &self->sum);
}

static bool wants_sockets(const struct dn_ebpf *ebpf)
{
	return dn_ebpf_has(ebpf, DN_M_network_rx_bytes) ||
	       dn_ebpf_has(ebpf, DN_M_network_tx_bytes) ||
	       dn_ebpf_has(ebpf, DN_M_network_retransmits) ||
	       dn_ebpf_has(ebpf, DN_M_network_sockets) || dn_ebpf_has(ebpf, DN_M_network_rtt);
}

static bool holds_sockets(int proc_fd, pid_t pid)
{
	char path[32], target[16];
	struct dirent *entry;
	bool found = false;
	int fd;
	DIR *dir;

	snprintf(path, sizeof(path), "%d/fd", (int)pid);
	fd = openat(proc_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	dir = fd >= 0 ? fdopendir(fd) : NULL;
	if (!dir) {
		if (fd >= 0)
			close(fd);
		return true; /* it may */
	}
	while (!found && (entry = readdir(dir))) {
		ssize_t n = readlinkat(dirfd(dir), entry->d_name, target, sizeof(target));

		found = n > 7 && memcmp(target, "socket:", 7) == 0;
	}
	closedir(dir);
	return found;
}

/* A command inherits few sockets, if any; a running tree may hold some. */
static bool may_hold_sockets(const struct dn_ebpf *ebpf)
{
	const struct dn_env *env = ebpf->env;

	for (unsigned i = 0; i < env->n_targets; i++) {
		if (env->attach || holds_sockets(env->proc_fd, env->targets[i]))
			return true;
	}
	return false;
}

/* Connections that are there already: what they carried before does not count. */
static void flagged(struct dn_ebpf *ebpf)
{
	struct network *self = ebpf->group_data[DN_PROBES_NETWORK];
	int r;

	if (!wants_sockets(ebpf) || !may_hold_sockets(ebpf))
		return;
	r = pass(ebpf, "dn_held_sockets");
	if (r == 0)
		r = read_sums(ebpf, self);
	/* Those that were in use before the pass came to them had their baseline then. */
	self->adopted_before = self->sum.adopted;
	if (r < 0)
		dn_ebpf_degrade_group(ebpf, DN_PROBES_NETWORK, DN_QUALITY_LOWER_BOUND,
			"connections that were there before could not be found");
}

/* Processes */

static void put_owner(const struct dn_ebpf *ebpf, struct dn_process *process,
	const struct dn_wire_socket_owner *owner)
{
	if (dn_ebpf_has(ebpf, DN_M_network_rx_bytes))
		dn_process_u64(process, DN_M_network_rx_bytes, owner->rx_bytes);
	if (dn_ebpf_has(ebpf, DN_M_network_tx_bytes))
		dn_process_u64(process, DN_M_network_tx_bytes, owner->tx_bytes);
}

static void put_owners(struct dn_ebpf *ebpf)
{
	int fd = dn_ebpf_map(&ebpf->objects, "syscalls", "dn_socket_owners");

	for (struct dn_process *p = dn_tree_first(ebpf->core->tree); p; p = p->next) {
		struct dn_wire_socket_owner owner = {0};
		uint32_t pid = (uint32_t)p->pid;

		(void)bpf_map_lookup_elem(fd, &pid, &owner);
		put_owner(ebpf, p, &owner);
	}
}

static void on_record(struct dn_ebpf *ebpf, const struct dn_wire_record *record, size_t size)
{
	int fd = dn_ebpf_map(&ebpf->objects, "syscalls", "dn_socket_owners");
	struct dn_wire_socket_owner owner = {0};
	struct dn_process *process;
	uint32_t pid = record->pid;

	if (record->type != DN_RECORD_EXIT || pid == 0)
		return;
	process = dn_tree_find(ebpf->core->tree, (pid_t)pid);
	if (!process)
		return;
	if (bpf_map_lookup_elem(fd, &pid, &owner) == 0)
		(void)bpf_map_delete_elem(fd, &pid);
	put_owner(ebpf, process, &owner);
}

/* Frames */

static void add_time(void *arg, uint32_t key, const void *value)
{
	struct network *self = arg;

	if (key < DN_NETWORK_TIMES)
		dn_ebpf_histogram_add(&self->time[key], value);
}

static void put_times(struct dn_ebpf *ebpf, struct network *self, struct dn_frame *frame)
{
	memset(self->time, 0, sizeof(self->time));
	if (dn_ebpf_read_percpu_array(ebpf,
		    dn_ebpf_map(&ebpf->objects, "syscalls", "dn_network_times"), DN_NETWORK_TIMES,
		    sizeof(struct dn_wire_histogram), add_time, self) < 0)
		return;
	if (dn_ebpf_has(ebpf, DN_M_network_connect_latency))
		dn_frame_histogram(
			frame, DN_M_network_connect_latency, &self->time[DN_NETWORK_CONNECT]);
	if (dn_ebpf_has(ebpf, DN_M_network_rtt))
		dn_frame_histogram(frame, DN_M_network_rtt, &self->time[DN_NETWORK_RTT]);
	if (dn_ebpf_has(ebpf, DN_M_network_unix_latency))
		dn_frame_histogram(frame, DN_M_network_unix_latency, &self->time[DN_NETWORK_UNIX]);
}

static void put_by_protocol(struct network *self, struct dn_frame *frame)
{
	static const char *const columns[] = {"rx_bytes", "tx_bytes", "rx_calls", "tx_calls"};

	dn_ebpf_table_begin(&self->by_protocol, columns, 4, DN_PROTOCOL_N);
	for (unsigned i = 0; i < DN_PROTOCOL_N; i++) {
		struct dn_table_row *row;

		if (!self->sum.protocol[i].rx_calls && !self->sum.protocol[i].tx_calls)
			continue;
		row = dn_ebpf_table_row(&self->by_protocol, protocols[i]);
		if (!row)
			continue;
		dn_ebpf_table_add(row, 0, self->sum.protocol[i].rx_bytes);
		dn_ebpf_table_add(row, 1, self->sum.protocol[i].tx_bytes);
		dn_ebpf_table_add(row, 2, self->sum.protocol[i].rx_calls);
		dn_ebpf_table_add(row, 3, self->sum.protocol[i].tx_calls);
	}
	dn_frame_table(frame, DN_M_network_by_protocol, dn_ebpf_table_end(&self->by_protocol, 0));
}

static void put_failures(struct network *self, struct dn_frame *frame)
{
	static const char *const columns[] = {"count"};

	dn_ebpf_table_begin(&self->failures, columns, 1, DN_NETWORK_ERRNOS);
	for (unsigned i = 0; i < DN_NETWORK_ERRNOS; i++) {
		const char *known = i ? strerrorname_np((int)i) : "other";
		struct dn_table_row *row;
		char name[32];

		if (!self->sum.failures[i])
			continue;
		snprintf(name, sizeof(name), "errno_%u", i);
		row = dn_ebpf_table_row(&self->failures, known ? known : name);
		if (row)
			dn_ebpf_table_add(row, 0, self->sum.failures[i]);
	}
	dn_frame_table(frame, DN_M_network_failures, dn_ebpf_table_end(&self->failures, 0));
}

static void put_sums(struct dn_ebpf *ebpf, const struct network *self, struct dn_frame *frame)
{
	const struct {
		unsigned metric;
		uint64_t value;
	} counters[] = {
		{DN_M_network_rx_bytes, self->sum.rx_bytes},
		{DN_M_network_tx_bytes, self->sum.tx_bytes},
		{DN_M_network_retransmits, self->sum.retransmits},
		{DN_M_network_connects, self->sum.connects},
		{DN_M_network_accepts, self->sum.accepts},
		{DN_M_network_resets, self->sum.resets},
	};

	for (unsigned i = 0; i < sizeof(counters) / sizeof(counters[0]); i++) {
		if (dn_ebpf_has(ebpf, counters[i].metric))
			dn_frame_u64(frame, counters[i].metric, counters[i].value);
	}
}

static void doubt(struct dn_ebpf *ebpf, const unsigned *metric, unsigned n, const char *reason)
{
	for (unsigned i = 0; i < n; i++)
		dn_ebpf_degrade(ebpf, metric[i], DN_QUALITY_LOWER_BOUND, reason);
}

static void tell_doubts(struct dn_ebpf *ebpf, const struct network *self)
{
	static const unsigned of_sockets[] = {DN_M_network_rx_bytes, DN_M_network_tx_bytes,
		DN_M_network_retransmits, DN_M_network_resets, DN_M_network_sockets};
	static const unsigned of_messages[] = {DN_M_network_by_protocol};

	if (self->sum.rings)
		dn_ebpf_degrade_group(ebpf, DN_PROBES_NETWORK, DN_QUALITY_LOWER_BOUND,
			"the tree uses io_uring: what goes through it is no system call");
	if (self->sum.multipath)
		doubt(ebpf, of_sockets, 5, "MPTCP connections have no such counters");
	if (self->sum.adopted > self->adopted_before)
		doubt(ebpf, of_sockets, 3,
			"connections were handed to the tree: what they had carried by then is "
			"not known");
	if (self->sum.cut)
		doubt(ebpf, of_messages, 1,
			"of calls with many messages only the first ones could be looked at");
}

static void put_sockets(struct dn_ebpf *ebpf, struct dn_frame *frame)
{
	int fd = dn_ebpf_map(&ebpf->objects, "sockets", "dn_sockets_now");
	struct dn_wire_sockets now = {0};
	uint32_t zero = 0;

	if (fd >= 0)
		(void)bpf_map_update_elem(fd, &zero, &now, BPF_ANY);
	if (pass(ebpf, "dn_known_sockets") < 0)
		return;
	fd = dn_ebpf_map(&ebpf->objects, "sockets", "dn_sockets_now");
	if (bpf_map_lookup_elem(fd, &zero, &now) == 0 && dn_ebpf_has(ebpf, DN_M_network_sockets))
		dn_frame_u64(frame, DN_M_network_sockets, now.connections);
}

static void sample(struct dn_ebpf *ebpf, struct dn_frame *frame)
{
	struct network *self = ebpf->group_data[DN_PROBES_NETWORK];

	if (wants_sockets(ebpf))
		put_sockets(ebpf, frame);
	if (read_sums(ebpf, self) < 0)
		return;
	put_sums(ebpf, self, frame);
	tell_doubts(ebpf, self);
	if (ebpf->env->per_process || frame->final)
		put_owners(ebpf);
	if (!ebpf->env->detail && !frame->final)
		return;
	put_times(ebpf, self, frame);
	if (dn_ebpf_has(ebpf, DN_M_network_by_protocol))
		put_by_protocol(self, frame);
	if (dn_ebpf_has(ebpf, DN_M_network_failures))
		put_failures(self, frame);
}

static void finish(struct dn_ebpf *ebpf)
{
	struct network *self = ebpf->group_data[DN_PROBES_NETWORK];

	if (!self)
		return;
	dn_ebpf_table_free(&self->by_protocol);
	dn_ebpf_table_free(&self->failures);
	free(self);
	ebpf->group_data[DN_PROBES_NETWORK] = NULL;
}

const struct dn_ebpf_group dn_ebpf_group_network = {
	.id = DN_PROBES_NETWORK,
	.object = "network",
	.late = "sockets",
	.features = DN_FEATURE_NETWORK,
	.sampled = true,
	.maps = "dn_sockets dn_network dn_network_times dn_socket_owners dn_unix dn_unix_new",
	.metric = metrics,
	.n_metrics = sizeof(metrics) / sizeof(metrics[0]),
	.prepare = prepare,
	.start = start,
	.flagged = flagged,
	.sample = sample,
	.record = on_record,
	.finish = finish,
};

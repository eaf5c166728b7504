/* SPDX-License-Identifier: Apache-2.0 */
/* Which sockets do the tree's processes hold? Descriptors by readlink, their kind by the socket's
 * own word. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>

#include <denet/fs.h>

#include "sockdiag.h"

struct dirent64_head {
	uint64_t ino;
	int64_t off;
	uint16_t reclen;
	uint8_t type;
	char name[];
};

/* Beyond that number a descriptor is not looked for: the scan of the command finds it. */
#define INHERITED_MAX 4096

/* Enough for the name of any protocol of the kernel. */
#define PROTOCOL_MAX 40

static const char *const not_counted[] = {
	"UDP", "RAW", "PING", "SCTP", "DCCP", "MPTCP", "L2TP", "SMC"};

static void say_not_counted(struct dn_sockdiag *s, pid_t pid, const char *protocol)
{
	char reason[160];

	if (s->datagrams_said)
		return;
	s->datagrams_said = true;
	snprintf(reason, sizeof(reason),
		"pid %d holds a %s socket, which isn't counted by this source", (int)pid, protocol);
	s->core->degrade(s->core, DN_M_network_rx_bytes, DN_QUALITY_LOWER_BOUND, reason);
	s->core->degrade(s->core, DN_M_network_tx_bytes, DN_QUALITY_LOWER_BOUND, reason);
}

/* 0 with the protocol's name; -ESTALE when the descriptor is another one by now; another negative
 * errno. */
static int protocol_of(
	pid_t pid, int dir_fd, const char *name, uint32_t inode, char protocol[PROTOCOL_MAX])
{
	char path[64], link[64];
	uint32_t again;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/fd/%.12s", (int)pid, name);
	n = getxattr(path, "system.sockprotoname", protocol, PROTOCOL_MAX - 1);
	if (n < 0)
		return -errno;
	protocol[n] = '\0';
	n = readlinkat(dir_fd, name, link, sizeof(link));
	if (n < 0 || !dn_socket_inode(link, (size_t)n, &again) || again != inode)
		return -ESTALE;
	return 0;
}

static void note_socket(struct dn_sockdiag *s, struct dn_process *process, int dir_fd,
	const char *name, uint32_t inode)
{
	struct dn_held *held = dn_map_get(&s->held, inode);
	char protocol[PROTOCOL_MAX] = "";
	int r;

	if (held) {
		held->round = s->round;
		held->shared |= held->holder != process;
		return;
	}
	r = protocol_of(process->pid, dir_fd, name, inode, protocol);
	if (r == -ESTALE || r == -ENOENT || r == -ESRCH || r == -EACCES)
		return; /* the next round knows better */
	held = calloc(1, sizeof(*held));
	if (!held || dn_map_put(&s->held, inode, held, DN_HELD_MAX) < 0) {
		free(held);
		dn_sockdiag_doubt(s, "more sockets than can be remembered");
		return;
	}
	*held = (struct dn_held){
		.inode = inode, .round = s->round, .kind = DN_HELD_OTHER, .holder = process};
	dn_holder_of(s, process)->sockets++;
	/* Where sockets can't tell their kind, the dump does. */
	if (r < 0 || strcmp(protocol, "TCP") == 0 || strcmp(protocol, "TCPv6") == 0) {
		held->kind = DN_HELD_TCP;
		s->news = true;
		return;
	}
	for (unsigned i = 0; i < sizeof(not_counted) / sizeof(not_counted[0]); i++) {
		if (strncmp(protocol, not_counted[i], strlen(not_counted[i])) == 0)
			say_not_counted(s, process->pid, protocol);
	}
}

int dn_scan_entries(int fd, int (*each)(void *arg, int dir_fd, const char *name), void *arg)
{
	_Alignas(8) char buffer[8192];

	for (;;) {
		long n = syscall(SYS_getdents64, fd, buffer, sizeof(buffer));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : 0;
		for (long at = 0; at < n;) {
			const struct dirent64_head *entry = (const void *)(buffer + at);
			int r = entry->name[0] == '.' ? 0 : each(arg, fd, entry->name);

			if (r < 0)
				return r;
			at += entry->reclen;
		}
	}
}

struct process_scan {
	struct dn_sockdiag *s;
	struct dn_process *process;
};

static int each_descriptor(void *arg, int dir_fd, const char *name)
{
	const struct process_scan *scan = arg;
	char link[64];
	uint32_t inode;
	ssize_t len = readlinkat(dir_fd, name, link, sizeof(link));

	if (len > 0 && dn_socket_inode(link, (size_t)len, &inode))
		note_socket(scan->s, scan->process, dir_fd, name, inode);
	return 0;
}

/* A process that ended keeps nothing open, whatever the kernel says of its files. */
static bool is_zombie(const struct dn_sockdiag *s, pid_t pid)
{
	char path[32], text[1024];
	const char *state;
	ssize_t n;

	snprintf(path, sizeof(path), "%d/stat", (int)pid);
	n = dn_read_file_at(s->env.proc_fd, path, text, sizeof(text));
	if (n < 0)
		return true;
	state = strrchr(text, ')');
	return !state || state[1] != ' ' || strchr("ZXx", state[2]) != NULL;
}

static void scan_failed(
	struct dn_sockdiag *s, struct dn_process *process, struct dn_holder *holder, int r)
{
	char reason[160];

	if (r == -ENOENT || r == -ESRCH || r == -EACCES || r == -EPERM) {
		/* Gone, or hidden by the mount options of /proc? */
		if ((r == -ENOENT || r == -ESRCH) && kill(process->pid, 0) < 0 && errno == ESRCH)
			return;
		if (is_zombie(s, process->pid) && r != -ENOENT)
			return;
		holder->silent = true;
	}
	snprintf(reason, sizeof(reason), "the descriptors of pid %d can't be read: %s",
		(int)process->pid, strerror(-r));
	dn_sockdiag_doubt(s, reason);
}

/* A foreign namespace has sockets, counters and events of its own. */
static void place(struct dn_sockdiag *s, struct dn_process *process, struct dn_holder *holder)
{
	char path[32], link[sizeof(s->own_ns)] = "", reason[160];

	holder->placed = true;
	if (s->own_ns[0] == '\0' &&
		readlinkat(s->env.proc_fd, "self/ns/net", s->own_ns, sizeof(s->own_ns) - 1) < 0)
		strcpy(s->own_ns, "-"); /* a kernel without namespaces has only one */
	snprintf(path, sizeof(path), "%d/ns/net", (int)process->pid);
	if (s->own_ns[0] == '-' || readlinkat(s->env.proc_fd, path, link, sizeof(link) - 1) < 0 ||
		strcmp(link, s->own_ns) == 0)
		return;
	holder->silent = true;
	snprintf(reason, sizeof(reason),
		"pid %d is in another network namespace, which this source can't see",
		(int)process->pid);
	dn_sockdiag_doubt(s, reason);
}

static struct dn_holder *holder_new(struct dn_sockdiag *s, struct dn_process *process)
{
	struct dn_holder *holder = dn_holder_of(s, process);

	if (holder)
		return holder;
	holder = calloc(1, sizeof(*holder));
	if (!holder) {
		dn_sockdiag_doubt(s, "out of memory");
		return NULL;
	}
	process->backend[s->base.index] = holder;
	return holder;
}

static void scan_process(struct dn_sockdiag *s, struct dn_process *process)
{
	struct process_scan scan = {s, process};
	struct dn_holder *holder = holder_new(s, process);
	char path[32];
	int r;

	if (!holder)
		return;
	holder->round = s->round;
	place(s, process, holder);
	if (holder->silent)
		return;
	snprintf(path, sizeof(path), "%d/fd", (int)process->pid);
	{
		dn_cleanup(dn_closep) int fd =
			dn_open_at(s->env.proc_fd, path, O_RDONLY | O_DIRECTORY);

		r = fd < 0 ? fd : dn_scan_entries(fd, each_descriptor, &scan);
	}
	if (r < 0)
		scan_failed(s, process, holder, r);
}

/* Sockets that no process of the tree holds any more. */
static void sweep(struct dn_sockdiag *s)
{
	struct dn_held *held;
	size_t at = 0;

	while ((held = dn_map_next(&s->held, &at))) {
		if (held->round == s->round)
			continue;
		if (held->holder && dn_holder_of(s, held->holder))
			dn_holder_of(s, held->holder)->sockets--;
		s->left |= held->kind == DN_HELD_TCP && !held->matched;
		dn_map_take(&s->held, held->inode);
		free(held);
		at--;
	}
}

bool dn_scan_round(struct dn_sockdiag *s, bool all)
{
	uint64_t begin = dn_spent_ns();

	if (!s->in_round) {
		s->in_round = true;
		s->round++;
		s->round_cost_ns = 0;
		s->snmp_round = s->snmp;
	}
	for (struct dn_process *p = dn_tree_first(s->core->tree); p; p = p->next) {
		const struct dn_holder *holder = dn_holder_of(s, p);
		uint64_t now;

		if (!p->alive || (holder && (holder->silent || holder->round == s->round)))
			continue;
		if (!all && s->budget_ns < 0)
			return false;
		scan_process(s, p);
		now = dn_spent_ns();
		s->budget_ns -= (int64_t)(now - begin);
		s->round_cost_ns += now - begin;
		begin = now;
	}
	s->in_round = false;
	s->rounds++;
	s->snmp_scanned = s->snmp_round;
	s->made_scanned = s->made;
	sweep(s);
	return true;
}

void dn_scan_namespaces(struct dn_sockdiag *s)
{
	s->fresh = false;
	for (struct dn_process *p = dn_tree_first(s->core->tree); p; p = p->next) {
		struct dn_holder *holder = p->alive ? holder_new(s, p) : NULL;

		if (holder && !holder->placed && !holder->silent)
			place(s, p, holder);
	}
}

void dn_scan_exited(struct dn_sockdiag *s, struct dn_process *process)
{
	struct dn_holder *holder = dn_holder_of(s, process);
	struct dn_held *held;
	size_t at = 0;

	while (holder && holder->sockets > 0 && (held = dn_map_next(&s->held, &at))) {
		if (held->holder == process) {
			held->holder = NULL;
			holder->sockets--;
		}
	}
	free(holder);
	process->backend[s->base.index] = NULL;
}

bool dn_scan_inherits_sockets(const struct dn_sockdiag *s)
{
	struct pollfd fds[64];
	struct stat st;
	off_t left;

	/* The size of the directory is the number of descriptors; older kernels say 0. */
	if (fstatat(s->env.proc_fd, "self/fd", &st, 0) < 0 || st.st_size <= 0)
		return true;
	left = st.st_size;
	/* Listing the directory costs five times as much as asking for each number. */
	for (int base = 0; left > 0; base += 64) {
		if (base >= INHERITED_MAX)
			return true;
		for (int i = 0; i < 64; i++)
			fds[i] = (struct pollfd){.fd = base + i};
		if (poll(fds, 64, 0) < 0)
			return true;
		for (int i = 0; i < 64; i++) {
			int flags = fds[i].revents & POLLNVAL ? -1 : fcntl(base + i, F_GETFD);

			if (flags < 0)
				continue;
			left--;
			if (!(flags & FD_CLOEXEC) && fstat(base + i, &st) == 0 &&
				S_ISSOCK(st.st_mode))
				return true;
		}
	}
	return false;
}

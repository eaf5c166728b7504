/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Do processes outside the tree hold a listening socket of the tree? Sockets are inherited: one
 * that can't be read is suspected if it shares a user with whoever made the socket, and is younger
 * than the tree or its ancestor.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <denet/fs.h>

#include "sockdiag.h"

#define PID_FIRST_SIZE 256
/* As many as the kernel can have. */
#define PID_MAX 4194304
/* Generations of ancestors. */
#define DEPTH_MAX 64

struct origin {
	pid_t ppid;
	uint64_t start; /* ticks since boot */
};

static bool read_origin(const struct dn_sockdiag *s, pid_t pid, struct origin *ret)
{
	char path[32], text[1024];
	const char *at;
	uint64_t value;

	snprintf(path, sizeof(path), "%d/stat", (int)pid);
	if (dn_read_file_at(s->env.proc_fd, path, text, sizeof(text)) < 0)
		return false;
	at = strrchr(text, ')');
	/* The name is the 2nd field, the parent the 4th, the start the 22nd. */
	for (unsigned field = 2; at && field < 22; field++) {
		at = strchr(at, ' ');
		at += at != NULL;
		if (field + 1 == 4 && at) {
			const char *number = at;

			if (dn_parse_u64(&number, &value) < 0 || value > PID_MAX)
				return false;
			ret->ppid = (pid_t)value;
		}
	}
	return at && dn_parse_u64(&at, &ret->start) == 0;
}

static bool is_ancestor(const struct dn_sockdiag *s, pid_t pid)
{
	for (unsigned i = 0; i < s->env.n_targets; i++) {
		struct origin origin = {.ppid = s->env.targets[i]};

		for (unsigned depth = 0; origin.ppid > 1; depth++) {
			if (origin.ppid == pid || depth >= DEPTH_MAX)
				return true;
			if (!read_origin(s, origin.ppid, &origin))
				break;
		}
	}
	return false;
}

/* When the first process of the tree began; 0 when that is not known any more. */
static uint64_t oldest_start(const struct dn_sockdiag *s)
{
	uint64_t oldest = UINT64_MAX;

	for (unsigned i = 0; i < s->env.n_targets; i++) {
		struct origin origin;

		if (!read_origin(s, s->env.targets[i], &origin))
			return 0;
		if (origin.start < oldest)
			oldest = origin.start;
	}
	return oldest == UINT64_MAX ? 0 : oldest;
}

static int add_pid(struct dn_others *others, size_t *size, uint64_t pid)
{
	if (others->n == *size) {
		size_t bigger = *size ? *size * 2 : PID_FIRST_SIZE;
		int32_t *array =
			bigger > PID_MAX ? NULL : realloc(others->pid, bigger * sizeof(*array));

		if (!array)
			return -ENOMEM;
		others->pid = array;
		*size = bigger;
	}
	others->pid[others->n++] = (int32_t)pid;
	return 0;
}

struct listing {
	struct dn_others *others;
	size_t size;
};

static int each_entry(void *arg, int dir_fd, const char *name)
{
	struct listing *listing = arg;
	uint64_t pid;

	if (dn_parse_u64_whole(name, &pid) < 0 || pid == 0 || pid > PID_MAX)
		return 0;
	return add_pid(listing->others, &listing->size, pid);
}

int dn_others_begin(struct dn_sockdiag *s)
{
	struct listing listing = {.others = &s->others};
	dn_cleanup(dn_closep) int fd = dn_open_at(s->env.proc_fd, ".", O_RDONLY | O_DIRECTORY);
	int r;

	free(s->others.pid);
	s->others = (struct dn_others){.start = s->others.start};
	if (s->others.start == 0)
		s->others.start = oldest_start(s);
	/* Mounted with hidepid, /proc shows no process of somebody else. */
	s->others.blind = faccessat(s->env.proc_fd, "1/stat", R_OK, 0) < 0;
	if (fd < 0)
		return fd;
	r = dn_scan_entries(fd, each_entry, &listing);
	s->others.active = r >= 0;
	return r;
}

/* A holder outside the tree, unless the table of processes is just behind. */
static void found(struct dn_sockdiag *s, struct dn_listener *l, pid_t pid)
{
	if (!dn_tree_find(s->core->tree, pid))
		l->outside = true;
}

struct look {
	struct dn_sockdiag *s;
	pid_t pid;
	bool denied;
};

static int each_descriptor(void *arg, int dir_fd, const char *name)
{
	struct look *look = arg;
	char link[64];
	uint32_t inode;
	ssize_t len = readlinkat(dir_fd, name, link, sizeof(link));
	struct dn_listener *l;

	if (len < 0 && (errno == EACCES || errno == EPERM)) {
		look->denied = true;
		return 0;
	}
	if (len <= 0 || !dn_socket_inode(link, (size_t)len, &inode))
		return 0;
	l = dn_map_get(&look->s->guarded, inode);
	if (l)
		found(look->s, l, look->pid);
	return 0;
}

/* "Uid:" has the real, the effective, the saved and the file system's. */
static bool has_user(const char *status, uint32_t uid)
{
	const char *at = strstr(status, "\nUid:");
	uint64_t value;

	if (!at)
		return true;
	at += strlen("\nUid:");
	for (unsigned i = 0; i < 4; i++) {
		at += strspn(at, "\t ");
		if (dn_parse_u64(&at, &value) < 0 || value == uid)
			return true;
	}
	return false;
}

static bool may_inherit(const struct dn_sockdiag *s, pid_t pid)
{
	struct origin origin;

	return !read_origin(s, pid, &origin) || origin.start >= s->others.start ||
	       is_ancestor(s, pid);
}

static void suspect(struct dn_sockdiag *s, pid_t pid)
{
	char path[32], text[4096];
	struct dn_listener *l;
	size_t at = 0;
	ssize_t n;

	snprintf(path, sizeof(path), "%d/status", (int)pid);
	n = dn_read_file_at(s->env.proc_fd, path, text, sizeof(text));
	if (n == -ENOENT || n == -ESRCH)
		return;
	/* Without memory: the kernel's own, or dead. */
	if (n > 0 && (size_t)n < sizeof(text) - 1 && !strstr(text, "\nVmPeak:"))
		return;
	while ((l = dn_map_next(&s->guarded, &at))) {
		if (l->outside || (n > 0 && !has_user(text, l->uid)))
			continue;
		/* The first process gives services sockets that are its own. */
		if (pid == 1 ? l->uid != geteuid() : may_inherit(s, pid))
			found(s, l, pid);
	}
}

static void look_at(struct dn_sockdiag *s, pid_t pid)
{
	struct look look = {.s = s, .pid = pid};
	char path[32];
	int r;

	snprintf(path, sizeof(path), "%d/fd", (int)pid);
	{
		dn_cleanup(dn_closep) int fd =
			dn_open_at(s->env.proc_fd, path, O_RDONLY | O_DIRECTORY);

		r = fd < 0 ? fd : dn_scan_entries(fd, each_descriptor, &look);
	}
	if (look.denied || r == -EACCES || r == -EPERM)
		suspect(s, pid);
	else if (r < 0 && r != -ENOENT && r != -ESRCH)
		s->others.blind = true;
}

bool dn_others_go_on(struct dn_sockdiag *s, bool all)
{
	uint64_t begin = dn_spent_ns();
	int64_t budget = s->budget_ns;

	for (; s->others.at < s->others.n; s->others.at++) {
		pid_t pid = s->others.pid[s->others.at];

		if (!all && (int64_t)dn_sub_sat(dn_spent_ns(), begin) > budget)
			return false;
		if (pid != getpid() && !dn_tree_find(s->core->tree, pid))
			look_at(s, pid);
	}
	s->others.active = false;
	return true;
}

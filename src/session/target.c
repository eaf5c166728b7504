/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <denet/fs.h>

#include "target.h"

#define KERNEL_THREAD 0x00200000u /* PF_KTHREAD, in the flags field of stat */

struct task {
	pid_t pid;
	char comm[64];
	char state;
	uint64_t flags;
};

/* comm may hold any byte, parentheses and newlines too: it ends at the last ')'. */
static int read_task(int proc_fd, pid_t pid, struct task *ret)
{
	char path[32], text[1024];
	const char *open_paren, *close_paren, *p;
	ssize_t n;
	size_t len;

	snprintf(path, sizeof(path), "%d/stat", (int)pid);
	n = dn_read_file_at(proc_fd, path, text, sizeof(text));
	if (n < 0)
		return (int)n;
	open_paren = strchr(text, '(');
	close_paren = strrchr(text, ')');
	if (!open_paren || !close_paren || close_paren < open_paren || close_paren[1] != ' ' ||
		!close_paren[2])
		return -EINVAL;
	len = (size_t)(close_paren - open_paren - 1);
	if (len >= sizeof(ret->comm))
		len = sizeof(ret->comm) - 1;
	memcpy(ret->comm, open_paren + 1, len);
	ret->comm[len] = '\0';
	ret->pid = pid;
	ret->state = close_paren[2];
	/* state ppid pgrp session tty tpgid flags */
	p = close_paren + 3;
	for (int field = 0; field < 5; field++) {
		int64_t ignored;

		while (*p == ' ')
			p++;
		if (dn_parse_i64(&p, &ignored) < 0)
			return -EINVAL;
	}
	while (*p == ' ')
		p++;
	return dn_parse_u64(&p, &ret->flags);
}

/* The process that a thread belongs to; pid itself when it is one; 0 when it can't be told. */
static pid_t thread_group_of(int proc_fd, pid_t pid)
{
	char path[32], text[4096];
	const char *p;
	uint64_t tgid;

	snprintf(path, sizeof(path), "%d/status", (int)pid);
	if (dn_read_file_at(proc_fd, path, text, sizeof(text)) < 0)
		return 0;
	p = strstr(text, "\nTgid:\t");
	if (!p)
		return 0;
	p += 7;
	return dn_parse_u64(&p, &tgid) < 0 ? 0 : (pid_t)tgid;
}

/* In a recorded /proc denet's number may be anybody's. */
static bool is_denet(int proc_fd, pid_t pid)
{
	struct statfs fs;

	return pid == getpid() && fstatfs(proc_fd, &fs) == 0 && fs.f_type == PROC_SUPER_MAGIC;
}

static int check_pid(int proc_fd, pid_t pid, struct dn_why *why)
{
	struct task task;
	pid_t group;
	int r = read_task(proc_fd, pid, &task);

	if (r == -ENOENT || r == -ESRCH) {
		dn_why_set(why,
			"no process %d (it is gone, or hidden by the hidepid option of /proc)",
			(int)pid);
		return -ESRCH;
	}
	if (r < 0) {
		dn_why_set(why, "cannot look at process %d: %s", (int)pid, strerror(-r));
		return r;
	}
	if (is_denet(proc_fd, pid)) {
		dn_why_set(why, "process %d is denet itself", (int)pid);
		return -EINVAL;
	}
	if (task.flags & KERNEL_THREAD) {
		dn_why_set(why, "process %d (%s) is a kernel thread, which can't be measured",
			(int)pid, task.comm);
		return -EINVAL;
	}
	group = thread_group_of(proc_fd, pid);
	if (group > 0 && group != pid) {
		dn_why_set(why, "%d is a thread of process %d; attach to %d", (int)pid, (int)group,
			(int)group);
		return -EINVAL;
	}
	if (task.state == 'Z' || task.state == 'X') {
		dn_why_set(why,
			"process %d (%s) has ended already; its parent did not collect it yet",
			(int)pid, task.comm);
		return -ESRCH;
	}
	return 0;
}

struct found {
	pid_t *pids;
	unsigned n;
};

static int add(struct found *found, pid_t pid)
{
	pid_t *pids;

	if (found->n == DN_TARGETS_MAX)
		return -ENOBUFS;
	pids = realloc(found->pids, (found->n + 1) * sizeof(*pids));
	if (!pids)
		return -ENOMEM;
	found->pids = pids;
	found->pids[found->n++] = pid;
	return 0;
}

static bool cmdline_matches(int proc_fd, pid_t pid, const regex_t *regex)
{
	char path[32], text[16384];
	ssize_t n;

	snprintf(path, sizeof(path), "%d/cmdline", (int)pid);
	n = dn_read_file_at(proc_fd, path, text, sizeof(text));
	if (n == -ENOBUFS)
		n = sizeof(text) - 1;
	if (n <= 0)
		return false;
	/* Arguments end with NUL; the last one not counted they read as a line. */
	for (ssize_t i = 0; i + 1 < n; i++) {
		if (text[i] == '\0')
			text[i] = ' ';
	}
	return regexec(regex, text, 0, NULL, 0) == 0;
}

static int scan_proc(int proc_fd, const char *name, const regex_t *regex, struct found *found)
{
	int fd = dn_open_at(proc_fd, ".", O_RDONLY | O_DIRECTORY), r = 0;
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	if (!dir) {
		if (fd >= 0)
			close(fd);
		return fd < 0 ? fd : -ENOMEM;
	}
	while (r == 0 && (entry = readdir(dir))) {
		struct task task;
		uint64_t pid;

		if (dn_parse_u64_whole(entry->d_name, &pid) < 0 || pid > INT32_MAX ||
			is_denet(proc_fd, (pid_t)pid))
			continue;
		if (read_task(proc_fd, (pid_t)pid, &task) < 0 || task.flags & KERNEL_THREAD ||
			task.state == 'Z')
			continue;
		if (name ? strcmp(task.comm, name) == 0
			 : cmdline_matches(proc_fd, (pid_t)pid, regex))
			r = add(found, (pid_t)pid);
	}
	closedir(dir);
	return r;
}

/* A path below the cgroup mount, as /proc/PID/cgroup prints it, or a full path. Members of child
 * cgroups count too. */
static int scan_cgroup(int proc_fd, int dir_fd, unsigned depth, struct found *found)
{
	static char text[1 << 16];
	ssize_t n = dn_read_file_at(dir_fd, "cgroup.procs", text, sizeof(text));
	DIR *dir;
	struct dirent *entry;
	int fd, r = 0;

	if (n < 0)
		return (int)n;
	for (const char *p = text; r == 0 && *p;) {
		struct task task;
		uint64_t pid;

		if (dn_parse_u64(&p, &pid) < 0)
			break;
		if (*p == '\n')
			p++;
		if (pid > 0 && pid <= INT32_MAX && !is_denet(proc_fd, (pid_t)pid) &&
			read_task(proc_fd, (pid_t)pid, &task) == 0 &&
			!(task.flags & KERNEL_THREAD) && task.state != 'Z')
			r = add(found, (pid_t)pid);
	}
	fd = dn_open_at(dir_fd, ".", O_RDONLY | O_DIRECTORY);
	dir = fd < 0 ? NULL : fdopendir(fd);
	while (r == 0 && dir && depth < 16 && (entry = readdir(dir))) {
		int child;

		if (entry->d_type != DT_DIR || entry->d_name[0] == '.')
			continue;
		child = dn_open_at(dir_fd, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
		if (child < 0)
			continue;
		r = scan_cgroup(proc_fd, child, depth + 1, found);
		close(child);
		if (r == -ENOENT || r == -ENODEV || r == -EOPNOTSUPP)
			r = 0; /* removed meanwhile, or a threaded cgroup */
	}
	if (dir)
		closedir(dir);
	return r;
}

static int find_cgroup(int proc_fd, const char *sys_root, const char *path, struct found *found,
	struct dn_why *why)
{
	static const char *const mounts[] = {
		"", "/fs/cgroup", "/fs/cgroup/unified", "/fs/cgroup/memory", "/fs/cgroup/systemd"};
	char full[8448];
	int r = -ENOENT;

	for (unsigned i = 0; i < sizeof(mounts) / sizeof(mounts[0]) && r < 0; i++) {
		int fd;

		snprintf(full, sizeof(full), "%s%s%s%s", i ? sys_root : "", mounts[i],
			i && path[0] != '/' ? "/" : "", path);
		fd = dn_open_at(AT_FDCWD, full, O_RDONLY | O_DIRECTORY);
		if (fd < 0)
			continue;
		r = scan_cgroup(proc_fd, fd, 0, found);
		close(fd);
	}
	if (r == -ENOENT)
		dn_why_set(why,
			"no cgroup '%s'; give its folder, or its path as /proc/PID/cgroup prints "
			"it",
			path);
	else if (r < 0)
		dn_why_set(why, "cannot list cgroup '%s': %s", path, strerror(-r));
	return r;
}

static int compile(const char *pattern, regex_t *ret, struct dn_why *why)
{
	char text[160];
	int r = regcomp(ret, pattern, REG_EXTENDED | REG_NOSUB);

	if (r == 0)
		return 0;
	regerror(r, ret, text, sizeof(text));
	dn_why_set(why, "the regular expression '%s' does not work: %s", pattern, text);
	return -EDOM;
}

static int by_pid(const void *a, const void *b)
{
	pid_t x = *(const pid_t *)a, y = *(const pid_t *)b;

	return (x > y) - (x < y);
}

static void sort_unique(struct found *found)
{
	unsigned n = 0;

	qsort(found->pids, found->n, sizeof(*found->pids), by_pid);
	for (unsigned i = 0; i < found->n; i++) {
		if (n == 0 || found->pids[n - 1] != found->pids[i])
			found->pids[n++] = found->pids[i];
	}
	found->n = n;
}

static int find(
	int proc_fd, const struct dn_options *options, struct found *found, struct dn_why *why)
{
	regex_t regex;
	int r = 0;

	if (options->name)
		r = scan_proc(proc_fd, options->name, NULL, found);
	else if (options->cgroup)
		return find_cgroup(proc_fd, options->sys_root, options->cgroup, found, why);
	else if (options->cmdline) {
		r = compile(options->cmdline, &regex, why);
		if (r < 0)
			return r;
		r = scan_proc(proc_fd, NULL, &regex, found);
		regfree(&regex);
	}
	for (unsigned i = 0; r == 0 && i < options->n_pids; i++) {
		r = check_pid(proc_fd, options->pids[i], why);
		if (r == 0)
			r = add(found, options->pids[i]);
	}
	return r;
}

int dn_target_resolve(int proc_fd, const struct dn_options *options, pid_t **ret_pids,
	unsigned *ret_n, struct dn_why *why)
{
	struct found found = {0};
	int r = find(proc_fd, options, &found, why);

	if (r == 0 && found.n == 0) {
		r = -ESRCH;
		if (options->name)
			dn_why_set(why,
				"no process is named '%s' (names are at most 15 bytes, as in "
				"/proc/PID/comm)",
				options->name);
		else if (options->cmdline)
			dn_why_set(why, "no command line matches '%s'", options->cmdline);
		else
			dn_why_set(why, "cgroup '%s' holds no process",
				options->cgroup ? options->cgroup : "");
	}
	if (r == -ENOBUFS)
		dn_why_set(why, "more than %d processes match; name fewer", DN_TARGETS_MAX);
	if (r < 0) {
		free(found.pids);
		return r;
	}
	sort_unique(&found);
	*ret_pids = found.pids;
	*ret_n = found.n;
	return 0;
}

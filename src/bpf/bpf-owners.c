/* SPDX-License-Identifier: Apache-2.0 */
/* Which processes hold BPF objects: their descriptors, and what these hold in turn. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <denet/fs.h>

#include "bpf-list.h"

/* The first pid namespace has had this number since there are any. */
#define PID_NAMESPACE_FIRST UINT64_C(0xeffffffc)

static void closedirp(DIR **dir)
{
	if (*dir)
		closedir(*dir);
}

static int open_dir(int dir_fd, const char *path, DIR **ret)
{
	int fd = dn_open_at(dir_fd, path, O_RDONLY | O_DIRECTORY), r;

	if (fd < 0)
		return fd;
	*ret = fdopendir(fd);
	if (*ret)
		return 0;
	r = -errno; /* ENOENT for /proc/PID/fd: the process has ended since */
	close(fd);
	return r;
}

static int add_holder(struct dn_bpf_owners *owners, const struct dn_bpf_holder *holder)
{
	if (owners->n_holders == owners->room_holders) {
		unsigned more = owners->room_holders ? owners->room_holders * 2 : 64;
		struct dn_bpf_holder *bigger = reallocarray(owners->holder, more, sizeof(*bigger));

		if (!bigger)
			return -ENOMEM;
		owners->holder = bigger;
		owners->room_holders = more;
	}
	owners->holder[owners->n_holders++] = *holder;
	return 0;
}

static int add_hold(struct dn_bpf_owners *owners, enum dn_bpf_kind kind, uint32_t id,
	uint32_t holder, enum dn_bpf_by by)
{
	if (owners->n_holds == DN_BPF_HOLDS_MAX) {
		owners->cut = true;
		return -ENOSPC;
	}
	if (owners->n_holds == owners->room_holds) {
		unsigned more = owners->room_holds ? owners->room_holds * 2 : 64;
		struct dn_bpf_hold *bigger = reallocarray(owners->hold, more, sizeof(*bigger));

		if (!bigger)
			return -ENOMEM;
		owners->hold = bigger;
		owners->room_holds = more;
	}
	owners->hold[owners->n_holds++] = (struct dn_bpf_hold){kind, id, holder, by};
	return 0;
}

/* The name of the process, when something of it is held for the first time. */
static int add_process(struct dn_bpf_owners *owners, int pid_fd, pid_t pid)
{
	struct dn_bpf_holder holder = {.pid = pid};
	ssize_t len = dn_read_file_at(pid_fd, "comm", holder.name, sizeof(holder.name));

	if (len == -ENOBUFS)
		len = (ssize_t)strlen(holder.name);
	if (len > 0 && holder.name[len - 1] == '\n')
		holder.name[len - 1] = '\0';
	return add_holder(owners, &holder);
}

/* One descriptor. *ret_known: the process is the last holder already. */
static int look_at(struct dn_bpf_owners *owners, int pid_fd, pid_t pid, int fd_dir,
	const char *number, bool *ret_known)
{
	char link[64], path[300], text[2048];
	const char *key;
	ssize_t len = readlinkat(fd_dir, number, link, sizeof(link) - 1);
	uint64_t id;
	int kind, r;

	if (len < 0)
		return errno == EACCES || errno == EPERM ? -EACCES : 0;
	link[len] = '\0';
	kind = dn_bpf_fd_kind(link, &key);
	if (kind < 0)
		return 0;
	snprintf(path, sizeof(path), "fdinfo/%s", number);
	len = dn_read_file_at(pid_fd, path, text, sizeof(text));
	if (len < 0 && len != -ENOBUFS)
		return len == -EACCES || len == -EPERM ? -EACCES : 0;
	if (!dn_bpf_fdinfo_u64(text, key, &id) || id > UINT32_MAX)
		return 0;
	if (!*ret_known) {
		r = add_process(owners, pid_fd, pid);
		if (r < 0)
			return r;
		*ret_known = true;
	}
	return add_hold(owners, (enum dn_bpf_kind)kind, (uint32_t)id, owners->n_holders - 1,
		DN_BPF_BY_ITSELF);
}

/* -EACCES when something in it may not be seen. */
static int walk_process(struct dn_bpf_owners *owners, int proc_fd, pid_t pid, unsigned *budget)
{
	dn_cleanup(closedirp) DIR *fds = NULL;
	dn_cleanup(dn_closep) int pid_fd = -1;
	const struct dirent *entry;
	bool known = false;
	char path[32];
	int r;

	snprintf(path, sizeof(path), "%d", (int)pid);
	pid_fd = dn_open_at(proc_fd, path, O_RDONLY | O_DIRECTORY);
	if (pid_fd < 0)
		return pid_fd == -EACCES || pid_fd == -EPERM ? -EACCES : 0;
	r = open_dir(pid_fd, "fd", &fds);
	if (r < 0)
		return r == -EPERM ? -EACCES : r == -EACCES || r == -ENOMEM ? r : 0;
	while ((entry = readdir(fds))) {
		if (entry->d_name[0] == '.')
			continue;
		if ((*budget)-- == 0) {
			owners->cut = true;
			*budget = 0;
			return -ENOSPC;
		}
		r = look_at(owners, pid_fd, pid, dirfd(fds), entry->d_name, &known);
		if (r < 0)
			return r;
	}
	return 0;
}

static int walk_processes(struct dn_bpf_owners *owners, int proc_fd)
{
	dn_cleanup(closedirp) DIR *dir = NULL;
	unsigned budget = DN_BPF_DESCRIPTORS_MAX;
	const struct dirent *entry;
	struct stat st;
	int r;

	if (fstatat(proc_fd, "self/ns/pid", &st, 0) < 0 || st.st_ino != PID_NAMESPACE_FIRST)
		owners->outside = true;
	r = open_dir(proc_fd, ".", &dir);
	if (r < 0)
		return r;
	while ((entry = readdir(dir))) {
		uint64_t pid;

		if (dn_parse_u64_whole(entry->d_name, &pid) < 0 || pid == 0 || pid > INT32_MAX)
			continue;
		r = walk_process(owners, proc_fd, (pid_t)pid, &budget);
		if (r == -EACCES)
			owners->denied++;
		else if (r == -ENOSPC)
			break;
		else if (r < 0)
			return r;
		else
			owners->processes++;
	}
	return 0;
}

static int compare(const void *a, const void *b)
{
	const struct dn_bpf_hold *x = a, *y = b;

	if (x->kind != y->kind)
		return x->kind < y->kind ? -1 : 1;
	if (x->id != y->id)
		return x->id < y->id ? -1 : 1;
	if (x->holder != y->holder)
		return x->holder < y->holder ? -1 : 1;
	return (int)x->by - (int)y->by;
}

/* By object, each holder once and by the shortest way. */
static void sort(struct dn_bpf_owners *owners)
{
	unsigned kept = 0;

	if (owners->n_holds == 0)
		return;
	qsort(owners->hold, owners->n_holds, sizeof(*owners->hold), compare);
	for (unsigned i = 1; i < owners->n_holds; i++) {
		struct dn_bpf_hold *last = &owners->hold[kept], *hold = &owners->hold[i];

		if (hold->kind != last->kind || hold->id != last->id ||
			hold->holder != last->holder)
			owners->hold[++kept] = *hold;
	}
	owners->n_holds = kept + 1;
}

/* The first hold of an object among the sorted ones. */
static unsigned find(const struct dn_bpf_owners *owners, unsigned sorted, enum dn_bpf_kind kind,
	uint32_t id, unsigned *ret_n)
{
	unsigned low = 0, high = sorted, end;

	while (low < high) {
		unsigned middle = low + (high - low) / 2;
		const struct dn_bpf_hold *hold = &owners->hold[middle];

		if (hold->kind < kind || (hold->kind == kind && hold->id < id))
			low = middle + 1;
		else
			high = middle;
	}
	for (end = low;
		end < sorted && owners->hold[end].kind == kind && owners->hold[end].id == id; end++)
		;
	*ret_n = end - low;
	return low;
}

/* Who holds this holds that too. */
static int add_through(struct dn_bpf_owners *owners, unsigned sorted, enum dn_bpf_kind kind,
	uint32_t id, enum dn_bpf_kind of_kind, uint32_t of_id, enum dn_bpf_by by)
{
	unsigned n, first = find(owners, sorted, kind, id, &n);
	int r = 0;

	for (unsigned i = 0; i < n && r == 0; i++)
		r = add_hold(owners, of_kind, of_id, owners->hold[first + i].holder, by);
	return r;
}

/* Who holds a link holds its program, who holds a program holds its maps. */
static int add_indirect(struct dn_bpf_owners *owners, const struct dn_bpf_list *list)
{
	unsigned sorted;
	int r = 0;

	sort(owners);
	sorted = owners->n_holds;
	for (unsigned i = 0; i < list->n[DN_BPF_LINK] && r == 0; i++)
		r = add_through(owners, sorted, DN_BPF_LINK, list->link[i].id, DN_BPF_PROG,
			list->link[i].prog_id, DN_BPF_BY_LINK);
	sort(owners);
	sorted = owners->n_holds;
	for (unsigned i = 0; i < list->n[DN_BPF_PROG] && r == 0; i++) {
		const struct dn_bpf_prog *prog = &list->prog[i].info;

		for (unsigned m = 0; m < prog->n_maps && m < DN_BPF_MAPS_MAX && r == 0; m++)
			r = add_through(owners, sorted, DN_BPF_PROG, prog->id, DN_BPF_MAP,
				prog->map_id[m], DN_BPF_BY_PROG);
	}
	sort(owners);
	return r == -ENOSPC ? 0 : r;
}

/* As pinned: the path is a holder. */
static int on_pin(enum dn_bpf_kind kind, uint32_t id, const char *path, void *data)
{
	struct dn_bpf_owners *owners = data;
	struct dn_bpf_holder holder = {.path = strdup(path)};
	int r;

	if (!holder.path)
		return -ENOMEM;
	r = add_holder(owners, &holder);
	if (r < 0) {
		free(holder.path);
		return r;
	}
	return add_hold(owners, kind, id, owners->n_holders - 1, DN_BPF_BY_ITSELF);
}

int dn_bpf_owners_read(
	struct dn_bpf_owners *ret, const struct dn_bpf_list *list, int proc_fd, bool pinned)
{
	struct dn_bpf_owners owners = {0};
	int r = walk_processes(&owners, proc_fd);

	if (r == 0 && pinned) {
		r = dn_bpf_pins_visit(proc_fd, on_pin, &owners);
		if (r == 1 || r == -ENOSPC)
			owners.cut = true;
		r = r == -ENOMEM ? r : 0;
	}
	if (r == 0)
		r = add_indirect(&owners, list);
	if (r < 0) {
		dn_bpf_owners_finish(&owners);
		return r;
	}
	*ret = owners;
	return 0;
}

void dn_bpf_owners_finish(struct dn_bpf_owners *owners)
{
	for (unsigned i = 0; i < owners->n_holders; i++)
		free(owners->holder[i].path);
	free(owners->holder);
	free(owners->hold);
	*owners = (struct dn_bpf_owners){0};
}

const struct dn_bpf_hold *dn_bpf_owners_of(
	const struct dn_bpf_owners *owners, enum dn_bpf_kind kind, uint32_t id, unsigned *ret_n)
{
	unsigned first = find(owners, owners->n_holds, kind, id, ret_n);

	return *ret_n ? owners->hold + first : NULL;
}

bool dn_bpf_owners_complete(const struct dn_bpf_owners *owners)
{
	return !owners->denied && !owners->outside && !owners->cut;
}

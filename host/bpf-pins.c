/* SPDX-License-Identifier: Apache-2.0 */
/* What is pinned in the BPF filesystems of this mount namespace. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <denet/bpf.h>
#include <denet/fs.h>

#include "host.h"

#ifndef BPF_FS_MAGIC
#define BPF_FS_MAGIC 0xcafe4a11
#endif

#define DEPTH_MAX 16
#define PINS_MAX 16384
#define MOUNTS_MAX 64

struct walk {
	int (*visit)(enum dn_bpf_kind kind, uint32_t id, const char *path, void *data);
	void *data;
	bool cut;
	unsigned left, mounts;
	dev_t seen[MOUNTS_MAX]; /* a filesystem may be mounted twice */
	char path[4096];
};

/* Not opened as a file: it is an object that the kernel gives a descriptor of. */
static int look_at(struct walk *walk)
{
	dn_cleanup(dn_closep) int fd = dn_bpf_open_pinned(walk->path);
	char path[64], link[64], text[2048];
	const char *key;
	uint64_t id;
	ssize_t len;
	int kind, r;

	if (fd < 0)
		return 0;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	len = readlink(path, link, sizeof(link) - 1);
	if (len < 0)
		return 0;
	link[len] = '\0';
	kind = dn_bpf_fd_kind(link, &key);
	r = dn_bpf_fdinfo_read(fd, text, sizeof(text));
	if (kind < 0 || (r < 0 && r != -ENOBUFS) || !dn_bpf_fdinfo_u64(text, key, &id) ||
		id > UINT32_MAX)
		return 0;
	return walk->visit((enum dn_bpf_kind)kind, (uint32_t)id, walk->path, walk->data);
}

static int walk_folder(struct walk *walk, unsigned depth)
{
	int fd = dn_open_at(AT_FDCWD, walk->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	size_t len = strlen(walk->path);
	const struct dirent *entry;
	int r = 0;

	if (!dir) {
		if (fd >= 0)
			close(fd);
		return 0;
	}
	while (r == 0 && (entry = readdir(dir))) {
		struct stat st;

		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		if (walk->left-- == 0) {
			walk->left = 0;
			walk->cut = true;
			break;
		}
		if (fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
			(size_t)snprintf(walk->path + len, sizeof(walk->path) - len, "/%s",
				entry->d_name) >= sizeof(walk->path) - len)
			continue;
		if (S_ISREG(st.st_mode))
			r = look_at(walk);
		else if (S_ISDIR(st.st_mode) && depth < DEPTH_MAX)
			r = walk_folder(walk, depth + 1);
	}
	walk->path[len] = '\0';
	closedir(dir);
	return r;
}

static int on_mount(const struct dn_mount *mount, void *data)
{
	struct walk *walk = data;
	struct statfs fs;
	struct stat st;

	if (strcmp(mount->type, "bpf") != 0)
		return 0;
	/* What is mounted over it hides it. */
	if (statfs(mount->point, &fs) < 0 || fs.f_type != BPF_FS_MAGIC ||
		stat(mount->point, &st) < 0)
		return 0;
	for (unsigned i = 0; i < walk->mounts; i++) {
		if (walk->seen[i] == st.st_dev)
			return 0;
	}
	if (walk->mounts == MOUNTS_MAX) {
		walk->cut = true;
		return 0;
	}
	walk->seen[walk->mounts++] = st.st_dev;
	snprintf(walk->path, sizeof(walk->path), "%s", mount->point);
	return walk_folder(walk, 0);
}

int dn_bpf_pins_visit(int proc_fd,
	int (*visit)(enum dn_bpf_kind kind, uint32_t id, const char *path, void *data), void *data)
{
	struct walk *walk = calloc(1, sizeof(*walk));
	int r;

	if (!walk)
		return -ENOMEM;
	walk->visit = visit;
	walk->data = data;
	walk->left = PINS_MAX;
	r = dn_mount_visit(proc_fd, on_mount, walk);
	if (r == 0 && walk->cut)
		r = 1;
	free(walk);
	return r;
}

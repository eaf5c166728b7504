/* SPDX-License-Identifier: Apache-2.0 */
/* Programs and maps of the kernel by raw bpf(2), and what /proc adds to them. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <denet/bpf.h>
#include <denet/fs.h>

#include "bpf-abi.h"

#define RETRIES_MAX 8

int dn_bpf_call(enum dn_bpf_command command, void *attr, size_t size)
{
	for (unsigned tries = 0;; tries++) {
		long r = syscall(SYS_bpf, command, attr, size);

		if (r >= 0)
			return (int)r;
		if ((errno != EAGAIN && errno != EINTR) || tries >= RETRIES_MAX)
			return -errno;
	}
}

int dn_bpf_info(int fd, void *info, size_t size)
{
	struct dn_bpf_attr_info attr = {
		.fd = (uint32_t)fd, .len = (uint32_t)size, .info = (uintptr_t)info};
	int r = dn_bpf_call(DN_BPF_CMD_OBJ_GET_INFO_BY_FD, &attr, sizeof(attr));

	return r < 0 ? r : (int)(attr.len < size ? attr.len : size);
}

int dn_bpf_next_id(enum dn_bpf_kind kind, uint32_t id, uint32_t *ret)
{
	static const enum dn_bpf_command command[] = {
		[DN_BPF_PROG] = DN_BPF_CMD_PROG_GET_NEXT_ID,
		[DN_BPF_MAP] = DN_BPF_CMD_MAP_GET_NEXT_ID,
		[DN_BPF_LINK] = DN_BPF_CMD_LINK_GET_NEXT_ID,
	};
	struct dn_bpf_attr_id attr = {.id = id};
	int r = dn_bpf_call(command[kind], &attr, sizeof(attr));

	if (r < 0)
		return r;
	*ret = attr.next_id;
	return 0;
}

int dn_bpf_open(enum dn_bpf_kind kind, uint32_t id)
{
	static const enum dn_bpf_command command[] = {
		[DN_BPF_PROG] = DN_BPF_CMD_PROG_GET_FD_BY_ID,
		[DN_BPF_MAP] = DN_BPF_CMD_MAP_GET_FD_BY_ID,
		[DN_BPF_LINK] = DN_BPF_CMD_LINK_GET_FD_BY_ID,
	};
	/* Only maps take flags: one that is written from the kernel alone can be looked at too. */
	struct dn_bpf_attr_id attr = {
		.id = id, .open_flags = kind == DN_BPF_MAP ? DN_BPF_F_RDONLY : 0};

	return dn_bpf_call(command[kind], &attr, sizeof(attr));
}

int dn_bpf_open_pinned(const char *path)
{
	struct dn_bpf_attr_path attr = {.path = (uintptr_t)path, .flags = DN_BPF_F_RDONLY};
	int r = dn_bpf_call(DN_BPF_CMD_OBJ_GET, &attr, sizeof(attr));

	if (r != -EINVAL)
		return r;
	attr = (struct dn_bpf_attr_path){
		.path = (uintptr_t)path}; /* programs and links take none */
	return dn_bpf_call(DN_BPF_CMD_OBJ_GET, &attr, sizeof(attr));
}

int dn_bpf_prog_read(int fd, struct dn_bpf_prog *ret)
{
	struct dn_bpf_prog prog = {0};
	struct dn_bpf_prog_info info = {
		.n_map_ids = DN_BPF_MAPS_MAX, .map_ids = (uintptr_t)prog.map_id};
	int len = dn_bpf_info(fd, &info, sizeof(info));

	if (len < 0)
		return len;
	prog.id = info.id;
	prog.type = info.type;
	memcpy(prog.name, info.name, DN_BPF_NAME_MAX);
	memcpy(prog.tag, info.tag, sizeof(prog.tag));
	prog.loaded_ns = info.load_time;
	prog.loaded_uid = info.uid;
	prog.jited_bytes = info.jited_len;
	prog.xlated_bytes = info.xlated_len;
	prog.n_maps = info.n_map_ids;
	prog.run_ns = info.run_time_ns;
	prog.runs = info.run_cnt;
	prog.misses = info.recursion_misses;
	prog.has_misses = (size_t)len >= offsetof(struct dn_bpf_prog_info, verified_insns);
	prog.verified_insns = info.verified_insns;
	prog.has_verified = (size_t)len >= offsetof(struct dn_bpf_prog_info, attach_btf_obj_id);
	*ret = prog;
	return 0;
}

int dn_bpf_map_read(int fd, struct dn_bpf_map *ret)
{
	struct dn_bpf_map_info info = {0};
	int len = dn_bpf_info(fd, &info, sizeof(info));

	if (len < 0)
		return len;
	*ret = (struct dn_bpf_map){.id = info.id,
		.type = info.type,
		.key_bytes = info.key_size,
		.value_bytes = info.value_size,
		.max_entries = info.max_entries,
		.flags = info.flags};
	memcpy(ret->name, info.name, DN_BPF_NAME_MAX);
	return 0;
}

int dn_bpf_prog_cost(int fd, uint64_t *ret_run_ns, uint64_t *ret_runs)
{
	struct dn_bpf_prog_info info = {0};
	int len = dn_bpf_info(fd, &info, sizeof(info));

	if (len < 0)
		return len;
	if ((size_t)len < offsetof(struct dn_bpf_prog_info, recursion_misses))
		return -EOPNOTSUPP;
	*ret_run_ns = info.run_time_ns;
	*ret_runs = info.run_cnt;
	return 0;
}

int dn_bpf_map_bytes(int fd, uint64_t *ret)
{
	char text[1024];
	int r = dn_bpf_fdinfo_read(fd, text, sizeof(text));

	/* The line is near the beginning; what was cut is not needed. */
	if (r < 0 && r != -ENOBUFS)
		return r;
	return dn_bpf_fdinfo_u64(text, "memlock", ret) ? 0 : -ENODATA;
}

int dn_bpf_stats_enable(void)
{
	uint32_t type = DN_BPF_STATS_RUN_TIME;

	return dn_bpf_call(DN_BPF_CMD_ENABLE_STATS, &type, sizeof(type));
}

int dn_bpf_fdinfo_read(int fd, char *buffer, size_t size)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	return (int)dn_read_file_at(AT_FDCWD, path, buffer, size);
}

bool dn_bpf_fdinfo_u64(const char *text, const char *key, uint64_t *ret)
{
	size_t len = strlen(key);

	while (text) {
		if (strncmp(text, key, len) == 0 && text[len] == ':') {
			uint64_t value;

			text += len + 1;
			text += strspn(text, "\t ");
			if (dn_parse_u64(&text, &value) < 0 || (*text != '\n' && *text != '\0'))
				return false;
			*ret = value;
			return true;
		}
		text = strchr(text, '\n');
		if (text)
			text++;
	}
	return false;
}

int dn_bpf_fd_kind(const char *link, const char **ret_key)
{
	static const struct {
		const char *name, *key;
		enum dn_bpf_kind kind;
	} known[] = {
		{"bpf-prog", "prog_id", DN_BPF_PROG},
		{"bpf-map", "map_id", DN_BPF_MAP},
		{"bpf_link", "link_id", DN_BPF_LINK},
		{"bpf-link", "link_id", DN_BPF_LINK},
		{"bpf_iter", "link_id", DN_BPF_LINK},
	};
	static const char prefix[] = "anon_inode:";

	if (strncmp(link, prefix, sizeof(prefix) - 1) != 0)
		return -1;
	link += sizeof(prefix) - 1;
	for (unsigned i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		if (strcmp(link, known[i].name) == 0) {
			*ret_key = known[i].key;
			return known[i].kind;
		}
	}
	return -1;
}

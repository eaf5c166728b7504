/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The group file: operations on files, at the exit of the calls. A descriptor is a file when it is
 * open on a regular file or a directory; pipes, sockets, terminals and devices are none.
 */
#ifndef DENET_GROUP_FILE_BPF_H
#define DENET_GROUP_FILE_BPF_H

#include "call.bpf.h"
#include "wire-file.h"

#define FILE_S_IFMT 0170000
#define FILE_S_IFREG 0100000
#define FILE_S_IFDIR 0040000
#define FILE_AT_EMPTY_PATH 0x1000
#define FILE_SETUP_SQPOLL 2

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, DN_FILE_OPERATIONS);
	__type(key, u32);
	__type(value, struct dn_wire_file);
} dn_files SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct dn_wire_file_totals);
} dn_file_totals SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, DN_FILE_SYSTEMS);
	__type(key, u64);
	__type(value, struct dn_wire_filesystem);
} dn_filesystems SEC(".maps");

/* Files that were idle longest make room for new ones. User space sets the size. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, struct dn_wire_file_key);
	__type(value, struct dn_wire_path);
} dn_file_paths SEC(".maps");

struct file_scratch {
	struct dn_wire_path path;
	char beyond[DN_FILE_PATH]; /* where the component lands that found no room */
	u64 at, mount; /* how far up */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct file_scratch);
} dn_file_scratch SEC(".maps");

/* Set before loading. */
const volatile u16 dn_file_calls[DN_CALLS_N];

/*
 * The steps are functions that the verifier looks at once each, for any arguments: they take and
 * return numbers only, and a file is the number of its address.
 */

/* The file that a descriptor of the current task is open on; 0 for what is no file. */
DN_VERIFIED_ONCE u64 file_of(u32 fd)
{
	struct file **array, *file = 0;
	u32 max;
	u16 mode;

#ifdef DENET_HASH
	struct fdtable *table = BPF_CORE_READ(task_now(), files, fdt);

	max = BPF_CORE_READ(table, max_fds);
	array = BPF_CORE_READ(table, fd);
#else
	/* Read in place, which is cheaper; what is not there reads as 0. */
	struct fdtable *table = task_now()->files->fdt;

	max = table->max_fds;
	array = table->fd;
#endif
	if (fd >= max)
		return 0;
	bpf_probe_read_kernel(&file, sizeof(file), &array[fd]);
	if (!file)
		return 0;
	mode = BPF_CORE_READ(file, f_inode, i_mode) & FILE_S_IFMT;
	return mode == FILE_S_IFREG || mode == FILE_S_IFDIR ? (u64)file : 0;
}

static __always_inline u64 file_type(u64 file)
{
	return (u64)BPF_CORE_READ((struct file *)file, f_inode, i_sb, s_type);
}

DN_VERIFIED_ONCE int file_add_filesystem(
	u64 type, u64 read_bytes, u64 write_bytes, u64 time_ns, u32 weight)
{
	struct dn_wire_filesystem *known = bpf_map_lookup_elem(&dn_filesystems, &type);

	if (!known) {
		struct dn_wire_filesystem made = {};
		const char *name = BPF_CORE_READ((struct file_system_type *)type, name);

		bpf_probe_read_kernel_str(made.name, sizeof(made.name), name);
		bpf_map_update_elem(&dn_filesystems, &type, &made, BPF_NOEXIST);
		known = bpf_map_lookup_elem(&dn_filesystems, &type);
	}
	if (!known) {
		lose(DN_LOSS_MAP);
		return 0;
	}
	known->count += weight;
	known->read_bytes += read_bytes;
	known->write_bytes += write_bytes;
	known->time_ns += time_ns;
	return 0;
}

/* Paths */

static __always_inline struct file_scratch *file_scratch(void)
{
	u32 zero = 0;

	return bpf_map_lookup_elem(&dn_file_scratch, &zero);
}

/* One step up; 0 at the end of the way. */
DN_VERIFIED_ONCE int file_step(void)
{
	struct file_scratch *walk = file_scratch();
	struct mount *mount, *below;
	struct dentry *at, *up;
	u32 len;
	long n;

	if (!walk)
		return 0;
	at = (struct dentry *)walk->at;
	mount = (struct mount *)walk->mount;
	len = walk->path.len;
	if (at == BPF_CORE_READ(mount, mnt.mnt_root)) {
		below = BPF_CORE_READ(mount, mnt_parent);
		walk->at = (u64)BPF_CORE_READ(mount, mnt_mountpoint);
		walk->mount = (u64)below;
		if (below != mount)
			return 1;
		walk->path.flags |= DN_FILE_PATH_WHOLE;
		return 0;
	}
	if (len >= DN_FILE_PATH)
		return 0;
	n = bpf_probe_read_kernel_str(
		&walk->path.path[len], DN_FILE_PATH, BPF_CORE_READ(at, d_name.name));
	if (n <= 0)
		return 0;
	walk->path.len = len + (u32)n;
	up = BPF_CORE_READ(at, d_parent);
	walk->at = (u64)up;
	if (up != at)
		return 1;
	walk->path.flags |= DN_FILE_PATH_NAMELESS;
	return 0;
}

static __always_inline struct dn_wire_file_key file_key(u64 file)
{
	struct inode *inode = BPF_CORE_READ((struct file *)file, f_inode);
	struct dn_wire_file_key key = {};

	key.inode = BPF_CORE_READ(inode, i_ino);
	key.device = BPF_CORE_READ(inode, i_sb, s_dev);
	key.generation = BPF_CORE_READ(inode, i_generation);
	return key;
}

/* Up from the file to the root of its mount namespace. */
DN_VERIFIED_ONCE int file_new_path(u64 file)
{
	struct dn_wire_file_key key = file_key(file);
	struct file_scratch *walk = file_scratch();
	struct vfsmount *mount;

	if (!walk)
		return 0;
	__builtin_memset(&walk->path, 0, sizeof(walk->path));
	walk->at = (u64)BPF_CORE_READ((struct file *)file, f_path.dentry);
	mount = BPF_CORE_READ((struct file *)file, f_path.mnt);
	walk->mount = (u64)mount - bpf_core_field_offset(struct mount, mnt);
	for (u32 i = 0; i < DN_FILE_DEPTH && file_step(); i++)
		continue;
	bpf_map_update_elem(&dn_file_paths, &key, &walk->path, BPF_NOEXIST);
	return 0;
}

DN_VERIFIED_ONCE int file_add_path(
	u64 file, u64 read_bytes, u64 write_bytes, u64 time_ns, u32 weight)
{
	struct dn_wire_file_key key = file_key(file);
	struct dn_wire_path *known = bpf_map_lookup_elem(&dn_file_paths, &key);
	u32 zero = 0;
	struct dn_wire_file_totals *all = bpf_map_lookup_elem(&dn_file_totals, &zero);

	if (!known) {
		file_new_path(file);
		known = bpf_map_lookup_elem(&dn_file_paths, &key);
	}
	if (all)
		all->on_paths += weight;
	if (!known) {
		lose(DN_LOSS_MAP);
		return 0;
	}
	__sync_fetch_and_add(&known->count, weight);
	__sync_fetch_and_add(&known->read_bytes, read_bytes);
	__sync_fetch_and_add(&known->write_bytes, write_bytes);
	__sync_fetch_and_add(&known->time_ns, time_ns);
	return 0;
}

/* Calls */

/* Does the call name its file by the descriptor alone? */
static __always_inline bool file_is_at_fd(struct pt_regs *regs, u32 abi, u32 flags)
{
	u64 path = regs_argument_of(regs, 1, abi);
	char begin = 0;

	if (!path)
		return true;
	if (!(flags & FILE_AT_EMPTY_PATH))
		return false;
	return bpf_probe_read_user(&begin, 1, (const void *)path) == 0 && begin == 0;
}

/* The first file that a call is about; FILE_NAMED when it is not an open one; 0: it is about none.
 */
#define FILE_NAMED 1

DN_VERIFIED_ONCE u64 file_first(u64 at, u32 how, u32 abi, s64 result)
{
	struct pt_regs *regs = (struct pt_regs *)at;
	u64 fd = regs_argument_of(regs, how == DN_FILE_OUT_IN ? 1 : 0, abi);

	if (how == DN_FILE_BY_PATH)
		return FILE_NAMED;
	if (how == DN_FILE_BY_RESULT) {
		if (result < 0)
			return FILE_NAMED; /* nobody knows what it would have been */
		fd = (u64)result;
	}
	if (how == DN_FILE_AT_FLAGS_2 || how == DN_FILE_AT_FLAGS_3) {
		u32 flags = (u32)(how == DN_FILE_AT_FLAGS_2 ? regs_argument_of(regs, 2, abi)
							    : regs_argument_of(regs, 3, abi));

		if ((s32)fd < 0 || !file_is_at_fd(regs, abi, flags))
			return FILE_NAMED;
	}
	return file_of((u32)fd);
}

/* The one that it writes to when it reads from another. */
DN_VERIFIED_ONCE u64 file_second(u64 at, u32 how, u32 abi)
{
	struct pt_regs *regs = (struct pt_regs *)at;

	return file_of((u32)(how == DN_FILE_OUT_IN ? regs_argument_of(regs, 0, abi)
						   : regs_argument_of(regs, 2, abi)));
}

DN_VERIFIED_ONCE int file_note_unseen(u64 at, u32 how, u32 abi, s64 result)
{
	u64 argument = regs_argument_of((struct pt_regs *)at, 1, abi);
	struct dn_wire_file_totals *sum;
	u32 zero = 0, flags = 0;

	if (result < 0)
		return 0;
	if (how == DN_FILE_RING) {
		bpf_probe_read_user(&flags, sizeof(flags), (const char *)argument + 8);
		if (!(flags & FILE_SETUP_SQPOLL))
			return 0;
	} else if (!(u32)argument) {
		return 0;
	}
	sum = bpf_map_lookup_elem(&dn_file_totals, &zero);
	if (sum)
		sum->unseen++;
	return 0;
}

/* To each file its share; a filesystem has one operation, also when both files are on it. */
DN_VERIFIED_ONCE int file_share(u64 first, u64 second, u64 bytes, u64 time_ns, u64 how)
{
	u32 weight = (u32)how, moves = (u32)(how >> 32);
	u64 reads = moves & DN_FILE_READS ? bytes : 0, writes = moves & DN_FILE_WRITES ? bytes : 0;
	u64 from = first > FILE_NAMED ? file_type(first) : 0, to = second ? file_type(second) : 0;
	u64 mine = to ? 0 : writes; /* what the first file has of the bytes written */

	if (from)
		file_add_filesystem(from, reads, to == from ? writes : mine, time_ns, weight);
	if (to && to != from)
		file_add_filesystem(to, 0, writes, time_ns, weight);
	if (!(dn_features & DN_FEATURE_PATHS))
		return 0;
	if (from)
		file_add_path(first, reads, mine, time_ns, weight);
	if (to)
		file_add_path(second, 0, writes, time_ns, weight);
	return 0;
}

DN_VERIFIED_ONCE int file_count(u32 operation, s64 result, u64 bytes, u64 time_ns, u64 how)
{
	u32 weight = (u32)how, moves = (u32)(how >> 32), zero = 0;
	struct dn_wire_file *sum = bpf_map_lookup_elem(&dn_files, &operation);
	struct dn_wire_file_totals *all = bpf_map_lookup_elem(&dn_file_totals, &zero);

	if (!sum || !all)
		return 0;
	sum->count += weight;
	if (result < 0)
		sum->errors += weight;
	sum->bytes += bytes;
	sum->time_ns += time_ns * weight;
	if (time_ns)
		histogram_add_weighted(&sum->latency, time_ns, weight);
	if (moves & DN_FILE_READS)
		all->read_bytes += bytes;
	if (moves & DN_FILE_WRITES)
		all->write_bytes += bytes;
	return 0;
}

/* closed: the type of the filesystem of what the call has closed. */
DN_VERIFIED_ONCE int file_call(u64 at, u32 index, s64 result, u64 time_ns, u64 closed)
{
	u32 class, how, moves, abi = index / DN_CALLS_PER_ABI, weight;
	u64 first = 0, second = 0, bytes, packed;

	class = index < DN_CALLS_N ? dn_file_calls[index] : 0;
	if (!class)
		return 0;
	how = class >> 8 & 15;
	moves = class >> 12;
	if (how == DN_FILE_QUEUES || how == DN_FILE_RING)
		return file_note_unseen(at, how, abi, result);
	if (how == DN_FILE_OUT_IN || how == DN_FILE_IN_OUT) {
		second = file_second(at, how, abi);
		first = file_first(at, how, abi, result);
		moves = (first ? DN_FILE_READS : 0) | (second ? DN_FILE_WRITES : 0);
	} else if (how != DN_FILE_CLOSES) {
		first = file_first(at, how, abi, result);
	}
	if (!first && !second && !closed)
		return 0;
	weight = sample_weight(DN_GROUP_FILE);
	if (!weight)
		return 0;
	bytes = moves && result > 0 ? (u64)result * weight : 0;
	packed = weight | (u64)moves << 32;
	file_count(class & DN_FILE_OPERATION_MASK, result, bytes, time_ns, packed);
	if (closed)
		return file_add_filesystem(closed, 0, 0, time_ns * weight, weight);
	return file_share(first, second, bytes, time_ns * weight, packed);
}

/* At the entry: what a close() closes is gone at its exit. */
static __always_inline void file_enter(struct dn_task *task, struct pt_regs *regs, s64 nr)
{
	u32 abi = task_abi(task_now()), index = call_index(nr, abi);
	u64 file;

	if (index >= DN_CALLS_N || (dn_file_calls[index] >> 8 & 15) != DN_FILE_CLOSES)
		return;
	file = file_of((u32)regs_argument_of(regs, 0, abi));
	task->group[DN_SLOT_FD] = file ? file_type(file) : 0;
}

static __always_inline void file_exit(const struct call *call, struct dn_task *task)
{
	u64 closed = task->group[DN_SLOT_FD];

	task->group[DN_SLOT_FD] = 0;
	file_call(call->regs, call->index, call->result, call->duration_ns, closed);
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that calls map, unmap and size. How far a heap or a file grew is what it is after the call
 * less what it was before.
 */
#ifndef DENET_GROUP_MEMORY_BPF_H
#define DENET_GROUP_MEMORY_BPF_H

#include "call.bpf.h"
#include "group-file.bpf.h"
#include "wire-memory.h"

#define TMPFS_MAGIC 0x01021994
#define HUGETLBFS_MAGIC 0x958458f6
#define SECRETMEM_MAGIC 0x5345434d
#define IPC_CREAT 01000

/* A file that was empty has a size too. */
#define SIZE_KNOWN (1ull << 63)

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct dn_wire_memory_calls);
} dn_memory_sums SEC(".maps");

/* System V segments that were counted, by their ids. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, DN_MEMORY_SEGMENTS);
	__type(key, u32);
	__type(value, u8);
} dn_segments SEC(".maps");

/* Set before loading. */
const volatile u8 dn_memory_calls[DN_CALLS_N]; /* enum dn_wire_memory_call, by index of the call */
const volatile u32 dn_page_size = 4096;

static __always_inline u64 whole_pages(u64 bytes)
{
	return (bytes + dn_page_size - 1) & ~(u64)(dn_page_size - 1);
}

static __always_inline bool is_named(struct dentry *dentry, const char *name, u32 len)
{
	char text[8] = {};

	bpf_probe_read_kernel_str(text, sizeof(text), BPF_CORE_READ(dentry, d_name.name));
	for (u32 i = 0; i < len; i++) {
		if (text[i] != name[i])
			return false;
	}
	return true;
}

/* A memfd, or a file in memory that lies in a folder named shm, be that a mount or not. */
static __always_inline bool is_shared_memory(struct file *file)
{
	u32 magic = (u32)BPF_CORE_READ(file, f_inode, i_sb, s_magic);
	struct dentry *dentry = BPF_CORE_READ(file, f_path.dentry), *folder;
	struct mount *mount;

	if (magic == SECRETMEM_MAGIC)
		return true;
	if (magic != TMPFS_MAGIC && magic != HUGETLBFS_MAGIC)
		return false;
	if (is_named(dentry, "memfd:", 6))
		return true;
	folder = BPF_CORE_READ(dentry, d_parent);
	mount = (struct mount *)((char *)BPF_CORE_READ(file, f_path.mnt) -
				 bpf_core_field_offset(struct mount, mnt));
	/* Mounts lie on each other: the root of one is where it is mounted. */
	for (u32 i = 0; i < 4 && folder == BPF_CORE_READ(mount, mnt.mnt_root); i++) {
		folder = BPF_CORE_READ(mount, mnt_mountpoint);
		mount = BPF_CORE_READ(mount, mnt_parent);
	}
	return is_named(folder, "shm", 4);
}

/* Its size, when it is shared memory; else 0. */
DN_VERIFIED_ONCE u64 memory_size(u32 fd)
{
	struct file *file = (struct file *)file_of(fd);

	if (!file || !is_shared_memory(file))
		return 0;
	return (u64)BPF_CORE_READ(file, f_inode, i_size) | SIZE_KNOWN;
}

static __always_inline void memory_enter(struct dn_task *task, struct pt_regs *regs, s64 nr)
{
	u32 abi = task_abi(task_now()), index = call_index(nr, abi), kind;

	if (index >= DN_CALLS_N)
		return;
	kind = dn_memory_calls[index];
	if (kind == DN_MEMORY_BRK)
		task->group[DN_SLOT_SIZE] = BPF_CORE_READ(task_now(), mm, brk);
	else if (kind == DN_MEMORY_RESIZE)
		task->group[DN_SLOT_SIZE] = memory_size((u32)regs_argument_of(regs, 0, abi));
}

static __always_inline u64 new_segment(const struct call *call)
{
	u32 id = (u32)call->result;
	u8 one = 1;

	/* IPC_PRIVATE is always a new one. With a name it may have been there before. */
	if ((u32)call_argument(call, 0) &&
		(!(call_argument(call, 2) & IPC_CREAT) ||
			map_update(&dn_segments, &id, &one, BPF_NOEXIST) < 0))
		return 0;
	return call_argument(call, 1);
}

static __always_inline u64 length_in_block(const struct call *call)
{
	u32 length = 0;

	bpf_probe_read_user(
		&length, sizeof(length), (const void *)(call_argument(call, 0) + sizeof(u32)));
	return length;
}

static __always_inline void memory_remapped(
	struct dn_wire_memory_calls *sum, const struct call *call)
{
	u64 old = whole_pages(call_argument(call, 1)), new = whole_pages(call_argument(call, 2));

	if (new > old)
		sum->mapped += new - old;
	else
		sum->unmapped += old - new;
}

DN_VERIFIED_ONCE int memory_exit(const struct call *call, struct dn_task *task)
{
	struct dn_wire_memory_calls *sum;
	u32 zero = 0, kind;
	u64 before, now;

	if (!call || !task)
		return 0;
	before = task->group[DN_SLOT_SIZE];
	if (call->index >= DN_CALLS_N)
		return 0;
	kind = dn_memory_calls[call->index];
	if (kind == DN_MEMORY_NONE)
		return 0;
	task->group[DN_SLOT_SIZE] = 0;
	sum = bpf_map_lookup_elem(&dn_memory_sums, &zero);
	if (!sum || is_error(call->result))
		return 0;
	switch (kind) {
	case DN_MEMORY_MMAP:
		sum->mapped += whole_pages(call_argument(call, 1));
		break;
	case DN_MEMORY_MMAP_BLOCK:
		sum->mapped += whole_pages(length_in_block(call));
		break;
	case DN_MEMORY_MUNMAP:
		sum->unmapped += whole_pages(call_argument(call, 1));
		break;
	case DN_MEMORY_MREMAP:
		memory_remapped(sum, call);
		break;
	case DN_MEMORY_SHMGET:
		sum->shared += new_segment(call);
		break;
	case DN_MEMORY_BRK:
		if (before && (u64)call->result > before)
			sum->raised += (u64)call->result - before;
		break;
	case DN_MEMORY_RESIZE:
		now = before ? memory_size((u32)call_argument(call, 0)) : 0;
		if (now > before)
			sum->shared += now - before;
		break;
	}
	return 0;
}

#endif

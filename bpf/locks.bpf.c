/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Contended locks of the kernel. A wait may hold another one: the spin lock inside of a mutex; two
 * levels of each thread are kept, known by the lock. A mutex that spins, then sleeps, then spins
 * again says so each time and ends once. Interrupts wait for locks too; that is nothing of the
 * thread that they interrupted.
 */
#include "common.bpf.h"
#include "wire-locks.h"

#define LCB_F_SPIN 0x1
#define LCB_F_READ 0x2
#define LCB_F_WRITE 0x4
#define LCB_F_RT 0x8
#define LCB_F_PERCPU 0x10
#define LCB_F_MUTEX 0x20

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct dn_wire_contention);
} dn_contention SEC(".maps");

/* The type has the place of four bits of the address that are the same for all locks. */
#define TYPE_SHIFT 58
#define TYPE_MASK (15ull << TYPE_SHIFT)

static __always_inline u64 type_of(u32 flags)
{
	u32 base = DN_LOCK_OTHER;

	if (flags & LCB_F_MUTEX)
		return DN_LOCK_MUTEX;
	if (flags & LCB_F_RT)
		base = DN_LOCK_RT;
	else if (flags & LCB_F_PERCPU)
		return flags & LCB_F_WRITE ? DN_LOCK_PERCPU_WRITE : DN_LOCK_PERCPU_READ;
	else if (flags & LCB_F_SPIN)
		base = DN_LOCK_SPIN;
	else if (flags & (LCB_F_READ | LCB_F_WRITE))
		return flags & LCB_F_WRITE ? DN_LOCK_RWSEM_WRITE : DN_LOCK_RWSEM_READ;
	if (base && flags & (LCB_F_READ | LCB_F_WRITE))
		base += flags & LCB_F_WRITE ? 2 : 1;
	return base;
}

DN_RAW_TRACEPOINT(contention_begin)
int BPF_PROG(dn_contention_begin, u64 lock, u32 flags)
{
	struct dn_task *task = task_counting();
	u64 known = lock & ~TYPE_MASK;

	if (!task || !lock || is_interrupt(ctx))
		return 0;
	if ((task->group[DN_SLOT_LOCK] & ~TYPE_MASK) == known ||
		(task->group[DN_SLOT_INNER] & ~TYPE_MASK) == known)
		return 0;
	known |= type_of(flags) << TYPE_SHIFT;
	if (!task->group[DN_SLOT_LOCK]) {
		task->group[DN_SLOT_LOCK] = known;
		task->group[DN_SLOT_LOCK_NS] = bpf_ktime_get_ns();
	} else {
		task->group[DN_SLOT_INNER] = known;
		task->group[DN_SLOT_INNER_NS] = bpf_ktime_get_ns();
	}
	return 0;
}

DN_RAW_TRACEPOINT(contention_end)
int BPF_PROG(dn_contention_end, u64 lock)
{
	struct dn_task *task = task_counting();
	struct dn_wire_contention *sum;
	u64 known = lock & ~TYPE_MASK, since, type;
	u32 zero = 0, weight;
	bool outer;

	if (!task || is_interrupt(ctx))
		return 0;
	outer = (task->group[DN_SLOT_LOCK] & ~TYPE_MASK) == known;
	if (outer) {
		type = task->group[DN_SLOT_LOCK];
		since = task->group[DN_SLOT_LOCK_NS];
		task->group[DN_SLOT_LOCK] = 0;
	} else {
		type = task->group[DN_SLOT_INNER];
		since = task->group[DN_SLOT_INNER_NS];
		if ((type & ~TYPE_MASK) != known)
			return 0; /* it began unseen */
	}
	task->group[DN_SLOT_INNER] = 0;
	weight = sample_weight(DN_GROUP_LOCKS);
	sum = bpf_map_lookup_elem(&dn_contention, &zero);
	if (!sum || !weight)
		return 0;
	type = (type & TYPE_MASK) >> TYPE_SHIFT;
	since = bpf_ktime_get_ns() - since;
	if (outer)
		sum->outer_ns += since * weight;
	if (type < DN_LOCK_N)
		histogram_add_weighted(&sum->wait[type], since, weight);
	return 0;
}

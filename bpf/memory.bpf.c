/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Page faults, what the kernel allocates, direct reclaim, and who is killed for lack of memory: of
 * the thread that runs. Interrupts that borrow it allocate for others.
 */
#include "common.bpf.h"
#include "wire-memory.h"

#define VM_FAULT_MAJOR 0x4
#define VM_FAULT_RETRY 0x400
#define FAULT_FLAG_TRIED 0x20

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct dn_wire_memory);
} dn_memory SEC(".maps");

/* The sums, when this event of the current thread is to be counted; *ret_weight times. */
static __always_inline struct dn_wire_memory *memory_of(const void *ctx, u64 *ret_weight)
{
	u32 zero = 0;

	if (!task_counting() || is_interrupt(ctx))
		return 0;
	*ret_weight = sample_weight(DN_GROUP_MEMORY);
	return *ret_weight ? bpf_map_lookup_elem(&dn_memory, &zero) : 0;
}

/* Faults */

DN_RAW_TRACEPOINT(page_fault_user)
int dn_fault_user(void *ctx)
{
	struct dn_wire_memory *sum;
	u64 weight = 0;

	sum = memory_of(ctx, &weight);
	if (sum)
		sum->faults_user += weight;
	return 0;
}

DN_RAW_TRACEPOINT(page_fault_kernel)
int dn_fault_kernel(void *ctx)
{
	struct dn_wire_memory *sum;
	u64 weight = 0;

	sum = memory_of(ctx, &weight);
	if (sum)
		sum->faults_kernel += weight;
	return 0;
}

/* A fault that has to be tried again is one fault, from its first try on. */
SEC("dn_fentry/handle_mm_fault")
int BPF_PROG(dn_fault_begin, u64 area, u64 address)
{
	struct dn_task *task = task_counting();

	if (!task)
		return 0;
	if (task->group[DN_SLOT_FAULT_NS] && task->group[DN_SLOT_FAULT] == address)
		return 0;
	task->group[DN_SLOT_FAULT] = address;
	task->group[DN_SLOT_FAULT_NS] = bpf_ktime_get_ns();
	return 0;
}

SEC("dn_fexit/handle_mm_fault")
int BPF_PROG(dn_fault_end, u64 area, u64 address, u32 flags, u64 regs, u32 result)
{
	struct dn_task *task = task_counting();
	struct dn_wire_memory *sum;
	u64 since, weight = 0;

	if (!task || result & VM_FAULT_RETRY)
		return 0;
	since = task->group[DN_SLOT_FAULT_NS];
	task->group[DN_SLOT_FAULT_NS] = 0;
	sum = memory_of(ctx, &weight);
	if (!sum || !since || task->group[DN_SLOT_FAULT] != address)
		return 0;
	since = bpf_ktime_get_ns() - since;
	histogram_add_weighted(&sum->fault, since, weight);
	/* As the kernel's own counters have it. */
	if (result & VM_FAULT_MAJOR || flags & FAULT_FLAG_TRIED)
		histogram_add_weighted(&sum->major_fault, since, weight);
	return 0;
}

/* Allocations */

/* Before 6.1 kmalloc may be told with the cache that it is from, at the place of the size. */
static __always_inline bool is_address(u64 value)
{
	return value >> 47 != 0;
}

static __always_inline void allocated(const void *ctx, u64 third, u64 fourth, u64 fifth)
{
	struct dn_wire_memory *sum;
	u64 weight = 0;

	sum = memory_of(ctx, &weight);
	if (!sum)
		return;
	sum->kmalloc_calls += weight;
	sum->kmalloc_bytes += (is_address(third) ? fifth : fourth) * weight;
}

static __always_inline void allocated_from_cache(const void *ctx, u64 third, u64 fourth)
{
	struct dn_wire_memory *sum;
	u64 weight = 0;

	sum = memory_of(ctx, &weight);
	if (!sum)
		return;
	if (is_address(third))
		fourth = BPF_CORE_READ((struct kmem_cache *)third, size);
	sum->cache_calls += weight;
	sum->cache_bytes += fourth * weight;
}

DN_RAW_TRACEPOINT(kmalloc)
int BPF_PROG(dn_kmalloc, u64 site, u64 address, u64 third, u64 fourth, u64 fifth)
{
	allocated(ctx, third, fourth, fifth);
	return 0;
}

/* Before 6.1 allocations for a node have events of their own. */
DN_RAW_TRACEPOINT(kmalloc_node)
int BPF_PROG(dn_kmalloc_node, u64 site, u64 address, u64 third, u64 fourth, u64 fifth)
{
	allocated(ctx, third, fourth, fifth);
	return 0;
}

DN_RAW_TRACEPOINT(kmem_cache_alloc)
int BPF_PROG(dn_cache_alloc, u64 site, u64 address, u64 third, u64 fourth)
{
	allocated_from_cache(ctx, third, fourth);
	return 0;
}

DN_RAW_TRACEPOINT(kmem_cache_alloc_node)
int BPF_PROG(dn_cache_alloc_node, u64 site, u64 address, u64 third, u64 fourth)
{
	allocated_from_cache(ctx, third, fourth);
	return 0;
}

DN_RAW_TRACEPOINT(kfree)
int BPF_PROG(dn_kfree, u64 site, u64 address)
{
	struct dn_wire_memory *sum;
	u64 weight = 0;

	if (!address)
		return 0;
	sum = memory_of(ctx, &weight);
	if (sum)
		sum->kfree_calls += weight;
	return 0;
}

DN_RAW_TRACEPOINT(kmem_cache_free)
int dn_cache_free(void *ctx)
{
	struct dn_wire_memory *sum;
	u64 weight = 0;

	sum = memory_of(ctx, &weight);
	if (sum)
		sum->cache_frees += weight;
	return 0;
}

/* Reclaim, of the machine or of a memory cgroup that is at its limit */

static __always_inline int reclaim_begins(void)
{
	struct dn_task *task = task_counting();

	if (task)
		task->group[DN_SLOT_RECLAIM] = bpf_ktime_get_ns();
	return 0;
}

static __always_inline int reclaim_ends(const void *ctx)
{
	struct dn_task *task = task_counting();
	struct dn_wire_memory *sum;
	u64 since, weight = 0;

	if (!task || !task->group[DN_SLOT_RECLAIM])
		return 0;
	since = task->group[DN_SLOT_RECLAIM];
	task->group[DN_SLOT_RECLAIM] = 0;
	sum = memory_of(ctx, &weight);
	if (!sum)
		return 0;
	sum->reclaims += weight;
	sum->reclaim_ns += (bpf_ktime_get_ns() - since) * weight;
	return 0;
}

DN_RAW_TRACEPOINT(mm_vmscan_direct_reclaim_begin)
int dn_reclaim_begin(void *ctx)
{
	return reclaim_begins();
}

DN_RAW_TRACEPOINT(mm_vmscan_direct_reclaim_end)
int dn_reclaim_end(void *ctx)
{
	return reclaim_ends(ctx);
}

DN_RAW_TRACEPOINT(mm_vmscan_memcg_reclaim_begin)
int dn_group_reclaim_begin(void *ctx)
{
	return reclaim_begins();
}

DN_RAW_TRACEPOINT(mm_vmscan_memcg_reclaim_end)
int dn_group_reclaim_end(void *ctx)
{
	return reclaim_ends(ctx);
}

/* The kernel marks its victims for good: seen when the last thread of one exits. */
DN_RAW_TRACEPOINT(sched_process_exit)
int dn_oom(void *ctx)
{
	struct task_struct *task = task_now();
	struct dn_wire_record *record;
	struct dn_wire_memory *sum;
	u32 zero = 0;

	if (!task_counting() || BPF_CORE_READ(task, signal, live.counter) > 0 ||
		!BPF_CORE_READ(task, signal, oom_mm))
		return 0;
	sum = bpf_map_lookup_elem(&dn_memory, &zero);
	if (sum)
		sum->oom_kills++;
	record = record_reserve(sizeof(*record));
	if (!record)
		return 0;
	record_head(record, DN_RECORD_OOM, task, 1);
	record_submit(record);
	return 0;
}

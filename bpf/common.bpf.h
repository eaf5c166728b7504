/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What all objects share: the maps that user space makes once and hands to each of them, who
 * belongs to the tree, and how a loss is told.
 *
 * A thread of the tree has a struct dn_task in its task storage, inherited in the fork hook. Where
 * tracing programs may not use task storage (before 5.11) the same objects are built a second time
 * with DENET_HASH, and a table by thread id stands for it.
 */
#ifndef DENET_COMMON_BPF_H
#define DENET_COMMON_BPF_H

#include "kernel.bpf.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

#include "core-fixes.bpf.h"
#include "histogram.bpf.h"
#include "wire.h"

/* The target is found by user space, in the kernel's BTF that is read once (backends/ebpf/btf.c).
 */
#define DN_TRACEPOINT(name) SEC("dn_tp/" #name)
/*
 * Where the current task is the only one that is looked at: loading is quicker, since the kernel
 * need not search its BTF for the event (0.8 ms each). Other arguments are plain numbers.
 */
#define DN_RAW_TRACEPOINT(name) SEC("dn_raw/" #name)
/*
 * The same where the first argument is the current task: ctx_task(ctx) is that. Kernels without
 * bpf_get_current_task_btf() have it from the argument only.
 */
#ifdef DENET_HASH
#define DN_TASK_TRACEPOINT(name) DN_TRACEPOINT(name)
#else
#define DN_TASK_TRACEPOINT(name) DN_RAW_TRACEPOINT(name)
#endif

#ifdef DENET_HASH
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, u32);
	__type(value, struct dn_task);
} dn_tasks SEC(".maps");

/* Nobody writes it: it would not fit on the stack. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct dn_task);
} dn_zero_task SEC(".maps");
#else
struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct dn_task);
} dn_tasks SEC(".maps");
#endif

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct dn_wire_control);
} dn_control SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, DN_LOSS_N);
	__type(key, u32);
	__type(value, u64);
} dn_losses SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct dn_wire_totals);
} dn_totals SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} dn_ring SEC(".maps");

/* Set before loading. */
const volatile u32 dn_pid_ns; /* inode of denet's pid namespace; 0: the first one */
const volatile u32 dn_features; /* enum dn_wire_feature */

/*
 * 0 or a negative errno. Before 6.4 the function that the kernel calls in the helper's place
 * returns an int: the upper half of the register holds nothing then, and a long of it is never
 * negative.
 */
static __always_inline int map_update(void *map, const void *key, const void *value, u64 flags)
{
	return (int)bpf_map_update_elem(map, key, value, flags);
}

static __always_inline void lose(u32 reason)
{
	u64 *n = bpf_map_lookup_elem(&dn_losses, &reason);

	if (n)
		(*n)++;
}

static __always_inline struct dn_wire_totals *totals(void)
{
	u32 zero = 0;

	return bpf_map_lookup_elem(&dn_totals, &zero);
}

static __always_inline struct dn_wire_control *control(void)
{
	u32 zero = 0;

	return bpf_map_lookup_elem(&dn_control, &zero);
}

/* Counters that are read again and again */

/*
 * What is new of one counter; 0 when somebody else was quicker. Without branches, as twenty of
 * these in a row would otherwise cost the verifier its time, and the user the start.
 */
static __always_inline u64 advance(u64 *counted, u64 value)
{
	u64 old = *counted, more = value - old, mask = ~(u64)((s64)more >> 63);

	KEEP(mask);
	more &= mask;
	KEEP(more);
#ifdef DENET_HASH
	*counted = old + more; /* no compare-and-swap on the kernels that need this build */
#else
	{
		u64 differs = __sync_val_compare_and_swap(counted, old, old + more) ^ old;

		KEEP(differs);
		mask = ((differs | -differs) >> 63) - 1;
		KEEP(mask);
		more &= mask;
	}
#endif
	return more;
}

/* Who belongs to the tree */

static __always_inline struct dn_task *task_find(struct task_struct *task)
{
#ifdef DENET_HASH
	u32 tid = BPF_CORE_READ(task, pid);

	return bpf_map_lookup_elem(&dn_tasks, &tid);
#else
	return bpf_task_storage_get(&dn_tasks, task, 0, 0);
#endif
}

static __always_inline struct dn_task *task_make(struct task_struct *task)
{
#ifdef DENET_HASH
	u32 tid = BPF_CORE_READ(task, pid), none = 0;
	struct dn_task *zero = bpf_map_lookup_elem(&dn_zero_task, &none);

	if (!zero)
		return 0;
	bpf_map_update_elem(&dn_tasks, &tid, zero, BPF_NOEXIST);
	return bpf_map_lookup_elem(&dn_tasks, &tid);
#else
	struct dn_task *made =
		bpf_task_storage_get(&dn_tasks, task, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);

	/* The fork hook and the pass that marks make it for the same thread now and then: the
	 * kernel refuses the slower one, for which it is there now. */
	return made ?: bpf_task_storage_get(&dn_tasks, task, 0, 0);
#endif
}

static __always_inline struct task_struct *task_now(void)
{
#ifdef DENET_HASH
	return (struct task_struct *)bpf_get_current_task();
#else
	return (struct task_struct *)bpf_get_current_task_btf();
#endif
}

static __always_inline struct task_struct *ctx_task(unsigned long long *ctx)
{
#ifdef DENET_HASH
	return (struct task_struct *)ctx[0];
#else
	return task_now();
#endif
}

static __always_inline struct dn_task *task_current(void)
{
#ifdef DENET_HASH
	u32 tid = (u32)bpf_get_current_pid_tgid();

	return bpf_map_lookup_elem(&dn_tasks, &tid);
#else
	return bpf_task_storage_get(&dn_tasks, bpf_get_current_task_btf(), 0, 0);
#endif
}

/* This program ran for nothing: what bystanders pay. */
static __always_inline void note_outside(void)
{
	struct dn_wire_totals *sum;

	if (!(dn_features & DN_FEATURE_ACCOUNT))
		return;
	sum = totals();
	if (sum)
		__sync_fetch_and_add(&sum->outside, 1);
}

/* The current thread, when it is of the tree and counts. Asked once in each run. */
static __always_inline struct dn_task *task_counting(void)
{
	struct dn_task *task = task_current();

	if (task && task->flags & DN_TASK_ACTIVE)
		return task;
	note_outside();
	return 0;
}

/*
 * Does an interrupt run, which is nothing of the current thread? They have stacks of their own, and
 * the context of a program (of any kind but an iterator) is on the stack of what it was called
 * from.
 */
static __always_inline bool is_interrupt(const void *ctx)
{
	const void *volatile context = ctx; /* the verifier knows no arithmetic on it */
	u64 at = 0, stack;

#ifdef DENET_HASH
	stack = (u64)BPF_CORE_READ(task_now(), stack);
#else
	stack = (u64)task_now()->stack;
#endif
	bpf_probe_read_kernel(&at, sizeof(at), (const void *)&context);
	return at - stack >= THREAD_SIZE;
}

/*
 * For how many events of the group (enum dn_wire_group) this one stands; 0: it is not looked at.
 * The rate may change while the programs run, so the weight is put into the sums here.
 */
static __always_inline u32 sample_weight(u32 group)
{
	struct dn_wire_control *c;
	u32 every;

	if (!(dn_features & DN_FEATURE_SAMPLED))
		return 1;
	c = control();
	if (!c || group >= 32)
		return 1;
	every = c->sample_every[group];
	if (every <= 1)
		return 1;
	return every == ~0u || bpf_get_prandom_u32() % every != 0 ? 0 : every;
}

/* Is this one to be looked at? */
static __always_inline bool is_sampled_out(u32 group)
{
	return sample_weight(group) == 0;
}

/* As histogram_add(), of an event that stands for several. */
static __always_inline void histogram_add_weighted(
	struct dn_wire_histogram *histogram, u64 value, u32 weight)
{
	u64 index = histogram_index(value);

	histogram->sum += value * weight;
	if (value > histogram->max)
		histogram->max = value;
	if (~value > histogram->min_inverse)
		histogram->min_inverse = ~value;
	KEEP(index);
	if (index < DN_WIRE_BUCKETS)
		histogram->bucket[index] += weight;
}

/* Process ids as denet's namespace numbers them; 0 for who is not in it. */
static __always_inline u32 pid_here(struct pid *pid)
{
	u32 level = BPF_CORE_READ(pid, level);

	for (u32 i = 0; i < 8; i++) {
		struct upid upid = {};

		if (i > level)
			break;
		/* Each level's own array element: the size of one is the kernel's, not ours. */
		bpf_core_read(&upid.nr, sizeof(upid.nr), &pid->numbers[i].nr);
		bpf_core_read(&upid.ns, sizeof(upid.ns), &pid->numbers[i].ns);
		if (upid.ns && BPF_CORE_READ(upid.ns, ns.inum) == dn_pid_ns)
			return (u32)upid.nr;
	}
	return 0;
}

static __noinline __attribute__((unused)) u32 tgid_here(struct task_struct *task)
{
	if (!dn_pid_ns)
		return (u32)BPF_CORE_READ(task, tgid);
	return pid_here(BPF_CORE_READ(task, group_leader, thread_pid));
}

/* Records */

static __noinline __attribute__((unused)) void record_head(
	struct dn_wire_record *head, u32 type, struct task_struct *task, u32 value)
{
	head->type = type;
	head->pid = tgid_here(task);
	head->ppid = tgid_here(BPF_CORE_READ(task, real_parent));
	head->value = value;
	head->t_ns = bpf_ktime_get_ns();
	bpf_probe_read_kernel(head->comm, sizeof(head->comm), &task->comm);
}

/* Counts the record whether there is room for it or not: produced = received + lost. */
static __always_inline void *record_reserve(u64 size)
{
	struct dn_wire_totals *t = totals();
	struct dn_wire_control *c = control();
	void *record;

	if (!t || !c || c->ended)
		return 0;
	t->events++;
	record = bpf_ringbuf_reserve(&dn_ring, size, 0);
	if (!record)
		lose(DN_LOSS_RING);
	return record;
}

/* denet looks at the ring at every tick; it is woken only when it fills. */
static __always_inline void record_submit(void *record)
{
	u64 waiting = bpf_ringbuf_query(&dn_ring, BPF_RB_AVAIL_DATA);

	bpf_ringbuf_submit(record, waiting > (1 << 18) ? BPF_RB_FORCE_WAKEUP : BPF_RB_NO_WAKEUP);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#endif

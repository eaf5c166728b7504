/* SPDX-License-Identifier: Apache-2.0 */
/* The group memory: page faults, mappings, what the kernel allocates, reclaim, OOM kills. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <denet/fs.h>
#include <syscalls.h>

#include "ebpf.h"
#include "wire-memory.h"

#define TREE "dn_fork dn_exec "
#define CALLS TREE "dn_sys_enter dn_sys_exit"
#define SOURCE_CALLS "raw_tp sys_enter, sys_exit"
#define FAULTS TREE "dn_fault_begin dn_fault_end"
#define SOURCE_FAULTS "fentry, fexit handle_mm_fault"
#define RECLAIM TREE "dn_reclaim_begin dn_reclaim_end"
#define SOURCE_RECLAIM "raw_tp mm_vmscan_direct_reclaim_*, memcg_reclaim_*"

static const struct dn_ebpf_metric metrics[] = {
	{DN_M_memory_faults_user, DN_QUALITY_EXACT, "raw_tp page_fault_user", TREE "dn_fault_user",
		NULL},
	{DN_M_memory_faults_kernel, DN_QUALITY_EXACT, "raw_tp page_fault_kernel",
		TREE "dn_fault_kernel", NULL},
	{DN_M_memory_fault_latency, DN_QUALITY_EXACT, SOURCE_FAULTS, FAULTS, NULL},
	{DN_M_memory_major_fault_latency, DN_QUALITY_EXACT, SOURCE_FAULTS, FAULTS, NULL},
	{DN_M_memory_mmap_bytes, DN_QUALITY_EXACT, SOURCE_CALLS, CALLS, NULL},
	{DN_M_memory_munmap_bytes, DN_QUALITY_EXACT, SOURCE_CALLS, CALLS, NULL},
	{DN_M_memory_brk_bytes, DN_QUALITY_EXACT, SOURCE_CALLS, CALLS, NULL},
	{DN_M_memory_shared_bytes, DN_QUALITY_EXACT, SOURCE_CALLS, CALLS, NULL},
	{DN_M_memory_kmalloc_bytes, DN_QUALITY_EXACT, "raw_tp kmalloc", TREE "dn_kmalloc", NULL},
	{DN_M_memory_kmalloc_calls, DN_QUALITY_EXACT, "raw_tp kmalloc", TREE "dn_kmalloc", NULL},
	{DN_M_memory_kfree_calls, DN_QUALITY_EXACT, "raw_tp kfree", TREE "dn_kfree", NULL},
	{DN_M_memory_kmem_cache_bytes, DN_QUALITY_EXACT, "raw_tp kmem_cache_alloc",
		TREE "dn_cache_alloc", NULL},
	{DN_M_memory_kmem_cache_calls, DN_QUALITY_EXACT, "raw_tp kmem_cache_alloc",
		TREE "dn_cache_alloc", NULL},
	{DN_M_memory_kmem_cache_frees, DN_QUALITY_EXACT, "raw_tp kmem_cache_free",
		TREE "dn_cache_free", NULL},
	{DN_M_memory_reclaims, DN_QUALITY_EXACT, SOURCE_RECLAIM, RECLAIM, NULL},
	{DN_M_memory_reclaim_ns, DN_QUALITY_EXACT, SOURCE_RECLAIM, RECLAIM, NULL},
	{DN_M_memory_oom_kills, DN_QUALITY_EXACT, "raw_tp sched_process_exit", TREE "dn_oom", NULL},
};

static const struct {
	const char *name;
	enum dn_wire_memory_call kind;
} calls[] = {
	{"mmap", DN_MEMORY_MMAP},
	{"mmap2", DN_MEMORY_MMAP},
	{"munmap", DN_MEMORY_MUNMAP},
	{"mremap", DN_MEMORY_MREMAP},
	{"shmget", DN_MEMORY_SHMGET},
	{"brk", DN_MEMORY_BRK},
	{"ftruncate", DN_MEMORY_RESIZE},
	{"ftruncate64", DN_MEMORY_RESIZE},
	{"fallocate", DN_MEMORY_RESIZE},
};

struct memory {
	struct dn_wire_memory_calls calls;
	struct dn_wire_memory sum; /* without its histograms */
	struct dn_histogram fault, major_fault;
};

static uint8_t kind_of(unsigned index)
{
	enum dn_abi abi = (enum dn_abi)(index / DN_CALLS_PER_ABI);
	const char *name = dn_syscall_name(abi, index % DN_CALLS_PER_ABI);

	if (!name)
		return DN_MEMORY_NONE;
	/* That of i386 and of old ARM has its arguments in memory; mmap2 came for it. */
	if (abi == DN_ABI_COMPAT && strcmp(name, "mmap") == 0)
		return DN_MEMORY_MMAP_BLOCK;
	for (unsigned i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		if (strcmp(calls[i].name, name) == 0)
			return (uint8_t)calls[i].kind;
	}
	return DN_MEMORY_NONE;
}

static void prepare(struct dn_ebpf *ebpf, const char *name, struct bpf_object *object)
{
	const struct dn_ebpf_program *begin = dn_ebpf_program(&ebpf->objects, "dn_fault_begin");
	uint32_t page = (uint32_t)sysconf(_SC_PAGESIZE);
	uint8_t kinds[DN_CALLS_N];

	/* The kernel refused one of the two: the other one need not be tried. */
	if (strcmp(name, "memory") == 0 && begin && begin->error)
		dn_ebpf_leave_out(object, "dn_fault_end");
	if (strcmp(name, "syscalls") != 0)
		return;
	for (unsigned i = 0; i < DN_CALLS_N; i++)
		kinds[i] = kind_of(i);
	(void)dn_ebpf_set(object, "dn_memory_calls", kinds, sizeof(kinds));
	(void)dn_ebpf_set(object, "dn_page_size", &page, sizeof(page));
}

static int start(struct dn_ebpf *ebpf)
{
	ebpf->group_data[DN_PROBES_MEMORY] = calloc(1, sizeof(struct memory));
	return ebpf->group_data[DN_PROBES_MEMORY] ? 0 : -ENOMEM;
}

static void add_calls(void *arg, const void *value)
{
	const struct dn_wire_memory_calls *from = value;
	struct memory *self = arg;

	self->calls.mapped = dn_add_sat(self->calls.mapped, from->mapped);
	self->calls.unmapped = dn_add_sat(self->calls.unmapped, from->unmapped);
	self->calls.raised = dn_add_sat(self->calls.raised, from->raised);
	self->calls.shared = dn_add_sat(self->calls.shared, from->shared);
}

static void add_sums(void *arg, const void *value)
{
	const struct dn_wire_memory *from = value;
	struct memory *self = arg;

	self->sum.faults_user += from->faults_user;
	self->sum.faults_kernel += from->faults_kernel;
	self->sum.kmalloc_calls += from->kmalloc_calls;
	self->sum.kmalloc_bytes += from->kmalloc_bytes;
	self->sum.kfree_calls += from->kfree_calls;
	self->sum.cache_calls += from->cache_calls;
	self->sum.cache_bytes += from->cache_bytes;
	self->sum.cache_frees += from->cache_frees;
	self->sum.reclaims += from->reclaims;
	self->sum.reclaim_ns += from->reclaim_ns;
	self->sum.oom_kills += from->oom_kills;
	dn_ebpf_histogram_add(&self->fault, &from->fault);
	dn_ebpf_histogram_add(&self->major_fault, &from->major_fault);
}

static void put(struct dn_ebpf *ebpf, struct dn_frame *frame, unsigned metric, uint64_t value)
{
	if (dn_ebpf_has(ebpf, metric))
		dn_frame_u64(frame, metric, value);
}

static void put_sums(struct dn_ebpf *ebpf, struct memory *self, struct dn_frame *frame)
{
	put(ebpf, frame, DN_M_memory_faults_user, self->sum.faults_user);
	put(ebpf, frame, DN_M_memory_faults_kernel, self->sum.faults_kernel);
	put(ebpf, frame, DN_M_memory_kmalloc_bytes, self->sum.kmalloc_bytes);
	put(ebpf, frame, DN_M_memory_kmalloc_calls, self->sum.kmalloc_calls);
	put(ebpf, frame, DN_M_memory_kfree_calls, self->sum.kfree_calls);
	put(ebpf, frame, DN_M_memory_kmem_cache_bytes, self->sum.cache_bytes);
	put(ebpf, frame, DN_M_memory_kmem_cache_calls, self->sum.cache_calls);
	put(ebpf, frame, DN_M_memory_kmem_cache_frees, self->sum.cache_frees);
	put(ebpf, frame, DN_M_memory_reclaims, self->sum.reclaims);
	put(ebpf, frame, DN_M_memory_reclaim_ns, self->sum.reclaim_ns);
	put(ebpf, frame, DN_M_memory_oom_kills, self->sum.oom_kills);
	if (!ebpf->env->detail && !frame->final)
		return;
	if (dn_ebpf_has(ebpf, DN_M_memory_fault_latency))
		dn_frame_histogram(frame, DN_M_memory_fault_latency, &self->fault);
	if (dn_ebpf_has(ebpf, DN_M_memory_major_fault_latency))
		dn_frame_histogram(frame, DN_M_memory_major_fault_latency, &self->major_fault);
}

static void sample(struct dn_ebpf *ebpf, struct dn_frame *frame)
{
	struct memory *self = ebpf->group_data[DN_PROBES_MEMORY];
	int fd = dn_ebpf_map(&ebpf->objects, "memory", "dn_memory");

	memset(self, 0, sizeof(*self));
	if (dn_ebpf_read_percpu(ebpf, dn_ebpf_map(&ebpf->objects, "syscalls", "dn_memory_sums"), 0,
		    sizeof(struct dn_wire_memory_calls), add_calls, self) == 0) {
		put(ebpf, frame, DN_M_memory_mmap_bytes, self->calls.mapped);
		put(ebpf, frame, DN_M_memory_munmap_bytes, self->calls.unmapped);
		put(ebpf, frame, DN_M_memory_brk_bytes, self->calls.raised);
		put(ebpf, frame, DN_M_memory_shared_bytes, self->calls.shared);
	}
	if (fd >= 0 && dn_ebpf_read_percpu(
			       ebpf, fd, 0, sizeof(struct dn_wire_memory), add_sums, self) == 0)
		put_sums(ebpf, self, frame);
}

static void record(struct dn_ebpf *ebpf, const struct dn_wire_record *head, size_t size)
{
	if (head->type == DN_RECORD_OOM)
		dn_ebpf_tell(ebpf, DN_EVENT_OOM, head, "killed by the kernel for lack of memory");
}

static void finish(struct dn_ebpf *ebpf)
{
	free(ebpf->group_data[DN_PROBES_MEMORY]);
	ebpf->group_data[DN_PROBES_MEMORY] = NULL;
}

const struct dn_ebpf_group dn_ebpf_group_memory = {
	.id = DN_PROBES_MEMORY,
	.object = "memory",
	.features = DN_FEATURE_MEMORY,
	.maps = "dn_memory_sums dn_segments",
	.sampled = true,
	.metric = metrics,
	.n_metrics = sizeof(metrics) / sizeof(metrics[0]),
	.prepare = prepare,
	.start = start,
	.sample = sample,
	.record = record,
	.finish = finish,
};

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests to block devices. A request is of the tree when a thread of the tree put it into the
 * queue, or handed it to the device without one; it completes in whatever task is interrupted then.
 * Requests of others are remembered while they are in the queue only, so that a thread of the tree
 * that happens to hand them on is not taken for their owner.
 */
#include "common.bpf.h"
#include "wire-block.h"

#define REQ_OP_MASK 0xff
#define REQ_OP_READ 0
#define REQ_OP_WRITE 1

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, DN_BLOCK_REQUESTS);
	__type(key, u64);
	__type(value, struct dn_wire_block_request);
} dn_block_requests SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, DN_BLOCK_DEVICES);
	__type(key, u32);
	__type(value, struct dn_wire_block);
} dn_block_devices SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct dn_wire_histogram);
} dn_block_queue SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct dn_wire_block);
} dn_block_scratch SEC(".maps");

/* Set before loading: the request is the second argument of insert, issue and merge (until 5.10).
 */
const volatile u32 dn_block_second;

static __always_inline u64 request_of(unsigned long long *ctx)
{
	u64 request = ctx[0];

	asm volatile("" : "+r"(request));
	if (dn_block_second)
		request = ctx[1];
	return request;
}

static __always_inline void remember(u64 request, struct dn_wire_block_request *as)
{
	if (map_update(&dn_block_requests, &request, as, BPF_ANY) < 0 && as->weight)
		lose(DN_LOSS_MAP);
}

DN_RAW_TRACEPOINT(block_rq_insert)
int dn_block_insert(unsigned long long *ctx)
{
	u64 request = request_of(ctx);
	struct dn_wire_block_request *known = bpf_map_lookup_elem(&dn_block_requests, &request);
	struct dn_wire_block_request made = {};

	/* Handed to the device before, and put back by it. */
	if (known && known->issue_ns)
		return 0;
	if (task_counting())
		made.weight = sample_weight(DN_GROUP_BLOCK);
	made.insert_ns = bpf_ktime_get_ns();
	remember(request, &made);
	return 0;
}

/* It went into another one of the queue, and is no more. */
DN_RAW_TRACEPOINT(block_rq_merge)
int dn_block_merge(unsigned long long *ctx)
{
	u64 request = request_of(ctx);

	bpf_map_delete_elem(&dn_block_requests, &request);
	return 0;
}

DN_TRACEPOINT(block_rq_issue)
int dn_block_issue(unsigned long long *ctx)
{
	u64 request = request_of(ctx), now;
	struct dn_wire_block_request *known = bpf_map_lookup_elem(&dn_block_requests, &request);
	struct dn_wire_block_request made = {};
	struct dn_wire_histogram *queue;
	u32 zero = 0;

	if (!known) {
		if (!task_counting())
			return 0;
		made.weight = sample_weight(DN_GROUP_BLOCK);
		if (!made.weight)
			return 0;
		made.issue_ns = bpf_ktime_get_ns();
		remember(request, &made);
		return 0;
	}
	if (!known->weight) {
		bpf_map_delete_elem(&dn_block_requests, &request);
		return 0;
	}
	now = bpf_ktime_get_ns();
	known->issue_ns = now;
	if (!known->insert_ns)
		return 0;
	queue = bpf_map_lookup_elem(&dn_block_queue, &zero);
	if (queue)
		histogram_add_weighted(queue, now - known->insert_ns, known->weight);
	known->insert_ns = 0;
	return 0;
}

/* The disk moved from the request to its queue in 5.17. */
static __always_inline struct gendisk *disk_of(struct request *request)
{
	struct request___rq_disk *old = (struct request___rq_disk *)request;

	if (bpf_core_field_exists(old->rq_disk))
		return BPF_CORE_READ(old, rq_disk);
	return BPF_CORE_READ(request, q, disk);
}

static __noinline struct dn_wire_block *device_of(struct request *request)
{
	struct gendisk *disk = disk_of(request);
	u32 zero = 0, key = (u32)BPF_CORE_READ(disk, major) << 20;
	struct dn_wire_block *known, *made;

	key |= (u32)BPF_CORE_READ(disk, first_minor);
	known = bpf_map_lookup_elem(&dn_block_devices, &key);
	if (known)
		return known;
	made = bpf_map_lookup_elem(&dn_block_scratch, &zero);
	if (!made)
		return 0;
	__builtin_memset(made->name, 0, sizeof(made->name));
	bpf_probe_read_kernel_str(made->name, sizeof(made->name), &disk->disk_name);
	bpf_map_update_elem(&dn_block_devices, &key, made, BPF_NOEXIST);
	return bpf_map_lookup_elem(&dn_block_devices, &key);
}

/* A device may complete a request in parts: the last one is as long as what is left. */
DN_RAW_TRACEPOINT(block_rq_complete)
int dn_block_complete(unsigned long long *ctx)
{
	u64 at = ctx[0], bytes, latency;
	u32 failed = (u32)ctx[1], part = (u32)ctx[2], left, op;
	struct dn_wire_block_request *known = bpf_map_lookup_elem(&dn_block_requests, &at);
	struct request *request = (struct request *)at;
	struct dn_wire_block *device;

	if (!known || !known->issue_ns)
		return 0;
	device = device_of(request);
	if (!device) {
		lose(DN_LOSS_MAP);
		bpf_map_delete_elem(&dn_block_requests, &at);
		return 0;
	}
	left = BPF_CORE_READ(request, __data_len);
	op = BPF_CORE_READ(request, cmd_flags) & REQ_OP_MASK;
	bytes = failed ? 0 : (u64)part * known->weight;
	if (op == REQ_OP_READ)
		device->read_bytes += bytes;
	else if (op == REQ_OP_WRITE)
		device->write_bytes += bytes;
	known->failed |= failed != 0;
	if (part < left)
		return 0;
	latency = bpf_ktime_get_ns() - known->issue_ns;
	if (op == REQ_OP_READ)
		device->reads += known->weight;
	else if (op == REQ_OP_WRITE)
		device->writes += known->weight;
	else
		device->other += known->weight;
	if (known->failed)
		device->errors += known->weight;
	device->time_ns += latency * known->weight;
	histogram_add_weighted(&device->latency, latency, known->weight);
	bpf_map_delete_elem(&dn_block_requests, &at);
	return 0;
}

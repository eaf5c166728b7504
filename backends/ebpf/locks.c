/* SPDX-License-Identifier: Apache-2.0 */
/* The group locks: waits for futexes by address, contended locks of the kernel by type. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <denet/fs.h>
#include <syscalls.h>

#include "ebpf.h"
#include "wire-locks.h"

#define CALLS "dn_fork dn_exec dn_sys_enter dn_sys_exit"
#define CONTENTION "dn_fork dn_exec dn_contention_begin dn_contention_end"
#define SOURCE_CALLS "raw_tp sys_enter, sys_exit"
#define SOURCE_CONTENTION "raw_tp contention_begin, contention_end"

static const struct dn_ebpf_metric metrics[] = {
	{DN_M_lock_futex_waits, DN_QUALITY_EXACT, SOURCE_CALLS, CALLS, NULL},
	{DN_M_lock_futex_wait_ns, DN_QUALITY_EXACT, SOURCE_CALLS, CALLS, NULL},
	{DN_M_lock_futex_wait, DN_QUALITY_EXACT, SOURCE_CALLS, CALLS, NULL},
	{DN_M_lock_by_address, DN_QUALITY_EXACT, SOURCE_CALLS, CALLS, NULL},
	{DN_M_lock_kernel_contentions, DN_QUALITY_EXACT, SOURCE_CONTENTION, CONTENTION, NULL},
	{DN_M_lock_kernel_wait_ns, DN_QUALITY_EXACT, SOURCE_CONTENTION, CONTENTION, NULL},
	{DN_M_lock_by_type, DN_QUALITY_EXACT, SOURCE_CONTENTION, CONTENTION, NULL},
};

static const struct {
	const char *name;
	enum dn_wire_futex kind;
} calls[] = {
	{"futex", DN_FUTEX_OPERATION},
	{"futex_time64", DN_FUTEX_OPERATION},
	{"futex_waitv", DN_FUTEX_WAITV},
	{"futex_wait", DN_FUTEX_WAIT},
	{"restart_syscall", DN_FUTEX_RESTART},
};

static const char *const types[DN_LOCK_N] = {
	[DN_LOCK_OTHER] = "other",
	[DN_LOCK_SPIN] = "spin",
	[DN_LOCK_RWLOCK_READ] = "rwlock_read",
	[DN_LOCK_RWLOCK_WRITE] = "rwlock_write",
	[DN_LOCK_RWSEM_READ] = "rwsem_read",
	[DN_LOCK_RWSEM_WRITE] = "rwsem_write",
	[DN_LOCK_MUTEX] = "mutex",
	[DN_LOCK_RT] = "rt",
	[DN_LOCK_RT_READ] = "rt_read",
	[DN_LOCK_RT_WRITE] = "rt_write",
	[DN_LOCK_PERCPU_READ] = "percpu_read",
	[DN_LOCK_PERCPU_WRITE] = "percpu_write",
};

/* Futexes that are told of by address: those that were waited for longest. */
#define ROWS 128

struct address {
	struct dn_wire_futex_key key;
	struct dn_wire_futex_address sum;
};

struct locks {
	struct dn_histogram futex, type[DN_LOCK_N];
	uint64_t other; /* waits without an address of their own */
	uint64_t outer_ns;
	struct address *address;
	unsigned n_addresses, room;
	struct dn_ebpf_table by_address, by_type;
};

static void prepare(struct dn_ebpf *ebpf, const char *name, struct bpf_object *object)
{
	uint8_t kinds[DN_CALLS_N];

	if (strcmp(name, "syscalls") != 0)
		return;
	for (unsigned i = 0; i < DN_CALLS_N; i++) {
		const char *call =
			dn_syscall_name((enum dn_abi)(i / DN_CALLS_PER_ABI), i % DN_CALLS_PER_ABI);

		kinds[i] = DN_FUTEX_NONE;
		for (unsigned k = 0; call && k < sizeof(calls) / sizeof(calls[0]); k++) {
			if (strcmp(call, calls[k].name) == 0)
				kinds[i] = (uint8_t)calls[k].kind;
		}
	}
	(void)dn_ebpf_set(object, "dn_futex_calls", kinds, sizeof(kinds));
	dn_ebpf_resize(object, "dn_futex_addresses", DN_FUTEX_ADDRESSES);
}

static int start(struct dn_ebpf *ebpf)
{
	ebpf->group_data[DN_PROBES_LOCKS] = calloc(1, sizeof(struct locks));
	return ebpf->group_data[DN_PROBES_LOCKS] ? 0 : -ENOMEM;
}

/* Futexes */

static void add_futexes(void *arg, const void *value)
{
	const struct dn_wire_futexes *from = value;
	struct locks *self = arg;

	self->other += from->other;
	dn_ebpf_histogram_add(&self->futex, &from->wait);
}

static void add_address(void *arg, const void *key, const void *value)
{
	struct locks *self = arg;

	if (self->n_addresses == self->room) {
		unsigned room = self->room ? self->room * 2 : 64;
		void *grown = realloc(self->address, room * sizeof(*self->address));

		if (!grown) {
			self->other += ((const struct dn_wire_futex_address *)value)->waits;
			return;
		}
		self->address = grown;
		self->room = room;
	}
	memcpy(&self->address[self->n_addresses].key, key, sizeof(struct dn_wire_futex_key));
	memcpy(&self->address[self->n_addresses].sum, value, sizeof(struct dn_wire_futex_address));
	self->n_addresses++;
}

static int longer(const void *a, const void *b)
{
	const struct address *left = a, *right = b;

	if (left->sum.time_ns != right->sum.time_ns)
		return left->sum.time_ns < right->sum.time_ns ? 1 : -1;
	return memcmp(&left->key, &right->key, sizeof(left->key));
}

static void put_addresses(struct dn_ebpf *ebpf, struct locks *self, struct dn_frame *frame)
{
	static const char *const columns[] = {"waits", "time_ns", "max_ns"};

	self->n_addresses = 0;
	if (dn_ebpf_read_hash(dn_ebpf_map(&ebpf->objects, "syscalls", "dn_futex_addresses"),
		    sizeof(struct dn_wire_futex_key), sizeof(struct dn_wire_futex_address),
		    add_address, self) < 0)
		return;
	if (self->n_addresses > 1)
		qsort(self->address, self->n_addresses, sizeof(*self->address), longer);
	dn_ebpf_table_begin(&self->by_address, columns, 3, ROWS);
	for (unsigned i = 0; i < self->n_addresses; i++) {
		const struct address *from = &self->address[i];
		struct dn_table_row *row;
		char key[48];

		snprintf(key, sizeof(key), "%" PRIu32 ":0x%" PRIx64, (uint32_t)from->key.pid,
			(uint64_t)from->key.address);
		row = i < ROWS ? dn_ebpf_table_row(&self->by_address, key) : NULL;
		if (!row) {
			self->other += from->sum.waits;
			continue;
		}
		dn_ebpf_table_add(row, 0, from->sum.waits);
		dn_ebpf_table_add(row, 1, from->sum.time_ns);
		dn_ebpf_table_add(row, 2, from->sum.max_ns);
	}
	self->by_address.table.other = self->other;
	dn_frame_table(frame, DN_M_lock_by_address, dn_ebpf_table_end(&self->by_address, 1));
}

static void sample_futexes(
	struct dn_ebpf *ebpf, struct locks *self, bool whole, struct dn_frame *frame)
{
	memset(&self->futex, 0, sizeof(self->futex));
	self->other = 0;
	if (dn_ebpf_read_percpu(ebpf, dn_ebpf_map(&ebpf->objects, "syscalls", "dn_futexes"), 0,
		    sizeof(struct dn_wire_futexes), add_futexes, self) < 0)
		return;
	if (dn_ebpf_has(ebpf, DN_M_lock_futex_waits))
		dn_frame_u64(frame, DN_M_lock_futex_waits, self->futex.count);
	if (dn_ebpf_has(ebpf, DN_M_lock_futex_wait_ns))
		dn_frame_u64(frame, DN_M_lock_futex_wait_ns, self->futex.sum);
	if (whole && dn_ebpf_has(ebpf, DN_M_lock_futex_wait))
		dn_frame_histogram(frame, DN_M_lock_futex_wait, &self->futex);
	if (whole && dn_ebpf_has(ebpf, DN_M_lock_by_address))
		put_addresses(ebpf, self, frame);
}

/* Locks of the kernel */

static void add_contention(void *arg, const void *value)
{
	const struct dn_wire_contention *from = value;
	struct locks *self = arg;

	self->outer_ns = dn_add_sat(self->outer_ns, from->outer_ns);
	for (unsigned i = 0; i < DN_LOCK_N; i++)
		dn_ebpf_histogram_add(&self->type[i], &from->wait[i]);
}

static void put_types(struct locks *self, struct dn_frame *frame)
{
	static const char *const columns[] = {"time_ns", "waits", "latency"};

	dn_ebpf_table_begin(&self->by_type, columns, 3, DN_LOCK_N);
	for (unsigned i = 0; i < DN_LOCK_N; i++) {
		struct dn_table_row *row;

		if (!self->type[i].count)
			continue;
		row = dn_ebpf_table_row(&self->by_type, types[i]);
		if (!row)
			continue;
		dn_ebpf_table_add(row, 0, self->type[i].sum);
		dn_ebpf_table_add(row, 1, self->type[i].count);
		row->value[2].type = DN_VALUE_HISTOGRAM;
		row->value[2].histogram = &self->type[i];
	}
	dn_frame_table(frame, DN_M_lock_by_type, dn_ebpf_table_end(&self->by_type, 0));
}

static void sample_contention(
	struct dn_ebpf *ebpf, struct locks *self, bool whole, struct dn_frame *frame)
{
	int fd = dn_ebpf_map(&ebpf->objects, "locks", "dn_contention");
	uint64_t waits = 0;

	memset(self->type, 0, sizeof(self->type));
	self->outer_ns = 0;
	if (fd < 0 || dn_ebpf_read_percpu(ebpf, fd, 0, sizeof(struct dn_wire_contention),
			      add_contention, self) < 0)
		return;
	for (unsigned i = 0; i < DN_LOCK_N; i++)
		waits += self->type[i].count;
	if (dn_ebpf_has(ebpf, DN_M_lock_kernel_contentions))
		dn_frame_u64(frame, DN_M_lock_kernel_contentions, waits);
	if (dn_ebpf_has(ebpf, DN_M_lock_kernel_wait_ns))
		dn_frame_u64(frame, DN_M_lock_kernel_wait_ns, self->outer_ns);
	if (whole && dn_ebpf_has(ebpf, DN_M_lock_by_type))
		put_types(self, frame);
}

static void sample(struct dn_ebpf *ebpf, struct dn_frame *frame)
{
	struct locks *self = ebpf->group_data[DN_PROBES_LOCKS];
	bool whole = ebpf->env->detail || frame->final;

	sample_futexes(ebpf, self, whole, frame);
	sample_contention(ebpf, self, whole, frame);
}

static void finish(struct dn_ebpf *ebpf)
{
	struct locks *self = ebpf->group_data[DN_PROBES_LOCKS];

	if (!self)
		return;
	dn_ebpf_table_free(&self->by_address);
	dn_ebpf_table_free(&self->by_type);
	free(self->address);
	free(self);
	ebpf->group_data[DN_PROBES_LOCKS] = NULL;
}

const struct dn_ebpf_group dn_ebpf_group_locks = {
	.id = DN_PROBES_LOCKS,
	.object = "locks",
	.features = DN_FEATURE_LOCKS,
	.sampled = true,
	.maps = "dn_futexes dn_futex_addresses",
	.metric = metrics,
	.n_metrics = sizeof(metrics) / sizeof(metrics[0]),
	.prepare = prepare,
	.start = start,
	.sample = sample,
	.finish = finish,
};

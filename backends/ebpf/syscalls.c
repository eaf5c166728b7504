/* SPDX-License-Identifier: Apache-2.0 */
/* The groups syscalls and latency: counts, errors and times of system calls by name and category.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <syscalls.h>

#include "ebpf.h"

#define EXITS "dn_fork dn_exec dn_exit dn_sys_exit dn_last_call"
#define TIMES EXITS " dn_sys_enter"

static const struct dn_ebpf_metric count_metrics[] = {
	{DN_M_syscall_count, DN_QUALITY_EXACT, "tp_btf sys_exit", EXITS, NULL},
	{DN_M_syscall_errors, DN_QUALITY_EXACT, "tp_btf sys_exit", EXITS, NULL},
	{DN_M_syscall_by_name, DN_QUALITY_EXACT, "tp_btf sys_exit", EXITS, NULL},
	{DN_M_syscall_by_category, DN_QUALITY_EXACT, "tp_btf sys_exit", EXITS, NULL},
};

static const struct dn_ebpf_metric time_metrics[] = {
	{DN_M_syscall_time_ns, DN_QUALITY_EXACT, "tp_btf sys_enter, sys_exit", TIMES, NULL},
	{DN_M_syscall_latency, DN_QUALITY_EXACT, "tp_btf sys_enter, sys_exit", TIMES, NULL},
};

struct calls {
	struct dn_wire_call call[DN_CALL_ROWS * DN_CALLS_PER_ROW]; /* summed over CPUs */
	struct dn_histogram *latency; /* by index; DN_CALLS_LATENCY + 1 of them; NULL without */
	struct dn_histogram all;
	struct dn_ebpf_table by_name, by_category;
};

void dn_ebpf_degrade_call_tables(struct dn_ebpf *ebpf, enum dn_quality quality, const char *reason)
{
	dn_ebpf_degrade(ebpf, DN_M_syscall_by_name, quality, reason);
	dn_ebpf_degrade(ebpf, DN_M_syscall_by_category, quality, reason);
}

static int start_count(struct dn_ebpf *ebpf)
{
	uint32_t every = ebpf->env->sample_every[DN_PROBES_LATENCY];

	ebpf->group_data[DN_PROBES_SYSCALLS] = calloc(1, sizeof(struct calls));
	if (!ebpf->group_data[DN_PROBES_SYSCALLS])
		return -ENOMEM;
	if (dn_ebpf_on(ebpf, DN_PROBES_LATENCY) && every > 1)
		dn_ebpf_degrade_call_tables(ebpf, DN_QUALITY_SAMPLED,
			dn_arena_printf(
				ebpf->arena, "times are of one call in %u (--sample)", every));
	return 0;
}

static void prepare(struct dn_ebpf *ebpf, const char *name, struct bpf_object *object)
{
	if (strcmp(name, "syscalls") == 0 && !(ebpf->features & DN_FEATURE_LATENCY))
		dn_ebpf_resize(object, "dn_call_latency", 1);
}

static void add_calls(void *arg, uint32_t row, const void *value)
{
	const struct dn_wire_calls *from = value;
	struct calls *self = arg;

	for (unsigned i = 0; i < DN_CALLS_PER_ROW; i++) {
		struct dn_wire_call *sum = &self->call[row * DN_CALLS_PER_ROW + i];

		sum->count += from->call[i].count;
		sum->errors += from->call[i].errors;
		sum->time_ns += from->call[i].time_ns;
	}
}

static void add_latency(void *arg, uint32_t key, const void *value)
{
	struct calls *self = arg;

	if (key > DN_CALLS_LATENCY)
		return;
	dn_ebpf_histogram_add(&self->latency[key], value);
	dn_ebpf_histogram_add(&self->all, value);
}

static int read_calls(struct dn_ebpf *ebpf, struct calls *self)
{
	const char *object = dn_ebpf_object(&ebpf->objects, "counts") ? "counts" : "syscalls";

	memset(self->call, 0, sizeof(self->call));
	return dn_ebpf_read_percpu_array(ebpf, dn_ebpf_map(&ebpf->objects, object, "dn_calls"),
		DN_CALL_ROWS, sizeof(struct dn_wire_calls), add_calls, self);
}

static int read_latency(struct dn_ebpf *ebpf, struct calls *self)
{
	if (!self->latency)
		self->latency = malloc((DN_CALLS_LATENCY + 1) * sizeof(*self->latency));
	if (!self->latency)
		return -ENOMEM;
	memset(self->latency, 0, (DN_CALLS_LATENCY + 1) * sizeof(*self->latency));
	memset(&self->all, 0, sizeof(self->all));
	return dn_ebpf_read_percpu_array(ebpf,
		dn_ebpf_map(&ebpf->objects, "syscalls", "dn_call_latency"), DN_CALLS_LATENCY + 1,
		sizeof(struct dn_wire_histogram), add_latency, self);
}

void dn_ebpf_call_name(unsigned index, char *name, size_t size)
{
	enum dn_abi abi = (enum dn_abi)(index / DN_CALLS_PER_ABI);
	unsigned nr = index % DN_CALLS_PER_ABI;
	const char *known = dn_syscall_name(abi, nr), *of = dn_abi_name(abi);
	char number[32];

	if (index >= DN_CALLS_N) {
		snprintf(name, size, "syscall_other");
		return;
	}
	snprintf(number, sizeof(number), "syscall_%u", nr);
	if (abi == DN_ABI_NATIVE)
		snprintf(name, size, "%s", known ? known : number);
	else
		snprintf(name, size, "%s:%s", of ? of : "other", known ? known : number);
}

static void put_by_name(
	struct dn_ebpf *ebpf, struct calls *self, bool times, struct dn_frame *frame)
{
	static const char *const columns[] = {"count", "errors", "time_ns", "latency"};

	dn_ebpf_table_begin(&self->by_name, columns, times ? 4 : 2, DN_CALLS_N + 1);
	for (unsigned i = 0; i <= DN_CALLS_N; i++) {
		const struct dn_wire_call *call = &self->call[i];
		struct dn_table_row *row;
		char name[DN_TABLE_KEY_MAX];

		if (!call->count)
			continue;
		dn_ebpf_call_name(i, name, sizeof(name));
		row = dn_ebpf_table_row(&self->by_name, name);
		if (!row)
			continue;
		dn_ebpf_table_add(row, 0, call->count);
		dn_ebpf_table_add(row, 1, call->errors);
		if (!times)
			continue;
		dn_ebpf_table_add(row, 2, call->time_ns);
		/* Calls of other ABIs share one. */
		if (i >= DN_CALLS_LATENCY || !self->latency[i].count)
			continue;
		row->value[3].type = DN_VALUE_HISTOGRAM;
		row->value[3].histogram = &self->latency[i];
	}
	dn_frame_table(frame, DN_M_syscall_by_name, dn_ebpf_table_end(&self->by_name, 0));
}

static void put_by_category(struct calls *self, bool times, struct dn_frame *frame)
{
	static const char *const columns[] = {"count", "errors", "time_ns"};

	dn_ebpf_table_begin(&self->by_category, columns, times ? 3 : 2, DN_N_SYSCALL_CATEGORIES);
	for (unsigned i = 0; i <= DN_CALLS_N; i++) {
		const struct dn_wire_call *call = &self->call[i];
		struct dn_table_row *row;

		if (!call->count)
			continue;
		row = dn_ebpf_table_row(&self->by_category,
			dn_syscall_category_name(dn_syscall_category(
				(enum dn_abi)(i / DN_CALLS_PER_ABI), i % DN_CALLS_PER_ABI)));
		if (!row)
			continue;
		dn_ebpf_table_add(row, 0, call->count);
		dn_ebpf_table_add(row, 1, call->errors);
		if (times)
			dn_ebpf_table_add(row, 2, call->time_ns);
	}
	dn_frame_table(frame, DN_M_syscall_by_category, dn_ebpf_table_end(&self->by_category, 0));
}

static void sample_count(struct dn_ebpf *ebpf, struct dn_frame *frame)
{
	struct calls *self = ebpf->group_data[DN_PROBES_SYSCALLS];
	bool times = dn_ebpf_on(ebpf, DN_PROBES_LATENCY), whole = ebpf->env->detail || frame->final;
	uint64_t count = 0, errors = 0, time_ns = 0;

	/* Between times the sums of the threads do (lifecycle.c); the tables are large. */
	if (!whole && !times)
		return;
	if (read_calls(ebpf, self) < 0)
		return;
	for (unsigned i = 0; i <= DN_CALLS_N; i++) {
		count += self->call[i].count;
		errors += self->call[i].errors;
		time_ns += self->call[i].time_ns;
	}
	if (dn_ebpf_has(ebpf, DN_M_syscall_count))
		dn_frame_u64(frame, DN_M_syscall_count, count);
	if (dn_ebpf_has(ebpf, DN_M_syscall_errors))
		dn_frame_u64(frame, DN_M_syscall_errors, errors);
	if (dn_ebpf_has(ebpf, DN_M_syscall_time_ns))
		dn_frame_u64(frame, DN_M_syscall_time_ns, time_ns);
	if (!whole)
		return;
	times = times && read_latency(ebpf, self) == 0;
	if (times && dn_ebpf_has(ebpf, DN_M_syscall_latency))
		dn_frame_histogram(frame, DN_M_syscall_latency, &self->all);
	if (dn_ebpf_has(ebpf, DN_M_syscall_by_name))
		put_by_name(ebpf, self, times, frame);
	if (dn_ebpf_has(ebpf, DN_M_syscall_by_category))
		put_by_category(self, times, frame);
}

static void finish_count(struct dn_ebpf *ebpf)
{
	struct calls *self = ebpf->group_data[DN_PROBES_SYSCALLS];

	if (!self)
		return;
	dn_ebpf_table_free(&self->by_name);
	dn_ebpf_table_free(&self->by_category);
	free(self->latency);
	free(self);
	ebpf->group_data[DN_PROBES_SYSCALLS] = NULL;
}

const struct dn_ebpf_group dn_ebpf_group_syscalls = {
	.id = DN_PROBES_SYSCALLS,
	.features = DN_FEATURE_COUNT,
	.sampled = true,
	.metric = count_metrics,
	.n_metrics = sizeof(count_metrics) / sizeof(count_metrics[0]),
	.prepare = prepare,
	.start = start_count,
	.sample = sample_count,
	.finish = finish_count,
};

/* Its values are columns of the tables above. */
const struct dn_ebpf_group dn_ebpf_group_latency = {
	.id = DN_PROBES_LATENCY,
	.features = DN_FEATURE_COUNT | DN_FEATURE_LATENCY,
	.sampled = true,
	.metric = time_metrics,
	.n_metrics = sizeof(time_metrics) / sizeof(time_metrics[0]),
};

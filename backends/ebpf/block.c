/* SPDX-License-Identifier: Apache-2.0 */
/* The group block: requests to block devices. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/bpf.h>

#include "ebpf.h"
#include "wire-block.h"

#define LIVES "dn_fork dn_exec dn_exit "
#define REQUESTS LIVES "dn_block_insert dn_block_merge dn_block_issue dn_block_complete"
#define SOURCE "tp_btf block_rq_issue, raw_tp block_rq_insert, block_rq_complete"

static const struct dn_ebpf_metric metrics[] = {
	{DN_M_block_requests, DN_QUALITY_EXACT, SOURCE, REQUESTS, NULL},
	{DN_M_block_errors, DN_QUALITY_EXACT, SOURCE, REQUESTS, NULL},
	{DN_M_block_read_bytes, DN_QUALITY_EXACT, SOURCE, REQUESTS, NULL},
	{DN_M_block_write_bytes, DN_QUALITY_EXACT, SOURCE, REQUESTS, NULL},
	{DN_M_block_latency, DN_QUALITY_EXACT, SOURCE, REQUESTS, NULL},
	{DN_M_block_queue, DN_QUALITY_EXACT, SOURCE, REQUESTS, NULL},
	{DN_M_block_by_device, DN_QUALITY_EXACT, SOURCE, REQUESTS, NULL},
};

struct blocks {
	struct device {
		uint32_t key;
		struct dn_wire_block sum;
		struct dn_histogram latency;
	} device[DN_BLOCK_DEVICES];
	unsigned n_devices;
	struct dn_histogram latency, queue;
	struct dn_ebpf_table by_device;
};

static struct blocks *data_of(const struct dn_ebpf *ebpf)
{
	return ebpf->group_data[DN_PROBES_BLOCK];
}

static void prepare(struct dn_ebpf *ebpf, const char *name, struct bpf_object *object)
{
	uint32_t second;

	if (strcmp(name, "block") != 0)
		return;
	second = dn_ebpf_btf_arguments(ebpf->objects.btf, "btf_trace_block_rq_issue") == 2;
	(void)dn_ebpf_set(object, "dn_block_second", &second, sizeof(second));
}

static int start(struct dn_ebpf *ebpf)
{
	ebpf->group_data[DN_PROBES_BLOCK] = calloc(1, sizeof(struct blocks));
	return ebpf->group_data[DN_PROBES_BLOCK] ? 0 : -ENOMEM;
}

static void add_device(void *arg, const void *key, const void *value)
{
	const struct dn_wire_block *from = value;
	struct blocks *self = arg;
	struct dn_wire_block *sum;
	uint32_t number;
	unsigned i;

	memcpy(&number, key, sizeof(number));
	for (i = 0; i < self->n_devices && self->device[i].key != number; i++)
		continue;
	if (i == DN_BLOCK_DEVICES)
		return;
	if (i == self->n_devices)
		self->device[self->n_devices++].key = number;
	sum = &self->device[i].sum;
	/* The name is with the value of the CPU that met it first. */
	if (from->name[0])
		memcpy(sum->name, from->name, sizeof(sum->name));
	sum->name[sizeof(sum->name) - 1] = '\0';
	sum->reads += from->reads;
	sum->writes += from->writes;
	sum->other += from->other;
	sum->errors += from->errors;
	sum->read_bytes += from->read_bytes;
	sum->write_bytes += from->write_bytes;
	sum->time_ns += from->time_ns;
	dn_ebpf_histogram_add(&self->device[i].latency, &from->latency);
	dn_ebpf_histogram_add(&self->latency, &from->latency);
}

static void add_queue(void *arg, const void *value)
{
	dn_ebpf_histogram_add(arg, value);
}

static void put_counter(
	struct dn_ebpf *ebpf, struct dn_frame *frame, unsigned metric, uint64_t value)
{
	if (dn_ebpf_has(ebpf, metric))
		dn_frame_u64(frame, metric, value);
}

static void put_counters(struct dn_ebpf *ebpf, struct blocks *self, struct dn_frame *frame)
{
	struct dn_wire_block all = {0};

	for (unsigned i = 0; i < self->n_devices; i++) {
		const struct dn_wire_block *sum = &self->device[i].sum;

		all.other += sum->reads + sum->writes + sum->other;
		all.errors += sum->errors;
		all.read_bytes += sum->read_bytes;
		all.write_bytes += sum->write_bytes;
	}
	put_counter(ebpf, frame, DN_M_block_requests, all.other);
	put_counter(ebpf, frame, DN_M_block_errors, all.errors);
	put_counter(ebpf, frame, DN_M_block_read_bytes, all.read_bytes);
	put_counter(ebpf, frame, DN_M_block_write_bytes, all.write_bytes);
}

static void put_devices(struct blocks *self, struct dn_frame *frame)
{
	static const char *const columns[] = {"reads", "writes", "other", "errors", "read_bytes",
		"write_bytes", "time_ns", "latency"};

	dn_ebpf_table_begin(&self->by_device, columns, 8, DN_BLOCK_DEVICES);
	for (unsigned i = 0; i < self->n_devices; i++) {
		const struct device *device = &self->device[i];
		const struct dn_wire_block *sum = &device->sum;
		struct dn_table_row *row =
			dn_ebpf_table_row(&self->by_device, sum->name[0] ? sum->name : "unknown");

		if (!row)
			continue;
		dn_ebpf_table_add(row, 0, sum->reads);
		dn_ebpf_table_add(row, 1, sum->writes);
		dn_ebpf_table_add(row, 2, sum->other);
		dn_ebpf_table_add(row, 3, sum->errors);
		dn_ebpf_table_add(row, 4, sum->read_bytes);
		dn_ebpf_table_add(row, 5, sum->write_bytes);
		dn_ebpf_table_add(row, 6, sum->time_ns);
		row->value[7].type = DN_VALUE_HISTOGRAM;
		row->value[7].histogram = &device->latency;
	}
	dn_frame_table(frame, DN_M_block_by_device, dn_ebpf_table_end(&self->by_device, 6));
}

static void sample(struct dn_ebpf *ebpf, struct dn_frame *frame)
{
	struct blocks *self = data_of(ebpf);

	memset(self->device, 0, sizeof(self->device));
	memset(&self->latency, 0, sizeof(self->latency));
	memset(&self->queue, 0, sizeof(self->queue));
	self->n_devices = 0;
	if (dn_ebpf_read_percpu_hash(ebpf, dn_ebpf_map(&ebpf->objects, "block", "dn_block_devices"),
		    sizeof(uint32_t), sizeof(struct dn_wire_block), add_device, self) < 0)
		return;
	put_counters(ebpf, self, frame);
	if (!ebpf->env->detail && !frame->final)
		return;
	if (dn_ebpf_has(ebpf, DN_M_block_latency))
		dn_frame_histogram(frame, DN_M_block_latency, &self->latency);
	if (dn_ebpf_has(ebpf, DN_M_block_queue) &&
		dn_ebpf_read_percpu(ebpf, dn_ebpf_map(&ebpf->objects, "block", "dn_block_queue"), 0,
			sizeof(struct dn_wire_histogram), add_queue, &self->queue) == 0)
		dn_frame_histogram(frame, DN_M_block_queue, &self->queue);
	if (dn_ebpf_has(ebpf, DN_M_block_by_device))
		put_devices(self, frame);
}

static void finish(struct dn_ebpf *ebpf)
{
	struct blocks *self = data_of(ebpf);

	if (!self)
		return;
	dn_ebpf_table_free(&self->by_device);
	free(self);
	ebpf->group_data[DN_PROBES_BLOCK] = NULL;
}

const struct dn_ebpf_group dn_ebpf_group_block = {
	.id = DN_PROBES_BLOCK,
	.object = "block",
	.sampled = true,
	.metric = metrics,
	.n_metrics = sizeof(metrics) / sizeof(metrics[0]),
	.prepare = prepare,
	.start = start,
	.sample = sample,
	.finish = finish,
};

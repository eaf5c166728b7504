/* SPDX-License-Identifier: Apache-2.0 */
/* The group sched: time on the CPU, waiting for one, and blocked by kind. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <syscalls.h>

#include "ebpf.h"

#define SWITCHES "dn_fork dn_exec dn_exit dn_switch"
#define SOURCE "tp_btf sched_switch, sched_info"

static const struct dn_ebpf_metric metrics[] = {
	{DN_M_cpu_blocked_ns, DN_QUALITY_EXACT, SOURCE, SWITCHES " dn_pass", NULL},
	{DN_M_sched_on_cpu_ns, DN_QUALITY_EXACT, "tp_btf sched_switch", SWITCHES " dn_pass", NULL},
	{DN_M_sched_run_delay, DN_QUALITY_EXACT, SOURCE, SWITCHES, NULL},
	{DN_M_sched_blocked_futex_ns, DN_QUALITY_EXACT, SOURCE, SWITCHES, NULL},
	{DN_M_sched_blocked_sleep_ns, DN_QUALITY_EXACT, SOURCE, SWITCHES, NULL},
	{DN_M_sched_blocked_disk_ns, DN_QUALITY_EXACT, SOURCE, SWITCHES, NULL},
	{DN_M_sched_blocked_network_ns, DN_QUALITY_EXACT, SOURCE, SWITCHES, NULL},
	{DN_M_sched_blocked_pipe_ns, DN_QUALITY_EXACT, SOURCE, SWITCHES, NULL},
	{DN_M_sched_blocked_other_ns, DN_QUALITY_EXACT, SOURCE, SWITCHES, NULL},
	{DN_M_sched_blocked_by_kind, DN_QUALITY_EXACT, SOURCE, SWITCHES, NULL},
};

static const struct {
	const char *name;
	unsigned metric;
} kinds[DN_BLOCKED_N] = {
	[DN_BLOCKED_FUTEX] = {"futex", DN_M_sched_blocked_futex_ns},
	[DN_BLOCKED_SLEEP] = {"sleep", DN_M_sched_blocked_sleep_ns},
	[DN_BLOCKED_DISK] = {"disk", DN_M_sched_blocked_disk_ns},
	[DN_BLOCKED_NETWORK] = {"network", DN_M_sched_blocked_network_ns},
	[DN_BLOCKED_PIPE] = {"pipe", DN_M_sched_blocked_pipe_ns},
	[DN_BLOCKED_OTHER] = {"other", DN_M_sched_blocked_other_ns},
};

struct sched {
	struct dn_histogram run_delay, blocked[DN_BLOCKED_N];
	struct dn_ebpf_table table;
};

static uint8_t kind_of(enum dn_block_class class)
{
	switch (class) {
	case DN_BLOCK_FUTEX:
		return DN_BLOCKED_FUTEX;
	case DN_BLOCK_SLEEP:
		return DN_BLOCKED_SLEEP;
	case DN_BLOCK_DISK:
		return DN_BLOCKED_DISK;
	case DN_BLOCK_NETWORK:
		return DN_BLOCKED_NETWORK;
	case DN_BLOCK_FD:
		return DN_BLOCKED_BY_FD;
	default:
		return DN_BLOCKED_OTHER;
	}
}

static void prepare(struct dn_ebpf *ebpf, const char *name, struct bpf_object *object)
{
	static const bool yes = true;
	uint8_t class[DN_CALLS_N];

	if (strcmp(name, "switch") != 0 && strcmp(name, "pass") != 0)
		return;
	for (unsigned abi = 0; abi < 3; abi++) {
		for (unsigned nr = 0; nr < DN_CALLS_PER_ABI; nr++)
			class[abi * DN_CALLS_PER_ABI + nr] =
				kind_of(dn_syscall_block_class((enum dn_abi)abi, nr));
	}
	(void)dn_ebpf_set(object, "dn_block_class", class, sizeof(class));
	(void)dn_ebpf_set(object, "dn_details", &yes, sizeof(yes));
}

static int start(struct dn_ebpf *ebpf)
{
	ebpf->group_data[DN_PROBES_SCHED] = calloc(1, sizeof(struct sched));
	return ebpf->group_data[DN_PROBES_SCHED] ? 0 : -ENOMEM;
}

static void add_cpu(void *arg, const void *value)
{
	const struct dn_wire_sched *from = value;
	struct sched *self = arg;

	dn_ebpf_histogram_add(&self->run_delay, &from->run_delay);
	for (unsigned i = 0; i < DN_BLOCKED_N; i++)
		dn_ebpf_histogram_add(&self->blocked[i], &from->blocked[i]);
}

static void put_details(struct dn_ebpf *ebpf, struct sched *self, struct dn_frame *frame)
{
	static const char *const columns[] = {"time_ns", "count", "latency"};

	memset(&self->run_delay, 0, sizeof(self->run_delay));
	memset(self->blocked, 0, sizeof(self->blocked));
	if (dn_ebpf_read_percpu(ebpf, dn_ebpf_map(&ebpf->objects, "switch", "dn_sched"), 0,
		    sizeof(struct dn_wire_sched), add_cpu, self) < 0)
		return;
	if (dn_ebpf_has(ebpf, DN_M_sched_run_delay))
		dn_frame_histogram(frame, DN_M_sched_run_delay, &self->run_delay);
	if (!dn_ebpf_has(ebpf, DN_M_sched_blocked_by_kind))
		return;
	dn_ebpf_table_begin(&self->table, columns, 3, DN_BLOCKED_N);
	for (unsigned i = 0; i < DN_BLOCKED_N; i++) {
		struct dn_table_row *row;

		if (!kinds[i].name || (!self->blocked[i].count && !ebpf->totals.blocked_ns[i]))
			continue;
		row = dn_ebpf_table_row(&self->table, kinds[i].name);
		if (!row)
			continue;
		dn_ebpf_table_add(row, 0, ebpf->totals.blocked_ns[i]);
		dn_ebpf_table_add(row, 1, self->blocked[i].count);
		row->value[2].type = DN_VALUE_HISTOGRAM;
		row->value[2].histogram = &self->blocked[i];
	}
	dn_frame_table(frame, DN_M_sched_blocked_by_kind, dn_ebpf_table_end(&self->table, 0));
}

static void sample(struct dn_ebpf *ebpf, struct dn_frame *frame)
{
	struct sched *self = ebpf->group_data[DN_PROBES_SCHED];

	for (unsigned i = 0; i < DN_BLOCKED_N; i++) {
		if (kinds[i].name && dn_ebpf_has(ebpf, kinds[i].metric))
			dn_frame_u64(frame, kinds[i].metric, ebpf->totals.blocked_ns[i]);
	}
	if (ebpf->env->detail || frame->final)
		put_details(ebpf, self, frame);
}

static void finish(struct dn_ebpf *ebpf)
{
	struct sched *self = ebpf->group_data[DN_PROBES_SCHED];

	if (!self)
		return;
	dn_ebpf_table_free(&self->table);
	free(self);
	ebpf->group_data[DN_PROBES_SCHED] = NULL;
}

const struct dn_ebpf_group dn_ebpf_group_sched = {
	.id = DN_PROBES_SCHED,
	.object = "switch",
	.metric = metrics,
	.n_metrics = sizeof(metrics) / sizeof(metrics[0]),
	.prepare = prepare,
	.start = start,
	.sample = sample,
	.finish = finish,
};

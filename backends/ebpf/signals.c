/* SPDX-License-Identifier: Apache-2.0 */
/* The group signals: sent to the tree and taken by it, by number and by sender. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ebpf.h"
#include "wire-signals.h"

#define SENT "dn_fork dn_exec dn_exit dn_signal_sent"
#define TAKEN "dn_fork dn_exec dn_exit dn_signal_taken"
#define SENDERS_SHOWN 512

static const struct dn_ebpf_metric metrics[] = {
	{DN_M_signal_generated, DN_QUALITY_EXACT, "tp_btf signal_generate", SENT, NULL},
	{DN_M_signal_delivered, DN_QUALITY_EXACT, "raw_tp signal_deliver", TAKEN, NULL},
	{DN_M_signal_by_number, DN_QUALITY_EXACT, "tp_btf signal_generate, raw_tp signal_deliver",
		SENT " dn_signal_taken", NULL},
	{DN_M_signal_by_sender, DN_QUALITY_EXACT, "tp_btf signal_generate", SENT, NULL},
};

struct signals {
	struct dn_wire_signal sum[DN_SIGNALS_N];
	struct dn_ebpf_table by_number, by_sender;
};

static int start(struct dn_ebpf *ebpf)
{
	ebpf->group_data[DN_PROBES_SIGNALS] = calloc(1, sizeof(struct signals));
	return ebpf->group_data[DN_PROBES_SIGNALS] ? 0 : -ENOMEM;
}

/* The first real-time numbers are the C library's own. */
static void signal_name(unsigned number, char *name, size_t size)
{
	const char *abbreviation = sigabbrev_np((int)number);

	if (abbreviation)
		snprintf(name, size, "SIG%s", abbreviation);
	else if ((int)number == SIGRTMIN)
		snprintf(name, size, "SIGRTMIN");
	else if ((int)number > SIGRTMIN && (int)number <= SIGRTMAX)
		snprintf(name, size, "SIGRTMIN+%d", (int)number - SIGRTMIN);
	else
		snprintf(name, size, "signal_%u", number);
}

static void add_signal(void *arg, uint32_t key, const void *value)
{
	const struct dn_wire_signal *from = value;
	struct signals *self = arg;

	if (key >= DN_SIGNALS_N)
		return;
	self->sum[key].generated += from->generated;
	self->sum[key].delivered += from->delivered;
	self->sum[key].ignored += from->ignored;
	self->sum[key].merged += from->merged;
	self->sum[key].lost += from->lost;
}

static void put_by_number(struct signals *self, struct dn_frame *frame)
{
	static const char *const columns[] = {
		"generated", "delivered", "ignored", "merged", "lost"};

	dn_ebpf_table_begin(&self->by_number, columns, 5, DN_SIGNALS_N);
	for (unsigned i = 1; i < DN_SIGNALS_N; i++) {
		const struct dn_wire_signal *sum = &self->sum[i];
		struct dn_table_row *row;
		char name[32];

		if (!sum->generated && !sum->delivered)
			continue;
		signal_name(i, name, sizeof(name));
		row = dn_ebpf_table_row(&self->by_number, name);
		if (!row)
			continue;
		dn_ebpf_table_add(row, 0, sum->generated);
		dn_ebpf_table_add(row, 1, sum->delivered);
		dn_ebpf_table_add(row, 2, sum->ignored);
		dn_ebpf_table_add(row, 3, sum->merged);
		dn_ebpf_table_add(row, 4, sum->lost);
	}
	dn_frame_table(frame, DN_M_signal_by_number, dn_ebpf_table_end(&self->by_number, 0));
}

static void add_sender(void *arg, const void *key, const void *value)
{
	const struct dn_wire_sender *sender = key;
	struct signals *self = arg;
	struct dn_table_row *row;
	char text[DN_WIRE_COMM + 64], name[32];

	signal_name(sender->signal, name, sizeof(name));
	if (sender->kernel)
		snprintf(text, sizeof(text), "kernel:%s", name);
	else if (sender->pid)
		snprintf(text, sizeof(text), "%.*s[%u]:%s", DN_WIRE_COMM, sender->comm, sender->pid,
			name);
	else
		snprintf(text, sizeof(text), "%.*s:%s", DN_WIRE_COMM, sender->comm, name);
	row = dn_ebpf_table_row(&self->by_sender, text);
	if (row)
		dn_ebpf_table_add(row, 0, *(const uint64_t *)value);
	else
		self->by_sender.table.other += *(const uint64_t *)value;
}

static void put_by_sender(struct dn_ebpf *ebpf, struct signals *self, struct dn_frame *frame)
{
	static const char *const columns[] = {"count"};

	dn_ebpf_table_begin(&self->by_sender, columns, 1, SENDERS_SHOWN);
	if (dn_ebpf_read_hash(dn_ebpf_map(&ebpf->objects, "signals", "dn_senders"),
		    sizeof(struct dn_wire_sender), sizeof(uint64_t), add_sender, self) < 0)
		return;
	dn_frame_table(frame, DN_M_signal_by_sender, dn_ebpf_table_end(&self->by_sender, 0));
}

static void sample(struct dn_ebpf *ebpf, struct dn_frame *frame)
{
	struct signals *self = ebpf->group_data[DN_PROBES_SIGNALS];
	uint64_t generated = 0, delivered = 0;

	memset(self->sum, 0, sizeof(self->sum));
	if (dn_ebpf_read_percpu_array(ebpf, dn_ebpf_map(&ebpf->objects, "signals", "dn_signals"),
		    DN_SIGNALS_N, sizeof(struct dn_wire_signal), add_signal, self) < 0)
		return;
	for (unsigned i = 0; i < DN_SIGNALS_N; i++) {
		generated += self->sum[i].generated;
		delivered += self->sum[i].delivered;
	}
	if (dn_ebpf_has(ebpf, DN_M_signal_generated))
		dn_frame_u64(frame, DN_M_signal_generated, generated);
	if (dn_ebpf_has(ebpf, DN_M_signal_delivered))
		dn_frame_u64(frame, DN_M_signal_delivered, delivered);
	if (!ebpf->env->detail && !frame->final)
		return;
	if (dn_ebpf_has(ebpf, DN_M_signal_by_number))
		put_by_number(self, frame);
	if (dn_ebpf_has(ebpf, DN_M_signal_by_sender))
		put_by_sender(ebpf, self, frame);
}

static void finish(struct dn_ebpf *ebpf)
{
	struct signals *self = ebpf->group_data[DN_PROBES_SIGNALS];

	if (!self)
		return;
	dn_ebpf_table_free(&self->by_number);
	dn_ebpf_table_free(&self->by_sender);
	free(self);
	ebpf->group_data[DN_PROBES_SIGNALS] = NULL;
}

const struct dn_ebpf_group dn_ebpf_group_signals = {
	.id = DN_PROBES_SIGNALS,
	.object = "signals",
	.sampled = true,
	.metric = metrics,
	.n_metrics = sizeof(metrics) / sizeof(metrics[0]),
	.start = start,
	.sample = sample,
	.finish = finish,
};

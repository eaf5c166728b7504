/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One status line on a terminal, rewritten in place and gone at the end. It goes away before
 * anything else is said there, and is never longer than the terminal is wide: a wrapped line could
 * not be taken back.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <denet/fs.h>
#include <denet/log.h>

#include "sinks.h"

#define UPDATE_NS UINT64_C(100000000)
#define NS_PER_S 1e9

struct live {
	struct dn_sink sink;
	struct dn_output *output;
	bool color;
	unsigned columns;
	bool shown;
	uint64_t due_ns;
	bool has_last;
	struct dn_frame last; /* of the line before: rates are between two lines */
	char line[512];
	size_t len;
};

static struct live *self_of(struct dn_sink *sink)
{
	return (struct live *)sink;
}

static int clear(struct live *self)
{
	static const char text[] = "\r\033[K";

	if (!self->shown)
		return 0;
	self->shown = false;
	return dn_output_write(self->output, text, sizeof(text) - 1);
}

static void put(struct live *self, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void put(struct live *self, const char *format, ...)
{
	size_t room = sizeof(self->line) - self->len;
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(self->line + self->len, room, format, args);
	va_end(args);
	if (n > 0)
		self->len += (size_t)n < room ? (size_t)n : room - 1;
}

/* Bytes per second since the line before; nothing when one of the two frames has no value. */
static bool rate_of(
	const struct live *self, const struct dn_frame *frame, unsigned id, char *out, size_t size)
{
	const struct dn_value *now = &frame->value[id], *before = &self->last.value[id];
	uint64_t interval = frame->t_ns - self->last.t_ns;
	double rate;

	if (!self->has_last || frame->t_ns <= self->last.t_ns || now->type != DN_VALUE_U64 ||
		before->type != DN_VALUE_U64)
		return false;
	rate = (double)dn_sub_sat(now->u64, before->u64) * NS_PER_S / (double)interval;
	dn_human_bytes(rate < 1e18 ? (uint64_t)rate : UINT64_MAX, out, size);
	return true;
}

static void put_rates(struct live *self, const struct dn_frame *frame, const char *name,
	unsigned in, const char *in_name, unsigned out, const char *out_name)
{
	char a[32], b[32];
	bool has_in = rate_of(self, frame, in, a, sizeof(a)),
	     has_out = rate_of(self, frame, out, b, sizeof(b));

	if (has_in)
		put(self, "  %s %s %s/s", name, in_name, a);
	if (has_out)
		put(self, "%s%s %s %s/s", has_in ? "" : "  ", has_in ? "" : name, out_name, b);
}

static void render(struct live *self, const struct dn_frame *frame)
{
	const struct dn_value *value = frame->value;
	char text[32];

	self->len = 0;
	put(self, "%s", dn_human_duration(frame->t_ns, text, sizeof(text)));
	if (value[DN_M_cpu_usage_percent].type == DN_VALUE_F64)
		put(self, "  cpu %s",
			dn_human_percent(value[DN_M_cpu_usage_percent].f64, text, sizeof(text)));
	if (value[DN_M_memory_rss_bytes].type == DN_VALUE_U64)
		put(self, "  rss %s",
			dn_human_bytes(value[DN_M_memory_rss_bytes].u64, text, sizeof(text)));
	if (value[DN_M_process_count].type == DN_VALUE_U64)
		put(self, "  procs %s",
			dn_human_count(value[DN_M_process_count].u64, text, sizeof(text)));
	put_rates(self, frame, "io", DN_M_io_read_chars, "r", DN_M_io_write_chars, "w");
	put_rates(self, frame, "net", DN_M_network_rx_bytes, "rx", DN_M_network_tx_bytes, "tx");
}

static int header(struct dn_sink *sink, const struct dn_run *run)
{
	return 0;
}

static int sample(struct dn_sink *sink, const struct dn_run *run, const struct dn_frame *frame,
	struct dn_tree *tree)
{
	struct live *self = self_of(sink);
	char safe[512], text[640];
	int n;

	if (frame->t_ns < self->due_ns)
		return 0;
	/* From when it was due, so that ticks that come a little early are not all skipped. */
	self->due_ns += UPDATE_NS;
	if (self->due_ns + UPDATE_NS < frame->t_ns)
		self->due_ns = frame->t_ns;

	render(self, frame);
	self->last = *frame;
	self->has_last = true;
	/* The last column stays free: many terminals wrap when it is written. */
	dn_text_safe(self->line, self->len, self->columns - 1, safe, sizeof(safe));
	n = snprintf(
		text, sizeof(text), self->color ? "\r\033[2m%s\033[0m\033[K" : "\r%s\033[K", safe);
	self->shown = true;
	return dn_output_write(self->output, text, (size_t)n);
}

static int event(struct dn_sink *sink, const struct dn_run *run, const struct dn_event *ev)
{
	/* These are many, and nobody prints anything for them. */
	if (ev->type == DN_EVENT_FORK || ev->type == DN_EVENT_EXEC || ev->type == DN_EVENT_EXIT)
		return 0;
	return clear(self_of(sink));
}

static int summary(struct dn_sink *sink, const struct dn_run *run, const struct dn_summary *last)
{
	return clear(self_of(sink));
}

static void close_sink(struct dn_sink *sink)
{
	if (!sink)
		return;
	clear(self_of(sink));
	free(sink);
}

int dn_sink_live_new(struct dn_output *output, bool color, unsigned columns, struct dn_sink **ret)
{
	static const struct dn_sink_ops ops = {
		.name = "live",
		.header = header,
		.sample = sample,
		.event = event,
		.summary = summary,
		.close = close_sink,
	};
	struct live *self = calloc(1, sizeof(*self));

	if (!self)
		return -ENOMEM;
	self->sink.ops = &ops;
	self->output = output;
	self->color = color;
	self->columns = columns < 2 ? 80 : columns;
	*ret = &self->sink;
	return 0;
}

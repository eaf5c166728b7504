/* SPDX-License-Identifier: Apache-2.0 */
/* A table: a column per metric, a row per sample, and the last row from the final values. An empty
 * cell: no value. A histogram has a column for each number that says most; tables have none. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <denet/table.h>

#include "json-writer.h"
#include "sinks.h"

static const struct {
	const char *suffix;
	double share; /* of a percentile */
} parts[] = {{".count", 0}, {".p50", 0.5}, {".p95", 0.95}, {".p99", 0.99}, {".max", 1}};
#define N_PARTS (sizeof(parts) / sizeof(parts[0]))

struct csv {
	struct dn_sink sink;
	struct dn_output *output;
	struct {
		unsigned metric;
		unsigned part; /* of a histogram: index in parts[] */
	} column[DN_METRIC_MAX + DN_M_STATIC_N * (N_PARTS - 1)];
	unsigned n_columns;
	char *row;
	size_t size;
};

size_t dn_csv_text(const char *text, char *out, size_t size)
{
	/* Spreadsheets take text that begins so for a formula and run it; a leading ' keeps it
	 * text. */
	bool guard = *text && strchr("=+-@\t\r", *text);
	bool quote = guard || strpbrk(text, ",\"\r\n") || *text == ' ';
	size_t len = 0;

	if (size < 3)
		return 0;
	if (quote)
		out[len++] = '"';
	if (guard)
		out[len++] = '\'';
	/* Room is kept for a doubled quote and the closing one. */
	for (; *text && len + 3 <= size; text++) {
		if (*text == '"')
			out[len++] = '"';
		out[len++] = *text;
	}
	if (quote)
		out[len++] = '"';
	return len;
}

static struct csv *self_of(struct dn_sink *sink)
{
	return (struct csv *)sink;
}

/* A column's name: scope, dot, name, and the part of a histogram. */
static size_t put_column(unsigned id, unsigned part, char *out, size_t size)
{
	const struct dn_metric_info *info = dn_metric_info(id);
	const char *suffix = info->kind == DN_KIND_HISTOGRAM ? parts[part].suffix : "";
	const char *scope = dn_scope_key(info->scope);
	char name[256];
	size_t scope_len = strlen(scope), len = strnlen(info->name, sizeof(name) - scope_len - 10);

	memcpy(name, scope, scope_len);
	name[scope_len] = '.';
	memcpy(name + scope_len + 1, info->name, len);
	memcpy(name + scope_len + 1 + len, suffix, strlen(suffix) + 1);
	return dn_csv_text(name, out, size);
}

static int header(struct dn_sink *sink, const struct dn_run *run)
{
	static const char first[] = "seq,t_ns,interval_ns";
	struct csv *self = self_of(sink);
	size_t names = sizeof(first), numbers, len;

	for (unsigned id = 0; id < dn_metric_count(); id++) {
		const struct dn_metric_info *info = dn_metric_info(id);
		unsigned n = info->kind == DN_KIND_HISTOGRAM ? N_PARTS : 1;

		if (info->kind == DN_KIND_TABLE || !run->metric[id].wanted ||
			run->metric[id].quality == DN_QUALITY_MISSING)
			continue;
		for (unsigned part = 0; part < n; part++) {
			self->column[self->n_columns].metric = id;
			self->column[self->n_columns++].part = part;
			names += 2 * (strlen(info->name) + 24);
		}
	}
	numbers = (self->n_columns + 4) * (size_t)(DN_FORMAT_F64_MAX + 1);
	self->size = names > numbers ? names : numbers;
	self->row = malloc(self->size);
	if (!self->row)
		return -ENOMEM;

	len = sizeof(first) - 1;
	memcpy(self->row, first, len);
	for (unsigned i = 0; i < self->n_columns; i++) {
		self->row[len++] = ',';
		len += put_column(self->column[i].metric, self->column[i].part, self->row + len,
			self->size - len - 1);
	}
	self->row[len++] = '\n';
	return dn_output_write(self->output, self->row, len);
}

/* Of a histogram without values only its count is known. */
static size_t put_part(const struct dn_histogram *histogram, unsigned part, char *out)
{
	uint64_t value = histogram->max;

	if (part == 0)
		value = histogram->count;
	else if (histogram->count == 0)
		return 0;
	else if (parts[part].share < 1)
		value = dn_histogram_percentile(histogram, parts[part].share);
	return dn_format_u64(value, out);
}

static int put_row(struct csv *self, const struct dn_frame *frame)
{
	char *p = self->row;

	/* Without a header there are no columns. */
	if (!p)
		return -EINVAL;
	p += dn_format_u64(frame->seq, p);
	*p++ = ',';
	p += dn_format_u64(frame->t_ns, p);
	*p++ = ',';
	p += dn_format_u64(frame->interval_ns, p);
	for (unsigned i = 0; i < self->n_columns; i++) {
		const struct dn_value *value = &frame->value[self->column[i].metric];

		*p++ = ',';
		if (value->type == DN_VALUE_U64)
			p += dn_format_u64(value->u64, p);
		else if (value->type == DN_VALUE_F64)
			p += dn_format_f64(value->f64, p);
		else if (value->type == DN_VALUE_HISTOGRAM)
			p += put_part(value->histogram, self->column[i].part, p);
	}
	*p++ = '\n';
	return dn_output_write(self->output, self->row, (size_t)(p - self->row));
}

static int sample(struct dn_sink *sink, const struct dn_run *run, const struct dn_frame *frame,
	struct dn_tree *tree)
{
	return put_row(self_of(sink), frame);
}

/* A table has no place for what is not a row of numbers. */
static int event(struct dn_sink *sink, const struct dn_run *run, const struct dn_event *ev)
{
	return 0;
}

static int summary(struct dn_sink *sink, const struct dn_run *run, const struct dn_summary *last)
{
	return put_row(self_of(sink), &last->frame);
}

static void close_sink(struct dn_sink *sink)
{
	if (!sink)
		return;
	free(self_of(sink)->row);
	free(sink);
}

int dn_sink_csv_new(struct dn_output *output, struct dn_sink **ret)
{
	static const struct dn_sink_ops ops = {
		.name = "csv",
		.header = header,
		.sample = sample,
		.event = event,
		.summary = summary,
		.close = close_sink,
	};
	struct csv *self = calloc(1, sizeof(*self));

	if (!self)
		return -ENOMEM;
	self->sink.ops = &ops;
	self->output = output;
	*ret = &self->sink;
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Distributions and tables: invented ones, and those that a script wrote cell by cell. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <denet/fs.h>

#include "values.h"

/* Invented tables look like those of system calls. */
static const char *const columns[] = {"count", "errors", "time_ns", "latency"};
#define COUNT 0
#define ERRORS 1
#define TIME 2
#define LATENCY 3
#define ROWS 2

struct dn_fake_value {
	struct dn_histogram histogram[ROWS];
	struct dn_table_row row[ROWS];
	struct dn_table table;
};

static struct dn_fake_value *value_of(struct dn_fake_values *values, unsigned metric)
{
	if (!values->invented[metric])
		values->invented[metric] = calloc(1, sizeof(struct dn_fake_value));
	return values->invented[metric];
}

static void refill(struct dn_histogram *histogram, uint64_t value, uint64_t times)
{
	memset(histogram, 0, sizeof(*histogram));
	dn_histogram_add(histogram, value, times);
}

static void set(struct dn_table_row *row, unsigned column, uint64_t value)
{
	row->value[column] = (struct dn_value){.type = DN_VALUE_U64, .u64 = value};
}

int dn_fake_invent(struct dn_fake_values *values, struct dn_frame *frame, unsigned metric,
	uint64_t prime, uint64_t seq)
{
	static const char *const keys[ROWS] = {"first", "second key"};
	struct dn_fake_value *value = value_of(values, metric);

	if (!value)
		return -ENOMEM;
	if (dn_metric_info(metric)->kind == DN_KIND_HISTOGRAM) {
		refill(&value->histogram[0], prime, seq);
		dn_frame_histogram(frame, metric, &value->histogram[0]);
		return 0;
	}
	for (unsigned i = 0; i < ROWS; i++) {
		struct dn_table_row *row = &value->row[i];

		row->key = keys[i];
		refill(&value->histogram[i], prime, seq * (ROWS - i));
		set(row, COUNT, seq * (ROWS - i));
		set(row, ERRORS, i);
		set(row, TIME, value->histogram[i].sum);
		row->value[LATENCY].type = DN_VALUE_HISTOGRAM;
		row->value[LATENCY].histogram = &value->histogram[i];
	}
	value->table = (struct dn_table){.column = columns,
		.n_columns = sizeof(columns) / sizeof(columns[0]),
		.row = value->row,
		.n_rows = ROWS,
		.other = prime % 2 ? seq : 0};
	dn_frame_table(frame, metric, &value->table);
	return 0;
}

/* One that is written, of one metric at one tick. */
struct dn_fake_written {
	struct dn_fake_written *next;
	unsigned metric;
	const char *column[DN_TABLE_COLUMNS_MAX];
	struct dn_table_row row[DN_FAKE_ROWS_MAX];
	struct dn_table table;
};

static struct dn_fake_written *written_of(struct dn_fake_values *values, unsigned metric)
{
	struct dn_fake_written *written = values->written;

	while (written && written->metric != metric)
		written = written->next;
	if (written)
		return written;
	written = calloc(1, sizeof(*written));
	if (!written)
		return NULL;
	written->metric = metric;
	written->next = values->written;
	values->written = written;
	return written;
}

static struct dn_table_row *row_of(struct dn_fake_written *written, const char *key)
{
	struct dn_table *table = &written->table;

	for (unsigned i = 0; i < table->n_rows; i++) {
		if (strcmp(written->row[i].key, key) == 0)
			return &written->row[i];
	}
	if (table->n_rows == DN_FAKE_ROWS_MAX)
		return NULL;
	written->row[table->n_rows].key = key;
	return &written->row[table->n_rows++];
}

static struct dn_value *cell_of(
	struct dn_fake_written *written, struct dn_table_row *row, const char *column)
{
	struct dn_table *table = &written->table;
	unsigned i = 0;

	while (i < table->n_columns && strcmp(written->column[i], column) != 0)
		i++;
	if (i == DN_TABLE_COLUMNS_MAX)
		return NULL;
	if (i == table->n_columns)
		written->column[table->n_columns++] = column;
	return &row->value[i];
}

void dn_fake_begin(struct dn_fake_values *values)
{
	for (struct dn_fake_written *written = values->written; written; written = written->next) {
		memset(&written->table, 0, sizeof(written->table));
		memset(written->row, 0, sizeof(written->row));
	}
}

int dn_fake_write(struct dn_fake_values *values, struct dn_frame *frame, unsigned metric,
	const char *key, const char *column, const struct dn_value *value)
{
	struct dn_fake_written *written = written_of(values, metric);
	struct dn_table_row *row;
	struct dn_value *cell;

	if (!written)
		return -ENOMEM;
	written->table.column = written->column;
	written->table.row = written->row;
	dn_frame_table(frame, metric, &written->table);
	if (!key) {
		written->table.other = value->u64;
		return 0;
	}
	row = row_of(written, key);
	if (!row)
		return -ENOBUFS;
	cell = column ? cell_of(written, row, column) : NULL;
	if (cell)
		*cell = *value;
	return cell || !column ? 0 : -ENOBUFS;
}

void dn_fake_values_finish(struct dn_fake_values *values)
{
	for (unsigned id = 0; id < DN_M_STATIC_N; id++)
		free(values->invented[id]);
	while (values->written) {
		struct dn_fake_written *next = values->written->next;

		free(values->written);
		values->written = next;
	}
	memset(values, 0, sizeof(*values));
}

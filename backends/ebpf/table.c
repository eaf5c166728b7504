/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include <denet/fs.h>

#include "table.h"

/* Chunks that never move, so that rows can point into them. */
struct block {
	struct block *next;
	max_align_t data[];
};

static void *take(struct dn_ebpf_table *table, size_t size)
{
	struct block *block = calloc(1, sizeof(*block) + size);

	if (!block)
		return NULL;
	block->next = table->memory;
	table->memory = block;
	return block->data;
}

void dn_ebpf_table_free(struct dn_ebpf_table *table)
{
	struct block *next;

	for (struct block *block = table->memory; block; block = next) {
		next = block->next;
		free(block);
	}
	free(table->row);
	*table = (struct dn_ebpf_table){0};
}

void dn_ebpf_table_begin(struct dn_ebpf_table *table, const char *const *columns,
	unsigned n_columns, unsigned max_rows)
{
	dn_ebpf_table_free(table);
	table->table.column = columns;
	table->table.n_columns =
		n_columns < DN_TABLE_COLUMNS_MAX ? n_columns : DN_TABLE_COLUMNS_MAX;
	table->max_rows = max_rows;
}

struct dn_table_row *dn_ebpf_table_row(struct dn_ebpf_table *table, const char *key)
{
	size_t len = strnlen(key, DN_TABLE_KEY_MAX - 1);
	struct dn_table_row *row;
	char *kept;

	for (unsigned i = 0; i < table->n_rows; i++) {
		if (strncmp(table->row[i].key, key, len) == 0 && table->row[i].key[len] == '\0')
			return &table->row[i];
	}
	if (table->n_rows == table->max_rows)
		return NULL;
	if (table->n_rows == table->room) {
		unsigned room = table->room ? table->room * 2 : 32;
		void *grown = realloc(table->row, room * sizeof(*table->row));

		if (!grown)
			return NULL;
		table->row = grown;
		table->room = room;
	}
	kept = take(table, len + 1);
	if (!kept)
		return NULL;
	memcpy(kept, key, len);
	row = &table->row[table->n_rows++];
	*row = (struct dn_table_row){.key = kept};
	return row;
}

void dn_ebpf_table_add(struct dn_table_row *row, unsigned column, uint64_t value)
{
	struct dn_value *at = &row->value[column];

	at->u64 = at->type == DN_VALUE_U64 ? dn_add_sat(at->u64, value) : value;
	at->type = DN_VALUE_U64;
}

struct dn_histogram *dn_ebpf_table_histogram(
	struct dn_ebpf_table *table, struct dn_table_row *row, unsigned column)
{
	struct dn_value *at = &row->value[column];

	if (at->type != DN_VALUE_HISTOGRAM) {
		struct dn_histogram *made = take(table, sizeof(*made));

		if (!made)
			return NULL;
		at->type = DN_VALUE_HISTOGRAM;
		at->histogram = made;
	}
	return (struct dn_histogram *)at->histogram;
}

static unsigned sort_column;

static int compare(const void *a, const void *b)
{
	const struct dn_table_row *left = a, *right = b;
	uint64_t x =
		left->value[sort_column].type == DN_VALUE_U64 ? left->value[sort_column].u64 : 0;
	uint64_t y =
		right->value[sort_column].type == DN_VALUE_U64 ? right->value[sort_column].u64 : 0;

	return x != y ? (x < y ? 1 : -1) : strcmp(left->key, right->key);
}

const struct dn_table *dn_ebpf_table_end(struct dn_ebpf_table *table, unsigned by_column)
{
	sort_column = by_column;
	if (table->n_rows > 1 && by_column != DN_TABLE_AS_IS)
		qsort(table->row, table->n_rows, sizeof(*table->row), compare);
	table->table.row = table->row;
	table->table.n_rows = table->n_rows;
	return &table->table;
}

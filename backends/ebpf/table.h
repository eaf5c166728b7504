/* SPDX-License-Identifier: Apache-2.0 */
/* Tables in the making: rows by key, found again by key, with histograms where a column has them.
 */
#ifndef DENET_EBPF_TABLE_H
#define DENET_EBPF_TABLE_H

#include <limits.h>

#include <denet/table.h>

struct dn_ebpf_table {
	struct dn_table table; /* what the frame points to; made by dn_ebpf_table_finish() */
	struct dn_table_row *row;
	unsigned n_rows, room, max_rows;
	void *memory; /* keys and histograms */
};

/* max_rows: more keys than this are added up in table.other by the column 0. */
void dn_ebpf_table_begin(struct dn_ebpf_table *table, const char *const *columns,
	unsigned n_columns, unsigned max_rows);
/* The row of a key, new ones with all columns empty; NULL when there is no room (the caller adds to
 * table.other). Valid until the next call. */
struct dn_table_row *dn_ebpf_table_row(struct dn_ebpf_table *table, const char *key);
void dn_ebpf_table_add(struct dn_table_row *row, unsigned column, uint64_t value);
/* The histogram of a column, made on first use; NULL when memory is short. */
struct dn_histogram *dn_ebpf_table_histogram(
	struct dn_ebpf_table *table, struct dn_table_row *row, unsigned column);
/* Sorts by the column, largest first, and sets up table->table. DN_TABLE_AS_IS: in the order in
 * which the rows were made. */
#define DN_TABLE_AS_IS UINT_MAX
const struct dn_table *dn_ebpf_table_end(struct dn_ebpf_table *table, unsigned by_column);
void dn_ebpf_table_free(struct dn_ebpf_table *table);

#endif

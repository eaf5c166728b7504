/* SPDX-License-Identifier: Apache-2.0 */
/* The fake backend's distributions and tables, which frames point to. */
#ifndef DENET_FAKE_VALUES_H
#define DENET_FAKE_VALUES_H

#include <denet/frame.h>
#include <denet/table.h>

#define DN_FAKE_ROWS_MAX 1024

struct dn_fake_value;
struct dn_fake_written;

struct dn_fake_values {
	struct dn_fake_value *invented[DN_M_STATIC_N];
	struct dn_fake_written *written;
};

/* A distribution or a table for this tick, whichever the metric is. 0 or -ENOMEM. */
int dn_fake_invent(struct dn_fake_values *values, struct dn_frame *frame, unsigned metric,
	uint64_t prime, uint64_t seq);
/* Empties the tables that are written cell by cell. */
void dn_fake_begin(struct dn_fake_values *values);
/*
 * A cell of a table. key NULL: value is what found no room; column NULL: a row without a cell. 0;
 * -ENOMEM; -ENOBUFS when there are too many rows or columns. The strings are kept.
 */
int dn_fake_write(struct dn_fake_values *values, struct dn_frame *frame, unsigned metric,
	const char *key, const char *column, const struct dn_value *value);
void dn_fake_values_finish(struct dn_fake_values *values);

#endif

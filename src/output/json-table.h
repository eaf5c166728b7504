/* SPDX-License-Identifier: Apache-2.0 */
/* Distributions and tables as JSON: the values of the stream that are objects. */
#ifndef DENET_JSON_TABLE_H
#define DENET_JSON_TABLE_H

#include <denet/table.h>

#include "json-writer.h"

/* Each writes one value; NULL becomes null. */
void dn_json_histogram(struct dn_json *json, const struct dn_histogram *histogram);
/* An object of rows by key. What found no room is not part of it: see table->other. */
void dn_json_table(struct dn_json *json, const struct dn_table *table);

/*
 * A key of raw bytes as text, so that different keys stay different: a backslash becomes two, a
 * byte that is not UTF-8 becomes \xNN. Cut at DN_TABLE_KEY_MAX - 1 bytes; returns the length.
 */
#define DN_JSON_KEY_SIZE (4 * DN_TABLE_KEY_MAX)
size_t dn_json_table_key(const char *key, char out[DN_JSON_KEY_SIZE]);

#endif

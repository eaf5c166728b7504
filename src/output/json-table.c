/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "json-table.h"

static void put_or_null(struct dn_json *json, const char *key, bool has, uint64_t value)
{
	dn_json_key(json, key);
	if (has)
		dn_json_u64(json, value);
	else
		dn_json_null(json);
}

void dn_json_histogram(struct dn_json *json, const struct dn_histogram *histogram)
{
	bool has = histogram && histogram->count > 0;

	if (!histogram) {
		dn_json_null(json);
		return;
	}
	dn_json_object(json);
	dn_json_put_u64(json, "count", histogram->count);
	dn_json_put_u64(json, "sum", histogram->sum);
	put_or_null(json, "min", has, histogram->min);
	put_or_null(json, "max", has, histogram->max);
	put_or_null(json, "p50", has, dn_histogram_percentile(histogram, 0.5));
	put_or_null(json, "p95", has, dn_histogram_percentile(histogram, 0.95));
	put_or_null(json, "p99", has, dn_histogram_percentile(histogram, 0.99));
	dn_json_key(json, "buckets");
	dn_json_array(json);
	for (unsigned i = 0; i < DN_HISTOGRAM_N; i++) {
		if (histogram->bucket[i] == 0)
			continue;
		dn_json_array(json);
		dn_json_u64(json, dn_histogram_upper(i));
		dn_json_u64(json, histogram->bucket[i]);
		dn_json_array_end(json);
	}
	dn_json_array_end(json);
	dn_json_object_end(json);
}

/* The length of the UTF-8 character at p; 0 when there is none. */
static size_t character_at(const char *p, size_t left)
{
	for (size_t n = 1; n <= 4 && n <= left; n++) {
		if (dn_utf8_valid(p, n))
			return n;
	}
	return 0;
}

size_t dn_json_table_key(const char *key, char out[DN_JSON_KEY_SIZE])
{
	static const char digits[] = "0123456789abcdef";
	size_t left = strnlen(key, DN_TABLE_KEY_MAX - 1), len = 0;

	while (left > 0) {
		size_t n = character_at(key, left);

		if (n == 0) {
			unsigned char byte = (unsigned char)*key;

			memcpy(out + len, "\\x", 2);
			out[len + 2] = digits[byte >> 4];
			out[len + 3] = digits[byte & 15];
			len += 4;
			n = 1;
		} else {
			if (*key == '\\')
				out[len++] = '\\';
			memcpy(out + len, key, n);
			len += n;
		}
		key += n;
		left -= n;
	}
	return len;
}

static void put_row(
	struct dn_json *json, const struct dn_table *table, const struct dn_table_row *row)
{
	char key[DN_JSON_KEY_SIZE];

	dn_json_key_n(json, key, dn_json_table_key(row->key, key));
	dn_json_object(json);
	for (unsigned i = 0; i < table->n_columns && i < DN_TABLE_COLUMNS_MAX; i++) {
		const struct dn_value *value = &row->value[i];

		if (value->type == DN_VALUE_U64) {
			dn_json_put_u64(json, table->column[i], value->u64);
		} else if (value->type == DN_VALUE_HISTOGRAM) {
			dn_json_key(json, table->column[i]);
			dn_json_histogram(json, value->histogram);
		}
	}
	dn_json_object_end(json);
}

void dn_json_table(struct dn_json *json, const struct dn_table *table)
{
	if (!table) {
		dn_json_null(json);
		return;
	}
	dn_json_object(json);
	for (unsigned i = 0; i < table->n_rows; i++)
		put_row(json, table, &table->row[i]);
	dn_json_object_end(json);
}

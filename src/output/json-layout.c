/* SPDX-License-Identifier: Apache-2.0 */
/* Dotted names to nested objects, as literal text made once. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "json-layout.h"
#include "json-table.h"

/*
 * Splits a name into keys. Where a prefix is itself a metric (hw.cycles beside hw.cycles.core) it
 * has a number as its value and can't be an object too: what follows it stays one key with a dot.
 */
#define KEYS_MAX 8
struct path {
	const char *key[KEYS_MAX];
	size_t len[KEYS_MAX];
	unsigned n;
};

static void split(const char *name, struct path *path)
{
	const char *start = name;
	char prefix[256];

	path->n = 0;
	for (const char *dot = strchr(name, '.'); dot; dot = strchr(dot + 1, '.')) {
		size_t len = (size_t)(dot - name);

		if (path->n == KEYS_MAX - 1 || len >= sizeof(prefix))
			break;
		/* Every name has a category before its first dot, and that is no metric. */
		if (path->n > 0) {
			memcpy(prefix, name, len);
			prefix[len] = '\0';
			if (dn_metric_by_name(prefix) >= 0)
				break;
		}
		path->key[path->n] = start;
		path->len[path->n++] = (size_t)(dot - start);
		start = dot + 1;
	}
	path->key[path->n] = start;
	path->len[path->n++] = strlen(start);
}

static unsigned common_keys(const struct path *a, const struct path *b)
{
	unsigned n = 0;

	while (n + 1 < a->n && n + 1 < b->n && a->len[n] == b->len[n] &&
		memcmp(a->key[n], b->key[n], a->len[n]) == 0)
		n++;
	return n;
}

/* Behind the last of those it shares most with: keeps every group together, whatever came when. */
static unsigned place_of(const struct path *paths, unsigned n, const struct path *path)
{
	unsigned best = 0, place = n;

	for (unsigned i = n; i-- > 0;) {
		unsigned common = common_keys(&paths[i], path);

		if (common > best) {
			best = common;
			place = i + 1;
		}
	}
	return place;
}

static void add_text(struct dn_json_layout *layout, const char *bytes, size_t len)
{
	memcpy(layout->text + layout->len, bytes, len);
	layout->len += len;
}

static void add_braces(struct dn_json_layout *layout, unsigned n)
{
	while (n-- > 0)
		add_text(layout, "}", 1);
}

static int make_text(struct dn_json_layout *layout, const struct path *paths, bool continues)
{
	size_t size = 16;

	for (unsigned i = 0; i < layout->n_fields; i++) {
		for (unsigned k = 0; k < paths[i].n; k++)
			size += paths[i].len[k] + 6; /* "":{ , } */
	}
	layout->text = malloc(size);
	if (!layout->text)
		return -ENOMEM;
	for (unsigned i = 0; i < layout->n_fields; i++) {
		const struct path *path = &paths[i];
		unsigned common = i ? common_keys(&paths[i - 1], path) : 0;
		size_t start = layout->len;

		if (i)
			add_braces(layout, paths[i - 1].n - 1 - common);
		if (i || continues)
			add_text(layout, ",", 1);
		for (unsigned k = common; k < path->n; k++) {
			add_text(layout, "\"", 1);
			add_text(layout, path->key[k], path->len[k]);
			add_text(layout, k + 1 < path->n ? "\":{" : "\":", k + 1 < path->n ? 3 : 2);
		}
		layout->field[i].text = (uint32_t)start;
		layout->field[i].len = (uint32_t)(layout->len - start);
	}
	layout->tail = layout->len;
	if (layout->n_fields)
		add_braces(layout, paths[layout->n_fields - 1].n - 1);
	return 0;
}

int dn_json_layout_make(struct dn_json_layout *layout, const struct dn_run *run,
	enum dn_layout_kind kind, bool whole)
{
	enum dn_metric_scope scope = kind == DN_LAYOUT_SYSTEM ? DN_SCOPE_SYSTEM : DN_SCOPE_TREE;
	struct path *paths = calloc(DN_METRIC_MAX, sizeof(*paths));
	int r;

	if (!paths)
		return -ENOMEM;
	for (unsigned id = 0; id < dn_metric_count(); id++) {
		const struct dn_metric_info *info = dn_metric_info(id);
		const struct dn_metric_state *state = &run->metric[id];
		int slot = dn_process_slot(id);
		struct path path;
		unsigned at;

		if ((!whole && (info->kind == DN_KIND_HISTOGRAM || info->kind == DN_KIND_TABLE)) ||
			!state->wanted || state->quality == DN_QUALITY_MISSING ||
			info->scope != scope || (kind == DN_LAYOUT_PROCESS && slot < 0))
			continue;
		split(info->name, &path);
		at = place_of(paths, layout->n_fields, &path);
		memmove(&paths[at + 1], &paths[at], (layout->n_fields - at) * sizeof(paths[0]));
		memmove(&layout->field[at + 1], &layout->field[at],
			(layout->n_fields - at) * sizeof(layout->field[0]));
		paths[at] = path;
		layout->field[at].metric = id;
		layout->field[at].index = kind == DN_LAYOUT_PROCESS ? (unsigned)slot : id;
		layout->n_fields++;
	}
	r = make_text(layout, paths, kind == DN_LAYOUT_PROCESS);
	free(paths);
	return r;
}

static inline char *put_value(char *p, const struct dn_value *value)
{
	size_t n = 0;

	if (value->type == DN_VALUE_U64)
		n = dn_format_u64(value->u64, p);
	else if (value->type == DN_VALUE_F64)
		n = dn_format_f64(value->f64, p);
	if (n)
		return p + n;
	memcpy(p, "null", 4);
	return p + 4;
}

/* A value that is an object, at the place that the text before it has made. */
static void put_object(struct dn_json *json, unsigned metric, const struct dn_value *value)
{
	const char *name = strrchr(dn_metric_info(metric)->name, '.') + 1;
	size_t len = strlen(name);
	char *p;

	json->after_key = true;
	if (value->type == DN_VALUE_HISTOGRAM) {
		dn_json_histogram(json, value->histogram);
		return;
	}
	dn_json_table(json, value->table);
	if (!value->table || value->table->other == 0)
		return;
	p = dn_json_room(json, len + 16);
	if (!p)
		return;
	memcpy(p, ",\"", 2);
	memcpy(p + 2, name, len);
	memcpy(p + 2 + len, "_other\":", 8);
	json->len += len + 10;
	json->after_key = true;
	dn_json_u64(json, value->table->other);
}

void dn_json_layout_put(
	struct dn_json *json, const struct dn_json_layout *layout, const struct dn_value *values)
{
	size_t most = layout->len + layout->n_fields * (size_t)DN_FORMAT_F64_MAX;
	char *start = dn_json_room(json, most), *p = start;

	if (!p)
		return;
	for (unsigned i = 0; i < layout->n_fields; i++) {
		const struct dn_value *value = &values[layout->field[i].index];

		memcpy(p, layout->text + layout->field[i].text, layout->field[i].len);
		p += layout->field[i].len;
		if (value->type != DN_VALUE_HISTOGRAM && value->type != DN_VALUE_TABLE) {
			p = put_value(p, value);
			continue;
		}
		json->len += (size_t)(p - start);
		put_object(json, layout->field[i].metric, value);
		start = p = dn_json_room(json, most);
		if (!p)
			return;
	}
	memcpy(p, layout->text + layout->tail, layout->len - layout->tail);
	json->len += (size_t)(p - start) + (layout->len - layout->tail);
}

void dn_json_layout_finish(struct dn_json_layout *layout)
{
	free(layout->text);
	layout->text = NULL;
	layout->n_fields = 0;
}

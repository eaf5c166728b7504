/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How the metrics of a run nest in a record. Dotted names become objects, once, at the header: from
 * then on a record is literal text with numbers between. Metrics that were not wanted or are
 * missing are left out; one without a value is null. Events of a table's keys that found no room
 * follow it as NAME_other, when there are any.
 */
#ifndef DENET_JSON_LAYOUT_H
#define DENET_JSON_LAYOUT_H

#include <denet/sink.h>

#include "json-writer.h"

enum dn_layout_kind {
	DN_LAYOUT_TREE,
	DN_LAYOUT_SYSTEM,
	DN_LAYOUT_PROCESS, /* goes behind other members, starts with a comma; values by
			      dn_process_slot() */
};

struct dn_json_layout {
	struct {
		unsigned metric;
		unsigned index; /* of its value */
		uint32_t text, len; /* what comes before the value */
	} field[DN_METRIC_MAX];
	unsigned n_fields;
	char *text; /* of all fields, then the closing braces */
	size_t len, tail;
};

/* layout is zeroed. whole: with histograms and tables. 0 or -ENOMEM. */
int dn_json_layout_make(struct dn_json_layout *layout, const struct dn_run *run,
	enum dn_layout_kind kind, bool whole);
/* The members of an object that the caller opens and closes. */
void dn_json_layout_put(
	struct dn_json *json, const struct dn_json_layout *layout, const struct dn_value *value);
/* Safe on a zeroed layout. */
void dn_json_layout_finish(struct dn_json_layout *layout);

#endif

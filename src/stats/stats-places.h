/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which places of a record mean what: answers the scanner's question for each key, and finds the
 * series of a metric's path.
 */
#ifndef DENET_STATS_PLACES_H
#define DENET_STATS_PLACES_H

#include "stats-model.h"

/* A tag is one of these in the upper 8 bits and an index below. */
enum dn_place {
	DN_PLACE_ROOT,
	DN_PLACE_INSIDE, /* an object with fields; index: which */
	DN_PLACE_FIELD, /* index: enum dn_stats_field */
	DN_PLACE_PATH, /* a metric or a group of them; index in path[] */
	DN_PLACE_HISTOGRAM, /* a metric that is one; index in series[] */
	DN_PLACE_DISTRIBUTION, /* a number in it; bits 16..23: enum dn_distribution_field; below:
				  index in series[] */
	DN_PLACE_OLDER, /* a field of the older tool that is known by name; index of its row */
	DN_PLACE_QUALITIES, /* the object "metrics" of header and summary */
	DN_PLACE_QUALITY, /* one metric in it; index in series[] */
	DN_PLACE_QUALITY_FIELD, /* bits 16..23: enum dn_quality_field; below: index in series[] */
};

enum dn_quality_field {
	DN_QUALITY_FIELD_SOURCE,
	DN_QUALITY_FIELD_QUALITY,
	DN_QUALITY_FIELD_REASON,
	DN_QUALITY_FIELD_HINT,
	DN_QUALITY_FIELD_KIND,
	DN_QUALITY_FIELD_UNIT,
};

static inline enum dn_place dn_place_of(uint32_t tag)
{
	return tag >> 24;
}

/* A dn_scan_classify; user is a struct dn_stats. */
unsigned dn_place_classify(
	void *user, uint32_t parent_tag, const char *key, size_t len, uint32_t *ret_tag);
/* The series of a DN_PLACE_PATH or DN_PLACE_OLDER tag, or NULL; *ret_factor multiplies its
 * integers. */
struct dn_series *dn_place_series(struct dn_stats *stats, uint32_t tag, uint64_t *ret_factor);
/* Takes a DN_PLACE_DISTRIBUTION; false for a value that such a place can't have. */
bool dn_place_set_distribution(struct dn_stats *stats, const struct dn_scan_value *value);
/* Takes what header or summary say of a metric. */
void dn_place_set_quality(
	struct dn_series *series, enum dn_quality_field which, const struct dn_scan_value *value);

#endif

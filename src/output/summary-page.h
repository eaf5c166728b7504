/* SPDX-License-Identifier: Apache-2.0 */
/* The page that the summary is made on, and values of metrics on it. */
#ifndef DENET_SUMMARY_PAGE_H
#define DENET_SUMMARY_PAGE_H

#include <denet/sink.h>

#include "grid.h"

struct dn_page {
	struct dn_grid grid;
	const struct dn_run *run;
	const struct dn_summary *summary;
	/* marks that were used, for the legend */
	bool approximate, at_least;
};

/* NULL and 0 for a metric that has no number. */
const struct dn_value *dn_page_value(const struct dn_page *page, unsigned id);
uint64_t dn_page_u64(const struct dn_page *page, unsigned id);
/* "~" and the like for what is not exact, remembered for the legend. */
const char *dn_page_mark(struct dn_page *page, unsigned id);
const char *dn_page_human(enum dn_metric_unit unit, uint64_t value, char *out, size_t size);
/* Nothing for a metric that has no value: it is not 0. */
void dn_page_cell(struct dn_page *page, unsigned id, const char *label);
/* For what is worth a place only when it happened. */
void dn_page_cell_if_any(struct dn_page *page, unsigned id, const char *label);

/*
 * What was traced: system calls, what threads were blocked in, latencies, the busiest files and so
 * on; in so many lines. When groups are on that are not part of every run, it takes what it needs
 * and returns true.
 */
bool dn_summary_traced(struct dn_page *page, unsigned room);
/* Adds the metrics that it shows. */
void dn_summary_traced_metrics(struct dn_metric_set *set);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "sinks.h"
#include "summary-page.h"

const struct dn_value *dn_page_value(const struct dn_page *page, unsigned id)
{
	const struct dn_value *value = &page->summary->frame.value[id];

	return value->type == DN_VALUE_U64 ? value : NULL;
}

uint64_t dn_page_u64(const struct dn_page *page, unsigned id)
{
	const struct dn_value *value = dn_page_value(page, id);

	return value ? value->u64 : 0;
}

const char *dn_page_mark(struct dn_page *page, unsigned id)
{
	switch (page->run->metric[id].quality) {
	case DN_QUALITY_SCALED:
	case DN_QUALITY_SAMPLED:
	case DN_QUALITY_SIMULATED:
		page->approximate = true;
		return "~";
	case DN_QUALITY_LOWER_BOUND:
		page->at_least = true;
		return ">=";
	default:
		return "";
	}
}

const char *dn_page_human(enum dn_metric_unit unit, uint64_t value, char *out, size_t size)
{
	switch (unit) {
	case DN_UNIT_NS:
		return dn_human_duration(value, out, size);
	case DN_UNIT_BYTES:
		return dn_human_bytes(value, out, size);
	default:
		return dn_human_count(value, out, size);
	}
}

void dn_page_cell(struct dn_page *page, unsigned id, const char *label)
{
	const struct dn_value *value = dn_page_value(page, id);
	char number[32], text[40];

	if (!value)
		return;
	snprintf(text, sizeof(text), "%s%s", dn_page_mark(page, id),
		dn_page_human(dn_metric_info(id)->unit, value->u64, number, sizeof(number)));
	dn_grid_cell(&page->grid, NULL, text, label);
}

void dn_page_cell_if_any(struct dn_page *page, unsigned id, const char *label)
{
	if (dn_page_u64(page, id))
		dn_page_cell(page, id, label);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What the summary says of the metrics that this run could not have. */
#include <stdio.h>
#include <string.h>

#include <denet/log.h>

#include "summary-missing.h"

static bool is_missing(const struct dn_run *run, unsigned id)
{
	return run->metric[id].wanted && run->metric[id].quality == DN_QUALITY_MISSING;
}

static size_t category_len(unsigned id)
{
	return strcspn(dn_metric_info(id)->name, ".");
}

static bool same_category(unsigned a, unsigned b)
{
	size_t len = category_len(a);

	return len == category_len(b) &&
	       memcmp(dn_metric_info(a)->name, dn_metric_info(b)->name, len) == 0;
}

/* Appends "hw.*", "3 of network.*" or a single name for the category of id, unless an earlier one
 * did. */
static size_t add_category(const struct dn_run *run, unsigned id, char *out, size_t size)
{
	unsigned n = 0, wanted = 0, count = dn_metric_count();
	int len = (int)category_len(id), written;

	for (unsigned other = 0; other < count; other++) {
		if (!same_category(id, other) || !run->metric[other].wanted)
			continue;
		wanted++;
		if (!is_missing(run, other))
			continue;
		if (n++ == 0 && other != id)
			return 0;
	}
	if (n == 1)
		written = snprintf(out, size, "%s", dn_metric_info(id)->name);
	else if (n == wanted)
		written = snprintf(out, size, "%.*s.*", len, dn_metric_info(id)->name);
	else
		written = snprintf(out, size, "%u of %.*s.*", n, len, dn_metric_info(id)->name);
	return written > 0 && (size_t)written < size ? (size_t)written : 0;
}

/* The hint that unlocks most. */
static const char *best_hint(const struct dn_run *run, unsigned *ret_n)
{
	const char *best = NULL;

	*ret_n = 0;
	for (unsigned id = 0; id < dn_metric_count(); id++) {
		const char *hint = run->metric[id].hint;
		unsigned n = 0;

		if (!is_missing(run, id) || !hint)
			continue;
		for (unsigned other = id; other < dn_metric_count(); other++) {
			const char *same = run->metric[other].hint;

			if (is_missing(run, other) && same && strcmp(same, hint) == 0)
				n++;
		}
		if (n > *ret_n) {
			*ret_n = n;
			best = hint;
		}
	}
	return best;
}

void dn_summary_missing(const struct dn_run *run, struct dn_grid *grid)
{
	static const char more[] = "; denet doctor tells more";
	char list[512], safe[512], text[768];
	size_t len = 0, used, lead;
	unsigned n = 0, unlocked;
	const char *hint;

	list[0] = '\0';
	for (unsigned id = 0; id < dn_metric_count(); id++) {
		if (!is_missing(run, id))
			continue;
		n++;
		if (len + 3 >= sizeof(list))
			continue;
		used = add_category(run, id, list + len + (len ? 2 : 0), sizeof(list) - len - 2);
		if (used && len)
			memcpy(list + len, ", ", 2);
		len += used ? used + (len ? 2 : 0) : 0;
		list[len] = '\0';
	}
	if (n == 0)
		return;
	lead = (size_t)snprintf(text, sizeof(text), "%u metric%s: ", n, n == 1 ? "" : "s");
	dn_text_safe(list, len,
		grid->columns > DN_GRID_INDENT + lead + sizeof(more) + 8
			? grid->columns - DN_GRID_INDENT - lead - sizeof(more) + 1
			: 8,
		safe, sizeof(safe));
	snprintf(text, sizeof(text), "%u metric%s: %s%s", n, n == 1 ? "" : "s", safe, more);
	dn_grid_text(grid, "missing", NULL, text);
	hint = best_hint(run, &unlocked);
	if (!hint)
		return;
	snprintf(text, sizeof(text), "for %u of them: %s", unlocked, hint);
	/* A hint is there to be copied: it is not cut where a second line would hold it. */
	dn_grid_two_lines(grid, DN_GRID_YELLOW, n == 1 ? hint : text);
}

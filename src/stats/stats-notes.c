/* SPDX-License-Identifier: Apache-2.0 */
/* What is to be said beside the numbers: holes, damage, and what a number is not. */
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#include "stats-report.h"

static void __attribute__((format(printf, 2, 3)))
add(struct dn_stats_notes *notes, const char *format, ...)
{
	va_list args;

	if (notes->n == DN_STATS_NOTES_MAX)
		return;
	va_start(args, format);
	vsnprintf(notes->text[notes->n++], sizeof(notes->text[0]), format, args);
	va_end(args);
}

const char *dn_stats_quality(const struct dn_series *series)
{
	if (!series->declared || series->quality >= DN_QUALITY_N)
		return "unknown";
	return dn_quality_name(series->quality);
}

bool dn_stats_is_missing(const struct dn_stats *stats, const struct dn_series *series)
{
	if (stats->run.format == DN_STATS_OLDER)
		return series->n && series->shape == DN_SERIES_DELTA &&
		       dn_series_is_zero(series->total) && strncmp(series->name, "hw.", 3) == 0;
	return series->n == 0 && series->declared && series->quality == DN_QUALITY_MISSING;
}

bool dn_stats_is_shown(const struct dn_stats *stats, const struct dn_series *series)
{
	return series->n && !dn_stats_is_missing(stats, series);
}

static void note_older(const struct dn_stats *stats, struct dn_stats_notes *notes)
{
	bool host = false, live = false, zero = false;

	for (unsigned i = 0; i < stats->n_series; i++) {
		const struct dn_series *series = &stats->series[i];

		host |= series->n && series->shape == DN_SERIES_SPAN;
		live |= series->n && series->shape == DN_SERIES_LIVE_SUM &&
			!dn_series_is_zero(series->total);
		zero |= dn_stats_is_missing(stats, series);
	}
	if (host)
		add(notes, "system.network.* is the whole host's traffic between the first and the "
			   "last sample, not the "
			   "command's");
	if (live)
		add(notes, "cumulative counters are sums over live processes: what ended takes its "
			   "share with it, so totals "
			   "are the largest sum that was seen");
	if (zero)
		add(notes, "hardware counters that are 0 in every record count as missing: the "
			   "tool writes 0 for what it "
			   "could not open");
}

static void note_metrics(const struct dn_stats *stats, struct dn_stats_notes *notes)
{
	uint64_t fell = 0, empty = 0;
	const char *first_fell = NULL;

	for (unsigned i = 0; i < stats->n_series; i++) {
		const struct dn_series *series = &stats->series[i];

		if (series->fell && !first_fell)
			first_fell = series->name;
		fell += series->fell;
		empty += series->declared && series->n == 0 && series->shape != DN_SERIES_TABLE &&
			 !dn_stats_is_missing(stats, series);
	}
	if (fell)
		add(notes,
			"counters fell %" PRIu64
			" times (first %s): the stream is damaged or mixed, totals are the "
			"largest values",
			fell, first_fell);
	if (empty)
		add(notes, "metrics that were declared but never had a value: %" PRIu64, empty);
	if (stats->too_many)
		add(notes,
			"the stream has more metrics than the %d that are kept, or names longer "
			"than 127 bytes; the rest "
			"is left out",
			DN_STATS_SERIES_MAX);
	if (stats->odd)
		add(notes,
			"values that are no number, negative or too large are left out: %" PRIu64,
			stats->odd);
}

static void note_run(const struct dn_stats *stats, struct dn_stats_notes *notes)
{
	const struct dn_stats_run *run = &stats->run;

	if (stats->runs > 1)
		add(notes, "%" PRIu64 " runs are in this stream; this is the last one",
			stats->runs);
	if (!run->has_header && run->format == DN_STATS_OURS)
		add(notes, "no header: the beginning of the stream is missing, and with it the "
			   "qualities of its metrics");
	if (!run->has_summary && run->format == DN_STATS_OURS)
		add(notes, "no summary: denet was killed or is still running; the last sample "
			   "stands for the end");
	if (run->gaps)
		add(notes,
			"%" PRIu64 " samples are missing in %" PRIu64
			" gaps of seq, the first before line %" PRIu64,
			run->gap_missing, run->gaps, run->gap_line);
	if (run->disorder)
		add(notes, "%" PRIu64 " samples go back in seq or time; they have no rates",
			run->disorder);
	if (run->lost_events.known && run->lost_events.value)
		add(notes, "%" PRIu64 " events were lost while measuring", run->lost_events.value);
	if (run->lost_samples.known && run->lost_samples.value)
		add(notes, "%" PRIu64 " samples were not taken in time while measuring",
			run->lost_samples.value);
	if (run->left.known && run->left.value)
		add(notes, "%" PRIu64 " processes of the tree lived on after the end of measuring",
			run->left.value);
}

void dn_stats_notes_make(const struct dn_stats *stats, struct dn_stats_notes *ret)
{
	ret->n = 0;
	if (stats->torn)
		add(ret,
			"the last line, line %" PRIu64 " at byte %" PRIu64
			", is cut off and ignored (%" PRIu64 " bytes)",
			stats->torn_line, stats->torn_offset, stats->torn_bytes);
	if (stats->bad)
		add(ret,
			"%" PRIu64 " damaged lines were skipped, the first is line %" PRIu64
			" at byte %" PRIu64,
			stats->bad, stats->bad_line, stats->bad_offset);
	note_run(stats, ret);
	note_metrics(stats, ret);
	if (stats->run.format == DN_STATS_OLDER)
		note_older(stats, ret);
	if (stats->unknown)
		add(ret, "records of unknown kinds are left out: %" PRIu64, stats->unknown);
}

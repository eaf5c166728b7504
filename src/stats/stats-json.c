/* SPDX-License-Identifier: Apache-2.0 */
/* `denet stats --json`: one object; docs/stats.md describes it. */
#include <errno.h>
#include <string.h>

#include "json-writer.h"
#include "stats-report.h"

static void put_text(struct dn_json *json, const char *key, const char *text)
{
	dn_json_put_string(json, key, text[0] ? text : NULL);
}

static void put_count(struct dn_json *json, const char *key, struct dn_stats_count count)
{
	dn_json_key(json, key);
	if (count.known)
		dn_json_u64(json, count.value);
	else
		dn_json_null(json);
}

static void put_value(struct dn_json *json, const char *key, struct dn_series_value value)
{
	if (value.real)
		dn_json_put_f64(json, key, value.f64);
	else
		dn_json_put_u64(json, key, value.u64);
}

static void put_command(struct dn_json *json, const struct dn_stats_run *run)
{
	dn_json_key(json, "command");
	if (run->command_len == 0) {
		dn_json_null(json);
		return;
	}
	dn_json_array(json);
	for (size_t i = 0; i < run->command_len; i += strlen(run->command + i) + 1)
		dn_json_string(json, run->command + i);
	dn_json_array_end(json);
	if (run->command_cut)
		dn_json_put_bool(json, "command_cut", true);
}

static void put_host(struct dn_json *json, const struct dn_stats_run *run)
{
	dn_json_key(json, "host");
	dn_json_object(json);
	put_text(json, "hostname", run->hostname);
	put_text(json, "kernel", run->kernel);
	put_text(json, "arch", run->arch);
	put_text(json, "cpu_model", run->cpu_model);
	put_count(json, "cpus_online", run->cpus);
	dn_json_object_end(json);
}

static void put_exit(struct dn_json *json, const struct dn_stats_run *run)
{
	dn_json_key(json, "exit");
	if (!run->exit_code.known && !run->exit_signal.known) {
		dn_json_null(json);
		return;
	}
	dn_json_object(json);
	put_count(json, "code", run->exit_code);
	put_count(json, "signal", run->exit_signal);
	if (run->exit_signal_name[0])
		dn_json_put_string(json, "signal_name", run->exit_signal_name);
	dn_json_put_bool(json, "core_dumped", run->core_dumped);
	dn_json_object_end(json);
}

static void put_run(struct dn_json *json, const struct dn_stats_run *run)
{
	dn_json_put_string(json, "format", run->format == DN_STATS_OLDER ? "denet-rs" : "denet");
	dn_json_key(json, "schema");
	if (run->format == DN_STATS_OURS && run->has_header)
		dn_json_u64(json, run->schema);
	else
		dn_json_null(json);
	put_text(json, "denet", run->version);
	put_text(json, "time", run->time);
	put_text(json, "mode", run->mode);
	put_text(json, "tier", run->tier);
	put_command(json, run);
	put_count(json, "pid", run->pid);
	put_host(json, run);
	dn_json_put_u64(json, "wall_ns", run->wall_ns);
	dn_json_put_u64(json, "samples", run->samples);
	dn_json_put_bool(json, "complete", run->has_summary);
	put_text(json, "ended_by", run->ended_by);
	put_exit(json, run);
	dn_json_key(json, "events");
	dn_json_object(json);
	for (unsigned i = 0; i < run->n_events; i++)
		dn_json_put_u64(json, run->event[i].name, run->event[i].count);
	dn_json_object_end(json);
	if (run->events_other)
		dn_json_put_u64(json, "events_other", run->events_other);
	dn_json_key(json, "self");
	dn_json_object(json);
	put_count(json, "cpu_ns", run->self_cpu_ns);
	put_count(json, "max_rss_bytes", run->self_rss_bytes);
	dn_json_object_end(json);
}

static void put_input(struct dn_json *json, const struct dn_stats *stats)
{
	dn_json_key(json, "input");
	dn_json_object(json);
	dn_json_put_u64(json, "bytes", stats->bytes);
	dn_json_put_u64(json, "lines", stats->lines);
	dn_json_put_u64(json, "runs", stats->runs);
	dn_json_put_u64(json, "bad_lines", stats->bad);
	dn_json_key(json, "torn_tail");
	if (stats->torn) {
		dn_json_object(json);
		dn_json_put_u64(json, "line", stats->torn_line);
		dn_json_put_u64(json, "offset", stats->torn_offset);
		dn_json_put_u64(json, "bytes", stats->torn_bytes);
		dn_json_object_end(json);
	} else {
		dn_json_null(json);
	}
	dn_json_put_u64(json, "seq_gaps", stats->run.gaps);
	dn_json_put_u64(json, "seq_missing", stats->run.gap_missing);
	dn_json_put_u64(json, "unknown_records", stats->unknown);
	dn_json_put_u64(json, "unusable_values", stats->odd);
	dn_json_object_end(json);
}

static void put_spread(struct dn_json *json, const struct dn_series *series)
{
	dn_json_put_f64(json, "p50", dn_series_quantile(series, 0.50));
	dn_json_put_f64(json, "p95", dn_series_quantile(series, 0.95));
	dn_json_put_f64(json, "p99", dn_series_quantile(series, 0.99));
}

static void put_distribution(struct dn_json *json, const struct dn_series *series)
{
	for (unsigned i = 0; i < DN_DISTRIBUTION_N; i++)
		put_count(json, dn_distribution_field_name(i),
			(struct dn_stats_count){.known = series->distribution_known >> i & 1,
				.value = series->distribution[i]});
}

static void put_series(struct dn_json *json, const struct dn_series *series)
{
	bool gauge = series->shape == DN_SERIES_GAUGE,
	     histogram = series->shape == DN_SERIES_HISTOGRAM;

	dn_json_key(json, series->name);
	dn_json_object(json);
	dn_json_put_string(json, "kind", histogram ? "histogram" : gauge ? "gauge" : "counter");
	dn_json_put_string(json, "unit", series->has_unit ? dn_unit_name(series->unit) : NULL);
	dn_json_put_string(json, "scope", dn_scope_key(series->scope));
	put_text(json, "source", series->source);
	dn_json_put_string(json, "quality", dn_stats_quality(series));
	if (series->reason[0])
		dn_json_put_string(json, "reason", series->reason);
	dn_json_put_u64(json, "values", series->n);
	if (histogram) {
		put_distribution(json, series);
	} else if (gauge) {
		put_value(json, "last", series->last);
		put_value(json, "min", series->min);
		put_value(json, "peak", series->max);
		if (series->hist.total) {
			dn_json_put_f64(json, "mean", dn_hist_mean(&series->hist));
			put_spread(json, series);
		}
	} else {
		put_value(json, "total", series->total);
		/* No interval, no rate. */
		if (series->hist.total) {
			dn_json_key(json, "rate");
			dn_json_object(json);
			dn_json_put_f64(json, "mean", dn_series_mean(series));
			dn_json_put_f64(json, "peak", series->hist.max);
			put_spread(json, series);
			dn_json_object_end(json);
		}
	}
	dn_json_object_end(json);
}

static void put_missing(struct dn_json *json, const struct dn_series *series)
{
	dn_json_key(json, series->name);
	dn_json_object(json);
	put_text(json, "reason", series->reason);
	put_text(json, "hint", series->hint);
	dn_json_object_end(json);
}

int dn_stats_print_json(const struct dn_stats *stats, const char *file, FILE *out)
{
	struct dn_stats_notes notes;
	struct dn_json json;
	int r;

	dn_json_init(&json);
	dn_json_object(&json);
	dn_json_put_string(&json, "file", file);
	put_run(&json, &stats->run);
	put_input(&json, stats);
	dn_json_key(&json, "metrics");
	dn_json_object(&json);
	for (unsigned i = 0; i < stats->n_series; i++) {
		if (dn_stats_is_shown(stats, &stats->series[i]))
			put_series(&json, &stats->series[i]);
	}
	dn_json_object_end(&json);
	dn_json_key(&json, "missing");
	dn_json_object(&json);
	for (unsigned i = 0; i < stats->n_series; i++) {
		if (dn_stats_is_missing(stats, &stats->series[i]))
			put_missing(&json, &stats->series[i]);
	}
	dn_json_object_end(&json);
	dn_stats_notes_make(stats, &notes);
	dn_json_key(&json, "notes");
	dn_json_array(&json);
	for (unsigned i = 0; i < notes.n; i++)
		dn_json_string(&json, notes.text[i]);
	dn_json_array_end(&json);
	dn_json_object_end(&json);
	dn_json_newline(&json);
	r = dn_json_error(&json);
	if (r == 0 && fwrite(json.data, 1, json.len, out) != json.len)
		r = -EIO;
	dn_json_finish(&json);
	return r;
}

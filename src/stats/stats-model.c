/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes to lines to records to runs: which kind a line is, what of it counts, what is wrong with
 * it. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <denet/fs.h>
#include <denet/sink.h>

#include "stats-model.h"
#include "stats-places.h"

/* Fields by their number, and the values of metrics. */
struct dn_stats_record {
	const struct dn_scan_value *field[DN_STATS_FIELDS];
	const struct dn_scan_value *metric[DN_SCAN_SLOTS_MAX];
	unsigned n_metrics, n_older;
	const struct dn_scan_value *quality[DN_SCAN_SLOTS_MAX];
	unsigned n_qualities;
};

/* Small parts */

static void copy_count(const struct dn_scan_value *value, struct dn_stats_count *ret)
{
	if (value && value->type == DN_SCAN_U64)
		*ret = (struct dn_stats_count){.known = true, .value = value->u64};
}

static bool get_u64(const struct dn_scan_value *value, uint64_t *ret)
{
	if (!value || value->type != DN_SCAN_U64)
		return false;
	*ret = value->u64;
	return true;
}

static uint64_t times(uint64_t value, uint64_t factor)
{
	uint64_t r;

	return __builtin_mul_overflow(value, factor, &r) ? UINT64_MAX : r;
}

int dn_stats_series(struct dn_stats *stats, const char *name)
{
	struct dn_series *series;

	for (unsigned i = 0; i < stats->n_series; i++) {
		if (strcmp(stats->series[i].name, name) == 0)
			return (int)i;
	}
	if (stats->n_series == DN_STATS_SERIES_MAX || strlen(name) >= sizeof(series->name)) {
		stats->too_many = true;
		return -1;
	}
	series = &stats->series[stats->n_series];
	memcpy(series->name, name, strlen(name) + 1);
	return (int)stats->n_series++;
}

/*
 * A header or what the older tool has for one begins a run, unless the run in work has had nothing
 * but its beginning (the older tool writes env, then metadata).
 */
static void begin_run(struct dn_stats *stats, bool always)
{
	if (stats->runs && !always && !stats->run.samples && !stats->run.has_summary)
		return;
	if (stats->runs) {
		memset(&stats->run, 0, sizeof(stats->run));
		for (unsigned i = 0; i < stats->n_series; i++)
			dn_series_reset(&stats->series[i]);
	}
	stats->runs++;
}

/* Records without a header before them are a run too. */
static void need_run(struct dn_stats *stats)
{
	if (!stats->runs)
		stats->runs = 1;
}

static void store_command(struct dn_stats_run *run, const struct dn_scan_value *value)
{
	const char *raw;
	size_t pos = 0, len;

	if (!value || value->type != DN_SCAN_ARRAY)
		return;
	run->command_len = 0;
	run->command_cut = false;
	while (dn_scan_next_string(value->text, value->len, &pos, &raw, &len)) {
		size_t room = sizeof(run->command) - run->command_len;

		/* Decoding never makes a string longer than its raw form. */
		if (len > room)
			run->command_cut = true;
		if (room < 8)
			return;
		run->command_len +=
			dn_scan_decode(raw, len, run->command + run->command_len, room) + 1;
	}
}

/* Metrics */

/* Puts a value into its series; false for one that such a place can't have. */
static bool add_value(struct dn_stats *stats, const struct dn_scan_value *value, uint64_t t_ns,
	uint64_t weight_ns, bool final)
{
	struct dn_series_value v;
	struct dn_series *series;
	uint64_t factor;

	if (value->type == DN_SCAN_NULL)
		return true;
	series = dn_place_series(stats, value->tag, &factor);
	if (!series)
		return true;
	if (value->type == DN_SCAN_U64)
		v = dn_series_u64(times(value->u64, factor));
	else if (value->type == DN_SCAN_F64 && value->f64 >= 0)
		v = dn_series_f64(value->f64 * (double)factor);
	else
		return false;
	if (final)
		dn_series_final(series, v, t_ns);
	else
		dn_series_add(series, v, t_ns, weight_ns);
	return true;
}

static void add_values(struct dn_stats *stats, const struct dn_stats_record *record,
	enum dn_place place, uint64_t t_ns, bool final)
{
	uint64_t weight_ns = dn_sub_sat(t_ns, stats->run.t_ns);

	for (unsigned i = 0; i < record->n_metrics; i++) {
		const struct dn_scan_value *value = record->metric[i];

		/* A record has the fields of one tool; foreign ones of the same name are not its
		 * metrics. */
		if (place == DN_PLACE_PATH && dn_place_of(value->tag) == DN_PLACE_OLDER)
			continue;
		if (dn_place_of(value->tag) == DN_PLACE_DISTRIBUTION) {
			stats->odd += !dn_place_set_distribution(stats, value);
			continue;
		}
		if (!add_value(stats, value, t_ns, weight_ns, final))
			stats->odd++;
	}
	if (t_ns > stats->run.t_ns)
		stats->run.t_ns = t_ns;
}

static void set_qualities(struct dn_stats *stats, const struct dn_stats_record *record)
{
	for (unsigned i = 0; i < record->n_qualities; i++) {
		uint32_t tag = record->quality[i]->tag;

		dn_place_set_quality(
			&stats->series[tag & 0xffff], tag >> 16 & 0xff, record->quality[i]);
	}
}

/* Records. Each returns NULL, or what is wrong. */

static const char *take_header(struct dn_stats *stats, const struct dn_stats_record *record)
{
	const struct dn_scan_value *const *field = record->field;
	struct dn_stats_run *run = &stats->run;

	if (!field[DN_STATS_SCHEMA] || field[DN_STATS_SCHEMA]->type != DN_SCAN_U64)
		return "a header without a schema number";
	begin_run(stats, run->has_header);
	run->format = DN_STATS_OURS;
	run->has_header = true;
	run->schema = field[DN_STATS_SCHEMA]->u64;
	dn_scan_copy(field[DN_STATS_VERSION], run->version, sizeof(run->version));
	dn_scan_copy(field[DN_STATS_TIME], run->time, sizeof(run->time));
	dn_scan_copy(field[DN_STATS_MODE], run->mode, sizeof(run->mode));
	dn_scan_copy(field[DN_STATS_TIER], run->tier, sizeof(run->tier));
	dn_scan_copy(field[DN_STATS_HOSTNAME], run->hostname, sizeof(run->hostname));
	dn_scan_copy(field[DN_STATS_HOST_KERNEL], run->kernel, sizeof(run->kernel));
	dn_scan_copy(field[DN_STATS_ARCH], run->arch, sizeof(run->arch));
	dn_scan_copy(field[DN_STATS_CPU_MODEL], run->cpu_model, sizeof(run->cpu_model));
	copy_count(field[DN_STATS_CPUS], &run->cpus);
	copy_count(field[DN_STATS_PID], &run->pid);
	store_command(run, field[DN_STATS_COMMAND]);
	set_qualities(stats, record);
	return NULL;
}

/* False when seq goes back. */
static bool check_seq(struct dn_stats *stats, uint64_t seq)
{
	struct dn_stats_run *run = &stats->run;
	uint64_t expected = run->has_seq ? dn_add_sat(run->last_seq, 1) : 1;

	/* Without a header the beginning is missing anyway, and that is said. */
	if (!run->has_seq && !run->has_header)
		expected = seq;
	if (seq > expected) {
		if (run->gaps++ == 0)
			run->gap_line = stats->input.number;
		run->gap_missing = dn_add_sat(run->gap_missing, seq - expected);
	}
	run->has_seq = true;
	run->last_seq = seq;
	return seq >= expected;
}

static const char *take_sample(struct dn_stats *stats, const struct dn_stats_record *record)
{
	struct dn_stats_run *run = &stats->run;
	uint64_t t_ns, seq;
	bool back;

	if (!get_u64(record->field[DN_STATS_T], &t_ns))
		return "a sample without t_ns";
	need_run(stats);
	run->format = DN_STATS_OURS;
	back = run->samples && t_ns <= run->t_ns;
	if (get_u64(record->field[DN_STATS_SEQ], &seq) && !check_seq(stats, seq))
		back = true;
	run->disorder += back;
	run->samples++;
	add_values(stats, record, DN_PLACE_PATH, t_ns, false);
	run->wall_ns = run->t_ns;
	return NULL;
}

static const char *take_summary(struct dn_stats *stats, const struct dn_stats_record *record)
{
	const struct dn_scan_value *const *field = record->field;
	struct dn_stats_run *run = &stats->run;
	uint64_t t_ns, seq;

	if (!get_u64(field[DN_STATS_T], &t_ns))
		return "a summary without t_ns";
	need_run(stats);
	run->format = DN_STATS_OURS;
	/* Its seq is that of the last frame; one more than the last sample's is the frame of the
	 * summary itself. */
	if (get_u64(field[DN_STATS_SEQ], &seq) && run->has_seq &&
		seq > dn_add_sat(run->last_seq, 1))
		check_seq(stats, seq);
	add_values(stats, record, DN_PLACE_PATH, t_ns, true);
	run->wall_ns = run->t_ns;
	get_u64(field[DN_STATS_WALL], &run->wall_ns);
	run->has_summary = true;
	dn_scan_copy(field[DN_STATS_ENDED_BY], run->ended_by, sizeof(run->ended_by));
	copy_count(field[DN_STATS_EXIT_CODE], &run->exit_code);
	copy_count(field[DN_STATS_EXIT_SIGNAL], &run->exit_signal);
	dn_scan_copy(field[DN_STATS_EXIT_SIGNAL_NAME], run->exit_signal_name,
		sizeof(run->exit_signal_name));
	if (field[DN_STATS_EXIT_CORE] && field[DN_STATS_EXIT_CORE]->type == DN_SCAN_BOOL)
		run->core_dumped = field[DN_STATS_EXIT_CORE]->boolean;
	copy_count(field[DN_STATS_LEFT], &run->left);
	copy_count(field[DN_STATS_LOST_EVENTS], &run->lost_events);
	copy_count(field[DN_STATS_LOST_SAMPLES], &run->lost_samples);
	copy_count(field[DN_STATS_SELF_CPU], &run->self_cpu_ns);
	copy_count(field[DN_STATS_SELF_RSS], &run->self_rss_bytes);
	set_qualities(stats, record);
	return NULL;
}

static const char *take_event(struct dn_stats *stats, const struct dn_stats_record *record)
{
	struct dn_stats_run *run = &stats->run;
	char name[sizeof(run->event[0].name)] = "";
	unsigned i;

	need_run(stats);
	dn_scan_copy(record->field[DN_STATS_EVENT], name, sizeof(name));
	for (i = 0; i < run->n_events && strcmp(run->event[i].name, name); i++)
		;
	if (i == DN_STATS_EVENTS_MAX) {
		run->events_other++;
		return NULL;
	}
	if (i == run->n_events)
		memcpy(run->event[run->n_events++].name, name, sizeof(name));
	run->event[i].count++;
	return NULL;
}

/* env and metadata of the older tool */
static const char *take_older_start(struct dn_stats *stats, const struct dn_stats_record *record)
{
	const struct dn_scan_value *const *field = record->field;
	struct dn_stats_run *run = &stats->run;

	begin_run(stats, false);
	run->format = DN_STATS_OLDER;
	run->has_header = true;
	dn_scan_copy(field[DN_STATS_HOST], run->hostname, sizeof(run->hostname));
	dn_scan_copy(field[DN_STATS_KERNEL], run->kernel, sizeof(run->kernel));
	copy_count(field[DN_STATS_PID], &run->pid);
	store_command(run, field[DN_STATS_COMMAND]);
	return NULL;
}

static const char *take_older_sample(struct dn_stats *stats, const struct dn_stats_record *record)
{
	struct dn_stats_run *run = &stats->run;
	uint64_t ms, t_ns;

	if (!get_u64(record->field[DN_STATS_TS_MS], &ms) &&
		!get_u64(record->field[DN_STATS_AGGREGATED_TS_MS], &ms))
		return "a sample without ts_ms";
	need_run(stats);
	run->format = DN_STATS_OLDER;
	if (!run->has_first_ms) {
		run->first_ms = ms;
		run->has_first_ms = true;
	}
	/* The clock is the wall's, so it may step back. */
	t_ns = times(dn_sub_sat(ms, run->first_ms), 1000000);
	if (run->samples && t_ns <= run->t_ns)
		run->disorder++;
	run->samples++;
	add_values(stats, record, DN_PLACE_OLDER, t_ns, false);
	run->wall_ns = run->t_ns;
	return NULL;
}

static const char *take_older_summary(struct dn_stats *stats, const struct dn_stats_record *record)
{
	const struct dn_scan_value *time = record->field[DN_STATS_TOTAL_TIME];
	struct dn_stats_run *run = &stats->run;

	need_run(stats);
	run->format = DN_STATS_OLDER;
	run->has_summary = true;
	/* With samples before it, it says nothing that they don't. */
	if (run->samples)
		return NULL;
	add_values(stats, record, DN_PLACE_OLDER, 0, false);
	if (time && time->type == DN_SCAN_U64)
		run->wall_ns = times(time->u64, 1000000000);
	else if (time && time->type == DN_SCAN_F64 && time->f64 >= 0 && time->f64 < 1e10)
		run->wall_ns = (uint64_t)(time->f64 * 1e9);
	return NULL;
}

static const char *take_older_exit(struct dn_stats *stats, const struct dn_stats_record *record)
{
	struct dn_stats_run *run = &stats->run;
	uint64_t ms;

	run->has_summary = true;
	if (run->has_first_ms && get_u64(record->field[DN_STATS_TS_MS], &ms)) {
		uint64_t end_ns = times(dn_sub_sat(ms, run->first_ms), 1000000);

		if (end_ns > run->wall_ns)
			run->wall_ns = end_ns;
	}
	return NULL;
}

/* Lines of the older tool's first versions say nothing of their kind. */
static const char *take_untagged(struct dn_stats *stats, const struct dn_stats_record *record)
{
	if (record->field[DN_STATS_TOTAL_TIME])
		return take_older_summary(stats, record);
	if (record->n_older)
		return take_older_sample(stats, record);
	if (record->field[DN_STATS_COMMAND] && record->field[DN_STATS_T0_MS])
		return take_older_start(stats, record);
	stats->unknown++;
	return NULL;
}

static const char *take_record(struct dn_stats *stats, const struct dn_stats_record *record)
{
	const struct dn_scan_value *kind = record->field[DN_STATS_KIND];
	bool older = !record->field[DN_STATS_T] && record->field[DN_STATS_TS_MS];

	if (!kind)
		return take_untagged(stats, record);
	if (dn_scan_is(kind, "sample"))
		return older ? take_older_sample(stats, record) : take_sample(stats, record);
	if (dn_scan_is(kind, "event"))
		return take_event(stats, record);
	if (dn_scan_is(kind, "tree") || dn_scan_is(kind, "aggregated"))
		return take_older_sample(stats, record);
	if (dn_scan_is(kind, "header"))
		return take_header(stats, record);
	if (dn_scan_is(kind, "summary"))
		return take_summary(stats, record);
	if (dn_scan_is(kind, "metadata") || dn_scan_is(kind, "env"))
		return take_older_start(stats, record);
	if (dn_scan_is(kind, "stats"))
		return take_older_summary(stats, record);
	if (dn_scan_is(kind, "exit"))
		return take_older_exit(stats, record);
	/* A child's command line: nothing that is summed up here. */
	if (!dn_scan_is(kind, "child"))
		stats->unknown++;
	return NULL;
}

static void sort_values(const struct dn_scan *scan, struct dn_stats_record *ret)
{
	memset(ret->field, 0, sizeof(ret->field));
	ret->n_metrics = ret->n_older = ret->n_qualities = 0;
	for (size_t i = 0, n = dn_scan_count(scan); i < n; i++) {
		const struct dn_scan_value *value = dn_scan_value(scan, i);

		switch (dn_place_of(value->tag)) {
		case DN_PLACE_OLDER:
			ret->n_older++;
			ret->metric[ret->n_metrics++] = value;
			break;
		case DN_PLACE_PATH:
		case DN_PLACE_DISTRIBUTION:
			ret->metric[ret->n_metrics++] = value;
			break;
		case DN_PLACE_FIELD:
			ret->field[value->tag & 0xffffff] = value;
			break;
		case DN_PLACE_QUALITY_FIELD:
			ret->quality[ret->n_qualities++] = value;
			break;
		default:
			break;
		}
	}
}

/* Lines */

static bool is_blank(const char *line, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (line[i] != ' ' && line[i] != '\t' && line[i] != '\r')
			return false;
	}
	return true;
}

static int bad_line(struct dn_stats *stats, const char *reason, size_t at, struct dn_why *why)
{
	if (stats->bad++ == 0) {
		stats->bad_line = stats->input.number;
		stats->bad_offset = stats->input.offset;
	}
	if (stats->lenient)
		return 0;
	dn_why_set(why, "line %" PRIu64 ", which begins at byte %" PRIu64 ": %s, at column %zu",
		stats->input.number, stats->input.offset, reason, at + 1);
	dn_why_hint(why, "--lenient counts such lines and skips them");
	return -EBADMSG;
}

static int take_line(struct dn_stats *stats, char *line, size_t len, bool last, struct dn_why *why)
{
	struct dn_stats_record *record = stats->record;
	const char *reason = "not a JSON object";
	size_t at = 0;
	bool object = false;
	int r;

	if (stats->input.number == 1 && len >= 3 && memcmp(line, "\xef\xbb\xbf", 3) == 0) {
		line += 3;
		len -= 3;
	}
	stats->lines = stats->input.number;
	if (is_blank(line, len))
		return 0;
	r = dn_scan_line(stats->scan, line, len, &object, &reason, &at);
	if (r == 0 && object) {
		sort_values(stats->scan, record);
		if (record->field[DN_STATS_SCHEMA] &&
			record->field[DN_STATS_SCHEMA]->type == DN_SCAN_U64 &&
			record->field[DN_STATS_SCHEMA]->u64 > DN_SCHEMA_VERSION &&
			dn_scan_is(record->field[DN_STATS_KIND], "header")) {
			dn_why_set(why,
				"line %" PRIu64 ": schema %" PRIu64
				" is newer than this denet reads (up to %d)",
				stats->input.number, record->field[DN_STATS_SCHEMA]->u64,
				DN_SCHEMA_VERSION);
			dn_why_hint(why, "use the denet that wrote it, or a newer one");
			return -EPROTONOSUPPORT;
		}
		reason = take_record(stats, record);
		if (!reason)
			return 0;
	}
	if (last) {
		/* The writer died or is still at it: that is no damage. */
		stats->torn = true;
		stats->torn_line = stats->input.number;
		stats->torn_offset = stats->input.offset;
		stats->torn_bytes = len;
		return 0;
	}
	return bad_line(stats, reason, at, why);
}

int dn_stats_space(struct dn_stats *stats, char **ret, size_t *ret_size)
{
	return dn_lines_space(&stats->input, ret, ret_size);
}

int dn_stats_commit(struct dn_stats *stats, size_t n, struct dn_why *why)
{
	char *line;
	size_t len;
	int r;

	dn_lines_commit(&stats->input, n);
	stats->bytes = dn_add_sat(stats->bytes, n);
	for (;;) {
		r = dn_lines_next(&stats->input, &line, &len);
		if (r == 0)
			return 0;
		if (r == -EMSGSIZE)
			r = bad_line(stats, "longer than 16 MiB", DN_LINE_MAX, why);
		else
			r = take_line(stats, line, len, false, why);
		if (r < 0)
			return r;
	}
}

int dn_stats_end(struct dn_stats *stats, struct dn_why *why)
{
	char *line;
	size_t len;
	int r;

	if (dn_lines_rest(&stats->input, &line, &len) > 0) {
		r = take_line(stats, line, len, true, why);
		if (r < 0)
			return r;
	}
	if (stats->runs)
		return 0;
	if (stats->bytes == 0)
		dn_why_set(why, "it is empty");
	else
		dn_why_set(why, "it has no record of denet in it");
	return -ENODATA;
}

int dn_stats_new(bool lenient, struct dn_stats **ret)
{
	struct dn_stats *stats = calloc(1, sizeof(*stats));
	int r;

	if (!stats)
		return -ENOMEM;
	stats->lenient = lenient;
	stats->record = calloc(1, sizeof(*stats->record));
	r = stats->record ? dn_scan_new(dn_place_classify, stats, &stats->scan) : -ENOMEM;
	if (r < 0) {
		dn_stats_free(stats);
		return r;
	}
	*ret = stats;
	return 0;
}

void dn_stats_free(struct dn_stats *stats)
{
	if (!stats)
		return;
	dn_scan_free(stats->scan);
	free(stats->record);
	dn_lines_finish(&stats->input);
	for (unsigned i = 0; i < stats->n_series; i++)
		dn_series_reset(&stats->series[i]);
	free(stats);
}

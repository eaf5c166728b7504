/* SPDX-License-Identifier: Apache-2.0 */
/* The places of both tools' records, as tables. */
#include <stdio.h>
#include <string.h>

#include "stats-places.h"

#define TAG(place, index) ((uint32_t)(place) << 24 | (uint32_t)(index))
#define SCOPE_OLDER 2

enum inside { IN_HOST, IN_EXIT, IN_LOST, IN_SELF, IN_AGGREGATED };

struct field_row {
	uint32_t parent;
	const char *key;
	unsigned want;
	uint32_t tag;
};

#define ROOT TAG(DN_PLACE_ROOT, 0)
#define IN(which) TAG(DN_PLACE_INSIDE, IN_##which)
#define FIELD(name) TAG(DN_PLACE_FIELD, DN_STATS_##name)
#define SCALAR DN_SCAN_KEEP

static const struct field_row fields[] = {
	{ROOT, "kind", SCALAR, FIELD(KIND)},
	{ROOT, "seq", SCALAR, FIELD(SEQ)},
	{ROOT, "t_ns", SCALAR, FIELD(T)},
	{ROOT, "event", SCALAR, FIELD(EVENT)},
	{ROOT, "schema", SCALAR, FIELD(SCHEMA)},
	{ROOT, "denet", SCALAR, FIELD(VERSION)},
	{ROOT, "time", SCALAR, FIELD(TIME)},
	{ROOT, "mode", SCALAR, FIELD(MODE)},
	{ROOT, "tier", SCALAR, FIELD(TIER)},
	{ROOT, "pid", SCALAR, FIELD(PID)},
	{ROOT, "command", DN_SCAN_KEEP_ARRAY, FIELD(COMMAND)},
	{ROOT, "metrics", DN_SCAN_ENTER, TAG(DN_PLACE_QUALITIES, 0)},
	/* In our header an object, in the older tool's env record the name. */
	{ROOT, "host", DN_SCAN_ENTER | DN_SCAN_KEEP, FIELD(HOST)},
	{FIELD(HOST), "hostname", SCALAR, FIELD(HOSTNAME)},
	{FIELD(HOST), "kernel", SCALAR, FIELD(HOST_KERNEL)},
	{FIELD(HOST), "arch", SCALAR, FIELD(ARCH)},
	{FIELD(HOST), "cpu_model", SCALAR, FIELD(CPU_MODEL)},
	{FIELD(HOST), "cpus_online", SCALAR, FIELD(CPUS)},
	{ROOT, "wall_ns", SCALAR, FIELD(WALL)},
	{ROOT, "ended_by", SCALAR, FIELD(ENDED_BY)},
	{ROOT, "descendants_left", SCALAR, FIELD(LEFT)},
	{ROOT, "exit", DN_SCAN_ENTER, IN(EXIT)},
	{IN(EXIT), "code", SCALAR, FIELD(EXIT_CODE)},
	{IN(EXIT), "signal", SCALAR, FIELD(EXIT_SIGNAL)},
	{IN(EXIT), "signal_name", SCALAR, FIELD(EXIT_SIGNAL_NAME)},
	{IN(EXIT), "core_dumped", SCALAR, FIELD(EXIT_CORE)},
	{ROOT, "lost", DN_SCAN_ENTER, IN(LOST)},
	{IN(LOST), "events", SCALAR, FIELD(LOST_EVENTS)},
	{IN(LOST), "samples", SCALAR, FIELD(LOST_SAMPLES)},
	{ROOT, "self", DN_SCAN_ENTER, IN(SELF)},
	{IN(SELF), "cpu_ns", SCALAR, FIELD(SELF_CPU)},
	{IN(SELF), "max_rss_bytes", SCALAR, FIELD(SELF_RSS)},
	/* the older tool */
	{ROOT, "ts_ms", SCALAR, FIELD(TS_MS)},
	{ROOT, "aggregated", DN_SCAN_ENTER, IN(AGGREGATED)},
	{IN(AGGREGATED), "ts_ms", SCALAR, FIELD(AGGREGATED_TS_MS)},
	{ROOT, "cmd", DN_SCAN_KEEP_ARRAY, FIELD(COMMAND)},
	{ROOT, "t0_ms", SCALAR, FIELD(T0_MS)},
	{ROOT, "kernel", SCALAR, FIELD(KERNEL)},
	{ROOT, "total_time_secs", SCALAR, FIELD(TOTAL_TIME)},
};

static const char *const quality_fields[] = {"source", "quality", "reason", "hint", "kind", "unit"};

/* The older tool's fields. One record mixes their meanings, and only this table says which is
 * which. */
struct older_row {
	const char *path;
	const char *name;
	enum dn_series_shape shape;
	enum dn_metric_unit unit;
	enum dn_metric_scope scope;
	uint64_t factor;
	enum dn_quality quality;
};

#define TREE DN_SCOPE_TREE
#define SYSTEM DN_SCOPE_SYSTEM
#define GAUGE DN_SERIES_GAUGE
#define LIVE DN_SERIES_LIVE_SUM
#define DELTA DN_SERIES_DELTA
#define SPAN DN_SERIES_SPAN
#define SAMPLED DN_QUALITY_SAMPLED
#define AT_LEAST DN_QUALITY_LOWER_BOUND

static const struct older_row older[] = {
	{"cpu_usage", "cpu.usage_percent", GAUGE, DN_UNIT_PERCENT, TREE, 1, SAMPLED},
	{"mem_rss_kb", "memory.rss_bytes", GAUGE, DN_UNIT_BYTES, TREE, 1024, SAMPLED},
	{"mem_vms_kb", "memory.virtual_bytes", GAUGE, DN_UNIT_BYTES, TREE, 1024, SAMPLED},
	{"disk_read_bytes", "io.read_bytes", LIVE, DN_UNIT_BYTES, TREE, 1, AT_LEAST},
	{"disk_write_bytes", "io.write_bytes", LIVE, DN_UNIT_BYTES, TREE, 1, AT_LEAST},
	{"syscall_read_bytes", "io.read_chars", LIVE, DN_UNIT_BYTES, TREE, 1, AT_LEAST},
	{"syscall_write_bytes", "io.write_chars", LIVE, DN_UNIT_BYTES, TREE, 1, AT_LEAST},
	{"page_faults_cached", "memory.minor_faults", LIVE, DN_UNIT_COUNT, TREE, 1, AT_LEAST},
	{"page_faults_disk", "memory.major_faults", LIVE, DN_UNIT_COUNT, TREE, 1, AT_LEAST},
	{"sys_net_rx_bytes", "system.network.rx_bytes", SPAN, DN_UNIT_BYTES, SYSTEM, 1, AT_LEAST},
	{"sys_net_tx_bytes", "system.network.tx_bytes", SPAN, DN_UNIT_BYTES, SYSTEM, 1, AT_LEAST},
	{"net_rx_bytes", "system.network.rx_bytes", SPAN, DN_UNIT_BYTES, SYSTEM, 1, AT_LEAST},
	{"net_tx_bytes", "system.network.tx_bytes", SPAN, DN_UNIT_BYTES, SYSTEM, 1, AT_LEAST},
	{"thread_count", "process.threads", GAUGE, DN_UNIT_COUNT, TREE, 1, SAMPLED},
	{"process_count", "process.count", GAUGE, DN_UNIT_COUNT, TREE, 1, SAMPLED},
	/* Of the process or of the host, the record does not say. */
	{"psi_mem.some_avg10", "psi_mem.some_avg10", GAUGE, DN_UNIT_RATIO, SYSTEM, 1, SAMPLED},
	{"psi_mem.full_avg10", "psi_mem.full_avg10", GAUGE, DN_UNIT_RATIO, SYSTEM, 1, SAMPLED},
	/* Since the sample before; opened after the start and on the first process alone. */
	{"perf.cycles", "hw.cycles", DELTA, DN_UNIT_COUNT, TREE, 1, AT_LEAST},
	{"perf.instructions", "hw.instructions", DELTA, DN_UNIT_COUNT, TREE, 1, AT_LEAST},
	{"perf.cache_refs", "hw.cache_references", DELTA, DN_UNIT_COUNT, TREE, 1, AT_LEAST},
	{"perf.cache_misses", "hw.cache_misses", DELTA, DN_UNIT_COUNT, TREE, 1, AT_LEAST},
	{"perf.stalled_backend", "hw.stalled_cycles_backend", DELTA, DN_UNIT_COUNT, TREE, 1,
		AT_LEAST},
	{"rapl.package_joules", "rapl.package_joules", DELTA, DN_UNIT_COUNT, SYSTEM, 1, SAMPLED},
	{"rapl.process_joules", "rapl.process_joules", DELTA, DN_UNIT_COUNT, TREE, 1, SAMPLED},
	{"ebpf.syscalls.total", "ebpf.syscalls.total", LIVE, DN_UNIT_COUNT, TREE, 1, AT_LEAST},
	{"ebpf.offcpu.total_time_ns", "ebpf.offcpu.total_time_ns", LIVE, DN_UNIT_NS, TREE, 1,
		AT_LEAST},
	{"ebpf.offcpu.total_events", "ebpf.offcpu.total_events", LIVE, DN_UNIT_COUNT, TREE, 1,
		AT_LEAST},
	/* The tool's own end summary. */
	{"max_processes", "process.count", GAUGE, DN_UNIT_COUNT, TREE, 1, SAMPLED},
	{"max_threads", "process.threads", GAUGE, DN_UNIT_COUNT, TREE, 1, SAMPLED},
	{"total_disk_read_bytes", "io.read_bytes", LIVE, DN_UNIT_BYTES, TREE, 1, AT_LEAST},
	{"total_disk_write_bytes", "io.write_bytes", LIVE, DN_UNIT_BYTES, TREE, 1, AT_LEAST},
	{"total_syscall_read_bytes", "io.read_chars", LIVE, DN_UNIT_BYTES, TREE, 1, AT_LEAST},
	{"total_syscall_write_bytes", "io.write_chars", LIVE, DN_UNIT_BYTES, TREE, 1, AT_LEAST},
	{"peak_page_faults_cached", "memory.minor_faults", LIVE, DN_UNIT_COUNT, TREE, 1, AT_LEAST},
	{"peak_page_faults_disk", "memory.major_faults", LIVE, DN_UNIT_COUNT, TREE, 1, AT_LEAST},
	{"peak_mem_rss_kb", "memory.rss_bytes", GAUGE, DN_UNIT_BYTES, TREE, 1024, SAMPLED},
	{"avg_cpu_usage", "cpu.usage_percent", GAUGE, DN_UNIT_PERCENT, TREE, 1, SAMPLED},
};

_Static_assert(sizeof(older) / sizeof(older[0]) <= DN_STATS_OLDER_MAX, "room in struct dn_stats");

static bool key_is(const char *key, size_t len, const char *word)
{
	return strlen(word) == len && memcmp(key, word, len) == 0;
}

/* A new place in path[], its name being prefix.key. -1 when there is none, or the name is too long
 * or no text. */
static int add_path(
	struct dn_stats *stats, const char *prefix, const char *key, size_t len, uint8_t scope)
{
	struct dn_stats_path *path = &stats->path[stats->n_paths];
	char name[sizeof(path->name)]; /* prefix may be a name of the same table */
	int n;

	for (size_t i = 0; i < len; i++) {
		if ((unsigned char)key[i] < 0x20)
			return -1;
	}
	if (stats->n_paths == DN_STATS_PATHS_MAX || len == 0 || len >= sizeof(path->name)) {
		stats->too_many = true;
		return -1;
	}
	n = snprintf(name, sizeof(name), "%s%s%.*s", prefix, prefix[0] ? "." : "", (int)len, key);
	if (n < 0 || (size_t)n >= sizeof(name)) {
		stats->too_many = true;
		return -1;
	}
	memcpy(path->name, name, (size_t)n + 1);
	path->scope = scope;
	return (int)stats->n_paths++;
}

static unsigned as_path(struct dn_stats *stats, int index, unsigned want, uint32_t *ret_tag)
{
	if (index < 0)
		return 0;
	*ret_tag = TAG(DN_PLACE_PATH, index);
	return want;
}

static unsigned classify_older(
	struct dn_stats *stats, const char *prefix, const char *key, size_t len, uint32_t *ret_tag)
{
	char path[160];
	size_t n = strlen(prefix);

	if (n + 1 + len >= sizeof(path))
		return 0;
	snprintf(path, sizeof(path), "%s%s%.*s", prefix, n ? "." : "", (int)len, key);
	n = strlen(path);
	for (unsigned i = 0; i < sizeof(older) / sizeof(older[0]); i++) {
		if (strcmp(older[i].path, path) == 0) {
			*ret_tag = TAG(DN_PLACE_OLDER, i);
			return DN_SCAN_KEEP;
		}
		if (strncmp(older[i].path, path, n) == 0 && older[i].path[n] == '.')
			return as_path(stats, add_path(stats, prefix, key, len, SCOPE_OLDER),
				DN_SCAN_ENTER, ret_tag);
	}
	/* Accelerators are many and each its own; their numbers are shown as they are. */
	if (strncmp(path, "gpu", 3) == 0 && (path[3] == '.' || path[3] == '\0'))
		return as_path(stats, add_path(stats, prefix, key, len, SCOPE_OLDER),
			path[3] ? DN_SCAN_KEEP | DN_SCAN_ENTER : DN_SCAN_ENTER, ret_tag);
	return 0;
}

static unsigned classify_quality(
	struct dn_stats *stats, uint32_t parent_tag, const char *key, size_t len, uint32_t *ret_tag)
{
	char name[sizeof(stats->series[0].name)];
	int index;

	if (dn_place_of(parent_tag) == DN_PLACE_QUALITIES) {
		if (len >= sizeof(name) || len == 0 || memchr(key, '\0', len))
			return 0;
		memcpy(name, key, len);
		name[len] = '\0';
		index = dn_stats_series(stats, name);
		if (index < 0)
			return 0;
		*ret_tag = TAG(DN_PLACE_QUALITY, index);
		return DN_SCAN_ENTER;
	}
	for (uint32_t i = 0; i < sizeof(quality_fields) / sizeof(quality_fields[0]); i++) {
		if (key_is(key, len, quality_fields[i])) {
			*ret_tag = TAG(DN_PLACE_QUALITY_FIELD, i << 16 | (parent_tag & 0xffff));
			return DN_SCAN_KEEP;
		}
	}
	return 0;
}

/* What kind of thing a metric is: the stream may say, the registry knows, events are counters; else
 * it is just values. */
static void shape_series(struct dn_series *series, enum dn_metric_scope scope)
{
	int id = dn_metric_by_name(series->name);
	const struct dn_metric_info *info = id < 0 ? NULL : dn_metric_info((unsigned)id);

	series->scope = scope;
	if (info && !series->has_unit) {
		series->unit = info->unit;
		series->has_unit = true;
	}
	if (series->shaped)
		return;
	series->shaped = true;
	series->shape = DN_SERIES_GAUGE;
	if (info) {
		static const enum dn_series_shape shapes[] = {[DN_KIND_COUNTER] = DN_SERIES_COUNTER,
			[DN_KIND_GAUGE] = DN_SERIES_GAUGE,
			[DN_KIND_HISTOGRAM] = DN_SERIES_HISTOGRAM,
			[DN_KIND_TABLE] = DN_SERIES_TABLE};

		series->shape = shapes[info->kind];
	} else if (strncmp(series->name, "hw.", 3) == 0) {
		series->shape = DN_SERIES_COUNTER;
		series->unit = DN_UNIT_COUNT;
		series->has_unit = true;
	}
}

/* What the registry, or the header, says that the metric of this name is. */
static enum dn_series_shape shape_of_name(const struct dn_stats *stats, const char *name)
{
	int id = dn_metric_by_name(name);

	if (id >= 0 && dn_metric_info((unsigned)id)->kind == DN_KIND_HISTOGRAM)
		return DN_SERIES_HISTOGRAM;
	if (id >= 0 && dn_metric_info((unsigned)id)->kind == DN_KIND_TABLE)
		return DN_SERIES_TABLE;
	for (unsigned i = 0; id < 0 && i < stats->n_series; i++) {
		if (stats->series[i].shaped && strcmp(stats->series[i].name, name) == 0)
			return stats->series[i].shape;
	}
	return DN_SERIES_GAUGE;
}

/* A histogram, a table or what stands beside one; false for all else. *ret_want is set then. */
static bool classify_object(struct dn_stats *stats, const struct dn_stats_path *path,
	const char *key, size_t len, unsigned *ret_want, uint32_t *ret_tag)
{
	static const char other[] = "_other";
	char name[sizeof(path->name)];
	int n = snprintf(name, sizeof(name), "%s%s%.*s", path->name, path->name[0] ? "." : "",
		(int)len, key);
	enum dn_series_shape shape;
	int index;

	*ret_want = 0;
	if (n < 0 || (size_t)n >= sizeof(name))
		return false;
	shape = shape_of_name(stats, name);
	if (shape == DN_SERIES_TABLE)
		return true;
	if (shape == DN_SERIES_HISTOGRAM) {
		index = dn_stats_series(stats, name);
		if (index < 0)
			return true;
		shape_series(&stats->series[index],
			path->scope == DN_SCOPE_SYSTEM ? DN_SCOPE_SYSTEM : DN_SCOPE_TREE);
		*ret_tag = TAG(DN_PLACE_HISTOGRAM, index);
		*ret_want = DN_SCAN_ENTER;
		return true;
	}
	if ((size_t)n < sizeof(other) || strcmp(name + n - strlen(other), other) != 0)
		return false;
	name[(size_t)n - strlen(other)] = '\0';
	return shape_of_name(stats, name) == DN_SERIES_TABLE;
}

static unsigned classify_distribution(
	uint32_t parent_tag, const char *key, size_t len, uint32_t *ret_tag)
{
	for (uint32_t i = 0; i < DN_DISTRIBUTION_N; i++) {
		if (key_is(key, len, dn_distribution_field_name(i))) {
			*ret_tag = TAG(DN_PLACE_DISTRIBUTION, i << 16 | (parent_tag & 0xffff));
			return DN_SCAN_KEEP;
		}
	}
	return 0;
}

bool dn_place_set_distribution(struct dn_stats *stats, const struct dn_scan_value *value)
{
	struct dn_series *series = &stats->series[value->tag & 0xffff];

	if (value->type != DN_SCAN_U64 && value->type != DN_SCAN_NULL)
		return false;
	dn_series_distribution(series, value->tag >> 16 & 0xff, value->type == DN_SCAN_U64,
		value->type == DN_SCAN_U64 ? value->u64 : 0);
	return true;
}

unsigned dn_place_classify(
	void *user, uint32_t parent_tag, const char *key, size_t len, uint32_t *ret_tag)
{
	struct dn_stats *stats = user;
	const struct dn_stats_path *path;
	unsigned want;

	switch (dn_place_of(parent_tag)) {
	case DN_PLACE_PATH:
		path = &stats->path[parent_tag & 0xffffff];
		if (path->scope == SCOPE_OLDER)
			return classify_older(stats, path->name, key, len, ret_tag);
		if (classify_object(stats, path, key, len, &want, ret_tag))
			return want;
		return as_path(stats, add_path(stats, path->name, key, len, path->scope),
			DN_SCAN_KEEP | DN_SCAN_ENTER, ret_tag);
	case DN_PLACE_HISTOGRAM:
		return classify_distribution(parent_tag, key, len, ret_tag);
	case DN_PLACE_QUALITIES:
	case DN_PLACE_QUALITY:
		return classify_quality(stats, parent_tag, key, len, ret_tag);
	default:
		break;
	}
	for (unsigned i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		if (fields[i].parent == parent_tag && key_is(key, len, fields[i].key)) {
			*ret_tag = fields[i].tag;
			return fields[i].want;
		}
	}
	if (parent_tag == ROOT && (key_is(key, len, "tree") || key_is(key, len, "system"))) {
		int index = add_path(
			stats, "", key, len, key[0] == 't' ? DN_SCOPE_TREE : DN_SCOPE_SYSTEM);

		/* The scope is no part of a metric's name. */
		if (index >= 0)
			stats->path[index].name[0] = '\0';
		return as_path(stats, index, DN_SCAN_ENTER, ret_tag);
	}
	if (parent_tag == ROOT || parent_tag == IN(AGGREGATED))
		return classify_older(stats, "", key, len, ret_tag);
	return 0;
}

static int16_t find_path_series(struct dn_stats *stats, const struct dn_stats_path *path)
{
	char name[sizeof(path->name) + 8];
	bool foreign = path->scope == DN_SCOPE_SYSTEM && dn_metric_by_name(path->name) < 0;
	int index;

	/* A name that we do not know may exist in both scopes. */
	snprintf(name, sizeof(name), "%s%s", foreign ? "system." : "", path->name);
	index = dn_stats_series(stats, name);
	if (index >= 0)
		shape_series(&stats->series[index],
			path->scope == DN_SCOPE_SYSTEM ? DN_SCOPE_SYSTEM : DN_SCOPE_TREE);
	return (int16_t)(index < 0 ? -1 : index + 1);
}

static struct dn_series *older_series(struct dn_stats *stats, uint32_t index)
{
	const struct older_row *row = &older[index];
	struct dn_series *series;

	if (stats->older[index] == 0)
		stats->older[index] = (int16_t)(1 + dn_stats_series(stats, row->name));
	if (stats->older[index] == 0)
		return NULL;
	series = &stats->series[stats->older[index] - 1];
	if (!series->declared) {
		series->declared = series->shaped = series->has_unit = true;
		series->shape = row->shape;
		series->unit = row->unit;
		series->scope = row->scope;
		series->quality = row->quality;
	}
	return series;
}

struct dn_series *dn_place_series(struct dn_stats *stats, uint32_t tag, uint64_t *ret_factor)
{
	uint32_t index = tag & 0xffffff;
	int16_t *series;

	*ret_factor = 1;
	if (dn_place_of(tag) == DN_PLACE_OLDER) {
		*ret_factor = older[index].factor;
		return older_series(stats, index);
	}
	series = &stats->path_series[index];
	if (*series == 0)
		*series = find_path_series(stats, &stats->path[index]);
	return *series < 0 ? NULL : &stats->series[*series - 1];
}

void dn_place_set_quality(
	struct dn_series *series, enum dn_quality_field which, const struct dn_scan_value *value)
{
	static const struct {
		const char *name;
		enum dn_series_shape shape;
	} kinds[] = {{"counter", DN_SERIES_COUNTER}, {"gauge", DN_SERIES_GAUGE},
		{"histogram", DN_SERIES_HISTOGRAM}, {"table", DN_SERIES_TABLE}};

	switch (which) {
	case DN_QUALITY_FIELD_SOURCE:
		dn_scan_copy(value, series->source, sizeof(series->source));
		break;
	case DN_QUALITY_FIELD_REASON:
		dn_scan_copy(value, series->reason, sizeof(series->reason));
		break;
	case DN_QUALITY_FIELD_HINT:
		dn_scan_copy(value, series->hint, sizeof(series->hint));
		break;
	case DN_QUALITY_FIELD_QUALITY:
		/* One that a newer denet invented is not known to be exact. */
		series->declared = true;
		series->quality = DN_QUALITY_N;
		for (unsigned i = 0; i < DN_QUALITY_N; i++) {
			if (dn_scan_is(value, dn_quality_name(i)))
				series->quality = i;
		}
		break;
	case DN_QUALITY_FIELD_KIND:
		for (unsigned i = 0; series->n == 0 && i < sizeof(kinds) / sizeof(kinds[0]); i++) {
			if (dn_scan_is(value, kinds[i].name)) {
				series->shaped = true;
				series->shape = kinds[i].shape;
			}
		}
		break;
	case DN_QUALITY_FIELD_UNIT:
		for (unsigned i = 0; i <= DN_UNIT_PERCENT; i++) {
			if (dn_scan_is(value, dn_unit_name(i))) {
				series->unit = i;
				series->has_unit = true;
			}
		}
		break;
	}
}

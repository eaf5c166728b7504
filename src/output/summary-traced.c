/* SPDX-License-Identifier: Apache-2.0 */
/* The part of the summary that tracing brings: tables by their first rows, latencies by
 * percentiles. */
#include <stdio.h>
#include <string.h>

#include <denet/table.h>

#include "sinks.h"
#include "summary-page.h"

#define ROWS_MAX 5
/* Without further groups the page is one screen: so many rows, and some lines for the commands. */
#define ROWS_DEFAULT 3
#define LINES_FOR_COMMANDS 2
#define BLOCKED_MAX 3 /* cells of one line */
#define COLUMNS 3

/* A table, and which of its columns are shown. */
struct section {
	unsigned metric;
	const char *title;
	struct {
		const char *name, *label;
	} column[COLUMNS];
};

static const struct section syscalls = {
	DN_M_syscall_by_name, "", {{"count", "x"}, {"errors", "failed"}, {"time_ns", ""}}};
static const struct section sections[] = {
	{DN_M_file_by_operation, "file ops", {{"count", "x"}, {"bytes", ""}, {"time_ns", ""}}},
	{DN_M_file_by_path, "files",
		{{"count", "x"}, {"read_bytes", "read"}, {"write_bytes", "written"}}},
	{DN_M_block_by_device, "disks",
		{{"read_bytes", "read"}, {"write_bytes", "written"}, {"time_ns", ""}}},
	{DN_M_network_by_protocol, "sockets", {{"rx_bytes", "received"}, {"tx_bytes", "sent"}}},
	{DN_M_network_failures, "failures", {{"count", "x"}}},
	{DN_M_lock_by_address, "futexes",
		{{"waits", "waits"}, {"time_ns", ""}, {"max_ns", "at most"}}},
	{DN_M_lock_by_type, "kernel", {{"waits", "waits"}, {"time_ns", ""}}},
	{DN_M_signal_by_number, "by signal", {{"generated", "sent"}, {"delivered", "taken"}}},
	{DN_M_limit_by_call, "reached", {{"count", "x"}}},
	{DN_M_security_by_call, "calls", {{"count", "x"}, {"errors", "failed"}}},
	{DN_M_security_by_capability, "checks", {{"checks", "x"}, {"denials", "denied"}}},
	{DN_M_hw_by_process, "hardware",
		{{"instructions", "instr"}, {"cycles", "cycles"}, {"cache_misses", "misses"}}},
};

static const struct {
	unsigned metric;
	const char *label;
} blocked[] = {
	{DN_M_sched_blocked_futex_ns, "futex"},
	{DN_M_sched_blocked_sleep_ns, "sleep"},
	{DN_M_sched_blocked_disk_ns, "disk"},
	{DN_M_sched_blocked_network_ns, "network"},
	{DN_M_sched_blocked_pipe_ns, "pipe"},
	{DN_M_sched_blocked_other_ns, "other"},
};

static bool ends_with(const char *name, const char *end)
{
	size_t len = strlen(name), end_len = strlen(end);

	return len >= end_len && strcmp(name + len - end_len, end) == 0;
}

/* By the rule that the unit ends a name. */
static enum dn_metric_unit unit_of(const char *column)
{
	if (ends_with(column, "_ns"))
		return DN_UNIT_NS;
	return ends_with(column, "bytes") ? DN_UNIT_BYTES : DN_UNIT_COUNT;
}

static int column_of(const struct dn_table *table, const char *name)
{
	for (unsigned i = 0; name && i < table->n_columns && i < DN_TABLE_COLUMNS_MAX; i++) {
		if (strcmp(table->column[i], name) == 0)
			return (int)i;
	}
	return -1;
}

/* Some of the first rows has a value there. */
static bool is_used(const struct dn_table *table, int column, unsigned rows)
{
	for (unsigned i = 0; column >= 0 && i < rows && i < table->n_rows; i++) {
		if (table->row[i].value[column].type == DN_VALUE_U64)
			return true;
	}
	return false;
}

static void table_row(struct dn_page *page, const struct section *section, const char *title,
	const struct dn_table *table, unsigned index, unsigned rows)
{
	const struct dn_table_row *row = &table->row[index];
	char text[512], number[32], marked[40];
	size_t used = 0;

	for (unsigned i = 0; i < COLUMNS; i++) {
		const char *name = section->column[i].name, *label = section->column[i].label;
		int at = column_of(table, name);
		const struct dn_value *value = at < 0 ? NULL : &row->value[at];

		if (!is_used(table, at, rows))
			continue;
		snprintf(marked, sizeof(marked), "%s%s",
			value->type == DN_VALUE_U64 ? dn_page_mark(page, section->metric) : "",
			value->type == DN_VALUE_U64
				? dn_page_human(unit_of(name), value->u64, number, sizeof(number))
				: "-");
		used += (size_t)snprintf(text + used, sizeof(text) - used, "%10s%s%s ", marked,
			*label ? " " : "", label);
	}
	snprintf(text + used, sizeof(text) - used, " %.*s", DN_TABLE_KEY_MAX, row->key);
	dn_grid_text(&page->grid, title, NULL, text);
}

static void table_rows(struct dn_page *page, const struct section *section, unsigned max)
{
	const struct dn_value *value = &page->summary->frame.value[section->metric];

	if (value->type != DN_VALUE_TABLE)
		return;
	for (unsigned i = 0; i < value->table->n_rows && i < max; i++)
		table_row(page, section, i ? "" : section->title, value->table, i, max);
}

/* Not a latency, and in no need of percentiles. */
static bool is_latency(unsigned id)
{
	return dn_metric_info(id)->kind == DN_KIND_HISTOGRAM && id != DN_M_process_lifetime;
}

static bool has_latency(const struct dn_page *page, unsigned id)
{
	const struct dn_value *value = &page->summary->frame.value[id];

	return is_latency(id) && value->type == DN_VALUE_HISTOGRAM && value->histogram->count > 0;
}

static void latency_rows(struct dn_page *page, unsigned max)
{
	unsigned shown = 0;

	for (unsigned id = 0; id < DN_M_STATIC_N && shown < max; id++) {
		const struct dn_histogram *histogram = page->summary->frame.value[id].histogram;
		enum dn_metric_unit unit = dn_metric_info(id)->unit;
		char p50[32], p99[32], most[32], name[64], text[256];

		if (!has_latency(page, id))
			continue;
		snprintf(name, sizeof(name), "%s%s", dn_page_mark(page, id),
			dn_metric_info(id)->name);
		snprintf(text, sizeof(text), "%-26s p50 %8s  p99 %8s  max %8s", name,
			dn_page_human(
				unit, dn_histogram_percentile(histogram, 0.5), p50, sizeof(p50)),
			dn_page_human(
				unit, dn_histogram_percentile(histogram, 0.99), p99, sizeof(p99)),
			dn_page_human(unit, histogram->max, most, sizeof(most)));
		dn_grid_text(&page->grid, shown++ ? "" : "latency", NULL, text);
	}
}

/* "kernel wait" of lock.kernel_wait_ns: the number says its unit. */
static const char *label_of(const struct dn_metric_info *info, char *out, size_t size)
{
	static const char *const units[] = {"_ns", "_bytes"};
	const char *name = strrchr(info->name, '.') + 1;
	size_t len = strlen(name);

	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (ends_with(name, units[i]))
			len = strlen(name) - strlen(units[i]);
	}
	snprintf(out, size, "%.*s", (int)len, name);
	for (char *p = out; *p; p++) {
		if (*p == '_')
			*p = ' ';
	}
	return out;
}

/* A group that is not part of every run shows all its counters; these of LATENCY are above. */
static bool is_group_counter(unsigned id)
{
	const struct dn_metric_info *info = dn_metric_info(id);
	const struct dn_probes_info *probes = dn_probes_info(dn_metric_group(info));

	return info->kind == DN_KIND_COUNTER && probes && !probes->on &&
	       dn_metric_group(info) != DN_PROBES_LATENCY;
}

static void group_rows(struct dn_page *page, unsigned group)
{
	char label[64];

	dn_grid_row(&page->grid, dn_probes_info(group)->name);
	for (unsigned id = 0; id < DN_M_STATIC_N; id++) {
		const struct dn_metric_info *info = dn_metric_info(id);

		if (dn_metric_group(info) == group && is_group_counter(id))
			dn_page_cell_if_any(page, id, label_of(info, label, sizeof(label)));
	}
	dn_grid_row_end(&page->grid);
	for (size_t i = 0; i < sizeof(sections) / sizeof(sections[0]); i++) {
		if (dn_metric_group(dn_metric_info(sections[i].metric)) == group)
			table_rows(page, &sections[i], ROWS_MAX);
	}
}

/* The largest ones, in their own order. */
static void blocked_row(struct dn_page *page)
{
	size_t n = sizeof(blocked) / sizeof(blocked[0]);

	dn_grid_row(&page->grid, "blocked");
	for (size_t i = 0; i < n; i++) {
		uint64_t ns = dn_page_u64(page, blocked[i].metric);
		unsigned larger = 0;

		for (size_t other = 0; other < n; other++) {
			uint64_t than = dn_page_u64(page, blocked[other].metric);

			larger += than > ns || (than == ns && other < i);
		}
		if (larger < BLOCKED_MAX)
			dn_page_cell_if_any(page, blocked[i].metric, blocked[i].label);
	}
	dn_grid_row_end(&page->grid);
}

/* The user switched on more than what every run has, and something came of it. */
static bool is_larger(const struct dn_page *page)
{
	for (unsigned id = 0; id < DN_M_STATIC_N; id++) {
		const struct dn_probes_info *probes =
			dn_probes_info(dn_metric_group(dn_metric_info(id)));

		if (probes && !probes->on && dn_frame_has(&page->summary->frame, id))
			return true;
	}
	return false;
}

bool dn_summary_traced(struct dn_page *page, unsigned room)
{
	bool larger = is_larger(page), calls = dn_page_value(page, DN_M_syscall_count);
	unsigned rows = ROWS_MAX, latencies = 0, blocks = 0, others;

	for (unsigned id = 0; id < DN_M_STATIC_N; id++)
		latencies += has_latency(page, id);
	for (size_t i = 0; i < sizeof(blocked) / sizeof(blocked[0]); i++)
		blocks |= dn_page_u64(page, blocked[i].metric) > 0;
	others = calls + blocks + latencies;
	if (!larger) {
		rows = room > others + LINES_FOR_COMMANDS ? room - others - LINES_FOR_COMMANDS : 0;
		rows = rows < ROWS_DEFAULT ? rows : ROWS_DEFAULT;
		latencies = room > calls + blocks ? room - calls - blocks : 0;
	}
	if (larger || room >= calls) {
		dn_grid_row(&page->grid, "syscalls");
		dn_page_cell(page, DN_M_syscall_count, "calls");
		dn_page_cell(page, DN_M_syscall_errors, "failed");
		dn_page_cell(page, DN_M_syscall_time_ns, "in calls");
		dn_grid_row_end(&page->grid);
		table_rows(page, &syscalls, rows);
	}
	if (larger || room >= calls + blocks)
		blocked_row(page);
	latency_rows(page, latencies);
	for (unsigned group = DN_PROBES_NONE + 1; group < DN_PROBES_N; group++) {
		if (!dn_probes_info(group)->on)
			group_rows(page, group);
	}
	return larger;
}

void dn_summary_traced_metrics(struct dn_metric_set *set)
{
	dn_metric_set_add(set, DN_M_syscall_count);
	dn_metric_set_add(set, DN_M_syscall_errors);
	dn_metric_set_add(set, DN_M_syscall_time_ns);
	dn_metric_set_add(set, syscalls.metric);
	for (size_t i = 0; i < sizeof(blocked) / sizeof(blocked[0]); i++)
		dn_metric_set_add(set, blocked[i].metric);
	for (size_t i = 0; i < sizeof(sections) / sizeof(sections[0]); i++)
		dn_metric_set_add(set, sections[i].metric);
	for (unsigned id = 0; id < DN_M_STATIC_N; id++) {
		if (is_latency(id) || is_group_counter(id))
			dn_metric_set_add(set, id);
	}
}

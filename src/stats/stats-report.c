/* SPDX-License-Identifier: Apache-2.0 */
/* `denet stats` for people: at most a screen, aligned, safe to print whatever the file holds. */
#include <inttypes.h>
#include <string.h>

#include "sinks.h"
#include "stats-report.h"

#define ROWS_MAX 36 /* a screen, with what stands around the table */
#define CELLS 7 /* name, total or last, mean, peak, p50, p95, p99 */
#define CELL_SIZE 160

struct table {
	char (*cell)[CELLS][CELL_SIZE];
	unsigned rows;
	bool used[5]; /* marks that a legend is due for */
	unsigned left_out, constant;
};

struct style {
	const char *bold, *dim, *reset;
};

static const char marks[] = {[DN_QUALITY_SCALED] = '*',
	[DN_QUALITY_SAMPLED] = '~',
	[DN_QUALITY_SIMULATED] = '#',
	[DN_QUALITY_LOWER_BOUND] = '>'};

/* Text of the file, made safe and cut. */
static const char *safe(const char *text, size_t max_columns, char *out, size_t size)
{
	dn_text_safe(text, strlen(text), max_columns, out, size);
	return out;
}

static uint64_t whole(double value)
{
	return value >= 18446744073709549568.0 ? UINT64_MAX
	       : value <= 0		       ? 0
					       : (uint64_t)(value + 0.5);
}

static void print_number(double value, char *out, size_t size)
{
	if (value == 0)
		snprintf(out, size, "0");
	else if (value < 0.01)
		snprintf(out, size, "%.1e", value);
	else if (value < 10)
		snprintf(out, size, "%.2f", value);
	else if (value < 100)
		snprintf(out, size, "%.1f", value);
	else
		dn_human_count(whole(value), out, size);
}

static void print_value(
	const struct dn_series *series, struct dn_series_value value, char *out, size_t size)
{
	uint64_t integer = value.real ? whole(value.f64) : value.u64;

	if (series->has_unit ? series->unit == DN_UNIT_RATIO ||
				       (series->unit == DN_UNIT_COUNT && value.real)
			     : value.real)
		print_number(dn_series_double(value), out, size);
	else if (!series->has_unit)
		dn_human_count(integer, out, size);
	else if (series->unit == DN_UNIT_NS)
		dn_human_duration(integer, out, size);
	else if (series->unit == DN_UNIT_BYTES)
		dn_human_bytes(integer, out, size);
	else if (series->unit == DN_UNIT_PERCENT)
		dn_human_percent(dn_series_double(value), out, size);
	else
		dn_human_count(integer, out, size);
}

/* A rate: time per time is a share, the rest is per second. */
static void print_rate(const struct dn_series *series, double rate, char *out, size_t size)
{
	size_t len;

	if (series->has_unit && series->unit == DN_UNIT_NS) {
		dn_human_percent(rate / 1e7, out, size);
		return;
	}
	if (series->has_unit && series->unit == DN_UNIT_BYTES)
		dn_human_bytes(whole(rate), out, size);
	else
		print_number(rate, out, size);
	len = strlen(out);
	snprintf(out + len, size - len, "/s");
}

static void print_point(const struct dn_series *series, double value, char *out, size_t size)
{
	if (series->hist.total == 0)
		snprintf(out, size, "-");
	else if (series->shape == DN_SERIES_GAUGE)
		print_value(series,
			value == (double)whole(value) ? dn_series_u64(whole(value))
						      : dn_series_f64(value),
			out, size);
	else
		print_rate(series, value, out, size);
}

static void print_name(struct table *table, const struct dn_series *series, char out[CELL_SIZE])
{
	char name[sizeof(series->name)];
	char mark = 0;

	if (!series->declared || series->quality >= DN_QUALITY_MISSING) {
		mark = '?';
		table->used[4] = true;
	} else if (series->quality != DN_QUALITY_EXACT) {
		mark = marks[series->quality];
		table->used[series->quality - DN_QUALITY_SCALED] = true;
	}
	snprintf(out, CELL_SIZE, "%s%c", safe(series->name, 40, name, sizeof(name)),
		mark ? mark : ' ');
}

static void add_row(struct table *table, const struct dn_series *series)
{
	char(*cell)[CELL_SIZE] = table->cell[table->rows++];
	bool gauge = series->shape == DN_SERIES_GAUGE;

	print_name(table, series, cell[0]);
	print_value(series, gauge ? series->last : series->total, cell[1], CELL_SIZE);
	print_point(series, dn_series_mean(series), cell[2], CELL_SIZE);
	if (gauge)
		print_value(series, series->max, cell[3], CELL_SIZE);
	else
		print_point(series, series->hist.max, cell[3], CELL_SIZE);
	print_point(series, dn_series_quantile(series, 0.50), cell[4], CELL_SIZE);
	print_point(series, dn_series_quantile(series, 0.95), cell[5], CELL_SIZE);
	print_point(series, dn_series_quantile(series, 0.99), cell[6], CELL_SIZE);
}

static void print_of_distribution(
	const struct dn_series *series, unsigned field, char *out, size_t size)
{
	if (series->distribution_known >> field & 1)
		print_value(series, dn_series_u64(series->distribution[field]), out, size);
	else
		snprintf(out, size, "-");
}

static void add_histogram(struct table *table, const struct dn_series *series)
{
	char(*cell)[CELL_SIZE] = table->cell[table->rows++];
	uint64_t count = series->distribution[DN_DISTRIBUTION_COUNT];

	print_name(table, series, cell[0]);
	dn_human_count(count, cell[1], CELL_SIZE);
	print_value(series,
		dn_series_u64(whole((double)series->distribution[DN_DISTRIBUTION_SUM] /
				    (double)(count ? count : 1))),
		cell[2], CELL_SIZE);
	print_of_distribution(series, DN_DISTRIBUTION_MAX, cell[3], CELL_SIZE);
	print_of_distribution(series, DN_DISTRIBUTION_P50, cell[4], CELL_SIZE);
	print_of_distribution(series, DN_DISTRIBUTION_P95, cell[5], CELL_SIZE);
	print_of_distribution(series, DN_DISTRIBUTION_P99, cell[6], CELL_SIZE);
}

static bool is_zero(const struct dn_series *series)
{
	if (series->shape == DN_SERIES_HISTOGRAM)
		return series->distribution[DN_DISTRIBUTION_COUNT] == 0;
	return dn_series_is_zero(series->shape == DN_SERIES_GAUGE ? series->max : series->total);
}

/* What goes first when there are more rows than a screen holds. */
static bool is_minor(const struct dn_series *series)
{
	static const char *const prefix[] = {"pressure.", "cgroup.", "hw.l1d", "hw.llc", "hw.dtlb",
		"hw.stalled", "gpu.", "syscall.by_"};

	for (unsigned i = 0; i < sizeof(prefix) / sizeof(prefix[0]); i++) {
		if (strncmp(series->name, prefix[i], strlen(prefix[i])) == 0)
			return true;
	}
	return false;
}

static void choose(const struct dn_stats *stats, struct table *table, const struct dn_series **ret)
{
	unsigned total = 0;

	for (unsigned i = 0; i < stats->n_series; i++) {
		const struct dn_series *series = &stats->series[i];

		if (!dn_stats_is_shown(stats, series))
			continue;
		if (is_zero(series))
			table->constant++;
		else
			ret[total++] = series;
	}
	table->left_out = 0;
	for (int pass = 0; pass < 2; pass++) {
		for (unsigned i = total; i > 0 && total > ROWS_MAX; i--) {
			if (pass == 0 && !is_minor(ret[i - 1]))
				continue;
			memmove(ret + i - 1, ret + i, (total - i) * sizeof(*ret));
			total--;
			table->left_out++;
		}
	}
	table->rows = total;
}

/* The columns that fit, least wanted first out. */
static void fit(const unsigned width[CELLS], unsigned columns, bool hidden[CELLS])
{
	static const unsigned order[] = {4, 6, 2, 5, 3};

	for (unsigned i = 0; i <= sizeof(order) / sizeof(order[0]); i++) {
		unsigned sum = 0;

		for (unsigned c = 0; c < CELLS; c++)
			sum += hidden[c] ? 0 : width[c] + (c ? 2 : 0);
		if (sum <= columns || i == sizeof(order) / sizeof(order[0]))
			return;
		hidden[order[i]] = true;
	}
}

static void print_table(const struct table *table, const unsigned from[3], unsigned columns,
	const struct style *style, FILE *out)
{
	static const char *const heads[][CELLS] = {
		{"counter", "total", "mean", "peak", "p50", "p95", "p99"},
		{"gauge", "last", "mean", "peak", "p50", "p95", "p99"},
		{"histogram", "count", "mean", "max", "p50", "p95", "p99"}};
	unsigned width[CELLS];
	bool hidden[CELLS] = {false};

	for (unsigned c = 0; c < CELLS; c++) {
		width[c] = c ? 5 : 9; /* the longest headings */
		for (unsigned r = 0; r < table->rows; r++) {
			unsigned len = (unsigned)strlen(table->cell[r][c]);

			if (len > width[c])
				width[c] = len;
		}
	}
	fit(width, columns, hidden);
	for (unsigned r = 0; r < table->rows; r++) {
		for (unsigned part = 0; part < 3; part++) {
			const char *const *head = heads[part];

			if (r != from[part] || (part < 2 && r == from[part + 1]))
				continue;
			fprintf(out, "%s%-*s", style->bold, (int)width[0], head[0]);
			for (unsigned c = 1; c < CELLS; c++) {
				if (!hidden[c])
					fprintf(out, "  %*s", (int)width[c], head[c]);
			}
			fprintf(out, "%s\n", style->reset);
		}
		fprintf(out, "%-*s", (int)width[0], table->cell[r][0]);
		for (unsigned c = 1; c < CELLS; c++) {
			if (!hidden[c])
				fprintf(out, "  %*s", (int)width[c], table->cell[r][c]);
		}
		fputc('\n', out);
	}
}

static void print_metrics(
	const struct dn_stats *stats, unsigned columns, const struct style *style, FILE *out)
{
	static const char *const legend[] = {
		"* scaled", "~ sampled", "# simulated", "> at least", "? quality unknown"};
	char cell[ROWS_MAX][CELLS][CELL_SIZE];
	const struct dn_series *chosen[DN_STATS_SERIES_MAX];
	struct table table = {.cell = cell};
	unsigned total, from[3];
	const char *comma = "";

	choose(stats, &table, chosen);
	total = table.rows;
	table.rows = 0;
	for (unsigned part = 0; part < 3; part++) {
		from[part] = table.rows;
		for (unsigned i = 0; i < total; i++) {
			if (part == 2 && chosen[i]->shape == DN_SERIES_HISTOGRAM)
				add_histogram(&table, chosen[i]);
			else if (part == 1 && chosen[i]->shape == DN_SERIES_GAUGE)
				add_row(&table, chosen[i]);
			else if (part == 0 && chosen[i]->shape != DN_SERIES_GAUGE &&
				 chosen[i]->shape != DN_SERIES_HISTOGRAM)
				add_row(&table, chosen[i]);
		}
	}
	print_table(&table, from, columns, style, out);
	fputs(style->dim, out);
	for (unsigned i = 0; i < sizeof(legend) / sizeof(legend[0]); i++) {
		if (table.used[i]) {
			fprintf(out, "%s%s", comma, legend[i]);
			comma = ", ";
		}
	}
	if (table.constant)
		fprintf(out, "%s%u metrics that stayed 0 are not shown", comma, table.constant);
	if (table.left_out)
		fprintf(out, "%s%u more with --json", comma[0] || table.constant ? ", " : "",
			table.left_out);
	fputs(style->reset, out);
	if (comma[0] || table.constant || table.left_out)
		fputc('\n', out);
}

static void print_exit(const struct dn_stats_run *run, FILE *out)
{
	char text[32];

	if (run->exit_signal.known) {
		int signal = run->exit_signal.value < 1000 ? (int)run->exit_signal.value : 0;

		fprintf(out, ", killed by %s%s", dn_human_signal(signal, text, sizeof(text)),
			run->core_dumped ? " (core dumped)" : "");
	} else if (run->exit_code.known) {
		fprintf(out, ", exit status %" PRIu64, run->exit_code.value);
	} else if (run->has_summary && run->ended_by[0]) {
		fprintf(out, ", ended by %s", safe(run->ended_by, 20, text, sizeof(text)));
	}
}

static void print_command(const struct dn_stats_run *run, unsigned columns, FILE *out)
{
	char joined[DN_STATS_COMMAND_SIZE + 1], line[sizeof(joined)];
	size_t len = run->command_len;

	if (len == 0)
		return;
	memcpy(joined, run->command, len);
	for (size_t i = 0; i + 1 < len; i++) {
		if (joined[i] == '\0')
			joined[i] = ' ';
	}
	joined[len - 1] = '\0';
	fprintf(out, "%s%s\n", safe(joined, columns, line, sizeof(line)),
		run->command_cut ? " ..." : "");
}

static void print_head(const struct dn_stats *stats, const char *file, unsigned columns,
	const struct style *style, FILE *out)
{
	const struct dn_stats_run *run = &stats->run;
	char a[300], b[300], c[64];
	bool any = false;

	fprintf(out, "%s%s%s: ", style->bold, safe(file, columns / 2, a, sizeof(a)), style->reset);
	if (run->format == DN_STATS_OLDER)
		fprintf(out, "the older denet (Rust)");
	else if (run->has_header)
		fprintf(out, "denet %s, schema %" PRIu64 ", %s tier",
			safe(run->version, 20, a, sizeof(a)), run->schema,
			safe(run->tier, 16, b, sizeof(b)));
	else
		fprintf(out, "denet");
	if (run->time[0])
		fprintf(out, ", %s", safe(run->time, 32, a, sizeof(a)));
	fputc('\n', out);
	print_command(run, columns, out);
	if (run->hostname[0] || run->kernel[0]) {
		fprintf(out, "host %s, Linux %s", safe(run->hostname, 30, a, sizeof(a)),
			safe(run->kernel, 30, b, sizeof(b)));
		if (run->arch[0])
			fprintf(out, ", %s", safe(run->arch, 16, a, sizeof(a)));
		if (run->cpus.known)
			fprintf(out, ", %" PRIu64 " CPUs", run->cpus.value);
		fputc('\n', out);
	}
	fprintf(out, "wall %s, %s samples", dn_human_duration(run->wall_ns, a, sizeof(a)),
		dn_human_count(run->samples, b, sizeof(b)));
	print_exit(run, out);
	for (unsigned i = 0; i < run->n_events; i++) {
		fprintf(out, "%s%s %s", any ? ", " : "; events: ",
			dn_human_count(run->event[i].count, c, sizeof(c)),
			safe(run->event[i].name, 20, a, sizeof(a)));
		any = true;
	}
	fputs("\n\n", out);
}

/* Metrics that are missing for one reason share a line. */
static void print_missing(const struct dn_stats *stats, unsigned columns, FILE *out)
{
	bool done[DN_STATS_SERIES_MAX] = {false};
	unsigned lines = 0;

	for (unsigned i = 0; i < stats->n_series; i++) {
		const struct dn_series *first = &stats->series[i];
		char text[1024], line[1024], more[32] = "";
		unsigned others = 0;

		if (done[i] || !dn_stats_is_missing(stats, first))
			continue;
		for (unsigned j = i + 1; j < stats->n_series; j++) {
			const struct dn_series *series = &stats->series[j];

			if (dn_stats_is_missing(stats, series) &&
				strcmp(series->reason, first->reason) == 0) {
				done[j] = true;
				others++;
			}
		}
		if (lines++ == 4) {
			fprintf(out, "missing: others for further reasons, see --json\n");
			return;
		}
		if (others)
			snprintf(more, sizeof(more), " and %u more", others);
		snprintf(text, sizeof(text), "missing: %s%s%s%s%s%s", first->name, more,
			first->reason[0] ? ": " : "", first->reason, first->hint[0] ? "; " : "",
			first->hint);
		/* A hint that is cut helps nobody; two lines hold nearly all of them. */
		fprintf(out, "%s\n", safe(text, 2 * columns, line, sizeof(line)));
	}
}

void dn_stats_print_text(
	const struct dn_stats *stats, const char *file, bool color, unsigned columns, FILE *out)
{
	const struct style style = {.bold = color ? "\033[1m" : "",
		.dim = color ? "\033[2m" : "",
		.reset = color ? "\033[0m" : ""};
	struct dn_stats_notes notes;

	if (columns == 0)
		columns = 100;
	print_head(stats, file, columns, &style, out);
	print_metrics(stats, columns, &style, out);
	dn_stats_notes_make(stats, &notes);
	for (unsigned i = 0; i < notes.n; i++) {
		char line[sizeof(notes.text[0])];

		/* Notes are whole sentences: better a second line than half of one. */
		fprintf(out, "note: %s\n", safe(notes.text[i], 0, line, sizeof(line)));
	}
	print_missing(stats, columns, out);
}

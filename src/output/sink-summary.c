/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What people read at the end: one screen, a grid of rows of values, only what was measured.
 * Nothing is printed before the end and the page leaves in one write(), so that it does not mix
 * with what the command prints.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include <denet/fs.h>
#include <denet/log.h>

#include "grid.h"
#include "sinks.h"
#include "summary-missing.h"
#include "summary-page.h"

#define LINES_MAX 24
#define COLUMNS_NO_TERMINAL 100
#define COLUMNS_MIN 40
#define COMMANDS_MAX 5
#define EVENTS_MAX 3
#define SHARE_FROM_NS UINT64_C(100000000)

struct summary_sink {
	struct dn_sink sink;
	struct dn_output *output;
	bool color;
	unsigned columns;
};

static double wall_percent(const struct dn_page *page, uint64_t ns)
{
	return page->summary->wall_ns ? 100.0 * (double)ns / (double)page->summary->wall_ns : 0;
}

/* A time and, when asked, its share of the wall time. */
static void time_cell(struct dn_page *page, unsigned id, const char *label, bool percent)
{
	char share[24], text[64];

	if (!dn_page_value(page, id))
		return;
	if (percent) {
		snprintf(text, sizeof(text), "%s %u %%", label,
			(unsigned)(wall_percent(page, dn_page_u64(page, id)) + 0.5));
		label = text;
	} else if (id == DN_M_cpu_total_ns && page->summary->wall_ns) {
		unsigned __int128 hundredths = (unsigned __int128)dn_page_u64(page, id) * 100;

		hundredths = (hundredths + page->summary->wall_ns / 2) / page->summary->wall_ns;
		if (hundredths < 100000000) {
			snprintf(share, sizeof(share), "= %u.%02u CPUs", (unsigned)hundredths / 100,
				(unsigned)hundredths % 100);
			label = share;
		}
	}
	dn_page_cell(page, id, label);
}

/*
 * Where the wall time went. One thread at a time: its parts are shares of the wall time. Several:
 * they add up to more, and the number of busy CPUs says it.
 */
static void time_rows(struct dn_page *page)
{
	uint64_t sum = dn_add_sat(dn_page_u64(page, DN_M_cpu_total_ns),
		dn_add_sat(dn_page_u64(page, DN_M_cpu_run_delay_ns),
			dn_page_u64(page, DN_M_cpu_blocked_ns)));
	uint64_t wall = page->summary->wall_ns;
	bool shares = wall && sum <= dn_add_sat(wall, wall / 50);

	dn_grid_row(&page->grid, "cpu");
	time_cell(page, DN_M_cpu_total_ns, "total", shares);
	time_cell(page, DN_M_cpu_user_ns, "user", shares);
	time_cell(page, DN_M_cpu_system_ns, "system", shares);
	dn_grid_row_end(&page->grid);
	dn_grid_row(&page->grid, "waiting");
	time_cell(page, DN_M_cpu_run_delay_ns, "for CPU", shares);
	time_cell(page, DN_M_cpu_blocked_ns, "blocked", shares);
	dn_grid_row_end(&page->grid);
}

static void memory_rows(struct dn_page *page)
{
	dn_grid_row(&page->grid, "memory");
	dn_page_cell(page, DN_M_memory_peak_rss_bytes, "peak process");
	dn_page_cell(page, DN_M_memory_peak_tree_rss_bytes, "peak tree");
	dn_page_cell_if_any(page, DN_M_memory_swap_bytes, "swapped");
	dn_grid_row_end(&page->grid);
	dn_grid_row(&page->grid, "faults");
	dn_page_cell(page, DN_M_memory_minor_faults, "minor");
	dn_page_cell(page, DN_M_memory_major_faults, "major");
	dn_grid_row_end(&page->grid);
}

static void io_rows(struct dn_page *page)
{
	dn_grid_row(&page->grid, "read");
	dn_page_cell(page, DN_M_io_read_calls, "calls");
	dn_page_cell(page, DN_M_io_read_chars, "in all");
	dn_page_cell(page, DN_M_io_read_bytes, "from disk");
	dn_grid_row_end(&page->grid);
	dn_grid_row(&page->grid, "written");
	dn_page_cell(page, DN_M_io_write_calls, "calls");
	dn_page_cell(page, DN_M_io_write_chars, "in all");
	dn_page_cell(page, DN_M_io_write_bytes, "to disk");
	dn_grid_row_end(&page->grid);
	dn_grid_row(&page->grid, "tcp");
	dn_page_cell(page, DN_M_network_rx_bytes, "received");
	dn_page_cell(page, DN_M_network_tx_bytes, "sent");
	dn_page_cell_if_any(page, DN_M_network_retransmits, "resent");
	dn_grid_row_end(&page->grid);
}

static void process_rows(struct dn_page *page)
{
	const struct dn_summary *summary = page->summary;
	char number[32];

	dn_grid_row(&page->grid, "switches");
	dn_page_cell(page, DN_M_cpu_voluntary_switches, "voluntary");
	dn_page_cell(page, DN_M_cpu_involuntary_switches, "involuntary");
	dn_page_cell(page, DN_M_cpu_migrations, "migrations");
	dn_grid_row_end(&page->grid);
	dn_grid_row(&page->grid, "processes");
	dn_page_cell(page, DN_M_process_started, "started");
	if (summary->descendants_left && summary->has_exit)
		dn_grid_cell(&page->grid, DN_GRID_YELLOW,
			dn_human_count(summary->descendants_left, number, sizeof(number)),
			summary->descendants_left == 1 ? "descendant lives on"
						       : "descendants live on");
	else if (!summary->has_exit)
		dn_page_cell(page, DN_M_process_count, "live");
	else
		dn_page_cell(page, DN_M_process_execs, "execs");
	dn_grid_row_end(&page->grid);
}

/* Over the whole run, unlike the frame's ratios, which are those of the last interval. */
static void ratio_cell(
	struct dn_page *page, unsigned part, unsigned whole, bool percent, const char *label)
{
	uint64_t divisor = dn_page_u64(page, whole);
	char number[32], text[40];
	double ratio;

	if (!dn_page_value(page, part) || divisor == 0)
		return;
	ratio = (double)dn_page_u64(page, part) / (double)divisor;
	if (percent)
		dn_human_percent(100 * ratio, number, sizeof(number));
	else
		snprintf(number, sizeof(number), "%u.%02u", (unsigned)(ratio + 0.005) % 1000,
			(unsigned)((ratio + 0.005) * 100) % 100);
	/* A bound of one of them bounds the ratio in neither direction. */
	snprintf(text, sizeof(text), "%s%s",
		*dn_page_mark(page, part) || *dn_page_mark(page, whole) ? "~" : "", number);
	page->approximate |= *text == '~';
	dn_grid_cell(&page->grid, NULL, text, label);
}

static void counter_rows(struct dn_page *page)
{
	unsigned shown = 0, more = 0;
	char text[64];

	dn_grid_row(&page->grid, "counters");
	dn_page_cell(page, DN_M_hw_cycles, "cycles");
	dn_page_cell(page, DN_M_hw_instructions, "instructions");
	ratio_cell(page, DN_M_hw_instructions, DN_M_hw_cycles, false, "per cycle");
	dn_grid_row_end(&page->grid);
	dn_grid_row(&page->grid, "misses");
	ratio_cell(page, DN_M_hw_cache_misses, DN_M_hw_cache_references, true, "of cache");
	ratio_cell(page, DN_M_hw_branch_misses, DN_M_hw_branches, true, "of branches");
	ratio_cell(page, DN_M_hw_l1d_misses, DN_M_hw_l1d_loads, true, "of L1d");
	dn_grid_row_end(&page->grid);
	for (unsigned id = DN_M_STATIC_N; id < dn_metric_count(); id++) {
		if (!dn_page_value(page, id))
			continue;
		if (shown == EVENTS_MAX) {
			more++;
			continue;
		}
		dn_grid_row(&page->grid, shown++ ? "" : "events");
		dn_page_cell(page, id, dn_metric_info(id)->name);
		dn_grid_row_end(&page->grid);
	}
	if (more) {
		snprintf(text, sizeof(text), "and %u more in the stream", more);
		dn_grid_text(&page->grid, "", DN_GRID_DIM, text);
	}
}

static void pressure_rows(struct dn_page *page)
{
	dn_grid_row(&page->grid, "throttled");
	dn_page_cell_if_any(page, DN_M_cgroup_cpu_throttled_ns, "by CPU quota");
	dn_grid_row_end(&page->grid);
	dn_grid_row(&page->grid, "pressure");
	dn_page_cell_if_any(page, DN_M_pressure_cpu_some_ns, "cpu");
	dn_page_cell_if_any(page, DN_M_pressure_memory_some_ns, "memory");
	dn_page_cell_if_any(page, DN_M_pressure_io_some_ns, "io");
	dn_grid_row_end(&page->grid);
}

/* The title */

static void describe_end(const struct dn_summary *summary, char *out, size_t size)
{
	char name[32], wall[32];
	int status = summary->wait_status;

	dn_human_duration(summary->wall_ns, wall, sizeof(wall));
	if (summary->has_exit && WIFSIGNALED(status))
		snprintf(out, size, "killed by %s%s after %s",
			dn_human_signal(WTERMSIG(status), name, sizeof(name)),
			WCOREDUMP(status) ? ", core dumped," : "", wall);
	else if (summary->has_exit)
		snprintf(out, size, "exit %d after %s", WEXITSTATUS(status), wall);
	else if (summary->ended_by && strcmp(summary->ended_by, "target") == 0)
		snprintf(out, size, "ended, measured for %s", wall);
	else if (summary->ended_by && strcmp(summary->ended_by, "fixture") == 0)
		snprintf(out, size, "as it was recorded");
	else
		snprintf(out, size, "measured for %s, still running", wall);
}

/* The command line or the targets, as one string of raw bytes. */
static void name_of_run(const struct dn_run *run, char *out, size_t size)
{
	size_t len = 0;

	out[0] = '\0';
	for (char *const *arg = run->command; arg && *arg && len < size - 1; arg++)
		len += (size_t)snprintf(out + len, size - len, "%s%s", len ? " " : "", *arg);
	if (run->command)
		return;
	for (unsigned i = 0; i < run->n_targets && len < size - 1; i++)
		len += (size_t)snprintf(
			out + len, size - len, "%s%d", i ? ", " : "pid ", (int)run->targets[i]);
}

static void title(struct dn_page *page)
{
	const struct dn_summary *summary = page->summary;
	char name[2048], safe[2048], result[96];
	size_t room;

	describe_end(summary, result, sizeof(result));
	room = page->grid.columns > strlen(result) + 14 ? page->grid.columns - strlen(result) - 2
							: 12;
	name_of_run(page->run, name, sizeof(name));
	dn_text_safe(name, strlen(name), room, safe, sizeof(safe));
	dn_grid_colored(&page->grid, DN_GRID_BOLD, safe);
	dn_grid_put(&page->grid, ": ");
	dn_grid_colored(&page->grid,
		summary->has_exit && summary->wait_status != 0 ? DN_GRID_RED : DN_GRID_BOLD,
		result);
	dn_grid_end_line(&page->grid);
}

static void command_rows(struct dn_page *page, unsigned max)
{
	const struct dn_summary *summary = page->summary;
	char cpu[32], peak[32], count[32], text[256];

	/* One process of one name: the rows above were about it. */
	if (summary->n_commands == 0 ||
		(summary->n_commands == 1 && summary->command[0].count == 1))
		return;
	for (unsigned i = 0; i < summary->n_commands && i < max; i++) {
		const struct dn_command_total *command = &summary->command[i];

		if (command->has_cpu)
			dn_human_duration(command->cpu_ns, cpu, sizeof(cpu));
		if (command->has_rss)
			dn_human_bytes(command->peak_rss_bytes, peak, sizeof(peak));
		snprintf(text, sizeof(text), "%10s cpu  %10s peak  %9s x %.*s",
			command->has_cpu ? cpu : "-", command->has_rss ? peak : "-",
			dn_human_count(command->count, count, sizeof(count)), DN_PROCESS_NAME_MAX,
			command->name[0] ? command->name : "(no name)");
		dn_grid_text(&page->grid, i ? "" : "commands", NULL, text);
	}
}

/* What tracing cost beside that: of the kernel, and of the processes that were traced. */
static void cost_row(struct dn_page *page)
{
	const struct dn_cost *cost = &page->summary->cost;
	char part[32], setup[32], runs[32], text[160];

	if (!cost->has_bpf)
		return;
	snprintf(text, sizeof(text), "eBPF: %u programs, %s of maps, %s to set up",
		cost->bpf_programs, dn_human_bytes(cost->bpf_map_bytes, part, sizeof(part)),
		dn_human_duration(
			dn_add_sat(cost->load_ns, cost->attach_ns), setup, sizeof(setup)));
	dn_grid_text(&page->grid, "", NULL, text);
	if (!cost->has_bpf_ns)
		return;
	snprintf(text, sizeof(text), "they ran %s in %s runs, %s of these in bystanders",
		dn_human_duration(cost->bpf_ns, part, sizeof(part)),
		dn_human_count(cost->bpf_runs, runs, sizeof(runs)),
		dn_human_count(cost->bystander_runs, setup, sizeof(setup)));
	dn_grid_text(&page->grid, "", NULL, text);
}

static void closing_rows(struct dn_page *page)
{
	const struct dn_summary *summary = page->summary;
	char part[32], text[160];
	int used;

	dn_summary_missing(page->run, &page->grid);
	if (summary->lost_events || summary->lost_samples) {
		snprintf(text, sizeof(text), "%llu events, %llu samples",
			(unsigned long long)summary->lost_events,
			(unsigned long long)summary->lost_samples);
		dn_grid_text(&page->grid, "lost", DN_GRID_YELLOW, text);
	}
	used = snprintf(text, sizeof(text), "%s CPU",
		dn_human_duration(summary->self_cpu_ns, part, sizeof(part)));
	/* Of a short run its own start would be the larger part. */
	if (summary->wall_ns >= SHARE_FROM_NS)
		used += snprintf(text + used, sizeof(text) - (size_t)used, ", %s of one",
			dn_human_percent(
				wall_percent(page, summary->self_cpu_ns), part, sizeof(part)));
	if (summary->self_max_rss_bytes)
		used += snprintf(text + used, sizeof(text) - (size_t)used, ", %s memory",
			dn_human_bytes(summary->self_max_rss_bytes, part, sizeof(part)));
	snprintf(text + used, sizeof(text) - (size_t)used, ": what measuring cost");
	dn_grid_text(&page->grid, "denet", NULL, text);
	cost_row(page);
	if (page->approximate || page->at_least) {
		snprintf(text, sizeof(text), "%s%s%s",
			page->approximate ? "~ sampled or scaled" : "",
			page->approximate && page->at_least ? ", " : "",
			page->at_least ? ">= at least: some was not seen" : "");
		dn_grid_text(&page->grid, "", DN_GRID_DIM, text);
	}
}

/* The sink */

static int header(struct dn_sink *sink, const struct dn_run *run)
{
	return 0;
}

static int sample(struct dn_sink *sink, const struct dn_run *run, const struct dn_frame *frame,
	struct dn_tree *tree)
{
	return 0;
}

static int event(struct dn_sink *sink, const struct dn_run *run, const struct dn_event *ev)
{
	return 0;
}

static int render(struct dn_sink *sink, const struct dn_run *run, const struct dn_summary *summary)
{
	struct summary_sink *self = (struct summary_sink *)sink;
	struct dn_page *page, *tail;
	unsigned lines, used;
	int r = -ENOMEM;

	/* What never ran has nothing to tell; the command says why. */
	if (summary->ended_by && strcmp(summary->ended_by, "exec_failed") == 0)
		return 0;
	page = calloc(1, sizeof(*page));
	tail = calloc(1, sizeof(*tail));
	if (page && tail) {
		*page = (struct dn_page){.run = run,
			.summary = summary,
			.grid = {.color = self->color, .columns = self->columns}};
		title(page);
		time_rows(page);
		memory_rows(page);
		io_rows(page);
		process_rows(page);
		counter_rows(page);
		pressure_rows(page);
		/* How long the end gets; a mark that comes later adds the line of the legend. */
		*tail = *page;
		tail->grid.len = tail->grid.lines = 0;
		tail->approximate = true;
		closing_rows(tail);
		used = page->grid.lines + tail->grid.lines;
		lines = LINES_MAX;
		if (dn_summary_traced(page, used < lines ? lines - used : 0))
			lines = page->grid.lines + tail->grid.lines + COMMANDS_MAX;
		/* The commands get the lines that the rest leaves. */
		*tail = (struct dn_page){.run = run,
			.summary = summary,
			.grid = {.color = self->color, .columns = self->columns}};
		tail->approximate = page->approximate;
		tail->at_least = page->at_least;
		closing_rows(tail);
		if (page->grid.lines + tail->grid.lines < lines) {
			unsigned left = lines - page->grid.lines - tail->grid.lines;

			command_rows(page, left < COMMANDS_MAX ? left : COMMANDS_MAX);
		}
		dn_grid_put(&page->grid, "%s", tail->grid.text);
		r = dn_output_write(self->output, page->grid.text, page->grid.len);
	}
	free(page);
	free(tail);
	return r;
}

static void close_sink(struct dn_sink *sink)
{
	free(sink);
}

void dn_sink_summary_metrics(struct dn_metric_set *ret)
{
	static const unsigned shown[] = {
		DN_M_cpu_total_ns,
		DN_M_cpu_user_ns,
		DN_M_cpu_system_ns,
		DN_M_cpu_usage_percent,
		DN_M_cpu_run_delay_ns,
		DN_M_cpu_blocked_ns,
		DN_M_cpu_voluntary_switches,
		DN_M_cpu_involuntary_switches,
		DN_M_cpu_migrations,
		DN_M_memory_rss_bytes,
		DN_M_memory_swap_bytes,
		DN_M_memory_peak_rss_bytes,
		DN_M_memory_peak_tree_rss_bytes,
		DN_M_memory_minor_faults,
		DN_M_memory_major_faults,
		DN_M_io_read_bytes,
		DN_M_io_write_bytes,
		DN_M_io_read_chars,
		DN_M_io_write_chars,
		DN_M_io_read_calls,
		DN_M_io_write_calls,
		DN_M_network_rx_bytes,
		DN_M_network_tx_bytes,
		DN_M_network_retransmits,
		DN_M_process_count,
		DN_M_process_started,
		DN_M_process_execs,
		DN_M_hw_cycles,
		DN_M_hw_instructions,
		DN_M_hw_cache_references,
		DN_M_hw_cache_misses,
		DN_M_hw_branches,
		DN_M_hw_branch_misses,
		DN_M_hw_l1d_loads,
		DN_M_hw_l1d_misses,
		DN_M_pressure_cpu_some_ns,
		DN_M_pressure_memory_some_ns,
		DN_M_pressure_io_some_ns,
		DN_M_cgroup_cpu_throttled_ns,
	};

	*ret = (struct dn_metric_set){0};
	for (size_t i = 0; i < sizeof(shown) / sizeof(shown[0]); i++)
		dn_metric_set_add(ret, shown[i]);
	dn_summary_traced_metrics(ret);
	/* Events that the user named (--events), and those of one kind of core. */
	for (unsigned id = DN_M_STATIC_N; id < DN_METRIC_MAX; id++)
		dn_metric_set_add(ret, id);
}

int dn_sink_summary_new(
	struct dn_output *output, bool color, unsigned columns, struct dn_sink **ret)
{
	static const struct dn_sink_ops ops = {
		.name = "summary",
		.header = header,
		.sample = sample,
		.event = event,
		.summary = render,
		.close = close_sink,
	};
	struct summary_sink *self = calloc(1, sizeof(*self));

	if (!self)
		return -ENOMEM;
	self->sink.ops = &ops;
	self->output = output;
	self->color = color;
	self->columns = columns == 0		? COLUMNS_NO_TERMINAL
			: columns < COLUMNS_MIN ? COLUMNS_MIN
						: columns;
	*ret = &self->sink;
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What options mean together: contradictions, and defaults that depend on others. */
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include "option-table.h"
#include "options-parse.h"

int dn_parser_fail(const struct dn_parser *parser, const char *format, ...)
{
	const struct dn_command_info *info = dn_command_by_id(parser->options->command);
	bool about_command = info && info->command != DN_COMMAND_HELP;
	char text[sizeof(parser->why->text)];
	size_t len;
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	len = strlen(text);
	dn_why_set(parser->why, "%s%s 'denet help%s%s'", text,
		len && text[len - 1] == '?' ? " See" : "; see", about_command ? " " : "",
		about_command ? info->name : "");
	parser->why->hint[0] = '\0';
	return -EINVAL;
}

bool dn_parser_seen(const struct dn_parser *parser, const char *name)
{
	for (unsigned i = 0; i < dn_n_option_rows; i++) {
		if (parser->seen >> i & 1 && strcmp(dn_option_rows[i].name, name) == 0)
			return true;
	}
	return false;
}

/* --out and what depends on it. */
static int check_output(const struct dn_parser *parser)
{
	struct dn_options *options = parser->options;
	size_t len = options->out ? strlen(options->out) : 0;
	bool csv = len >= 4 && strcmp(options->out + len - 4, ".csv") == 0;

	if (!options->out && dn_parser_seen(parser, "format"))
		return dn_parser_fail(parser, "--format needs --out; for stdout say --out -");
	if (options->format == DN_FORMAT_CSV && options->json)
		return dn_parser_fail(parser, "--json and --format csv contradict each other");
	if (options->format == DN_FORMAT_AUTO) {
		if (csv && options->json)
			return dn_parser_fail(
				parser, "--json contradicts the .csv of --out; --format decides");
		if (options->out || options->json)
			options->format = csv ? DN_FORMAT_CSV : DN_FORMAT_JSON;
	}
	if (options->format == DN_FORMAT_CSV && options->process_events)
		return dn_parser_fail(parser, "--process-events needs JSON, CSV has no events");
	if (options->format == DN_FORMAT_CSV && options->per_process)
		return dn_parser_fail(
			parser, "--per-process needs JSON, CSV has one row per sample");
	if (options->quiet && options->live)
		return dn_parser_fail(parser, "--quiet and --live contradict each other");
	return 0;
}

static int check_measuring(const struct dn_parser *parser)
{
	struct dn_options *options = parser->options;
	bool interval = dn_parser_seen(parser, "interval"),
	     max_interval = dn_parser_seen(parser, "max-interval");

	if (interval && !max_interval)
		options->max_interval_ns = options->interval_ns;
	else if (max_interval && !interval && options->max_interval_ns < options->interval_ns)
		options->interval_ns = options->max_interval_ns;
	if (options->max_interval_ns < options->interval_ns)
		return dn_parser_fail(parser, "--max-interval is below --interval");
	if (options->no_children && options->wait_tree)
		return dn_parser_fail(
			parser, "--no-children and --wait-tree contradict each other");
	if (options->fake_script) {
		if (!dn_parser_seen(parser, "backend"))
			options->backend = "fake";
		else if (strcmp(options->backend, "fake") != 0)
			return dn_parser_fail(
				parser, "--fake contradicts --backend %s", options->backend);
	}
	return 0;
}

/* What --probes, --paths and --metrics switch on, and whether the rest fits to that. */
static int check_tracing(const struct dn_parser *parser)
{
	struct dn_options *options = parser->options;
	const uint32_t file = UINT32_C(1) << DN_PROBES_FILE;
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	struct dn_metric_set set;

	if (options->probes && dn_options_probes(options->probes, &options->groups,
				       &options->groups_denied, parser->why) < 0)
		return -EINVAL;
	if (options->paths > 0 && options->groups_denied & file)
		return dn_parser_fail(
			parser, "--paths needs the probe group 'file', which --probes takes away");
	if (options->paths > 0)
		options->groups |= file;
	if (options->metrics && dn_options_metric_set(options->metrics, &options->groups,
					options->groups_denied, &set, parser->why) < 0)
		return -EINVAL;
	for (unsigned group = DN_PROBES_NONE + 1; group < DN_PROBES_N; group++) {
		if (options->sample_every[group] && !(options->groups >> group & 1))
			return dn_parser_fail(parser,
				"--sample names the probe group '%s', which is off; add --probes "
				"%s",
				dn_probes_info(group)->name, dn_probes_info(group)->name);
	}
	if (options->max_overhead_percent > 100.0 * (double)(cpus > 0 ? cpus : 1))
		return dn_parser_fail(parser, "--max-overhead is above %ld, which is all CPUs",
			100 * (cpus > 0 ? cpus : 1));
	return 0;
}

static int check_targets(const struct dn_parser *parser)
{
	const struct dn_options *options = parser->options;
	unsigned ways =
		(options->n_pids > 0) + !!options->name + !!options->cmdline + !!options->cgroup;

	if (ways == 0)
		return dn_parser_fail(parser, "attach needs a PID, --name, --cmdline or --cgroup");
	if (ways > 1)
		return dn_parser_fail(
			parser, "attach takes one of PID..., --name, --cmdline and --cgroup");
	return 0;
}

int dn_parser_check(const struct dn_parser *parser)
{
	const struct dn_options *options = parser->options;
	int r;

	switch (options->command) {
	case DN_COMMAND_NONE:
		return dn_parser_fail(parser, "a subcommand is missing");
	case DN_COMMAND_RUN:
	case DN_COMMAND_ATTACH:
		r = check_output(parser);
		if (r == 0)
			r = check_measuring(parser);
		if (r == 0)
			r = check_tracing(parser);
		if (r < 0)
			return r;
		if (options->command == DN_COMMAND_ATTACH)
			return check_targets(parser);
		return options->argv ? 0 : dn_parser_fail(parser, "run needs a command");
	case DN_COMMAND_STATS:
		return options->file ? 0
				     : dn_parser_fail(parser, "stats needs a file, or - for stdin");
	case DN_COMMAND_METRICS:
		if (options->json + options->markdown + options->schema > 1)
			return dn_parser_fail(
				parser, "metrics takes one of --json, --markdown and --schema");
		return 0;
	default:
		return 0;
	}
}

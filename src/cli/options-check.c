/* SPDX-License-Identifier: Apache-2.0 */
/* What options mean together: contradictions, defaults that depend on others, lists of metrics. */
#include <errno.h>
#include <stdarg.h>
#include <string.h>

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
	struct dn_metric_set set;

	if (interval && !max_interval)
		options->max_interval_ns = options->interval_ns;
	else if (max_interval && !interval && options->max_interval_ns < options->interval_ns)
		options->interval_ns = options->max_interval_ns;
	if (options->max_interval_ns < options->interval_ns)
		return dn_parser_fail(parser, "--max-interval is below --interval");
	if (options->metrics && dn_options_metric_set(options->metrics, &options->groups,
					options->groups_denied, &set, parser->why) < 0)
		return -EINVAL;
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

/* Rows that only exist once a run has begun. */
static bool is_dynamic(const char *word, size_t len)
{
	static const char *const families[] = {"hw.event", "hw.cpu_core", "hw.cpu_atom"};

	for (unsigned i = 0; i < sizeof(families) / sizeof(families[0]); i++) {
		size_t n = strlen(families[i]);

		if (len >= n && memcmp(word, families[i], n) == 0 && (len == n || word[n] == '.'))
			return true;
	}
	return false;
}

/* A whole name, or some of its first segments. */
static bool names(const char *word, size_t len, const char *metric)
{
	return strncmp(metric, word, len) == 0 && (metric[len] == '\0' || metric[len] == '.');
}

static int unknown_metric(const char *word, size_t len, struct dn_why *why)
{
	const char *candidates[DN_METRIC_MAX + 1], *near = NULL;
	char text[65], shown[96];
	unsigned n = 0;

	for (unsigned id = 0; id < dn_metric_count(); id++)
		candidates[n++] = dn_metric_info(id)->name;
	candidates[n] = NULL;
	if (len < sizeof(text)) {
		memcpy(text, word, len);
		text[len] = '\0';
		near = dn_nearest(text, candidates);
	}
	dn_text_safe(word, len, 40, shown, sizeof(shown));
	if (near)
		dn_why_set(why, "unknown metric '%s'; did you mean '%s'? See 'denet metrics'",
			shown, near);
	else
		dn_why_set(why, "unknown metric '%s'; see 'denet metrics'", shown);
	why->hint[0] = '\0';
	return -EINVAL;
}

/* The probe groups of the rows that word matches, and whether rows without a group do too. */
static uint32_t groups_of(const char *word, size_t len, bool *ret_whole, bool *ret_free)
{
	uint32_t groups = 0;

	*ret_whole = *ret_free = false;
	for (unsigned id = 0; id < DN_M_STATIC_N; id++) {
		const struct dn_metric_info *info = dn_metric_info(id);
		unsigned group = dn_metric_group(info);

		if (!names(word, len, info->name))
			continue;
		*ret_whole |= info->name[len] == '\0';
		*ret_free |= group == DN_PROBES_NONE;
		groups |= UINT32_C(1) << group;
	}
	return groups & ~(UINT32_C(1) << DN_PROBES_NONE);
}

/* What one word of the list switches on. */
static int add_groups(
	const char *word, size_t len, uint32_t *groups, uint32_t denied, struct dn_why *why)
{
	bool whole, without;
	uint32_t needed = groups_of(word, len, &whole, &without);
	unsigned group = DN_PROBES_NONE;
	char shown[96];

	if (needed == 0 || (without && !whole))
		return 0;
	*groups |= needed & ~denied;
	if (needed & ~denied)
		return 0;
	while (!(needed >> group & 1))
		group++;
	dn_text_safe(word, len, 40, shown, sizeof(shown));
	dn_why_set(why, "metric '%s' needs the probe group '%s', which --probes takes away", shown,
		dn_probes_info(group)->name);
	why->hint[0] = '\0';
	return -EINVAL;
}

static int check_metric_word(
	const char *word, size_t len, uint32_t *groups, uint32_t denied, struct dn_why *why)
{
	bool whole, without;

	if (len == 0) {
		dn_why_set(why, "the list of metrics has an empty name; see 'denet metrics'");
		why->hint[0] = '\0';
		return -EINVAL;
	}
	if (groups_of(word, len, &whole, &without) == 0 && !without && !is_dynamic(word, len))
		return unknown_metric(word, len, why);
	return add_groups(word, len, groups, denied, why);
}

int dn_options_metric_set(const char *list, uint32_t *groups, uint32_t denied,
	struct dn_metric_set *ret, struct dn_why *why)
{
	struct dn_metric_set set = {0};
	uint32_t on = *groups;
	size_t len;

	for (const char *word = list; word; word = word[len] == ',' ? word + len + 1 : NULL) {
		int r;

		len = strcspn(word, ",");
		r = check_metric_word(word, len, &on, denied, why);
		if (r < 0)
			return r;
	}
	for (unsigned id = 0; id < DN_METRIC_MAX; id++) {
		const struct dn_metric_info *info = id < DN_M_STATIC_N ? dn_metric_info(id) : NULL;
		unsigned group = info ? dn_metric_group(info) : DN_PROBES_NONE;
		bool named = !list || !info;

		for (const char *word = list; word && !named;
			word = word[len] == ',' ? word + len + 1 : NULL) {
			len = strcspn(word, ",");
			named = names(word, len, info->name);
		}
		if (named && (group == DN_PROBES_NONE || on >> group & 1))
			dn_metric_set_add(&set, id);
	}
	*groups = on;
	*ret = set;
	return 0;
}

uint32_t dn_options_default_groups(void)
{
	uint32_t groups = 0;

	for (unsigned group = DN_PROBES_NONE + 1; group < DN_PROBES_N; group++) {
		if (dn_probes_info(group)->on)
			groups |= UINT32_C(1) << group;
	}
	return groups;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The help screens, laid out from the option table: 80 columns, one screen per subcommand. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "option-table.h"

#define OPTION_COLUMN 26 /* where the text of an option begins */
#define LINE_MAX_COLUMNS 80
#define GROUPED_FROM 8 /* with fewer options headings are noise */

static void write_usage(FILE *out, const struct dn_command_info *info)
{
	const char *line = info->usage;
	const char *label = "Usage:";

	while (line) {
		size_t len = strcspn(line, "\n");

		fprintf(out, "%-6s denet %s %.*s\n", label, info->name, (int)len, line);
		label = "  or:";
		line = line[len] ? line + len + 1 : NULL;
	}
}

static void write_option(FILE *out, const struct dn_option *row)
{
	int width;

	if (row->letter)
		width = fprintf(out, "  -%c, --%s", row->letter, row->name);
	else
		width = fprintf(out, "      --%s", row->name);
	if (row->arg)
		width += fprintf(out, " %s", row->arg);
	if (width < OPTION_COLUMN)
		fprintf(out, "%*s", OPTION_COLUMN - width, "");
	else
		fputs("  ", out);
	fputs(row->help, out);
	if (row->values)
		fprintf(out, " %s", row->values);
	if (row->fallback)
		fprintf(out, " [%s]", row->fallback);
	fputc('\n', out);
}

/* --version is taken everywhere and told once, in the overview. */
static bool is_listed(const struct dn_option *row, unsigned bit)
{
	return row->commands & bit && row->kind != DN_OPTION_VERSION;
}

static void write_options(FILE *out, unsigned bit)
{
	unsigned n = 0;

	for (unsigned i = 0; i < dn_n_option_rows; i++)
		n += is_listed(&dn_option_rows[i], bit);
	if (n < GROUPED_FROM)
		fputs("\nOptions:\n", out);
	for (unsigned group = 0; group < DN_GROUP_N; group++) {
		bool title = n >= GROUPED_FROM;

		for (unsigned i = 0; i < dn_n_option_rows; i++) {
			const struct dn_option *row = &dn_option_rows[i];

			if (!is_listed(row, bit) || row->group != group)
				continue;
			if (title)
				fprintf(out, "\n%s:\n", dn_option_group_title(group));
			title = false;
			write_option(out, row);
		}
	}
}

static bool takes_probes(enum dn_command command)
{
	for (unsigned i = 0; i < dn_n_option_rows; i++) {
		if (dn_option_rows[i].kind == DN_OPTION_PROBES &&
			dn_option_rows[i].commands & 1u << command)
			return true;
	}
	return false;
}

/* Names only; the manual page says what they tell. */
static void write_probe_groups(FILE *out)
{
	int column = fprintf(out, "\nProbe groups (* on by default):") - 1;

	for (unsigned group = DN_PROBES_NONE + 1; group < DN_PROBES_N; group++) {
		const struct dn_probes_info *info = dn_probes_info(group);

		if (column + (int)strlen(info->name) + 2 > LINE_MAX_COLUMNS) {
			fputc('\n', out);
			column = 0;
		}
		column += fprintf(
			out, "%s%s%s", column ? " " : "  ", info->name, info->on ? "*" : "");
	}
	fputc('\n', out);
}

static void write_overview(FILE *out)
{
	fputs("Usage: denet [OPTION...] COMMAND [ARG...]\n"
	      "Measures a command, or what runs already, with all its processes: CPU, memory,\n"
	      "I/O, network and hardware counters, as one stream that says how good each is.\n"
	      "\nCommands:\n",
		out);
	for (unsigned i = 0; i < dn_n_command_rows; i++)
		fprintf(out, "  %-10s%s\n", dn_command_rows[i].name, dn_command_rows[i].summary);
	fputs("\nOptions:\n", out);
	for (unsigned i = 0; i < dn_n_option_rows; i++) {
		if (dn_option_rows[i].commands & 1u << DN_COMMAND_NONE)
			write_option(out, &dn_option_rows[i]);
	}
	fputs("Options of run and attach may stand before the command too.\n"
	      "\nExamples:\n"
	      "  denet run make -j8                  summary on stderr at the end\n"
	      "  denet run --json make | jq .tree    the stream\n"
	      "  denet attach -d 10 -o web.csv --name nginx\n"
	      "  denet doctor                        what works here, and why not\n"
	      "\n'denet help COMMAND' and the manual pages denet(1), denet-stream(5) tell more.\n",
		out);
}

int dn_help_write(FILE *out, const char *topic)
{
	const struct dn_command_info *info;

	if (!topic || strcmp(topic, "help") == 0) {
		write_overview(out);
		return 0;
	}
	info = dn_command_by_name(topic);
	if (!info)
		return -ENOENT;
	write_usage(out, info);
	if (info->about)
		fprintf(out, "%s\n", info->about);
	write_options(out, 1u << info->command);
	if (takes_probes(info->command))
		write_probe_groups(out);
	if (info->footer)
		fprintf(out, "\n%s\n", info->footer);
	return 0;
}

int dn_help_print(const char *topic)
{
	return dn_help_write(stdout, topic);
}

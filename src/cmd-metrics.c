/* SPDX-License-Identifier: Apache-2.0 */
/* denet metrics: the registry, for people, programs and the documentation. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <denet/metric.h>

#include "commands.h"
#include "json-writer.h"
#include "option-table.h"
#include "terminal.h"

static void write_table(FILE *out)
{
	unsigned columns = dn_terminal_columns(STDOUT_FILENO), width = 0, before;

	for (unsigned id = 0; id < dn_metric_count(); id++) {
		size_t len = strlen(dn_metric_info(id)->name);

		width = len > width ? (unsigned)len : width;
	}
	before = width + 2 + 11 + 9;
	fprintf(out, "%-*s  %-11s%-9s%s\n", (int)width, "NAME", "KIND", "UNIT", "WHAT IT IS");
	for (unsigned id = 0; id < dn_metric_count(); id++) {
		const struct dn_metric_info *info = dn_metric_info(id);
		char help[512];

		dn_text_safe(info->help, strlen(info->help),
			columns > before + 10 ? columns - before : 0, help, sizeof(help));
		fprintf(out, "%-*s  %-11s%-9s%s\n", (int)width, info->name,
			dn_kind_name(info->kind), dn_unit_name(info->unit), help);
	}
}

static int write_json(FILE *out)
{
	struct dn_json json;
	int r;

	dn_json_init(&json);
	dn_json_array(&json);
	for (unsigned id = 0; id < dn_metric_count(); id++) {
		const struct dn_metric_info *info = dn_metric_info(id);
		const struct dn_probes_info *probes = dn_probes_info(dn_metric_group(info));

		dn_json_object(&json);
		dn_json_put_string(&json, "name", info->name);
		dn_json_put_string(&json, "kind", dn_kind_name(info->kind));
		dn_json_put_string(&json, "unit", dn_unit_name(info->unit));
		dn_json_put_string(&json, "scope", dn_scope_key(info->scope));
		dn_json_put_bool(&json, "per_process", info->flags & DN_FLAG_PROC);
		dn_json_put_bool(&json, "derived", info->flags & DN_FLAG_DERIVED);
		dn_json_put_string(&json, "group", probes ? probes->name : NULL);
		dn_json_put_bool(&json, "default", !probes || probes->on);
		dn_json_put_string(&json, "help", info->help);
		dn_json_put_string(&json, "sources", info->sources);
		dn_json_object_end(&json);
	}
	dn_json_array_end(&json);
	dn_json_newline(&json);
	r = dn_json_error(&json);
	if (r == 0)
		fwrite(json.data, 1, json.len, out);
	dn_json_finish(&json);
	return r;
}

/* Within a cell of a table; texts of the registry are plain ASCII. */
static void write_cell(FILE *out, const char *text)
{
	for (; *text; text++) {
		if (strchr("|*_<`\\", *text))
			fputc('\\', out);
		fputc(*text, out);
	}
}

static void write_rows(FILE *out, const char *group, size_t len)
{
	fprintf(out,
		"\n## %.*s\n\n| name | kind | unit | probe group | per process | what it is | "
		"source, "
		"best first |\n"
		"|---|---|---|---|---|---|---|\n",
		(int)len, group);
	for (unsigned id = 0; id < DN_M_STATIC_N; id++) {
		const struct dn_metric_info *info = dn_metric_info(id);
		const struct dn_probes_info *probes;

		if (strncmp(info->name, group, len) != 0 || info->name[len] != '.')
			continue;
		probes = dn_probes_info(dn_metric_group(info));
		fprintf(out, "| `%s.%s` | %s | %s | %s | %s | ", dn_scope_key(info->scope),
			info->name, dn_kind_name(info->kind), dn_unit_name(info->unit),
			probes ? probes->name : "", info->flags & DN_FLAG_PROC ? "yes" : "no");
		write_cell(out, info->help);
		fputs(" | ", out);
		if (info->flags & DN_FLAG_DERIVED)
			fputs("computed from ", out);
		write_cell(out, info->sources);
		fputs(" |\n", out);
	}
}

void dn_metrics_write_markdown(FILE *out)
{
	fputs("# Metrics\n\n"
	      "Made by `denet metrics --markdown`; do not edit.\n\n"
	      "The name is the path in a record of the stream: `tree` holds the measured "
	      "processes, dead ones "
	      "included, `system` the machine or the cgroup that denet runs in. Options and the "
	      "`metrics` of "
	      "the header use the name without that first word.\n\n"
	      "A counter is cumulative since measuring began and never falls; a gauge is the value "
	      "of the moment; "
	      "a histogram is a distribution and a table has counters by key, both cumulative, and "
	      "both of the "
	      "summary only unless `--detail` asks for more ([stream.md](stream.md)). "
	      "A percentage of 100 is one busy core, a ratio is 0 to 1 unless said otherwise. "
	      "How good a metric is in a run (`exact`, `scaled`, `sampled`, `simulated`, "
	      "`lower_bound`, `missing`) "
	      "is told in the stream; `denet doctor` tells it beforehand.\n"
	      "\n## Probe groups\n\n"
	      "What eBPF traces is switched on by group, with `--probes`; a metric that "
	      "`--metrics` "
	      "names switches its "
	      "group on. Metrics without a group belong to every run.\n\n"
	      "| group | on by default | what it tells |\n|---|---|---|\n",
		out);
	for (unsigned group = DN_PROBES_NONE + 1; group < DN_PROBES_N; group++) {
		const struct dn_probes_info *info = dn_probes_info(group);

		fprintf(out, "| `%s` | %s | ", info->name, info->on ? "yes" : "no");
		write_cell(out, info->help);
		fputs(" |\n", out);
	}
	for (unsigned id = 0; id < DN_M_STATIC_N; id++) {
		const char *name = dn_metric_info(id)->name;
		size_t len = strcspn(name, ".");
		bool first = true;

		for (unsigned earlier = 0; earlier < id && first; earlier++)
			first = strncmp(dn_metric_info(earlier)->name, name, len + 1) != 0;
		if (first)
			write_rows(out, name, len);
	}
	fputs("\nNames below `hw.event` (from `--events`) and, on machines with several kinds of "
	      "cores, "
	      "`hw.cpu_core` and `hw.cpu_atom` are added by the run; they are counters.\n",
		out);
}

int dn_cmd_metrics(const struct dn_options *options)
{
	if (options->schema) {
		dn_schema_write(stdout);
	} else if (options->markdown) {
		dn_metrics_write_markdown(stdout);
	} else if (options->json) {
		if (write_json(stdout) < 0) {
			dn_error("out of memory");
			return DN_EXIT_ERROR;
		}
	} else {
		write_table(stdout);
	}
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The findings of `denet doctor`, for people and as JSON. */
#include <string.h>

#include "doctor.h"
#include "json-facts.h"

#define INDENT 15
#define CHECK_INDENT 24

static const char *const level_colors[] = {"32", "36", "33", "1;31"};

struct page {
	FILE *out;
	bool color;
	unsigned columns;
};

static void colored(const struct page *page, const char *color, const char *text)
{
	if (page->color)
		fprintf(page->out, "\033[%sm%s\033[0m", color, text);
	else
		fputs(text, page->out);
}

/* Words up to the width, the following lines indented; starts at column indent. Ends the line. */
static void wrapped(const struct page *page, unsigned indent, const char *text)
{
	unsigned column = indent;
	bool first = true;

	while (*text) {
		size_t len = strcspn(text, " ");

		if (!first && column + 1 + len > page->columns) {
			fprintf(page->out, "\n%*s", (int)indent, "");
			column = indent;
			first = true;
		}
		fprintf(page->out, "%s%.*s", first ? "" : " ", (int)len, text);
		column += (unsigned)len + !first;
		first = false;
		text += len;
		text += strspn(text, " ");
	}
	fputc('\n', page->out);
}

static void labelled(const struct page *page, unsigned indent, const char *label, const char *text)
{
	char line[1400], safe[1300];

	if (!text || !*text)
		return;
	dn_text_safe(text, strlen(text), 0, safe, sizeof(safe));
	snprintf(line, sizeof(line), "%s%s", label, safe);
	fprintf(page->out, "%*s", (int)indent, "");
	wrapped(page, indent, line);
}

static bool same_text(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

static bool same_answer(const struct dn_metric_state *a, const struct dn_metric_state *b)
{
	return a->quality == b->quality && same_text(a->source, b->source) &&
	       same_text(a->reason, b->reason) && same_text(a->hint, b->hint);
}

static size_t prefix_len(const char *name)
{
	const char *dot = strrchr(name, '.');

	return dot ? (size_t)(dot - name) : 0;
}

/* The metrics of one answer: "cpu.user_ns .system_ns io.read_bytes". */
static void names_of(
	const struct dn_run *run, unsigned first, bool *printed, char *out, size_t size)
{
	size_t len = 0;

	for (unsigned m = first; m < dn_metric_count(); m++) {
		const char *name = dn_metric_info(m)->name;
		size_t prefix = prefix_len(name);

		if (printed[m] || !run->metric[m].wanted ||
			!same_answer(&run->metric[first], &run->metric[m]))
			continue;
		for (unsigned n = m; n < dn_metric_count(); n++) {
			const char *other = dn_metric_info(n)->name;

			if (printed[n] || !run->metric[n].wanted || prefix_len(other) != prefix ||
				strncmp(name, other, prefix + 1) != 0 ||
				!same_answer(&run->metric[first], &run->metric[n]))
				continue;
			printed[n] = true;
			if (n == m)
				len += (size_t)snprintf(
					out + len, size - len, "%s%s", len ? " " : "", name);
			else
				len += (size_t)snprintf(
					out + len, size - len, " .%s", other + prefix + 1);
			if (len >= size)
				return;
		}
	}
}

static void print_metrics(const struct page *page, const struct dn_run *run, bool missing)
{
	bool printed[DN_METRIC_MAX] = {false};
	char names[4096];

	for (unsigned m = 0; m < dn_metric_count(); m++) {
		const struct dn_metric_state *state = &run->metric[m];
		const char *quality = dn_quality_name(state->quality);

		if (printed[m] || !state->wanted ||
			(state->quality == DN_QUALITY_MISSING) != missing)
			continue;
		names_of(run, m, printed, names, sizeof(names));
		fputs("  ", page->out);
		colored(page, missing ? level_colors[DN_CHECK_WARN] : level_colors[DN_CHECK_OK],
			quality);
		fprintf(page->out, "%*s", (int)(INDENT - 2 - strlen(quality)), "");
		wrapped(page, INDENT, names);
		if (state->source)
			labelled(page, INDENT, strcmp(state->source, "derived") ? "from " : "",
				state->source);
		labelled(page, INDENT, missing ? "why: " : "but: ", state->reason);
		labelled(page, INDENT, "fix: ", state->hint);
	}
}

static void print_machine(const struct page *page, const struct dn_doctor *doctor)
{
	const struct dn_machine *machine = &doctor->machine;
	char line[1024], safe[1024];
	size_t len;

	len = (size_t)snprintf(line, sizeof(line), "denet %s, tier %s, on Linux %s", DENET_VERSION,
		doctor->run.tier, machine->kernel[0] ? machine->kernel : "(unknown)");
	if (machine->arch[0])
		len += (size_t)snprintf(line + len, sizeof(line) - len, ", %s", machine->arch);
	if (machine->cpu_model[0])
		len += (size_t)snprintf(line + len, sizeof(line) - len, ", %s", machine->cpu_model);
	if (machine->cpus_online)
		len += (size_t)snprintf(
			line + len, sizeof(line) - len, ", %d CPUs", machine->cpus_online);
	if (machine->virtualization[0] && strcmp(machine->virtualization, "none") != 0)
		len += (size_t)snprintf(
			line + len, sizeof(line) - len, ", in %s", machine->virtualization);
	if (machine->container[0])
		len += (size_t)snprintf(line + len, sizeof(line) - len, ", in a container (%s)",
			machine->container);
	dn_text_safe(line, strlen(line), 0, safe, sizeof(safe));
	wrapped(page, 0, safe);
}

/* said: the group before that lacks something; the same answer is not told twice in a row. */
static void print_group(const struct page *page, const struct dn_doctor *doctor, unsigned id,
	struct dn_doctor_group *said)
{
	struct dn_doctor_group group;
	char line[256], names[1024];
	const char *state;
	size_t len = 0;

	dn_doctor_group(doctor, id, &group);
	if (group.metrics == 0)
		return;
	state = dn_doctor_group_state(&group);
	fputs("  ", page->out);
	colored(page, level_colors[group.missing ? DN_CHECK_WARN : DN_CHECK_OK], state);
	fprintf(page->out, "%*s", (int)(INDENT - 2 - strlen(state)), "");
	snprintf(line, sizeof(line), "%s%s: %s", group.info->name, group.info->on ? "*" : "",
		group.info->help);
	wrapped(page, INDENT, line);
	if (group.missing == 0)
		return;
	names[0] = '\0';
	for (unsigned m = 0; m < DN_M_STATIC_N && group.missing < group.metrics; m++) {
		if (dn_doctor_group_lacks(doctor, id, m) && len < sizeof(names))
			len += (size_t)snprintf(names + len, sizeof(names) - len, "%s%s",
				len ? " " : "", dn_metric_info(m)->name);
	}
	labelled(page, INDENT, "without: ", names);
	if (same_text(group.reason, said->reason) && same_text(group.hint, said->hint)) {
		labelled(page, INDENT, "why: ", "as above");
	} else {
		labelled(page, INDENT, "why: ", group.reason);
		labelled(page, INDENT, "fix: ", group.hint);
	}
	*said = group;
}

static void put_group(struct dn_json *json, const struct dn_doctor *doctor, unsigned id)
{
	struct dn_doctor_group group;

	dn_doctor_group(doctor, id, &group);
	dn_json_object(json);
	dn_json_put_string(json, "name", group.info->name);
	dn_json_put_bool(json, "default", group.info->on);
	dn_json_put_string(json, "state", dn_doctor_group_state(&group));
	dn_json_key(json, "missing");
	dn_json_array(json);
	for (unsigned m = 0; m < DN_M_STATIC_N; m++) {
		if (dn_doctor_group_lacks(doctor, id, m))
			dn_json_string(json, dn_metric_info(m)->name);
	}
	dn_json_array_end(json);
	if (group.reason)
		dn_json_put_string(json, "reason", group.reason);
	if (group.hint)
		dn_json_put_string(json, "hint", group.hint);
	dn_json_object_end(json);
}

void dn_doctor_print(FILE *out, const struct dn_doctor *doctor, bool color, unsigned columns)
{
	struct page page = {.out = out, .color = color, .columns = columns < 60 ? 60 : columns};
	struct dn_doctor_group said = {0};
	bool any_missing = false;

	print_machine(&page, doctor);
	fputs("\n", out);
	colored(&page, "1", "Measured here");
	fputs("\n", out);
	print_metrics(&page, &doctor->run, false);
	for (unsigned m = 0; m < dn_metric_count(); m++)
		any_missing |= doctor->run.metric[m].wanted &&
			       doctor->run.metric[m].quality == DN_QUALITY_MISSING;
	if (any_missing) {
		fputs("\n", out);
		colored(&page, "1", "Not measured here");
		fputs("\n", out);
		print_metrics(&page, &doctor->run, true);
	}
	fputs("\n", out);
	colored(&page, "1", "Probe groups (* on by default)");
	fputs("\n", out);
	for (unsigned group = DN_PROBES_NONE + 1; group < DN_PROBES_N; group++)
		print_group(&page, doctor, group, &said);
	fputs("\n", out);
	colored(&page, "1", "Checks");
	fputs("\n", out);
	for (unsigned i = 0; i < doctor->n_checks; i++) {
		const struct dn_check *check = &doctor->check[i];
		const char *level = dn_check_level_name(check->level);
		char safe[512];

		fputs("  ", out);
		colored(&page, level_colors[check->level], level);
		fprintf(out, "%*s%-15s", (int)(7 - strlen(level)), "", check->id);
		dn_text_safe(check->text, strlen(check->text), 0, safe, sizeof(safe));
		wrapped(&page, CHECK_INDENT, safe);
		labelled(&page, CHECK_INDENT, "lost: ", check->lost);
		labelled(&page, CHECK_INDENT, "fix: ", check->remedy);
	}
}

int dn_doctor_print_json(FILE *out, const struct dn_doctor *doctor)
{
	struct dn_json json;
	int r;

	dn_json_init(&json);
	dn_json_object(&json);
	dn_json_put_string(&json, "denet", DENET_VERSION);
	dn_json_put_string(&json, "tier", doctor->run.tier);
	dn_json_put_host(&json, &doctor->machine);
	dn_json_put_privileges(&json, &doctor->machine);
	dn_json_put_backends(&json, &doctor->run);
	dn_json_key(&json, "checks");
	dn_json_array(&json);
	for (unsigned i = 0; i < doctor->n_checks; i++) {
		const struct dn_check *check = &doctor->check[i];

		dn_json_object(&json);
		dn_json_put_string(&json, "id", check->id);
		dn_json_put_string(&json, "level", dn_check_level_name(check->level));
		dn_json_put_string(&json, "text", check->text);
		if (check->lost[0])
			dn_json_put_string(&json, "lost", check->lost);
		if (check->remedy[0])
			dn_json_put_string(&json, "remedy", check->remedy);
		dn_json_object_end(&json);
	}
	dn_json_array_end(&json);
	dn_json_key(&json, "probes");
	dn_json_array(&json);
	for (unsigned group = DN_PROBES_NONE + 1; group < DN_PROBES_N; group++)
		put_group(&json, doctor, group);
	dn_json_array_end(&json);
	dn_json_put_metric_states(&json, &doctor->run, false);
	dn_json_object_end(&json);
	dn_json_newline(&json);
	r = dn_json_error(&json);
	if (r == 0)
		fwrite(json.data, 1, json.len, out);
	dn_json_finish(&json);
	return r;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Parser of the fake backend's script: strict, bounded, and it tells the line. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <denet/fs.h>
#include <denet/log.h>

#include "script-words.h"

static int add(struct dn_fake_parser *parser, const struct dn_fake_action *action)
{
	struct dn_fake_script *script = parser->script;

	if (script->n_actions == DN_FAKE_ACTION_MAX)
		return dn_fake_bad(parser, "the script is too long", "");
	if (script->n_actions == script->room) {
		size_t room = script->room ? script->room * 2 : 64;
		struct dn_fake_action *more = reallocarray(script->action, room, sizeof(*more));

		if (!more)
			return -ENOMEM;
		script->action = more;
		script->room = room;
	}
	script->action[script->n_actions++] = *action;
	return 0;
}

/* Digits, and for ratios and percentages up to nine decimals. */
static int parse_value(const char *text, enum dn_metric_unit unit, struct dn_value *ret)
{
	uint64_t whole, fraction = 0, scale = 1;

	if (dn_parse_u64(&text, &whole) < 0)
		return -EINVAL;
	if (unit != DN_UNIT_RATIO && unit != DN_UNIT_PERCENT) {
		*ret = (struct dn_value){.type = DN_VALUE_U64, .u64 = whole};
		return *text ? -EINVAL : 0;
	}
	if (*text == '.') {
		for (text++; *text >= '0' && *text <= '9' && scale < 1000000000; text++) {
			fraction = fraction * 10 + (uint64_t)(*text - '0');
			scale *= 10;
		}
		if (scale == 1)
			return -EINVAL;
	}
	*ret = (struct dn_value){
		.type = DN_VALUE_F64, .f64 = (double)whole + (double)fraction / (double)scale};
	return *text ? -EINVAL : 0;
}

/* VALUExTIMES,...; "none" is an empty one. */
static int parse_histogram(struct dn_fake_parser *parser, const char *text, struct dn_value *ret)
{
	struct dn_fake_script *script = parser->script;
	struct dn_histogram *histogram, **more;

	if (script->n_histograms == DN_FAKE_HISTOGRAM_MAX)
		return dn_fake_bad(parser, "too many histograms", "");
	more = reallocarray(script->histogram, script->n_histograms + 1, sizeof(*more));
	if (!more)
		return -ENOMEM;
	script->histogram = more;
	histogram = calloc(1, sizeof(*histogram));
	if (!histogram)
		return -ENOMEM;
	script->histogram[script->n_histograms++] = histogram;
	*ret = (struct dn_value){.type = DN_VALUE_HISTOGRAM, .histogram = histogram};
	if (strcmp(text, "none") == 0)
		return 0;
	for (const char *p = text;; p++) {
		uint64_t value, times;

		if (dn_parse_u64(&p, &value) < 0 || *p++ != 'x' || dn_parse_u64(&p, &times) < 0)
			return dn_fake_bad(parser, "not VALUExTIMES,...", text);
		dn_histogram_add(histogram, value, times);
		if (*p == '\0')
			return 0;
		if (*p != ',')
			return dn_fake_bad(parser, "not VALUExTIMES,...", text);
	}
}

/* METRIC=VALUE up to the end of the line. */
static int take_values(struct dn_fake_parser *parser, struct dn_fake_action *action)
{
	int r;

	while ((r = dn_fake_next_word(parser)) > 0) {
		char *equals = strchr(parser->word, '=');
		const struct dn_metric_info *info;

		if (!equals)
			return dn_fake_bad(parser, "not METRIC=VALUE", parser->word);
		*equals = '\0';
		r = dn_fake_metric_of(parser, parser->word, &action->metric);
		if (r < 0)
			return r;
		if (dn_fake_is_from_table(action->metric))
			return dn_fake_bad(parser, "this comes from the process table (fork, exit)",
				parser->word);
		if (action->type == DN_FAKE_PROCESS_VALUE && dn_process_slot(action->metric) < 0)
			return dn_fake_bad(
				parser, "this is not measured per process", parser->word);
		info = dn_metric_info(action->metric);
		if (info->kind == DN_KIND_TABLE)
			return dn_fake_bad(parser, "this is a table, made of rows", parser->word);
		if (info->kind == DN_KIND_HISTOGRAM)
			r = parse_histogram(parser, equals + 1, &action->value);
		else if (parse_value(equals + 1, info->unit, &action->value) < 0)
			return dn_fake_bad(parser, "not a value of this metric", equals + 1);
		if (r == 0)
			r = add(parser, action);
		if (r < 0)
			return r;
	}
	return r;
}

static int take_table(struct dn_fake_parser *parser, struct dn_fake_action *action)
{
	int r = dn_fake_take_metric(parser, &action->metric);

	if (r == 0 && dn_metric_info(action->metric)->kind != DN_KIND_TABLE)
		return dn_fake_bad(parser, "this is no table", parser->word);
	action->type = DN_FAKE_CELL;
	return r;
}

/* METRIC KEY COLUMN=VALUE... */
static int take_row(struct dn_fake_parser *parser, struct dn_fake_action *action)
{
	int r = take_table(parser, action);

	if (r == 0)
		r = dn_fake_take_text(parser, "KEY", false, &action->text);
	if (r == 0 && strlen(action->text) >= DN_TABLE_KEY_MAX)
		return dn_fake_bad(parser, "the key is too long", "");
	if (r == 0)
		r = add(parser, action);
	while (r == 0 && (r = dn_fake_next_word(parser)) > 0) {
		char *equals = strchr(parser->word, '=');

		if (!equals)
			return dn_fake_bad(parser, "not COLUMN=VALUE", parser->word);
		*equals = '\0';
		action->column = dn_probe_printf(parser->probe, "%s", parser->word);
		r = 0;
		if (strchr(equals + 1, 'x') || strcmp(equals + 1, "none") == 0)
			r = parse_histogram(parser, equals + 1, &action->value);
		else if (parse_value(equals + 1, DN_UNIT_COUNT, &action->value) < 0)
			return dn_fake_bad(parser, "not a value of a row", equals + 1);
		if (r == 0)
			r = add(parser, action);
	}
	return r;
}

static int take_other(struct dn_fake_parser *parser, struct dn_fake_action *action)
{
	int r = take_table(parser, action);

	action->value.type = DN_VALUE_U64;
	if (r == 0)
		r = dn_fake_take_u64(parser, "N", 0, UINT64_MAX, &action->value.u64);
	return r;
}

static int take_event(struct dn_fake_parser *parser, struct dn_fake_action *action)
{
	static const struct {
		const char *name;
		enum dn_event_type type;
	} known[] = {{"budget", DN_EVENT_BUDGET}, {"limit", DN_EVENT_LIMIT},
		{"security", DN_EVENT_SECURITY}, {"oom", DN_EVENT_OOM}};
	int r = dn_fake_need_word(parser, "TYPE");
	size_t i = 0;

	if (r < 0)
		return r;
	while (i < sizeof(known) / sizeof(known[0]) && strcmp(known[i].name, parser->word) != 0)
		i++;
	if (i == sizeof(known) / sizeof(known[0]))
		return dn_fake_bad(parser, "not one of budget, limit, security, oom", parser->word);
	action->type = DN_FAKE_EVENT;
	action->event = known[i].type;
	r = dn_fake_take_pid(parser, "PID", true, &action->pid);
	return r < 0 ? r : dn_fake_take_text(parser, "TEXT", false, &action->text);
}

static int parse_cost(struct dn_fake_parser *parser)
{
	struct dn_cost *cost = &parser->script->cost;
	int r;

	cost->has_bpf = true;
	while ((r = dn_fake_next_word(parser)) > 0) {
		char *equals = strchr(parser->word, '=');
		uint64_t value;

		if (!equals || dn_parse_u64_whole(equals + 1, &value) < 0)
			return dn_fake_bad(parser, "not NAME=N", parser->word);
		*equals = '\0';
		if (strcmp(parser->word, "bpf_programs") == 0 && value <= UINT32_MAX)
			cost->bpf_programs = (uint32_t)value;
		else if (strcmp(parser->word, "bpf_maps") == 0 && value <= UINT32_MAX)
			cost->bpf_maps = (uint32_t)value;
		else if (strcmp(parser->word, "bpf_map_bytes") == 0)
			cost->bpf_map_bytes = value;
		else if (strcmp(parser->word, "bpf_ns") == 0)
			cost->bpf_ns = value, cost->has_bpf_ns = true;
		else if (strcmp(parser->word, "bpf_runs") == 0)
			cost->bpf_runs = value, cost->has_bpf_ns = true;
		else if (strcmp(parser->word, "load_ns") == 0)
			cost->load_ns = value;
		else if (strcmp(parser->word, "attach_ns") == 0)
			cost->attach_ns = value;
		else
			return dn_fake_bad(parser, "no cost of this name and size", parser->word);
	}
	return r;
}

static int parse_offer(struct dn_fake_parser *parser)
{
	const char *source = NULL, *reason = NULL;
	enum dn_quality quality;
	unsigned metric;
	int r = dn_fake_take_metric(parser, &metric);

	if (r == 0)
		r = dn_fake_take_quality(parser, &quality);
	if (r == 0)
		r = dn_fake_take_text(parser, "SOURCE", false, &source);
	if (r == 0)
		r = dn_fake_take_text(parser, "REASON", true, &reason);
	if (r == 0 && quality == DN_QUALITY_MISSING)
		return dn_fake_bad(parser, "what is missing can't be offered, refuse it", "");
	if (r == 0 && dn_metric_set_has(&parser->env->wanted, metric))
		dn_probe_offer(parser->probe, metric, quality, source, reason);
	return r;
}

static int parse_refuse(struct dn_fake_parser *parser)
{
	const char *reason = NULL, *hint = NULL;
	enum dn_fact fact;
	unsigned metric;
	int r = dn_fake_take_metric(parser, &metric);

	if (r == 0)
		r = dn_fake_take_refusal(parser, &fact);
	if (r == 0)
		r = dn_fake_take_text(parser, "REASON", false, &reason);
	if (r == 0)
		r = dn_fake_take_text(parser, "HINT", true, &hint);
	if (r == 0 && dn_metric_set_has(&parser->env->wanted, metric))
		dn_probe_refuse(parser->probe, metric, fact, reason, hint);
	return r;
}

static int parse_probe(struct dn_fake_parser *parser)
{
	enum dn_fact fact;
	const char *reason = NULL, *hint = NULL;
	int r = dn_fake_take_refusal(parser, &fact);

	if (r == 0)
		r = dn_fake_take_text(parser, "REASON", false, &reason);
	if (r == 0)
		r = dn_fake_take_text(parser, "HINT", true, &hint);
	if (r < 0)
		return r;
	parser->probe->fact = fact;
	parser->probe->reason = reason;
	parser->probe->hint = hint;
	for (unsigned id = 0; id < DN_M_STATIC_N; id++) {
		if (parser->probe->offer[id].fact == DN_FACT_UNTRIED &&
			dn_metric_set_has(&parser->env->wanted, id) &&
			!(dn_metric_info(id)->flags & DN_FLAG_DERIVED))
			dn_probe_refuse(parser->probe, id, fact, reason, hint);
	}
	return 0;
}

/* Statements that begin with a tick. */
static int parse_timed(struct dn_fake_parser *parser, const char *verb)
{
	struct dn_fake_action action = {0};
	int r = dn_fake_take_u64(parser, "SEQ", 1, UINT32_MAX, &action.seq);

	if (r < 0)
		return r;
	if (strcmp(verb, "sample") == 0 || strcmp(verb, "row") == 0 || strcmp(verb, "other") == 0) {
		if (action.seq > parser->script->last_sample)
			parser->script->last_sample = action.seq;
		if (verb[0] == 'r')
			return take_row(parser, &action);
		action.type = DN_FAKE_VALUE;
		if (verb[0] == 's')
			return take_values(parser, &action);
		r = take_other(parser, &action);
		return r < 0 ? r : add(parser, &action);
	}
	if (strcmp(verb, "process") == 0) {
		action.type = DN_FAKE_PROCESS_VALUE;
		r = dn_fake_take_pid(parser, "PID", false, &action.pid);
		return r < 0 ? r : take_values(parser, &action);
	}
	if (strcmp(verb, "sample-error") == 0) {
		action.type = DN_FAKE_ERROR;
		r = dn_fake_take_error(parser, &action.error);
	} else if (strcmp(verb, "degrade") == 0) {
		action.type = DN_FAKE_DEGRADE;
		r = dn_fake_take_metric(parser, &action.metric);
		if (r == 0)
			r = dn_fake_take_quality(parser, &action.quality);
		if (r == 0)
			r = dn_fake_take_text(parser, "REASON", false, &action.text);
	} else if (strcmp(verb, "lost") == 0) {
		action.type = DN_FAKE_LOST;
		r = dn_fake_take_u64(parser, "N", 0, UINT64_MAX, &action.n);
	} else if (strcmp(verb, "event") == 0) {
		r = take_event(parser, &action);
	} else if (strcmp(verb, "fork") == 0) {
		action.type = DN_FAKE_FORK;
		r = dn_fake_take_pid(parser, "PID", false, &action.pid);
		if (r == 0 && action.pid == DN_FAKE_PID_ROOT)
			return dn_fake_bad(parser, "the root is there already", "");
		if (r == 0)
			r = dn_fake_take_pid(parser, "PPID", false, &action.ppid);
		if (r == 0)
			r = dn_fake_take_text(parser, "NAME", false, &action.text);
	} else if (strcmp(verb, "exec") == 0) {
		action.type = DN_FAKE_EXEC;
		r = dn_fake_take_pid(parser, "PID", false, &action.pid);
		if (r == 0)
			r = dn_fake_take_text(parser, "NAME", false, &action.text);
	} else if (strcmp(verb, "exit") == 0) {
		action.type = DN_FAKE_EXIT;
		r = dn_fake_take_pid(parser, "PID", false, &action.pid);
	} else {
		return dn_fake_bad(parser, "unknown statement", verb);
	}
	return r < 0 ? r : add(parser, &action);
}

static int parse_line(struct dn_fake_parser *parser)
{
	char verb[32];
	int r = dn_fake_next_word(parser);

	if (r <= 0)
		return r;
	if (strlen(parser->word) >= sizeof(verb))
		return dn_fake_bad(parser, "unknown statement", parser->word);
	strcpy(verb, parser->word);
	if (strcmp(verb, "offer") == 0)
		r = parse_offer(parser);
	else if (strcmp(verb, "refuse") == 0)
		r = parse_refuse(parser);
	else if (strcmp(verb, "probe") == 0)
		r = parse_probe(parser);
	else if (strcmp(verb, "open-error") == 0)
		r = dn_fake_take_error(parser, &parser->script->open_error);
	else if (strcmp(verb, "cost") == 0)
		r = parse_cost(parser);
	else
		r = parse_timed(parser, verb);
	return r < 0 ? r : dn_fake_end_of_line(parser);
}

bool dn_fake_is_from_table(unsigned metric)
{
	return metric == DN_M_process_count || metric == DN_M_process_started ||
	       metric == DN_M_process_exited;
}

int dn_fake_script_parse(const char *text, size_t len, const struct dn_env *env,
	struct dn_probe *probe, struct dn_fake_script *script)
{
	struct dn_fake_parser parser = {.env = env, .probe = probe, .script = script};
	const char *end = text + len;

	while (text < end) {
		const char *newline = memchr(text, '\n', (size_t)(end - text));
		int r;

		parser.p = text;
		parser.end = newline ? newline : end;
		parser.line++;
		r = parse_line(&parser);
		if (r < 0)
			return r;
		text = newline ? newline + 1 : end;
	}
	return 0;
}

void dn_fake_script_finish(struct dn_fake_script *script)
{
	free(script->action);
	for (unsigned i = 0; i < script->n_histograms; i++)
		free(script->histogram[i]);
	free(script->histogram);
	*script = (struct dn_fake_script){0};
}

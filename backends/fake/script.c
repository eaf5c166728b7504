/* SPDX-License-Identifier: Apache-2.0 */
/* Parser of the fake backend's script: strict, bounded, and it tells the line. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <denet/fs.h>
#include <denet/log.h>

#include "script.h"

#define WORD_MAX 512

struct parser {
	const char *p, *end; /* of the line */
	unsigned line;
	const struct dn_env *env;
	struct dn_probe *probe;
	struct dn_fake_script *script;
	char word[WORD_MAX];
};

static int bad(struct parser *parser, const char *what, const char *word)
{
	char safe[128];

	dn_text_safe(word, strlen(word), 60, safe, sizeof(safe));
	parser->probe->reason = dn_probe_printf(parser->probe, "fake script, line %u: %s%s%s",
		parser->line, what, *word ? ": " : "", safe);
	return -EINVAL;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

static int hex(char c)
{
	const char *digits = "0123456789abcdef", *d = c ? strchr(digits, c | 0x20) : NULL;

	return d ? (int)(d - digits) : -1;
}

/* One escape behind the backslash; the character, or -1. */
static int unescape(struct parser *parser)
{
	char c = parser->p < parser->end ? *parser->p++ : '\0';
	int high, low;

	switch (c) {
	case '"':
	case '\\':
		return c;
	case 'n':
		return '\n';
	case 't':
		return '\t';
	case 'x':
		if (parser->end - parser->p < 2)
			return -1;
		high = hex(parser->p[0]);
		low = hex(parser->p[1]);
		parser->p += 2;
		if (high < 0 || low < 0 || high + low == 0)
			return -1;
		return high * 16 + low;
	default:
		return -1;
	}
}

/* Next word into parser->word: 1, 0 at the end of the line, -EINVAL. */
static int next_word(struct parser *parser)
{
	size_t len = 0;
	bool quoted;

	while (parser->p < parser->end && is_blank(*parser->p))
		parser->p++;
	if (parser->p == parser->end || *parser->p == '#')
		return 0;
	quoted = *parser->p == '"';
	if (quoted)
		parser->p++;
	for (;;) {
		int c;

		if (parser->p == parser->end) {
			if (quoted)
				return bad(parser, "a quote is not closed", "");
			break;
		}
		if (quoted ? *parser->p == '"' : is_blank(*parser->p)) {
			parser->p++;
			break;
		}
		c = (unsigned char)*parser->p++;
		if (quoted && c == '\\') {
			c = unescape(parser);
			if (c < 0)
				return bad(parser, "an escape that is none", "");
		}
		if (c == '\0')
			return bad(parser, "a NUL byte", "");
		if (len == WORD_MAX - 1)
			return bad(parser, "a word is too long", "");
		parser->word[len++] = (char)c;
	}
	parser->word[len] = '\0';
	return 1;
}

static int need_word(struct parser *parser, const char *what)
{
	int r = next_word(parser);

	return r == 0 ? bad(parser, "this is missing", what) : r < 0 ? r : 0;
}

static int end_of_line(struct parser *parser)
{
	int r = next_word(parser);

	return r > 0 ? bad(parser, "nothing may follow", parser->word) : r;
}

/* A text that lives as long as the probe; NULL when it is optional and not there. */
static int take_text(struct parser *parser, const char *what, bool optional, const char **ret)
{
	int r = next_word(parser);

	if (r < 0)
		return r;
	if (r == 0) {
		*ret = NULL;
		return optional ? 0 : bad(parser, "this is missing", what);
	}
	*ret = dn_probe_printf(parser->probe, "%s", parser->word);
	return 0;
}

static int metric_of(struct parser *parser, const char *name, unsigned *ret)
{
	int id = dn_metric_by_name(name);

	if (id < 0)
		return bad(parser, "unknown metric", name);
	if (dn_metric_info((unsigned)id)->flags & DN_FLAG_DERIVED)
		return bad(parser, "nobody supplies this metric, it is derived", name);
	*ret = (unsigned)id;
	return 0;
}

static int take_metric(struct parser *parser, unsigned *ret)
{
	int r = need_word(parser, "METRIC");

	return r < 0 ? r : metric_of(parser, parser->word, ret);
}

static int take_quality(struct parser *parser, enum dn_quality *ret)
{
	int r = need_word(parser, "QUALITY");

	if (r < 0)
		return r;
	for (unsigned q = 0; q < DN_QUALITY_N; q++) {
		if (strcmp(dn_quality_name((enum dn_quality)q), parser->word) == 0) {
			*ret = (enum dn_quality)q;
			return 0;
		}
	}
	return bad(parser, "unknown quality", parser->word);
}

static int take_refusal(struct parser *parser, enum dn_fact *ret)
{
	static const enum dn_fact facts[] = {DN_FACT_UNSUPPORTED, DN_FACT_DENIED, DN_FACT_BROKEN};
	int r = need_word(parser, "FACT");

	if (r < 0)
		return r;
	for (size_t i = 0; i < sizeof(facts) / sizeof(facts[0]); i++) {
		if (strcmp(dn_fact_name(facts[i]), parser->word) == 0) {
			*ret = facts[i];
			return 0;
		}
	}
	return bad(parser, "not one of unsupported, denied, broken", parser->word);
}

static int take_error(struct parser *parser, int *ret)
{
	static const struct {
		const char *name;
		int error;
	} known[] = {
		{"EACCES", EACCES},
		{"EAGAIN", EAGAIN},
		{"EBADF", EBADF},
		{"EBUSY", EBUSY},
		{"EINVAL", EINVAL},
		{"EIO", EIO},
		{"EMFILE", EMFILE},
		{"ENOBUFS", ENOBUFS},
		{"ENODEV", ENODEV},
		{"ENOENT", ENOENT},
		{"ENOMEM", ENOMEM},
		{"ENOSPC", ENOSPC},
		{"ENOSYS", ENOSYS},
		{"EOPNOTSUPP", EOPNOTSUPP},
		{"EPERM", EPERM},
		{"ESRCH", ESRCH},
	};
	int r = need_word(parser, "ERROR");

	if (r < 0)
		return r;
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		if (strcmp(known[i].name, parser->word) == 0) {
			*ret = -known[i].error;
			return 0;
		}
	}
	return bad(parser, "unknown error", parser->word);
}

static int take_u64(
	struct parser *parser, const char *what, uint64_t min, uint64_t max, uint64_t *ret)
{
	uint64_t value;
	int r = need_word(parser, what);

	if (r < 0)
		return r;
	if (dn_parse_u64_whole(parser->word, &value) < 0 || value < min || value > max)
		return bad(parser, "not a number in range", parser->word);
	*ret = value;
	return 0;
}

static int take_pid(struct parser *parser, const char *what, pid_t *ret)
{
	uint64_t value;
	int r = need_word(parser, what);

	if (r < 0)
		return r;
	if (strcmp(parser->word, "root") == 0) {
		*ret = DN_FAKE_PID_ROOT;
		return 0;
	}
	if (dn_parse_u64_whole(parser->word, &value) < 0 || value < 1 || value > INT32_MAX)
		return bad(parser, "not a process id", parser->word);
	*ret = (pid_t)value;
	return 0;
}

static int add(struct parser *parser, const struct dn_fake_action *action)
{
	struct dn_fake_script *script = parser->script;

	if (script->n_actions == DN_FAKE_ACTION_MAX)
		return bad(parser, "the script is too long", "");
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

/* METRIC=VALUE up to the end of the line. */
static int take_values(struct parser *parser, struct dn_fake_action *action)
{
	int r;

	while ((r = next_word(parser)) > 0) {
		char *equals = strchr(parser->word, '=');

		if (!equals)
			return bad(parser, "not METRIC=VALUE", parser->word);
		*equals = '\0';
		r = metric_of(parser, parser->word, &action->metric);
		if (r < 0)
			return r;
		if (dn_fake_is_from_table(action->metric))
			return bad(parser, "this comes from the process table (fork, exit)",
				parser->word);
		if (action->type == DN_FAKE_PROCESS_VALUE && dn_process_slot(action->metric) < 0)
			return bad(parser, "this is not measured per process", parser->word);
		if (parse_value(equals + 1, dn_metric_info(action->metric)->unit, &action->value) <
			0)
			return bad(parser, "not a value of this metric", equals + 1);
		r = add(parser, action);
		if (r < 0)
			return r;
	}
	return r;
}

static int parse_offer(struct parser *parser)
{
	const char *source = NULL, *reason = NULL;
	enum dn_quality quality;
	unsigned metric;
	int r = take_metric(parser, &metric);

	if (r == 0)
		r = take_quality(parser, &quality);
	if (r == 0)
		r = take_text(parser, "SOURCE", false, &source);
	if (r == 0)
		r = take_text(parser, "REASON", true, &reason);
	if (r == 0 && quality == DN_QUALITY_MISSING)
		return bad(parser, "what is missing can't be offered, refuse it", "");
	if (r == 0 && dn_metric_set_has(&parser->env->wanted, metric))
		dn_probe_offer(parser->probe, metric, quality, source, reason);
	return r;
}

static int parse_refuse(struct parser *parser)
{
	const char *reason = NULL, *hint = NULL;
	enum dn_fact fact;
	unsigned metric;
	int r = take_metric(parser, &metric);

	if (r == 0)
		r = take_refusal(parser, &fact);
	if (r == 0)
		r = take_text(parser, "REASON", false, &reason);
	if (r == 0)
		r = take_text(parser, "HINT", true, &hint);
	if (r == 0 && dn_metric_set_has(&parser->env->wanted, metric))
		dn_probe_refuse(parser->probe, metric, fact, reason, hint);
	return r;
}

static int parse_probe(struct parser *parser)
{
	enum dn_fact fact;
	const char *reason = NULL, *hint = NULL;
	int r = take_refusal(parser, &fact);

	if (r == 0)
		r = take_text(parser, "REASON", false, &reason);
	if (r == 0)
		r = take_text(parser, "HINT", true, &hint);
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
static int parse_timed(struct parser *parser, const char *verb)
{
	struct dn_fake_action action = {0};
	int r = take_u64(parser, "SEQ", 1, UINT32_MAX, &action.seq);

	if (r < 0)
		return r;
	if (strcmp(verb, "sample") == 0) {
		if (action.seq > parser->script->last_sample)
			parser->script->last_sample = action.seq;
		action.type = DN_FAKE_VALUE;
		return take_values(parser, &action);
	}
	if (strcmp(verb, "process") == 0) {
		action.type = DN_FAKE_PROCESS_VALUE;
		r = take_pid(parser, "PID", &action.pid);
		return r < 0 ? r : take_values(parser, &action);
	}
	if (strcmp(verb, "sample-error") == 0) {
		action.type = DN_FAKE_ERROR;
		r = take_error(parser, &action.error);
	} else if (strcmp(verb, "degrade") == 0) {
		action.type = DN_FAKE_DEGRADE;
		r = take_metric(parser, &action.metric);
		if (r == 0)
			r = take_quality(parser, &action.quality);
		if (r == 0)
			r = take_text(parser, "REASON", false, &action.text);
	} else if (strcmp(verb, "lost") == 0) {
		action.type = DN_FAKE_LOST;
		r = take_u64(parser, "N", 0, UINT64_MAX, &action.n);
	} else if (strcmp(verb, "fork") == 0) {
		action.type = DN_FAKE_FORK;
		r = take_pid(parser, "PID", &action.pid);
		if (r == 0 && action.pid == DN_FAKE_PID_ROOT)
			return bad(parser, "the root is there already", "");
		if (r == 0)
			r = take_pid(parser, "PPID", &action.ppid);
		if (r == 0)
			r = take_text(parser, "NAME", false, &action.text);
	} else if (strcmp(verb, "exec") == 0) {
		action.type = DN_FAKE_EXEC;
		r = take_pid(parser, "PID", &action.pid);
		if (r == 0)
			r = take_text(parser, "NAME", false, &action.text);
	} else if (strcmp(verb, "exit") == 0) {
		action.type = DN_FAKE_EXIT;
		r = take_pid(parser, "PID", &action.pid);
	} else {
		return bad(parser, "unknown statement", verb);
	}
	return r < 0 ? r : add(parser, &action);
}

static int parse_line(struct parser *parser)
{
	char verb[32];
	int r = next_word(parser);

	if (r <= 0)
		return r;
	if (strlen(parser->word) >= sizeof(verb))
		return bad(parser, "unknown statement", parser->word);
	strcpy(verb, parser->word);
	if (strcmp(verb, "offer") == 0)
		r = parse_offer(parser);
	else if (strcmp(verb, "refuse") == 0)
		r = parse_refuse(parser);
	else if (strcmp(verb, "probe") == 0)
		r = parse_probe(parser);
	else if (strcmp(verb, "open-error") == 0)
		r = take_error(parser, &parser->script->open_error);
	else
		r = parse_timed(parser, verb);
	return r < 0 ? r : end_of_line(parser);
}

bool dn_fake_is_from_table(unsigned metric)
{
	return metric == DN_M_process_count || metric == DN_M_process_started ||
	       metric == DN_M_process_exited;
}

int dn_fake_script_parse(const char *text, size_t len, const struct dn_env *env,
	struct dn_probe *probe, struct dn_fake_script *script)
{
	struct parser parser = {.env = env, .probe = probe, .script = script};
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
	*script = (struct dn_fake_script){0};
}

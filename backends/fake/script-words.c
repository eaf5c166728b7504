/* SPDX-License-Identifier: Apache-2.0 */
/* Words of a script: quotes, escapes, names and numbers; strict, bounded, and it tells the line. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <denet/fs.h>
#include <denet/log.h>

#include "script-words.h"

int dn_fake_bad(struct dn_fake_parser *parser, const char *what, const char *word)
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
static int unescape(struct dn_fake_parser *parser)
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

int dn_fake_next_word(struct dn_fake_parser *parser)
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
				return dn_fake_bad(parser, "a quote is not closed", "");
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
				return dn_fake_bad(parser, "an escape that is none", "");
		}
		if (c == '\0')
			return dn_fake_bad(parser, "a NUL byte", "");
		if (len == DN_FAKE_WORD_MAX - 1)
			return dn_fake_bad(parser, "a word is too long", "");
		parser->word[len++] = (char)c;
	}
	parser->word[len] = '\0';
	return 1;
}

int dn_fake_need_word(struct dn_fake_parser *parser, const char *what)
{
	int r = dn_fake_next_word(parser);

	return r == 0 ? dn_fake_bad(parser, "this is missing", what) : r < 0 ? r : 0;
}

int dn_fake_end_of_line(struct dn_fake_parser *parser)
{
	int r = dn_fake_next_word(parser);

	return r > 0 ? dn_fake_bad(parser, "nothing may follow", parser->word) : r;
}

int dn_fake_take_text(
	struct dn_fake_parser *parser, const char *what, bool optional, const char **ret)
{
	int r = dn_fake_next_word(parser);

	if (r < 0)
		return r;
	if (r == 0) {
		*ret = NULL;
		return optional ? 0 : dn_fake_bad(parser, "this is missing", what);
	}
	*ret = dn_probe_printf(parser->probe, "%s", parser->word);
	return 0;
}

int dn_fake_metric_of(struct dn_fake_parser *parser, const char *name, unsigned *ret)
{
	int id = dn_metric_by_name(name);

	if (id < 0)
		return dn_fake_bad(parser, "unknown metric", name);
	if (dn_metric_info((unsigned)id)->flags & DN_FLAG_DERIVED)
		return dn_fake_bad(parser, "nobody supplies this metric, it is derived", name);
	*ret = (unsigned)id;
	return 0;
}

int dn_fake_take_metric(struct dn_fake_parser *parser, unsigned *ret)
{
	int r = dn_fake_need_word(parser, "METRIC");

	return r < 0 ? r : dn_fake_metric_of(parser, parser->word, ret);
}

int dn_fake_take_quality(struct dn_fake_parser *parser, enum dn_quality *ret)
{
	int r = dn_fake_need_word(parser, "QUALITY");

	if (r < 0)
		return r;
	for (unsigned q = 0; q < DN_QUALITY_N; q++) {
		if (strcmp(dn_quality_name((enum dn_quality)q), parser->word) == 0) {
			*ret = (enum dn_quality)q;
			return 0;
		}
	}
	return dn_fake_bad(parser, "unknown quality", parser->word);
}

int dn_fake_take_refusal(struct dn_fake_parser *parser, enum dn_fact *ret)
{
	static const enum dn_fact facts[] = {DN_FACT_UNSUPPORTED, DN_FACT_DENIED, DN_FACT_BROKEN};
	int r = dn_fake_need_word(parser, "FACT");

	if (r < 0)
		return r;
	for (size_t i = 0; i < sizeof(facts) / sizeof(facts[0]); i++) {
		if (strcmp(dn_fact_name(facts[i]), parser->word) == 0) {
			*ret = facts[i];
			return 0;
		}
	}
	return dn_fake_bad(parser, "not one of unsupported, denied, broken", parser->word);
}

int dn_fake_take_error(struct dn_fake_parser *parser, int *ret)
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
	int r = dn_fake_need_word(parser, "ERROR");

	if (r < 0)
		return r;
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		if (strcmp(known[i].name, parser->word) == 0) {
			*ret = -known[i].error;
			return 0;
		}
	}
	return dn_fake_bad(parser, "unknown error", parser->word);
}

int dn_fake_take_u64(
	struct dn_fake_parser *parser, const char *what, uint64_t min, uint64_t max, uint64_t *ret)
{
	uint64_t value;
	int r = dn_fake_need_word(parser, what);

	if (r < 0)
		return r;
	if (dn_parse_u64_whole(parser->word, &value) < 0 || value < min || value > max)
		return dn_fake_bad(parser, "not a number in range", parser->word);
	*ret = value;
	return 0;
}

int dn_fake_take_pid(struct dn_fake_parser *parser, const char *what, bool event, pid_t *ret)
{
	uint64_t value;
	int r = dn_fake_need_word(parser, what);

	if (r < 0)
		return r;
	if (event && strcmp(parser->word, "none") == 0) {
		*ret = DN_FAKE_PID_NONE;
		return 0;
	}
	if (strcmp(parser->word, "root") == 0) {
		*ret = DN_FAKE_PID_ROOT;
		return 0;
	}
	if (dn_parse_u64_whole(parser->word, &value) < 0 || value < 1 || value > INT32_MAX)
		return dn_fake_bad(parser, "not a process id", parser->word);
	*ret = (pid_t)value;
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parser of the command line: a loop over the rows of options.def. Whole names only, nothing is
 * reordered for run: what follows the command belongs to it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <denet/fs.h>

#include "option-table.h"
#include "options-parse.h"

#define NS_PER_MS UINT64_C(1000000)
#define NS_PER_S UINT64_C(1000000000)
#define INTERVAL_MAX_MS UINT64_C(3600000)
#define DURATION_MAX_S UINT64_C(315360000) /* ten years */
#define PID_MAX UINT64_C(4194304)
#define NUMBER_MAX 1000 /* of a NUMBER */
#define WATCH_DEFAULT_MS "1000"
#define CANDIDATES_MAX 64
#define BIT(command) (1u << (command))

/* Quoted words of the user are cut, so that the rest of the message is never lost. */
#define SHOW_SIZE 96
#define SHOW_COLUMNS 40

_Static_assert(0
#define O(name, letter, arg, commands, group, kind, field, values, fallback, help, more) +1
#include "options.def"
#undef O
		       <= 64,
	"struct dn_parser.seen is too small");

static const char *show(const char *word, char buffer[SHOW_SIZE])
{
	dn_text_safe(word, strlen(word), SHOW_COLUMNS, buffer, SHOW_SIZE);
	return buffer;
}

static uint64_t row_bit(const struct dn_option *row)
{
	return UINT64_C(1) << (row - dn_option_rows);
}

/* Before the subcommand every option is accepted, and judged once the subcommand is known. */
static bool takes(const struct dn_option *row, enum dn_command command)
{
	return command == DN_COMMAND_NONE || row->commands & BIT(command);
}

static const struct dn_option *find_long(const char *name, size_t len, enum dn_command command)
{
	for (unsigned i = 0; i < dn_n_option_rows; i++) {
		const struct dn_option *row = &dn_option_rows[i];

		if (takes(row, command) && strlen(row->name) == len &&
			memcmp(row->name, name, len) == 0)
			return row;
	}
	return NULL;
}

static const struct dn_option *find_letter(char letter, enum dn_command command)
{
	for (unsigned i = 0; i < dn_n_option_rows; i++) {
		if (takes(&dn_option_rows[i], command) && dn_option_rows[i].letter == letter)
			return &dn_option_rows[i];
	}
	return NULL;
}

static int fail_not_for(const struct dn_parser *parser, const struct dn_option *row)
{
	for (unsigned i = 0; i < dn_n_command_rows; i++) {
		if (row->commands & BIT(dn_command_rows[i].command))
			return dn_parser_fail(parser, "option '--%s' is for '%s', not for '%s'",
				row->name, dn_command_rows[i].name,
				dn_command_by_id(parser->options->command)->name);
	}
	return dn_parser_fail(parser, "option '--%s' is not for this subcommand", row->name);
}

static int fail_unknown(const struct dn_parser *parser, const char *name, size_t len)
{
	enum dn_command command = parser->options->command;
	const struct dn_option *elsewhere = find_long(name, len, DN_COMMAND_NONE);
	const char *candidates[CANDIDATES_MAX + 1], *near = NULL;
	char word[65], buffer[SHOW_SIZE];
	unsigned n = 0;

	if (elsewhere)
		return fail_not_for(parser, elsewhere);
	for (unsigned i = 0; i < dn_n_option_rows && n < CANDIDATES_MAX; i++) {
		if (takes(&dn_option_rows[i], command))
			candidates[n++] = dn_option_rows[i].name;
	}
	candidates[n] = NULL;
	if (len < sizeof(word)) {
		memcpy(word, name, len);
		word[len] = '\0';
		near = dn_nearest(word, candidates);
	}
	dn_text_safe(name, len, SHOW_COLUMNS, buffer, sizeof(buffer));
	if (near)
		return dn_parser_fail(
			parser, "unknown option '--%s'; did you mean '--%s'?", buffer, near);
	return dn_parser_fail(parser, "unknown option '--%s'", buffer);
}

/* "12" or "1.5" of a unit, exactly; digits below a nanosecond are dropped. */
static int parse_scaled(const char *text, uint64_t unit_ns, uint64_t *ret)
{
	uint64_t whole, ns;

	if (dn_parse_u64(&text, &whole) < 0)
		return -EINVAL;
	if (__builtin_mul_overflow(whole, unit_ns, &ns))
		return -ERANGE;
	if (*text == '.') {
		uint64_t scale = unit_ns;

		text++;
		if (*text < '0' || *text > '9')
			return -EINVAL;
		for (; *text >= '0' && *text <= '9'; text++) {
			scale /= 10;
			ns = dn_add_sat(ns, scale * (uint64_t)(*text - '0'));
		}
	}
	if (*text != '\0')
		return -EINVAL;
	*ret = ns;
	return 0;
}

static int store_time(
	const struct dn_parser *parser, const struct dn_option *row, const char *value)
{
	bool ms = row->kind == DN_OPTION_MS || row->kind == DN_OPTION_WATCH;
	uint64_t least = ms ? NS_PER_MS : 1;
	uint64_t most = ms ? INTERVAL_MAX_MS * NS_PER_MS : DURATION_MAX_S * NS_PER_S;
	char buffer[SHOW_SIZE];
	uint64_t ns;

	if (parse_scaled(value, ms ? NS_PER_MS : NS_PER_S, &ns) < 0 || ns < least || ns > most)
		return dn_parser_fail(parser, "--%s takes %s, not '%s'", row->name,
			ms ? "milliseconds from 1 to 3600000"
			   : "seconds above 0 and up to 315360000",
			show(value, buffer));
	memcpy((char *)parser->options + row->offset, &ns, sizeof(ns));
	return 0;
}

static int store_percent(
	const struct dn_parser *parser, const struct dn_option *row, const char *value)
{
	char buffer[SHOW_SIZE];
	uint64_t billionths;
	double percent;

	if (parse_scaled(value, NS_PER_S, &billionths) < 0 || billionths == 0)
		return dn_parser_fail(parser, "--%s takes a percentage above 0, not '%s'",
			row->name, show(value, buffer));
	percent = (double)billionths / (double)NS_PER_S;
	memcpy((char *)parser->options + row->offset, &percent, sizeof(percent));
	return 0;
}

static int store_number(
	const struct dn_parser *parser, const struct dn_option *row, const char *value)
{
	char buffer[SHOW_SIZE];
	uint64_t number;
	unsigned n;

	if (dn_parse_u64_whole(value, &number) < 0 || number > NUMBER_MAX)
		return dn_parser_fail(parser, "--%s takes a number from 0 to %u, not '%s'",
			row->name, NUMBER_MAX, show(value, buffer));
	n = (unsigned)number;
	memcpy((char *)parser->options + row->offset, &n, sizeof(n));
	return 0;
}

static int store_one_of(
	const struct dn_parser *parser, const struct dn_option *row, const char *value)
{
	char words[DN_OPTION_VALUES_MAX][16], buffer[SHOW_SIZE];
	const char *candidates[DN_OPTION_VALUES_MAX + 1], *near, *word;
	unsigned n;
	size_t len;

	for (n = 0; n < DN_OPTION_VALUES_MAX; n++) {
		word = dn_option_value(row->values, n, &len);
		if (!word)
			break;
		if (strlen(value) == len && memcmp(value, word, len) == 0) {
			int index = (int)n;

			if (row->kind == DN_OPTION_CHOICE)
				memcpy((char *)parser->options + row->offset, &index,
					sizeof(index));
			else
				memcpy((char *)parser->options + row->offset, &value,
					sizeof(value));
			return 0;
		}
		len = len < sizeof(words[n]) ? len : sizeof(words[n]) - 1;
		memcpy(words[n], word, len);
		words[n][len] = '\0';
		candidates[n] = words[n];
	}
	candidates[n] = NULL;
	near = dn_nearest(value, candidates);
	if (near)
		return dn_parser_fail(parser, "unknown %s '%s' for --%s; did you mean '%s'?",
			row->arg, show(value, buffer), row->name, near);
	return dn_parser_fail(parser, "unknown %s '%s' for --%s, which takes %s", row->arg,
		show(value, buffer), row->name, row->values);
}

static int store(struct dn_parser *parser, const struct dn_option *row, const char *value)
{
	struct dn_options *options = parser->options;
	struct dn_metric_set set;
	uint32_t groups = 0;
	bool on = true;

	if (row->group == DN_GROUP_TARGET && dn_parser_seen(parser, row->name))
		return dn_parser_fail(parser, "--%s is given twice", row->name);
	parser->seen |= row_bit(row);
	if (value && *value == '\0')
		return dn_parser_fail(parser, "the %s of --%s is empty", row->arg, row->name);
	switch (row->kind) {
	case DN_OPTION_FLAG:
		memcpy((char *)options + row->offset, &on, sizeof(on));
		return 0;
	case DN_OPTION_METRICS:
		if (dn_options_metric_set(value, &groups, 0, &set, parser->why) < 0)
			return -EINVAL;
		__attribute__((fallthrough));
	case DN_OPTION_PROBES:
	case DN_OPTION_TEXT:
	case DN_OPTION_FILE:
	case DN_OPTION_DIR:
		memcpy((char *)options + row->offset, &value, sizeof(value));
		return 0;
	case DN_OPTION_SAMPLE:
		memset(options->sample_every, 0, sizeof(options->sample_every));
		memcpy((char *)options + row->offset, &value, sizeof(value));
		return dn_options_sample(value, options->sample_every, parser->why);
	case DN_OPTION_CHOICE:
	case DN_OPTION_WORD:
		return store_one_of(parser, row, value);
	case DN_OPTION_MS:
	case DN_OPTION_SECONDS:
	case DN_OPTION_WATCH:
		return store_time(parser, row, value);
	case DN_OPTION_PERCENT:
		return store_percent(parser, row, value);
	case DN_OPTION_NUMBER:
		return store_number(parser, row, value);
	case DN_OPTION_HELP:
		options->help_topic = options->command == DN_COMMAND_NONE
					      ? NULL
					      : dn_command_by_id(options->command)->name;
		options->command = DN_COMMAND_HELP;
		return 1;
	case DN_OPTION_VERSION:
		options->command = DN_COMMAND_VERSION;
		return 1;
	}
	return 0;
}

/* The next word when it begins like a number, else the row's default. */
static const char *optional_value(struct dn_parser *parser)
{
	if (parser->next < parser->argc && parser->argv[parser->next][0] >= '0' &&
		parser->argv[parser->next][0] <= '9')
		return parser->argv[parser->next++];
	return WATCH_DEFAULT_MS;
}

/* 0; 1 when nothing more is to be parsed (--help); -EINVAL. */
static int parse_long(struct dn_parser *parser)
{
	const char *name = parser->argv[parser->next++] + 2;
	const char *equals = strchr(name, '=');
	size_t len = equals ? (size_t)(equals - name) : strlen(name);
	const struct dn_option *row = find_long(name, len, parser->options->command);
	const char *value = equals ? equals + 1 : NULL;

	if (!row)
		return fail_unknown(parser, name, len);
	if (!row->arg && value)
		return dn_parser_fail(parser, "option '--%s' takes no value", row->name);
	if (row->kind == DN_OPTION_WATCH && !value)
		value = optional_value(parser);
	if (row->arg && !value) {
		if (parser->next >= parser->argc)
			return dn_parser_fail(
				parser, "option '--%s' needs a value (%s)", row->name, row->arg);
		value = parser->argv[parser->next++];
	}
	return store(parser, row, value);
}

static int parse_cluster(struct dn_parser *parser)
{
	const char *letters = parser->argv[parser->next++] + 1;

	for (; *letters; letters++) {
		const struct dn_option *row = find_letter(*letters, parser->options->command);
		const char *value = NULL;
		char buffer[SHOW_SIZE];
		int r;

		if (!row) {
			row = find_letter(*letters, DN_COMMAND_NONE);
			if (row)
				return fail_not_for(parser, row);
			/* All bytes of a character, should it be more than one. */
			dn_text_safe(
				letters, strlen(letters), SHOW_COLUMNS, buffer, sizeof(buffer));
			if ((unsigned char)*letters < 0x80)
				buffer[1] = '\0';
			return dn_parser_fail(parser, "unknown option '-%s'", buffer);
		}
		if (row->arg) {
			if (letters[1] != '\0')
				value = letters + 1;
			else if (row->kind == DN_OPTION_WATCH)
				value = optional_value(parser);
			else if (parser->next < parser->argc)
				value = parser->argv[parser->next++];
			else
				return dn_parser_fail(parser, "option '-%c' needs a value (%s)",
					*letters, row->arg);
		}
		r = store(parser, row, value);
		if (r != 0 || row->arg)
			return r;
	}
	return 0;
}

static int add_pid(const struct dn_parser *parser, const char *word)
{
	struct dn_options *options = parser->options;
	char buffer[SHOW_SIZE];
	uint64_t pid;
	pid_t *pids;

	if (dn_parse_u64_whole(word, &pid) < 0 || pid < 1 || pid > PID_MAX)
		return dn_parser_fail(parser,
			"'%s' is no process id, which is a number from 1 to 4194304",
			show(word, buffer));
	for (unsigned i = 0; i < options->n_pids; i++) {
		if (options->pids[i] == (pid_t)pid)
			return 0;
	}
	/* Grows at powers of two. */
	if ((options->n_pids & (options->n_pids - 1)) == 0) {
		size_t size = options->n_pids ? 2 * (size_t)options->n_pids : 1;

		pids = reallocarray(options->pids, size, sizeof(*pids));
		if (!pids)
			return dn_parser_fail(parser, "out of memory");
		options->pids = pids;
	}
	options->pids[options->n_pids++] = (pid_t)pid;
	return 0;
}

static int unknown_command(const struct dn_parser *parser, const char *word, bool topic)
{
	const char *candidates[16], *near;
	char buffer[SHOW_SIZE];
	unsigned n;

	for (n = 0; n < dn_n_command_rows && n < 15; n++)
		candidates[n] = dn_command_rows[n].name;
	candidates[n] = NULL;
	near = dn_nearest(word, candidates);
	if (near)
		return dn_parser_fail(parser, "unknown subcommand '%s'; did you mean '%s'?",
			show(word, buffer), near);
	if (topic)
		return dn_parser_fail(parser, "unknown subcommand '%s'", show(word, buffer));
	return dn_parser_fail(parser, "unknown subcommand '%s'; did you mean 'denet run %s'?",
		show(word, buffer), buffer);
}

static int set_command(struct dn_parser *parser, const char *word)
{
	const struct dn_command_info *info = dn_command_by_name(word);

	if (!info)
		return unknown_command(parser, word, false);
	parser->options->command = info->command;
	for (unsigned i = 0; i < dn_n_option_rows; i++) {
		const struct dn_option *row = &dn_option_rows[i];

		if (parser->seen >> i & 1 &&
			!find_long(row->name, strlen(row->name), info->command))
			return fail_not_for(parser, row);
	}
	return 0;
}

static int operand(struct dn_parser *parser, const char *word)
{
	struct dn_options *options = parser->options;
	char buffer[SHOW_SIZE];

	switch (options->command) {
	case DN_COMMAND_NONE:
		return set_command(parser, word);
	case DN_COMMAND_RUN:
		options->argv = parser->argv + parser->next - 1;
		return 1;
	case DN_COMMAND_ATTACH:
		return add_pid(parser, word);
	case DN_COMMAND_STATS:
		if (options->file)
			break;
		if (*word == '\0')
			return dn_parser_fail(parser, "the name of the file is empty");
		options->file = word;
		return 0;
	case DN_COMMAND_HELP:
		if (options->help_topic)
			break;
		if (!dn_command_by_name(word))
			return unknown_command(parser, word, true);
		options->help_topic = word;
		return 0;
	default:
		break;
	}
	return dn_parser_fail(parser, "unexpected argument '%s'", show(word, buffer));
}

static int parse_words(struct dn_parser *parser)
{
	struct dn_options *options = parser->options;
	bool operands_only = false;
	int r = 0;

	while (r == 0 && parser->next < parser->argc) {
		const char *word = parser->argv[parser->next];

		if (operands_only || word[0] != '-' || word[1] == '\0') {
			/* "--" before the subcommand ends the options in front of it only. */
			if (options->command == DN_COMMAND_NONE)
				operands_only = false;
			parser->next++;
			r = operand(parser, word);
		} else if (strcmp(word, "--") == 0) {
			operands_only = true;
			parser->next++;
		} else if (word[1] == '-') {
			r = parse_long(parser);
		} else if (options->command == DN_COMMAND_ATTACH && word[1] >= '0' &&
			   word[1] <= '9') {
			/* A negative number is a wrong pid, not an unknown option. */
			parser->next++;
			r = operand(parser, word);
		} else {
			r = parse_cluster(parser);
		}
	}
	return r;
}

int dn_options_parse(int argc, char **argv, struct dn_options *ret, struct dn_why *why)
{
	struct dn_options options = {
		.interval_ns = 100 * NS_PER_MS,
		.max_interval_ns = 1000 * NS_PER_MS,
		.backend = "auto",
		.groups = dn_options_default_groups(),
		.proc_root = "/proc",
		.sys_root = "/sys",
	};
	struct dn_parser parser = {
		.argc = argc, .argv = argv, .next = 1, .options = &options, .why = why};
	bool before_command;
	int r;

	r = parse_words(&parser);
	/* "denet --help run": one more word may say of what. */
	before_command = options.command == DN_COMMAND_HELP && !options.help_topic;
	if (r == 1 && before_command && parser.next < argc && dn_command_by_name(argv[parser.next]))
		options.help_topic = argv[parser.next];
	if (r >= 0)
		r = dn_parser_check(&parser);
	if (r < 0) {
		enum dn_command command = options.command;

		dn_options_finish(&options);
		/* A wrong option in front of "run" is denet's failure, not a status of the command.
		 */
		for (int i = 1; i < argc && command == DN_COMMAND_NONE; i++) {
			if (strcmp(argv[i], "run") == 0)
				command = DN_COMMAND_RUN;
			else if (dn_command_by_name(argv[i]))
				break;
		}
		*ret = (struct dn_options){.command = command};
		return r;
	}
	*ret = options;
	return 0;
}

void dn_options_finish(struct dn_options *options)
{
	if (!options)
		return;
	free(options->pids);
	options->pids = NULL;
	options->n_pids = 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The option table and the list of subcommands as data: what the parser, the help texts, the man
 * pages' option lists and the completions are made of. The rows are in options.def.
 */
#ifndef DENET_OPTION_TABLE_H
#define DENET_OPTION_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "options.h"

/* How the value is read, kept and completed. */
enum dn_option_kind {
	DN_OPTION_FLAG, /* bool */
	DN_OPTION_TEXT, /* const char * */
	DN_OPTION_FILE, /* const char *, completes files */
	DN_OPTION_DIR, /* const char *, completes folders */
	DN_OPTION_METRICS, /* const char *, a list of metric names and prefixes */
	DN_OPTION_PROBES, /* const char *, a list of probe groups to add and to take away */
	DN_OPTION_SAMPLE, /* const char *, a list of GROUP=1/N */
	DN_OPTION_CHOICE, /* an enum, counted from 0 in the order of values */
	DN_OPTION_WORD, /* const char *, one of values */
	DN_OPTION_MS, /* uint64_t nanoseconds, written in milliseconds */
	DN_OPTION_WATCH, /* uint64_t nanoseconds, written in milliseconds, 1000 when there is no
			    value */
	DN_OPTION_SECONDS, /* uint64_t nanoseconds, written in seconds */
	DN_OPTION_PERCENT, /* double */
	DN_OPTION_NUMBER, /* unsigned */
	DN_OPTION_HELP, /* ends the parsing */
	DN_OPTION_VERSION, /* ends the parsing */
};

enum dn_option_group {
	DN_GROUP_TARGET,
	DN_GROUP_OUTPUT,
	DN_GROUP_MEASURE,
	DN_GROUP_TRACE,
	DN_GROUP_PROCESS,
	DN_GROUP_OTHER,
	DN_GROUP_N,
};

struct dn_option {
	const char *name; /* without the dashes */
	char letter; /* 0: none */
	const char *arg; /* name of the value for people; NULL for flags */
	unsigned commands; /* a bit (1 << enum dn_command) each */
	enum dn_option_group group;
	enum dn_option_kind kind;
	size_t offset; /* of the field in struct dn_options */
	const char *values; /* CHOICE, WORD: "a|b|c" */
	const char *fallback; /* default, for people; NULL: none worth saying */
	const char *help; /* fits a line of the help screen */
	const char *more; /* what the man page says in addition; may be NULL */
};

struct dn_command_info {
	enum dn_command command;
	const char *name;
	const char *usage; /* what follows "denet NAME"; lines are further forms */
	const char *summary; /* one line for the overview */
	const char *about; /* below the usage in its own help; lines of at most 80 columns */
	const char *footer; /* end of its own help: examples and exit status */
};

#define DN_OPTION_VALUES_MAX 8

extern const struct dn_option dn_option_rows[];
extern const unsigned dn_n_option_rows;
extern const struct dn_command_info dn_command_rows[];
extern const unsigned dn_n_command_rows;

/* NULL when there is none. */
const struct dn_command_info *dn_command_by_id(enum dn_command command);
const struct dn_command_info *dn_command_by_name(const char *name);
const char *dn_option_group_title(enum dn_option_group group);
/* Word number n of an "a|b|c" list: sets its length; NULL behind the last. */
const char *dn_option_value(const char *values, unsigned n, size_t *ret_len);

/* As dn_help_print(), to any stream. */
int dn_help_write(FILE *out, const char *topic);

/* The JSON Schema of the stream. Errors are left in the stream (ferror). */
void dn_schema_write(FILE *out);
/* docs/metrics.md. */
void dn_metrics_write_markdown(FILE *out);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The rows of options.def as data, and the subcommands. */
#include <string.h>

#include "option-table.h"

#define RUN (1u << DN_COMMAND_RUN)
#define ATTACH (1u << DN_COMMAND_ATTACH)
#define STATS (1u << DN_COMMAND_STATS)
#define DOCTOR (1u << DN_COMMAND_DOCTOR)
#define METRICS (1u << DN_COMMAND_METRICS)
#define BPF (1u << DN_COMMAND_BPF)
#define HELP (1u << DN_COMMAND_HELP)
#define ALL (1u << DN_COMMAND_NONE | RUN | ATTACH | STATS | DOCTOR | METRICS | BPF | HELP)

const struct dn_option dn_option_rows[] = {
#define O(name, letter, arg, commands, group, kind, field, values, fallback, help, more)           \
	{name, letter, arg, commands, DN_GROUP_##group, DN_OPTION_##kind,                          \
		offsetof(struct dn_options, field), values, fallback, help, more},
#include "options.def"
#undef O
};
const unsigned dn_n_option_rows = sizeof(dn_option_rows) / sizeof(dn_option_rows[0]);

/* A flag is kept as bool, text as a pointer, a time as 64 bits: a row of the wrong kind would write
 * beside its field. */
#define SIZE_FLAG sizeof(bool)
#define SIZE_TEXT sizeof(const char *)
#define SIZE_FILE sizeof(const char *)
#define SIZE_DIR sizeof(const char *)
#define SIZE_METRICS sizeof(const char *)
#define SIZE_PROBES sizeof(const char *)
#define SIZE_SAMPLE sizeof(const char *)
#define SIZE_PERCENT sizeof(double)
#define SIZE_NUMBER sizeof(unsigned)
#define SIZE_WORD sizeof(const char *)
#define SIZE_CHOICE sizeof(int)
#define SIZE_MS sizeof(uint64_t)
#define SIZE_SECONDS sizeof(uint64_t)
#define SIZE_WATCH sizeof(uint64_t)
#define SIZE_HELP sizeof(enum dn_command)
#define SIZE_VERSION sizeof(enum dn_command)
#define O(name, letter, arg, commands, group, kind, field, values, fallback, help, more)           \
	_Static_assert(sizeof(((struct dn_options *)0)->field) == SIZE_##kind, "--" name);
#include "options.def"
#undef O

const struct dn_command_info dn_command_rows[] = {
	{
		DN_COMMAND_RUN,
		"run",
		"[OPTION...] [--] CMD [ARG...]",
		"Launch a command and measure it and all its descendants",
		"Launches CMD and measures its whole process tree. CMD can't tell the difference.",
		"Exit status: that of CMD; 125 denet failed, 126 not executable, 127 not found.",
	},
	{
		DN_COMMAND_ATTACH,
		"attach",
		"[OPTION...] PID...\n[OPTION...] --name NAME | --cmdline REGEX | --cgroup PATH",
		"Measure processes that run already",
		"Measures what runs already, with its threads and descendants. Sends no signal.",
		"Ends when all targets are gone, after --duration, or with Ctrl-C.\n"
		"Exit status: 0 measured, 1 failed, 2 wrong arguments.",
	},
	{
		DN_COMMAND_STATS,
		"stats",
		"[OPTION...] FILE",
		"Summarise a recorded stream",
		"Totals, peaks, rates and percentiles of a recorded stream; FILE - is stdin.",
		"Exit status: 0 done, 1 the file can't be read, 2 wrong arguments.",
	},
	{
		DN_COMMAND_DOCTOR,
		"doctor",
		"[OPTION...]",
		"Say what can be measured here, and what would unlock the rest",
		"Per metric: what supplies it here, how good it is, why not, what unlocks it.",
		"Exit status: 0 the base tier works, 1 it does not, 2 wrong arguments.",
	},
	{
		DN_COMMAND_METRICS,
		"metrics",
		"[--json | --markdown | --schema]",
		"List all metrics",
		"Lists every metric that a stream may hold.",
		"Exit status: 0 done, 1 failed, 2 wrong arguments.",
	},
	{
		DN_COMMAND_BPF,
		"bpf",
		"[--json] [--watch [MS]]",
		"List every BPF program, map and link, their cost and owners",
		"Lists the BPF programs, maps and links of the machine, whoever loaded them:\n"
		"memory, runs, run time, what they are attached to and who holds them.",
		"Runs and run time count only while statistics are on. --watch turns them on as\n"
		"long as it runs, which costs 35 to 45 ns for every run of every program.\n"
		"Exit status: 0 done, 1 failed or not allowed (root is), 2 wrong arguments.",
	},
	{
		DN_COMMAND_HELP,
		"help",
		"[COMMAND]",
		"This overview, or the help of a subcommand",
		NULL,
		NULL,
	},
};
const unsigned dn_n_command_rows = sizeof(dn_command_rows) / sizeof(dn_command_rows[0]);

const struct dn_command_info *dn_command_by_id(enum dn_command command)
{
	for (unsigned i = 0; i < dn_n_command_rows; i++) {
		if (dn_command_rows[i].command == command)
			return &dn_command_rows[i];
	}
	return NULL;
}

const struct dn_command_info *dn_command_by_name(const char *name)
{
	for (unsigned i = 0; i < dn_n_command_rows; i++) {
		if (strcmp(dn_command_rows[i].name, name) == 0)
			return &dn_command_rows[i];
	}
	return NULL;
}

const char *dn_option_group_title(enum dn_option_group group)
{
	static const char *const titles[] = {
		[DN_GROUP_TARGET] = "Targets",
		[DN_GROUP_OUTPUT] = "Output",
		[DN_GROUP_MEASURE] = "Measuring",
		[DN_GROUP_TRACE] = "Tracing with eBPF",
		[DN_GROUP_PROCESS] = "Processes",
		[DN_GROUP_OTHER] = "Other",
	};

	return (unsigned)group < DN_GROUP_N ? titles[group] : titles[DN_GROUP_OTHER];
}

const char *dn_option_value(const char *values, unsigned n, size_t *ret_len)
{
	const char *word = values;

	while (word && n-- > 0) {
		word = strchr(word, '|');
		if (word)
			word++;
	}
	if (word)
		*ret_len = strcspn(word, "|");
	return word;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The command line: what is understood, what is refused and how, and that the table and its screens
 * hold together. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "option-table.h"
#include "stdio-guard.h"

#define MS UINT64_C(1000000)
#define S UINT64_C(1000000000)
#define ARGS(...) ((char *[]){"denet", ##__VA_ARGS__, NULL})

static struct dn_options options;
static struct dn_why why;

static int parse(char **argv)
{
	int argc = 0;

	while (argv[argc])
		argc++;
	dn_options_finish(&options);
	memset(&options, 0x5a, sizeof(options));
	memset(&why, 0, sizeof(why));
	return dn_options_parse(argc, argv, &options, &why);
}

static int forget(void **state)
{
	dn_options_finish(&options);
	return 0;
}

#define good(...) assert_int_equal(parse(ARGS(__VA_ARGS__)), 0)

static void defaults(void **state)
{
	good("run", "x");
	assert_int_equal(options.command, DN_COMMAND_RUN);
	assert_int_equal(options.interval_ns, 100 * MS);
	assert_int_equal(options.max_interval_ns, 1000 * MS);
	assert_int_equal(options.duration_ns, 0);
	assert_string_equal(options.backend, "auto");
	assert_string_equal(options.proc_root, "/proc");
	assert_string_equal(options.sys_root, "/sys");
	assert_int_equal(options.color, DN_COLOR_AUTO);
	assert_int_equal(options.format, DN_FORMAT_AUTO);
	assert_false(options.json || options.quiet || options.debug || options.live ||
		     options.per_process || options.process_events || options.no_children ||
		     options.no_subreaper || options.wait_tree);
	assert_null(options.out);
	assert_null(options.metrics);
	assert_null(options.events);
}

static void command_takes_the_rest(void **state)
{
	char **argv = ARGS("run", "-q", "make", "--json", "-o", "x", "--");

	assert_int_equal(parse(argv), 0);
	assert_ptr_equal(options.argv, argv + 3);
	assert_true(options.quiet);
	assert_false(options.json);
	assert_null(options.out);

	argv = ARGS("run", "--", "--json");
	assert_int_equal(parse(argv), 0);
	assert_ptr_equal(options.argv, argv + 3);
	assert_false(options.json);

	argv = ARGS("run", "--", "--", "x");
	assert_int_equal(parse(argv), 0);
	assert_string_equal(options.argv[0], "--");

	good("run", "make", "--help");
	assert_int_equal(options.command, DN_COMMAND_RUN);
	good("run", "-", "x");
	assert_string_equal(options.argv[0], "-");
	good("run", "");
	assert_string_equal(options.argv[0], "");
}

static void before_the_subcommand(void **state)
{
	good("--json", "-i", "7", "--", "run", "-q", "x");
	assert_true(options.json && options.quiet);
	assert_int_equal(options.interval_ns, 7 * MS);
	assert_string_equal(options.argv[0], "x");
	good("--name", "run", "attach");
	assert_string_equal(options.name, "run");
	good("--json", "stats", "f");
	assert_true(options.json);
}

static void spellings(void **state)
{
	good("run", "-jq", "-i13", "x");
	assert_true(options.json && options.quiet);
	assert_int_equal(options.interval_ns, 13 * MS);
	good("run", "-jqo", "f.csv", "--format", "json", "x");
	assert_string_equal(options.out, "f.csv");
	good("run", "--interval=17", "--out", "--json", "x");
	assert_int_equal(options.interval_ns, 17 * MS);
	assert_string_equal(options.out, "--json");
	assert_false(options.json);
	good("run", "--out=a=b", "x");
	assert_string_equal(options.out, "a=b");
	good("run", "-i", "3", "-i", "5", "x");
	assert_int_equal(options.interval_ns, 5 * MS);
	good("stats", "f", "--json", "--lenient");
	assert_true(options.json && options.lenient);
	good("stats", "--", "--json");
	assert_string_equal(options.file, "--json");
	assert_false(options.json);
}

static void all_options_are_kept(void **state)
{
	good("run", "--json", "--format=json", "-o", "fd:3", "-m", "19", "-i", "2.5", "-d", "1.5",
		"--backend", "perf", "-e", "a,b", "--metrics", "cpu", "--per-process",
		"--process-events", "--no-children", "--no-subreaper", "--live", "--debug",
		"--color", "never", "--proc", "p", "--sys", "s", "x");
	assert_true(options.json && options.per_process && options.process_events &&
		    options.no_children && options.no_subreaper && options.live && options.debug);
	assert_int_equal(options.interval_ns, 2500000);
	assert_int_equal(options.max_interval_ns, 19 * MS);
	assert_int_equal(options.duration_ns, 1500 * MS);
	assert_int_equal(options.format, DN_FORMAT_JSON);
	assert_int_equal(options.color, DN_COLOR_NEVER);
	assert_string_equal(options.backend, "perf");
	assert_string_equal(options.events, "a,b");
	assert_string_equal(options.metrics, "cpu");
	assert_string_equal(options.proc_root, "p");
	assert_string_equal(options.sys_root, "s");
	assert_string_equal(options.out, "fd:3");
	good("run", "--wait-tree", "--color=always", "--fake", "f", "x");
	assert_true(options.wait_tree);
	assert_int_equal(options.color, DN_COLOR_ALWAYS);
	assert_string_equal(options.fake_script, "f");
	assert_string_equal(options.backend, "fake");
	good("attach", "--cmdline", "a b");
	assert_string_equal(options.cmdline, "a b");
	good("attach", "--cgroup=/x");
	assert_string_equal(options.cgroup, "/x");
	good("metrics", "--markdown");
	assert_true(options.markdown);
	good("metrics", "--schema");
	assert_true(options.schema);
}

static void intervals(void **state)
{
	good("run", "-i", "1", "x");
	assert_int_equal(options.max_interval_ns, 1 * MS);
	good("run", "-i", "3600000", "x");
	assert_int_equal(options.max_interval_ns, 3600 * S);
	good("run", "-i", "2000", "-m", "2000", "x");
	good("run", "-m", "50", "x");
	assert_int_equal(options.interval_ns, 50 * MS);
	assert_int_equal(options.max_interval_ns, 50 * MS);
	good("run", "-m", "5000", "x");
	assert_int_equal(options.interval_ns, 100 * MS);
	good("run", "-d", "0.000000001", "x");
	assert_int_equal(options.duration_ns, 1);
	good("run", "-d", "0.0000000019", "-d", "1.0000000019", "x");
	assert_int_equal(options.duration_ns, S + 1);
	good("run", "-d", "315360000", "x");
	assert_int_equal(options.duration_ns, 315360000 * S);
}

/* The value of --watch may be left out, and is taken from the next word only when that is a number.
 */
static void watching(void **state)
{
	good("bpf");
	assert_int_equal(options.watch_ns, 0);
	good("bpf", "--watch");
	assert_int_equal(options.watch_ns, 1000 * MS);
	good("bpf", "--watch", "250");
	assert_int_equal(options.watch_ns, 250 * MS);
	good("bpf", "--watch=2.5", "--json");
	assert_int_equal(options.watch_ns, 2500 * MS / 1000);
	good("bpf", "--watch", "--json");
	assert_int_equal(options.watch_ns, 1000 * MS);
	assert_true(options.json);
	good("bpf", "-jw7");
	assert_int_equal(options.watch_ns, 7 * MS);
	good("bpf", "-w", "-j");
	assert_int_equal(options.watch_ns, 1000 * MS);
	assert_true(options.json);
}

static void formats(void **state)
{
	good("run", "-o", "a.csv", "x");
	assert_int_equal(options.format, DN_FORMAT_CSV);
	good("run", "-o", ".csv", "x");
	assert_int_equal(options.format, DN_FORMAT_CSV);
	good("run", "-o", "csv", "x");
	assert_int_equal(options.format, DN_FORMAT_JSON);
	good("run", "-o", "a.csv.json", "x");
	assert_int_equal(options.format, DN_FORMAT_JSON);
	good("run", "-o", "a.csv", "--format", "json", "x");
	assert_int_equal(options.format, DN_FORMAT_JSON);
	good("run", "-o", "-", "--format=csv", "x");
	assert_int_equal(options.format, DN_FORMAT_CSV);
	good("run", "--json", "x");
	assert_int_equal(options.format, DN_FORMAT_JSON);
}

static void pids(void **state)
{
	good("attach", "1", "4194304", "1", "--json", "7", "11", "13");
	assert_int_equal(options.n_pids, 5);
	assert_int_equal(options.pids[0], 1);
	assert_int_equal(options.pids[1], 4194304);
	assert_int_equal(options.pids[4], 13);
	assert_true(options.json);
}

static void help_and_version(void **state)
{
	good("--version");
	assert_int_equal(options.command, DN_COMMAND_VERSION);
	good("run", "-jV");
	assert_int_equal(options.command, DN_COMMAND_VERSION);
	good("help");
	assert_int_equal(options.command, DN_COMMAND_HELP);
	assert_null(options.help_topic);
	good("-h");
	assert_null(options.help_topic);
	good("--help", "run");
	assert_string_equal(options.help_topic, "run");
	good("help", "stats");
	assert_string_equal(options.help_topic, "stats");
	good("attach", "5", "--help", "--jsn");
	assert_int_equal(options.command, DN_COMMAND_HELP);
	assert_string_equal(options.help_topic, "attach");
}

struct refusal {
	char *argv[8];
	enum dn_command command;
	const char *text;
};

#define SEE_RUN "; see 'denet help run'"
#define SEE_ATTACH "; see 'denet help attach'"
#define NO_PID(word) "'" word "' is no process id, which is a number from 1 to 4194304" SEE_ATTACH
#define NO_MS(word) "--interval takes milliseconds from 1 to 3600000, not '" word "'" SEE_RUN
#define NO_S(word) "--duration takes seconds above 0 and up to 315360000, not '" word "'" SEE_RUN
#define RUN DN_COMMAND_RUN
#define ATTACH DN_COMMAND_ATTACH

static const struct refusal refusals[] = {
	{{NULL}, DN_COMMAND_NONE, "a subcommand is missing; see 'denet help'"},
	{{"run"}, RUN, "run needs a command" SEE_RUN},
	{{"run", "--json", "--"}, RUN, "run needs a command" SEE_RUN},
	{{"run", "--jsn", "x"}, RUN,
		"unknown option '--jsn'; did you mean '--json'? See 'denet help run'"},
	{{"run", "--jso", "x"}, RUN,
		"unknown option '--jso'; did you mean '--json'? See 'denet help run'"},
	{{"run", "--zzzzzz", "x"}, RUN, "unknown option '--zzzzzz'" SEE_RUN},
	{{"--jsn", "run", "x"}, RUN,
		"unknown option '--jsn'; did you mean '--json'? See 'denet help'"},
	{{"--jsn", "stats", "run"}, DN_COMMAND_NONE,
		"unknown option '--jsn'; did you mean '--json'? See 'denet help'"},
	{{"run", "-jZ", "x"}, RUN, "unknown option '-Z'" SEE_RUN},
	{{"run", "--json=1", "x"}, RUN, "option '--json' takes no value" SEE_RUN},
	{{"run", "--out"}, RUN, "option '--out' needs a value (FILE)" SEE_RUN},
	{{"run", "-jo"}, RUN, "option '-o' needs a value (FILE)" SEE_RUN},
	{{"run", "--out=", "x"}, RUN, "the FILE of --out is empty" SEE_RUN},
	{{"run", "--name", "x"}, RUN, "option '--name' is for 'attach', not for 'run'" SEE_RUN},
	{{"--lenient", "run", "x"}, RUN,
		"option '--lenient' is for 'stats', not for 'run'" SEE_RUN},
	{{"run", "-i", "0", "x"}, RUN, NO_MS("0")},
	{{"run", "-i", "0.999999", "x"}, RUN, NO_MS("0.999999")},
	{{"run", "-i", "3600000.000001", "x"}, RUN, NO_MS("3600000.000001")},
	{{"run", "-i", "18446744073709551616", "x"}, RUN, NO_MS("18446744073709551616")},
	{{"run", "-i", "18446744073710", "x"}, RUN, NO_MS("18446744073710")},
	{{"run", "-i", "-1", "x"}, RUN, NO_MS("-1")},
	{{"run", "-i", " 5", "x"}, RUN, NO_MS(" 5")},
	{{"run", "-i", "5.", "x"}, RUN, NO_MS("5.")},
	{{"run", "-i", ".5", "x"}, RUN, NO_MS(".5")},
	{{"run", "-i", "1e3", "x"}, RUN, NO_MS("1e3")},
	{{"run", "-i", "1\n2", "x"}, RUN, NO_MS("1?2")},
	{{"run", "-d", "0", "x"}, RUN, NO_S("0")},
	{{"run", "-d", "0.0000000009", "x"}, RUN, NO_S("0.0000000009")},
	{{"run", "-d", "315360000.1", "x"}, RUN, NO_S("315360000.1")},
	{{"run", "-d", "2s", "x"}, RUN, NO_S("2s")},
	{{"run", "-i", "100", "-m", "99", "x"}, RUN, "--max-interval is below --interval" SEE_RUN},
	{{"run", "--backend", "perv", "x"}, RUN,
		"unknown TIER 'perv' for --backend; did you mean 'perf'? See 'denet help run'"},
	{{"run", "--color", "blue", "x"}, RUN,
		"unknown WHEN 'blue' for --color, which takes auto|always|never" SEE_RUN},
	{{"run", "--metrics", "cpu.usre_ns", "x"}, RUN,
		"unknown metric 'cpu.usre_ns'; did you mean 'cpu.user_ns'? See 'denet metrics'"},
	{{"run", "--format", "csv", "x"}, RUN,
		"--format needs --out; for stdout say --out -" SEE_RUN},
	{{"run", "--json", "-o", "a.csv", "x"}, RUN,
		"--json contradicts the .csv of --out; --format decides" SEE_RUN},
	{{"run", "--json", "-o", "a", "--format", "csv", "x"}, RUN,
		"--json and --format csv contradict each other" SEE_RUN},
	{{"run", "-q", "--live", "x"}, RUN, "--quiet and --live contradict each other" SEE_RUN},
	{{"run", "--no-children", "--wait-tree", "x"}, RUN,
		"--no-children and --wait-tree contradict each other" SEE_RUN},
	{{"run", "--fake", "f", "--backend", "perf", "x"}, RUN,
		"--fake contradicts --backend perf" SEE_RUN},
	{{"runn", "x"}, DN_COMMAND_NONE,
		"unknown subcommand 'runn'; did you mean 'run'? See 'denet help'"},
	{{"make", "-j8"}, DN_COMMAND_NONE,
		"unknown subcommand 'make'; did you mean 'denet run make'? See 'denet help'"},
	{{"attach"}, ATTACH, "attach needs a PID, --name, --cmdline or --cgroup" SEE_ATTACH},
	{{"attach", "1", "--name", "x"}, ATTACH,
		"attach takes one of PID..., --name, --cmdline and --cgroup" SEE_ATTACH},
	{{"attach", "--name", "x", "--name", "y"}, ATTACH, "--name is given twice" SEE_ATTACH},
	{{"attach", "0"}, ATTACH, NO_PID("0")},
	{{"attach", "-1"}, ATTACH, NO_PID("-1")},
	{{"attach", "2147483648"}, ATTACH, NO_PID("2147483648")},
	{{"attach", "4194305"}, ATTACH, NO_PID("4194305")},
	{{"attach", "7", "12abc"}, ATTACH, NO_PID("12abc")},
	{{"attach", ""}, ATTACH, NO_PID("")},
	{{"stats"}, DN_COMMAND_STATS, "stats needs a file, or - for stdin; see 'denet help stats'"},
	{{"stats", "a", "b"}, DN_COMMAND_STATS, "unexpected argument 'b'; see 'denet help stats'"},
	{{"doctor", "x"}, DN_COMMAND_DOCTOR, "unexpected argument 'x'; see 'denet help doctor'"},
	{{"bpf", "--watch", "0"}, DN_COMMAND_BPF,
		"--watch takes milliseconds from 1 to 3600000, not '0'; see 'denet help bpf'"},
	{{"bpf", "--watch", "x"}, DN_COMMAND_BPF, "unexpected argument 'x'; see 'denet help bpf'"},
	{{"metrics", "--json", "--schema"}, DN_COMMAND_METRICS,
		"metrics takes one of --json, --markdown and --schema; see 'denet help metrics'"},
	{{"help", "rnu"}, DN_COMMAND_HELP,
		"unknown subcommand 'rnu'; did you mean 'run'? See 'denet help'"},
};

static void refused(void **state)
{
	for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
		char *argv[10] = {"denet"};

		memcpy(argv + 1, refusals[i].argv, sizeof(refusals[i].argv));
		assert_int_equal(parse(argv), -EINVAL);
		assert_string_equal(why.text, refusals[i].text);
		assert_string_equal(why.hint, "");
		assert_int_equal(options.command, refusals[i].command);
		assert_null(options.pids);
	}
}

static void long_words_leave_the_hint(void **state)
{
	char word[4001], *argv[] = {"denet", word, NULL};
	const char *end;

	memset(word, 'a', sizeof(word) - 1);
	word[sizeof(word) - 1] = '\0';
	for (int i = 0; i < 2; i++) {
		assert_int_equal(parse(argv), -EINVAL);
		end = strstr(why.text, " 'denet help'");
		assert_non_null(end);
		assert_string_equal(end, " 'denet help'");
		memcpy(word, "--", 2);
	}
}

static void nearest(void **state)
{
	static const char *const words[] = {"json", "interval", "max-interval", "out",
		"memory.rss_bytes", "io.read_calls", NULL};
	static const char *const none[] = {NULL};

	assert_string_equal(dn_nearest("jsno", words), "json");
	assert_string_equal(dn_nearest("JSON", words), "json");
	assert_string_equal(dn_nearest("inter", words), "interval");
	assert_string_equal(dn_nearest("intreval", words), "interval");
	assert_string_equal(dn_nearest("max_interval", words), "max-interval");
	assert_string_equal(dn_nearest("rss_bytes", words), "memory.rss_bytes");
	assert_null(dn_nearest("ss_bytes", words));
	assert_null(dn_nearest("xyz", words));
	assert_null(dn_nearest("", words));
	assert_null(dn_nearest("json", none));
}

static char *screen(const char *topic, int *ret)
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	assert_non_null(out);
	*ret = dn_help_write(out, topic);
	fclose(out);
	return text;
}

static void help_fits_a_screen(void **state)
{
	for (unsigned i = 0; i < dn_n_command_rows; i++) {
		unsigned lines = 0;
		char *text;
		int r;

		text = screen(dn_command_rows[i].name, &r);
		assert_int_equal(r, 0);
		for (const char *line = text; *line;) {
			size_t len = strcspn(line, "\n");

			if (len > 80)
				fail_msg("too wide: %.*s", (int)len, line);
			lines++;
			line += len + (line[len] == '\n');
		}
		assert_in_range(lines, 5, 52);
		free(text);
	}
}

static void help_names_every_option(void **state)
{
	for (unsigned i = 0; i < dn_n_option_rows; i++) {
		const struct dn_option *row = &dn_option_rows[i];
		char *text, name[64];
		int r;

		snprintf(name, sizeof(name), "--%s ", row->name);
		for (unsigned c = 0; c < dn_n_command_rows; c++) {
			bool listed = row->kind == DN_OPTION_VERSION
					      ? dn_command_rows[c].command == DN_COMMAND_HELP
					      : row->commands & 1u << dn_command_rows[c].command;

			text = screen(dn_command_rows[c].name, &r);
			if (listed && !strstr(text, name))
				fail_msg("%s is not in the help of %s", name,
					dn_command_rows[c].name);
			free(text);
		}
	}
	free(screen(NULL, &(int){0}));
	int r;
	char *text = screen("none", &r);

	assert_int_equal(r, -ENOENT);
	free(text);
}

static void table_is_consistent(void **state)
{
	for (unsigned i = 0; i < dn_n_option_rows; i++) {
		const struct dn_option *a = &dn_option_rows[i];
		bool flag = a->kind == DN_OPTION_FLAG || a->kind == DN_OPTION_HELP ||
			    a->kind == DN_OPTION_VERSION;
		bool choice = a->kind == DN_OPTION_CHOICE || a->kind == DN_OPTION_WORD;

		assert_int_equal(flag, a->arg == NULL);
		assert_int_equal(choice, a->values != NULL);
		for (unsigned j = 0; j < i; j++) {
			const struct dn_option *b = &dn_option_rows[j];
			bool same = strcmp(a->name, b->name) == 0;

			if (a->commands & b->commands) {
				assert_false(same);
				assert_false(a->letter && a->letter == b->letter);
			}
			/* Before the subcommand it is not known yet which of the two it is. */
			if (same) {
				assert_int_equal(a->kind, b->kind);
				assert_int_equal(a->offset, b->offset);
				assert_int_equal(a->letter, b->letter);
			} else {
				assert_false(a->letter && a->letter == b->letter);
			}
		}
	}
}

/* What nests as objects must not be a number as well. */
static void metric_names_nest(void **state)
{
	for (unsigned a = 0; a < DN_M_STATIC_N; a++) {
		const char *name = dn_metric_info(a)->name;

		for (unsigned b = 0; b < DN_M_STATIC_N; b++) {
			const char *other = dn_metric_info(b)->name;

			assert_false(a != b && strncmp(name, other, strlen(name)) == 0 &&
				     (other[strlen(name)] == '.' || other[strlen(name)] == '\0'));
		}
	}
}

/* Brackets balance and every metric is there; the test of the generated files looks at the rest. */
static void schema_holds_every_metric(void **state)
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);
	int depth = 0;
	bool quoted = false;

	assert_non_null(out);
	dn_schema_write(out);
	fclose(out);
	for (const char *p = text; *p; p++) {
		if (*p == '"' && p[-1] != '\\')
			quoted = !quoted;
		if (quoted)
			continue;
		assert_int_not_equal(*p, '\'');
		depth += (*p == '{' || *p == '[') - (*p == '}' || *p == ']');
		if (depth == 0) {
			assert_string_equal(p, "}\n");
			break;
		}
	}
	assert_int_equal(depth, 0);
	assert_false(quoted);
	for (unsigned id = 0; id < DN_M_STATIC_N; id++)
		assert_non_null(strstr(text, dn_metric_info(id)->help));
	free(text);
}

/* In a child, where descriptors can be closed without harm. */
static void closed_descriptors_are_remembered(void **state)
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		int next;

		close(0);
		close(2);
		dn_stdio_guard();
		next = open("/", O_PATH | O_CLOEXEC);
		_exit(dn_stdio_was_closed() == 5 && next > 2 && fcntl(0, F_GETFD) == FD_CLOEXEC &&
					fcntl(2, F_GETFD) == FD_CLOEXEC && write(2, "x", 1) < 0 &&
					errno == EBADF
				? 23
				: 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 23);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults),
		cmocka_unit_test(command_takes_the_rest),
		cmocka_unit_test(before_the_subcommand),
		cmocka_unit_test(spellings),
		cmocka_unit_test(all_options_are_kept),
		cmocka_unit_test(intervals),
		cmocka_unit_test(watching),
		cmocka_unit_test(formats),
		cmocka_unit_test(pids),
		cmocka_unit_test(help_and_version),
		cmocka_unit_test(refused),
		cmocka_unit_test(long_words_leave_the_hint),
		cmocka_unit_test(nearest),
		cmocka_unit_test(help_fits_a_screen),
		cmocka_unit_test(help_names_every_option),
		cmocka_unit_test(table_is_consistent),
		cmocka_unit_test(metric_names_nest),
		cmocka_unit_test(schema_holds_every_metric),
		cmocka_unit_test(closed_descriptors_are_remembered),
	};

	memset(&options, 0, sizeof(options));
	return cmocka_run_group_tests(tests, NULL, forget);
}

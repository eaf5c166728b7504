/* SPDX-License-Identifier: Apache-2.0 */
/* What is measured: --metrics, and the options of the probe groups. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "options.h"

static struct dn_why why;

static unsigned members(const struct dn_metric_set *set)
{
	unsigned n = 0;

	for (unsigned id = 0; id < DN_M_STATIC_N; id++)
		n += dn_metric_set_has(set, id);
	return n;
}

static uint32_t switched_on;

static int metric_set(const char *list, uint32_t groups, uint32_t denied, struct dn_metric_set *set)
{
	switched_on = groups;
	return dn_options_metric_set(list, &switched_on, denied, set, &why);
}

static void metric_sets(void **state)
{
	const uint32_t all = (UINT32_C(1) << DN_PROBES_N) - 2;
	struct dn_metric_set set;

	assert_int_equal(metric_set(NULL, all, 0, &set), 0);
	assert_int_equal(members(&set), DN_M_STATIC_N);
	assert_int_equal(metric_set("memory.rss_bytes,pressure.io", 0, 0, &set), 0);
	assert_int_equal(members(&set), 3);
	assert_true(dn_metric_set_has(&set, DN_M_memory_rss_bytes));
	assert_true(dn_metric_set_has(&set, DN_M_pressure_io_some_ns));
	assert_true(dn_metric_set_has(&set, DN_M_pressure_io_full_ns));
	for (unsigned id = DN_M_STATIC_N; id < DN_METRIC_MAX; id++)
		assert_true(dn_metric_set_has(&set, id));
	assert_int_equal(metric_set("hw.event.any", 0, 0, &set), 0);
	assert_int_equal(members(&set), 0);
	/* "io" is no prefix of "io.read" names only by letters, and part of a segment is none. */
	assert_int_equal(metric_set("memory.rss", all, 0, &set), -EINVAL);
	assert_int_equal(metric_set("", all, 0, &set), -EINVAL);
	assert_int_equal(metric_set("cpu,", all, 0, &set), -EINVAL);
	assert_int_equal(metric_set(",cpu", all, 0, &set), -EINVAL);
	assert_int_equal(metric_set("cpu.", all, 0, &set), -EINVAL);
}

static void metric_sets_follow_the_probe_groups(void **state)
{
	const uint32_t file = 1u << DN_PROBES_FILE, block = 1u << DN_PROBES_BLOCK,
		       memory = 1u << DN_PROBES_MEMORY, locks = 1u << DN_PROBES_LOCKS;
	struct dn_metric_set set;

	assert_int_equal(metric_set(NULL, file, 0, &set), 0);
	assert_int_equal(switched_on, file);
	for (unsigned id = 0; id < DN_M_STATIC_N; id++) {
		unsigned group = dn_metric_group(dn_metric_info(id));

		assert_int_equal(dn_metric_set_has(&set, id),
			group == DN_PROBES_NONE || group == DN_PROBES_FILE);
	}
	/* A prefix that rows of every run have switches nothing on. */
	assert_int_equal(metric_set("memory", file, 0, &set), 0);
	assert_int_equal(switched_on, file);
	assert_true(dn_metric_set_has(&set, DN_M_memory_rss_bytes));
	assert_false(dn_metric_set_has(&set, DN_M_memory_faults_user));
	/* A full name does, and then the prefix has those rows too, in either order. */
	assert_int_equal(metric_set("memory,memory.faults_user", 0, 0, &set), 0);
	assert_int_equal(switched_on, memory);
	assert_true(dn_metric_set_has(&set, DN_M_memory_faults_user));
	assert_true(dn_metric_set_has(&set, DN_M_memory_mmap_bytes));
	assert_false(dn_metric_set_has(&set, DN_M_file_read_bytes));
	/* So does a prefix that only rows of groups have. */
	assert_int_equal(metric_set("block,lock", 0, 0, &set), 0);
	assert_int_equal(switched_on, block | locks);
	assert_true(dn_metric_set_has(&set, DN_M_block_latency));
	/* What --probes took away stays away. */
	assert_int_equal(metric_set("syscall", 0, 1u << DN_PROBES_LATENCY, &set), 0);
	assert_int_equal(switched_on, 1u << DN_PROBES_SYSCALLS);
	assert_false(dn_metric_set_has(&set, DN_M_syscall_latency));
	assert_int_equal(metric_set("file.latency", 0, file, &set), -EINVAL);
	assert_string_equal(why.text,
		"metric 'file.latency' needs the probe group 'file', which --probes takes away");
	assert_int_equal(switched_on, 0);
}

#define BIT(group) (UINT32_C(1) << DN_PROBES_##group)
#define DEFAULTS (BIT(LIFECYCLE) | BIT(SYSCALLS) | BIT(SCHED))
#define EVERY ((UINT32_C(1) << DN_PROBES_N) - 2)

static struct dn_options options;

/* denet run OPTION VALUE [OPTION VALUE [OPTION VALUE]] -- x */
static int parse(
	const char *a, const char *b, const char *c, const char *d, const char *e, const char *f)
{
	const char *words[] = {a, b, c, d, e, f, "--", "x"};
	char *argv[12] = {"denet", "run"};
	int argc = 2;

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (words[i])
			argv[argc++] = (char *)words[i];
	}
	dn_options_finish(&options);
	memset(&options, 0x5a, sizeof(options));
	memset(&why, 0, sizeof(why));
	return dn_options_parse(argc, argv, &options, &why);
}

static void groups_are_added_and_taken_away(void **state)
{
	static const struct {
		const char *list;
		uint32_t groups, denied;
	} cases[] = {
		{"file", DEFAULTS | BIT(FILE), 0},
		{"file,-sched,hw", (DEFAULTS & ~BIT(SCHED)) | BIT(FILE) | BIT(HW), BIT(SCHED)},
		{"all", EVERY, 0},
		{"-all", 0, EVERY},
		{"none", 0, EVERY},
		{"none,latency", BIT(LATENCY), EVERY & ~BIT(LATENCY)},
		{"all,-locks", EVERY & ~BIT(LOCKS), BIT(LOCKS)},
		{"-file,file", DEFAULTS | BIT(FILE), 0},
		{"file,none", 0, EVERY},
	};

	assert_int_equal(dn_options_default_groups(), DEFAULTS);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(parse("--probes", cases[i].list, NULL, NULL, NULL, NULL), 0);
		assert_int_equal(options.groups, cases[i].groups);
		assert_int_equal(options.groups_denied, cases[i].denied);
	}
	assert_int_equal(parse(NULL, NULL, NULL, NULL, NULL, NULL), 0);
	assert_int_equal(options.groups, DEFAULTS);
	assert_int_equal(options.groups_denied, 0);
	/* The last one counts, as for other options. */
	assert_int_equal(parse("--probes", "none", "--probes", "block", NULL, NULL), 0);
	assert_int_equal(options.groups, DEFAULTS | BIT(BLOCK));
}

static void options_that_need_a_group_switch_it_on(void **state)
{
	assert_int_equal(parse("--paths", "17", NULL, NULL, NULL, NULL), 0);
	assert_int_equal(options.paths, 17);
	assert_int_equal(options.groups, DEFAULTS | BIT(FILE));
	assert_int_equal(parse("--paths", "0", NULL, NULL, NULL, NULL), 0);
	assert_int_equal(options.paths, 0);
	assert_int_equal(options.groups, DEFAULTS);
	assert_int_equal(parse("--metrics", "block,cpu", NULL, NULL, NULL, NULL), 0);
	assert_int_equal(options.groups, DEFAULTS | BIT(BLOCK));
	assert_int_equal(parse("--sample", "locks=1/7", "--metrics", "lock", NULL, NULL), 0);
	assert_int_equal(options.sample_every[DN_PROBES_LOCKS], 7);
}

static void sampling_is_per_group(void **state)
{
	assert_int_equal(parse("--sample", "syscalls=1/1000000,latency=1/1", "--probes", "latency",
				 "--max-overhead", "2.5"),
		0);
	for (unsigned group = 0; group < DN_PROBES_N; group++)
		assert_int_equal(options.sample_every[group], group == DN_PROBES_SYSCALLS  ? 1000000
							      : group == DN_PROBES_LATENCY ? 1
											   : 0);
	assert_true(options.max_overhead_percent == 2.5);
	assert_int_equal(parse("--sample", "sched=1/3", "--sample", "syscalls=1/5", NULL, NULL), 0);
	assert_int_equal(options.sample_every[DN_PROBES_SCHED], 0);
	assert_int_equal(options.sample_every[DN_PROBES_SYSCALLS], 5);
}

static void the_rest_is_kept(void **state)
{
	assert_int_equal(parse("--detail", "--account", NULL, NULL, NULL, NULL), 0);
	assert_true(options.detail && options.account);
	assert_int_equal(parse(NULL, NULL, NULL, NULL, NULL, NULL), 0);
	assert_false(options.detail || options.account || options.paths);
	assert_true(options.max_overhead_percent == 0);
	for (unsigned group = 0; group < DN_PROBES_N; group++)
		assert_int_equal(options.sample_every[group], 0);
	assert_int_equal(parse("--max-overhead", "100", NULL, NULL, NULL, NULL), 0);
	assert_true(options.max_overhead_percent == 100);
	assert_int_equal(parse("--max-overhead", "0.001", NULL, NULL, NULL, NULL), 0);
}

static void what_is_wrong_is_named(void **state)
{
	static const struct {
		const char *a, *b, *c, *d, *text;
	} cases[] = {
		{"--probes", "latancy", NULL, NULL,
			"unknown probe group 'latancy'; did you mean 'latency'?"},
		{"--probes", "-syscal", NULL, NULL,
			"unknown probe group 'syscal'; did you mean 'syscalls'?"},
		{"--probes", "file,,hw", NULL, NULL, "unknown probe group ''; there are lifecycle"},
		{"--probes", "file,", NULL, NULL, "unknown probe group ''; there are lifecycle"},
		{"--probes", "-none", NULL, NULL, "unknown probe group 'none'; did you mean"},
		{"--probes", "\033[31m", NULL, NULL, "unknown probe group '?[31m'; there are"},
		{"--sample", "all=1/5", NULL, NULL, "unknown probe group 'all'"},
		{"--sample", "syscalls", NULL, NULL, "not 'syscalls'"},
		{"--sample", "syscalls=5", NULL, NULL, "not 'syscalls=5'"},
		{"--sample", "syscalls=1/0", NULL, NULL, "not 'syscalls=1/0'"},
		{"--sample", "syscalls=1/1000001", NULL, NULL, "not 'syscalls=1/1000001'"},
		{"--sample", "syscalls=1/99999999999999999999", NULL, NULL,
			"--sample takes GROUP=1/N with N from 1 to 1000000, not"},
		{"--sample", "syscalls=1/5x", NULL, NULL, "not 'syscalls=1/5x'"},
		{"--sample", "syscalls=1/", NULL, NULL, "not 'syscalls=1/'"},
		{"--sample", "syscalls=1/5,", NULL, NULL, "unknown probe group ''"},
		{"--sample", "latency=1/5", NULL, NULL,
			"--sample names the probe group 'latency', which is off; add --probes "
			"latency"},
		{"--paths", "1001", NULL, NULL,
			"--paths takes a number from 0 to 1000, not '1001'"},
		{"--paths", "-1", NULL, NULL, "not '-1'"},
		{"--paths", "7", "--probes", "-file",
			"--paths needs the probe group 'file', which --probes takes away"},
		{"--metrics", "syscall.count", "--probes", "none",
			"metric 'syscall.count' needs the probe group 'syscalls', which"},
		{"--max-overhead", "0", NULL, NULL, "a percentage above 0, not '0'"},
		{"--max-overhead", "1e3", NULL, NULL, "not '1e3'"},
		{"--max-overhead", "-1", NULL, NULL, "not '-1'"},
		{"--max-overhead", "nan", NULL, NULL, "not 'nan'"},
		{"--max-overhead", "10000000", NULL, NULL, "--max-overhead is above"},
		{"--max-overhead", "99999999999999999999", NULL, NULL, "a percentage above 0"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(
			parse(cases[i].a, cases[i].b, cases[i].c, cases[i].d, NULL, NULL), -EINVAL);
		if (!strstr(why.text, cases[i].text))
			fail_msg("not \"%s\": %s", cases[i].text, why.text);
		assert_null(strchr(why.text, '\033'));
	}
}

/* All CPUs busy is a budget, more is a mistake. */
static void the_budget_ends_at_all_cpus(void **state)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	char most[32];

	snprintf(most, sizeof(most), "%ld", 100 * cpus);
	assert_int_equal(parse("--max-overhead", most, NULL, NULL, NULL, NULL), 0);
	snprintf(most, sizeof(most), "%ld.001", 100 * cpus);
	assert_int_equal(parse("--max-overhead", most, NULL, NULL, NULL, NULL), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(metric_sets),
		cmocka_unit_test(metric_sets_follow_the_probe_groups),
		cmocka_unit_test(groups_are_added_and_taken_away),
		cmocka_unit_test(options_that_need_a_group_switch_it_on),
		cmocka_unit_test(sampling_is_per_group),
		cmocka_unit_test(the_rest_is_kept),
		cmocka_unit_test(what_is_wrong_is_named),
		cmocka_unit_test(the_budget_ends_at_all_cpus),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

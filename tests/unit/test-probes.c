/* SPDX-License-Identifier: Apache-2.0 */
/* What is measured: --metrics and the probe groups. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(metric_sets),
		cmocka_unit_test(metric_sets_follow_the_probe_groups),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

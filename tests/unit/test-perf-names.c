/* SPDX-License-Identifier: Apache-2.0 */
/* Names of events and what /sys and /proc say of PMUs, CPUs and threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <linux/perf_event.h>

#include "names.h"
#include "perf-fixture.h"
#include "pmu.h"
#include "tasks.h"

/* ---- names ---- */

static void test_name_list(void **state)
{
	const char *list = "cycles,cpu/event=0x3c,umask=1/u,r1a8";
	char name[40];

	assert_int_equal(dn_perf_names_next(&list, name, sizeof(name)), 1);
	assert_string_equal(name, "cycles");
	assert_int_equal(dn_perf_names_next(&list, name, sizeof(name)), 1);
	assert_string_equal(name, "cpu/event=0x3c,umask=1/u");
	assert_int_equal(dn_perf_names_next(&list, name, sizeof(name)), 1);
	assert_string_equal(name, "r1a8");
	assert_int_equal(dn_perf_names_next(&list, name, sizeof(name)), 0);
	list = ",a";
	assert_int_equal(dn_perf_names_next(&list, name, sizeof(name)), -EINVAL);
	list = "abcdefgh";
	assert_int_equal(dn_perf_names_next(&list, name, 8), -EINVAL);
	dn_perf_names_metric("cpu/event=0x3c,umask=1/u", name, sizeof(name));
	assert_string_equal(name, "cpu_event=0x3c_umask=1_u");
	dn_perf_names_metric("a.b\n", name, sizeof(name));
	assert_string_equal(name, "a_b_");
}

static void test_distance(void **state)
{
	assert_int_equal(dn_perf_names_distance("cycles", "CYCLES", 2), 0);
	assert_int_equal(dn_perf_names_distance("cycels", "cycles", 2), 2);
	assert_int_equal(dn_perf_names_distance("cycle", "cycles", 2), 1);
	assert_int_equal(dn_perf_names_distance("kitten", "sitting", 3), 3);
	assert_int_equal(dn_perf_names_distance("kitten", "sitting", 2), 3);
	assert_int_equal(dn_perf_names_distance("", "abc", 7), 3);
	assert_int_equal(dn_perf_names_distance("a", "abcdef", 2), 3);
}

static void test_encode(void **state)
{
	struct perf_event_attr attr;
	enum dn_perf_name_state known;
	char text[512];

	assert_int_equal(
		dn_perf_names_encode(-1, "r1a8", &attr, text, sizeof(text)), DN_PERF_NAME_OK);
	assert_int_equal(attr.type, PERF_TYPE_RAW);
	assert_int_equal(attr.config, 0x1a8);
	assert_int_equal(dn_perf_names_encode(-1, "cpu/cycles", &attr, text, sizeof(text)),
		DN_PERF_NAME_WRONG);

	/* All tables, so that the test needs no PMU. */
	assert_int_equal(setenv("LIBPFM_ENCODE_INACTIVE", "1", 1), 0);
	known = dn_perf_names_encode(-1, "instructions:u", &attr, text, sizeof(text));
	if (known == DN_PERF_NAME_NO_LIBRARY)
		skip();
	assert_int_equal(known, DN_PERF_NAME_OK);
	assert_int_equal(attr.type, PERF_TYPE_HARDWARE);
	assert_int_equal(attr.config, PERF_COUNT_HW_INSTRUCTIONS);
	assert_true(attr.exclude_kernel && !attr.exclude_user);
	assert_int_equal(dn_perf_names_encode(-1, "cycels", &attr, text, sizeof(text)),
		DN_PERF_NAME_UNKNOWN);
	assert_non_null(strstr(text, "CYCLES"));
	assert_int_equal(dn_perf_names_encode(-1, "xyzzyplugh", &attr, text, sizeof(text)),
		DN_PERF_NAME_UNKNOWN);
	assert_string_equal(text, "");
#if defined(__x86_64__)
	assert_int_equal(dn_perf_names_encode(
				 -1, "spr::MEM_LOAD_RETIRED:L3_MISS", &attr, text, sizeof(text)),
		DN_PERF_NAME_OK);
	assert_int_equal(attr.type, PERF_TYPE_RAW);
	assert_int_equal(attr.config & 0xffff, 0x20d1);
#endif
}

static void test_sysfs(void **state)
{
	struct perf_event_attr attr;
	struct dn_perf_pmu pmu[DN_PERF_PMUS_MAX];
	int fd, one;

	fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(fd >= 0);
	put_file(DEVICES "cpu_core/format/event", "config:0-7,32-35\n");
	put_file(DEVICES "cpu_core/format/umask", "config:8-15\n");
	put_file(DEVICES "cpu_core/format/ldlat", "config1:0-15\n");
	put_file(DEVICES "cpu_core/format/inv", "config:23\n");
	put_file(DEVICES "cpu_core/events/llc-misses", "event=0x2e,umask=0x41\n");
	/* Uncore PMUs and the like are no kind of CPU. */
	put_file(DEVICES "uncore_imc/type", "23\n");
	put_file(DEVICES "uncore_imc/cpumask", "0\n");
	assert_int_equal(dn_perf_pmus(fd, pmu, DN_PERF_PMUS_MAX), 2);
	assert_string_equal(pmu[0].name, "cpu_core");
	assert_int_equal(pmu[0].type, 4);
	assert_string_equal(pmu[1].name, "cpu_atom");
	assert_int_equal(pmu[1].type, 11);
	/* One alone is no hybrid machine. */
	put_file("one/" DEVICES "cpu_core/type", "4\n");
	put_file("one/" DEVICES "cpu_core/cpus", "0-15\n");
	one = openat(fd, "one", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(one >= 0);
	assert_int_equal(dn_perf_pmus(one, pmu, DN_PERF_PMUS_MAX), 0);
	close(one);
	assert_int_equal(dn_perf_pmus(-1, pmu, DN_PERF_PMUS_MAX), 0);

	assert_int_equal(
		dn_perf_pmu_encode(fd, "cpu_core/event=0x53c,umask=7,inv,ldlat=31/", &attr), 0);
	assert_int_equal(attr.type, 4);
	assert_true(attr.config == UINT64_C(0x50080073c));
	assert_int_equal(attr.config1, 31);
	assert_int_equal(dn_perf_pmu_encode(fd, "cpu_core/llc-misses/u", &attr), 0);
	assert_int_equal(attr.config, 0x412e);
	assert_true(attr.exclude_kernel && !attr.exclude_user);
	assert_int_equal(dn_perf_pmu_encode(fd, "cpu_atom/config=0x1d,config2=3/k", &attr), 0);
	assert_int_equal(attr.config, 0x1d);
	assert_int_equal(attr.config2, 3);
	assert_true(attr.exclude_user && !attr.exclude_kernel);
	assert_int_equal(dn_perf_pmu_encode(fd, "cpu_core/umask=0x100/", &attr), -E2BIG);
	assert_int_equal(dn_perf_pmu_encode(fd, "cpu_core/nothing/", &attr), -ENOENT);
	assert_int_equal(dn_perf_pmu_encode(fd, "none/event=1/", &attr), -ENOENT);
	assert_int_equal(dn_perf_pmu_encode(fd, "../cpu_core/event=1/", &attr), -EINVAL);
	assert_int_equal(dn_perf_pmu_encode(fd, "cpu_core/../type/", &attr), -EINVAL);
	assert_int_equal(dn_perf_pmu_encode(fd, "cpu_core/event=0x/", &attr), -EINVAL);
	assert_int_equal(dn_perf_pmu_encode(fd, "cpu_core/event=1/z", &attr), -EINVAL);
	close(fd);
}

static void test_cpu_list(void **state)
{
	unsigned cpu[4];

	assert_int_equal(dn_perf_cpu_list_parse("0-1,5\n", cpu, 4), 3);
	assert_int_equal(cpu[0], 0);
	assert_int_equal(cpu[1], 1);
	assert_int_equal(cpu[2], 5);
	assert_int_equal(dn_perf_cpu_list_parse("0-127", cpu, 4), 128);
	assert_int_equal(dn_perf_cpu_list_parse("", cpu, 4), -EINVAL);
	assert_int_equal(dn_perf_cpu_list_parse("3-1", cpu, 4), -EINVAL);
	assert_int_equal(dn_perf_cpu_list_parse("0,", cpu, 4), -EINVAL);
	assert_int_equal(dn_perf_cpu_list_parse("0x1", cpu, 4), -EINVAL);
	assert_int_equal(dn_perf_cpu_list_parse("0-18446744073709551615", cpu, 4), -EINVAL);
}

static void test_tasks(void **state)
{
	const pid_t targets[] = {211, 223};
	struct dn_perf_tasks tasks = {0}, fewer = {0};
	char path[300];
	int fd;

	/* 211 has two threads, the second has the child 223, which is a target as well. */
	put_file("proc/211/task/211/children", "");
	put_file("proc/211/task/211/stat", "211 (a) b) R 1 1");
	put_file("proc/211/task/227/children", "223 229 999 ");
	put_file("proc/211/task/227/stat", "227 (a) S 1 1");
	put_file("proc/223/task/223/children", "");
	put_file("proc/229/task/229/children", "211");
	(void)snprintf(path, sizeof(path), "%s/proc", root);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(dn_perf_tasks_walk(fd, targets, 2, true, true, &tasks), 0);
	assert_int_equal(tasks.n, 4);
	assert_true(tasks.blind); /* the fixture has no children file of ours */
	for (size_t i = 0; i < tasks.n; i++) {
		if (tasks.task[i].tid == 211)
			assert_false(tasks.task[i].blocked);
		if (tasks.task[i].tid == 227)
			assert_true(tasks.task[i].blocked);
		if (tasks.task[i].tid == 229)
			assert_int_equal(tasks.task[i].ppid, 211);
	}
	assert_int_equal(dn_perf_tasks_walk(fd, targets, 1, false, false, &fewer), 0);
	assert_int_equal(fewer.n, 2);
	assert_true(dn_perf_tasks_cover(&tasks, &fewer));
	assert_false(dn_perf_tasks_cover(&fewer, &tasks));
	dn_perf_tasks_finish(&fewer);
	dn_perf_tasks_finish(&tasks);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_name_list),
		cmocka_unit_test(test_distance),
		cmocka_unit_test(test_encode),
		cmocka_unit_test(test_sysfs),
		cmocka_unit_test(test_cpu_list),
		cmocka_unit_test(test_tasks),
	};

	return cmocka_run_group_tests(tests, make_root, remove_root);
}

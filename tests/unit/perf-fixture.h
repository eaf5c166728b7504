/* SPDX-License-Identifier: Apache-2.0 */
/* A folder that stands for /sys and /proc in the tests of the perf backend. */
#ifndef DENET_TEST_PERF_FIXTURE_H
#define DENET_TEST_PERF_FIXTURE_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static char root[] = "/tmp/denet-perf-XXXXXX";

static void put_file(const char *path, const char *text)
{
	char full[300], *slash;
	FILE *file;

	(void)snprintf(full, sizeof(full), "%s/%s", root, path);
	for (slash = strchr(full + sizeof(root), '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		assert_true(mkdir(full, 0700) == 0 || errno == EEXIST);
		*slash = '/';
	}
	file = fopen(full, "we");
	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

#define DEVICES "bus/event_source/devices/"

/* Two kinds of CPU. */
static int make_root(void **state)
{
	if (!mkdtemp(root))
		return -1;
	put_file(DEVICES "cpu_core/type", "4\n");
	put_file(DEVICES "cpu_core/cpus", "0-15\n");
	put_file(DEVICES "cpu_atom/type", "11\n");
	put_file(DEVICES "cpu_atom/cpus", "16-23\n");
	return 0;
}

static int remove_root(void **state)
{
	char command[64];

	(void)snprintf(command, sizeof(command), "rm -rf %s", root);
	return strstr(root, "XXXXXX") ? 0 : system(command);
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzz harness: all parsers of /proc and cgroup text, each on the same bytes. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_stat(const char *text, size_t len)
{
	struct dn_procfs_stat stat;

	if (dn_procfs_parse_stat(text, len, &stat) < 0)
		return;
	if (stat.pid < 0 || stat.ppid < 0 || stat.comm_len >= sizeof(stat.comm))
		abort();
}

static void check_children(const char *text, size_t len)
{
	for (int last = 0; last < 2; last++) {
		size_t position = 0, before;
		pid_t pid;

		do {
			before = position;
			if (dn_procfs_next_pid(text, len, last, &position, &pid) <= 0)
				break;
			if (pid <= 0 || position <= before || position > len)
				abort();
		} while (position < len);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct dn_procfs_statm statm;
	struct dn_procfs_status status;
	struct dn_procfs_schedstat schedstat;
	struct dn_procfs_psi psi;
	uint64_t io[DN_PROCFS_IO_N], value;
	char *text = malloc(size + 1);

	if (!text)
		return 0;
	if (size > 0)
		memcpy(text, data, size);
	text[size] = '\0';
	check_stat(text, size);
	check_children(text, size);
	(void)dn_procfs_parse_statm(text, size, &statm);
	(void)dn_procfs_parse_status(text, size, &status);
	(void)dn_procfs_parse_io(text, size, io);
	(void)dn_procfs_parse_schedstat(text, size, &schedstat);
	(void)dn_procfs_parse_pss(text, size, &value);
	(void)dn_procfs_parse_psi(text, size, &psi);
	(void)dn_procfs_parse_keyed(text, size, NULL, &value);
	(void)dn_procfs_parse_keyed(text, size, "usage_usec", &value);
	free(text);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ticker FILE N: appends N lines, a millisecond apart, the last one "done". Whoever kills denet
 * looks here whether the command lived on.
 */
#include "workload.h"

int main(int argc, char **argv)
{
	int fd = open(argc > 1 ? argv[1] : "/nonexistent",
		O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	uint64_t n = argument(argc, argv, 2, 100);
	char line[32];

	if (fd < 0)
		die("open");
	for (uint64_t i = 0; i < n; i++) {
		write_all(fd, line,
			(size_t)snprintf(line, sizeof(line), "%llu\n", (unsigned long long)i));
		nap(MS);
	}
	write_all(fd, "done\n", 5);
	return 0;
}

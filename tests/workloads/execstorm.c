/* SPDX-License-Identifier: Apache-2.0 */
/*
 * execstorm N MS: N times vfork and exec of itself, which burns MS ms. Truth: processes, execs (its
 * own not counted).
 */
#include "workload.h"

int main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "burn") == 0) {
		burn(CLOCK_PROCESS_CPUTIME_ID, number(argv[2]) * MS);
		return 0;
	}
	uint64_t n = argument(argc, argv, 1, 100);

	for (uint64_t i = 0; i < n; i++) {
		char *const args[] = {"execstorm", "burn", argc > 2 ? argv[2] : "1", NULL};
		pid_t pid = vfork();

		if (pid < 0)
			die("vfork");
		if (pid == 0) {
			execv("/proc/self/exe", args);
			_exit(96);
		}
		if (wait_for(pid) != 0)
			return 95;
	}
	emit("{\"processes\":%llu,\"execs\":%llu}", (unsigned long long)n + 1,
		(unsigned long long)n);
	return 0;
}

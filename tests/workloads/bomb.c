/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bomb MS: a fork bomb that ends by itself: every process forks until MS ms have passed, failures
 * of fork are ignored. Only under a limit on the number of processes.
 */
#include <sched.h>

#include "workload.h"

int main(int argc, char **argv)
{
	uint64_t end = clock_ns(CLOCK_MONOTONIC) + argument(argc, argv, 1, 500) * MS;

	while (clock_ns(CLOCK_MONOTONIC) < end) {
		if (fork() < 0)
			sched_yield();
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
	}
	return 0;
}

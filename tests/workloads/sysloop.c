/* SPDX-License-Identifier: Apache-2.0 */
/* sysloop [N=1000003] [THREADS=1]: N getppid in each of THREADS threads as fast as they go. Truth:
 * calls, wall time. */
#include <pthread.h>
#include <sys/syscall.h>

#include "workload.h"

static uint64_t n;

static void *loop(void *unused)
{
	for (uint64_t i = 0; i < n; i++)
		syscall(SYS_getppid);
	return unused;
}

int main(int argc, char **argv)
{
	uint64_t threads = argument(argc, argv, 2, 1), start, ns;
	pthread_t ids[64];

	n = argument(argc, argv, 1, 1000003);
	if (threads < 1 || threads > 64)
		return 98;
	start = clock_ns(CLOCK_MONOTONIC);
	for (uint64_t i = 1; i < threads; i++)
		if (pthread_create(&ids[i], NULL, loop, NULL))
			die("pthread_create");
	loop(NULL);
	for (uint64_t i = 1; i < threads; i++)
		pthread_join(ids[i], NULL);
	ns = clock_ns(CLOCK_MONOTONIC) - start;
	emit("{\"processes\":1,\"getppid\":%llu,\"wall_ns\":%llu}",
		(unsigned long long)(n * threads), (unsigned long long)ns);
	return 0;
}

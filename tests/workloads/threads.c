/* SPDX-License-Identifier: Apache-2.0 */
/*
 * threads N MS [leader-exits]: N threads burn MS ms of their own CPU time each. With a third
 * argument the leader ends by pthread_exit first, so that the process lives on behind a dead
 * leader. Truth: the process clock at the end.
 */
#include <pthread.h>

#include "workload.h"

static uint64_t each_ns;
static _Atomic uint64_t running;

static void *work(void *unused)
{
	burn(CLOCK_THREAD_CPUTIME_ID, each_ns);
	if (--running == 0 && unused) {
		emit("{\"processes\":1,\"cpu_ns\":%llu}", (unsigned long long)process_ns());
		_exit(0);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	uint64_t n = argument(argc, argv, 1, 4);
	bool dead_leader = argc > 3;
	pthread_t thread[256];

	each_ns = argument(argc, argv, 2, 500) * MS;
	if (n > 256)
		return 98;
	running = n;
	for (uint64_t i = 0; i < n; i++)
		if (pthread_create(&thread[i], NULL, work, dead_leader ? thread : NULL))
			return 99;
	if (dead_leader)
		pthread_exit(NULL);
	for (uint64_t i = 0; i < n; i++)
		pthread_join(thread[i], NULL);
	emit("{\"processes\":1,\"threads\":%llu,\"cpu_ns\":%llu}", (unsigned long long)n + 1,
		(unsigned long long)process_ns());
	return 0;
}

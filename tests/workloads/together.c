/* SPDX-License-Identifier: Apache-2.0 */
/*
 * together [N=101] [THREADS=7]: N processes, four at a time, each with THREADS threads more that
 * wait at a barrier; once all have passed it, all of them leave at once, one of them with
 * exit_group. Truth: processes and threads.
 */
#include <pthread.h>

#include "workload.h"

static pthread_barrier_t barrier;

static void *leave(void *unused)
{
	pthread_barrier_wait(&barrier);
	return unused; /* and ends, if exit_group does not end it before */
}

static _Noreturn void child(uint64_t threads)
{
	pthread_t id;

	if (pthread_barrier_init(&barrier, NULL, (unsigned)threads + 1))
		die("pthread_barrier_init");
	for (uint64_t i = 0; i < threads; i++)
		if (pthread_create(&id, NULL, leave, NULL))
			die("pthread_create");
	pthread_barrier_wait(&barrier);
	_exit(0);
}

static void wait_for_one(void)
{
	int status;

	if (wait(&status) < 0)
		die("wait");
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		_exit(99);
}

int main(int argc, char **argv)
{
	uint64_t n = argument(argc, argv, 1, 101), threads = argument(argc, argv, 2, 7);

	if (threads > 1000)
		return 98;
	for (uint64_t i = 0; i < n; i++) {
		if (fork_or_die() == 0)
			child(threads);
		if (i >= 3)
			wait_for_one();
	}
	for (uint64_t i = 0; i < (n < 3 ? n : 3); i++)
		wait_for_one();
	emit("{\"processes\":%llu,\"threads_started\":%llu,\"ends\":{\"0\":%llu}}",
		(unsigned long long)n + 1, (unsigned long long)(n * threads),
		(unsigned long long)n);
	return 0;
}

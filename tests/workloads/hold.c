/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hold [CHILDREN=0] [THREADS=0] [BURN_MS=0]: a tree that stands still: prints
 * {"pid":...,"children":[...]} when all of it is there, and waits until its standard input ends.
 * Then every child and every thread (or main, when there are none) burns BURN_MS of CPU time, and a
 * line with the truth is printed. SIGUSR1 and SIGTERM are counted, not obeyed: the truth says how
 * many came.
 */
#include <pthread.h>

#include "workload.h"

static _Atomic unsigned caught;
static uint64_t burn_ns;
static pthread_barrier_t barrier;

static void on_signal(int signo)
{
	caught++;
}

static void *idle(void *unused)
{
	pthread_barrier_wait(&barrier);
	burn(CLOCK_THREAD_CPUTIME_ID, burn_ns);
	return NULL;
}

int main(int argc, char **argv)
{
	uint64_t children = argument(argc, argv, 1, 0), threads = argument(argc, argv, 2, 0);
	_Atomic uint64_t *sum = shared(sizeof(*sum));
	struct sigaction action = {.sa_handler = on_signal};
	char list[2048] = "", byte;
	pthread_t thread[64];
	size_t used = 0;
	uint64_t own;
	int go[2];
	ssize_t n;

	burn_ns = argument(argc, argv, 3, 0) * MS;
	if (children > 64 || threads > 64 || pipe2(go, O_CLOEXEC) < 0)
		return 98;
	sigaction(SIGUSR1, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	pthread_barrier_init(&barrier, NULL, (unsigned)threads + 1);
	for (uint64_t i = 0; i < children; i++) {
		uint64_t before;
		pid_t pid = fork_or_die();

		if (pid == 0) {
			close(go[1]);
			while ((n = read(go[0], &byte, 1)) < 0)
				;
			before = process_ns();
			burn(CLOCK_PROCESS_CPUTIME_ID, burn_ns);
			*sum += process_ns() - before;
			_exit(0);
		}
		used += (size_t)snprintf(
			list + used, sizeof(list) - used, "%s%d", used ? "," : "", (int)pid);
	}
	for (uint64_t i = 0; i < threads; i++)
		if (pthread_create(&thread[i], NULL, idle, NULL))
			return 99;
	emit("{\"pid\":%d,\"children\":[%s]}", (int)getpid(), list);
	while ((n = read(0, &byte, 1)) != 0)
		if (n < 0 && errno != EINTR)
			break;
	own = process_ns();
	close(go[1]);
	pthread_barrier_wait(&barrier);
	for (uint64_t i = 0; i < threads; i++)
		pthread_join(thread[i], NULL);
	if (children == 0 && threads == 0)
		burn(CLOCK_PROCESS_CPUTIME_ID, burn_ns);
	for (uint64_t i = 0; i < children; i++)
		wait_for(-1);
	emit("{\"signals\":%u,\"burned_ns\":%llu}", caught,
		(unsigned long long)(*sum + process_ns() - own));
	return 0;
}

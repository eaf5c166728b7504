/* SPDX-License-Identifier: Apache-2.0 */
/*
 * threadexec [MS=23]: three threads burn MS ms each while the leader waits; then one that isn't the
 * leader executes this program again, which takes the leader's pid. Truth: one process, one more
 * exec, three threads, and the CPU time of all that, which the clock of the process keeps across
 * the exec.
 */
#include <pthread.h>

#include "workload.h"

static uint64_t burn_ns;
static pthread_barrier_t barrier;
static char *self;

static void *work(void *executes)
{
	burn(CLOCK_THREAD_CPUTIME_ID, burn_ns);
	pthread_barrier_wait(&barrier);
	if (executes) {
		execl("/proc/self/exe", self, "0", "again", (char *)NULL);
		die("execl");
	}
	for (;;)
		pause();
}

int main(int argc, char **argv)
{
	pthread_t id;

	if (argc > 2) {
		emit("{\"processes\":1,\"pid\":%d,\"execs\":1,\"threads_started\":3,\"cpu_ns\":%"
		     "llu}",
			(int)getpid(), (unsigned long long)process_ns());
		return 0;
	}
	burn_ns = argument(argc, argv, 1, 23) * MS;
	self = argv[0];
	if (pthread_barrier_init(&barrier, NULL, 3))
		die("pthread_barrier_init");
	for (int i = 0; i < 3; i++)
		if (pthread_create(&id, NULL, work, i == 1 ? &burn_ns : NULL))
			die("pthread_create");
	for (;;)
		pause();
}

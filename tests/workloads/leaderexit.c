/* SPDX-License-Identifier: Apache-2.0 */
/*
 * leaderexit [THREADS=3] [MS=23]: the leader ends, alone, as soon as THREADS threads run; they burn
 * MS ms each as threads of a process whose leader is a zombie, and the last one ends the process.
 * Truth: threads, CPU time of the process, its lifetime after the leader's end.
 */
#include <pthread.h>
#include <sys/syscall.h>

#include "workload.h"

static uint64_t threads, burn_ns, left;

/* Until the leader is a zombie (the state behind the command's name in /proc/PID/stat). */
static void wait_for_leader(void)
{
	char path[64], text[256];

	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", (int)getpid());
	for (;;) {
		int fd = open(path, O_RDONLY | O_CLOEXEC);
		ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
		const char *state;

		if (n <= 0)
			die(path);
		close(fd);
		text[n] = '\0';
		state = strrchr(text, ')');
		if (state && state[1] == ' ' && state[2] == 'Z')
			return;
		nap(MS);
	}
}

static void *work(void *unused)
{
	uint64_t start;

	wait_for_leader();
	start = clock_ns(CLOCK_MONOTONIC);
	burn(CLOCK_THREAD_CPUTIME_ID, burn_ns);
	if (__atomic_sub_fetch(&left, 1, __ATOMIC_SEQ_CST) == 0) {
		emit("{\"processes\":1,\"pid\":%d,\"threads_started\":%llu,\"cpu_ns\":%llu,\"after_"
		     "leader_ns\":%llu}",
			(int)getpid(), (unsigned long long)threads,
			(unsigned long long)process_ns(),
			(unsigned long long)(clock_ns(CLOCK_MONOTONIC) - start));
		_exit(0);
	}
	for (;;)
		pause();
	return unused;
}

int main(int argc, char **argv)
{
	pthread_t id;

	left = threads = argument(argc, argv, 1, 3);
	burn_ns = argument(argc, argv, 2, 23) * MS;
	if (threads < 1 || threads > 1000)
		return 98;
	for (uint64_t i = 0; i < threads; i++)
		if (pthread_create(&id, NULL, work, NULL))
			die("pthread_create");
	syscall(SYS_exit, 0);
	return 99;
}

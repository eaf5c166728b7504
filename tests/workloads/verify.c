/* SPDX-License-Identifier: Apache-2.0 */
/*
 * verify N PAR FILE: N children burn 0.2 to 3.2 ms, half of them with one or two further threads;
 * each appends "pid clock_ns" to FILE. Truth: per process, in FILE.
 */
#include <pthread.h>

#include "workload.h"

static void *work(void *ns)
{
	burn(CLOCK_THREAD_CPUTIME_ID, *(uint64_t *)ns);
	return NULL;
}

static _Noreturn void child(unsigned random, int fd)
{
	uint64_t ns = 200000 + random % 3000 * 1000;
	unsigned n = random >> 16 & 1 ? 1 + (random >> 17 & 1) : 0;
	pthread_t thread[2];
	char line[64];
	int len;

	for (unsigned i = 0; i < n; i++)
		if (pthread_create(&thread[i], NULL, work, &ns))
			_exit(99);
	work(&ns);
	for (unsigned i = 0; i < n; i++)
		pthread_join(thread[i], NULL);
	len = snprintf(
		line, sizeof(line), "%d %llu\n", (int)getpid(), (unsigned long long)process_ns());
	write_all(fd, line, (size_t)len);
	_exit(0);
}

int main(int argc, char **argv)
{
	uint64_t n = argument(argc, argv, 1, 400), par = argument(argc, argv, 2, 2), live = 0;
	int fd = open(
		argc > 3 ? argv[3] : "/dev/null", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	unsigned random = 12345;

	if (fd < 0)
		die("open");
	for (uint64_t i = 0; i < n; i++) {
		random = random * 1103515245u + 12345u;
		if (live == par) {
			wait_for(-1);
			live--;
		}
		if (fork_or_die() == 0)
			child(random >> 3, fd);
		live++;
	}
	for (; live > 0; live--)
		wait_for(-1);
	emit("{\"processes\":%llu}", (unsigned long long)n + 1);
	return 0;
}

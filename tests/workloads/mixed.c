/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mixed N: a unit is N raw getppid calls, N fresh pages touched and 50 sleeps of 100 us; it is done
 * in main, in a child, in its child, and in a double-forked grandchild of another session. Truth:
 * four times that.
 */
#include <sys/syscall.h>

#include "workload.h"

static void unit(uint64_t n)
{
	char *p = mmap(
		NULL, (size_t)n * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		die("mmap");
	madvise(p, (size_t)n * 4096, MADV_NOHUGEPAGE);
	for (uint64_t i = 0; i < n; i++)
		syscall(SYS_getppid);
	for (uint64_t i = 0; i < n; i++)
		p[i * 4096] = 1;
	for (unsigned i = 0; i < 50; i++)
		nap(100000);
}

int main(int argc, char **argv)
{
	uint64_t n = argument(argc, argv, 1, 1000);
	int done[2];
	char byte;
	pid_t pid;

	if (pipe2(done, O_CLOEXEC) < 0)
		die("pipe");
	unit(n);
	pid = fork_or_die();
	if (pid == 0) {
		unit(n);
		pid = fork_or_die();
		if (pid == 0) {
			unit(n);
			_exit(0);
		}
		wait_for(pid);
		_exit(0);
	}
	wait_for(pid);
	pid = fork_or_die();
	if (pid == 0) {
		setsid();
		if (fork_or_die() == 0)
			unit(n);
		_exit(0);
	}
	wait_for(pid);
	close(done[1]);
	if (read(done[0], &byte, 1) != 0)
		return 99;
	emit("{\"processes\":5,\"getppid\":%llu,\"minor_faults\":%llu,\"sleeps\":200}",
		(unsigned long long)n * 4, (unsigned long long)n * 4);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * daemon MS [WAIT=200]: a double-forked, setsid grandchild burns MS ms while main has long reaped
 * the middle process. main ends WAIT ms after the grandchild is done; with WAIT 0 it does not wait
 * for it at all. Truth: the grandchild's clock (WAIT > 0), three processes.
 */
#include "workload.h"

int main(int argc, char **argv)
{
	uint64_t ms = argument(argc, argv, 1, 500), wait_ms = argument(argc, argv, 2, 200);
	_Atomic uint64_t *clock = shared(sizeof(*clock));
	uint64_t main_ns;
	int done[2];
	char byte;
	pid_t pid;

	if (pipe2(done, O_CLOEXEC) < 0)
		die("pipe");
	pid = fork_or_die();
	if (pid == 0) {
		setsid();
		if (fork_or_die() == 0) {
			close(done[0]);
			burn(CLOCK_PROCESS_CPUTIME_ID, ms * MS);
			*clock = process_ns();
			_exit(0);
		}
		_exit(0);
	}
	close(done[1]);
	wait_for(pid);
	if (wait_ms > 0) {
		if (read(done[0], &byte, 1) != 0)
			return 99;
		nap(wait_ms * MS);
	}
	main_ns = process_ns();
	emit("{\"processes\":3,\"cpu_ns\":%llu,\"grandchild_cpu_ns\":%llu}",
		(unsigned long long)(*clock + main_ns), (unsigned long long)*clock);
	return 0;
}

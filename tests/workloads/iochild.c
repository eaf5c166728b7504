/* SPDX-License-Identifier: Apache-2.0 */
/*
 * iochild N K [o]: N children, each one write() of K bytes to /dev/null. With o each is a
 * double-forked orphan in its own session, that nobody of the tree ever waits for. Truth: bytes and
 * calls.
 */
#include "workload.h"

int main(int argc, char **argv)
{
	uint64_t n = argument(argc, argv, 1, 100), k = argument(argc, argv, 2, 1000000);
	bool orphan = argc > 3;
	char *data = calloc(1, k + 1);
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	int done[2];
	char byte;

	if (!data || null < 0 || pipe2(done, O_CLOEXEC) < 0)
		die("setup");
	for (uint64_t i = 0; i < n; i++) {
		pid_t pid = fork_or_die();

		if (pid == 0) {
			if (orphan) {
				setsid();
				if (fork_or_die() != 0)
					_exit(0);
			}
			_exit(write(null, data, k) == (ssize_t)k ? 0 : 99);
		}
		if (wait_for(pid) != 0)
			return 99;
	}
	/* End of file: every orphan has closed its end, so it has written. */
	close(done[1]);
	if (read(done[0], &byte, 1) != 0)
		return 99;
	emit("{\"processes\":%llu,\"write_chars\":%llu,\"write_calls\":%llu}",
		(unsigned long long)(orphan ? 2 * n : n) + 1, (unsigned long long)n * k,
		(unsigned long long)n);
	return 0;
}

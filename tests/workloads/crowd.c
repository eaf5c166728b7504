/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crowd N: N children that wait. Prints {"pid":...} when all of them are there; when its standard
 * input ends, they end, and then it does. Truth: processes.
 */
#include "workload.h"

int main(int argc, char **argv)
{
	uint64_t n = argument(argc, argv, 1, 1000);
	char byte;
	int go[2];

	if (pipe2(go, O_CLOEXEC) < 0)
		die("pipe2");
	for (uint64_t i = 0; i < n; i++) {
		if (fork_or_die() == 0) {
			close(go[1]);
			while (read(go[0], &byte, 1) < 0)
				continue;
			_exit(0);
		}
	}
	emit("{\"pid\":%d}", (int)getpid());
	while (read(0, &byte, 1) > 0)
		continue;
	close(go[1]);
	for (uint64_t i = 0; i < n; i++)
		wait_for(-1);
	emit("{\"processes\":%llu}", (unsigned long long)n + 1);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* pingpong N: N one-byte round trips between two processes over two pipes. Truth: calls, and at
 * least N switches each. */
#include <sys/resource.h>

#include "workload.h"

int main(int argc, char **argv)
{
	uint64_t n = argument(argc, argv, 1, 10000);
	struct rusage own, child;
	int to[2], from[2];
	char byte = 'x';
	pid_t pid;

	if (pipe2(to, O_CLOEXEC) < 0 || pipe2(from, O_CLOEXEC) < 0)
		die("pipe");
	pid = fork_or_die();
	for (uint64_t i = 0; i < n; i++) {
		int in = pid == 0 ? to[0] : from[0], out = pid == 0 ? from[1] : to[1];

		if (pid != 0 && write(out, &byte, 1) != 1)
			die("write");
		if (read(in, &byte, 1) != 1)
			die("read");
		if (pid == 0 && write(out, &byte, 1) != 1)
			die("write");
	}
	if (pid == 0)
		_exit(0);
	wait_for(pid);
	getrusage(RUSAGE_SELF, &own);
	getrusage(RUSAGE_CHILDREN, &child);
	emit("{\"processes\":2,\"write_calls\":%llu,\"write_chars\":%llu,\"voluntary\":%ld,"
	     "\"involuntary\":%ld}",
		(unsigned long long)n * 2, (unsigned long long)n * 2, own.ru_nvcsw + child.ru_nvcsw,
		own.ru_nivcsw + child.ru_nivcsw);
	return 0;
}

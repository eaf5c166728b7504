/* SPDX-License-Identifier: Apache-2.0 */
/*
 * autoreap N [MS=2]: children that the kernel reaps itself, since SIGCHLD is ignored: their rusage
 * goes to nobody. Each writes 1,000,000 bytes to /dev/null in one call and burns MS ms. Truth:
 * processes, the children's clocks, bytes.
 */
#include "workload.h"

int main(int argc, char **argv)
{
	uint64_t n = argument(argc, argv, 1, 100), ms = argument(argc, argv, 2, 2);
	_Atomic uint64_t *sum = shared(sizeof(*sum));
	static char data[1000000];
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

	if (null < 0)
		die("/dev/null");
	signal(SIGCHLD, SIG_IGN);
	for (uint64_t i = 0; i < n; i++) {
		if (fork_or_die() == 0) {
			if (write(null, data, sizeof(data)) != sizeof(data))
				_exit(99);
			burn(CLOCK_PROCESS_CPUTIME_ID, ms * MS);
			*sum += process_ns();
			_exit(0);
		}
		/* Returns ECHILD when the last child is gone. */
		wait(NULL);
	}
	emit("{\"processes\":%llu,\"cpu_ns\":%llu,\"write_chars\":%llu,\"write_calls\":%llu}",
		(unsigned long long)n + 1, (unsigned long long)(*sum + process_ns()),
		(unsigned long long)n * sizeof(data), (unsigned long long)n);
	return 0;
}

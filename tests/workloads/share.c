/* SPDX-License-Identifier: Apache-2.0 */
/*
 * share [MB=200] [N=8] [HOLD=1000]: touches MB MiB, then N forked children share them, and all stay
 * for HOLD ms. Truth: MB MiB of proportional memory, (N + 1) times that of resident memory.
 */
#include "workload.h"

int main(int argc, char **argv)
{
	size_t size = (size_t)argument(argc, argv, 1, 200) << 20;
	uint64_t n = argument(argc, argv, 2, 8), hold_ns = argument(argc, argv, 3, 1000) * MS;
	char *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int done[2];
	char byte;

	if (p == MAP_FAILED || pipe2(done, O_CLOEXEC) < 0)
		die("setup");
	memset(p, 1, size);
	for (uint64_t i = 0; i < n; i++) {
		if (fork_or_die() == 0) {
			close(done[1]);
			if (read(done[0], &byte, 1) != 0)
				_exit(99);
			_exit(0);
		}
	}
	nap(hold_ns);
	close(done[1]);
	for (uint64_t i = 0; i < n; i++)
		wait_for(-1);
	emit("{\"processes\":%llu,\"pss_bytes\":%zu,\"rss_bytes\":%llu}", (unsigned long long)n + 1,
		size, (unsigned long long)size * (n + 1));
	return 0;
}

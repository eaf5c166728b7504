/* SPDX-License-Identifier: Apache-2.0 */
/*
 * spike MB MS: after a random 300 to 400 ms maps MB MiB, touches each page, holds them until MS ms
 * have passed, unmaps them and ends 300 ms later. Truth: the pages that it had, and the kernel's
 * own peak.
 */
#include <sys/resource.h>

#include "workload.h"

int main(int argc, char **argv)
{
	size_t size = (size_t)argument(argc, argv, 1, 64) << 20;
	uint64_t hold_ns = argument(argc, argv, 2, 40) * MS, start;
	struct rusage usage;
	char *p;

	nap(300 * MS + clock_ns(CLOCK_MONOTONIC) % (100 * MS));
	start = clock_ns(CLOCK_MONOTONIC);
	p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		die("mmap");
	for (size_t at = 0; at < size; at += 4096)
		p[at] = 1;
	while (clock_ns(CLOCK_MONOTONIC) - start < hold_ns)
		nap(MS);
	munmap(p, size);
	nap(300 * MS);
	getrusage(RUSAGE_SELF, &usage);
	emit("{\"processes\":1,\"spike_bytes\":%zu,\"peak_rss_bytes\":%llu}", size,
		(unsigned long long)usage.ru_maxrss * 1024);
	return 0;
}

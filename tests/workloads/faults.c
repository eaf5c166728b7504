/* SPDX-License-Identifier: Apache-2.0 */
/*
 * faults N [k]: N fresh small pages, touched from user mode, or with k filled by read() of 64 KiB
 * from /dev/zero, so that the faults happen inside the kernel. Truth: N faults, and the kernel's
 * own count just before the end.
 */
#include <sys/resource.h>

#include "workload.h"

int main(int argc, char **argv)
{
	uint64_t n = argument(argc, argv, 1, 4096);
	size_t size = (size_t)n * 4096;
	char *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct rusage usage;

	if (p == MAP_FAILED)
		die("mmap");
	madvise(p, size, MADV_NOHUGEPAGE);
	if (argc > 2) {
		int zero = open("/dev/zero", O_RDONLY | O_CLOEXEC);

		for (size_t at = 0; at < size; at += 65536) {
			size_t len = size - at < 65536 ? size - at : 65536;

			if (read(zero, p + at, len) != (ssize_t)len)
				die("read");
		}
	} else {
		for (uint64_t i = 0; i < n; i++)
			p[i * 4096] = 1;
	}
	getrusage(RUSAGE_SELF, &usage);
	emit("{\"processes\":1,\"minor_faults\":%llu,\"own_minor_faults\":%ld}",
		(unsigned long long)n, usage.ru_minflt);
	return 0;
}

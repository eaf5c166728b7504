/* SPDX-License-Identifier: Apache-2.0 */
/*
 * blockio DEVICE [N=101] [SIZE=4096] [write]: reads N blocks of SIZE bytes from DEVICE (or a file)
 * past the page cache (O_DIRECT), one after the other; with write writes each of them back too.
 * Truth: calls and bytes each way, the device, the time they took, and how often the kernel counted
 * that the CPU was given up meanwhile.
 */
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "workload.h"

int main(int argc, char **argv)
{
	uint64_t n = argument(argc, argv, 2, 101), size = argument(argc, argv, 3, 4096);
	uint64_t read_ns = 0, write_ns = 0;
	bool writes = argc > 4;
	struct rusage before, usage;
	struct stat st;
	void *data;
	int fd;

	if (argc < 2 || size < 512 || size > 1 << 20 || posix_memalign(&data, 4096, size))
		return 98;
	fd = open(argv[1], (writes ? O_RDWR : O_RDONLY) | O_DIRECT | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		die(argv[1]);
	getrusage(RUSAGE_SELF, &before);
	for (uint64_t i = 0; i < n; i++) {
		uint64_t start = clock_ns(CLOCK_MONOTONIC), middle;

		if (pread(fd, data, size, (off_t)(i * size)) != (ssize_t)size)
			die("pread");
		middle = clock_ns(CLOCK_MONOTONIC);
		read_ns += middle - start;
		if (!writes)
			continue;
		if (pwrite(fd, data, size, (off_t)(i * size)) != (ssize_t)size)
			die("pwrite");
		write_ns += clock_ns(CLOCK_MONOTONIC) - middle;
	}
	getrusage(RUSAGE_SELF, &usage);
	emit("{\"processes\":1,\"major\":%u,\"minor\":%u,\"reads\":%llu,\"read_bytes\":%llu,\"read_"
	     "ns\":%llu,"
	     "\"writes\":%llu,\"write_bytes\":%llu,\"write_ns\":%llu,"
	     "\"voluntary\":%ld}",
		major(S_ISBLK(st.st_mode) ? st.st_rdev : st.st_dev),
		minor(S_ISBLK(st.st_mode) ? st.st_rdev : st.st_dev), (unsigned long long)n,
		(unsigned long long)(n * size), (unsigned long long)read_ns,
		(unsigned long long)(writes ? n : 0), (unsigned long long)(writes ? n * size : 0),
		(unsigned long long)write_ns, usage.ru_nvcsw - before.ru_nvcsw);
	return 0;
}

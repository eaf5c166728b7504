/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mmapread FILE: drops the file from the page cache, maps it and touches each page. Truth: its
 * size, fetched from storage, if it is on storage at all.
 */
#include <sys/stat.h>

#include "workload.h"

int main(int argc, char **argv)
{
	int fd = open(argc > 1 ? argv[1] : "/nonexistent", O_RDONLY | O_CLOEXEC);
	volatile unsigned sum = 0;
	const char *p;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		die("open");
	posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		die("mmap");
	for (off_t at = 0; at < st.st_size; at += 4096)
		sum += (unsigned char)p[at];
	emit("{\"processes\":1,\"read_bytes\":%lld,\"sum\":%u}", (long long)st.st_size, sum);
	return 0;
}

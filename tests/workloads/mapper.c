/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mapper [N=11]: by plain system calls, N anonymous mappings of N pages of which the first half is
 * unmapped again, one mapping that fails, the heap raised by 7 pages, lowered by 3 and raised by 2
 * (its end goes back at the end), one memfd, one file in /dev/shm and one System V segment, each of
 * its own size. Truth: what these calls mapped, unmapped, raised and sized; the start of the
 * program maps more.
 */
#include <sys/ipc.h>
#include <sys/shm.h>
#include <sys/syscall.h>

#include "workload.h"

static uint64_t page;

static uint64_t raise_heap(int64_t pages)
{
	uint64_t end = (uint64_t)syscall(SYS_brk, 0);
	uint64_t want = end + (uint64_t)(pages * (int64_t)page);

	if ((uint64_t)syscall(SYS_brk, want) != want)
		die("brk");
	return pages > 0 ? (uint64_t)pages * page : 0;
}

static void make_shared(uint64_t memfd_bytes, uint64_t file_bytes, uint64_t segment_bytes)
{
	char path[64];
	int fd = memfd_create("mapper", MFD_CLOEXEC), id;

	if (fd < 0 || ftruncate(fd, (off_t)memfd_bytes) < 0)
		die("memfd_create");
	close(fd);
	snprintf(path, sizeof(path), "/dev/shm/mapper-%d", (int)getpid());
	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0 || unlink(path) < 0 || ftruncate(fd, (off_t)file_bytes) < 0)
		die(path);
	close(fd);
	id = shmget(IPC_PRIVATE, segment_bytes, 0600);
	if (id < 0 || shmctl(id, IPC_RMID, NULL) < 0)
		die("shmget");
}

int main(int argc, char **argv)
{
	uint64_t n = argument(argc, argv, 1, 11), mapped = 0, unmapped = 0, raised;
	uint64_t memfd_bytes, file_bytes, segment_bytes;
	void *maps[1024];

	page = (uint64_t)sysconf(_SC_PAGESIZE);
	if (n < 1 || n > 1024)
		return 98;
	for (uint64_t i = 0; i < n; i++) {
		long r = syscall(
			SYS_mmap, 0, n * page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (r == -1)
			die("mmap");
		maps[i] = (void *)r;
		mapped += n * page;
	}
	if (syscall(SYS_mmap, 0, 0, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != -1 ||
		errno != EINVAL)
		die("mmap of nothing");
	for (uint64_t i = 0; i < n / 2; i++) {
		if (syscall(SYS_munmap, maps[i], n * page) < 0)
			die("munmap");
		unmapped += n * page;
	}
	raised = raise_heap(7);
	raised += raise_heap(-3);
	raised += raise_heap(2);
	raised += raise_heap(-6);
	memfd_bytes = 13 * page;
	file_bytes = 17 * page;
	segment_bytes = 19 * page;
	make_shared(memfd_bytes, file_bytes, segment_bytes);
	emit("{\"processes\":1,\"mmap_bytes\":%llu,\"mmap_calls\":%llu,\"mmap_errors\":1,\"munmap_"
	     "bytes\":%llu,"
	     "\"munmap_calls\":%llu,\"brk_bytes\":%llu,\"memfd_bytes\":%llu,\"shm_file_bytes\":%"
	     "llu,"
	     "\"segment_bytes\":%llu}",
		(unsigned long long)mapped, (unsigned long long)n + 1, (unsigned long long)unmapped,
		(unsigned long long)(n / 2), (unsigned long long)raised,
		(unsigned long long)memfd_bytes, (unsigned long long)file_bytes,
		(unsigned long long)segment_bytes);
	return 0;
}

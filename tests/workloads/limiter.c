/* SPDX-License-Identifier: Apache-2.0 */
/*
 * limiter [N=7]: runs N times into each limit: EMFILE (RLIMIT_NOFILE) by openat and by dup, ENOMEM
 * (RLIMIT_AS) by mmap, EFBIG (RLIMIT_FSIZE) by pwrite64, ENOSPC by write to /dev/full, EAGAIN
 * (RLIMIT_NPROC) by clone, for which root becomes nobody. An empty read of a nonblocking pipe
 * (EAGAIN) N times too, which is no limit. Truth: failures by errno and call.
 */
#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "workload.h"

static void limit(int resource, uint64_t value)
{
	struct rlimit limits;

	if (getrlimit(resource, &limits) < 0)
		die("getrlimit");
	limits.rlim_cur = value;
	if (setrlimit(resource, &limits) < 0)
		die("setrlimit");
}

static void expect(long r, int error, const char *what)
{
	if (r != -1 || errno != error)
		die(what);
}

static void hit_files(uint64_t n, int null)
{
	struct rlimit before;

	if (getrlimit(RLIMIT_NOFILE, &before) < 0)
		die("getrlimit");
	limit(RLIMIT_NOFILE, 3);
	for (uint64_t i = 0; i < n; i++)
		expect(syscall(SYS_openat, AT_FDCWD, "/dev/null", O_RDONLY | O_CLOEXEC), EMFILE,
			"openat");
	for (uint64_t i = 0; i < n; i++)
		expect(syscall(SYS_dup, null), EMFILE, "dup");
	if (setrlimit(RLIMIT_NOFILE, &before) < 0)
		die("setrlimit");
}

static void hit_file_size(uint64_t n)
{
	int fd = memfd_create("limiter", MFD_CLOEXEC);
	struct rlimit before;

	if (getrlimit(RLIMIT_FSIZE, &before) < 0)
		die("getrlimit");
	signal(SIGXFSZ, SIG_IGN);
	limit(RLIMIT_FSIZE, 4096);
	for (uint64_t i = 0; i < n; i++)
		expect(syscall(SYS_pwrite64, fd, "x", 1, 4096), EFBIG, "pwrite64");
	if (setrlimit(RLIMIT_FSIZE, &before) < 0) /* standard output may be a file */
		die("setrlimit");
}

static uint64_t hit_processes(uint64_t n)
{
	if (geteuid() == 0) {
		uint64_t caps[3] = {0};
		uint32_t header[2] = {0x20080522, 0};

		if (syscall(SYS_setresuid, 65534, 65534, 65534) < 0)
			return 0; /* no right to: the limit does not bind root */
		if (syscall(SYS_capget, header, caps) < 0 || caps[0] & 0xffffffff)
			return 0;
	}
	limit(RLIMIT_NPROC, 0);
	for (uint64_t i = 0; i < n; i++)
		expect(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0), EAGAIN, "clone");
	return n;
}

int main(int argc, char **argv)
{
	uint64_t n = argument(argc, argv, 1, 7), processes, hits;
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC),
	    full = open("/dev/full", O_WRONLY | O_CLOEXEC);
	int pipes[2];
	char byte;

	if (null < 0 || full < 0 || pipe2(pipes, O_CLOEXEC | O_NONBLOCK) < 0)
		die("open");
	hit_files(n, null);
	for (uint64_t i = 0; i < n; i++)
		expect(write(full, "x", 1), ENOSPC, "write");
	for (uint64_t i = 0; i < n; i++)
		expect(read(pipes[0], &byte, 1), EAGAIN, "read");
	hit_file_size(n);
	limit(RLIMIT_AS, 1 << 20);
	for (uint64_t i = 0; i < n; i++)
		expect(syscall(SYS_mmap, 0, 1 << 30, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
			ENOMEM, "mmap");
	processes = hit_processes(n);
	hits = 5 * n + processes;
	emit("{\"processes\":1,\"hits\":%llu,\"by_call\":{\"EMFILE:openat\":%llu,\"EMFILE:dup\":%"
	     "llu,\"ENOSPC:write\":%llu,"
	     "\"EFBIG:pwrite64\":%llu,\"ENOMEM:mmap\":%llu,\"EAGAIN:clone\":%llu},\"empty_reads\":%"
	     "llu}",
		(unsigned long long)hits, (unsigned long long)n, (unsigned long long)n,
		(unsigned long long)n, (unsigned long long)n, (unsigned long long)n,
		(unsigned long long)processes, (unsigned long long)n);
	return 0;
}

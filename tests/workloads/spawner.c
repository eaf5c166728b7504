/* SPDX-License-Identifier: Apache-2.0 */
/*
 * spawner CMD...: runs the command by vfork and exec and prints what the kernel says of it: its
 * rusage, and the difference of our own /proc/self/io across the wait. The truth of a command
 * without denet.
 */
#include <sys/resource.h>

#include "workload.h"

struct io {
	unsigned long long rchar, wchar, syscr, syscw;
};

static void read_io(struct io *io)
{
	char text[512];
	int fd = open("/proc/self/io", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	if (n <= 0)
		die("/proc/self/io");
	text[n] = '\0';
	close(fd);
	if (sscanf(text, "rchar: %llu\nwchar: %llu\nsyscr: %llu\nsyscw: %llu", &io->rchar,
		    &io->wchar, &io->syscr, &io->syscw) != 4)
		die("/proc/self/io");
}

int main(int argc, char **argv)
{
	struct io before, after, again;
	struct rusage usage;
	int status;
	pid_t pid;

	if (argc < 2)
		return 98;
	pid = vfork();
	if (pid < 0)
		die("vfork");
	if (pid == 0) {
		execv(argv[1], argv + 1);
		_exit(127);
	}
	/* While it is a zombie its io is not yet ours; two looks tell what a look costs. */
	if (waitid(P_PID, (id_t)pid, &(siginfo_t){0}, WEXITED | WNOWAIT) < 0)
		die("waitid");
	read_io(&again);
	read_io(&before);
	if (wait4(pid, &status, 0, &usage) < 0)
		die("wait4");
	read_io(&after);
	/* Among the busiest of its tree, it is in every list of them. */
	burn(CLOCK_PROCESS_CPUTIME_ID, 23 * MS);
	emit("{\"status\":%d,\"read_chars\":%llu,\"write_chars\":%llu,\"read_calls\":%llu,\"write_"
	     "calls\":%llu,"
	     "\"cpu_us\":%lld,\"minor_faults\":%ld,\"voluntary\":%ld,\"peak_rss_bytes\":%llu}",
		status, after.rchar - before.rchar - (before.rchar - again.rchar),
		after.wchar - before.wchar - (before.wchar - again.wchar),
		after.syscr - before.syscr - (before.syscr - again.syscr),
		after.syscw - before.syscw - (before.syscw - again.syscw),
		(long long)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 +
			usage.ru_utime.tv_usec + usage.ru_stime.tv_usec,
		usage.ru_minflt, usage.ru_nvcsw, (unsigned long long)usage.ru_maxrss * 1024);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * denysys ERRNO NAME[,NAME...] CMD...: becomes the command under a seccomp filter that answers
 * ERRNO to the named syscalls, as container runtimes do.
 */
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "workload.h"

#if defined(__x86_64__)
#define THIS_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define THIS_ARCH AUDIT_ARCH_AARCH64
#endif

static const struct {
	const char *name;
	int number;
} known[] = {
#define NAME(n)                                                                                    \
	{                                                                                          \
#n, SYS_##n                                                                        \
	}
	NAME(bpf),
	NAME(perf_event_open),
	NAME(ptrace),
	NAME(pidfd_open),
	NAME(clone3),
	NAME(prctl),
	NAME(socket),
	NAME(epoll_create1),
	NAME(timerfd_create),
	NAME(signalfd4),
	NAME(openat),
	NAME(openat2),
	NAME(statx),
	NAME(close_range),
	NAME(prlimit64),
	NAME(sched_getaffinity),
	NAME(getrandom),
	NAME(uname),
	NAME(waitid),
#undef NAME
};

int main(int argc, char **argv)
{
	struct sock_filter code[64];
	struct sock_fprog program = {.filter = code};
	uint64_t error = argument(argc, argv, 1, EPERM);
	unsigned n = 0;

	if (argc < 4 || error > 4095)
		return 98;
	code[n++] = (struct sock_filter)BPF_STMT(
		BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch));
	code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, THIS_ARCH, 1, 0);
	code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	code[n++] = (struct sock_filter)BPF_STMT(
		BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
	for (char *name = strtok(argv[2], ","); name; name = strtok(NULL, ",")) {
		size_t i = 0;

		while (i < sizeof(known) / sizeof(*known) && strcmp(known[i].name, name) != 0)
			i++;
		if (i == sizeof(known) / sizeof(*known) || n > 60)
			return 98;
		code[n++] = (struct sock_filter)BPF_JUMP(
			BPF_JMP | BPF_JEQ | BPF_K, (unsigned)known[i].number, 0, 1);
		code[n++] = (struct sock_filter)BPF_STMT(
			BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)error);
	}
	code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	program.len = (unsigned short)n;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
		syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) < 0)
		die("seccomp");
	execvp(argv[3], argv + 3);
	die(argv[3]);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * syscalls [N=1009] [compat]: system calls by syscall(2) that neither the C library nor the start
 * of a program makes, so that a count by name is this program's alone: N getppid, and shares of N
 * of others that succeed or fail with a known error. With compat also calls of the 32-bit ABI (int
 * 0x80) on x86_64. Truth: calls and errors by name, errors by errno.
 */
#include <sys/syscall.h>

#include "workload.h"

struct call {
	const char *name;
	long nr;
	uint64_t divisor; /* N / divisor + 1 calls */
	int error;
	long args[4];
};

static const struct call calls[] = {
	{"getpgid", SYS_getpgid, 3, 0, {0}},
	{"sched_yield", SYS_sched_yield, 5, 0, {0}},
	{"getsid", SYS_getsid, 7, ESRCH, {0x7fffffff}},
	{"fchdir", SYS_fchdir, 2, EBADF, {-1}},
	{"dup", SYS_dup, 11, EBADF, {-1}},
	{"chdir", SYS_chdir, 13, ENOENT, {(long)"/nonexistent/folder"}},
	{"epoll_create1", SYS_epoll_create1, 17, EINVAL, {-1}},
	{"pipe2", SYS_pipe2, 19, EFAULT, {8}},
	{"socket", SYS_socket, 23, EAFNOSUPPORT, {10007, 1, 0}},
	{"listen", SYS_listen, 29, EBADF, {-1, 1}},
	{"fsync", SYS_fsync, 31, EBADF, {-1}},
	{"kill", SYS_kill, 37, ESRCH, {0x7fffffff, 0}},
	{"timer_delete", SYS_timer_delete, 41, EINVAL, {-1}},
	{"getrusage", SYS_getrusage, 43, EINVAL, {99, 0}},
	{"capget", SYS_capget, 47, EFAULT, {8, 0}},
	{"semop", SYS_semop, 53, EINVAL, {-1, 0, 0}},
	{"syscall_500", 500, 53, ENOSYS, {0}},
	{"syscall_9973", 9973, 59, ENOSYS, {0}},
	{"syscall_-1", -1, 61, ENOSYS, {0}},
};
#define N_CALLS (sizeof(calls) / sizeof(*calls))

static char text[3000];
static size_t length;

static void add(const char *name, uint64_t count, uint64_t errors)
{
	int n = snprintf(text + length, sizeof(text) - length,
		"%s\"%s\":{\"count\":%llu,\"errors\":%llu}", length ? "," : "", name,
		(unsigned long long)count, (unsigned long long)errors);

	if (n < 0 || (size_t)n >= sizeof(text) - length)
		die("text");
	length += (size_t)n;
}

static uint64_t make(const struct call *call, uint64_t n)
{
	uint64_t count = n / call->divisor + 1;

	for (uint64_t i = 0; i < count; i++) {
		long r = syscall(
			call->nr, call->args[0], call->args[1], call->args[2], call->args[3]);

		if ((r < 0 ? errno : 0) != call->error)
			die(call->name);
	}
	add(call->name, count, call->error ? count : 0);
	return count;
}

#if defined(__x86_64__)
static long call32(long nr, long arg)
{
	long r;

	__asm__ volatile("int $0x80"
			 : "=a"(r)
			 : "a"(nr), "b"(arg)
			 : "memory", "cc", "r8", "r9", "r10", "r11");
	return r;
}

/* i386: 64 is getppid, 57 setpgid, 41 dup. */
static void make_compat(uint64_t n)
{
	for (uint64_t i = 0; i < n; i++)
		if (call32(64, 0) != getppid())
			die("getppid of i386");
	for (uint64_t i = 0; i < n / 3; i++)
		if (call32(41, -1) != -EBADF)
			die("dup of i386");
	add("i386:getppid", n, 0);
	add("i386:dup", n / 3, n / 3);
}
#endif

int main(int argc, char **argv)
{
	uint64_t n = argument(argc, argv, 1, 1009), total, errors = 0, getppids = n;

#if defined(__x86_64__)
	if (argc > 2) {
		make_compat(n);
		getppids += n;
		errors += n / 3;
	}
#endif
	for (uint64_t i = 0; i < n; i++)
		syscall(SYS_getppid);
	add("getppid", getppids, 0);
	total = getppids + (getppids - n) + errors;
	for (size_t i = 0; i < N_CALLS; i++) {
		uint64_t count = make(&calls[i], n);

		total += count;
		errors += calls[i].error ? count : 0;
	}
	emit("{\"processes\":1,\"count\":%llu,\"errors\":%llu,\"calls\":{%s}}",
		(unsigned long long)total, (unsigned long long)errors, text);
	return 0;
}

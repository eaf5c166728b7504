/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What all workloads share: burning a stated amount of CPU, reading the kernel's clocks, and
 * printing the truth as one JSON line with a single write(). Needs nothing of denet, so that no
 * error is made twice.
 */
#ifndef WORKLOAD_H
#define WORKLOAD_H

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MS UINT64_C(1000000)
#define UNUSED __attribute__((unused))

UNUSED static _Noreturn void die(const char *what)
{
	dprintf(2, "workload: %s: %s\n", what, strerror(errno));
	_exit(99);
}

UNUSED static uint64_t number(const char *text)
{
	uint64_t value = 0;

	if (!*text)
		goto bad;
	for (; *text; text++) {
		if (*text < '0' || *text > '9' || value > (UINT64_MAX - 9) / 10)
			goto bad;
		value = value * 10 + (uint64_t)(*text - '0');
	}
	return value;
bad:
	dprintf(2, "workload: not a number: %s\n", text);
	_exit(98);
}

/* Argument i as a number, or what it is when it was not given. */
UNUSED static uint64_t argument(int argc, char **argv, int i, uint64_t otherwise)
{
	return i < argc ? number(argv[i]) : otherwise;
}

UNUSED static uint64_t clock_ns(clockid_t id)
{
	struct timespec ts;

	if (clock_gettime(id, &ts) < 0)
		die("clock_gettime");
	return (uint64_t)ts.tv_sec * UINT64_C(1000000000) + (uint64_t)ts.tv_nsec;
}

UNUSED static uint64_t process_ns(void)
{
	return clock_ns(CLOCK_PROCESS_CPUTIME_ID);
}

/* Until the clock has run for ns from now on. */
UNUSED static void burn(clockid_t id, uint64_t ns)
{
	uint64_t end = clock_ns(id) + ns;
	volatile unsigned sum = 0;

	while (clock_ns(id) < end)
		for (unsigned i = 0; i < 2000; i++)
			sum += i;
	(void)sum;
}

UNUSED static void nap(uint64_t ns)
{
	struct timespec ts = {
		(time_t)(ns / UINT64_C(1000000000)), (long)(ns % UINT64_C(1000000000))};

	while (clock_nanosleep(CLOCK_MONOTONIC, 0, &ts, &ts) == EINTR)
		;
}

UNUSED static void *shared(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		die("mmap");
	return p;
}

UNUSED static pid_t fork_or_die(void)
{
	pid_t pid = fork();

	if (pid < 0)
		die("fork");
	return pid;
}

UNUSED static int wait_for(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			die("waitpid");
	return status;
}

UNUSED static void write_all(int fd, const void *data, size_t len)
{
	const char *p = data;

	while (len > 0) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			die("write");
		p += n;
		len -= (size_t)n;
	}
}

/* One line, one write(): what it costs is known to the reader (its length, one call). */
UNUSED __attribute__((format(printf, 1, 2))) static void emit(const char *format, ...)
{
	char line[4096];
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(line, sizeof(line) - 1, format, args);
	va_end(args);
	if (n < 0 || (size_t)n >= sizeof(line) - 1)
		_exit(97);
	line[n++] = '\n';
	write_all(1, line, (size_t)n);
}

#endif

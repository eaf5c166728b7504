/* SPDX-License-Identifier: Apache-2.0 */
/*
 * latencies [N=7] [MS=11]: N times each: nanosleep of MS ms, ppoll of nothing with a timeout of MS
 * ms, a read of a pipe that a child writes to after MS ms (its sleeps are clock_nanosleep), a futex
 * wait with a timeout of MS ms. Truth: count, errors and the durations that CLOCK_MONOTONIC saw
 * around the calls, never shorter than what the kernel sees inside: their sum, and those of rank
 * 50, 95 and 99 percent.
 */
#include <linux/futex.h>
#include <poll.h>
#include <sys/syscall.h>

#include "workload.h"

#define WAITS_MAX 1000

struct timing {
	const char *name, *kind; /* the call; what the thread waits for */
	uint64_t count, errors, sum_ns, ns[WAITS_MAX];
};

static struct timing timings[] = {
	{.name = "nanosleep", .kind = "sleep"},
	{.name = "ppoll", .kind = "network"},
	{.name = "read", .kind = "pipe"},
	{.name = "futex", .kind = "futex"},
};
static struct timespec pause_for;
static int word, pipes[2];

static long wait_once(unsigned which)
{
	struct timespec ts = pause_for;
	char byte;

	switch (which) {
	case 0:
		return syscall(SYS_nanosleep, &ts, NULL);
	case 1:
		return syscall(SYS_ppoll, NULL, 0, &ts, NULL, 0);
	case 2:
		return read(pipes[0], &byte, 1) == 1 ? 0 : -1;
	default:
		return syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, &ts, NULL, 0);
	}
}

static void time_once(struct timing *timing, unsigned which)
{
	uint64_t start = clock_ns(CLOCK_MONOTONIC), ns;
	long r = wait_once(which);

	ns = clock_ns(CLOCK_MONOTONIC) - start;
	if (which == 3 ? r != -1 || errno != ETIMEDOUT : r != 0)
		die(timing->name);
	timing->ns[timing->count++] = ns;
	timing->errors += r < 0;
	timing->sum_ns += ns;
}

static int compare(const void *a, const void *b)
{
	uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;

	return (left > right) - (left < right);
}

/* The timing whose rank is so many percent of all; they are sorted. */
static unsigned long long rank(const struct timing *timing, unsigned percent)
{
	return timing->ns[(timing->count * percent + 99) / 100 - (percent > 0)];
}

/* The child writes MS ms after it was told to, so that each read waits. */
static void read_late(struct timing *timing, uint64_t n, uint64_t ns)
{
	int go[2];
	char byte = 'x';
	pid_t pid;

	if (pipe2(pipes, O_CLOEXEC) < 0 || pipe2(go, O_CLOEXEC) < 0)
		die("pipe");
	pid = fork_or_die();
	if (pid == 0) {
		close(go[1]);
		while (read(go[0], &byte, 1) == 1) {
			nap(ns);
			write_all(pipes[1], &byte, 1);
		}
		_exit(0);
	}
	for (uint64_t i = 0; i < n; i++) {
		write_all(go[1], &byte, 1);
		time_once(timing, 2);
	}
	close(go[1]);
	if (wait_for(pid) != 0)
		die("child");
}

int main(int argc, char **argv)
{
	uint64_t n = argument(argc, argv, 1, 7), ns = argument(argc, argv, 2, 11) * MS;
	char text[2048];
	size_t length = 0;

	if (n < 1 || n > WAITS_MAX)
		return 98;
	pause_for.tv_sec = (time_t)(ns / 1000000000);
	pause_for.tv_nsec = (long)(ns % 1000000000);
	for (unsigned which = 0; which < 4; which++) {
		struct timing *t = &timings[which];

		if (which == 2)
			read_late(t, n, ns);
		else
			for (uint64_t i = 0; i < n; i++)
				time_once(t, which);
		qsort(t->ns, t->count, sizeof(t->ns[0]), compare);
		length += (size_t)snprintf(text + length, sizeof(text) - length,
			"%s\"%s\":{\"kind\":\"%s\",\"count\":%llu,\"errors\":%llu,\"sum_ns\":%llu,"
			"\"min_ns\":%llu,\"p50_ns\":%llu,\"p95_ns\":%llu,\"p99_ns\":%llu,\"max_"
			"ns\":%llu}",
			which ? "," : "", t->name, t->kind, (unsigned long long)t->count,
			(unsigned long long)t->errors, (unsigned long long)t->sum_ns, rank(t, 0),
			rank(t, 50), rank(t, 95), rank(t, 99), rank(t, 100));
	}
	emit("{\"processes\":2,\"asked_ns\":%llu,\"calls\":{%s}}", (unsigned long long)ns, text);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * futexes [N=13] [MS=7]: on one word N waits that time out after MS ms; on a second one N waits
 * that a child ends by a wake some MS ms later; on a third one N calls that return EAGAIN at once,
 * which is no wait. No futex call but these (the child is a process, not a thread). Truth: by
 * address, waits and the time that CLOCK_MONOTONIC saw around them.
 */
#include <linux/futex.h>
#include <sys/syscall.h>

#include "workload.h"

struct word {
	uint32_t value;
	uint64_t waits, again, sum_ns, max_ns;
};

static long futex(uint32_t *address, int op, uint32_t value, const struct timespec *timeout)
{
	return syscall(SYS_futex, address, op, value, timeout, NULL, 0);
}

/* One wait; 0, or the errno it ended with. */
static int wait_on(struct word *word, uint32_t expected, const struct timespec *timeout)
{
	uint64_t start = clock_ns(CLOCK_MONOTONIC), ns;
	int error = futex(&word->value, FUTEX_WAIT, expected, timeout) < 0 ? errno : 0;

	ns = clock_ns(CLOCK_MONOTONIC) - start;
	if (error == EAGAIN) {
		word->again++;
		return error;
	}
	word->waits++;
	word->sum_ns += ns;
	if (ns > word->max_ns)
		word->max_ns = ns;
	return error;
}

static size_t print(char *text, size_t size, const struct word *word, const char *name)
{
	return (size_t)snprintf(text, size,
		"\"%s\":{\"address\":\"%p\",\"waits\":%llu,\"again\":%llu,\"sum_ns\":%llu,\"max_"
		"ns\":%llu}",
		name, (const void *)&word->value, (unsigned long long)word->waits,
		(unsigned long long)word->again, (unsigned long long)word->sum_ns,
		(unsigned long long)word->max_ns);
}

int main(int argc, char **argv)
{
	uint64_t n = argument(argc, argv, 1, 13), ns = argument(argc, argv, 2, 7) * MS;
	struct timespec timeout = {(time_t)(ns / 1000000000), (long)(ns % 1000000000)};
	struct word *words = shared(3 * 64), *timed = words, *woken = words + 1,
		    *refused = words + 2;
	char text[1024];
	size_t length;
	pid_t pid;

	for (uint64_t i = 0; i < n; i++)
		if (wait_on(timed, 0, &timeout) != ETIMEDOUT)
			die("timed wait");
	pid = fork_or_die();
	if (pid == 0) {
		for (uint64_t i = 0; i < n; i++) {
			nap(ns);
			__atomic_fetch_add(&woken->value, 1, __ATOMIC_SEQ_CST);
			futex(&woken->value, FUTEX_WAKE, 1, NULL);
		}
		_exit(0);
	}
	for (;;) {
		uint32_t value = __atomic_load_n(&woken->value, __ATOMIC_SEQ_CST);
		int error;

		if (value == n)
			break;
		error = wait_on(woken, value, NULL);
		if (error && error != EAGAIN)
			die("wait");
	}
	if (wait_for(pid) != 0)
		die("child");
	for (uint64_t i = 0; i < n; i++)
		if (wait_on(refused, 1, NULL) != EAGAIN)
			die("EAGAIN");
	length = print(text, sizeof(text), timed, "timed");
	text[length++] = ',';
	length += print(text + length, sizeof(text) - length, woken, "woken");
	text[length++] = ',';
	print(text + length, sizeof(text) - length, refused, "refused");
	emit("{\"processes\":2,\"pid\":%d,\"waits\":%llu,\"wait_ns\":%llu,\"wakes\":%llu,\"words\":"
	     "{%s}}",
		(int)getpid(), (unsigned long long)(timed->waits + woken->waits),
		(unsigned long long)(timed->sum_ns + woken->sum_ns), (unsigned long long)n, text);
	return 0;
}

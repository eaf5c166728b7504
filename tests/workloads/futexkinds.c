/* SPDX-License-Identifier: Apache-2.0 */
/*
 * futexkinds [N=5] [MS=7]: N waits of each kind that time out after MS ms, on a word of its own:
 * FUTEX_WAIT_BITSET, FUTEX_LOCK_PI (held by the parent), futex_waitv on two words, futex_wait where
 * the kernel has it; and one FUTEX_WAIT of 10 * MS that a stop interrupts, which goes on as
 * restart_syscall. Truth: by address, calls that waited and the time that CLOCK_MONOTONIC saw.
 */
#include <linux/futex.h>
#include <sys/syscall.h>

#include "workload.h"

#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449
#endif
#ifndef SYS_futex_wait
#define SYS_futex_wait 455
#endif

struct word {
	uint32_t value;
	uint64_t waits, sum_ns;
};

enum { BITSET, PI, VECTOR, SINGLE, STOPPED, N_KINDS };
static const char *const names[N_KINDS] = {"bitset", "pi", "waitv", "wait", "stopped"};

static struct timespec later(clockid_t clock, uint64_t ns)
{
	uint64_t at = clock_ns(clock) + ns;

	return (struct timespec){(time_t)(at / 1000000000), (long)(at % 1000000000)};
}

static int wait_vector(uint32_t *address, const struct timespec *until)
{
	static uint32_t second;
	struct {
		uint64_t value, address;
		uint32_t flags, reserved;
	} waits[2] = {{0, (uintptr_t)address, 2, 0}, {0, (uintptr_t)&second, 2, 0}};

	return (int)syscall(SYS_futex_waitv, waits, 2, 0, until, CLOCK_MONOTONIC);
}

static int wait_once(int kind, uint32_t *address, uint64_t ns)
{
	struct timespec until = later(kind == PI ? CLOCK_REALTIME : CLOCK_MONOTONIC, ns);
	struct timespec length = {0, (long)ns};

	switch (kind) {
	case BITSET:
		return (int)syscall(SYS_futex, address, FUTEX_WAIT_BITSET, 0, &until, NULL,
			FUTEX_BITSET_MATCH_ANY);
	case PI:
		return (int)syscall(SYS_futex, address, FUTEX_LOCK_PI, 0, &until, NULL, 0);
	case VECTOR:
		return wait_vector(address, &until);
	case SINGLE:
		return (int)syscall(
			SYS_futex_wait, address, 0, 0xffffffff, 2, &until, CLOCK_MONOTONIC);
	default:
		return (int)syscall(SYS_futex, address, FUTEX_WAIT, 0, &length, NULL, 0);
	}
}

/* The child's part; 0, or the errno of a kind that this kernel does not have. */
static int measure(int kind, struct word *word, uint64_t ns)
{
	uint64_t start = clock_ns(CLOCK_MONOTONIC);

	if (wait_once(kind, &word->value, ns) != -1)
		die(names[kind]);
	if (errno == ENOSYS)
		return errno;
	if (errno != ETIMEDOUT)
		die(names[kind]);
	word->waits++;
	word->sum_ns += clock_ns(CLOCK_MONOTONIC) - start;
	return 0;
}

/* Lets a stopped child go on. */
static void resume(pid_t pid)
{
	siginfo_t info;

	if (waitid(P_PID, (id_t)pid, &info, WSTOPPED) < 0 || kill(pid, SIGCONT) < 0)
		die("SIGCONT");
}

int main(int argc, char **argv)
{
	uint64_t n = argument(argc, argv, 1, 5), ns = argument(argc, argv, 2, 7) * MS;
	struct word *words = shared(N_KINDS * 64);
	char text[1024];
	size_t length = 0;
	pid_t pid;

	words[PI].value = (uint32_t)getpid();
	pid = fork_or_die();
	if (pid == 0) {
		for (int kind = 0; kind < STOPPED; kind++)
			for (uint64_t i = 0; i < n; i++)
				if (measure(kind, &words[kind], ns) != 0)
					break;
		raise(SIGSTOP); /* the last wait begins now */
		measure(STOPPED, &words[STOPPED], 10 * ns);
		words[STOPPED].waits++; /* and the call that it went on as */
		_exit(0);
	}
	resume(pid);
	nap(3 * ns);
	if (kill(pid, SIGSTOP) < 0)
		die("SIGSTOP");
	resume(pid);
	if (wait_for(pid) != 0)
		die("child");
	for (int kind = 0; kind < N_KINDS; kind++)
		length += (size_t)snprintf(text + length, sizeof(text) - length,
			"%s\"%s\":{\"address\":\"%p\",\"waits\":%llu,\"sum_ns\":%llu}",
			kind ? "," : "", names[kind], (void *)&words[kind].value,
			(unsigned long long)words[kind].waits,
			(unsigned long long)words[kind].sum_ns);
	emit("{\"processes\":2,\"pid\":%d,\"words\":{%s}}", (int)pid, text);
	return 0;
}

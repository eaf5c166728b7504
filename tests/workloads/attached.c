/* SPDX-License-Identifier: Apache-2.0 */
/*
 * attached [THREADS=3] [CHILDREN=2] [CALLS=1009] [busy]: THREADS threads and CHILDREN child
 * processes, each of which makes CALLS getppid calls. Then it prints {"pid":...} and all wait until
 * standard input ends: asleep in a read, or with busy by making getuid calls, while main starts and
 * ends threads and processes. After that each makes CALLS getppid calls and one write of 7 bytes to
 * /dev/null, and so do as many new threads and new children. Truth: all that since standard input
 * ended.
 */
#include <poll.h>
#include <pthread.h>
#include <sys/syscall.h>

#include "workload.h"

static uint64_t calls, n_threads, n_children;
static bool busy;
static int go[2], sink;
static struct {
	_Atomic uint64_t ready;
	_Atomic bool go;
} * all;

static void call(void)
{
	for (uint64_t i = 0; i < calls; i++)
		syscall(SYS_getppid);
}

static void wait_for_go(void)
{
	char byte;

	while (busy && !all->go)
		syscall(SYS_getuid);
	while (!busy && read(go[0], &byte, 1) < 0)
		;
}

static void known(void)
{
	call();
	write_all(sink, "unknown", 7);
}

static void *old_thread(void *unused)
{
	call();
	all->ready++;
	wait_for_go();
	known();
	return unused;
}

static void *new_thread(void *unused)
{
	known();
	return unused;
}

static void *nothing(void *unused)
{
	return unused;
}

static void start_threads(pthread_t *ids, void *(*run)(void *))
{
	for (uint64_t i = 0; i < n_threads; i++)
		if (pthread_create(&ids[i], NULL, run, NULL))
			die("pthread_create");
}

static void join(const pthread_t *ids)
{
	for (uint64_t i = 0; i < n_threads; i++)
		pthread_join(ids[i], NULL);
}

/* Births and deaths while denet looks who is there. */
static void churn(void)
{
	struct pollfd end = {.fd = 0, .events = POLLIN};
	pthread_t id;
	pid_t pid;

	while (poll(&end, 1, 0) == 0) {
		pid = fork_or_die();
		if (pid == 0)
			_exit(0);
		if (pthread_create(&id, NULL, nothing, NULL))
			die("pthread_create");
		pthread_join(id, NULL);
		if (waitpid(pid, NULL, 0) != pid)
			die("waitpid");
	}
}

int main(int argc, char **argv)
{
	pthread_t ids[64];
	pid_t pids[64];
	char byte;

	n_threads = argument(argc, argv, 1, 3);
	n_children = argument(argc, argv, 2, 2);
	calls = argument(argc, argv, 3, 1009);
	busy = argc > 4;
	all = shared(sizeof(*all));
	sink = open("/dev/null", O_WRONLY | O_CLOEXEC);
	if (n_threads > 64 || n_children > 64 || sink < 0 || pipe2(go, O_CLOEXEC) < 0)
		return 98;
	for (uint64_t i = 0; i < n_children; i++) {
		pids[i] = fork_or_die();
		if (pids[i])
			continue;
		close(go[1]);
		(void)old_thread(NULL);
		_exit(0);
	}
	start_threads(ids, old_thread);
	while (all->ready < n_threads + n_children)
		nap(MS);
	emit("{\"pid\":%d}", (int)getpid());
	if (busy)
		churn();
	while (read(0, &byte, 1) > 0)
		;
	all->go = true;
	close(go[1]);
	join(ids);
	for (uint64_t i = 0; i < n_children; i++)
		wait_for(pids[i]);
	start_threads(ids, new_thread);
	join(ids);
	for (uint64_t i = 0; i < n_children; i++) {
		pids[i] = fork_or_die();
		if (pids[i] == 0) {
			known();
			_exit(0);
		}
		wait_for(pids[i]);
	}
	emit("{\"getppid\":%llu,\"write_calls\":%llu,\"write_chars\":%llu,\"born\":%llu,"
	     "\"threads_started\":%llu}",
		(unsigned long long)(2 * calls * (n_threads + n_children)),
		(unsigned long long)(2 * (n_threads + n_children)),
		(unsigned long long)(14 * (n_threads + n_children)), (unsigned long long)n_children,
		(unsigned long long)n_threads);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * signaler [N=17]: to itself N USR1 (kill), N USR2 (tgkill), all handled, N WINCH, which are
 * ignored, three TERM while it is blocked, which become one, and three of the first real-time
 * signal, which stay three; then five children that it ends with TERM, each of which brings a CHLD
 * that is ignored. Truth: by signal, sent, delivered (to a handler, or deadly) and ignored, over
 * all processes.
 */
#include <sys/syscall.h>

#include "workload.h"

#define CHILDREN 5

static volatile uint64_t handled[65];

static void handler(int signo)
{
	handled[signo]++;
}

static void send_to_self(int signo, uint64_t n)
{
	for (uint64_t i = 0; i < n; i++)
		if (kill(getpid(), signo) < 0)
			die("kill");
}

int main(int argc, char **argv)
{
	uint64_t n = argument(argc, argv, 1, 17);
	int real_time = SIGRTMIN;
	const int caught[] = {SIGUSR1, SIGUSR2, SIGTERM, real_time};
	struct sigaction action = {.sa_handler = handler};
	sigset_t set;
	int ready[2];
	char byte;

	for (size_t i = 0; i < sizeof(caught) / sizeof(*caught); i++)
		sigaction(caught[i], &action, NULL);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, real_time);
	signal(SIGWINCH, SIG_DFL);
	signal(SIGCHLD, SIG_DFL);
	send_to_self(SIGUSR1, n);
	for (uint64_t i = 0; i < n; i++)
		if (syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), SIGUSR2) < 0)
			die("tgkill");
	send_to_self(SIGWINCH, n);
	sigprocmask(SIG_BLOCK, &set, NULL);
	send_to_self(SIGTERM, 3);
	send_to_self(real_time, 3);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	if (handled[SIGUSR1] != n || handled[SIGUSR2] != n || handled[SIGTERM] != 1 ||
		handled[real_time] != 3)
		return 99;
	if (pipe2(ready, O_CLOEXEC) < 0)
		die("pipe");
	for (int i = 0; i < CHILDREN; i++) {
		pid_t pid = fork_or_die();
		int status;

		if (pid == 0) {
			signal(SIGTERM, SIG_DFL);
			write_all(ready[1], "x", 1);
			for (;;)
				pause();
		}
		if (read(ready[0], &byte, 1) != 1 || kill(pid, SIGTERM) < 0)
			die("kill");
		status = wait_for(pid);
		if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGTERM)
			return 99;
	}
	emit("{\"processes\":%d,\"signals\":{"
	     "\"SIGUSR1\":{\"sent\":%llu,\"delivered\":%llu,\"ignored\":0},"
	     "\"SIGUSR2\":{\"sent\":%llu,\"delivered\":%llu,\"ignored\":0},"
	     "\"SIGWINCH\":{\"sent\":%llu,\"delivered\":0,\"ignored\":%llu},"
	     "\"SIGTERM\":{\"sent\":%d,\"delivered\":%d,\"ignored\":0},"
	     "\"SIGRT\":{\"number\":%d,\"sent\":3,\"delivered\":3,\"ignored\":0},"
	     "\"SIGCHLD\":{\"sent\":%d,\"delivered\":0,\"ignored\":%d}}}",
		CHILDREN + 1, (unsigned long long)n, (unsigned long long)n, (unsigned long long)n,
		(unsigned long long)n, (unsigned long long)n, (unsigned long long)n, 3 + CHILDREN,
		1 + CHILDREN, real_time, CHILDREN, CHILDREN);
	return 0;
}

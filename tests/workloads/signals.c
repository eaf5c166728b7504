/* SPDX-License-Identifier: Apache-2.0 */
/*
 * signals FILE: says "ready" in FILE, then appends the name of each signal of INT TERM HUP QUIT
 * USR1 USR2 WINCH CONT that it gets, and ends with 0 on USR2. What a forwarded signal looks like
 * from the other side, and how often it comes.
 */
#include "workload.h"

int main(int argc, char **argv)
{
	static const int list[] = {
		SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGWINCH, SIGCONT};
	int fd = open(argc > 1 ? argv[1] : "/nonexistent",
		O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	sigset_t set;

	if (fd < 0)
		die("open");
	sigemptyset(&set);
	for (size_t i = 0; i < sizeof(list) / sizeof(*list); i++)
		sigaddset(&set, list[i]);
	sigprocmask(SIG_BLOCK, &set, NULL);
	dprintf(fd, "ready %d\n", (int)getpid());
	for (;;) {
		int signo;

		if (sigwait(&set, &signo))
			return 99;
		dprintf(fd, "%s\n", sigabbrev_np(signo));
		if (signo == SIGUSR2)
			return 0;
	}
}

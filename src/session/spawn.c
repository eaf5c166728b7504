/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "commands.h"
#include "spawn.h"

/*
 * The gate is a socket, and recv() opens it: read() would show up in the command's /proc/PID/io as
 * a call and a byte that it never made.
 */
static void __attribute__((noreturn))
child_main(int gate, char **argv, const struct dn_inheritance *inheritance, bool stdout_to_stderr)
{
	char go = 0;
	int error;

	/* Here I am: from now on this process does nothing until it may go. */
	if (send(gate, &go, 1, MSG_NOSIGNAL) != 1 || recv(gate, &go, 1, 0) != 1)
		_exit(DN_EXIT_FAILED); /* denet died or gave up */
	/* The standard descriptors that were closed when denet started close again by O_CLOEXEC
	 * (stdio-guard.c). */
	if (stdout_to_stderr)
		dup2(STDERR_FILENO, STDOUT_FILENO);
	sigaction(SIGPIPE, &inheritance->sigpipe, NULL);
	sigaction(SIGXFSZ, &inheritance->sigxfsz, NULL);
	sigaction(SIGCHLD, &inheritance->sigchld, NULL);
	sigprocmask(SIG_SETMASK, &inheritance->mask, NULL);
	execvp(argv[0], argv);
	error = errno;
	(void)!send(gate, &error, sizeof(error), MSG_NOSIGNAL);
	_exit(error == ENOENT ? DN_EXIT_NOT_FOUND : DN_EXIT_NOT_EXECUTABLE);
}

int dn_spawn(char **argv, const struct dn_inheritance *inheritance, bool stdout_to_stderr,
	struct dn_child *ret, struct dn_why *why)
{
	int ends[2], r;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0) {
		r = -errno;
		dn_why_set(why, "cannot make the gate for the command: %s", strerror(-r));
		return r;
	}
	pid = fork();
	if (pid < 0) {
		r = -errno;
		dn_why_set(why, "cannot fork for the command: %s", strerror(-r));
		if (r == -EAGAIN)
			dn_why_hint(why, "the limit of processes is reached (ulimit -u, or "
					 "pids.max of the cgroup)");
		close(ends[0]);
		close(ends[1]);
		return r;
	}
	if (pid == 0) {
		close(ends[0]);
		child_main(ends[1], argv, inheritance, stdout_to_stderr);
	}
	close(ends[1]);
	ret->pid = pid;
	ret->gate = ends[0];
	ret->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	return 0;
}

void dn_spawn_wait_arrival(struct dn_child *child)
{
	char here;

	while (recv(child->gate, &here, 1, 0) < 0 && errno == EINTR)
		continue;
}

int dn_spawn_open_gate(struct dn_child *child)
{
	char go = 1;
	ssize_t n;

	do
		n = send(child->gate, &go, 1, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

int dn_spawn_exec_error(struct dn_child *child)
{
	int error = 0;
	ssize_t n;

	do
		n = recv(child->gate, &error, sizeof(error), MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	close(child->gate);
	child->gate = -1;
	return n == (ssize_t)sizeof(error) ? error : 0;
}

void dn_child_finish(struct dn_child *child)
{
	if (child->gate >= 0)
		close(child->gate);
	if (child->pidfd >= 0)
		close(child->pidfd);
	child->gate = child->pidfd = -1;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#include "signals.h"

/*
 * Not here: SIGTSTP, SIGTTIN and SIGTTOU keep their default action, so that ^Z stops denet together
 * with the rest of its group; SIGKILL and SIGSTOP can't be had; faults (SIGSEGV...) kill denet as
 * they should.
 */
static const int handled[] = {SIGCHLD, SIGINT, SIGQUIT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGALRM,
	SIGCONT, SIGWINCH, SIGVTALRM, SIGPROF, SIGIO, SIGPWR, SIGURG, SIGXCPU};

#define FAILED_MAX 1000

static int on_readable(struct dn_source *source, uint32_t events)
{
	struct dn_signals *signals = dn_container_of(source, struct dn_signals, source);
	struct signalfd_siginfo info[8];
	ssize_t n = read(source->fd, info, sizeof(info));

	/* One failed read loses nothing, the next one gets the same; but not for ever. */
	if (n < 0)
		return errno == EAGAIN || errno == EINTR || ++signals->n_failed < FAILED_MAX
			       ? 0
			       : -errno;
	signals->n_failed = 0;
	for (size_t i = 0; i < (size_t)n / sizeof(info[0]); i++)
		signals->on_signal(signals, &info[i]);
	return 0;
}

int dn_signals_init(struct dn_signals *signals, struct dn_inheritance *ret_inheritance)
{
	struct sigaction ignore = {.sa_handler = SIG_IGN}, dfl = {.sa_handler = SIG_DFL};
	sigset_t set;

	sigemptyset(&set);
	for (unsigned i = 0; i < sizeof(handled) / sizeof(handled[0]); i++)
		sigaddset(&set, handled[i]);
	signals->source.fd = -1;
	signals->source.dispatch = on_readable;
	if (sigprocmask(SIG_BLOCK, &set, &ret_inheritance->mask) < 0)
		return -errno;
	/* A reader that left and a file size limit are errors of a write, told once, and no reason
	 * to die. */
	sigaction(SIGPIPE, &ignore, &ret_inheritance->sigpipe);
	sigaction(SIGXFSZ, &ignore, &ret_inheritance->sigxfsz);
	/* An inherited SIG_IGN would make the kernel reap our children before we can. */
	sigaction(SIGCHLD, &dfl, &ret_inheritance->sigchld);
	signals->source.fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return signals->source.fd < 0 ? -errno : 0;
}

void dn_signals_finish(struct dn_signals *signals)
{
	if (signals->source.fd >= 0)
		close(signals->source.fd);
	signals->source.fd = -1;
}

void dn_die_of_signal(int signal_number)
{
	struct rlimit none = {0, 0};
	struct sigaction dfl = {.sa_handler = SIG_DFL};
	sigset_t set;

	/* The core belongs to the command; ours would overwrite it. */
	setrlimit(RLIMIT_CORE, &none);
	sigaction(signal_number, &dfl, NULL);
	sigemptyset(&set);
	sigaddset(&set, signal_number);
	raise(signal_number);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
}

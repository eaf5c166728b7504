/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signals as events. While the command runs, denet outlives what ends it: what was sent to denet
 * alone goes on to the command once, what a terminal sends reaches the whole group by itself.
 */
#ifndef DENET_SIGNALS_H
#define DENET_SIGNALS_H

#include <sys/signalfd.h>

#include <denet/loop.h>

#include "spawn.h"

struct dn_signals {
	struct dn_source source;
	unsigned n_failed; /* reads in a row */
	void (*on_signal)(struct dn_signals *signals, const struct signalfd_siginfo *info);
};

/* Blocks what denet handles, ignores SIGPIPE and SIGXFSZ, and tells what the command must get back.
 */
int dn_signals_init(struct dn_signals *signals, struct dn_inheritance *ret_inheritance);
void dn_signals_finish(struct dn_signals *signals);
/* Dies of the signal, without a core of its own. Returns only if that signal can't kill. */
void dn_die_of_signal(int signal_number);

#endif

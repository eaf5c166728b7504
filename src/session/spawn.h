/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command behind its gate: forked, not yet exec'ed, so that everything can be opened on it
 * before its first instruction. What it inherits is what denet inherited: signal mask and
 * dispositions, descriptors, limits.
 */
#ifndef DENET_SPAWN_H
#define DENET_SPAWN_H

#include <signal.h>
#include <stdbool.h>
#include <sys/types.h>

#include <denet/log.h>

/* What denet changed about itself and its command must not see. */
struct dn_inheritance {
	sigset_t mask;
	struct sigaction sigpipe, sigxfsz, sigchld;
};

struct dn_child {
	pid_t pid;
	int pidfd; /* -1 where the kernel has none */
	int gate; /* our end; -1 once closed */
};

/* 0, or negative errno with why. stdout_to_stderr: the command's stdout becomes denet's stderr
 * (--json on stdout). */
int dn_spawn(char **argv, const struct dn_inheritance *inheritance, bool stdout_to_stderr,
	struct dn_child *ret, struct dn_why *why);
/* Until the child is behind its gate: what it does on its way there is not the command's. */
void dn_spawn_wait_arrival(struct dn_child *child);
/* The command goes. */
int dn_spawn_open_gate(struct dn_child *child);
/*
 * Of a child that ended: the errno that its exec gave, or 0 when it got that far. Not asked before:
 * waiting for the exec would cost two switches in the middle of the command's start.
 */
int dn_spawn_exec_error(struct dn_child *child);
/* Before the gate is open this makes the child exit with 125. */
void dn_child_finish(struct dn_child *child);

#endif

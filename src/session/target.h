/* SPDX-License-Identifier: Apache-2.0 */
/* Whom attach measures: by pid, name, command line or cgroup; each refusal is one clear line. */
#ifndef DENET_TARGET_H
#define DENET_TARGET_H

#include <sys/types.h>

#include <denet/log.h>

#include "options.h"

#define DN_TARGETS_MAX 4096

/*
 * The pids that options name, sorted, without denet itself, zombies and kernel threads. *ret_pids
 * is malloc'ed. -ESRCH when nothing matches; -EDOM for a regular expression that is none, another
 * negative errno; all with why.
 */
int dn_target_resolve(int proc_fd, const struct dn_options *options, pid_t **ret_pids,
	unsigned *ret_n, struct dn_why *why);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a stream goes: a file, a descriptor or stdout. One write() per record, so that a killed
 * denet leaves at most one torn last line. A failing output (disk full, reader gone) never disturbs
 * the command: it is told once, counted and, for ENOSPC and EDQUOT, tried again.
 */
#ifndef DENET_OUTPUT_H
#define DENET_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <denet/log.h>

struct dn_output {
	int fd;
	bool owned; /* close fd at the end */
	char *name; /* for messages */
	bool torn; /* the last write was cut: the next begins by ending or cutting that line */
	bool gone; /* EPIPE, EBADF: no more is tried */
	bool told;
	uint64_t failed; /* records that did not get out whole */
};

/*
 * spec: a path, "-" (stdout) or "fd:N". A regular file is truncated and opened O_APPEND, mode 0600
 * & ~umask... O_NOFOLLOW is not used: the user named the path. 0 or negative errno with *ret_why
 * filled.
 */
int dn_output_open(const char *spec, struct dn_output *ret, struct dn_why *ret_why);
/* Borrowed descriptor. */
void dn_output_from_fd(int fd, const char *name, struct dn_output *ret);
/* 0, or negative errno (already told to the user once). */
int dn_output_write(struct dn_output *output, const char *data, size_t len);
/* Reports errors of close; safe on a zeroed struct with fd -1. */
int dn_output_close(struct dn_output *output);

#endif

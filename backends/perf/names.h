/* SPDX-License-Identifier: Apache-2.0 */
/* Events by name, as --events gives them: libpfm4's names, raw codes, and sysfs terms. */
#ifndef DENET_PERF_NAMES_H
#define DENET_PERF_NAMES_H

#include <linux/perf_event.h>
#include <stdbool.h>
#include <stddef.h>

#include "library.h"

/* The next name of a comma-separated list; commas between slashes belong to it. 1; 0 at the end;
 * -EINVAL: too long or empty. */
int dn_perf_names_next(const char **list, char *name, size_t size);

/* "cpu/event=0x3c,umask=0/" -> "cpu_event=0x3c_umask=0_": what the last part of a metric's name may
 * be. */
void dn_perf_names_metric(const char *name, char *out, size_t size);

/* text: for ELSEWHERE the PMU, for UNKNOWN up to three near names, for WRONG what is wrong; may be
 * empty. */
enum dn_perf_name_state dn_perf_names_encode(
	int sys_fd, const char *name, struct perf_event_attr *ret, char *text, size_t size);

#endif

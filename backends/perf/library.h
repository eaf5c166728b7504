/* SPDX-License-Identifier: Apache-2.0 */
/* Event names through libpfm4. */
#ifndef DENET_PERF_LIBRARY_H
#define DENET_PERF_LIBRARY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DN_PERF_NAME_MAX 160

enum dn_perf_name_state {
	DN_PERF_NAME_OK,
	DN_PERF_NAME_ELSEWHERE, /* known, but of a PMU that this machine does not have */
	DN_PERF_NAME_UNKNOWN,
	DN_PERF_NAME_WRONG, /* a known event, spelled wrong (an attribute) */
	DN_PERF_NAME_NO_LIBRARY,
};

struct dn_perf_library_event {
	uint32_t type;
	uint64_t config[3];
	bool exclude_user, exclude_kernel;
	unsigned precise;
};

/* As dn_perf_names_encode(), for what libpfm4 knows. */
enum dn_perf_name_state dn_perf_library_encode(
	const char *name, struct dn_perf_library_event *ret, char *text, size_t size);

/* Edits between two words without regard to case; limit + 1 when there are more than limit. */
unsigned dn_perf_names_distance(const char *a, const char *b, unsigned limit);

#endif

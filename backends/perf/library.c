/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libpfm4, apart from the rest because its headers and the kernel's declare the same names. It is
 * only started when an event is named: reading its tables takes longer than everything else at
 * start.
 */
#include <stdio.h>
#include <string.h>

#include <config.h>
#if HAVE_PFM
#include <perfmon/pfmlib.h>
#include <perfmon/pfmlib_perf_event.h>
#endif

#include "library.h"

#if HAVE_PFM

#define NEAREST_MAX 3

struct near {
	unsigned n;
	unsigned distance[NEAREST_MAX];
	char name[NEAREST_MAX][DN_PERF_NAME_MAX];
};

static void near_offer(struct near *near, const char *name, unsigned distance)
{
	unsigned at = near->n;

	for (unsigned i = 0; i < near->n; i++) {
		if (strcmp(near->name[i], name) == 0)
			return;
	}
	while (at > 0 && near->distance[at - 1] > distance)
		at--;
	if (at == NEAREST_MAX)
		return;
	if (near->n < NEAREST_MAX)
		near->n++;
	for (unsigned i = near->n - 1; i > at; i--) {
		near->distance[i] = near->distance[i - 1];
		memcpy(near->name[i], near->name[i - 1], sizeof(near->name[i]));
	}
	near->distance[at] = distance;
	(void)snprintf(near->name[at], sizeof(near->name[at]), "%s", name);
}

/* The event's own name: without the PMU before it and the attributes behind it. */
static void bare_name(const char *name, char *pmu, size_t pmu_size, char *out, size_t size)
{
	const char *colons = strstr(name, "::");

	(void)snprintf(pmu, pmu_size, "%.*s", colons ? (int)(colons - name) : 0, name);
	(void)snprintf(out, size, "%s", colons ? colons + 2 : name);
	out[strcspn(out, ":")] = '\0';
}

/* Looks through all tables, present or not. True when one has exactly this name, and then whose it
 * is. */
static bool search_tables(const char *name, struct near *near, char *owner, size_t size)
{
	char pmu_wanted[DN_PERF_NAME_MAX], wanted[DN_PERF_NAME_MAX];
	unsigned limit;

	bare_name(name, pmu_wanted, sizeof(pmu_wanted), wanted, sizeof(wanted));
	limit = strlen(wanted) < 4 ? 1 : (unsigned)strlen(wanted) / 3;
	for (int p = 0; p < PFM_PMU_MAX; p++) {
		pfm_pmu_info_t pmu = {.size = sizeof(pmu)};

		if (pfm_get_pmu_info((pfm_pmu_t)p, &pmu) != PFM_SUCCESS)
			continue;
		for (int e = pmu.first_event; e >= 0; e = pfm_get_event_next(e)) {
			pfm_event_info_t event = {.size = sizeof(event)};
			unsigned distance;

			if (pfm_get_event_info(e, PFM_OS_PERF_EVENT, &event) != PFM_SUCCESS)
				continue;
			if (strcasecmp(event.name, wanted) == 0 &&
				(!*pmu_wanted || strcasecmp(pmu_wanted, pmu.name) == 0)) {
				(void)snprintf(owner, size, "%s (%s)", pmu.name, pmu.desc);
				return true;
			}
			distance = dn_perf_names_distance(wanted, event.name, limit);
			if (distance <= limit) {
				char full[DN_PERF_NAME_MAX];

				/* One of this machine is nearer than one of another machine. */
				(void)snprintf(full, sizeof(full),
					pmu.is_present ? "%s%s" : "%s::%s",
					pmu.is_present ? "" : pmu.name, event.name);
				near_offer(near, full, distance * 2 + !pmu.is_present);
			}
		}
	}
	return false;
}

enum dn_perf_name_state dn_perf_library_encode(
	const char *name, struct dn_perf_library_event *ret, char *text, size_t size)
{
	struct perf_event_attr attr = {.size = sizeof(attr)};
	pfm_perf_encode_arg_t arg = {.size = sizeof(arg), .attr = &attr};
	struct near near = {0};
	size_t len = 0;
	int r;

	if (pfm_initialize() != PFM_SUCCESS)
		return DN_PERF_NAME_NO_LIBRARY;
	r = pfm_get_os_event_encoding(name, PFM_PLM0 | PFM_PLM3, PFM_OS_PERF_EVENT, &arg);
	if (r == PFM_SUCCESS) {
		*ret = (struct dn_perf_library_event){.type = attr.type,
			.config = {attr.config, attr.config1, attr.config2},
			.exclude_user = attr.exclude_user,
			.exclude_kernel = attr.exclude_kernel,
			.precise = attr.precise_ip};
		return DN_PERF_NAME_OK;
	}
	if (r != PFM_ERR_NOTFOUND) {
		(void)snprintf(text, size, "%s", pfm_strerror(r));
		return DN_PERF_NAME_WRONG;
	}
	if (search_tables(name, &near, text, size))
		return DN_PERF_NAME_ELSEWHERE;
	for (unsigned i = 0; i < near.n && len < size; i++)
		len += (size_t)snprintf(
			text + len, size - len, "%s%s", i ? ", " : "", near.name[i]);
	return DN_PERF_NAME_UNKNOWN;
}

#else

enum dn_perf_name_state dn_perf_library_encode(
	const char *name, struct dn_perf_library_event *ret, char *text, size_t size)
{
	return DN_PERF_NAME_NO_LIBRARY;
}

#endif

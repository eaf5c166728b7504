/* SPDX-License-Identifier: Apache-2.0 */
/* Turns what --events names into codes. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "library.h"
#include "names.h"
#include "pmu.h"

int dn_perf_names_next(const char **list, char *name, size_t size)
{
	const char *p = *list;
	bool slash = false;
	size_t len = 0;

	if (!*p)
		return 0;
	for (; p[len] && (slash || p[len] != ','); len++) {
		if (p[len] == '/')
			slash = !slash;
	}
	if (len == 0 || len >= size)
		return -EINVAL;
	memcpy(name, p, len);
	name[len] = '\0';
	*list = p + len + (p[len] == ',');
	return 1;
}

void dn_perf_names_metric(const char *name, char *out, size_t size)
{
	size_t n = 0;

	for (; *name && n + 1 < size; name++) {
		bool fine = (*name >= 'a' && *name <= 'z') || (*name >= 'A' && *name <= 'Z') ||
			    (*name >= '0' && *name <= '9') || strchr("_:=-", *name);

		out[n++] = fine ? *name : '_';
	}
	out[n] = '\0';
}

unsigned dn_perf_names_distance(const char *a, const char *b, unsigned limit)
{
	unsigned row[DN_PERF_NAME_MAX + 1];
	size_t n = strlen(a), m = strlen(b);

	if (n > DN_PERF_NAME_MAX || (n > m ? n - m : m - n) > limit)
		return limit + 1;
	for (size_t i = 0; i <= n; i++)
		row[i] = (unsigned)i;
	for (size_t k = 1; k <= m; k++) {
		unsigned diagonal = row[0], best;

		row[0] = (unsigned)k;
		best = row[0];
		for (size_t i = 1; i <= n; i++) {
			bool same = tolower((unsigned char)a[i - 1]) ==
				    tolower((unsigned char)b[k - 1]);
			unsigned least = diagonal + !same;

			if (row[i] + 1 < least)
				least = row[i] + 1;
			if (row[i - 1] + 1 < least)
				least = row[i - 1] + 1;
			diagonal = row[i];
			row[i] = least;
			if (least < best)
				best = least;
		}
		if (best > limit)
			return limit + 1;
	}
	return row[n] > limit ? limit + 1 : row[n];
}

/* r and up to 16 hexadecimal digits: the code as the PMU's manual has it. */
static bool parse_raw(const char *name, uint64_t *ret)
{
	uint64_t value = 0;
	size_t len = strlen(name);

	if (name[0] != 'r' || len < 2 || len > 17 ||
		name[1 + strspn(name + 1, "0123456789abcdefABCDEF")])
		return false;
	for (const char *p = name + 1; *p; p++)
		value = value << 4 | (unsigned)(*p <= '9' ? *p - '0' : (*p | 0x20) - 'a' + 10);
	*ret = value;
	return true;
}

enum dn_perf_name_state dn_perf_names_encode(
	int sys_fd, const char *name, struct perf_event_attr *ret, char *text, size_t size)
{
	struct dn_perf_library_event encoded;
	enum dn_perf_name_state state;
	uint64_t code;

	text[0] = '\0';
	if (strchr(name, '/')) {
		switch (dn_perf_pmu_encode(sys_fd, name, ret)) {
		case 0:
			return DN_PERF_NAME_OK;
		case -ENOENT:
			(void)snprintf(text, size, "sysfs knows no such PMU, event or term");
			return DN_PERF_NAME_WRONG;
		case -E2BIG:
			(void)snprintf(text, size, "a value is too large for its field");
			return DN_PERF_NAME_WRONG;
		default:
			(void)snprintf(text, size, "write it as PMU/EVENT/ or PMU/term=value,.../");
			return DN_PERF_NAME_WRONG;
		}
	}
	if (parse_raw(name, &code)) {
		*ret = (struct perf_event_attr){.type = PERF_TYPE_RAW, .config = code};
		return DN_PERF_NAME_OK;
	}
	state = dn_perf_library_encode(name, &encoded, text, size);
	if (state == DN_PERF_NAME_OK)
		*ret = (struct perf_event_attr){.type = encoded.type,
			.config = encoded.config[0],
			.config1 = encoded.config[1],
			.config2 = encoded.config[2],
			.exclude_user = encoded.exclude_user,
			.exclude_kernel = encoded.exclude_kernel,
			.precise_ip = encoded.precise};
	return state;
}

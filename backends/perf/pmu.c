/* SPDX-License-Identifier: Apache-2.0 */
/* PMUs in sysfs: those of hybrid machines, and events spelled with their terms. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <denet/fs.h>

#include "pmu.h"

#define DEVICES "bus/event_source/devices"
#define TEXT_MAX 512

int dn_perf_cpu_list_parse(const char *text, unsigned *ret, unsigned max)
{
	unsigned n = 0;

	do {
		uint64_t first, last;

		if (dn_parse_u64(&text, &first) < 0)
			return -EINVAL;
		last = first;
		if (*text == '-') {
			text++;
			if (dn_parse_u64(&text, &last) < 0)
				return -EINVAL;
		}
		if (last < first || last > 65535)
			return -EINVAL;
		for (; first <= last; first++, n++) {
			if (n < max)
				ret[n] = (unsigned)first;
		}
	} while (*text++ == ',' && n < 65536);
	text--;
	return *text == '\0' || *text == '\n' ? (int)n : -EINVAL;
}

static bool word_is_safe(const char *word)
{
	if (!*word || *word == '.')
		return false;
	return !word[strspn(
		word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.")];
}

static int read_type(int sys_fd, const char *pmu, uint32_t *ret)
{
	char path[256], text[32];
	const char *p = text;
	uint64_t type;
	ssize_t len;

	(void)snprintf(path, sizeof(path), DEVICES "/%s/type", pmu);
	len = dn_read_file_at(sys_fd, path, text, sizeof(text));
	if (len < 0)
		return (int)len;
	if (dn_parse_u64(&p, &type) < 0 || type > UINT32_MAX)
		return -EINVAL;
	*ret = (uint32_t)type;
	return 0;
}

/* A PMU of one kind of CPU has a file "cpus"; uncore ones have "cpumask". */
static bool is_core_pmu(int sys_fd, const char *name)
{
	char path[320];

	if (strncmp(name, "cpu_", 4) != 0 && strncmp(name, "arm", 3) != 0 &&
		strncmp(name, "apple_", 6) != 0)
		return false;
	if (!word_is_safe(name) || strlen(name) >= sizeof(((struct dn_perf_pmu *)0)->name))
		return false;
	(void)snprintf(path, sizeof(path), DEVICES "/%s/cpus", name);
	return faccessat(sys_fd, path, F_OK, 0) == 0;
}

static int compare_pmus(const void *a, const void *b)
{
	const struct dn_perf_pmu *x = a, *y = b;

	return x->type < y->type ? -1 : x->type > y->type;
}

unsigned dn_perf_pmus(int sys_fd, struct dn_perf_pmu *ret, unsigned max)
{
	int fd = sys_fd >= 0 ? dn_open_at(sys_fd, DEVICES, O_RDONLY | O_DIRECTORY) : -1;
	DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *entry;
	unsigned n = 0;

	if (!dir) {
		if (fd >= 0)
			close(fd);
		return 0;
	}
	while (n < max && (entry = readdir(dir))) {
		if (!is_core_pmu(sys_fd, entry->d_name) ||
			read_type(sys_fd, entry->d_name, &ret[n].type) < 0)
			continue;
		strcpy(ret[n].name, entry->d_name); /* is_core_pmu() saw that it fits */
		n++;
	}
	closedir(dir);
	qsort(ret, n, sizeof(*ret), compare_pmus);
	return n >= 2 ? n : 0;
}

/* 0x1f, 31 */
static int parse_value(const char **text, uint64_t *ret)
{
	const char *p = *text;
	uint64_t value = 0;

	if (p[0] != '0' || (p[1] != 'x' && p[1] != 'X'))
		return dn_parse_u64(text, ret);
	p += 2;
	if (!*p || !strchr("0123456789abcdefABCDEF", *p))
		return -EINVAL;
	for (; *p && strchr("0123456789abcdefABCDEF", *p); p++) {
		unsigned digit =
			*p <= '9' ? (unsigned)(*p - '0') : (unsigned)((*p | 0x20) - 'a' + 10);

		if (value >> 60)
			return -ERANGE;
		value = value << 4 | digit;
	}
	*text = p;
	*ret = value;
	return 0;
}

/* Puts value into the bits that a format file names: "config:0-7,32-35", "config1:0-15". */
static int place_value(const char *format, uint64_t value, struct perf_event_attr *attr)
{
	__u64 config = attr->config, config1 = attr->config1, config2 = attr->config2;
	__u64 *field;

	if (strncmp(format, "config:", 7) == 0)
		field = &config, format += 7;
	else if (strncmp(format, "config1:", 8) == 0)
		field = &config1, format += 8;
	else if (strncmp(format, "config2:", 8) == 0)
		field = &config2, format += 8;
	else
		return -EINVAL;
	for (;;) {
		uint64_t first, last;

		if (dn_parse_u64(&format, &first) < 0)
			return -EINVAL;
		last = first;
		if (*format == '-') {
			format++;
			if (dn_parse_u64(&format, &last) < 0)
				return -EINVAL;
		}
		if (last < first || last > 63)
			return -EINVAL;
		for (uint64_t bit = first; bit <= last; bit++, value >>= 1) {
			*field &= ~(UINT64_C(1) << bit);
			*field |= (value & 1) << bit;
		}
		if (*format != ',')
			break;
		format++;
	}
	if (value)
		return -E2BIG;
	attr->config = config;
	attr->config1 = config1;
	attr->config2 = config2;
	return 0;
}

static int encode_terms(
	int sys_fd, const char *pmu, char *terms, bool may_name, struct perf_event_attr *attr);

static int encode_term(
	int sys_fd, const char *pmu, char *term, bool may_name, struct perf_event_attr *attr)
{
	char path[256], text[TEXT_MAX];
	char *equals = strchr(term, '=');
	uint64_t value = 1;
	ssize_t len;

	if (equals) {
		const char *p = equals + 1;

		*equals = '\0';
		if (parse_value(&p, &value) < 0 || *p)
			return -EINVAL;
	}
	if (!word_is_safe(term) || strlen(term) > 100)
		return -EINVAL;
	if (equals && strcmp(term, "config") == 0)
		return attr->config = value, 0;
	if (equals && strcmp(term, "config1") == 0)
		return attr->config1 = value, 0;
	if (equals && strcmp(term, "config2") == 0)
		return attr->config2 = value, 0;
	if (!equals && may_name) {
		(void)snprintf(path, sizeof(path), DEVICES "/%s/events/%s", pmu, term);
		len = dn_read_file_at(sys_fd, path, text, sizeof(text));
		if (len > 0) {
			text[strcspn(text, "\n")] = '\0';
			return encode_terms(sys_fd, pmu, text, false, attr);
		}
	}
	(void)snprintf(path, sizeof(path), DEVICES "/%s/format/%s", pmu, term);
	len = dn_read_file_at(sys_fd, path, text, sizeof(text));
	if (len < 0)
		return len == -ENOBUFS ? -EINVAL : -ENOENT;
	text[strcspn(text, "\n")] = '\0';
	return place_value(text, value, attr);
}

static int encode_terms(
	int sys_fd, const char *pmu, char *terms, bool may_name, struct perf_event_attr *attr)
{
	char *next = terms;
	char *term;

	while ((term = strsep(&next, ","))) {
		int r = encode_term(sys_fd, pmu, term, may_name, attr);

		if (r < 0)
			return r;
	}
	return 0;
}

int dn_perf_pmu_encode(int sys_fd, const char *text, struct perf_event_attr *ret)
{
	struct perf_event_attr attr = {0};
	char copy[TEXT_MAX];
	char *terms, *end;
	int r;

	if (strlen(text) >= sizeof(copy))
		return -EINVAL;
	strcpy(copy, text);
	terms = strchr(copy, '/');
	end = strrchr(copy, '/');
	if (!terms || end == terms)
		return -EINVAL;
	*terms++ = '\0';
	*end++ = '\0';
	if (end[strspn(end, "uk")] || !word_is_safe(copy) || strlen(copy) > 60)
		return -EINVAL;
	if (sys_fd < 0)
		return -ENOENT;
	r = read_type(sys_fd, copy, &attr.type);
	if (r < 0)
		return r == -EINVAL ? r : -ENOENT;
	r = encode_terms(sys_fd, copy, terms, true, &attr);
	if (r < 0)
		return r;
	if (*end) {
		attr.exclude_user = !strchr(end, 'u');
		attr.exclude_kernel = !strchr(end, 'k');
	}
	*ret = attr;
	return 0;
}

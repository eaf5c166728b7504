/* SPDX-License-Identifier: Apache-2.0 */
/* Parsers of /proc and cgroup text. */
#include <errno.h>
#include <limits.h>
#include <string.h>

#include <denet/fs.h>

#include "parse.h"

/* A number that is too large to hold stops at the largest; what is no number is an error. */
static int saturating_u64(const char **text, uint64_t *ret)
{
	int r = dn_parse_u64(text, ret);

	if (r == -ERANGE) {
		*ret = UINT64_MAX;
		return 0;
	}
	return r;
}

/* Fields that the kernel prints signed: what is below 0 counts as 0. */
static int signed_field(const char **text, uint64_t *ret)
{
	if (**text == '-') {
		uint64_t ignored;

		(*text)++;
		*ret = 0;
		return saturating_u64(text, &ignored);
	}
	return saturating_u64(text, ret);
}

static void skip_blanks(const char **text)
{
	while (**text == ' ' || **text == '\t')
		(*text)++;
}

static int pid_field(const char **text, pid_t *ret)
{
	uint64_t value;

	if (saturating_u64(text, &value) < 0 || value > INT_MAX)
		return -EINVAL;
	*ret = (pid_t)value;
	return 0;
}

int dn_procfs_parse_stat(const char *text, size_t len, struct dn_procfs_stat *ret)
{
	enum { FIRST = 5, LAST = 28 }; /* proc(5)'s field numbers; 4 and below are parsed by hand */
	uint64_t field[LAST + 1] = {0};
	struct dn_procfs_stat stat = {0};
	const char *open, *close, *p = text;

	if (pid_field(&p, &stat.pid) < 0)
		return -EINVAL;
	/* The name may hold anything, parentheses and blanks too; nothing behind it has a ')'. */
	open = memchr(text, '(', len);
	close = memrchr(text, ')', len);
	if (!open || !close || close < open || open != p + 1)
		return -EINVAL;
	stat.comm_len = (size_t)(close - open - 1);
	if (stat.comm_len >= sizeof(stat.comm))
		stat.comm_len = sizeof(stat.comm) - 1;
	memcpy(stat.comm, open + 1, stat.comm_len);
	p = close + 1;
	if (p[0] != ' ' || p[1] == '\0' || p[2] != ' ')
		return -EINVAL;
	stat.state = p[1];
	p += 3;
	if (pid_field(&p, &stat.ppid) < 0)
		return -EINVAL;
	for (int i = FIRST; i <= LAST; i++) {
		if (*p != ' ')
			return -EINVAL;
		p++;
		if (signed_field(&p, &field[i]) < 0)
			return -EINVAL;
	}
	stat.minflt = field[10];
	stat.cminflt = field[11];
	stat.majflt = field[12];
	stat.cmajflt = field[13];
	stat.utime = field[14];
	stat.stime = field[15];
	stat.cutime = field[16];
	stat.cstime = field[17];
	stat.threads = field[20];
	stat.start_ticks = field[22];
	stat.vsize_bytes = field[23];
	stat.rss_pages = field[24];
	stat.start_stack = field[28];
	*ret = stat;
	return 0;
}

int dn_procfs_parse_statm(const char *text, size_t len, struct dn_procfs_statm *ret)
{
	struct dn_procfs_statm statm;
	const char *p = text;

	(void)len;
	if (saturating_u64(&p, &statm.size_pages) < 0 || *p != ' ')
		return -EINVAL;
	p++;
	if (saturating_u64(&p, &statm.rss_pages) < 0)
		return -EINVAL;
	*ret = statm;
	return 0;
}

/* The value's text if the line is "key:", else NULL. */
static const char *after_key(const char *line, const char *end, const char *key)
{
	size_t n = strlen(key);

	if ((size_t)(end - line) <= n || memcmp(line, key, n) != 0 || line[n] != ':')
		return NULL;
	line += n + 1;
	skip_blanks(&line);
	return line;
}

static bool kib_line(const char *line, const char *end, const char *key, uint64_t *ret_bytes)
{
	const char *p = after_key(line, end, key);
	uint64_t value;

	if (!p || saturating_u64(&p, &value) < 0)
		return false;
	*ret_bytes = dn_procfs_mul_sat(value, 1024);
	return true;
}

static bool number_line(const char *line, const char *end, const char *key, uint64_t *ret)
{
	const char *p = after_key(line, end, key);

	return p && saturating_u64(&p, ret) == 0;
}

static bool hex_line(const char *line, const char *end, const char *key, uint64_t *ret)
{
	const char *p = after_key(line, end, key);
	uint64_t value = 0;
	unsigned digits = 0;

	if (!p)
		return false;
	for (;; p++, digits++) {
		unsigned digit;

		if (*p >= '0' && *p <= '9')
			digit = (unsigned)(*p - '0');
		else if (*p >= 'a' && *p <= 'f')
			digit = (unsigned)(*p - 'a') + 10;
		else
			break;
		if (digits == 16)
			return false;
		value = value << 4 | digit;
	}
	if (digits == 0)
		return false;
	*ret = value;
	return true;
}

static const char *line_end(const char *line, const char *end)
{
	const char *newline = memchr(line, '\n', (size_t)(end - line));

	return newline ? newline : end;
}

/* The kernel escapes newlines in the name here, so that a line that starts like a key is one. */
int dn_procfs_parse_status(const char *text, size_t len, struct dn_procfs_status *ret)
{
	struct dn_procfs_status status = {0};
	const char *end = text + len;
	bool voluntary = false, involuntary = false;

	for (const char *line = text; line < end;) {
		const char *stop = line_end(line, end);

		switch (*line) {
		case 'V':
			if (kib_line(line, stop, "VmHWM", &status.hwm_bytes))
				status.has_hwm = true;
			else if (kib_line(line, stop, "VmSwap", &status.swap_bytes))
				status.has_swap = true;
			break;
		case 'T':
			if (number_line(line, stop, "Threads", &status.threads))
				status.has_threads = true;
			break;
		case 'S':
			if (hex_line(line, stop, "SigIgn", &status.ignored))
				status.has_ignored = true;
			break;
		case 'v':
			if (number_line(line, stop, "voluntary_ctxt_switches", &status.voluntary))
				voluntary = true;
			break;
		case 'n':
			if (number_line(
				    line, stop, "nonvoluntary_ctxt_switches", &status.involuntary))
				involuntary = true;
			break;
		default:
			break;
		}
		line = stop + 1;
	}
	status.has_switches = voluntary && involuntary;
	if (!status.has_threads && !status.has_ignored && !status.has_switches && !status.has_hwm)
		return -EINVAL;
	*ret = status;
	return 0;
}

int dn_procfs_parse_io(const char *text, size_t len, uint64_t ret[DN_PROCFS_IO_N])
{
	static const char *const keys[DN_PROCFS_IO_N] = {"rchar", "wchar", "syscr", "syscw",
		"read_bytes", "write_bytes", "cancelled_write_bytes"};
	uint64_t value[DN_PROCFS_IO_N];
	const char *end = text + len, *line = text;

	for (int i = 0; i < DN_PROCFS_IO_N; i++) {
		const char *stop, *p;

		if (line >= end)
			return -EINVAL;
		stop = line_end(line, end);
		p = after_key(line, stop, keys[i]);
		if (!p || signed_field(&p, &value[i]) < 0)
			return -EINVAL;
		line = stop + 1;
	}
	memcpy(ret, value, sizeof(value));
	return 0;
}

int dn_procfs_parse_schedstat(const char *text, size_t len, struct dn_procfs_schedstat *ret)
{
	struct dn_procfs_schedstat s;
	const char *p = text;

	(void)len;
	if (saturating_u64(&p, &s.run_ns) < 0 || *p++ != ' ')
		return -EINVAL;
	if (saturating_u64(&p, &s.delay_ns) < 0 || *p++ != ' ')
		return -EINVAL;
	if (saturating_u64(&p, &s.slices) < 0)
		return -EINVAL;
	*ret = s;
	return 0;
}

int dn_procfs_parse_pss(const char *text, size_t len, uint64_t *ret_bytes)
{
	const char *end = text + len;

	for (const char *line = text; line < end;) {
		const char *stop = line_end(line, end);

		if (kib_line(line, stop, "Pss", ret_bytes))
			return 0;
		line = stop + 1;
	}
	return -EINVAL;
}

static bool psi_total(const char *line, const char *stop, uint64_t *ret_ns)
{
	const char *p = memmem(line, (size_t)(stop - line), " total=", 7);
	uint64_t usec;

	if (!p)
		return false;
	p += 7;
	if (saturating_u64(&p, &usec) < 0)
		return false;
	*ret_ns = dn_procfs_mul_sat(usec, 1000);
	return true;
}

int dn_procfs_parse_psi(const char *text, size_t len, struct dn_procfs_psi *ret)
{
	struct dn_procfs_psi psi = {0};
	const char *end = text + len;

	for (const char *line = text; line < end;) {
		const char *stop = line_end(line, end);

		if (stop - line > 5 && memcmp(line, "some ", 5) == 0)
			psi.has_some = psi_total(line, stop, &psi.some_ns);
		else if (stop - line > 5 && memcmp(line, "full ", 5) == 0)
			psi.has_full = psi_total(line, stop, &psi.full_ns);
		line = stop + 1;
	}
	if (!psi.has_some && !psi.has_full)
		return -EINVAL;
	*ret = psi;
	return 0;
}

int dn_procfs_parse_keyed(const char *text, size_t len, const char *key, uint64_t *ret)
{
	const char *end = text + len;
	size_t n;

	if (!key) {
		const char *p = text;
		uint64_t value;

		if (saturating_u64(&p, &value) < 0 || (*p != '\n' && *p != '\0'))
			return -EINVAL;
		*ret = value;
		return 0;
	}
	n = strlen(key);
	for (const char *line = text; line < end;) {
		const char *stop = line_end(line, end);

		if ((size_t)(stop - line) > n + 1 && memcmp(line, key, n) == 0 && line[n] == ' ') {
			const char *p = line + n + 1;

			return saturating_u64(&p, ret) < 0 ? -EINVAL : 0;
		}
		line = stop + 1;
	}
	return -EINVAL;
}

int dn_procfs_next_pid(const char *text, size_t len, bool last, size_t *position, pid_t *ret)
{
	const char *p = text + *position, *end = text + len, *number;

	while (p < end && (*p == ' ' || *p == '\n'))
		p++;
	*position = (size_t)(p - text);
	if (p == end)
		return 0;
	number = p;
	while (p < end && *p >= '0' && *p <= '9')
		p++;
	if (p == end && !last)
		return 0; /* it may go on in the next piece */
	if (pid_field(&number, ret) < 0 || number != p || *ret == 0)
		return -EINVAL;
	*position = (size_t)(p - text);
	return 1;
}

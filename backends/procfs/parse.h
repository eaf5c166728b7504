/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Parsers of /proc and cgroup text. Pure: text in, numbers out. The text is hostile as far as names
 * go, and cut or empty when a process vanishes; numbers saturate. Text is NUL-terminated at
 * text[len]. All return 0 or -EINVAL and set *ret on success only.
 */
#ifndef DENET_PROCFS_PARSE_H
#define DENET_PROCFS_PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define DN_PROCFS_COMM_MAX 64 /* 16 for processes; workqueue kthreads show up to 64 */

struct dn_procfs_stat {
	pid_t pid;
	char comm[DN_PROCFS_COMM_MAX];
	size_t comm_len;
	char state;
	pid_t ppid;
	uint64_t minflt, cminflt, majflt, cmajflt;
	uint64_t utime, stime, cutime, cstime; /* ticks */
	uint64_t threads;
	uint64_t start_ticks;
	uint64_t vsize_bytes;
	uint64_t rss_pages;
	uint64_t start_stack; /* 0: not for us to see */
};

struct dn_procfs_statm {
	uint64_t size_pages, rss_pages;
};

struct dn_procfs_status {
	bool has_hwm, has_swap, has_threads, has_ignored, has_switches;
	uint64_t hwm_bytes, swap_bytes, threads;
	uint64_t ignored; /* signal n is bit n - 1 */
	uint64_t voluntary, involuntary;
};

/* In the order of the file. */
enum dn_procfs_io {
	DN_PROCFS_IO_RCHAR,
	DN_PROCFS_IO_WCHAR,
	DN_PROCFS_IO_SYSCR,
	DN_PROCFS_IO_SYSCW,
	DN_PROCFS_IO_READ_BYTES,
	DN_PROCFS_IO_WRITE_BYTES,
	DN_PROCFS_IO_CANCELLED,
	DN_PROCFS_IO_N,
};

struct dn_procfs_schedstat {
	uint64_t run_ns, delay_ns, slices;
};

struct dn_procfs_psi {
	bool has_some, has_full;
	uint64_t some_ns, full_ns;
};

int dn_procfs_parse_stat(const char *text, size_t len, struct dn_procfs_stat *ret);
int dn_procfs_parse_statm(const char *text, size_t len, struct dn_procfs_statm *ret);
int dn_procfs_parse_status(const char *text, size_t len, struct dn_procfs_status *ret);
int dn_procfs_parse_io(const char *text, size_t len, uint64_t ret[DN_PROCFS_IO_N]);
int dn_procfs_parse_schedstat(const char *text, size_t len, struct dn_procfs_schedstat *ret);
/* The Pss line of smaps_rollup, in bytes. */
int dn_procfs_parse_pss(const char *text, size_t len, uint64_t *ret_bytes);
int dn_procfs_parse_psi(const char *text, size_t len, struct dn_procfs_psi *ret);
/* "key value" lines, as in cpu.stat; key NULL: the text is one number. */
int dn_procfs_parse_keyed(const char *text, size_t len, const char *key, uint64_t *ret);
/*
 * The next pid of a children file; *position moves on. last says that no more text follows, so that
 * a number at the very end is whole. 1 with *ret set, 0 when there is none, -EINVAL for what is no
 * pid.
 */
int dn_procfs_next_pid(const char *text, size_t len, bool last, size_t *position, pid_t *ret);

/* value * factor, stopping at 2^64-1. */
static inline uint64_t dn_procfs_mul_sat(uint64_t value, uint64_t factor)
{
	uint64_t r;

	return __builtin_mul_overflow(value, factor, &r) ? UINT64_MAX : r;
}

#endif

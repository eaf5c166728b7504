/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading small kernel files and the numbers in them. All reads are relative to a directory
 * descriptor, so that a fixture folder is a machine. The one place where numbers in text are
 * parsed. No locale, no allocation.
 */
#ifndef DENET_FS_H
#define DENET_FS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#define dn_cleanup(f) __attribute__((cleanup(f)))

static inline void dn_closep(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static inline int dn_steal_fd(int *fd)
{
	int r = *fd;

	*fd = -1;
	return r;
}

/*
 * Reads a whole small file into buffer (size includes the NUL that is always added). Returns the
 * length; -ENOBUFS when it does not fit (buffer then holds the first size - 1 bytes); another
 * negative errno. Never blocks on a FIFO.
 */
ssize_t dn_read_file_at(int dir_fd, const char *path, char *buffer, size_t size);
/* The same from offset 0 of a kept descriptor. */
ssize_t dn_pread_file(int fd, char *buffer, size_t size);
int dn_open_at(int dir_fd, const char *path,
	int flags); /* adds O_CLOEXEC | O_NOCTTY; descriptor or negative errno */

/*
 * Decimal, no sign, no leading space. *text is moved behind the digits. 0; -EINVAL without a digit;
 * -ERANGE above 2^64-1 (*text is moved all the same).
 */
int dn_parse_u64(const char **text, uint64_t *ret);
/* The same with an optional '-'. */
int dn_parse_i64(const char **text, int64_t *ret);
/* The whole string is a number. */
int dn_parse_u64_whole(const char *text, uint64_t *ret);

uint64_t dn_now_ns(void); /* CLOCK_MONOTONIC */
/* CPU time of this thread, the only one: what something cost, without how long others were let run
 * meanwhile. */
uint64_t dn_spent_ns(void);
static inline uint64_t dn_timespec_ns(const struct timespec *ts)
{
	return (uint64_t)ts->tv_sec * UINT64_C(1000000000) + (uint64_t)ts->tv_nsec;
}

/* a + b, stopping at 2^64-1; a - b, stopping at 0. */
static inline uint64_t dn_add_sat(uint64_t a, uint64_t b)
{
	uint64_t r;

	return __builtin_add_overflow(a, b, &r) ? UINT64_MAX : r;
}

static inline uint64_t dn_sub_sat(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

#endif

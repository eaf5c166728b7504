/* SPDX-License-Identifier: Apache-2.0 */
/* Small kernel files, the numbers in them, and the clock. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include <denet/fs.h>

int dn_open_at(int dir_fd, const char *path, int flags)
{
	int fd = openat(dir_fd, path, flags | O_CLOEXEC | O_NOCTTY);

	return fd < 0 ? -errno : fd;
}

/* Reads to the end of the file or of the buffer; offset < 0 reads at the file's own position. */
static ssize_t read_all(int fd, off_t offset, char *buffer, size_t size)
{
	size_t len = 0;

	if (size == 0)
		return -EINVAL;
	for (;;) {
		ssize_t n;
		char extra;

		if (len == size - 1) {
			/* Full: is there more? */
			n = offset < 0 ? read(fd, &extra, 1)
				       : pread(fd, &extra, 1, offset + (off_t)len);
			if (n < 0 && errno == EINTR)
				continue;
			buffer[len] = '\0';
			return n > 0 ? -ENOBUFS : (ssize_t)len;
		}
		n = offset < 0 ? read(fd, buffer + len, size - 1 - len)
			       : pread(fd, buffer + len, size - 1 - len, offset + (off_t)len);
		if (n < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		if (n == 0) {
			buffer[len] = '\0';
			return (ssize_t)len;
		}
		len += (size_t)n;
	}
}

ssize_t dn_read_file_at(int dir_fd, const char *path, char *buffer, size_t size)
{
	dn_cleanup(dn_closep) int fd = dn_open_at(dir_fd, path, O_RDONLY | O_NONBLOCK);

	if (fd < 0)
		return fd;
	return read_all(fd, -1, buffer, size);
}

ssize_t dn_pread_file(int fd, char *buffer, size_t size)
{
	return read_all(fd, 0, buffer, size);
}

int dn_parse_u64(const char **text, uint64_t *ret)
{
	const char *p = *text;
	uint64_t value = 0;
	bool over = false;

	if (*p < '0' || *p > '9')
		return -EINVAL;
	for (; *p >= '0' && *p <= '9'; p++) {
		if (__builtin_mul_overflow(value, UINT64_C(10), &value) ||
			__builtin_add_overflow(value, (uint64_t)(*p - '0'), &value))
			over = true;
	}
	*text = p;
	if (over)
		return -ERANGE;
	*ret = value;
	return 0;
}

int dn_parse_i64(const char **text, int64_t *ret)
{
	const char *p = *text;
	bool negative = *p == '-';
	uint64_t value;
	int r;

	if (negative)
		p++;
	r = dn_parse_u64(&p, &value);
	if (r == -EINVAL)
		return r;
	*text = p;
	if (r < 0)
		return r;
	if (value > (uint64_t)INT64_MAX + (negative ? 1 : 0))
		return -ERANGE;
	*ret = negative ? (int64_t)(0 - value) : (int64_t)value;
	return 0;
}

int dn_parse_u64_whole(const char *text, uint64_t *ret)
{
	uint64_t value;
	int r = dn_parse_u64(&text, &value);

	if (*text != '\0')
		return -EINVAL;
	if (r < 0)
		return r;
	*ret = value;
	return 0;
}

static uint64_t clock_ns(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return dn_timespec_ns(&ts);
}

uint64_t dn_now_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

uint64_t dn_spent_ns(void)
{
	return clock_ns(CLOCK_THREAD_CPUTIME_ID);
}

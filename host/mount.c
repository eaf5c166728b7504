/* SPDX-License-Identifier: Apache-2.0 */
/* The lines of mountinfo: hostile names, any length, read in pieces. */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/vfs.h>

#include <denet/fs.h>

#include "host.h"

/* Hosts with many containers have thousands of mounts; what matters here is mounted early. */
#define READ_MAX (1024 * 1024)

bool dn_host_is_live(int proc_fd)
{
	struct statfs fs;

	return fstatfs(proc_fd, &fs) == 0 && fs.f_type == PROC_SUPER_MAGIC;
}

/* Undoes the kernel's \ooo in place. */
static void unescape(char *text)
{
	char *to = text;

	for (const char *from = text; *from;) {
		if (from[0] == '\\' && from[1] >= '0' && from[1] <= '3' && from[2] >= '0' &&
			from[2] <= '7' && from[3] >= '0' && from[3] <= '7') {
			char c = (char)((from[1] - '0') * 64 + (from[2] - '0') * 8 +
					(from[3] - '0'));

			/* The kernel never writes \000: what looks like it is kept as text. */
			if (c != '\0') {
				*to++ = c;
				from += 4;
				continue;
			}
		}
		*to++ = *from++;
	}
	*to = '\0';
}

static int take(char **line, char *out, size_t size)
{
	char *field = strsep(line, " ");

	if (!field || !*field)
		return -EINVAL;
	if (!out)
		return 0;
	unescape(field);
	if (strlen(field) >= size)
		return -ENAMETOOLONG;
	strcpy(out, field);
	return 0;
}

int dn_mount_parse(char *line, struct dn_mount *ret)
{
	char *field;
	int r;

	for (unsigned i = 0; i < 3; i++) { /* ids and device */
		r = take(&line, NULL, 0);
		if (r < 0)
			return r;
	}
	r = take(&line, ret->root, sizeof(ret->root));
	if (r < 0)
		return r;
	r = take(&line, ret->point, sizeof(ret->point));
	if (r < 0)
		return r;
	/* Options and any number of optional fields, up to a lone dash. */
	do {
		field = strsep(&line, " ");
		if (!field)
			return -EINVAL;
	} while (strcmp(field, "-") != 0);
	r = take(&line, ret->type, sizeof(ret->type));
	if (r < 0)
		return r;
	field = strsep(&line, " "); /* source, may be empty */
	if (!field || !line)
		return -EINVAL;
	return take(&line, ret->super_options, sizeof(ret->super_options));
}

int dn_mount_visit(int proc_fd, int (*visit)(const struct dn_mount *mount, void *data), void *data)
{
	dn_cleanup(dn_closep) int fd = dn_open_at(proc_fd, "self/mountinfo", O_RDONLY | O_NONBLOCK);
	char buffer[8192];
	size_t len = 0, total = 0;
	bool skipping = false;

	if (fd < 0)
		return fd;
	while (total < READ_MAX) {
		ssize_t n = read(fd, buffer + len, sizeof(buffer) - len);
		char *line = buffer, *end;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return 0;
		len += (size_t)n;
		total += (size_t)n;
		while ((end = memchr(line, '\n', len - (size_t)(line - buffer)))) {
			struct dn_mount mount;

			*end = '\0';
			if (!skipping && dn_mount_parse(line, &mount) == 0) {
				int r = visit(&mount, data);

				if (r != 0)
					return r;
			}
			skipping = false;
			line = end + 1;
		}
		len -= (size_t)(line - buffer);
		memmove(buffer, line, len);
		if (len == sizeof(buffer)) { /* a line that fits nowhere */
			skipping = true;
			len = 0;
		}
	}
	return 0;
}

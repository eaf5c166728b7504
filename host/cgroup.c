/* SPDX-License-Identifier: Apache-2.0 */
/* Where a process is in the cgroup hierarchies of either version, and which limits hold there. */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>

#include <denet/fs.h>

#include "host.h"

#define CGROUP_PATH_MAX 4096
#define DEPTH_MAX 64
/* v1 writes "no limit" as the largest page-aligned value that fits, which depends on the page size.
 */
#define V1_UNLIMITED (UINT64_C(1) << 62)

/* A controller's hierarchy as one process sees it. */
struct hierarchy {
	const char *controller; /* NULL: the unified one */
	bool known; /* path is set */
	int fd; /* mount point; -1 until found */
	char path[CGROUP_PATH_MAX];
	char below[CGROUP_PATH_MAX]; /* the cgroup, relative to fd; "" for the mount point itself */
};

static bool list_has(const char *list, size_t len, const char *word)
{
	size_t word_len = strlen(word);

	for (const char *end = list + len; list < end;) {
		const char *comma = memchr(list, ',', (size_t)(end - list));
		size_t n = (size_t)((comma ? comma : end) - list);

		if (n == word_len && memcmp(list, word, n) == 0)
			return true;
		list += n + 1;
	}
	return false;
}

/* The path on the line of a v1 controller ("*": any), or of v2 (NULL). */
static int find_line(const char *text, const char *controller, char *path, size_t size)
{
	for (const char *line = text; *line;) {
		const char *end = strchrnul(line, '\n');
		const char *list = memchr(line, ':', (size_t)(end - line));
		const char *colon = list ? memchr(list + 1, ':', (size_t)(end - list - 1)) : NULL;
		bool unified = colon && colon == list + 1 && list == line + 1 && *line == '0';
		bool match = false;

		if (colon && colon[1] == '/') {
			size_t list_len = (size_t)(colon - list - 1);

			if (!controller)
				match = unified;
			else if (strcmp(controller, "*") == 0)
				match = list_len > 0;
			else
				match = list_has(list + 1, list_len, controller);
		}
		if (match) {
			size_t len = (size_t)(end - colon - 1);

			if (len >= size)
				return -ENAMETOOLONG;
			memcpy(path, colon + 1, len);
			path[len] = '\0';
			return 0;
		}
		line = *end ? end + 1 : end;
	}
	return -ENOENT;
}

int dn_cgroup_parse(
	const char *text, const char *controller, int *ret_version, char *path, size_t size)
{
	static const struct {
		const char *controller;
		int version;
	} order[] = {{"memory", 1}, {"cpu", 1}, {NULL, 2}, {"*", 1}};
	int r;

	if (controller) {
		r = strcmp(controller, "*") == 0 ? -ENOENT
						 : find_line(text, controller, path, size);
		if (r == 0)
			*ret_version = 1;
		return r;
	}
	for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
		r = find_line(text, order[i].controller, path, size);
		if (r == 0)
			*ret_version = order[i].version;
		if (r != -ENOENT)
			return r;
	}
	return -ENOENT;
}

int dn_cgroup_parse_cpu_max(const char *text, double *ret_ratio)
{
	uint64_t quota = 0, period;
	bool unlimited = strncmp(text, "max", 3) == 0;

	if (unlimited)
		text += 3;
	else if (dn_parse_u64(&text, &quota) < 0)
		return -EINVAL;
	if (*text++ != ' ' || dn_parse_u64(&text, &period) < 0 || period == 0)
		return -EINVAL;
	if (*text == '\n')
		text++;
	if (*text != '\0')
		return -EINVAL;
	*ret_ratio = unlimited ? -1.0 : (double)quota / (double)period;
	return 0;
}

int dn_cgroup_below(const char *root, const char *path, const char **ret)
{
	size_t len = strcmp(root, "/") == 0 ? 0 : strlen(root);

	if (strncmp(path, root, len) != 0 || (path[len] != '/' && path[len] != '\0'))
		return -EXDEV;
	/* "/.." is what a cgroup outside of our cgroup namespace looks like: it is not below this
	 * mount. */
	for (const char *p = path + len; (p = strstr(p, "/..")); p += 3) {
		if (p[3] == '/' || p[3] == '\0')
			return -EXDEV;
	}
	path += len;
	while (*path == '/')
		path++;
	*ret = path;
	return 0;
}

/* A mount point of the machine that proc_fd shows: a recorded tree holds its own next to its proc.
 */
static int open_point(int proc_fd, bool live, const char *point, bool unified)
{
	char path[1024 + 3];
	dn_cleanup(dn_closep) int fd = -1;
	struct statfs fs;

	if (live) {
		fd = dn_open_at(AT_FDCWD, point, O_RDONLY | O_DIRECTORY);
		/* Something else may be mounted over it. */
		if (fd >= 0 &&
			(fstatfs(fd, &fs) < 0 ||
				fs.f_type != (unified ? CGROUP2_SUPER_MAGIC : CGROUP_SUPER_MAGIC)))
			return -ENOENT;
	} else {
		snprintf(path, sizeof(path), "..%s", point);
		fd = dn_open_at(proc_fd, path, O_RDONLY | O_DIRECTORY);
	}
	return dn_steal_fd(&fd);
}

struct search {
	int proc_fd;
	bool live;
	struct hierarchy *hierarchy;
	unsigned n;
};

static int visit_mount(const struct dn_mount *mount, void *data)
{
	struct search *search = data;
	bool unified = strcmp(mount->type, "cgroup2") == 0;
	unsigned missing = 0;

	if (!unified && strcmp(mount->type, "cgroup") != 0)
		return 0;
	for (unsigned i = 0; i < search->n; i++) {
		struct hierarchy *h = &search->hierarchy[i];
		const char *below;

		if (!h->known || h->fd >= 0)
			continue;
		missing++;
		if (unified != !h->controller)
			continue;
		if (h->controller && !list_has(mount->super_options, strlen(mount->super_options),
					     h->controller))
			continue;
		if (dn_cgroup_below(mount->root, h->path, &below) < 0)
			continue;
		h->fd = open_point(search->proc_fd, search->live, mount->point, unified);
		if (h->fd < 0)
			continue;
		strcpy(h->below, below);
		missing--;
	}
	return missing == 0;
}

/* The path of pid in each hierarchy, and the mounts where they are. */
static int find_hierarchies(
	int proc_fd, pid_t pid, struct hierarchy *hierarchy, unsigned n, char *text, size_t size)
{
	struct search search = {.proc_fd = proc_fd,
		.live = dn_host_is_live(proc_fd),
		.hierarchy = hierarchy,
		.n = n};
	char name[32] = "self/cgroup";
	ssize_t len;
	bool any = false;

	if (pid > 0)
		snprintf(name, sizeof(name), "%d/cgroup", (int)pid);
	len = dn_read_file_at(proc_fd, name, text, size);
	if (len == -ENOBUFS) { /* the last line is torn */
		char *last = strrchr(text, '\n');

		*(last ? last : text) = '\0';
	} else if (len < 0) {
		return (int)len;
	}
	for (unsigned i = 0; i < n; i++) {
		struct hierarchy *h = &hierarchy[i];

		h->fd = -1;
		h->known = find_line(text, h->controller, h->path, sizeof(h->path)) == 0;
		any |= h->known;
	}
	if (!any)
		return -ENOENT;
	dn_mount_visit(proc_fd, visit_mount, &search);
	return 0;
}

void dn_cgroup_open(
	int proc_fd, pid_t pid, const char *const *controllers, unsigned n, int *ret_fds)
{
	struct hierarchy *h = calloc(n, sizeof(*h));
	char text[8192];
	int r = -ENOMEM;

	if (h) {
		for (unsigned i = 0; i < n; i++)
			h[i].controller = controllers[i], h[i].fd = -1;
		r = find_hierarchies(proc_fd, pid, h, n, text, sizeof(text));
	}
	for (unsigned i = 0; i < n; i++) {
		if (r < 0)
			ret_fds[i] = r;
		else if (h[i].fd < 0)
			ret_fds[i] = -ENOENT;
		else if (!h[i].below[0])
			ret_fds[i] = dn_steal_fd(&h[i].fd);
		else
			ret_fds[i] = dn_open_at(h[i].fd, h[i].below, O_RDONLY | O_DIRECTORY);
		if (h)
			dn_closep(&h[i].fd);
	}
	free(h);
}

/* One limit on its way up. */
struct limit {
	bool seen; /* some level told it */
	bool error; /* some level has it and did not tell */
	double value; /* the tightest; negative: none so far */
	uint64_t exact; /* the same for sizes and counts */
};

static ssize_t read_level(int fd, const char *dir, const char *file, char *out, size_t size)
{
	char path[CGROUP_PATH_MAX + 64];

	snprintf(path, sizeof(path), "%s%s%s", dir, *dir ? "/" : "", file);
	return dn_read_file_at(fd, path, out, size);
}

/* "max", a number, or v1's huge number. */
static int parse_amount(const char *text, bool v1_memory, uint64_t *ret)
{
	uint64_t value;

	if (strncmp(text, "max", 3) == 0 && (text[3] == '\n' || text[3] == '\0')) {
		*ret = UINT64_MAX;
		return 0;
	}
	if (dn_parse_u64(&text, &value) < 0 || (*text != '\n' && *text != '\0'))
		return -EINVAL;
	*ret = v1_memory && value >= V1_UNLIMITED ? UINT64_MAX : value;
	return 0;
}

static void amount_level(
	const struct hierarchy *h, const char *dir, const char *file, struct limit *limit)
{
	bool v1_memory = h->controller && strcmp(h->controller, "memory") == 0;
	char text[64], flag[8];
	ssize_t len = read_level(h->fd, dir, file, text, sizeof(text));
	uint64_t value;

	if (len == -ENOENT)
		return;
	if (len < 0 || parse_amount(text, v1_memory, &value) < 0) {
		limit->error = true;
		return;
	}
	/* A v1 parent that does not account for its children does not limit them either. */
	if (v1_memory && limit->seen && value < limit->exact &&
		read_level(h->fd, dir, "memory.use_hierarchy", flag, sizeof(flag)) > 0 &&
		flag[0] == '0')
		return;
	if (!limit->seen || value < limit->exact)
		limit->exact = value;
	limit->seen = true;
}

static void quota_level(const struct hierarchy *h, const char *dir, struct limit *limit)
{
	char text[64], period_text[32];
	const char *p = text, *q = period_text;
	double ratio = -1.0;
	ssize_t len;

	if (!h->controller) {
		len = read_level(h->fd, dir, "cpu.max", text, sizeof(text));
		if (len >= 0 && dn_cgroup_parse_cpu_max(text, &ratio) < 0)
			len = -EINVAL;
	} else {
		int64_t quota;
		uint64_t period;

		len = read_level(h->fd, dir, "cpu.cfs_quota_us", text, sizeof(text));
		if (len >= 0 && dn_parse_i64(&p, &quota) < 0)
			len = -EINVAL;
		if (len >= 0 && quota >= 0) {
			len = read_level(
				h->fd, dir, "cpu.cfs_period_us", period_text, sizeof(period_text));
			if (len >= 0 && (dn_parse_u64(&q, &period) < 0 || period == 0))
				len = -EINVAL;
			if (len >= 0)
				ratio = (double)quota / (double)period;
		}
	}
	if (len == -ENOENT)
		return;
	if (len < 0) {
		limit->error = true;
		return;
	}
	if (!limit->seen || (ratio >= 0 && (limit->value < 0 || ratio < limit->value)))
		limit->value = ratio;
	limit->seen = true;
}

/* v2: the controller's files are missing everywhere because nobody limits by it, not because we
 * can't see them. */
static bool root_has_controller(const struct hierarchy *h, const char *controller)
{
	char text[256];
	ssize_t len;

	if (h->controller)
		return true; /* only v1's true root lacks the file */
	len = dn_read_file_at(h->fd, "cgroup.controllers", text, sizeof(text));
	if (len <= 0)
		return false;
	for (char *p = text; *p; p++) {
		if (*p == ' ' || *p == '\n')
			*p = ',';
	}
	return list_has(text, (size_t)len, controller);
}

static bool walk(
	const struct hierarchy *h, const char *controller, const char *file, struct limit *limit)
{
	char dir[CGROUP_PATH_MAX];
	unsigned depth = 0;

	*limit = (struct limit){.value = -1.0, .exact = UINT64_MAX};
	if (h->fd < 0)
		return false;
	strcpy(dir, h->below);
	for (;;) {
		char *slash;

		if (++depth > DEPTH_MAX)
			return false;
		if (file)
			amount_level(h, dir, file, limit);
		else
			quota_level(h, dir, limit);
		if (!*dir)
			break;
		slash = strrchr(dir, '/');
		*(slash ? slash : dir) = '\0';
	}
	return !limit->error && (limit->seen || root_has_controller(h, controller));
}

void dn_cgroup_read(int proc_fd, struct dn_cgroup_facts *ret)
{
	enum { MEMORY, CPU, PIDS, UNIFIED, N };
	struct hierarchy *h = calloc(N, sizeof(*h));
	const struct hierarchy *of[UNIFIED];
	char text[8192], path[CGROUP_PATH_MAX];
	struct limit limit;
	int version;

	*ret = (struct dn_cgroup_facts){
		.memory_max_bytes = UINT64_MAX, .cpu_quota_ratio = -1.0, .pids_max = UINT64_MAX};
	if (!h)
		return;
	h[MEMORY].controller = "memory";
	h[CPU].controller = "cpu";
	h[PIDS].controller = "pids";
	for (unsigned i = 0; i < N; i++)
		h[i].fd = -1;
	if (find_hierarchies(proc_fd, 0, h, N, text, sizeof(text)) < 0)
		goto out;
	if (dn_cgroup_parse(text, NULL, &version, path, sizeof(path)) == 0) {
		ret->version = version;
		if (strlen(path) < sizeof(ret->path))
			strcpy(ret->path, path);
	}
	for (unsigned i = 0; i < UNIFIED; i++)
		of[i] = h[i].known ? &h[i] : &h[UNIFIED];
	ret->has_memory_max = walk(of[MEMORY], "memory",
		of[MEMORY]->controller ? "memory.limit_in_bytes" : "memory.max", &limit);
	if (ret->has_memory_max)
		ret->memory_max_bytes = limit.exact;
	ret->has_cpu_quota = walk(of[CPU], "cpu", NULL, &limit);
	if (ret->has_cpu_quota)
		ret->cpu_quota_ratio = limit.value;
	ret->has_pids_max = walk(of[PIDS], "pids", "pids.max", &limit);
	if (ret->has_pids_max)
		ret->pids_max = limit.exact;
out:
	for (unsigned i = 0; i < N; i++)
		dn_closep(&h[i].fd);
	free(h);
}

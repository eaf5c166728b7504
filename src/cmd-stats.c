/* SPDX-License-Identifier: Apache-2.0 */
/* `denet stats FILE`: reads a recorded stream once, in constant memory, and sums it up. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <denet/fs.h>
#include <denet/machine.h>

#include "commands.h"
#include "stats-report.h"
#include "terminal.h"

static void freep(struct dn_stats **stats)
{
	dn_stats_free(*stats);
}

/* The descriptor to read, or -1 with the reason told. */
static int open_input(const char *file, const char *name)
{
	struct stat st;
	int fd = 0;

	if (strcmp(file, "-") != 0)
		fd = open(file, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0 || fstat(fd, &st) < 0) {
		dn_error("%s: %s", name, strerror(errno));
	} else if (S_ISDIR(st.st_mode)) {
		dn_error("%s: it is a directory; name one recorded stream in it", name);
	} else {
		(void)posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
		return fd;
	}
	if (fd > 0)
		close(fd);
	return -1;
}

/* A better answer than "not JSON". */
static void explain_packed(const unsigned char *data, size_t len, struct dn_why *why)
{
	const char *packer = NULL, *unpacker = NULL;

	if (len >= 2 && data[0] == 0x1f && data[1] == 0x8b)
		packer = "gzip", unpacker = "zcat";
	else if (len >= 4 && memcmp(data, "\x28\xb5\x2f\xfd", 4) == 0)
		packer = "zstd", unpacker = "zstdcat";
	if (!packer)
		return;
	dn_why_set(why, "it is compressed with %s", packer);
	dn_why_hint(why, "try: %s FILE | denet stats -", unpacker);
}

/* 0, or a negative errno with everything told. */
static int read_all(int fd, const char *name, struct dn_stats *stats)
{
	struct dn_why why = {0};
	bool first = true;
	int r;

	for (;;) {
		char *data;
		size_t size;
		ssize_t n;

		r = dn_stats_space(stats, &data, &size);
		if (r < 0) {
			dn_error("%s: %s", name, strerror(-r));
			return r;
		}
		n = read(fd, data, size);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			r = -errno;
			dn_error("%s: %s", name, strerror(-r));
			return r;
		}
		if (n == 0)
			break;
		r = dn_stats_commit(stats, (size_t)n, &why);
		if (r < 0) {
			if (first)
				explain_packed((const unsigned char *)data, (size_t)n, &why);
			break;
		}
		first = false;
	}
	if (r == 0)
		r = dn_stats_end(stats, &why);
	if (r < 0)
		dn_error("%s: %s%s%s", name, why.text, why.hint[0] ? "; " : "", why.hint);
	return r;
}

int dn_cmd_stats(const struct dn_options *options)
{
	dn_cleanup(freep) struct dn_stats *stats = NULL;
	dn_cleanup(dn_closep) int fd = -1;
	const char *name = strcmp(options->file, "-") == 0 ? "(stdin)" : options->file;
	int r;

	r = dn_stats_new(options->lenient, &stats);
	if (r < 0) {
		dn_error("%s", strerror(-r));
		return DN_EXIT_ERROR;
	}
	fd = open_input(options->file, name);
	if (fd < 0)
		return DN_EXIT_ERROR;
	/* From here on the bytes of a file that anybody may have written are parsed. */
	dn_privileges_drop();
	if (read_all(fd, name, stats) < 0)
		return DN_EXIT_ERROR;
	if (stats->torn)
		dn_warn("%s: the last line, line %llu at byte %llu, is cut off and ignored", name,
			(unsigned long long)stats->torn_line,
			(unsigned long long)stats->torn_offset);
	if (options->json) {
		r = dn_stats_print_json(stats, name, stdout);
		/* main() tells what it finds wrong with stdout. */
		if (r < 0 && !ferror(stdout))
			dn_error("%s", strerror(-r));
		return r < 0 ? DN_EXIT_ERROR : 0;
	}
	dn_stats_print_text(stats, name, dn_terminal_color(STDOUT_FILENO, options->color),
		dn_terminal_columns(STDOUT_FILENO), stdout);
	return 0;
}

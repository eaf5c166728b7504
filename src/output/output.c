/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where records go. A record is one write(), and a record that could not be written whole is taken
 * back, so that what is in the file stays whole lines however often the disk fills up. There is no
 * fsync(): what write() took survives the death of denet and of the command, and waiting for the
 * disk would cost every run more than measuring does.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <denet/fs.h>

#include "output.h"

static int check_writable(int fd, const char *spec, struct dn_why *why)
{
	int flags = fcntl(fd, F_GETFL), fd_flags = fcntl(fd, F_GETFD);

	/* What came through exec can't be close-on-exec: such a one is our own and not the user's.
	 */
	if (flags < 0 || fd_flags < 0 || (fd > STDERR_FILENO && fd_flags & FD_CLOEXEC)) {
		dn_why_set(why, "cannot write to %s: descriptor %d is not open", spec, fd);
		dn_why_hint(why, "open it in the shell, as in: denet run -o fd:%d COMMAND %d>FILE",
			fd, fd);
		return -EBADF;
	}
	if ((flags & O_ACCMODE) == O_RDONLY || flags & O_PATH) {
		dn_why_set(why, "cannot write to %s: descriptor %d is open for reading only", spec,
			fd);
		return -EBADF;
	}
	return 0;
}

static int open_descriptor(
	int fd, const char *spec, const char *name, struct dn_output *ret, struct dn_why *why)
{
	int r = check_writable(fd, spec, why);

	if (r < 0)
		return r;
	dn_output_from_fd(fd, name, ret);
	return 0;
}

/* The folder part of a path that could not be opened is what is missing, as O_CREAT makes the rest.
 */
static void explain_open(int error, const char *path, struct dn_why *why)
{
	struct stat st;

	switch (error) {
	case ENOENT:
		dn_why_set(why, "cannot make %s: its folder does not exist", path);
		break;
	case EISDIR:
		dn_why_set(why, "cannot write to %s: it is a folder", path);
		dn_why_hint(why, "name a file in it");
		break;
	case ENXIO:
		if (stat(path, &st) == 0 && S_ISFIFO(st.st_mode)) {
			dn_why_set(why, "cannot write to %s: nobody reads this FIFO", path);
			dn_why_hint(why, "start its reader first");
			break;
		}
		__attribute__((fallthrough));
	default:
		dn_why_set(why, "cannot write to %s: %s", path, strerror(error));
	}
}

#define FIFO_TRIES 100

static int open_path(const char *path, struct dn_output *ret, struct dn_why *why)
{
	struct stat st;
	int fd, flags, high;

	/* O_NONBLOCK: a FIFO without a reader is an error here and not a wait without end. But the
	 * reader that was started beside us gets a second to come. */
	for (unsigned tries = 0;; tries++) {
		fd = open(path,
			O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK,
			0600);
		if (fd >= 0 || errno != ENXIO || tries == FIFO_TRIES)
			break;
		nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
	}
	if (fd < 0) {
		int error = errno;

		explain_open(error, path, why);
		return -error;
	}
	/* A stream on 0, 1 or 2 would mix with what the command prints. */
	if (fd <= STDERR_FILENO) {
		high = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
		if (high < 0) {
			int error = errno;

			close(fd);
			explain_open(error, path, why);
			return -error;
		}
		close(fd);
		fd = high;
	}
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		flags = fcntl(fd, F_GETFL);
		if (flags >= 0)
			fcntl(fd, F_SETFL, flags & ~O_NONBLOCK);
	}
	dn_output_from_fd(fd, path, ret);
	ret->owned = true;
	return 0;
}

int dn_output_open(const char *spec, struct dn_output *ret, struct dn_why *ret_why)
{
	memset(ret_why, 0, sizeof(*ret_why));
	if (!*spec) {
		dn_why_set(ret_why, "the name of the output is empty");
		return -EINVAL;
	}
	if (strcmp(spec, "-") == 0)
		return open_descriptor(
			STDOUT_FILENO, "the standard output", "the standard output", ret, ret_why);
	if (strncmp(spec, "fd:", 3) == 0) {
		uint64_t n;
		int r;

		if (dn_parse_u64_whole(spec + 3, &n) < 0 || n > INT_MAX) {
			dn_why_set(ret_why, "\"%s\" names no descriptor", spec);
			dn_why_hint(ret_why,
				"write fd:3 for descriptor 3, or ./%s for a file of that name",
				spec);
			return -EINVAL;
		}
		r = open_descriptor((int)n, spec, spec, ret, ret_why);

		/* It was given to denet; the command would not have it without denet. */
		if (r == 0 && n > STDERR_FILENO)
			fcntl((int)n, F_SETFD, FD_CLOEXEC);
		return r;
	}
	return open_path(spec, ret, ret_why);
}

void dn_output_from_fd(int fd, const char *name, struct dn_output *ret)
{
	*ret = (struct dn_output){.fd = fd, .name = strdup(name)};
}

static void tell(struct dn_output *output, int error)
{
	const char *name = output->name ? output->name : "its output";

	/* A reader that has seen enough is no fault: it is what head(1) does. */
	if (error == EPIPE || error == ECONNRESET) {
		dn_debug("the reader of %s has left; no more is written there", name);
		return;
	}
	if (!output->told)
		dn_error("cannot write the stream to %s: %s; the command goes on", name,
			strerror(error));
	output->told = true;
}

/* All of it, whatever signals, small pipes and non-blocking descriptors do. Returns what got out.
 */
static size_t write_all(int fd, const char *data, size_t len, int *ret_error)
{
	size_t done = 0;

	*ret_error = 0;
	while (done < len) {
		ssize_t n = write(fd, data + done, len - done);

		if (n > 0) {
			done += (size_t)n;
		} else if (n < 0 && errno == EAGAIN) {
			struct pollfd p = {.fd = fd, .events = POLLOUT};

			/* As a blocking descriptor would: somebody else made this one non-blocking.
			 */
			poll(&p, 1, -1);
		} else if (n == 0 || errno != EINTR) {
			*ret_error = n == 0 ? EIO : errno;
			break;
		}
	}
	return done;
}

/* Takes back the n bytes just written, when they are the end of a regular file. */
static bool take_back(int fd, size_t n)
{
	struct stat st;
	off_t end;

	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return false;
	end = lseek(fd, 0, SEEK_CUR);
	/* Somebody else's bytes may have come after ours: those are not ours to cut. */
	if (end < 0 || end != st.st_size || (uint64_t)end < n)
		return false;
	return ftruncate(fd, end - (off_t)n) == 0 && lseek(fd, end - (off_t)n, SEEK_SET) >= 0;
}

int dn_output_write(struct dn_output *output, const char *data, size_t len)
{
	size_t done = 0;
	int error = EPIPE;

	if (output->gone || output->fd < 0) {
		output->failed++;
		return -EPIPE;
	}
	if (output->torn && write_all(output->fd, "\n", 1, &error) == 1)
		output->torn = false;
	if (!output->torn)
		done = write_all(output->fd, data, len, &error);
	if (done == len && !output->torn)
		return 0;

	output->failed++;
	if (done > 0 && !take_back(output->fd, done))
		output->torn = true;
	if (error == EPIPE || error == ECONNRESET || error == EBADF)
		output->gone = true;
	tell(output, error);
	return -error;
}

int dn_output_close(struct dn_output *output)
{
	int r = 0, error;

	if (output->owned && output->fd >= 0) {
		if (output->torn && !output->gone)
			write_all(output->fd, "\n", 1, &error);
		/* A network file system tells here what it could not store. */
		if (close(output->fd) < 0 && errno != EINTR) {
			r = -errno;
			tell(output, -r);
		}
	}
	free(output->name);
	*output = (struct dn_output){.fd = -1};
	return r;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Outputs: what can be opened, and that a failing one leaves whole lines and says so once. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include <denet/log.h>

#include "output.h"

static char folder[] = "/tmp/denet-output-XXXXXX";
static int stderr_copy = -1, said_fd = -1;

static const char *path_of(const char *name)
{
	static char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	return path;
}

static void assert_content(int fd, const char *expected)
{
	char text[4096];
	ssize_t n = pread(fd, text, sizeof(text) - 1, 0);

	assert_true(n >= 0);
	text[n] = '\0';
	assert_string_equal(text, expected);
}

static void assert_file(const char *path, const char *expected)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_content(fd, expected);
	close(fd);
}

/* What denet says goes to a pipe while a test runs: limits on files don't touch it. */
static int catch_stderr(void **state)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0 || dup2(ends[1], STDERR_FILENO) < 0)
		return -1;
	close(ends[1]);
	said_fd = ends[0];
	dn_log_set(false, false);
	return 0;
}

static void assert_said(const char *expected)
{
	char text[4096];
	ssize_t n = read(said_fd, text, sizeof(text) - 1);

	text[n > 0 ? n : 0] = '\0';
	assert_string_equal(text, expected);
}

static int release_stderr(void **state)
{
	dup2(stderr_copy, STDERR_FILENO);
	close(said_fd);
	return 0;
}

static void test_file(void **state)
{
	const char *path = path_of("file");
	struct dn_output output;
	struct dn_why why;
	struct stat st;
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	assert_int_equal(write(fd, "what was there before", 21), 21);
	close(fd);
	assert_int_equal(dn_output_open(path, &output, &why), 0);
	assert_true(output.owned);
	assert_true(output.fd > STDERR_FILENO);
	assert_int_equal(fcntl(output.fd, F_GETFD), FD_CLOEXEC);
	assert_true(fcntl(output.fd, F_GETFL) & O_APPEND);
	assert_int_equal(dn_output_write(&output, "{}\n", 3), 0);
	assert_int_equal(dn_output_write(&output, "[]\n", 3), 0);
	assert_int_equal(output.failed, 0);
	fd = output.fd;
	assert_int_equal(dn_output_close(&output), 0);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
	assert_file(path, "{}\n[]\n");
	assert_int_equal(dn_output_close(&output), 0);

	unlink(path);
	assert_int_equal(dn_output_open(path, &output, &why), 0);
	assert_int_equal(fstat(output.fd, &st), 0);
	assert_int_equal(st.st_mode & 077, 0);
	dn_output_close(&output);
	assert_said("");
}

/* A file never lands on a standard descriptor, even when one is free. */
static void test_low_descriptor(void **state)
{
	struct dn_output output;
	struct dn_why why;
	int copy = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 10), r;

	close(STDIN_FILENO);
	r = dn_output_open(path_of("low"), &output, &why);
	if (copy >= 0) {
		dup2(copy, STDIN_FILENO);
		close(copy);
	}
	assert_int_equal(r, 0);
	assert_true(output.fd > STDERR_FILENO);
	dn_output_close(&output);
}

static void test_refused(void **state)
{
	struct dn_output output = {.fd = -7};
	struct dn_why why;
	int ends[2], own;

	assert_int_equal(dn_output_open("", &output, &why), -EINVAL);
	assert_int_equal(dn_output_open(folder, &output, &why), -EISDIR);
	assert_non_null(strstr(why.text, "folder"));
	assert_int_equal(dn_output_open(path_of("no/such/folder"), &output, &why), -ENOENT);
	assert_non_null(strstr(why.text, "no/such/folder"));
	assert_int_equal(mkfifo(path_of("fifo"), 0600), 0);
	assert_int_equal(dn_output_open(path_of("fifo"), &output, &why), -ENXIO);
	assert_non_null(strstr(why.text, "nobody reads"));
	assert_true(why.hint[0] != '\0');

	assert_int_equal(dn_output_open("fd:", &output, &why), -EINVAL);
	assert_int_equal(dn_output_open("fd:-1", &output, &why), -EINVAL);
	assert_int_equal(dn_output_open("fd:3x", &output, &why), -EINVAL);
	assert_int_equal(dn_output_open("fd:4294967297", &output, &why), -EINVAL);
	assert_int_equal(dn_output_open("fd:99999999999999999999", &output, &why), -EINVAL);
	assert_int_equal(dn_output_open("fd:997", &output, &why), -EBADF);
	assert_non_null(strstr(why.text, "997 is not open"));
	assert_int_equal(pipe(ends), 0);
	assert_int_equal(dup2(ends[0], 71), 71);
	assert_int_equal(dn_output_open("fd:71", &output, &why), -EBADF);
	assert_non_null(strstr(why.text, "reading only"));
	/* One that closes at exec did not come from the user. */
	own = fcntl(ends[1], F_DUPFD_CLOEXEC, 73);
	snprintf(why.hint, sizeof(why.hint), "fd:%d", own);
	assert_int_equal(dn_output_open(strdupa(why.hint), &output, &why), -EBADF);
	close(own);
	close(71);
	close(ends[0]);
	close(ends[1]);
	assert_int_equal(output.fd, -7);
	assert_said("");
}

static void test_descriptor(void **state)
{
	struct dn_output output;
	struct dn_why why;
	char text[8] = "";
	int ends[2];

	assert_int_equal(pipe(ends), 0);
	assert_int_equal(dup2(ends[1], 71), 71);
	assert_int_equal(dn_output_open("fd:71", &output, &why), 0);
	assert_false(output.owned);
	assert_int_equal(dn_output_write(&output, "17\n", 3), 0);
	assert_int_equal(read(ends[0], text, sizeof(text)), 3);
	assert_string_equal(text, "17\n");
	assert_int_equal(dn_output_close(&output), 0);
	assert_true(fcntl(71, F_GETFD) >= 0);
	close(71);
	close(ends[0]);
	close(ends[1]);
}

static void test_fifo_blocks(void **state)
{
	struct dn_output output;
	struct dn_why why;
	int reader;

	unlink(path_of("fifo"));
	assert_int_equal(mkfifo(path_of("fifo"), 0600), 0);
	reader = open(path_of("fifo"), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	assert_int_equal(dn_output_open(path_of("fifo"), &output, &why), 0);
	assert_int_equal(fcntl(output.fd, F_GETFL) & O_NONBLOCK, 0);
	dn_output_close(&output);
	close(reader);
}

/* The limit falls into a record: what got out of it is taken back, told once, and later records go
 * out whole. */
static void limited(const char *path, bool append)
{
	struct rlimit before, limit;
	struct dn_output output;
	struct stat st;
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | (append ? O_APPEND : 0), 0600);

	assert_true(fd >= 0);
	dn_output_from_fd(fd, "the file", &output);
	assert_int_equal(dn_output_write(&output, "first\n", 6), 0);
	getrlimit(RLIMIT_FSIZE, &before);
	limit = before;
	limit.rlim_cur = 11;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	assert_int_equal(dn_output_write(&output, "second is too long\n", 19), -EFBIG);
	assert_int_equal(dn_output_write(&output, "third is as well\n", 17), -EFBIG);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	assert_int_equal(st.st_size, 6);
	assert_int_equal(output.failed, 2);
	assert_false(output.gone);
	assert_false(output.torn);
	assert_int_equal(dn_output_write(&output, "last\n", 5), 0);
	assert_file(path, "first\nlast\n");
	dn_output_close(&output);
	close(fd);
	assert_said("denet: cannot write the stream to the file: File too large; the command goes "
		    "on\n");
}

static void test_limit_append(void **state)
{
	limited(path_of("limit"), true);
}

static void test_limit_offset(void **state)
{
	limited(path_of("limit"), false);
}

/* Bytes of others behind ours are not cut; the torn line is ended instead. */
static void test_torn_line(void **state)
{
	struct dn_output output = {
		.fd = open(
			path_of("torn"), O_RDWR | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600)};

	assert_true(output.fd >= 0);
	assert_int_equal(write(output.fd, "{\"half", 6), 6);
	output.torn = true;
	assert_int_equal(dn_output_write(&output, "{}\n", 3), 0);
	assert_false(output.torn);
	assert_int_equal(dn_output_write(&output, "[]\n", 3), 0);
	assert_content(output.fd, "{\"half\n{}\n[]\n");
	close(output.fd);
	output.fd = -1;
	dn_output_close(&output);
}

static void test_full(void **state)
{
	struct dn_output output;
	struct dn_why why;

	assert_int_equal(dn_output_open("/dev/full", &output, &why), 0);
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(dn_output_write(&output, "{}\n", 3), -ENOSPC);
	assert_int_equal(output.failed, 5);
	assert_false(output.gone);
	dn_output_close(&output);
	assert_said("denet: cannot write the stream to /dev/full: No space left on device; the "
		    "command goes on\n");
}

static void test_reader_gone(void **state)
{
	struct dn_output output;
	int ends[2];

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	dn_output_from_fd(ends[1], "the pipe", &output);
	assert_int_equal(dn_output_write(&output, "{}\n", 3), 0);
	close(ends[0]);
	assert_int_equal(dn_output_write(&output, "{}\n", 3), -EPIPE);
	assert_true(output.gone);
	assert_int_equal(dn_output_write(&output, "{}\n", 3), -EPIPE);
	assert_int_equal(output.failed, 2);
	dn_output_close(&output);
	close(ends[1]);
	assert_said("");
}

/* A pipe that takes little at a time and does not block: the record arrives whole all the same. */
static void test_small_pipe(void **state)
{
	size_t len = 1000003;
	char *data = malloc(len);
	struct dn_output output;
	int ends[2], status;
	pid_t child;

	assert_non_null(data);
	memset(data, 'x', len);
	assert_int_equal(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		char buffer[509];
		size_t sum = 0;
		ssize_t n;

		close(ends[1]);
		fcntl(ends[0], F_SETFL, 0);
		while ((n = read(ends[0], buffer, sizeof(buffer))) > 0)
			sum += (size_t)n;
		_exit(sum == len ? 0 : 1);
	}
	close(ends[0]);
	dn_output_from_fd(ends[1], "the pipe", &output);
	assert_int_equal(dn_output_write(&output, data, len), 0);
	dn_output_close(&output);
	close(ends[1]);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	free(data);
}

static int set_up(void **state)
{
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
	stderr_copy = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 10);
	return mkdtemp(folder) && stderr_copy >= 0 ? 0 : -1;
}

static int tear_down(void **state)
{
	static const char *const names[] = {"file", "low", "fifo", "limit", "torn"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		unlink(path_of(names[i]));
	return rmdir(folder);
}

#define caught(f) cmocka_unit_test_setup_teardown(f, catch_stderr, release_stderr)

int main(void)
{
	const struct CMUnitTest tests[] = {
		caught(test_file),
		caught(test_low_descriptor),
		caught(test_refused),
		caught(test_descriptor),
		caught(test_fifo_blocks),
		caught(test_limit_append),
		caught(test_limit_offset),
		caught(test_torn_line),
		caught(test_full),
		caught(test_reader_gone),
		caught(test_small_pipe),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}

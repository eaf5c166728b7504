/* SPDX-License-Identifier: Apache-2.0 */
/*
 * files FOLDER OTHER [ROUNDS=1]: ROUNDS times the same operations on files in both folders, which
 * may be of different filesystems, beside the same calls on what is no file (a pipe, a socket,
 * /dev/null). Truth: calls, errors and bytes by operation, bytes by folder, calls and bytes of
 * some files; what the program does before and after its rounds is the same for every ROUNDS.
 */
#include <sys/file.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "workload.h"

#define EMPTY 0x1000 /* AT_EMPTY_PATH */

struct operation {
	const char *name;
	uint64_t count, errors, bytes;
};

static struct operation operations[32];
static uint64_t read_bytes[2], write_bytes[2];
static char data[4096];
static int nothing[2], sockets[2], null_fd;

static struct operation *operation(const char *name)
{
	unsigned i;

	for (i = 0; operations[i].name && strcmp(operations[i].name, name) != 0; i++)
		continue;
	operations[i].name = name;
	return &operations[i];
}

/* One call, which must do what is expected: bytes, or -1. */
static void did(const char *name, long result, long expected)
{
	struct operation *of = operation(name);

	if (result != expected)
		die(name);
	of->count++;
	of->errors += result < 0;
	of->bytes += result > 0 ? (uint64_t)result : 0;
}

static int opened(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC, 0644);

	if (fd < 0)
		die(path);
	operation("open")->count++;
	return fd;
}

static void closed(int fd)
{
	did("close", close(fd), 0);
}

static void move_bytes(int fd, unsigned folder)
{
	struct iovec parts[2] = {{data, 5}, {data + 5, 8}};

	for (int i = 0; i < 31; i++)
		did("write", pwrite(fd, data, 97, i * 97), 97);
	for (int i = 0; i < 29; i++)
		did("read", pread(fd, data, 97, i * 97), 97);
	for (int i = 0; i < 7; i++)
		did("seek", lseek(fd, 0, SEEK_SET), 0);
	for (int i = 0; i < 11; i++)
		did("write", writev(fd, parts, 2), 13);
	did("seek", lseek(fd, 0, SEEK_SET), 0);
	for (int i = 0; i < 5; i++)
		did("read", readv(fd, parts, 2), 13);
	did("read", pread(fd, data, 1, 1 << 20), 0);
	did("read", syscall(SYS_read, fd, 8L, 17L), -1); /* no memory there */
	read_bytes[folder] += 29 * 97 + 5 * 13;
	write_bytes[folder] += 31 * 97 + 11 * 13;
}

static void sync_and_size(int fd)
{
	for (int i = 0; i < 3; i++)
		did("fsync", fsync(fd), 0);
	for (int i = 0; i < 5; i++)
		did("fdatasync", fdatasync(fd), 0);
	for (int i = 0; i < 2; i++)
		did("truncate", ftruncate(fd, 4096), 0);
	for (int i = 0; i < 13; i++)
		did("lock", flock(fd, i % 2 ? LOCK_UN : LOCK_SH), 0);
	did("chmod", fchmod(fd, 0600), 0);
}

static void look(int fd, const char *path)
{
	struct stat st;
	char buffer[512];

	for (int i = 0; i < 17; i++)
		did("stat", syscall(SYS_newfstatat, fd, "", &st, EMPTY), 0);
	for (int i = 0; i < 19; i++)
		did("stat", syscall(SYS_newfstatat, AT_FDCWD, path, &st, 0), 0);
	for (int i = 0; i < 23; i++)
		did("stat", syscall(SYS_statx, AT_FDCWD, "/no/such/file", 0, 0, buffer), -1);
	did("stat", syscall(SYS_statx, fd, "", EMPTY, 0, buffer), 0);
	for (int i = 0; i < 3; i++)
		did("open", open("/no/such/file", O_RDONLY), -1);
	did("access", syscall(SYS_faccessat, AT_FDCWD, path, R_OK), 0);
}

/* None of this is on a file. */
static void do_what_is_none(void)
{
	struct stat st;

	for (int i = 0; i < 37; i++)
		if (write(nothing[1], data, 41) != 41 || read(nothing[0], data, 41) != 41 ||
			write(sockets[1], data, 43) != 43 || read(sockets[0], data, 43) != 43 ||
			write(null_fd, data, 47) != 47)
			die("pipe or socket");
	for (int i = 0; i < 2; i++)
		if (syscall(SYS_newfstatat, nothing[0], "", &st, EMPTY) != 0 ||
			lseek(nothing[0], 0, SEEK_CUR) != -1 || read(-1, data, 1) != -1 ||
			close(-1) != -1 || close(dup(nothing[0])) != 0)
			die("none");
}

static void copy_bytes(int from, int to)
{
	off_t at = 0, out = 0;

	/* file to file, file to pipe, pipe to file */
	for (int i = 0; i < 7; i++, at = 0)
		did("sendfile", sendfile(to, from, &at, 53), 53);
	read_bytes[0] += 7 * 53;
	write_bytes[1] += 7 * 53;
	for (int i = 0; i < 11; i++, at = 0) {
		did("splice", splice(from, &at, nothing[1], NULL, 59, 0), 59);
		if (read(nothing[0], data, 59) != 59)
			die("pipe");
	}
	read_bytes[0] += 11 * 59;
	for (int i = 0; i < 5; i++, out = 0) {
		if (write(nothing[1], data, 61) != 61)
			die("pipe");
		did("splice", splice(nothing[0], NULL, to, &out, 61, 0), 61);
	}
	write_bytes[1] += 5 * 61;
}

static void copy_range(int from, int to)
{
	for (int i = 0; i < 3; i++) {
		off_t at = 0, out = 128;

		did("copy_file_range", copy_file_range(from, &at, to, &out, 67, 0), 67);
	}
	read_bytes[0] += 3 * 67;
	write_bytes[0] += 3 * 67;
}

static void name_things(const char *folder, int round)
{
	char one[600], two[600];
	long n;
	int fd;

	snprintf(one, sizeof(one), "%s/one-%d", folder, round);
	snprintf(two, sizeof(two), "%s/two-%d", folder, round);
	closed(opened(one, O_CREAT | O_WRONLY));
	did("rename", rename(one, two), 0);
	did("link", link(two, one), 0);
	did("unlink", unlink(one), 0);
	did("unlink", unlink(two), 0);
	did("unlink", unlink(two), -1);
	did("symlink", symlink("x", one), 0);
	did("readlink", syscall(SYS_readlinkat, AT_FDCWD, one, two, 9L) == 1 ? 0 : -1, 0);
	did("unlink", unlink(one), 0);
	did("mkdir", mkdir(one, 0755), 0);
	fd = opened(one, O_RDONLY | O_DIRECTORY);
	n = syscall(SYS_getdents64, fd, data, sizeof(data));
	did("getdents", n > 0 ? 0 : -1, 0);
	closed(fd);
	did("rmdir", rmdir(one), 0);
}

static void round_of(char *const *folder, int round)
{
	char path[2][600];
	int fd[2], copy;

	for (unsigned i = 0; i < 2; i++) {
		snprintf(path[i], sizeof(path[i]), "%s/data", folder[i]);
		fd[i] = opened(path[i], O_CREAT | O_RDWR);
		move_bytes(fd[i], i);
		sync_and_size(fd[i]);
		look(fd[i], path[i]);
		name_things(folder[i], round);
	}
	do_what_is_none();
	copy_bytes(fd[0], fd[1]);
	snprintf(path[0], sizeof(path[0]), "%s/copy", folder[0]);
	copy = opened(path[0], O_CREAT | O_RDWR);
	copy_range(fd[0], copy);
	closed(copy);
	closed(fd[0]);
	closed(fd[1]);
}

int main(int argc, char **argv)
{
	uint64_t rounds = argument(argc, argv, 3, 1);
	char text[3072];
	size_t length = 0;

	if (argc < 3 || pipe2(nothing, O_CLOEXEC) < 0 ||
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) < 0)
		return 98;
	null_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
	for (uint64_t i = 0; i < rounds; i++)
		round_of(argv + 1, (int)i);
	for (unsigned i = 0; operations[i].name; i++) {
		const struct operation *of = &operations[i];

		length += (size_t)snprintf(text + length, sizeof(text) - length,
			"%s\"%s\":[%llu,%llu,%llu]", i ? "," : "", of->name,
			(unsigned long long)of->count, (unsigned long long)of->errors,
			(unsigned long long)of->bytes);
	}
	emit("{\"processes\":1,\"operations\":{%s},\"read_bytes\":[%llu,%llu],\"write_bytes\":[%"
	     "llu,"
	     "%llu]}",
		text, (unsigned long long)read_bytes[0], (unsigned long long)read_bytes[1],
		(unsigned long long)write_bytes[0], (unsigned long long)write_bytes[1]);
	return 0;
}

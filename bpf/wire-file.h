/* SPDX-License-Identifier: Apache-2.0 */
/* What both sides of the probe group file share. */
#ifndef DENET_WIRE_FILE_H
#define DENET_WIRE_FILE_H

#include "wire.h"

/* How a call names the files that it is about. */
enum dn_wire_file_how {
	DN_FILE_BY_PATH, /* by name: it is about a file whatever there is */
	DN_FILE_BY_FD, /* its first argument */
	DN_FILE_BY_RESULT, /* it makes the descriptor */
	DN_FILE_CLOSES, /* its first argument, which is gone at the exit */
	DN_FILE_AT_FLAGS_2, /* by directory and name, or by descriptor when the name is empty; the
			     */
	DN_FILE_AT_FLAGS_3, /* number of the argument with the flags */
	DN_FILE_OUT_IN, /* writes to its first argument what it reads from its second */
	DN_FILE_IN_OUT, /* reads from its first argument what it writes to its third */
	DN_FILE_QUEUES, /* I/O that is done beside it, so many pieces as its second argument says */
	DN_FILE_RING, /* makes a queue that the kernel may empty without any call */
};

/* A call: operation, how << 8, bytes << 12. Made by user space, 0 for calls of no interest. */
#define DN_FILE_OPERATIONS 40 /* 0 is none */
#define DN_FILE_OPERATION_MASK 63
#define DN_FILE_READS 1
#define DN_FILE_WRITES 2

/* Of an operation, per CPU. */
struct dn_wire_file {
	__u64 count, errors, bytes, time_ns;
	struct dn_wire_histogram latency;
};

/* Of all, per CPU. */
struct dn_wire_file_totals {
	__u64 read_bytes, write_bytes;
	__u64 on_paths; /* what the table by path has been told of */
	__u64 unseen; /* calls that had I/O done beside them */
};

/* By type of filesystem, per CPU; the key is where the kernel keeps the type. */
#define DN_FILE_SYSTEMS 64

struct dn_wire_filesystem {
	char name[24];
	__u64 count, read_bytes, write_bytes, time_ns;
};

struct dn_wire_file_key {
	__u64 inode;
	__u32 device, generation;
};

/*
 * The components of the path, the last one first, each with its NUL; what is above those that
 * found room is not known.
 */
#define DN_FILE_PATH 256
#define DN_FILE_DEPTH 20 /* folders and mounts on the way up */

enum {
	DN_FILE_PATH_WHOLE = 1, /* up to the root */
	DN_FILE_PATH_NAMELESS =
		2, /* of no folder: the only component is what the kernel calls it */
};

struct dn_wire_path {
	__u64 count, read_bytes, write_bytes, time_ns;
	__u32 flags;
	__u32 len; /* of path */
	char path[DN_FILE_PATH];
};

_Static_assert(sizeof(struct dn_wire_file) % 8 == 0, "no holes");
_Static_assert(sizeof(struct dn_wire_filesystem) == 56, "no holes");
_Static_assert(sizeof(struct dn_wire_path) == 40 + DN_FILE_PATH, "no holes");

#endif

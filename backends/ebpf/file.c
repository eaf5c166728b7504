/* SPDX-License-Identifier: Apache-2.0 */
/* The group file: operations on files, by operation, by filesystem and by path. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <denet/fs.h>

#include <syscalls.h>

#include "ebpf.h"
#include "file-path.h"
#include "wire-file.h"

#define CALLS "dn_fork dn_exec dn_exit dn_sys_enter dn_sys_exit"
#define PATH_MAPS "dn_file_paths dn_file_scratch"
#define PATHS_MIN 8192 /* files that the kernel side remembers, at least */
#define SOURCE "raw_tp sys_enter, sys_exit"

static const struct dn_ebpf_metric metrics[] = {
	{DN_M_file_read_bytes, DN_QUALITY_EXACT, SOURCE, CALLS, NULL},
	{DN_M_file_write_bytes, DN_QUALITY_EXACT, SOURCE, CALLS, NULL},
	{DN_M_file_latency, DN_QUALITY_EXACT, SOURCE, CALLS, NULL},
	{DN_M_file_by_operation, DN_QUALITY_EXACT, SOURCE, CALLS, NULL},
	{DN_M_file_by_filesystem, DN_QUALITY_EXACT, SOURCE, CALLS, NULL},
	{DN_M_file_by_path, DN_QUALITY_EXACT, SOURCE, CALLS, NULL},
};

/* The calls of an operation, of every ABI. */
struct use {
	const char *operation;
	enum dn_wire_file_how how;
	unsigned moves; /* DN_FILE_READS, DN_FILE_WRITES */
	const char *calls;
};

static const struct use uses[] = {
	{"read", DN_FILE_BY_FD, DN_FILE_READS, "read readv pread64 preadv preadv2"},
	{"write", DN_FILE_BY_FD, DN_FILE_WRITES, "write writev pwrite64 pwritev pwritev2"},
	{"sendfile", DN_FILE_OUT_IN, 0, "sendfile sendfile64"},
	{"copy_file_range", DN_FILE_IN_OUT, 0, "copy_file_range"},
	{"splice", DN_FILE_IN_OUT, 0, "splice"},
	{"open", DN_FILE_BY_RESULT, 0, "open openat openat2 creat open_by_handle_at"},
	{"close", DN_FILE_CLOSES, 0, "close"},
	{"fsync", DN_FILE_BY_FD, 0, "fsync"},
	{"fdatasync", DN_FILE_BY_FD, 0, "fdatasync"},
	{"sync_file_range", DN_FILE_BY_FD, 0,
		"sync_file_range sync_file_range2 arm_sync_file_range"},
	{"syncfs", DN_FILE_BY_FD, 0, "syncfs"},
	{"stat", DN_FILE_AT_FLAGS_3, 0, "newfstatat fstatat64"},
	{"stat", DN_FILE_AT_FLAGS_2, 0, "statx"},
	{"stat", DN_FILE_BY_FD, 0, "fstat fstat64 oldfstat"},
	{"stat", DN_FILE_BY_PATH, 0, "stat lstat stat64 lstat64 oldstat oldlstat"},
	{"statfs", DN_FILE_BY_FD, 0, "fstatfs fstatfs64"},
	{"statfs", DN_FILE_BY_PATH, 0, "statfs statfs64"},
	{"access", DN_FILE_BY_PATH, 0, "access faccessat faccessat2"},
	{"readlink", DN_FILE_BY_PATH, 0, "readlink readlinkat"},
	{"getdents", DN_FILE_BY_FD, 0, "getdents getdents64 readdir"},
	{"seek", DN_FILE_BY_FD, 0, "lseek _llseek"},
	{"truncate", DN_FILE_BY_FD, 0, "ftruncate ftruncate64"},
	{"truncate", DN_FILE_BY_PATH, 0, "truncate truncate64"},
	{"fallocate", DN_FILE_BY_FD, 0, "fallocate"},
	{"fadvise", DN_FILE_BY_FD, 0, "fadvise64 fadvise64_64 arm_fadvise64_64 readahead"},
	{"unlink", DN_FILE_BY_PATH, 0, "unlink unlinkat"},
	{"rmdir", DN_FILE_BY_PATH, 0, "rmdir"},
	{"rename", DN_FILE_BY_PATH, 0, "rename renameat renameat2"},
	{"link", DN_FILE_BY_PATH, 0, "link linkat"},
	{"symlink", DN_FILE_BY_PATH, 0, "symlink symlinkat"},
	{"mkdir", DN_FILE_BY_PATH, 0, "mkdir mkdirat"},
	{"mknod", DN_FILE_BY_PATH, 0, "mknod mknodat"},
	{"chmod", DN_FILE_BY_FD, 0, "fchmod"},
	{"chmod", DN_FILE_BY_PATH, 0, "chmod fchmodat fchmodat2"},
	{"chown", DN_FILE_BY_FD, 0, "fchown fchown32"},
	{"chown", DN_FILE_BY_PATH, 0, "chown chown32 lchown lchown32 fchownat"},
	{"utime", DN_FILE_AT_FLAGS_3, 0, "utimensat utimensat_time64"},
	{"utime", DN_FILE_BY_PATH, 0, "utime utimes futimesat"},
	{"xattr", DN_FILE_BY_FD, 0, "fgetxattr fsetxattr flistxattr fremovexattr"},
	{"xattr", DN_FILE_BY_PATH, 0,
		"getxattr lgetxattr getxattrat setxattr lsetxattr setxattrat listxattr llistxattr "
		"listxattrat removexattr lremovexattr removexattrat"},
	{"lock", DN_FILE_BY_FD, 0, "flock"},
	{NULL, DN_FILE_QUEUES, 0, "io_uring_enter io_submit"},
	{NULL, DN_FILE_RING, 0, "io_uring_setup"},
};

#define N_USES (sizeof(uses) / sizeof(uses[0]))

struct files {
	struct dn_wire_file_totals totals;
	struct operation {
		uint64_t count, errors, bytes, time_ns;
		struct dn_histogram latency;
	} operation[DN_FILE_OPERATIONS];
	struct dn_histogram latency;
	struct filesystem {
		uint64_t type;
		struct dn_wire_filesystem sum;
	} filesystem[DN_FILE_SYSTEMS];
	unsigned n_filesystems;
	struct dn_ebpf_file_list list;
	struct dn_ebpf_table by_operation, by_filesystem, by_path;
};

static struct files *data_of(const struct dn_ebpf *ebpf)
{
	return ebpf->group_data[DN_PROBES_FILE];
}

/* The same operation as the row before has the same number; 0 is none. */
static unsigned number_of(unsigned use)
{
	unsigned number = 0;

	for (unsigned i = 0; i <= use; i++) {
		const char *name = uses[i].operation;

		if (name && (i == 0 || strcmp(name, uses[i - 1].operation) != 0))
			number++;
	}
	return number;
}

static const char *operation_name(unsigned number)
{
	for (unsigned i = 0; i < N_USES; i++) {
		if (uses[i].operation && number_of(i) == number)
			return uses[i].operation;
	}
	return NULL;
}

/* Before loading */

struct word {
	const char *text;
	size_t len;
	uint16_t class;
};

static int compare_words(const void *a, const void *b)
{
	const struct word *left = a, *right = b;
	size_t len = left->len < right->len ? left->len : right->len;
	int r = memcmp(left->text, right->text, len);

	return r ? r : (left->len > right->len) - (left->len < right->len);
}

#define WORDS_MAX 192

static size_t all_words(struct word *words)
{
	size_t n = 0;

	for (unsigned i = 0; i < N_USES; i++) {
		uint16_t class = (uint16_t)((uses[i].operation ? number_of(i) : 0) |
					    (unsigned)uses[i].how << 8 | uses[i].moves << 12);

		for (const char *at = uses[i].calls; *at && n < WORDS_MAX;) {
			size_t len = strcspn(at, " ");

			words[n++] = (struct word){at, len, class};
			at += len + (at[len] == ' ');
		}
	}
	qsort(words, n, sizeof(*words), compare_words);
	return n;
}

static void prepare(struct dn_ebpf *ebpf, const char *name, struct bpf_object *object)
{
	uint16_t calls[DN_CALLS_N] = {0};
	struct word words[WORDS_MAX];
	uint32_t paths = ebpf->env->paths * 8 > PATHS_MIN ? ebpf->env->paths * 8 : PATHS_MIN;
	size_t n;

	if (strcmp(name, "syscalls") != 0)
		return;
	n = all_words(words);
	for (unsigned index = 0; index < DN_CALLS_N; index++) {
		const char *call = dn_syscall_name(
			(enum dn_abi)(index / DN_CALLS_PER_ABI), index % DN_CALLS_PER_ABI);
		struct word wanted = {call, call ? strlen(call) : 0, 0}, *found = NULL;

		if (call)
			found = bsearch(&wanted, words, n, sizeof(*words), compare_words);
		if (found)
			calls[index] = found->class;
	}
	(void)dn_ebpf_set(object, "dn_file_calls", calls, sizeof(calls));
	if (ebpf->features & DN_FEATURE_PATHS)
		dn_ebpf_resize(object, "dn_file_paths", paths);
	else
		dn_ebpf_shrink_maps(object, PATH_MAPS);
}

static bool refuse(struct dn_ebpf *ebpf, struct dn_probe *probe, unsigned metric)
{
	if (metric != DN_M_file_by_path || ebpf->features & DN_FEATURE_PATHS)
		return false;
	dn_probe_refuse(probe, metric, DN_FACT_UNSUPPORTED,
		"files are told by path when somebody asks for it", "--paths N");
	return true;
}

static int start(struct dn_ebpf *ebpf)
{
	ebpf->group_data[DN_PROBES_FILE] = calloc(1, sizeof(struct files));
	return ebpf->group_data[DN_PROBES_FILE] ? 0 : -ENOMEM;
}

/* Reading */

static int map_of(const struct dn_ebpf *ebpf, const char *map)
{
	return dn_ebpf_map(&ebpf->objects, "syscalls", map);
}

static void add_totals(void *arg, const void *value)
{
	const struct dn_wire_file_totals *from = value;
	struct files *self = arg;

	self->totals.read_bytes += from->read_bytes;
	self->totals.write_bytes += from->write_bytes;
	self->totals.on_paths += from->on_paths;
	self->totals.unseen += from->unseen;
}

static void add_operation(void *arg, uint32_t key, const void *value)
{
	const struct dn_wire_file *from = value;
	struct files *self = arg;
	struct operation *sum;

	if (key >= DN_FILE_OPERATIONS || !from->count)
		return;
	sum = &self->operation[key];
	sum->count += from->count;
	sum->errors += from->errors;
	sum->bytes += from->bytes;
	sum->time_ns += from->time_ns;
	dn_ebpf_histogram_add(&sum->latency, &from->latency);
	dn_ebpf_histogram_add(&self->latency, &from->latency);
}

static void add_filesystem(void *arg, const void *key, const void *value)
{
	const struct dn_wire_filesystem *from = value;
	struct files *self = arg;
	struct dn_wire_filesystem *sum;
	uint64_t type;
	unsigned i;

	memcpy(&type, key, sizeof(type));
	for (i = 0; i < self->n_filesystems && self->filesystem[i].type != type; i++)
		continue;
	if (i == DN_FILE_SYSTEMS)
		return;
	if (i == self->n_filesystems)
		self->filesystem[self->n_filesystems++].type = type;
	sum = &self->filesystem[i].sum;
	/* The name is with the value of the CPU that met it first. */
	if (from->name[0])
		memcpy(sum->name, from->name, sizeof(sum->name));
	sum->name[sizeof(sum->name) - 1] = '\0';
	sum->count += from->count;
	sum->read_bytes += from->read_bytes;
	sum->write_bytes += from->write_bytes;
	sum->time_ns += from->time_ns;
}

static void add_path(void *arg, const void *key, const void *value)
{
	struct files *self = arg;

	(void)key;
	dn_ebpf_file_list_add(&self->list, value);
}

/* Tables */

static void put_operations(struct dn_ebpf *ebpf, struct files *self, struct dn_frame *frame)
{
	static const char *const columns[] = {"count", "errors", "bytes", "time_ns", "latency"};

	memset(self->operation, 0, sizeof(self->operation));
	memset(&self->latency, 0, sizeof(self->latency));
	if (dn_ebpf_read_percpu_array(ebpf, map_of(ebpf, "dn_files"), DN_FILE_OPERATIONS,
		    sizeof(struct dn_wire_file), add_operation, self) < 0)
		return;
	if (dn_ebpf_has(ebpf, DN_M_file_latency))
		dn_frame_histogram(frame, DN_M_file_latency, &self->latency);
	if (!dn_ebpf_has(ebpf, DN_M_file_by_operation))
		return;
	dn_ebpf_table_begin(&self->by_operation, columns, 5, DN_FILE_OPERATIONS);
	for (unsigned i = 1; i < DN_FILE_OPERATIONS; i++) {
		const struct operation *sum = &self->operation[i];
		const char *name = sum->count ? operation_name(i) : NULL;
		struct dn_table_row *row =
			name ? dn_ebpf_table_row(&self->by_operation, name) : NULL;

		if (!row)
			continue;
		dn_ebpf_table_add(row, 0, sum->count);
		dn_ebpf_table_add(row, 1, sum->errors);
		dn_ebpf_table_add(row, 2, sum->bytes);
		dn_ebpf_table_add(row, 3, sum->time_ns);
		row->value[4].type = DN_VALUE_HISTOGRAM;
		row->value[4].histogram = &sum->latency;
	}
	dn_frame_table(frame, DN_M_file_by_operation, dn_ebpf_table_end(&self->by_operation, 0));
}

static void put_filesystems(struct dn_ebpf *ebpf, struct files *self, struct dn_frame *frame)
{
	static const char *const columns[] = {"count", "read_bytes", "write_bytes", "time_ns"};

	memset(self->filesystem, 0, sizeof(self->filesystem));
	self->n_filesystems = 0;
	if (dn_ebpf_read_percpu_hash(ebpf, map_of(ebpf, "dn_filesystems"), sizeof(uint64_t),
		    sizeof(struct dn_wire_filesystem), add_filesystem, self) < 0)
		return;
	dn_ebpf_table_begin(&self->by_filesystem, columns, 4, DN_FILE_SYSTEMS);
	for (unsigned i = 0; i < self->n_filesystems; i++) {
		const struct dn_wire_filesystem *sum = &self->filesystem[i].sum;
		struct dn_table_row *row = dn_ebpf_table_row(
			&self->by_filesystem, sum->name[0] ? sum->name : "unknown");

		if (!row)
			continue;
		dn_ebpf_table_add(row, 0, sum->count);
		dn_ebpf_table_add(row, 1, sum->read_bytes);
		dn_ebpf_table_add(row, 2, sum->write_bytes);
		dn_ebpf_table_add(row, 3, sum->time_ns);
	}
	dn_frame_table(frame, DN_M_file_by_filesystem, dn_ebpf_table_end(&self->by_filesystem, 0));
}

/* The totals were read before: files that are counted meanwhile don't make it look as if some had
 * been dropped. */
static void put_paths(struct dn_ebpf *ebpf, struct files *self, struct dn_frame *frame)
{
	static const char *const columns[] = {"count", "read_bytes", "write_bytes", "time_ns"};
	uint64_t kept = 0, shown = 0;

	dn_ebpf_file_list_free(&self->list);
	if (dn_ebpf_read_hash(map_of(ebpf, "dn_file_paths"), sizeof(struct dn_wire_file_key),
		    sizeof(struct dn_wire_path), add_path, self) < 0 ||
		self->list.error)
		return;
	dn_ebpf_file_list_order(&self->list);
	dn_ebpf_table_begin(&self->by_path, columns, 4, ebpf->env->paths);
	for (size_t i = 0; i < self->list.n; i++) {
		const struct dn_ebpf_file_entry *entry = &self->list.entry[i];
		struct dn_table_row *row = i < ebpf->env->paths
						   ? dn_ebpf_table_row(&self->by_path, entry->path)
						   : NULL;

		kept = dn_add_sat(kept, entry->count);
		if (!row)
			continue;
		shown = dn_add_sat(shown, entry->count);
		dn_ebpf_table_add(row, 0, entry->count);
		dn_ebpf_table_add(row, 1, entry->read_bytes);
		dn_ebpf_table_add(row, 2, entry->write_bytes);
		dn_ebpf_table_add(row, 3, entry->time_ns);
	}
	self->by_path.table.other = dn_sub_sat(self->totals.on_paths, shown);
	if (kept < self->totals.on_paths)
		dn_ebpf_degrade(ebpf, DN_M_file_by_path, DN_QUALITY_LOWER_BOUND,
			"more files than the table in the kernel holds: those that were idle "
			"longest gave way to others");
	dn_frame_table(frame, DN_M_file_by_path, dn_ebpf_table_end(&self->by_path, DN_TABLE_AS_IS));
}

static void sample(struct dn_ebpf *ebpf, struct dn_frame *frame)
{
	struct files *self = data_of(ebpf);

	self->totals = (struct dn_wire_file_totals){0};
	if (dn_ebpf_read_percpu(ebpf, map_of(ebpf, "dn_file_totals"), 0,
		    sizeof(struct dn_wire_file_totals), add_totals, self) < 0)
		return;
	if (self->totals.unseen)
		dn_ebpf_degrade_group(ebpf, DN_PROBES_FILE, DN_QUALITY_LOWER_BOUND,
			"io_uring or asynchronous I/O was used: what it reads and writes is not "
			"seen");
	if (dn_ebpf_has(ebpf, DN_M_file_read_bytes))
		dn_frame_u64(frame, DN_M_file_read_bytes, self->totals.read_bytes);
	if (dn_ebpf_has(ebpf, DN_M_file_write_bytes))
		dn_frame_u64(frame, DN_M_file_write_bytes, self->totals.write_bytes);
	if (!ebpf->env->detail && !frame->final)
		return;
	put_operations(ebpf, self, frame);
	if (dn_ebpf_has(ebpf, DN_M_file_by_filesystem))
		put_filesystems(ebpf, self, frame);
	if (dn_ebpf_has(ebpf, DN_M_file_by_path))
		put_paths(ebpf, self, frame);
}

static void finish(struct dn_ebpf *ebpf)
{
	struct files *self = data_of(ebpf);

	if (!self)
		return;
	dn_ebpf_table_free(&self->by_operation);
	dn_ebpf_table_free(&self->by_filesystem);
	dn_ebpf_table_free(&self->by_path);
	dn_ebpf_file_list_free(&self->list);
	free(self);
	ebpf->group_data[DN_PROBES_FILE] = NULL;
}

const struct dn_ebpf_group dn_ebpf_group_file = {
	.id = DN_PROBES_FILE,
	.features = DN_FEATURE_FILE,
	.sampled = true,
	.maps = "dn_files dn_file_totals dn_filesystems " PATH_MAPS,
	.metric = metrics,
	.n_metrics = sizeof(metrics) / sizeof(metrics[0]),
	.refuse = refuse,
	.prepare = prepare,
	.start = start,
	.sample = sample,
	.finish = finish,
};

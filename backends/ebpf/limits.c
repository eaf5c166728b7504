/* SPDX-License-Identifier: Apache-2.0 */
/* The group limits: calls that failed because a limit or a resource was reached. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <denet/fs.h>
#include <syscalls.h>

#include "ebpf.h"
#include "wire-limits.h"

#define CALLS "dn_fork dn_exec dn_sys_exit"

static const struct dn_ebpf_metric metrics[] = {
	{DN_M_limit_hits, DN_QUALITY_EXACT, "raw_tp sys_exit", CALLS, NULL},
	{DN_M_limit_by_call, DN_QUALITY_EXACT, "raw_tp sys_exit", CALLS, NULL},
};

/*
 * Which error says of which call that a limit was reached. Names are between spaces; only: these
 * calls and no others; never: all but these.
 */
static const struct {
	const char *name;
	int error; /* of the kernel; the same on all architectures of denet */
	const char *only, *never;
	const char *what;
} rules[DN_LIMIT_N] = {
	[DN_LIMIT_EMFILE] = {"EMFILE", EMFILE, NULL, NULL, "too many open files"},
	[DN_LIMIT_ENFILE] = {"ENFILE", ENFILE, NULL, NULL, "too many open files on this machine"},
	/* These have it for "nothing is mapped there". */
	[DN_LIMIT_ENOMEM] = {"ENOMEM", ENOMEM, NULL,
		" madvise process_madvise mincore msync munlock ", "no memory, or a limit of it"},
	/* Elsewhere it means that the call would block. */
	[DN_LIMIT_EAGAIN] = {"EAGAIN", EAGAIN,
		" fork vfork clone clone3 execve execveat setuid setuid32 setreuid setreuid32 "
		"setresuid setresuid32 mlock mlock2 mlockall mmap mmap2 mremap timer_create "
		"rt_sigqueueinfo rt_tgsigqueueinfo pidfd_send_signal tkill tgkill io_setup ",
		NULL, "too many processes, queued signals, timers or locked pages"},
	/* bpf: the caller's buffer is too small; ioctl: what the driver means by it. */
	[DN_LIMIT_ENOSPC] = {"ENOSPC", ENOSPC, NULL, " bpf ioctl ",
		"no space left, or another count of the kernel is full"},
	[DN_LIMIT_EDQUOT] = {"EDQUOT", EDQUOT, NULL, NULL, "over quota"},
	/* Others have it for arguments that are out of range. */
	[DN_LIMIT_EFBIG] = {"EFBIG", EFBIG,
		" write writev pwrite64 pwritev pwritev2 truncate truncate64 ftruncate "
		"ftruncate64 fallocate sendfile sendfile64 copy_file_range splice ",
		NULL, "the file would be too large"},
	/* Others have it for structures of another version. */
	[DN_LIMIT_E2BIG] = {"E2BIG", E2BIG, " execve execveat semop semtimedop semtimedop_time64 ",
		NULL, "too many arguments"},
	[DN_LIMIT_ENOBUFS] = {"ENOBUFS", ENOBUFS, NULL, " ioctl ", "no buffer space"},
	[DN_LIMIT_ENOLCK] = {"ENOLCK", ENOLCK, NULL, NULL, "no locks left"},
};

struct limits {
	uint64_t hits, other;
	struct dn_ebpf_table by_call;
};

static bool is_in(const char *names, const char *call)
{
	size_t len = strlen(call);

	for (const char *at = names; (at = strstr(at, call)); at++) {
		if (at > names && at[-1] == ' ' && at[len] == ' ')
			return true;
	}
	return false;
}

static void prepare(struct dn_ebpf *ebpf, const char *name, struct bpf_object *object)
{
	uint16_t bits[DN_CALLS_N];

	if (strcmp(name, "syscalls") != 0)
		return;
	for (unsigned i = 0; i < DN_CALLS_N; i++) {
		const char *call =
			dn_syscall_name((enum dn_abi)(i / DN_CALLS_PER_ABI), i % DN_CALLS_PER_ABI);

		bits[i] = 0;
		for (unsigned k = 0; call && k < DN_LIMIT_N; k++) {
			if (rules[k].only ? is_in(rules[k].only, call)
					  : !rules[k].never || !is_in(rules[k].never, call))
				bits[i] |= (uint16_t)(1u << k);
		}
		if (call && strcmp(call, "brk") == 0)
			bits[i] |= (uint16_t)(1u << DN_LIMIT_SILENT);
	}
	(void)dn_ebpf_set(object, "dn_limit_calls", bits, sizeof(bits));
	dn_ebpf_resize(object, "dn_limits_by_call", DN_LIMIT_CALLS);
}

static int start(struct dn_ebpf *ebpf)
{
	ebpf->group_data[DN_PROBES_LIMITS] = calloc(1, sizeof(struct limits));
	return ebpf->group_data[DN_PROBES_LIMITS] ? 0 : -ENOMEM;
}

static void add_cpu(void *arg, const void *value)
{
	const struct dn_wire_limits *from = value;
	struct limits *self = arg;

	self->hits += from->hits;
	self->other += from->other;
}

static void add_call(void *arg, const void *key, const void *value)
{
	const struct dn_wire_limit_call *from = value;
	struct limits *self = arg;
	struct dn_table_row *row;
	char call[DN_TABLE_KEY_MAX - 16], name[DN_TABLE_KEY_MAX];
	uint32_t id;

	memcpy(&id, key, sizeof(id));
	if (id >> 16 >= DN_LIMIT_N)
		return;
	dn_ebpf_call_name(id & 0xffff, call, sizeof(call));
	snprintf(name, sizeof(name), "%s:%s", rules[id >> 16].name, call);
	row = dn_ebpf_table_row(&self->by_call, name);
	if (row)
		dn_ebpf_table_add(row, 0, from->hits);
	else
		self->other += from->hits;
}

static void put_calls(struct dn_ebpf *ebpf, struct limits *self, struct dn_frame *frame)
{
	static const char *const columns[] = {"count"};

	dn_ebpf_table_begin(&self->by_call, columns, 1, DN_LIMIT_CALLS);
	if (dn_ebpf_read_hash(dn_ebpf_map(&ebpf->objects, "syscalls", "dn_limits_by_call"),
		    sizeof(uint32_t), sizeof(struct dn_wire_limit_call), add_call, self) < 0)
		return;
	self->by_call.table.other = self->other;
	dn_frame_table(frame, DN_M_limit_by_call, dn_ebpf_table_end(&self->by_call, 0));
}

static void sample(struct dn_ebpf *ebpf, struct dn_frame *frame)
{
	struct limits *self = ebpf->group_data[DN_PROBES_LIMITS];

	self->hits = self->other = 0;
	if (dn_ebpf_read_percpu(ebpf, dn_ebpf_map(&ebpf->objects, "syscalls", "dn_limits"), 0,
		    sizeof(struct dn_wire_limits), add_cpu, self) < 0)
		return;
	if (dn_ebpf_has(ebpf, DN_M_limit_hits))
		dn_frame_u64(frame, DN_M_limit_hits, self->hits);
	if ((ebpf->env->detail || frame->final) && dn_ebpf_has(ebpf, DN_M_limit_by_call))
		put_calls(ebpf, self, frame);
}

static void record(struct dn_ebpf *ebpf, const struct dn_wire_record *head, size_t size)
{
	const struct dn_wire_record_call *told = (const struct dn_wire_record_call *)head;
	char call[64];

	if (head->type != DN_RECORD_LIMIT)
		return;
	dn_ebpf_call_name(told->call, call, sizeof(call));
	for (unsigned i = 0; i < DN_LIMIT_N; i++) {
		if (rules[i].error == -told->result)
			dn_ebpf_tell(ebpf, DN_EVENT_LIMIT, head, "%s: %s, %s", call, rules[i].name,
				rules[i].what);
	}
}

static void finish(struct dn_ebpf *ebpf)
{
	struct limits *self = ebpf->group_data[DN_PROBES_LIMITS];

	if (!self)
		return;
	dn_ebpf_table_free(&self->by_call);
	free(self);
	ebpf->group_data[DN_PROBES_LIMITS] = NULL;
}

const struct dn_ebpf_group dn_ebpf_group_limits = {
	.id = DN_PROBES_LIMITS,
	.features = DN_FEATURE_LIMITS,
	.maps = "dn_limits dn_limits_by_call",
	.sampled = true,
	.metric = metrics,
	.n_metrics = sizeof(metrics) / sizeof(metrics[0]),
	.prepare = prepare,
	.start = start,
	.sample = sample,
	.record = record,
	.finish = finish,
};

/* SPDX-License-Identifier: Apache-2.0 */
/* The group security: calls that change what a process may do, and capabilities. */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <denet/machine.h>
#include <syscalls.h>

#include "ebpf.h"
#include "wire-security.h"

#define CALLS "dn_fork dn_exec dn_sys_exit"
#define EVENT "dn_fork dn_exec dn_cap_event"
#define FUNCTION "dn_fork dn_exec dn_cap_function"

/* Of two rows of a metric the first that works is taken. */
static const struct dn_ebpf_metric metrics[] = {
	{DN_M_security_calls, DN_QUALITY_EXACT, "raw_tp sys_exit", CALLS, NULL},
	{DN_M_security_by_call, DN_QUALITY_EXACT, "raw_tp sys_exit", CALLS, NULL},
	{DN_M_security_capability_checks, DN_QUALITY_EXACT, "tp_btf cap_capable", EVENT, NULL},
	{DN_M_security_capability_denials, DN_QUALITY_EXACT, "tp_btf cap_capable", EVENT, NULL},
	{DN_M_security_by_capability, DN_QUALITY_EXACT, "tp_btf cap_capable", EVENT, NULL},
	{DN_M_security_capability_checks, DN_QUALITY_EXACT, "fexit cap_capable", FUNCTION, NULL},
	{DN_M_security_capability_denials, DN_QUALITY_EXACT, "fexit cap_capable", FUNCTION, NULL},
	{DN_M_security_by_capability, DN_QUALITY_EXACT, "fexit cap_capable", FUNCTION, NULL},
};

/*
 * Numbers only: an argument that points into memory is never read or shown, but for the flags of
 * clone3. Of each argument its place and how it is written: d, x; a word before it says what it is.
 */
static const struct {
	const char *name, *arguments;
	enum dn_wire_security when;
} calls[] = {
	{"setuid", "0d", DN_SECURITY_ALWAYS},
	{"setuid32", "0d", DN_SECURITY_ALWAYS},
	{"setgid", "0d", DN_SECURITY_ALWAYS},
	{"setgid32", "0d", DN_SECURITY_ALWAYS},
	{"setreuid", "0d 1d", DN_SECURITY_ALWAYS},
	{"setreuid32", "0d 1d", DN_SECURITY_ALWAYS},
	{"setregid", "0d 1d", DN_SECURITY_ALWAYS},
	{"setregid32", "0d 1d", DN_SECURITY_ALWAYS},
	{"setresuid", "0d 1d 2d", DN_SECURITY_ALWAYS},
	{"setresuid32", "0d 1d 2d", DN_SECURITY_ALWAYS},
	{"setresgid", "0d 1d 2d", DN_SECURITY_ALWAYS},
	{"setresgid32", "0d 1d 2d", DN_SECURITY_ALWAYS},
	{"setfsuid", "0d", DN_SECURITY_ALWAYS},
	{"setfsuid32", "0d", DN_SECURITY_ALWAYS},
	{"setfsgid", "0d", DN_SECURITY_ALWAYS},
	{"setfsgid32", "0d", DN_SECURITY_ALWAYS},
	{"setgroups", "count:0d", DN_SECURITY_ALWAYS},
	{"setgroups32", "count:0d", DN_SECURITY_ALWAYS},
	{"capset", "", DN_SECURITY_ALWAYS},
	{"prctl", "option:0d 1x", DN_SECURITY_PRCTL},
	{"seccomp", "operation:0d flags:1x", DN_SECURITY_ALWAYS},
	{"personality", "0x", DN_SECURITY_PERSONALITY},
	{"ptrace", "request:0x pid:1d", DN_SECURITY_ALWAYS},
	{"process_vm_readv", "pid:0d", DN_SECURITY_ALWAYS},
	{"process_vm_writev", "pid:0d", DN_SECURITY_ALWAYS},
	{"pidfd_getfd", "pidfd:0d fd:1d", DN_SECURITY_ALWAYS},
	{"mount", "flags:3x", DN_SECURITY_ALWAYS},
	{"umount", "", DN_SECURITY_ALWAYS},
	{"umount2", "flags:1x", DN_SECURITY_ALWAYS},
	{"move_mount", "flags:4x", DN_SECURITY_ALWAYS},
	{"mount_setattr", "flags:2x", DN_SECURITY_ALWAYS},
	{"open_tree", "flags:2x", DN_SECURITY_ALWAYS},
	{"fsopen", "flags:1x", DN_SECURITY_ALWAYS},
	{"fsmount", "flags:1x attributes:2x", DN_SECURITY_ALWAYS},
	{"fsconfig", "command:1d", DN_SECURITY_ALWAYS},
	{"fspick", "flags:2x", DN_SECURITY_ALWAYS},
	{"pivot_root", "", DN_SECURITY_ALWAYS},
	{"chroot", "", DN_SECURITY_ALWAYS},
	{"open_by_handle_at", "flags:2x", DN_SECURITY_ALWAYS},
	{"clone", "flags:0x", DN_SECURITY_NAMESPACES},
	{"clone3", "flags:0x", DN_SECURITY_CLONE3},
	{"unshare", "flags:0x", DN_SECURITY_NAMESPACES},
	{"setns", "fd:0d type:1x", DN_SECURITY_ALWAYS},
	{"bpf", "command:0d", DN_SECURITY_ALWAYS},
	{"perf_event_open", "pid:1d cpu:2d flags:4x", DN_SECURITY_ALWAYS},
	{"userfaultfd", "flags:0x", DN_SECURITY_ALWAYS},
	{"io_uring_setup", "entries:0d", DN_SECURITY_ALWAYS},
	{"fanotify_init", "flags:0x", DN_SECURITY_ALWAYS},
	{"init_module", "bytes:1d", DN_SECURITY_ALWAYS},
	{"finit_module", "fd:0d flags:2x", DN_SECURITY_ALWAYS},
	{"delete_module", "flags:1x", DN_SECURITY_ALWAYS},
	{"kexec_load", "segments:1d flags:3x", DN_SECURITY_ALWAYS},
	{"kexec_file_load", "flags:4x", DN_SECURITY_ALWAYS},
	{"reboot", "command:2x", DN_SECURITY_ALWAYS},
	{"iopl", "0d", DN_SECURITY_ALWAYS},
	{"ioperm", "from:0x count:1d", DN_SECURITY_ALWAYS},
	{"add_key", "keyring:4d", DN_SECURITY_ALWAYS},
	{"request_key", "keyring:3d", DN_SECURITY_ALWAYS},
	{"keyctl", "operation:0d key:1d", DN_SECURITY_ALWAYS},
	{"sethostname", "", DN_SECURITY_ALWAYS},
	{"setdomainname", "", DN_SECURITY_ALWAYS},
	{"settimeofday", "", DN_SECURITY_ALWAYS},
	{"clock_settime", "clock:0d", DN_SECURITY_ALWAYS},
	{"swapon", "flags:1x", DN_SECURITY_ALWAYS},
	{"swapoff", "", DN_SECURITY_ALWAYS},
	{"acct", "", DN_SECURITY_ALWAYS},
	{"landlock_restrict_self", "", DN_SECURITY_ALWAYS},
	{"lsm_set_self_attr", "attribute:0d", DN_SECURITY_ALWAYS},
};

#define N_CALLS (sizeof(calls) / sizeof(calls[0]))
_Static_assert(N_CALLS < DN_SECURITY_CALLS, "0 is none");

struct security {
	struct dn_wire_security_call call[DN_SECURITY_CALLS];
	struct dn_wire_capability capability[DN_CAPABILITIES];
	struct dn_ebpf_table by_call, by_capability;
};

/* Place in the table of the kernel side; 0: none. */
static unsigned place_of(const char *name)
{
	for (unsigned i = 0; name && i < N_CALLS; i++) {
		if (strcmp(calls[i].name, name) == 0)
			return i + 1;
	}
	return 0;
}

/* The next argument of a rule: its place, and where it ends; -1 when there is no more. */
static int next_argument(const char **rule, const char **ret_label, size_t *ret_label_len)
{
	const char *word = *rule + strspn(*rule, " ");
	size_t len = strcspn(word, " ");
	const char *colon = memchr(word, ':', len);

	if (len < 2)
		return -1;
	*rule = word + len;
	*ret_label = word;
	*ret_label_len = colon ? (size_t)(colon - word) : 0;
	return word[len - 2] - '0';
}

static void prepare_calls(struct bpf_object *object)
{
	uint32_t rules[DN_SECURITY_CALLS] = {0};
	uint32_t clone = place_of("clone");
	uint8_t places[DN_CALLS_N];

	for (unsigned i = 0; i < DN_CALLS_N; i++)
		places[i] = (uint8_t)place_of(
			dn_syscall_name((enum dn_abi)(i / DN_CALLS_PER_ABI), i % DN_CALLS_PER_ABI));
	for (unsigned i = 0; i < N_CALLS; i++) {
		const char *rule = calls[i].arguments, *label;
		size_t len;

		rules[i + 1] = (uint32_t)calls[i].when;
		for (unsigned n = 0; n < DN_SECURITY_ARGUMENTS; n++) {
			int at = next_argument(&rule, &label, &len);

			rules[i + 1] |= (at < 0 ? 0xffu : (uint32_t)at) << (8 + 8 * n);
		}
	}
	(void)dn_ebpf_set(object, "dn_security_calls", places, sizeof(places));
	(void)dn_ebpf_set(object, "dn_security_rules", rules, sizeof(rules));
	(void)dn_ebpf_set(object, "dn_clone_place", &clone, sizeof(clone));
}

static void prepare(struct dn_ebpf *ebpf, const char *name, struct bpf_object *object)
{
	if (strcmp(name, "syscalls") == 0)
		prepare_calls(object);
	/* One of both is enough, and the function can't be traced everywhere. */
	if (strcmp(name, "security") == 0 &&
		dn_ebpf_btf_id(ebpf->objects.btf, "btf_trace_cap_capable") != 0)
		dn_ebpf_leave_out(object, "dn_cap_function");
}

static int start(struct dn_ebpf *ebpf)
{
	ebpf->group_data[DN_PROBES_SECURITY] = calloc(1, sizeof(struct security));
	return ebpf->group_data[DN_PROBES_SECURITY] ? 0 : -ENOMEM;
}

/* Numbers */

static void add_call(void *arg, uint32_t key, const void *value)
{
	const struct dn_wire_security_call *from = value;
	struct security *self = arg;

	if (key >= DN_SECURITY_CALLS)
		return;
	self->call[key].count += from->count;
	self->call[key].errors += from->errors;
}

static void add_capability(void *arg, uint32_t key, const void *value)
{
	const struct dn_wire_capability *from = value;
	struct security *self = arg;

	if (key >= DN_CAPABILITIES)
		return;
	self->capability[key].checks += from->checks;
	self->capability[key].denials += from->denials;
}

static void put_calls(struct security *self, struct dn_frame *frame)
{
	static const char *const columns[] = {"count", "errors"};

	dn_ebpf_table_begin(&self->by_call, columns, 2, DN_SECURITY_CALLS);
	for (unsigned i = 1; i <= N_CALLS; i++) {
		struct dn_table_row *row =
			self->call[i].count ? dn_ebpf_table_row(&self->by_call, calls[i - 1].name)
					    : NULL;

		if (!row)
			continue;
		dn_ebpf_table_add(row, 0, self->call[i].count);
		dn_ebpf_table_add(row, 1, self->call[i].errors);
	}
	dn_frame_table(frame, DN_M_security_by_call, dn_ebpf_table_end(&self->by_call, 0));
}

static void capability_name(unsigned n, char *name, size_t size)
{
	const char *known = dn_capability_name(n);

	if (known)
		snprintf(name, size, "%s", known);
	else
		snprintf(name, size, "cap_%u", n);
}

static void put_capabilities(struct security *self, struct dn_frame *frame)
{
	static const char *const columns[] = {"checks", "denials"};

	dn_ebpf_table_begin(&self->by_capability, columns, 2, DN_CAPABILITIES);
	for (unsigned i = 0; i < DN_CAPABILITIES; i++) {
		struct dn_table_row *row;
		char name[48];

		if (!self->capability[i].checks)
			continue;
		capability_name(i, name, sizeof(name));
		row = dn_ebpf_table_row(&self->by_capability, name);
		if (!row)
			continue;
		dn_ebpf_table_add(row, 0, self->capability[i].checks);
		dn_ebpf_table_add(row, 1, self->capability[i].denials);
	}
	dn_frame_table(
		frame, DN_M_security_by_capability, dn_ebpf_table_end(&self->by_capability, 0));
}

static void sample_calls(
	struct dn_ebpf *ebpf, struct security *self, bool whole, struct dn_frame *frame)
{
	uint64_t count = 0;

	memset(self->call, 0, sizeof(self->call));
	if (dn_ebpf_read_percpu_array(ebpf, dn_ebpf_map(&ebpf->objects, "syscalls", "dn_security"),
		    DN_SECURITY_CALLS, sizeof(struct dn_wire_security_call), add_call, self) < 0)
		return;
	for (unsigned i = 0; i < DN_SECURITY_CALLS; i++)
		count += self->call[i].count;
	if (dn_ebpf_has(ebpf, DN_M_security_calls))
		dn_frame_u64(frame, DN_M_security_calls, count);
	if (whole && dn_ebpf_has(ebpf, DN_M_security_by_call))
		put_calls(self, frame);
}

static void sample_capabilities(
	struct dn_ebpf *ebpf, struct security *self, bool whole, struct dn_frame *frame)
{
	int fd = dn_ebpf_map(&ebpf->objects, "security", "dn_capabilities");
	uint64_t checks = 0, denials = 0;

	memset(self->capability, 0, sizeof(self->capability));
	if (fd < 0 || dn_ebpf_read_percpu_array(ebpf, fd, DN_CAPABILITIES,
			      sizeof(struct dn_wire_capability), add_capability, self) < 0)
		return;
	for (unsigned i = 0; i < DN_CAPABILITIES; i++) {
		checks += self->capability[i].checks;
		denials += self->capability[i].denials;
	}
	if (dn_ebpf_has(ebpf, DN_M_security_capability_checks))
		dn_frame_u64(frame, DN_M_security_capability_checks, checks);
	if (dn_ebpf_has(ebpf, DN_M_security_capability_denials))
		dn_frame_u64(frame, DN_M_security_capability_denials, denials);
	if (whole && dn_ebpf_has(ebpf, DN_M_security_by_capability))
		put_capabilities(self, frame);
}

static void sample(struct dn_ebpf *ebpf, struct dn_frame *frame)
{
	struct security *self = ebpf->group_data[DN_PROBES_SECURITY];
	bool whole = ebpf->env->detail || frame->final;

	sample_calls(ebpf, self, whole, frame);
	sample_capabilities(ebpf, self, whole, frame);
}

/* Records */

struct text {
	char at[384];
	size_t len;
};

__attribute__((format(printf, 2, 3))) static void say(struct text *text, const char *format, ...)
{
	size_t room = sizeof(text->at) - text->len;
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(text->at + text->len, room, format, args);
	va_end(args);
	if (n > 0)
		text->len += (size_t)n < room ? (size_t)n : room - 1;
}

static void say_arguments(
	struct text *text, const char *rule, const struct dn_wire_record_call *told)
{
	const char *label;
	size_t len;

	say(text, "(");
	for (unsigned n = 0; n < 3 && next_argument(&rule, &label, &len) >= 0; n++) {
		say(text, "%s%.*s%s", n ? ", " : "", (int)len, label, len ? " " : "");
		if (rule[-1] == 'x')
			say(text, "0x%" PRIx64, (uint64_t)told->arg[n]);
		else
			say(text, "%" PRId32, (int32_t)told->arg[n]);
	}
	say(text, ")");
}

static void record(struct dn_ebpf *ebpf, const struct dn_wire_record *head, size_t size)
{
	const struct dn_wire_record_call *told = (const struct dn_wire_record_call *)head;
	struct text text = {.len = 0};
	const char *error, *bare;
	char call[64], name[48];
	unsigned place;

	if (head->type != DN_RECORD_SECURITY && head->type != DN_RECORD_CAPABILITY)
		return;
	dn_ebpf_call_name(told->call, call, sizeof(call));
	say(&text, "%s", call);
	bare = strchr(call, ':');
	place = place_of(bare ? bare + 1 : call);
	if (head->type == DN_RECORD_SECURITY && place)
		say_arguments(&text, calls[place - 1].arguments, told);
	error = told->result < 0 ? strerrorname_np(-told->result) : NULL;
	if (error)
		say(&text, " = %s", error);
	else
		say(&text, " = %" PRId32, (int32_t)told->result);
	for (unsigned i = 0; i < DN_CAPABILITIES; i++) {
		if (!(told->denied >> i & 1))
			continue;
		capability_name(i, name, sizeof(name));
		say(&text, ", %s denied", name);
	}
	dn_ebpf_tell(ebpf, DN_EVENT_SECURITY, head, "%s", text.at);
}

static void finish(struct dn_ebpf *ebpf)
{
	struct security *self = ebpf->group_data[DN_PROBES_SECURITY];

	if (!self)
		return;
	dn_ebpf_table_free(&self->by_call);
	dn_ebpf_table_free(&self->by_capability);
	free(self);
	ebpf->group_data[DN_PROBES_SECURITY] = NULL;
}

const struct dn_ebpf_group dn_ebpf_group_security = {
	.id = DN_PROBES_SECURITY,
	.object = "security",
	.features = DN_FEATURE_SECURITY,
	.maps = "dn_security dn_security_windows",
	.sampled = true,
	.metric = metrics,
	.n_metrics = sizeof(metrics) / sizeof(metrics[0]),
	.prepare = prepare,
	.start = start,
	.sample = sample,
	.record = record,
	.finish = finish,
};

/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel's BTF in one walk: what is found, what is copied, and what hostile bytes do. */
#include <errno.h>
#include <fcntl.h>
#include <linux/btf.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <bpf/btf.h>

#include "btf.h"

/* What the programs were compiled against. */
static struct btf *local_btf(void)
{
	struct btf *btf = btf__new_empty();
	int number = btf__add_int(btf, "int", 4, BTF_INT_SIGNED);
	int array = btf__add_array(btf, number, btf__add_int(btf, "char", 1, 0), 4);
	/* Programs know a struct without a name by its typedef. */
	int bare = btf__add_struct(btf, "", 4);

	btf__add_field(btf, "counter", number, 0, 0);
	btf__add_typedef(btf, "atomic_t", bare);
	btf__add_struct(btf, "task_struct", 64);
	btf__add_field(btf, "pid", number, 0, 0);
	btf__add_field(btf, "comm", array, 32, 0);
	btf__add_field(btf, "flag", number, 64, 1);
	btf__add_field(btf, "deep", number, 96, 0);
	btf__add_field(btf, "mm", number, 128, 0);
	btf__add_field(btf, "usage", number, 160, 0);
	btf__add_field(btf, "loop", number, 192, 0);
	btf__add_struct(btf, "task_struct___old", 8);
	btf__add_field(btf, "state", number, 0, 0);
	btf__add_struct(btf, "absent", 4);
	btf__add_field(btf, "nothing", number, 0, 0);
	btf__add_struct(btf, "dn_ours", 4);
	btf__add_field(btf, "unread", number, 0, 0);
	btf__add_enum(btf, "level", 4);
	btf__add_enum_value(btf, "LEVEL_TWO", 0);
	return btf;
}

struct ids {
	int function, event;
};

/* A kernel with one of each kind of type. */
static struct btf *kernel_btf(struct ids *ids)
{
	struct btf *btf = btf__new_empty();
	int number = btf__add_int(btf, "int", 4, BTF_INT_SIGNED);
	int word = btf__add_int(btf, "unsigned long", 8, 0);
	int array = btf__add_array(btf, number, btf__add_int(btf, "char", 1, BTF_INT_SIGNED), 16);
	int atomic = btf__add_struct(btf, "", 4), inner, both, level, state, mm, var;

	btf__add_field(btf, "counter", number, 0, 0);
	atomic = btf__add_typedef(btf, "atomic_t", atomic);
	inner = btf__add_struct(btf, "", 8);
	btf__add_field(btf, "other", number, 0, 0);
	btf__add_field(btf, "deep", number, 32, 0);
	both = btf__add_union(btf, "", 8);
	btf__add_field(btf, "", inner, 0, 0);
	btf__add_field(btf, "whole", word, 0, 0);
	level = btf__add_enum(btf, "level", 4);
	btf__add_enum_value(btf, "LEVEL_ONE", 1);
	btf__add_enum_value(btf, "LEVEL_TWO", 22);
	state = btf__add_const(btf, btf__add_volatile(btf, level));
	mm = btf__add_ptr(
		btf, btf__add_type_tag(btf, "rcu", btf__add_fwd(btf, "mm", BTF_FWD_STRUCT)));
	btf__add_struct(btf, "task_struct", 128);
	btf__add_field(btf, "unread", word, 0, 0);
	btf__add_field(btf, "pid", number, 64, 0);
	btf__add_field(btf, "flag", number, 99, 1);
	btf__add_field(btf, "comm", array, 128, 0);
	btf__add_field(btf, "", both, 256, 0);
	btf__add_field(btf, "mm", mm, 320, 0);
	btf__add_field(btf, "usage", atomic, 384, 0);
	btf__add_field(btf, "state", state, 416, 0);
	btf__add_struct(btf, "task_struct", 8); /* a second one of the name is not taken */
	btf__add_field(btf, "pid", number, 0, 0);
	btf__add_struct(btf, "dn_ours", 8);
	btf__add_field(btf, "unread", number, 0, 0);
	ids->function =
		btf__add_func(btf, "vfs_read", BTF_FUNC_STATIC, btf__add_func_proto(btf, number));
	btf__add_func_param(btf, "file", mm);
	ids->event = btf__add_typedef(btf, "btf_trace_sched_switch", mm);
	btf__add_float(btf, "double", 8);
	var = btf__add_var(btf, "jiffies", BTF_VAR_STATIC, word);
	btf__add_datasec(btf, ".data", 8);
	btf__add_datasec_var_info(btf, var, 0, 8);
	btf__add_decl_tag(btf, "tag", number, -1);
	btf__add_enum64(btf, "wide", 8, false);
	btf__add_enum64_value(btf, "WIDE", UINT64_C(1) << 40);
	btf__add_restrict(btf, mm);
	return btf;
}

static int walk(const void *data, size_t size, const struct btf *local, struct dn_ebpf_btf **ret)
{
	struct dn_ebpf_btf *btf = NULL;
	int r = dn_ebpf_btf_from(data, size, &btf);

	if (r < 0)
		return r;
	assert_int_equal(dn_ebpf_btf_want_structs(btf, local), 0);
	assert_int_equal(dn_ebpf_btf_want_typedef(btf, "btf_trace_sched_switch"), 0);
	assert_int_equal(dn_ebpf_btf_want_typedef(btf, "btf_trace_absent"), 0);
	assert_int_equal(dn_ebpf_btf_want_function(btf, "vfs_read"), 0);
	r = dn_ebpf_btf_walk(btf);
	if (r < 0) {
		dn_ebpf_btf_free(btf);
		return r;
	}
	*ret = btf;
	return 0;
}

/* The small BTF made of a whole one. */
static struct btf *extracted(const struct btf *kernel)
{
	struct btf *local = local_btf(), *small = NULL;
	struct dn_ebpf_btf *btf = NULL;
	uint32_t size;
	const void *data = btf__raw_data(kernel, &size);

	assert_non_null(data);
	assert_int_equal(walk(data, size, local, &btf), 0);
	assert_int_equal(dn_ebpf_btf_extract(btf, &small), 0);
	dn_ebpf_btf_free(btf);
	btf__free(local);
	return small;
}

static const struct btf_member *member_of(
	const struct btf *btf, const struct btf_type *type, const char *name)
{
	for (unsigned i = 0; i < btf_vlen(type); i++) {
		const struct btf_member *member = &btf_members(type)[i];

		if (strcmp(btf__name_by_offset(btf, member->name_off), name) == 0)
			return member;
	}
	return NULL;
}

static const struct btf_type *named(const struct btf *btf, const char *name, uint32_t kind)
{
	int id = btf__find_by_name_kind(btf, name, kind);

	return id > 0 ? btf__type_by_id(btf, (uint32_t)id) : NULL;
}

static uint32_t bit_of(const struct btf *btf, const struct btf_type *type, const char *name)
{
	const struct btf_member *member = member_of(btf, type, name);

	assert_non_null(member);
	return btf_member_bit_offset(type, (uint32_t)(member - btf_members(type)));
}

static void targets_are_found_by_name(void **unused)
{
	struct ids ids;
	struct btf *kernel = kernel_btf(&ids), *local = local_btf();
	struct dn_ebpf_btf *btf = NULL;
	uint32_t size;
	const void *data = btf__raw_data(kernel, &size);

	assert_int_equal(walk(data, size, local, &btf), 0);
	assert_int_equal(dn_ebpf_btf_id(btf, "vfs_read"), ids.function);
	assert_int_equal(dn_ebpf_btf_id(btf, "btf_trace_sched_switch"), ids.event);
	assert_int_equal(dn_ebpf_btf_id(btf, "btf_trace_absent"), 0);
	assert_int_equal(dn_ebpf_btf_id(btf, "never_asked_for"), 0);
	dn_ebpf_btf_free(btf);
	btf__free(kernel);
	btf__free(local);
}

static void what_is_read_is_copied_where_it_is(void **unused)
{
	struct ids ids;
	struct btf *kernel = kernel_btf(&ids), *small = extracted(kernel);
	const struct btf_type *task = named(small, "task_struct", BTF_KIND_STRUCT), *type;
	const struct btf_member *member;

	assert_non_null(task);
	assert_int_equal(task->size, 128);
	assert_int_equal(bit_of(small, task, "pid"), 64);
	assert_int_equal(bit_of(small, task, "comm"), 128);
	assert_int_equal(bit_of(small, task, "mm"), 320);
	assert_int_equal(bit_of(small, task, "usage"), 384);
	assert_null(member_of(small, task, "unread"));
	assert_null(named(small, "absent", BTF_KIND_STRUCT));
	assert_null(named(small, "dn_ours", BTF_KIND_STRUCT));

	member = member_of(small, task, "flag");
	assert_non_null(member);
	assert_int_equal(bit_of(small, task, "flag"), 99);
	assert_int_equal(btf_member_bitfield_size(task, (uint32_t)(member - btf_members(task))), 1);

	type = btf__type_by_id(small, member_of(small, task, "comm")->type);
	assert_true(btf_is_array(type));
	assert_int_equal(btf_array(type)->nelems, 16);
	assert_int_equal(btf__resolve_size(small, btf_array(type)->type), 1);
	assert_true(btf_is_ptr(btf__type_by_id(small, member_of(small, task, "mm")->type)));
	/* A flavour's member is the struct's; qualifiers are looked through. */
	type = btf__type_by_id(small, member_of(small, task, "state")->type);
	assert_true(btf_is_enum(type));
	btf__free(small);
	btf__free(kernel);
}

static void structs_without_a_name(void **unused)
{
	struct ids ids;
	struct btf *kernel = kernel_btf(&ids), *small = extracted(kernel);
	const struct btf_type *task = named(small, "task_struct", BTF_KIND_STRUCT), *type;

	/* In a union in the task: what is read of it, and nothing else. */
	type = btf__type_by_id(small, member_of(small, task, "")->type);
	assert_true(btf_is_union(type));
	assert_int_equal(bit_of(small, task, ""), 256);
	assert_int_equal(btf_vlen(type), 1);
	type = btf__type_by_id(small, btf_members(type)[0].type);
	assert_true(btf_is_struct(type));
	assert_int_equal(btf_vlen(type), 1);
	assert_int_equal(bit_of(small, type, "deep"), 32);
	/* Behind a typedef. */
	type = btf__type_by_id(small, member_of(small, task, "usage")->type);
	assert_true(btf_is_struct(type));
	assert_int_equal(bit_of(small, type, "counter"), 0);
	btf__free(small);
	btf__free(kernel);
}

static void values_of_enums(void **unused)
{
	struct ids ids;
	struct btf *kernel = kernel_btf(&ids), *small = extracted(kernel);
	const struct btf_type *level = named(small, "level", BTF_KIND_ENUM);

	assert_non_null(level);
	assert_int_equal(btf_vlen(level), 1);
	assert_string_equal(btf__name_by_offset(small, btf_enum(level)[0].name_off), "LEVEL_TWO");
	assert_int_equal(btf_enum(level)[0].val, 22);
	btf__free(small);
	btf__free(kernel);
}

/* Hostile bytes: each on the heap at its exact size, so that a sanitizer sees a step too far. */

static int digest(const unsigned char *data, size_t size, const struct btf *local)
{
	struct dn_ebpf_btf *btf = NULL;
	struct btf *small = NULL;
	unsigned char *copy = malloc(size + !size);
	int r;

	memcpy(copy, data, size);
	r = walk(copy, size, local, &btf);
	if (r == 0) {
		(void)dn_ebpf_btf_id(btf, "vfs_read");
		r = dn_ebpf_btf_extract(btf, &small);
		btf__free(small);
		dn_ebpf_btf_free(btf);
	}
	free(copy);
	return r;
}

static void every_prefix_is_refused(void **unused)
{
	struct ids ids;
	struct btf *kernel = kernel_btf(&ids), *local = local_btf();
	uint32_t size;
	const unsigned char *data = btf__raw_data(kernel, &size);

	for (uint32_t i = 0; i < size; i++)
		assert_int_equal(digest(data, i, local), -EINVAL);
	assert_int_equal(digest(data, size, local), 0);
	btf__free(kernel);
	btf__free(local);
}

static void every_byte_may_be_any_other(void **unused)
{
	static const unsigned char masks[] = {0x01, 0x03, 0x10, 0x7f, 0x80, 0xff};
	struct ids ids;
	struct btf *kernel = kernel_btf(&ids), *local = local_btf();
	unsigned refused = 0, taken = 0;
	uint32_t size;
	const void *data = btf__raw_data(kernel, &size);
	unsigned char *copy = malloc(size);

	for (uint32_t i = 0; i < size; i++) {
		for (unsigned m = 0; m < sizeof(masks); m++) {
			memcpy(copy, data, size);
			copy[i] ^= masks[m];
			if (digest(copy, size, local) < 0)
				refused++;
			else
				taken++;
		}
	}
	assert_true(refused > 0 && taken > 0);
	free(copy);
	btf__free(kernel);
	btf__free(local);
}

static void headers_that_lie(void **unused)
{
	struct ids ids;
	struct btf *kernel = kernel_btf(&ids), *local = local_btf();
	static const uint32_t lies[] = {0, 1, 3, 0x7fffffff, 0x80000000, 0xfffffffc, 0xffffffff};
	uint32_t size;
	const void *data = btf__raw_data(kernel, &size);
	unsigned char *copy = malloc(size);

	for (unsigned field = 0; field < sizeof(struct btf_header) / 4; field++) {
		for (unsigned i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
			memcpy(copy, data, size);
			memcpy(copy + (size_t)field * 4, &lies[i], 4);
			(void)digest(copy, size, local);
		}
	}
	/* Sections of the other kind's numbers. */
	memcpy(copy, data, size);
	copy[0] ^= 0xff;
	assert_int_equal(digest(copy, size, local), -EINVAL);
	free(copy);
	btf__free(kernel);
	btf__free(local);
}

static int digest_btf(struct btf *kernel)
{
	struct btf *local = local_btf();
	uint32_t size;
	const void *data = btf__raw_data(kernel, &size);
	int r = digest(data, size, local);

	btf__free(kernel);
	btf__free(local);
	return r;
}

static void types_that_hold_themselves(void **unused)
{
	struct btf *btf = btf__new_empty();
	int id;

	/* A typedef of itself. */
	btf__add_typedef(btf, "atomic_t", 1);
	btf__add_struct(btf, "task_struct", 8);
	btf__add_field(btf, "loop", 1, 0, 0);
	assert_int_equal(digest_btf(btf), -EINVAL);
	/* A struct in itself. */
	btf = btf__new_empty();
	btf__add_struct(btf, "task_struct", 8);
	btf__add_field(btf, "loop", 1, 0, 0);
	btf__add_field(btf, "pid", 1, 0, 0);
	assert_int_equal(digest_btf(btf), -EINVAL);
	/* An array of itself. */
	btf = btf__new_empty();
	id = btf__add_array(btf, 1, 1, 3);
	btf__add_struct(btf, "task_struct", 8);
	btf__add_field(btf, "loop", id, 0, 0);
	assert_int_equal(digest_btf(btf), -EINVAL);
}

/* Each level has many ways down: as a tree they would have no end. */
static void many_ways_into_the_same(void **unused)
{
	struct btf *btf = btf__new_empty();

	btf__add_struct(btf, "task_struct", 8);
	for (int i = 0; i < 61; i++)
		btf__add_field(btf, "", 2, 0, 0);
	btf__add_struct(btf, "", 8);
	for (int i = 0; i < 61; i++)
		btf__add_field(btf, "", 2, 0, 0);
	(void)digest_btf(btf);
}

/* A member without a name need not be a struct: what follows its type are no members. */
static void nameless_members_of_other_kinds(void **unused)
{
	struct btf *btf = btf__new_empty(), *local = local_btf();
	int number = btf__add_int(btf, "int", 4, BTF_INT_SIGNED);
	unsigned char *copy;
	const void *data;
	uint32_t size;

	btf__add_struct(btf, "task_struct", 8);
	btf__add_field(btf, "", number, 0, 3);
	btf__add_field(btf, "pid", number, 32, 0);
	data = btf__raw_data(btf, &size);
	assert_int_equal(digest(data, size, local), 0);
	copy = malloc(size);
	memcpy(copy, data, size);
	/* The int says that it has 65535 members. */
	memset(copy + sizeof(struct btf_header) + offsetof(struct btf_type, info), 0xff, 2);
	assert_int_equal(digest(copy, size, local), 0);
	free(copy);
	btf__free(btf);
	btf__free(local);
}

/* "first" holds a number that lies far behind it; a function is the last of all. */
static struct btf *long_btf(int *ret_function)
{
	enum { FILLERS = 50 };
	struct btf *btf = btf__new_empty();
	int number;

	btf__add_struct(btf, "first", 8);
	btf__add_field(btf, "pid", 1 + FILLERS + 1, 0, 0);
	for (unsigned i = 0; i < FILLERS; i++)
		btf__add_typedef(btf, "filler", 0);
	number = btf__add_int(btf, "int", 4, BTF_INT_SIGNED);
	*ret_function = btf__add_func(
		btf, "late_function", BTF_FUNC_STATIC, btf__add_func_proto(btf, number));
	return btf;
}

static struct dn_ebpf_btf *walked_for_first(const void *data, uint32_t size)
{
	struct btf *local = btf__new_empty(), *small = NULL;
	struct dn_ebpf_btf *btf = NULL;
	const struct btf_type *first;
	int number = btf__add_int(local, "int", 4, BTF_INT_SIGNED);

	btf__add_struct(local, "first", 4);
	btf__add_field(local, "pid", number, 0, 0);
	assert_int_equal(dn_ebpf_btf_from(data, size, &btf), 0);
	assert_int_equal(dn_ebpf_btf_want_structs(btf, local), 0);
	assert_int_equal(dn_ebpf_btf_want_function(btf, "late_function"), 0);
	assert_int_equal(dn_ebpf_btf_walk(btf), 0);
	assert_false(dn_ebpf_btf_has_struct(btf, "filler"));
	assert_int_equal(dn_ebpf_btf_extract(btf, &small), 0);
	btf__free(local);
	assert_true(dn_ebpf_btf_has_struct(btf, "first")); /* names are kept */
	first = named(small, "first", BTF_KIND_STRUCT);
	assert_non_null(first);
	assert_int_equal(
		btf_kind(btf__type_by_id(small, btf_members(first)[0].type)), BTF_KIND_INT);
	btf__free(small);
	return btf;
}

static void the_walk_goes_on_to_what_is_asked_for(void **unused)
{
	int function;
	struct btf *kernel = long_btf(&function);
	struct dn_ebpf_btf *btf;
	uint32_t size;
	const void *data = btf__raw_data(kernel, &size);

	btf = walked_for_first(data, size);
	assert_int_equal(dn_ebpf_btf_id(btf, "late_function"), function);
	dn_ebpf_btf_free(btf);
	btf__free(kernel);
}

/* What lies behind all that is wanted may be broken: a function there is none then. */
static void the_walk_ends_at_what_is_no_type(void **unused)
{
	int function;
	struct btf *kernel = long_btf(&function);
	struct dn_ebpf_btf *btf;
	struct btf_header *header;
	uint32_t size;
	const void *data = btf__raw_data(kernel, &size);
	unsigned char *copy = malloc(size);

	memcpy(copy, data, size);
	header = (struct btf_header *)copy;
	((struct btf_type *)(copy + header->hdr_len + header->type_off + header->type_len))[-1]
		.info = (uint32_t)BTF_KIND_STRUCT << 24 | 0xffff;
	btf = walked_for_first(copy, size);
	assert_int_equal(dn_ebpf_btf_id(btf, "late_function"), 0);
	dn_ebpf_btf_free(btf);
	free(copy);
	btf__free(kernel);
}

/* A name may be empty elsewhere than at 0: at the last byte of all, nothing follows it. */
static void an_empty_name_at_the_end(void **unused)
{
	struct btf *btf = btf__new_empty(), *local = local_btf();
	struct btf_header *header;
	struct btf_type *type;
	unsigned char *copy;
	const void *data;
	uint32_t size;

	btf__add_typedef(btf, "t", 0);
	data = btf__raw_data(btf, &size);
	copy = malloc(size);
	memcpy(copy, data, size);
	header = (struct btf_header *)copy;
	type = (struct btf_type *)(copy + header->hdr_len + header->type_off);
	type->name_off = header->str_len - 1;
	assert_int_equal(digest(copy, size, local), 0);
	free(copy);
	btf__free(btf);
	btf__free(local);
}

static void the_kernels_own_if_it_has_one(void **unused)
{
	struct btf *local = local_btf(), *small = NULL;
	struct dn_ebpf_btf *btf = NULL;
	int sys_fd = open("/sys", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (sys_fd < 0 || dn_ebpf_btf_open(sys_fd, &btf) < 0) {
		close(sys_fd);
		btf__free(local);
		skip();
	}
	assert_int_equal(dn_ebpf_btf_want_structs(btf, local), 0);
	assert_int_equal(dn_ebpf_btf_want_typedef(btf, "btf_trace_sched_switch"), 0);
	assert_int_equal(dn_ebpf_btf_want_function(btf, "vfs_read"), 0);
	assert_int_equal(dn_ebpf_btf_walk(btf), 0);
	assert_true(dn_ebpf_btf_id(btf, "btf_trace_sched_switch") > 0);
	assert_true(dn_ebpf_btf_id(btf, "vfs_read") > 0);
	assert_int_equal(dn_ebpf_btf_extract(btf, &small), 0);
	assert_non_null(member_of(small, named(small, "task_struct", BTF_KIND_STRUCT), "comm"));
	btf__free(small);
	dn_ebpf_btf_free(btf);
	btf__free(local);
	close(sys_fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(targets_are_found_by_name),
		cmocka_unit_test(what_is_read_is_copied_where_it_is),
		cmocka_unit_test(structs_without_a_name),
		cmocka_unit_test(values_of_enums),
		cmocka_unit_test(every_prefix_is_refused),
		cmocka_unit_test(every_byte_may_be_any_other),
		cmocka_unit_test(headers_that_lie),
		cmocka_unit_test(types_that_hold_themselves),
		cmocka_unit_test(many_ways_into_the_same),
		cmocka_unit_test(nameless_members_of_other_kinds),
		cmocka_unit_test(the_walk_goes_on_to_what_is_asked_for),
		cmocka_unit_test(the_walk_ends_at_what_is_no_type),
		cmocka_unit_test(an_empty_name_at_the_end),
		cmocka_unit_test(the_kernels_own_if_it_has_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

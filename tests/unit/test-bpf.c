/* SPDX-License-Identifier: Apache-2.0 */
/* BPF objects of the kernel: texts of fdinfo, names, BTF that is damaged, and a real program. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include <denet/bpf.h>

#include "bpf-abi.h"

static void numbers_of_fdinfo(void **state)
{
	static const char text[] =
		"pos:\t0\nflags:\t02000002\nmnt_id:\t15\nino:\t1057\nmap_type:\t2\n"
		"memlock:\t 4096\nmap_id:\t18446744073709551615\nfrozen:\t0\n";
	uint64_t value = 7;

	assert_true(dn_bpf_fdinfo_u64(text, "memlock", &value));
	assert_int_equal(value, 4096);
	assert_true(dn_bpf_fdinfo_u64(text, "map_id", &value));
	assert_true(value == UINT64_MAX);
	assert_true(dn_bpf_fdinfo_u64(text, "frozen", &value));
	assert_int_equal(value, 0);
	assert_true(dn_bpf_fdinfo_u64(text, "pos", &value));
}

static void what_is_no_number_of_fdinfo(void **state)
{
	uint64_t value = 7;

	assert_false(dn_bpf_fdinfo_u64("", "memlock", &value));
	assert_false(dn_bpf_fdinfo_u64("memlock", "memlock", &value));
	assert_false(dn_bpf_fdinfo_u64("memlock:", "memlock", &value));
	assert_false(dn_bpf_fdinfo_u64("memlock:\t\n1", "memlock", &value));
	assert_false(dn_bpf_fdinfo_u64("memlock:\t-1\n", "memlock", &value));
	assert_false(dn_bpf_fdinfo_u64("memlock:\t1x\n", "memlock", &value));
	assert_false(dn_bpf_fdinfo_u64("memlock:\t18446744073709551616\n", "memlock", &value));
	assert_false(dn_bpf_fdinfo_u64("xmemlock:\t1\n", "memlock", &value));
	assert_false(dn_bpf_fdinfo_u64("memlock_total:\t1\n", "memlock", &value));
	assert_false(dn_bpf_fdinfo_u64("path:\tmemlock:\t1\n", "memlock", &value));
	assert_int_equal(value, 7);
}

/* The path of a uprobe is somebody's choice and comes last. */
static void a_name_in_fdinfo_makes_no_number(void **state)
{
	uint64_t value;

	assert_true(dn_bpf_fdinfo_u64("link_type:\tuprobe_multi\nlink_id:\t3\nprog_id:\t5\npath:\t/"
				      "tmp/a\nprog_id:\t1009\n",
		"prog_id", &value));
	assert_int_equal(value, 5);
}

static void descriptors_that_hold_objects(void **state)
{
	const char *key = NULL;

	assert_int_equal(dn_bpf_fd_kind("anon_inode:bpf-prog", &key), DN_BPF_PROG);
	assert_string_equal(key, "prog_id");
	assert_int_equal(dn_bpf_fd_kind("anon_inode:bpf-map", &key), DN_BPF_MAP);
	assert_string_equal(key, "map_id");
	assert_int_equal(dn_bpf_fd_kind("anon_inode:bpf_link", &key), DN_BPF_LINK);
	assert_string_equal(key, "link_id");
	assert_int_equal(dn_bpf_fd_kind("anon_inode:bpf-stats", &key), -1);
	assert_int_equal(dn_bpf_fd_kind("anon_inode:bpf-progs", &key), -1);
	assert_int_equal(dn_bpf_fd_kind("/tmp/anon_inode:bpf-prog", &key), -1);
	assert_int_equal(dn_bpf_fd_kind("anon_inode:", &key), -1);
	assert_int_equal(dn_bpf_fd_kind("", &key), -1);
}

static void types_that_are_and_are_not_known(void **state)
{
	char buffer[DN_BPF_TYPE_NAME_MAX];

	assert_string_equal(dn_bpf_type_name(DN_BPF_PROG, 17, buffer), "raw_tracepoint");
	assert_string_equal(dn_bpf_type_name(DN_BPF_PROG, 26, buffer), "tracing");
	assert_string_equal(dn_bpf_type_name(DN_BPF_MAP, 27, buffer), "ringbuf");
	assert_string_equal(dn_bpf_type_name(DN_BPF_MAP, 29, buffer), "task_storage");
	assert_string_equal(dn_bpf_type_name(DN_BPF_LINK, 12, buffer), "uprobe_multi");
	assert_string_equal(dn_bpf_type_name(DN_BPF_LINK, UINT32_MAX, buffer), "type 4294967295");
	assert_string_equal(dn_bpf_attach_name(24), "trace_fentry");
	assert_string_equal(dn_bpf_attach_name(48), "trace_uprobe_multi");
	assert_null(dn_bpf_attach_name(-1));
	assert_null(dn_bpf_attach_name(INT32_MAX));
}

/* A blob of two types: 1 an int "int", 2 a function "f" or what the test makes of it. */
struct blob {
	uint16_t magic;
	uint8_t version, flags;
	uint32_t header_len, type_off, type_len, string_off, string_len;
	uint32_t type[7];
	char string[8];
};

static struct blob make_blob(void)
{
	struct blob blob = {.magic = 0xeb9f,
		.version = 1,
		.header_len = 24,
		.type_len = 28,
		.string_off = 28,
		.string_len = 7,
		.type = {1, 1u << 24, 4, 0x20, 5, 12u << 24, 0},
		.string = "\0int\0f"};

	return blob;
}

static void names_of_btf(void **state)
{
	struct blob kernel = make_blob(), module = make_blob();
	struct dn_btf_blob *base, *split;

	base = dn_btf_parse(&kernel, sizeof(kernel), NULL);
	assert_non_null(base);
	assert_string_equal(dn_btf_type_name(base, 1), "int");
	assert_string_equal(dn_btf_type_name(base, 2), "f");
	assert_null(dn_btf_type_name(base, 0));
	assert_null(dn_btf_type_name(base, 3));
	assert_null(dn_btf_type_name(base, UINT32_MAX));
	/* A module's types and strings are numbered behind the kernel's. */
	module.type[0] = 1; /* the kernel's "int" */
	module.type[4] = 7 + 5; /* its own "f" */
	split = dn_btf_parse(&module, sizeof(module), base);
	assert_non_null(split);
	assert_string_equal(dn_btf_type_name(split, 1), "int");
	assert_string_equal(dn_btf_type_name(split, 3), "int");
	assert_string_equal(dn_btf_type_name(split, 4), "f");
	assert_null(dn_btf_type_name(split, 5));
	dn_btf_free(split);
	dn_btf_free(base);
}

static void damaged_btf_is_refused_or_has_no_name(void **state)
{
	struct blob blob = make_blob();
	struct dn_btf_blob *parsed;

	for (size_t size = 0; size < 24 + 28 + 7; size++)
		assert_null(dn_btf_parse(&blob, size, NULL));
	blob.magic = 0x9feb;
	assert_null(dn_btf_parse(&blob, sizeof(blob), NULL));
	blob = make_blob();
	blob.header_len = 4;
	assert_null(dn_btf_parse(&blob, sizeof(blob), NULL));
	blob = make_blob();
	blob.type_off = UINT32_MAX;
	assert_null(dn_btf_parse(&blob, sizeof(blob), NULL));
	blob = make_blob();
	blob.string_len = UINT32_MAX;
	assert_null(dn_btf_parse(&blob, sizeof(blob), NULL));
	blob = make_blob();
	blob.type[5] = 31u << 24; /* a kind that does not exist */
	assert_null(dn_btf_parse(&blob, sizeof(blob), NULL));
	blob = make_blob();
	blob.type[5] = 4u << 24 | 0xffff; /* more members than there are bytes */
	assert_null(dn_btf_parse(&blob, sizeof(blob), NULL));
	blob = make_blob();
	blob.type[0] = 7; /* one behind the strings */
	blob.type[4] = UINT32_MAX;
	parsed = dn_btf_parse(&blob, sizeof(blob), NULL);
	assert_non_null(parsed);
	assert_null(dn_btf_type_name(parsed, 1));
	assert_null(dn_btf_type_name(parsed, 2));
	dn_btf_free(parsed);
}

#define RUNS 1009

/* Runs a program so many times by BPF_PROG_TEST_RUN. */
static int test_run(int fd, uint32_t times)
{
	static const char packet[64];
	struct {
		uint32_t prog_fd, retval, in_len, out_len;
		uint64_t in, out;
		uint32_t repeat, duration, ctx_in_len, ctx_out_len;
		uint64_t ctx_in, ctx_out;
	} attr = {.prog_fd = (uint32_t)fd,
		.in_len = sizeof(packet),
		.in = (uintptr_t)packet,
		.repeat = times};

	return dn_bpf_call(10, &attr, sizeof(attr));
}

static int load_filter(const char *name)
{
	static const uint64_t code[] = {0x00000000000000b7, 0x0000000000000095}; /* r0 = 0; exit */
	struct {
		uint32_t type, n;
		uint64_t code, license;
		uint32_t log_level, log_size;
		uint64_t log;
		uint32_t version, flags;
		char name[16];
	} attr = {.type = 1, .n = 2, .code = (uintptr_t)code, .license = (uintptr_t) "Apache-2.0"};

	memcpy(attr.name, name, strlen(name));
	return dn_bpf_call(5, &attr, sizeof(attr));
}

static void a_real_program_and_its_cost(void **state)
{
	uint64_t before_ns, before, ns, runs;
	struct dn_bpf_prog prog;
	int fd = load_filter("dn_unit"), stats = fd < 0 ? -1 : dn_bpf_stats_enable(), other;

	if (fd < 0 || stats < 0) { /* without the privileges for it */

		assert_true(fd == -EPERM || stats == -EPERM || fd == -ENOSYS);
		skip();
	}
	assert_int_equal(dn_bpf_prog_cost(fd, &before_ns, &before), 0);
	assert_int_equal(test_run(fd, RUNS), 0);
	assert_int_equal(dn_bpf_prog_cost(fd, &ns, &runs), 0);
	assert_int_equal(runs - before, RUNS);
	assert_true(ns > before_ns);
	assert_int_equal(dn_bpf_prog_read(fd, &prog), 0);
	assert_string_equal(prog.name, "dn_unit");
	assert_int_equal(prog.type, 1);
	assert_int_equal(prog.runs, runs);
	assert_int_equal(prog.loaded_uid, geteuid());
	assert_int_equal(prog.xlated_bytes, 16);
	assert_int_equal(prog.n_maps, 0);
	close(stats);
	other = dn_bpf_open(DN_BPF_PROG, prog.id);
	assert_true(other >= 0);
	close(other);
	close(fd);
}

static void a_real_map_and_its_memory(void **state)
{
	struct {
		uint32_t type, key, value, entries, flags, inner, node;
		char name[16];
	} attr = {.type = 2, .key = 4, .value = 8192, .entries = 101, .name = "dn_unit_map"};
	struct dn_bpf_map map;
	uint64_t bytes;
	int fd = dn_bpf_call(0, &attr, sizeof(attr));

	if (fd < 0) {
		assert_true(fd == -EPERM || fd == -ENOSYS);
		skip();
	}
	assert_int_equal(dn_bpf_map_read(fd, &map), 0);
	assert_string_equal(map.name, "dn_unit_map");
	assert_int_equal(map.type, 2);
	assert_int_equal(map.key_bytes, 4);
	assert_int_equal(map.value_bytes, 8192);
	assert_int_equal(map.max_entries, 101);
	assert_int_equal(dn_bpf_map_bytes(fd, &bytes), 0);
	assert_true(bytes >= 8192 * 101 && bytes < 8192 * 202);
	close(fd);
	assert_true(dn_bpf_map_read(fd, &map) < 0);
	assert_true(dn_bpf_map_bytes(STDIN_FILENO, &bytes) < 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers_of_fdinfo),
		cmocka_unit_test(what_is_no_number_of_fdinfo),
		cmocka_unit_test(a_name_in_fdinfo_makes_no_number),
		cmocka_unit_test(descriptors_that_hold_objects),
		cmocka_unit_test(types_that_are_and_are_not_known),
		cmocka_unit_test(names_of_btf),
		cmocka_unit_test(damaged_btf_is_refused_or_has_no_name),
		cmocka_unit_test(a_real_program_and_its_cost),
		cmocka_unit_test(a_real_map_and_its_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Paths as the kernel side writes them down, torn and hostile ones too. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <denet/table.h>

#include "file-path.h"

static struct dn_wire_path kept;

/* names: the components, the last one first, each with its NUL. */
static const char *path_of(const char *names, uint32_t len, uint32_t flags)
{
	static char path[DN_TABLE_KEY_MAX];

	memset(&kept, 'z', sizeof(kept));
	memcpy(kept.path, names, len < DN_FILE_PATH ? len : DN_FILE_PATH);
	kept.len = len;
	kept.flags = flags;
	dn_ebpf_file_path(&kept, path, sizeof(path));
	return path;
}

static void components_are_turned_round(void **state)
{
	assert_string_equal(path_of("c\0b\0a", 6, DN_FILE_PATH_WHOLE), "/a/b/c");
	assert_string_equal(path_of("a", 2, DN_FILE_PATH_WHOLE), "/a");
	assert_string_equal(path_of("", 0, DN_FILE_PATH_WHOLE), "/");
	assert_string_equal(path_of("memfd:x", 8, DN_FILE_PATH_NAMELESS), "memfd:x");
}

static void what_is_not_known_is_said(void **state)
{
	assert_string_equal(path_of("c\0b", 4, 0), ".../b/c");
	assert_string_equal(path_of("", 0, 0), ".../");
	/* no NUL at the end: the highest was cut */
	assert_string_equal(path_of("c\0bbbb", 6, 0), ".../c");
}

static void long_ones_lose_their_front(void **state)
{
	char names[2 * DN_FILE_PATH], wanted[DN_TABLE_KEY_MAX];
	const char *path;

	memset(names, 'n', sizeof(names));
	names[253] = '\0'; /* with its slash the longest that fits */
	path = path_of(names, 254, DN_FILE_PATH_WHOLE);
	assert_int_equal(strlen(path), 254);
	memset(names, 'n', sizeof(names));
	names[255] = '\0'; /* the longest name that there is */
	path = path_of(names, 256, DN_FILE_PATH_WHOLE);
	memset(wanted, 'n', sizeof(wanted));
	memcpy(wanted, "...", 3);
	wanted[255] = '\0';
	assert_string_equal(path, wanted);
	/* the kernel side wrote past what it keeps: what is above is not known */
	memset(names, 'n', sizeof(names));
	names[2] = '\0';
	assert_string_equal(path_of(names, 300, DN_FILE_PATH_WHOLE), ".../nn");
	/* and one that claims any length at all */
	assert_string_equal(path_of(names, UINT32_MAX, DN_FILE_PATH_WHOLE), ".../nn");
}

static void add(struct dn_ebpf_file_list *list, const char *name, uint64_t count, uint64_t bytes)
{
	struct dn_wire_path path = {.count = count, .read_bytes = bytes, .time_ns = 1};

	path.flags = DN_FILE_PATH_WHOLE;
	path.len = (uint32_t)strlen(name) + 1;
	memcpy(path.path, name, path.len);
	dn_ebpf_file_list_add(list, &path);
}

static void the_busiest_come_first(void **state)
{
	struct dn_ebpf_file_list list = {0};

	dn_ebpf_file_list_order(&list);
	assert_int_equal(list.n, 0);
	add(&list, "b", 1, 10);
	add(&list, "a", 1, 10);
	add(&list, "twice", 3, 11);
	add(&list, "calls", 40, 0);
	add(&list, "twice", 5, UINT64_MAX);
	for (int i = 0; i < 1000; i++)
		add(&list, "many", 1, 0);
	dn_ebpf_file_list_order(&list);
	assert_int_equal(list.error, 0);
	assert_int_equal(list.n, 5);
	assert_string_equal(list.entry[0].path, "/twice");
	assert_int_equal(list.entry[0].count, 8);
	assert_true(list.entry[0].read_bytes == UINT64_MAX);
	assert_int_equal(list.entry[0].time_ns, 2);
	assert_string_equal(list.entry[1].path, "/many");
	assert_int_equal(list.entry[1].count, 1000);
	assert_string_equal(list.entry[2].path, "/calls");
	assert_string_equal(list.entry[3].path, "/a");
	assert_string_equal(list.entry[4].path, "/b");
	dn_ebpf_file_list_free(&list);
	assert_int_equal(list.n, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(components_are_turned_round),
		cmocka_unit_test(what_is_not_known_is_said),
		cmocka_unit_test(long_ones_lose_their_front),
		cmocka_unit_test(the_busiest_come_first),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* denet bpf: owners found in a recorded /proc, differences, and pages that hostile names can't
 * change. */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "bpf-list.h"
#include "bpf-table.h"
#include "json-writer.h"

static char root[64];

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

static int setup(void **state)
{
	snprintf(root, sizeof(root), "/tmp/denet-bpf-XXXXXX");
	return mkdtemp(root) ? 0 : -1;
}

static int teardown(void **state)
{
	return nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void make_process(int pid, const char *comm)
{
	char path[256];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%d", root, pid);
	assert_int_equal(mkdir(path, 0700), 0);
	snprintf(path, sizeof(path), "%s/%d/fd", root, pid);
	assert_int_equal(mkdir(path, 0700), 0);
	snprintf(path, sizeof(path), "%s/%d/fdinfo", root, pid);
	assert_int_equal(mkdir(path, 0700), 0);
	snprintf(path, sizeof(path), "%s/%d/comm", root, pid);
	file = fopen(path, "we");
	assert_non_null(file);
	fprintf(file, "%s\n", comm);
	assert_int_equal(fclose(file), 0);
}

static void make_fd(int pid, int fd, const char *link, const char *info)
{
	char path[256];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%d/fd/%d", root, pid, fd);
	assert_int_equal(symlink(link, path), 0);
	snprintf(path, sizeof(path), "%s/%d/fdinfo/%d", root, pid, fd);
	file = fopen(path, "we");
	assert_non_null(file);
	fputs(info, file);
	assert_int_equal(fclose(file), 0);
}

/* Program 11 uses map 21, program 12 maps 21 and 22; link 31 holds program 12. */
static struct dn_bpf_prog_entry progs[] = {
	{.info = {.id = 11,
		 .name = "small",
		 .type = 1,
		 .n_maps = 1,
		 .map_id = {21},
		 .run_ns = 1009,
		 .runs = 7},
		.has_memory = true,
		.memory_bytes = 4096},
	{.info = {.id = 12,
		 .name = "dear",
		 .type = 17,
		 .n_maps = 2,
		 .map_id = {21, 22},
		 .run_ns = 9001,
		 .runs = 3},
		.has_memory = true,
		.memory_bytes = 4096},
};
static struct dn_bpf_map_entry maps[] = {
	{.info = {.id = 21, .name = "m", .type = 2}, .has_memory = true, .memory_bytes = 1013},
	{.info = {.id = 22, .name = "", .type = 999}},
};
static struct dn_bpf_link links[] = {
	{.id = 31, .type = 1, .prog_id = 12, .attach_type = -1, .target = "a\033[31mb\nc"},
};
static uint32_t by_prog[] = {0};
static const struct dn_bpf_list list = {
	.t_ns = 5,
	.prog = progs,
	.map = maps,
	.link = links,
	.by_prog = by_prog,
	.n = {2, 2, 1},
};

static unsigned owners_of(
	const struct dn_bpf_owners *owners, enum dn_bpf_kind kind, uint32_t id, pid_t pid, int by)
{
	unsigned n, found = 0;
	const struct dn_bpf_hold *hold = dn_bpf_owners_of(owners, kind, id, &n);

	for (unsigned i = 0; i < n; i++)
		found += owners->holder[hold[i].holder].pid == pid && (int)hold[i].by == by;
	return n * 100 + found;
}

static void read_owners(struct dn_bpf_owners *ret)
{
	int fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(dn_bpf_owners_read(ret, &list, fd, false), 0);
	close(fd);
}

static void owners_hold_what_their_objects_hold(void **state)
{
	struct dn_bpf_owners owners;

	make_process(101, "linker");
	make_fd(101, 3, "anon_inode:bpf_link",
		"pos:\t0\nlink_type:\traw_tracepoint\nlink_id:\t31\nprog_id:\t12\n");
	make_fd(101, 4, "/dev/null", "pos:\t0\n");
	make_process(103, "loader");
	make_fd(103, 5, "anon_inode:bpf-prog",
		"pos:\t0\nprog_type:\t1\nmemlock:\t4096\nprog_id:\t11\n");
	make_fd(103, 6, "anon_inode:bpf-prog",
		"pos:\t0\nprog_type:\t1\nmemlock:\t4096\nprog_id:\t11\n");
	make_process(107, "reader");
	make_fd(107, 5, "anon_inode:bpf-map", "pos:\t0\nmap_type:\t2\nmap_id:\t21\n");
	make_process(109, "nothing");
	read_owners(&owners);
	assert_int_equal(owners.processes, 4);
	assert_int_equal(owners.denied, 0);
	assert_int_equal(owners.n_holders, 3);
	assert_int_equal(owners_of(&owners, DN_BPF_LINK, 31, 101, DN_BPF_BY_ITSELF), 101);
	assert_int_equal(owners_of(&owners, DN_BPF_PROG, 12, 101, DN_BPF_BY_LINK), 101);
	assert_int_equal(owners_of(&owners, DN_BPF_MAP, 22, 101, DN_BPF_BY_PROG), 101);
	assert_int_equal(owners_of(&owners, DN_BPF_PROG, 11, 103, DN_BPF_BY_ITSELF), 101);
	assert_int_equal(owners_of(&owners, DN_BPF_MAP, 21, 107, DN_BPF_BY_ITSELF), 301);
	assert_int_equal(owners_of(&owners, DN_BPF_MAP, 21, 103, DN_BPF_BY_PROG), 301);
	assert_int_equal(owners_of(&owners, DN_BPF_MAP, 21, 101, DN_BPF_BY_PROG), 301);
	assert_int_equal(owners_of(&owners, DN_BPF_MAP, 23, 101, DN_BPF_BY_PROG), 0);
	/* A folder is not the machine's /proc. */
	assert_true(owners.outside);
	assert_false(dn_bpf_owners_complete(&owners));
	dn_bpf_owners_finish(&owners);
}

static void descriptors_without_an_id_own_nothing(void **state)
{
	struct dn_bpf_owners owners;

	make_process(101, "odd");
	make_fd(101, 3, "anon_inode:bpf-prog", "");
	make_fd(101, 4, "anon_inode:bpf-prog", "prog_id:\t-1\n");
	make_fd(101, 5, "anon_inode:bpf-prog", "prog_id:\t4294967296\n");
	make_fd(101, 6, "anon_inode:bpf-map", "prog_id:\t11\n");
	make_fd(101, 7, "anon_inode:bpf_iter", "pos:\t0\n");
	make_process(103, "");
	read_owners(&owners);
	assert_int_equal(owners.processes, 2);
	assert_int_equal(owners.n_holds, 0);
	assert_int_equal(owners.n_holders, 0);
	assert_int_equal(owners_of(&owners, DN_BPF_PROG, 11, 101, DN_BPF_BY_ITSELF), 0);
	dn_bpf_owners_finish(&owners);
}

static void an_interval_counts_what_ran_in_it(void **state)
{
	struct dn_bpf_prog_entry before[] = {
		{.info = {.id = 11, .loaded_ns = 1, .run_ns = 100, .runs = 10}},
		{.info = {.id = 12, .loaded_ns = 2, .run_ns = 5, .runs = 1}},
		{.info = {.id = 13, .loaded_ns = 3, .run_ns = 70, .runs = 7}},
	};
	struct dn_bpf_prog_entry after[] = {
		{.info = {.id = 11, .loaded_ns = 1, .run_ns = 1109, .runs = 21}},
		/* the same number, another program */
		{.info = {.id = 12, .loaded_ns = 9, .run_ns = 13, .runs = 2}},
		{.info = {.id = 14, .loaded_ns = 9, .run_ns = 17, .runs = 3}},
	};
	struct dn_bpf_list earlier = {.t_ns = 1000, .prog = before, .n = {3}};
	struct dn_bpf_list later = {.t_ns = 3000, .prog = after, .n = {3}};
	struct dn_bpf_totals totals;

	assert_false(dn_bpf_list_same(&earlier, &later));
	assert_true(dn_bpf_list_same(&earlier, &earlier));
	assert_true(dn_bpf_has_runs(&earlier, &before[0]));
	dn_bpf_list_since(&later, &earlier);
	assert_int_equal(later.interval_ns, 2000);
	assert_int_equal(after[0].interval_ns, 1009);
	assert_int_equal(after[0].interval_runs, 11);
	assert_int_equal(after[1].interval_runs, 2);
	assert_int_equal(after[2].interval_ns, 17);
	assert_int_equal(later.gone, 2);
	dn_bpf_list_totals(&later, &totals);
	assert_int_equal(totals.interval_runs, 11 + 2 + 3);
	assert_int_equal(totals.interval_ns, 1009 + 13 + 17);
}

static void what_was_never_counted_is_not_0(void **state)
{
	struct dn_bpf_prog_entry entry = {.info = {.id = 1}};
	struct dn_bpf_list off = {.prog = &entry, .n = {1}, .stats_on = 0}, on = off;
	struct dn_bpf_totals totals;

	on.stats_on = 1;
	assert_false(dn_bpf_has_runs(&off, &entry));
	assert_true(dn_bpf_has_runs(&on, &entry));
	dn_bpf_list_totals(&off, &totals);
	assert_false(totals.has_runs);
	entry.has_interval = true;
	assert_true(dn_bpf_has_runs(&off, &entry));
}

static char *page_of(const struct dn_bpf_owners *owners, unsigned columns)
{
	const struct dn_bpf_style style = {.columns = columns};
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	assert_non_null(out);
	assert_int_equal(dn_bpf_print(out, &list, owners, &style), 0);
	assert_int_equal(fclose(out), 0);
	assert_int_equal(strlen(text), len);
	return text;
}

/* The name of an owner, the target of a link, the path of a pin: all chosen by somebody else. */
static void hostile_names_change_no_page(void **state)
{
	struct dn_bpf_holder holder[] = {{.pid = 7, .name = "\033]0;x\007\xff\n\xe2\x80\xae"},
		{.path = (char *)"/sys/fs/bpf/\033[2J\n"}};
	struct dn_bpf_hold hold[] = {
		{DN_BPF_PROG, 11, 0, DN_BPF_BY_ITSELF}, {DN_BPF_MAP, 21, 1, DN_BPF_BY_ITSELF}};
	struct dn_bpf_owners owners = {
		.holder = holder, .n_holders = 2, .hold = hold, .n_holds = 2, .processes = 1};
	char *text = page_of(&owners, 0), *dear, *small;
	unsigned lines = 0;

	for (const char *p = text; *p; p++) {
		assert_true(*p == '\n' || ((unsigned char)*p >= 0x20 && (unsigned char)*p < 0x7f));
		lines += *p == '\n';
	}
	/* three tables with a blank line between, totals, one note */
	assert_int_equal(lines, 3 + 1 + 3 + 1 + 2 + 1 + 1 + 1);
	dear = strstr(text, "dear");
	small = strstr(text, "small");
	assert_true(dear && small && dear < small);
	assert_non_null(strstr(text, "?]0;x?"));
	assert_non_null(strstr(text, "pinned /sys/fs/bpf/?[2J?"));
	assert_non_null(strstr(text, "raw_tracepoint a?[31mb?c"));
	assert_non_null(strstr(text, "type 999"));
	assert_non_null(strstr(text, "none"));
	free(text);
	owners.denied = 3;
	text = page_of(&owners, 80);
	assert_non_null(strstr(text, "not seen"));
	assert_non_null(strstr(text, "3 processes could not be looked into"));
	free(text);
}

static void json_of_the_list(void **state)
{
	struct dn_bpf_holder holder[] = {
		{.pid = 7, .name = "\xff\""}, {.path = (char *)"/sys/fs/bpf/p"}};
	struct dn_bpf_hold hold[] = {
		{DN_BPF_PROG, 11, 0, DN_BPF_BY_ITSELF}, {DN_BPF_PROG, 11, 1, DN_BPF_BY_ITSELF}};
	struct dn_bpf_owners owners = {
		.holder = holder, .n_holders = 2, .hold = hold, .n_holds = 2};
	struct dn_json json;
	char *text;

	dn_json_init(&json);
	dn_bpf_write_json(&json, &list, &owners);
	assert_int_equal(dn_json_error(&json), 0);
	text = strndup(json.data, json.len);
	assert_non_null(
		strstr(text, "\"owners\":[{\"pid\":7,\"name\":\"\xef\xbf\xbd\\\"\",\"name_hex\":"
			     "\"ff22\",\"by\":\"itself\"}],"
			     "\"pinned\":[{\"path\":\"/sys/fs/bpf/p\",\"by\":\"itself\"}]"));
	assert_non_null(strstr(text, "\"memory_bytes\":null"));
	assert_non_null(strstr(text, "\"frozen\":null"));
	assert_non_null(strstr(text, "\"recursion_misses\":null"));
	assert_non_null(strstr(text, "\"target\":\"a\\u001b[31mb\\nc\""));
	free(text);
	dn_json_finish(&json);
}

static void a_narrow_table_drops_columns(void **state)
{
	static const char *const title[] = {">N", "WORD", ">K", "TEXT"};
	struct dn_text_table table;
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	assert_non_null(out);
	dn_text_table_init(&table, title, 4, "12");
	dn_text_table_add(&table, 0, "10");
	dn_text_table_add(&table, 1, "somewhat long");
	dn_text_table_add(&table, 2, "9");
	dn_text_table_add(&table, 3, "the last");
	dn_text_table_print(&table, 9, 0, false, out);
	dn_text_table_print(&table, 9, 20, false, out);
	assert_int_equal(fclose(out), 0);
	assert_string_equal(text, " N  WORD           K  TEXT\n10  somewhat long  9  the last\n"
				  " N  K  TEXT\n10  9  the last\n");
	free(text);
	dn_text_table_finish(&table);
}

static void a_table_of_one_row_too_long(void **state)
{
	static const char *const title[] = {">N", "TEXT"};
	struct dn_text_table table;
	char *text = NULL, longest[4096];
	size_t len = 0;
	FILE *out;

	memset(longest, 'x', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	dn_text_table_init(&table, title, 2, "");
	dn_text_table_add(&table, 0, "1");
	dn_text_table_add(&table, 1, longest);
	out = open_memstream(&text, &len);
	assert_non_null(out);
	dn_text_table_print(&table, 9, 20, false, out);
	assert_int_equal(fclose(out), 0);
	assert_string_equal(text, "N  TEXT\n1  xxxxxxxxxxxxxxxxx...\n");
	free(text);
	dn_text_table_finish(&table);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			owners_hold_what_their_objects_hold, setup, teardown),
		cmocka_unit_test_setup_teardown(
			descriptors_without_an_id_own_nothing, setup, teardown),
		cmocka_unit_test(an_interval_counts_what_ran_in_it),
		cmocka_unit_test(what_was_never_counted_is_not_0),
		cmocka_unit_test(hostile_names_change_no_page),
		cmocka_unit_test(json_of_the_list),
		cmocka_unit_test(a_narrow_table_drops_columns),
		cmocka_unit_test(a_table_of_one_row_too_long),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

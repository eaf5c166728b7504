/* SPDX-License-Identifier: Apache-2.0 */
/* The lowest layer: numbers, small files, safe text, registry, loop. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>

#include <cmocka.h>

#include <denet/fs.h>
#include <denet/log.h>
#include <denet/loop.h>
#include <denet/metric.h>
#include <denet/process.h>

static void numbers_are_parsed_exactly(void **state)
{
	static const struct {
		const char *text;
		int r;
		uint64_t value;
		size_t used;
	} cases[] = {
		{"0", 0, 0, 1},
		{"18446744073709551615", 0, UINT64_MAX, 20},
		{"18446744073709551616", -ERANGE, 0, 20},
		{"99999999999999999999999 x", -ERANGE, 0, 23},
		{"", -EINVAL, 0, 0},
		{"-1", -EINVAL, 0, 0},
		{" 1", -EINVAL, 0, 0},
		{"12abc", 0, 12, 2},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *p = cases[i].text;
		uint64_t value = 4711;

		assert_int_equal(dn_parse_u64(&p, &value), cases[i].r);
		assert_int_equal(p - cases[i].text, cases[i].used);
		assert_true(value == (cases[i].r ? 4711 : cases[i].value));
	}
}

static void signed_numbers_reach_both_ends(void **state)
{
	const char *low = "-9223372036854775808", *high = "9223372036854775807",
		   *over = "9223372036854775808";
	int64_t value;

	assert_int_equal(dn_parse_i64(&low, &value), 0);
	assert_true(value == INT64_MIN);
	assert_int_equal(dn_parse_i64(&high, &value), 0);
	assert_true(value == INT64_MAX);
	assert_int_equal(dn_parse_i64(&over, &value), -ERANGE);
}

static void whole_numbers_take_nothing_else(void **state)
{
	uint64_t value;

	assert_int_equal(dn_parse_u64_whole("12abc", &value), -EINVAL);
	assert_int_equal(dn_parse_u64_whole("", &value), -EINVAL);
	assert_int_equal(dn_parse_u64_whole("4194304", &value), 0);
	assert_true(value == 4194304);
}

static void arithmetic_saturates(void **state)
{
	assert_true(dn_add_sat(UINT64_MAX - 1, 7) == UINT64_MAX);
	assert_true(dn_sub_sat(3, 7) == 0);
	assert_true(dn_sub_sat(7, 3) == 4);
}

static void files_that_do_not_fit_are_told(void **state)
{
	char path[] = "/tmp/denet-test-XXXXXX", buffer[8];
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, "1234567", 7), 7);
	assert_int_equal(dn_read_file_at(AT_FDCWD, path, buffer, sizeof(buffer)), 7);
	assert_string_equal(buffer, "1234567");
	assert_int_equal(write(fd, "8", 1), 1);
	assert_int_equal(dn_read_file_at(AT_FDCWD, path, buffer, sizeof(buffer)), -ENOBUFS);
	assert_string_equal(buffer, "1234567");
	assert_int_equal(dn_pread_file(fd, buffer, sizeof(buffer)), -ENOBUFS);
	close(fd);
	unlink(path);
	assert_int_equal(dn_read_file_at(AT_FDCWD, path, buffer, sizeof(buffer)), -ENOENT);
}

static void a_fifo_does_not_hang_a_reader(void **state)
{
	char dir[] = "/tmp/denet-test-XXXXXX", path[64], buffer[8];

	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/fifo", dir);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(dn_read_file_at(AT_FDCWD, path, buffer, sizeof(buffer)), 0);
	unlink(path);
	rmdir(dir);
}

static void hostile_bytes_do_not_reach_a_terminal(void **state)
{
	static const struct {
		const char *bytes, *safe;
	} cases[] = {
		{"plain", "plain"}, {"a\033[31mb", "a?[31mb"}, {"a\nb\tc\x7f", "a?b?c?"},
		{"\xff\xfe\xc0\xaf", "????"}, {"\xe2\x82", "??"}, /* cut */
		{"\xc2\x9b", "?"}, /* C1 */
		{"a\xe2\x80\xae"
		 "b",
			"a?b"}, /* bidi override */
		{"\xed\xa0\x80", "???"}, /* surrogate */
		{"gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f"},
		{"\xee\x80\x80", "?"}, /* private use */
	};
	char out[64];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		size_t len =
			dn_text_safe(cases[i].bytes, strlen(cases[i].bytes), 0, out, sizeof(out));

		assert_string_equal(out, cases[i].safe);
		assert_int_equal(len, strlen(out));
	}
}

static void long_text_is_cut_with_dots(void **state)
{
	char out[64], tiny[4];

	dn_text_safe("abcdefghij", 10, 7, out, sizeof(out));
	assert_string_equal(out, "abcd...");
	dn_text_safe("abcdefg", 7, 7, out, sizeof(out));
	assert_string_equal(out, "abcdefg");
	/* Two columns each: three fit into seven with the dots. */
	dn_text_safe("\xe6\xbc\xa2\xe6\xbc\xa2\xe6\xbc\xa2\xe6\xbc\xa2", 12, 7, out, sizeof(out));
	assert_string_equal(out, "\xe6\xbc\xa2\xe6\xbc\xa2...");
	assert_int_equal(dn_text_safe("abcdef", 6, 0, tiny, sizeof(tiny)), 3);
	assert_string_equal(tiny, "abc");
}

static void every_registry_row_is_whole(void **state)
{
	for (unsigned id = 0; id < DN_M_STATIC_N; id++) {
		const struct dn_metric_info *info = dn_metric_info(id);

		assert_non_null(info);
		assert_true(strlen(info->name) > 2 && strlen(info->help) > 5 &&
			    strlen(info->sources) > 2);
		assert_true(info->help[strlen(info->help) - 1] != '.');
		assert_int_equal(dn_metric_by_name(info->name), id);
		if (info->flags & DN_FLAG_PROC)
			assert_in_range(dn_process_slot(id), 0, DN_PROCESS_METRIC_MAX - 1);
		else
			assert_int_equal(dn_process_slot(id), -1);
	}
}

static void rows_can_be_added_up_to_a_bound(void **state)
{
	char name[32];
	int first =
		dn_metric_add("hw.event.x:y", DN_KIND_COUNTER, DN_UNIT_COUNT, "a help", "a source");

	assert_int_equal(first, DN_M_STATIC_N);
	assert_int_equal(
		dn_metric_add("hw.event.x:y", DN_KIND_COUNTER, DN_UNIT_COUNT, "b", "c"), first);
	assert_int_equal(dn_metric_add("hw..x", DN_KIND_COUNTER, DN_UNIT_COUNT, "b", "c"), -EINVAL);
	assert_int_equal(
		dn_metric_add("hw.\"x", DN_KIND_COUNTER, DN_UNIT_COUNT, "b", "c"), -EINVAL);
	for (int i = 1; i < DN_METRIC_DYNAMIC_MAX; i++) {
		snprintf(name, sizeof(name), "hw.event.n%d", i);
		assert_int_equal(
			dn_metric_add(name, DN_KIND_COUNTER, DN_UNIT_COUNT, "b", "c"), first + i);
	}
	assert_int_equal(
		dn_metric_add("hw.event.more", DN_KIND_COUNTER, DN_UNIT_COUNT, "b", "c"), -ENOSPC);
	dn_metric_reset();
	assert_int_equal(dn_metric_count(), DN_M_STATIC_N);
}

static void no_and_not_allowed_are_different_answers(void **state)
{
	assert_int_equal(dn_fact_from_errno(0), DN_FACT_OK);
	assert_int_equal(dn_fact_from_errno(-EPERM), DN_FACT_DENIED);
	assert_int_equal(dn_fact_from_errno(-EACCES), DN_FACT_DENIED);
	assert_int_equal(dn_fact_from_errno(-ENOENT), DN_FACT_UNSUPPORTED);
	assert_int_equal(dn_fact_from_errno(-EINVAL), DN_FACT_BROKEN);
}

struct two_pipes {
	struct dn_loop *loop;
	struct dn_source a, b;
	int calls;
};

static struct two_pipes pipes;

static int remove_both(struct dn_source *source, uint32_t events)
{
	pipes.calls++;
	dn_loop_remove(pipes.loop, &pipes.a);
	dn_loop_remove(pipes.loop, &pipes.b);
	dn_loop_quit(pipes.loop);
	return 0;
}

static void a_source_removed_by_a_callback_is_not_called(void **state)
{
	int a[2], b[2];

	assert_int_equal(dn_loop_new(&pipes.loop), 0);
	assert_int_equal(pipe(a), 0);
	assert_int_equal(pipe(b), 0);
	pipes.a = (struct dn_source){.fd = a[0], .dispatch = remove_both};
	pipes.b = (struct dn_source){.fd = b[0], .dispatch = remove_both};
	assert_int_equal(dn_loop_add(pipes.loop, &pipes.a, EPOLLIN), 0);
	assert_int_equal(dn_loop_add(pipes.loop, &pipes.b, EPOLLIN), 0);
	assert_int_equal(write(a[1], "x", 1), 1);
	assert_int_equal(write(b[1], "x", 1), 1);
	assert_int_equal(dn_loop_run(pipes.loop), 0);
	assert_int_equal(pipes.calls, 1);
	dn_loop_free(pipes.loop);
	for (int i = 0; i < 2; i++) {
		close(a[i]);
		close(b[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers_are_parsed_exactly),
		cmocka_unit_test(signed_numbers_reach_both_ends),
		cmocka_unit_test(whole_numbers_take_nothing_else),
		cmocka_unit_test(arithmetic_saturates),
		cmocka_unit_test(files_that_do_not_fit_are_told),
		cmocka_unit_test(a_fifo_does_not_hang_a_reader),
		cmocka_unit_test(hostile_bytes_do_not_reach_a_terminal),
		cmocka_unit_test(long_text_is_cut_with_dots),
		cmocka_unit_test(every_registry_row_is_whole),
		cmocka_unit_test(rows_can_be_added_up_to_a_bound),
		cmocka_unit_test(no_and_not_allowed_are_different_answers),
		cmocka_unit_test(a_source_removed_by_a_callback_is_not_called),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

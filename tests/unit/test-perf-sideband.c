/* SPDX-License-Identifier: Apache-2.0 */
/* The sideband without a kernel: records from bytes, and the lives that invented records tell of.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <linux/perf_event.h>

#include "lives.h"
#include "record.h"

/* ---- records ---- */

struct bytes {
	uint8_t data[512];
	size_t len;
};

static void put(struct bytes *out, const void *data, size_t len)
{
	assert_true(out->len + len <= sizeof(out->data));
	memcpy(out->data + out->len, data, len);
	out->len += len;
}

static void put_u32(struct bytes *out, uint32_t value)
{
	put(out, &value, sizeof(value));
}

static void put_u64(struct bytes *out, uint64_t value)
{
	put(out, &value, sizeof(value));
}

static void put_header(struct bytes *out, uint32_t type, uint16_t misc, uint16_t size)
{
	struct perf_event_header header = {.type = type, .misc = misc, .size = size};

	put(out, &header, sizeof(header));
}

static void put_id(struct bytes *out, uint32_t pid, uint32_t tid, uint64_t t_ns)
{
	put_u32(out, pid);
	put_u32(out, tid);
	put_u64(out, t_ns);
}

static void put_task(
	struct bytes *out, uint32_t type, uint32_t pid, uint32_t ppid, uint32_t tid, uint64_t t_ns)
{
	put_header(out, type, 0, 48);
	put_u32(out, pid);
	put_u32(out, ppid);
	put_u32(out, tid);
	put_u32(out, ppid);
	put_u64(out, t_ns);
	put_id(out, ppid, ppid, t_ns + 1);
}

static void test_records(void **state)
{
	struct bytes b = {.len = 0};
	struct dn_perf_record record;
	int r;

	put_task(&b, PERF_RECORD_FORK, 101, 97, 103, 1009);
	assert_int_equal(dn_perf_record_decode(b.data, b.len, &record), 48);
	assert_int_equal(record.type, DN_PERF_FORK);
	assert_int_equal(record.pid, 101);
	assert_int_equal(record.ppid, 97);
	assert_int_equal(record.tid, 103);
	assert_int_equal(record.t_ns, 1009);

	b.len = 0;
	put_header(&b, PERF_RECORD_COMM, PERF_RECORD_MISC_COMM_EXEC, 48);
	put_u32(&b, 101);
	put_u32(&b, 103);
	put(&b, "cc1 \n)\0\0\0\0\0\0\0\0\0", 16);
	put_id(&b, 101, 103, 1013);
	assert_int_equal(dn_perf_record_decode(b.data, b.len, &record), 48);
	assert_int_equal(record.type, DN_PERF_COMM);
	assert_true(record.exec);
	assert_int_equal(record.comm_len, 6);
	assert_string_equal(record.comm, "cc1 \n)");
	assert_int_equal(record.t_ns, 1013);

	b.len = 0;
	put_header(&b, PERF_RECORD_SWITCH,
		PERF_RECORD_MISC_SWITCH_OUT | PERF_RECORD_MISC_SWITCH_OUT_PREEMPT, 24);
	put_id(&b, 107, 109, 1019);
	assert_int_equal(dn_perf_record_decode(b.data, b.len, &record), 24);
	assert_true(record.type == DN_PERF_SWITCH && record.out && record.preempt);
	assert_int_equal(record.tid, 109);

	b.len = 0;
	put_header(&b, PERF_RECORD_LOST, 0, 40);
	put_u64(&b, 1);
	put_u64(&b, 113);
	put_id(&b, 0, 0, 1021);
	assert_int_equal(dn_perf_record_decode(b.data, b.len, &record), 40);
	assert_int_equal(record.type, DN_PERF_LOST);
	assert_int_equal(record.lost, 113);

	/* What no kernel writes. */
	b.len = 0;
	put_header(&b, PERF_RECORD_FORK, 0, 4);
	assert_int_equal(dn_perf_record_decode(b.data, b.len, &record), -EBADMSG);
	b.len = 0;
	put_header(&b, PERF_RECORD_FORK, 0, 24);
	put_id(&b, 1, 1, 1);
	r = dn_perf_record_decode(b.data, b.len, &record);
	assert_int_equal(r, -EBADMSG);
	/* Not whole. */
	assert_int_equal(dn_perf_record_decode(b.data, 7, &record), 0);
	assert_int_equal(dn_perf_record_decode(b.data, 16, &record), 0);
}

static void test_ring_wrap(void **state)
{
	uint8_t ring[128];
	struct bytes b = {.len = 0};
	struct dn_perf_record record;

	put_task(&b, PERF_RECORD_EXIT, 131, 127, 137, 2003);
	for (uint64_t tail = 0; tail < 3 * sizeof(ring); tail += 8) {
		for (size_t i = 0; i < b.len; i++)
			ring[(tail + i) % sizeof(ring)] = b.data[i];
		memset(&record, 0, sizeof(record));
		assert_int_equal(
			dn_perf_record_at(ring, sizeof(ring) - 1, tail, tail + b.len, &record), 48);
		assert_int_equal(record.type, DN_PERF_EXIT);
		assert_int_equal(record.tid, 137);
		assert_int_equal(record.t_ns, 2003);
	}
	assert_int_equal(dn_perf_record_at(ring, sizeof(ring) - 1, 8, 8, &record), 0);
	/* More than the ring holds. */
	assert_int_equal(dn_perf_record_at(ring, sizeof(ring) - 1, 0, 129, &record), -EBADMSG);
}

/* ---- lives ---- */

struct told {
	char text[4096];
	size_t len;
	pid_t survivor;
	uint64_t cpu_ns, blocked_ns; /* of the last that exited */
};

static void say(struct told *told, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	told->len += (size_t)vsnprintf(
		told->text + told->len, sizeof(told->text) - told->len, format, args);
	va_end(args);
	assert_true(told->len < sizeof(told->text));
}

static void say_born(void *arg, pid_t pid, pid_t ppid, uint64_t t_ns)
{
	say(arg, "born %d of %d at %llu;", pid, ppid, (unsigned long long)t_ns);
}

static void say_exec(void *arg, pid_t pid, const char *name, size_t len, uint64_t t_ns)
{
	say(arg, "exec %d %.*s at %llu;", pid, (int)len, name, (unsigned long long)t_ns);
}

static void say_renamed(void *arg, pid_t pid, const char *name, size_t len)
{
	say(arg, "name %d %.*s;", pid, (int)len, name);
}

static void say_exited(void *arg, const struct dn_perf_life *life, uint64_t t_ns)
{
	struct told *told = arg;

	told->cpu_ns = life->cpu_ns;
	told->blocked_ns = life->blocked_ns;
	say(arg, "exit %d at %llu;", life->pid, (unsigned long long)t_ns);
}

static bool say_survives(void *arg, pid_t pid, uint64_t t_ns)
{
	return ((struct told *)arg)->survivor == pid;
}

static void say_taken(void *arg, pid_t pid)
{
	say(arg, "taken %d;", pid);
}

static const struct dn_perf_lives_ops say_ops = {
	.born = say_born,
	.exec = say_exec,
	.renamed = say_renamed,
	.exited = say_exited,
	.survives = say_survives,
	.taken = say_taken,
};

static struct dn_perf_lives *lives_new(struct told *told, bool foreign, bool no_children)
{
	struct dn_perf_lives_config config = {
		.ops = &say_ops, .arg = told, .foreign = foreign, .no_children = no_children};
	struct dn_perf_lives *lives = NULL;

	memset(told, 0, sizeof(*told));
	assert_int_equal(dn_perf_lives_new(&config, &lives), 0);
	return lives;
}

static void feed_task(struct dn_perf_lives *lives, enum dn_perf_record_type type, pid_t pid,
	pid_t ppid, pid_t tid, uint64_t t_ns)
{
	struct dn_perf_record record = {
		.type = type, .pid = pid, .ppid = ppid, .tid = tid, .t_ns = t_ns};

	dn_perf_lives_feed(lives, &record);
}

static void feed_switch(
	struct dn_perf_lives *lives, pid_t pid, pid_t tid, bool out, bool preempt, uint64_t t_ns)
{
	struct dn_perf_record record = {.type = DN_PERF_SWITCH,
		.pid = pid,
		.tid = tid,
		.t_ns = t_ns,
		.out = out,
		.preempt = preempt};

	dn_perf_lives_feed(lives, &record);
}

static void feed_comm(struct dn_perf_lives *lives, pid_t pid, pid_t tid, const char *name,
	bool exec, uint64_t t_ns)
{
	struct dn_perf_record record = {
		.type = DN_PERF_COMM, .pid = pid, .tid = tid, .t_ns = t_ns, .exec = exec};

	record.comm_len = strlen(name);
	memcpy(record.comm, name, record.comm_len);
	dn_perf_lives_feed(lives, &record);
	if (exec)
		feed_task(lives, DN_PERF_MMAP, pid, 0, tid, t_ns);
}

static void test_lives_run(void **state)
{
	struct told told;
	struct dn_perf_lives *lives = lives_new(&told, false, false);

	/* The gated child: what comes before its exec does not count. */
	assert_int_equal(dn_perf_lives_add(lives, 11, 11, false, true, 1), 0);
	feed_comm(lives, 11, 11, "make", true, 100);
	feed_task(lives, DN_PERF_FORK, 13, 11, 13, 110);
	feed_switch(lives, 11, 11, true, false, 117); /* 17 ns on the CPU, then it waits */
	feed_switch(lives, 13, 13, false, false, 119);
	feed_comm(lives, 13, 13, "cc1", true, 120);
	feed_switch(lives, 13, 13, true, true, 130); /* preempted: not its own will */
	feed_switch(lives, 13, 13, false, false, 137);
	assert_int_equal(dn_perf_lives_blocked(lives, 140), 23); /* 11, since 117 */
	feed_task(lives, DN_PERF_EXIT, 13, 11, 13, 150);
	assert_int_equal(told.cpu_ns, 11 + 13);
	assert_int_equal(told.blocked_ns, 0);
	feed_switch(lives, 11, 11, false, false, 160);
	feed_task(lives, DN_PERF_EXIT, 11, 1, 11, 163);
	assert_int_equal(told.cpu_ns, 17 + 3);
	assert_int_equal(told.blocked_ns, 43);
	assert_int_equal(dn_perf_lives_blocked(lives, 1000), 43);
	assert_string_equal(told.text,
		"exec 11 make at 100;born 13 of 11 at 110;exec 13 cc1 at 120;"
		"exit 13 at 150;exit 11 at 163;");
	assert_int_equal(dn_perf_lives_threads(lives), 0);
	dn_perf_lives_free(lives);
}

static void test_lives_threads(void **state)
{
	struct told told;
	struct dn_perf_lives *lives = lives_new(&told, false, false);

	assert_int_equal(dn_perf_lives_add(lives, 17, 17, false, true, 1), 0);
	feed_comm(lives, 17, 17, "java", true, 10);
	feed_task(lives, DN_PERF_FORK, 17, 17, 19, 20);
	feed_task(lives, DN_PERF_FORK, 17, 17, 23, 21);
	assert_int_equal(dn_perf_lives_threads(lives), 3);
	feed_comm(lives, 17, 19, "worker", false, 22); /* a thread's name is not the process's */
	feed_comm(lives, 17, 17, "main", false, 23);
	/* The leader ends first: the process lives while a thread does. */
	feed_task(lives, DN_PERF_EXIT, 17, 1, 17, 30);
	assert_null(strstr(told.text, "exit"));
	/* Thread 23 execs: it takes the leader's number, 19 ends. */
	feed_task(lives, DN_PERF_EXIT, 17, 1, 19, 40);
	feed_comm(lives, 17, 17, "sh", true, 50);
	assert_int_equal(dn_perf_lives_threads(lives), 1);
	assert_false(dn_perf_lives_has(lives, 23));
	feed_task(lives, DN_PERF_EXIT, 17, 1, 17, 60);
	assert_string_equal(
		told.text, "exec 17 java at 10;name 17 main;exec 17 sh at 50;exit 17 at 60;");
	dn_perf_lives_free(lives);
}

static void test_lives_taken(void **state)
{
	struct told told;
	struct dn_perf_lives *lives = lives_new(&told, false, false);
	struct dn_perf_record exec = {
		.type = DN_PERF_COMM, .pid = 29, .tid = 29, .t_ns = 10, .exec = true};

	/* An exec after which nothing is mapped: the kernel took the events. */
	assert_int_equal(dn_perf_lives_add(lives, 29, 29, false, true, 1), 0);
	told.survivor = 29;
	dn_perf_lives_feed(lives, &exec);
	feed_task(lives, DN_PERF_EXIT, 29, 1, 29, 11);
	assert_non_null(strstr(told.text, "taken 29;"));
	assert_null(strstr(told.text, "exit"));
	dn_perf_lives_sweep(lives, false, 20);
	assert_null(strstr(told.text, "exit"));
	told.survivor = 0;
	dn_perf_lives_sweep(lives, false, 31);
	assert_non_null(strstr(told.text, "exit 29 at 31;"));
	/* One that went before anybody looked. */
	feed_task(lives, DN_PERF_FORK, 31, 1, 31, 40);
	exec.pid = exec.tid = 31;
	dn_perf_lives_feed(lives, &exec);
	feed_task(lives, DN_PERF_EXIT, 31, 1, 31, 41);
	assert_non_null(strstr(told.text, "taken 31;exit 31 at 41;"));
	dn_perf_lives_free(lives);
}

static void test_lives_losses(void **state)
{
	struct told told;
	struct dn_perf_lives *lives = lives_new(&told, false, false);

	assert_int_equal(dn_perf_lives_add(lives, 37, 37, false, true, 1), 0);
	feed_comm(lives, 37, 37, "a", true, 10);
	/* The birth was lost: the first record of it is as good. */
	feed_switch(lives, 41, 41, false, false, 20);
	assert_non_null(strstr(told.text, "born 41 of 0 at 20;"));
	/* Two CPUs' clocks: the birth is told after the first switch. Not a second process. */
	feed_task(lives, DN_PERF_FORK, 41, 37, 41, 21);
	assert_null(strstr(told.text, "exit"));
	feed_task(lives, DN_PERF_EXIT, 41, 37, 41, 29);
	/* The end was lost, and the number is used again. */
	feed_task(lives, DN_PERF_FORK, 43, 37, 43, 30);
	feed_task(lives, DN_PERF_FORK, 43, 37, 43, 40);
	assert_non_null(
		strstr(told.text, "born 43 of 37 at 30;exit 43 at 40;born 43 of 37 at 40;"));
	/* A sweep doubts once before it believes: the last records may not be read yet. */
	told.survivor = 37;
	told.len = 0;
	told.text[0] = '\0';
	dn_perf_lives_sweep(lives, true, 50);
	assert_string_equal(told.text, "");
	dn_perf_lives_sweep(lives, true, 53);
	assert_string_equal(told.text, "exit 43 at 53;");
	/* Nobody of our namespace. */
	feed_switch(lives, 0, 0, false, false, 60);
	feed_switch(lives, -1, -1, false, false, 61);
	assert_int_equal(dn_perf_lives_threads(lives), 1);
	dn_perf_lives_free(lives);
}

static void test_lives_foreign(void **state)
{
	struct told told;
	struct dn_perf_lives *lives = lives_new(&told, true, false);

	assert_int_equal(dn_perf_lives_add(lives, 47, 47, true, false, 100), 0);
	assert_int_equal(dn_perf_lives_blocked(lives, 107), 7);
	/* Strangers' records. */
	feed_switch(lives, 53, 53, false, false, 110);
	feed_task(lives, DN_PERF_FORK, 59, 53, 59, 111);
	feed_comm(lives, 53, 53, "x", true, 112);
	feed_task(lives, DN_PERF_EXIT, 53, 1, 53, 113);
	assert_string_equal(told.text, "");
	feed_task(lives, DN_PERF_FORK, 61, 47, 61, 120);
	assert_string_equal(told.text, "born 61 of 47 at 120;");
	dn_perf_lives_free(lives);

	/* A thread that ran already when measuring began: its first record is a switch out. */
	lives = lives_new(&told, true, false);
	assert_int_equal(dn_perf_lives_add(lives, 67, 67, false, false, 200), 0);
	feed_switch(lives, 67, 67, true, false, 213);
	feed_task(lives, DN_PERF_EXIT, 67, 1, 67, 220);
	assert_int_equal(told.cpu_ns, 13);
	assert_int_equal(told.blocked_ns, 7);
	dn_perf_lives_free(lives);
}

static void test_lives_no_children(void **state)
{
	struct told told;
	struct dn_perf_lives *lives = lives_new(&told, false, true);

	assert_int_equal(dn_perf_lives_add(lives, 71, 71, false, true, 1), 0);
	feed_task(lives, DN_PERF_FORK, 73, 71, 73, 10);
	feed_switch(lives, 73, 73, false, false, 11);
	feed_task(lives, DN_PERF_FORK, 71, 71, 79, 12);
	assert_int_equal(dn_perf_lives_threads(lives), 2);
	assert_string_equal(told.text, "");
	dn_perf_lives_free(lives);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_records),
		cmocka_unit_test(test_ring_wrap),
		cmocka_unit_test(test_lives_run),
		cmocka_unit_test(test_lives_threads),
		cmocka_unit_test(test_lives_taken),
		cmocka_unit_test(test_lives_losses),
		cmocka_unit_test(test_lives_foreign),
		cmocka_unit_test(test_lives_no_children),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

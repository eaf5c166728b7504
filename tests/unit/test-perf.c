/* SPDX-License-Identifier: Apache-2.0 */
/* The perf backend without a kernel: scaling, groups, records, the lives they tell of, names,
 * sysfs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <linux/perf_event.h>

#include "counters.h"
#include "lives.h"
#include "names.h"
#include "pmu.h"
#include "record.h"
#include "tasks.h"

/* ---- scaling ---- */

static void test_scale(void **state)
{
	assert_int_equal(dn_perf_scale(7, 13, 13), 7);
	assert_int_equal(dn_perf_scale(1000003, 2000, 1000), 2000006);
	assert_int_equal(dn_perf_scale(101, 7, 3), 235); /* 235.67: never more than was counted */
	/* The product needs more than 64 bits. */
	assert_true(dn_perf_scale(UINT64_C(1) << 62, UINT64_C(3) << 40, UINT64_C(2) << 40) ==
		    UINT64_C(6917529027641081856));
	assert_true(dn_perf_scale(UINT64_MAX, 3, 2) == UINT64_MAX);
	assert_int_equal(dn_perf_scale(0, 5, 3), 0);
	/* Nothing is known then; the caller leaves the value out. */
	assert_int_equal(dn_perf_scale(5, 3, 0), 5);
	/* Clocks that ran past each other scale nothing down. */
	assert_int_equal(dn_perf_scale(17, 5, 7), 17);
}

static void test_decode_group(void **state)
{
	const uint64_t words[] = {2, 1009, 503, 31, 37};
	uint64_t value[4] = {0}, enabled = 0, running = 0;

	assert_int_equal(dn_perf_group_decode(words, 5, 2, value, &enabled, &running), 0);
	assert_int_equal(enabled, 1009);
	assert_int_equal(running, 503);
	assert_int_equal(value[0], 31);
	assert_int_equal(value[1], 37);
	assert_int_equal(dn_perf_group_decode(words, 5, 3, value, &enabled, &running), -EBADMSG);
	assert_int_equal(dn_perf_group_decode(words, 4, 2, value, &enabled, &running), -EBADMSG);
	assert_int_equal(dn_perf_group_decode(words, 0, 2, value, &enabled, &running), -EBADMSG);
}

static void test_combine(void **state)
{
	struct dn_perf_slot whole = {
		.raw = 11, .scaled = 11, .enabled_ns = 97, .running_ns = 97, .n_read = 1};
	struct dn_perf_slot turns = {
		.raw = 11, .scaled = 23, .enabled_ns = 97, .running_ns = 47, .n_read = 1};
	struct dn_perf_slot never = {.enabled_ns = 97, .n_read = 1, .n_unscheduled = 1};
	struct dn_perf_slot asleep = {.n_read = 1};
	const struct dn_perf_slot *one[] = {&whole};
	struct dn_perf_sum sum = dn_perf_combine(one, 1);

	assert_true(sum.known && !sum.scaled && !sum.partial);
	assert_int_equal(sum.value, 11);
	one[0] = &turns;
	sum = dn_perf_combine(one, 1);
	assert_true(sum.known && sum.scaled);
	assert_int_equal(sum.value, 23);
	one[0] = &never;
	assert_false(dn_perf_combine(one, 1).known);
	/* A task that did not run yet counted 0: that is a measurement. */
	one[0] = &asleep;
	sum = dn_perf_combine(one, 1);
	assert_true(sum.known && !sum.scaled);
	assert_int_equal(sum.value, 0);
}

static void test_combine_hybrid(void **state)
{
	/* Each ran while the task was on its kind of CPU: together all the time. */
	struct dn_perf_slot big = {
		.raw = 701, .enabled_ns = 100003, .running_ns = 60002, .n_read = 1};
	struct dn_perf_slot small = {
		.raw = 211, .enabled_ns = 100003, .running_ns = 40001, .n_read = 1};
	const struct dn_perf_slot *both[] = {&big, &small};
	struct dn_perf_sum sum = dn_perf_combine(both, 2);

	assert_true(sum.known && !sum.scaled);
	assert_int_equal(sum.value, 912);
	/* Multiplexed as well: half of the time on no PMU at all. */
	big.running_ns = 30001;
	small.running_ns = 20000;
	sum = dn_perf_combine(both, 2);
	assert_true(sum.known && sum.scaled);
	assert_int_equal(sum.value, dn_perf_scale(912, 100003, 50001));
	big.running_ns = small.running_ns = 0;
	assert_false(dn_perf_combine(both, 2).known);
}

/* ---- groups ---- */

struct fake_pmu {
	unsigned counters; /* that one group may have */
	uint64_t absent; /* config that it does not know */
	int refuse_kernel; /* what exclude_kernel = 0 answers */
	int fail_at, fail_with; /* the n-th call */
	int calls;
	unsigned group_of[256]; /* by descriptor: members of the group that it leads */
};

static int fake_open(void *arg, const struct perf_event_attr *attr, pid_t tid, int cpu, int leader)
{
	struct fake_pmu *pmu = arg;
	int fd;

	pmu->calls++;
	if (pmu->fail_at == pmu->calls)
		return pmu->fail_with;
	if (!attr->exclude_kernel && pmu->refuse_kernel)
		return pmu->refuse_kernel;
	if (attr->config == pmu->absent)
		return -ENOENT;
	assert_true(attr->inherit);
	assert_int_equal(attr->disabled, leader < 0);
	assert_true(attr->read_format & PERF_FORMAT_TOTAL_TIME_RUNNING);
	if (leader >= 0 && pmu->group_of[leader] >= pmu->counters)
		return -EINVAL;
	fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	assert_in_range(fd, 0, 255);
	pmu->group_of[leader < 0 ? fd : leader] = leader < 0 ? 1 : pmu->group_of[leader] + 1;
	return fd;
}

static unsigned n_descriptors(void)
{
	unsigned n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static void specs(struct dn_perf_spec *spec, unsigned n)
{
	memset(spec, 0, n * sizeof(*spec));
	for (unsigned i = 0; i < n; i++) {
		spec[i].attr.type = PERF_TYPE_HARDWARE;
		spec[i].attr.config = 100 + i;
		spec[i].metric = i;
		spec[i].own_row = spec[i].proof = -1;
	}
}

static struct dn_perf_counters *counters_new(
	struct fake_pmu *pmu, const struct dn_perf_tasks *tasks)
{
	struct dn_perf_counters *counters = malloc(sizeof(*counters));

	assert_non_null(counters);
	dn_perf_counters_init(counters, tasks, true, false);
	counters->open = fake_open;
	counters->open_arg = pmu;
	return counters;
}

static void test_groups(void **state)
{
	struct dn_perf_task task[] = {{.pid = 3, .tid = 3}, {.pid = 3, .tid = 5}};
	struct dn_perf_tasks tasks = {.task = task, .n = 2};
	struct fake_pmu pmu = {.counters = 2};
	struct dn_perf_counters *counters = counters_new(&pmu, &tasks);
	unsigned before = n_descriptors();
	struct dn_perf_spec spec[3];

	/* Three events on a PMU of two counters: two groups, on each of two threads. */
	specs(spec, 3);
	assert_int_equal(dn_perf_counters_add(counters, spec, 3), 0);
	assert_int_equal(counters->n_groups, 2);
	assert_int_equal(counters->group[0].n, 2);
	assert_int_equal(counters->group[1].n, 1);
	assert_int_equal(counters->slot[2].group, 1);
	assert_int_equal(n_descriptors() - before, 6);
	assert_true(dn_perf_counters_fit(counters, spec, 2));
	assert_false(dn_perf_counters_fit(counters, spec, 3));
	assert_int_equal(n_descriptors() - before, 6);
	dn_perf_counters_undo(counters, 2);
	assert_int_equal(counters->n_groups, 1);
	assert_int_equal(n_descriptors() - before, 4);
	dn_perf_counters_close(counters);
	assert_int_equal(n_descriptors(), before);
	free(counters);
}

static void test_groups_absent(void **state)
{
	struct dn_perf_task task[] = {{.pid = 3, .tid = 3}};
	struct dn_perf_tasks tasks = {.task = task, .n = 1};
	struct fake_pmu pmu = {.counters = 4, .absent = 100};
	struct dn_perf_counters *counters = counters_new(&pmu, &tasks);
	unsigned before = n_descriptors();
	struct dn_perf_spec spec[3];

	specs(spec, 3);
	assert_int_equal(dn_perf_counters_add(counters, spec, 3), 0);
	assert_int_equal(counters->slot[0].error, -ENOENT);
	assert_int_equal(counters->slot[1].error, 0);
	assert_int_equal(counters->n_groups, 1);
	assert_int_equal(counters->group[0].n, 2);
	assert_int_equal(counters->slot[2].member, 1);
	dn_perf_counters_close(counters);
	assert_int_equal(n_descriptors(), before);
	free(counters);
}

static void test_groups_user_only(void **state)
{
	struct dn_perf_task task[] = {{.pid = 3, .tid = 3}, {.pid = 3, .tid = 5}};
	struct dn_perf_tasks tasks = {.task = task, .n = 2};
	struct fake_pmu pmu = {.counters = 4, .refuse_kernel = -EACCES};
	struct dn_perf_counters *counters = counters_new(&pmu, &tasks);
	struct dn_perf_spec spec[2];

	specs(spec, 2);
	assert_int_equal(dn_perf_counters_add(counters, spec, 2), 0);
	assert_int_equal(counters->view, DN_PERF_VIEW_USER);
	/* One refusal, then it is known. */
	assert_int_equal(pmu.calls, 5);
	/* An event that the user wants of the kernel alone would count nothing. */
	spec[0].attr.exclude_user = 1;
	assert_int_equal(dn_perf_counters_add(counters, spec, 1), 2);
	assert_int_equal(counters->slot[2].error, -EACCES);
	dn_perf_counters_close(counters);
	free(counters);
}

static void test_groups_fail_midway(void **state)
{
	struct dn_perf_task task[] = {
		{.pid = 3, .tid = 3}, {.pid = 3, .tid = 5}, {.pid = 7, .tid = 7}};
	struct dn_perf_tasks tasks = {.task = task, .n = 3};
	struct fake_pmu pmu = {.counters = 4, .fail_at = 3, .fail_with = -EMFILE};
	struct dn_perf_counters *counters = counters_new(&pmu, &tasks);
	unsigned before = n_descriptors();
	struct dn_perf_spec spec[1];

	specs(spec, 1);
	assert_int_equal(dn_perf_counters_add(counters, spec, 1), 0);
	assert_int_equal(counters->slot[0].error, -EMFILE);
	assert_int_equal(n_descriptors(), before);
	/* A thread that died is no failure. */
	pmu.fail_at = pmu.calls + 2;
	pmu.fail_with = -ESRCH;
	assert_int_equal(dn_perf_counters_add(counters, spec, 1), 1);
	assert_int_equal(counters->slot[1].error, 0);
	assert_int_equal(n_descriptors() - before, 2);
	dn_perf_counters_close(counters);
	assert_int_equal(n_descriptors(), before);
	free(counters);
}

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

/* ---- names ---- */

static void test_name_list(void **state)
{
	const char *list = "cycles,cpu/event=0x3c,umask=1/u,r1a8";
	char name[40];

	assert_int_equal(dn_perf_names_next(&list, name, sizeof(name)), 1);
	assert_string_equal(name, "cycles");
	assert_int_equal(dn_perf_names_next(&list, name, sizeof(name)), 1);
	assert_string_equal(name, "cpu/event=0x3c,umask=1/u");
	assert_int_equal(dn_perf_names_next(&list, name, sizeof(name)), 1);
	assert_string_equal(name, "r1a8");
	assert_int_equal(dn_perf_names_next(&list, name, sizeof(name)), 0);
	list = ",a";
	assert_int_equal(dn_perf_names_next(&list, name, sizeof(name)), -EINVAL);
	list = "abcdefgh";
	assert_int_equal(dn_perf_names_next(&list, name, 8), -EINVAL);
	dn_perf_names_metric("cpu/event=0x3c,umask=1/u", name, sizeof(name));
	assert_string_equal(name, "cpu_event=0x3c_umask=1_u");
	dn_perf_names_metric("a.b\n", name, sizeof(name));
	assert_string_equal(name, "a_b_");
}

static void test_distance(void **state)
{
	assert_int_equal(dn_perf_names_distance("cycles", "CYCLES", 2), 0);
	assert_int_equal(dn_perf_names_distance("cycels", "cycles", 2), 2);
	assert_int_equal(dn_perf_names_distance("cycle", "cycles", 2), 1);
	assert_int_equal(dn_perf_names_distance("kitten", "sitting", 3), 3);
	assert_int_equal(dn_perf_names_distance("kitten", "sitting", 2), 3);
	assert_int_equal(dn_perf_names_distance("", "abc", 7), 3);
	assert_int_equal(dn_perf_names_distance("a", "abcdef", 2), 3);
}

static void test_encode(void **state)
{
	struct perf_event_attr attr;
	enum dn_perf_name_state known;
	char text[512];

	assert_int_equal(
		dn_perf_names_encode(-1, "r1a8", &attr, text, sizeof(text)), DN_PERF_NAME_OK);
	assert_int_equal(attr.type, PERF_TYPE_RAW);
	assert_int_equal(attr.config, 0x1a8);
	assert_int_equal(dn_perf_names_encode(-1, "cpu/cycles", &attr, text, sizeof(text)),
		DN_PERF_NAME_WRONG);

	/* All tables, so that the test needs no PMU. */
	assert_int_equal(setenv("LIBPFM_ENCODE_INACTIVE", "1", 1), 0);
	known = dn_perf_names_encode(-1, "instructions:u", &attr, text, sizeof(text));
	if (known == DN_PERF_NAME_NO_LIBRARY)
		skip();
	assert_int_equal(known, DN_PERF_NAME_OK);
	assert_int_equal(attr.type, PERF_TYPE_HARDWARE);
	assert_int_equal(attr.config, PERF_COUNT_HW_INSTRUCTIONS);
	assert_true(attr.exclude_kernel && !attr.exclude_user);
	assert_int_equal(dn_perf_names_encode(-1, "cycels", &attr, text, sizeof(text)),
		DN_PERF_NAME_UNKNOWN);
	assert_non_null(strstr(text, "CYCLES"));
	assert_int_equal(dn_perf_names_encode(-1, "xyzzyplugh", &attr, text, sizeof(text)),
		DN_PERF_NAME_UNKNOWN);
	assert_string_equal(text, "");
#if defined(__x86_64__)
	assert_int_equal(dn_perf_names_encode(
				 -1, "spr::MEM_LOAD_RETIRED:L3_MISS", &attr, text, sizeof(text)),
		DN_PERF_NAME_OK);
	assert_int_equal(attr.type, PERF_TYPE_RAW);
	assert_int_equal(attr.config & 0xffff, 0x20d1);
#endif
}

/* ---- sysfs and /proc ---- */

static char root[] = "/tmp/denet-perf-XXXXXX";

static void put_file(const char *path, const char *text)
{
	char full[300], *slash;
	FILE *file;

	(void)snprintf(full, sizeof(full), "%s/%s", root, path);
	for (slash = strchr(full + sizeof(root), '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		assert_true(mkdir(full, 0700) == 0 || errno == EEXIST);
		*slash = '/';
	}
	file = fopen(full, "we");
	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

#define DEVICES "bus/event_source/devices/"

static void test_sysfs(void **state)
{
	struct perf_event_attr attr;
	struct dn_perf_pmu pmu[DN_PERF_PMUS_MAX];
	int fd;

	assert_non_null(mkdtemp(root));
	fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(fd >= 0);
	put_file(DEVICES "cpu_core/type", "4\n");
	put_file(DEVICES "cpu_core/cpus", "0-15\n");
	put_file(DEVICES "cpu_core/format/event", "config:0-7,32-35\n");
	put_file(DEVICES "cpu_core/format/umask", "config:8-15\n");
	put_file(DEVICES "cpu_core/format/ldlat", "config1:0-15\n");
	put_file(DEVICES "cpu_core/format/inv", "config:23\n");
	put_file(DEVICES "cpu_core/events/llc-misses", "event=0x2e,umask=0x41\n");
	/* Alone it is no hybrid machine; uncore PMUs and the like don't make it one. */
	put_file(DEVICES "uncore_imc/type", "23\n");
	put_file(DEVICES "uncore_imc/cpumask", "0\n");
	assert_int_equal(dn_perf_pmus(fd, pmu, DN_PERF_PMUS_MAX), 0);
	put_file(DEVICES "cpu_atom/type", "11\n");
	put_file(DEVICES "cpu_atom/cpus", "16-23\n");
	assert_int_equal(dn_perf_pmus(fd, pmu, DN_PERF_PMUS_MAX), 2);
	assert_string_equal(pmu[0].name, "cpu_core");
	assert_int_equal(pmu[0].type, 4);
	assert_string_equal(pmu[1].name, "cpu_atom");
	assert_int_equal(pmu[1].type, 11);
	assert_int_equal(dn_perf_pmus(-1, pmu, DN_PERF_PMUS_MAX), 0);

	assert_int_equal(
		dn_perf_pmu_encode(fd, "cpu_core/event=0x53c,umask=7,inv,ldlat=31/", &attr), 0);
	assert_int_equal(attr.type, 4);
	assert_true(attr.config == UINT64_C(0x50080073c));
	assert_int_equal(attr.config1, 31);
	assert_int_equal(dn_perf_pmu_encode(fd, "cpu_core/llc-misses/u", &attr), 0);
	assert_int_equal(attr.config, 0x412e);
	assert_true(attr.exclude_kernel && !attr.exclude_user);
	assert_int_equal(dn_perf_pmu_encode(fd, "cpu_atom/config=0x1d,config2=3/k", &attr), 0);
	assert_int_equal(attr.config, 0x1d);
	assert_int_equal(attr.config2, 3);
	assert_true(attr.exclude_user && !attr.exclude_kernel);
	assert_int_equal(dn_perf_pmu_encode(fd, "cpu_core/umask=0x100/", &attr), -E2BIG);
	assert_int_equal(dn_perf_pmu_encode(fd, "cpu_core/nothing/", &attr), -ENOENT);
	assert_int_equal(dn_perf_pmu_encode(fd, "none/event=1/", &attr), -ENOENT);
	assert_int_equal(dn_perf_pmu_encode(fd, "../cpu_core/event=1/", &attr), -EINVAL);
	assert_int_equal(dn_perf_pmu_encode(fd, "cpu_core/../type/", &attr), -EINVAL);
	assert_int_equal(dn_perf_pmu_encode(fd, "cpu_core/event=0x/", &attr), -EINVAL);
	assert_int_equal(dn_perf_pmu_encode(fd, "cpu_core/event=1/z", &attr), -EINVAL);
	close(fd);
}

static void test_cpu_list(void **state)
{
	unsigned cpu[4];

	assert_int_equal(dn_perf_cpu_list_parse("0-1,5\n", cpu, 4), 3);
	assert_int_equal(cpu[0], 0);
	assert_int_equal(cpu[1], 1);
	assert_int_equal(cpu[2], 5);
	assert_int_equal(dn_perf_cpu_list_parse("0-127", cpu, 4), 128);
	assert_int_equal(dn_perf_cpu_list_parse("", cpu, 4), -EINVAL);
	assert_int_equal(dn_perf_cpu_list_parse("3-1", cpu, 4), -EINVAL);
	assert_int_equal(dn_perf_cpu_list_parse("0,", cpu, 4), -EINVAL);
	assert_int_equal(dn_perf_cpu_list_parse("0x1", cpu, 4), -EINVAL);
	assert_int_equal(dn_perf_cpu_list_parse("0-18446744073709551615", cpu, 4), -EINVAL);
}

static void test_tasks(void **state)
{
	const pid_t targets[] = {211, 223};
	struct dn_perf_tasks tasks = {0}, fewer = {0};
	char path[300];
	int fd;

	/* 211 has two threads, the second has the child 223, which is a target as well. */
	put_file("proc/211/task/211/children", "");
	put_file("proc/211/task/211/stat", "211 (a) b) R 1 1");
	put_file("proc/211/task/227/children", "223 229 999 ");
	put_file("proc/211/task/227/stat", "227 (a) S 1 1");
	put_file("proc/223/task/223/children", "");
	put_file("proc/229/task/229/children", "211");
	(void)snprintf(path, sizeof(path), "%s/proc", root);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(dn_perf_tasks_walk(fd, targets, 2, true, true, &tasks), 0);
	assert_int_equal(tasks.n, 4);
	assert_true(tasks.blind); /* the fixture has no children file of ours */
	for (size_t i = 0; i < tasks.n; i++) {
		if (tasks.task[i].tid == 211)
			assert_false(tasks.task[i].blocked);
		if (tasks.task[i].tid == 227)
			assert_true(tasks.task[i].blocked);
		if (tasks.task[i].tid == 229)
			assert_int_equal(tasks.task[i].ppid, 211);
	}
	assert_int_equal(dn_perf_tasks_walk(fd, targets, 1, false, false, &fewer), 0);
	assert_int_equal(fewer.n, 2);
	assert_true(dn_perf_tasks_cover(&tasks, &fewer));
	assert_false(dn_perf_tasks_cover(&fewer, &tasks));
	dn_perf_tasks_finish(&fewer);
	dn_perf_tasks_finish(&tasks);
	close(fd);
}

static int remove_root(void **state)
{
	char command[64];

	(void)snprintf(command, sizeof(command), "rm -rf %s", root);
	return strstr(root, "XXXXXX") ? 0 : system(command);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_scale),
		cmocka_unit_test(test_decode_group),
		cmocka_unit_test(test_combine),
		cmocka_unit_test(test_combine_hybrid),
		cmocka_unit_test(test_groups),
		cmocka_unit_test(test_groups_absent),
		cmocka_unit_test(test_groups_user_only),
		cmocka_unit_test(test_groups_fail_midway),
		cmocka_unit_test(test_records),
		cmocka_unit_test(test_ring_wrap),
		cmocka_unit_test(test_lives_run),
		cmocka_unit_test(test_lives_threads),
		cmocka_unit_test(test_lives_taken),
		cmocka_unit_test(test_lives_losses),
		cmocka_unit_test(test_lives_foreign),
		cmocka_unit_test(test_lives_no_children),
		cmocka_unit_test(test_name_list),
		cmocka_unit_test(test_distance),
		cmocka_unit_test(test_encode),
		cmocka_unit_test(test_sysfs),
		cmocka_unit_test(test_cpu_list),
		cmocka_unit_test(test_tasks),
	};

	return cmocka_run_group_tests(tests, NULL, remove_root);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The procfs backend: its parsers, its sums over a recorded /proc, and real children with known
 * quantities. */
#include "procfs-bench.h"

/* parsers */

#define STAT_TAIL                                                                                  \
	" S 7 11 11 0 -1 4194304 101 103 107 109 113 127 131 137 20 0 5 0 149 4096000 151 "        \
	"18446744073709551615 1 1 140736000 0 0 0\n"

static int stat_of(const char *comm, struct dn_procfs_stat *ret)
{
	char text[512];
	int n = snprintf(text, sizeof(text), "4243 (%s)" STAT_TAIL, comm);

	return dn_procfs_parse_stat(text, (size_t)n, ret);
}

static void stat_fields_are_where_the_kernel_puts_them(void **state)
{
	struct dn_procfs_stat stat;

	assert_int_equal(stat_of("cc1", &stat), 0);
	assert_int_equal(stat.pid, 4243);
	assert_int_equal(stat.ppid, 7);
	assert_int_equal(stat.state, 'S');
	assert_true(stat.minflt == 101 && stat.cminflt == 103 && stat.majflt == 107 &&
		    stat.cmajflt == 109);
	assert_true(
		stat.utime == 113 && stat.stime == 127 && stat.cutime == 131 && stat.cstime == 137);
	assert_int_equal(stat.threads, 5);
	assert_int_equal(stat.start_ticks, 149);
	assert_int_equal(stat.vsize_bytes, 4096000);
	assert_int_equal(stat.rss_pages, 151);
	assert_int_equal(stat.start_stack, 140736000);
}

static void a_name_may_look_like_fields(void **state)
{
	static const char *const names[] = {
		") R 1 1 1 0", "a\nb", "\xf0\x9f\x98", "", "((", "))", "x) S 1 2"};
	struct dn_procfs_stat stat;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		assert_int_equal(stat_of(names[i], &stat), 0);
		assert_int_equal(stat.comm_len, strlen(names[i]));
		assert_memory_equal(stat.comm, names[i], stat.comm_len);
		assert_int_equal(stat.ppid, 7);
		assert_int_equal(stat.cstime, 137);
	}
}

static void a_cut_stat_is_refused_at_every_byte(void **state)
{
	const char *whole = "4243 (cc1)" STAT_TAIL;
	size_t enough = (size_t)(strstr(whole, " 140736000") - whole) + 2;
	struct dn_procfs_stat stat;

	for (size_t len = 0; len < enough; len++) {
		char *text = strndup(whole, len);

		assert_int_equal(dn_procfs_parse_stat(text, len, &stat), -EINVAL);
		free(text);
	}
}

static void numbers_saturate_and_never_wrap(void **state)
{
	static const char text[] = "1 (x) R 1 1 1 0 -1 0 99999999999999999999999 -5 0 0 0 0 -1 0 "
				   "20 0 1 0 1 1 1 1 1 1 1 0";
	struct dn_procfs_stat stat;
	struct dn_procfs_psi psi;

	assert_int_equal(dn_procfs_parse_stat(text, strlen(text), &stat), 0);
	assert_true(stat.minflt == UINT64_MAX);
	assert_true(stat.cminflt == 0 && stat.cutime == 0);
	static const char pressure[] =
		"some avg10=0.00 avg60=0.00 avg300=0.00 total=18446744073709551615\n";
	assert_int_equal(dn_procfs_parse_psi(pressure, strlen(pressure), &psi), 0);
	assert_true(psi.has_some && psi.some_ns == UINT64_MAX && !psi.has_full);
}

static void status_lines_are_found_by_their_start(void **state)
{
	static const char text[] =
		"Name:\tVmHWM: 1 kB\nState:\tS (sleeping)\nVmHWM:\t    1019 kB\nVmSwap:\t      13 "
		"kB\n"
		"Threads:\t3\nSigIgn:\t0000000000010000\n"
		"voluntary_ctxt_switches:\t1009\nnonvoluntary_ctxt_switches:\t1013\n";
	static const char zombie[] =
		"Name:\tx\nState:\tZ (zombie)\nThreads:\t1\nSigIgn:\t0000000000000000\n";
	struct dn_procfs_status status;

	assert_int_equal(dn_procfs_parse_status(text, strlen(text), &status), 0);
	assert_true(status.has_hwm && status.hwm_bytes == 1019 * 1024);
	assert_true(status.has_swap && status.swap_bytes == 13 * 1024);
	assert_true(status.has_threads && status.threads == 3);
	assert_true(status.has_ignored && status.ignored >> (SIGCHLD - 1) == 1);
	assert_true(status.has_switches && status.voluntary == 1009 && status.involuntary == 1013);
	assert_int_equal(dn_procfs_parse_status(zombie, strlen(zombie), &status), 0);
	assert_false(status.has_hwm || status.has_switches);
	assert_int_equal(dn_procfs_parse_status("", 0, &status), -EINVAL);
}

static void io_is_whole_or_nothing(void **state)
{
	static const char text[] =
		"rchar: 2\nwchar: 3\nsyscr: 5\nsyscw: 7\nread_bytes: 11\nwrite_bytes: 13\n"
		"cancelled_write_bytes: 17\n";
	uint64_t io[DN_PROCFS_IO_N];

	assert_int_equal(dn_procfs_parse_io(text, strlen(text), io), 0);
	assert_true(io[DN_PROCFS_IO_RCHAR] == 2 && io[DN_PROCFS_IO_SYSCW] == 7 &&
		    io[DN_PROCFS_IO_CANCELLED] == 17);
	assert_int_equal(dn_procfs_parse_io(text, strlen(text) - 27, io), -EINVAL);
}

static void cgroup_and_smaps_texts(void **state)
{
	static const char cpu[] =
		"usage_usec 1237\nuser_usec 1\nnr_throttled 19\nthrottled_usec 23\n";
	static const char smaps[] = "00400000-7fff r--p 00000000 00:00 0 [rollup]\nRss: 8 kB\nPss: "
				    "29 kB\nPss_Dirty: 1 kB\n";
	struct dn_procfs_schedstat schedstat;
	uint64_t value;

	assert_int_equal(dn_procfs_parse_keyed(cpu, strlen(cpu), "usage_usec", &value), 0);
	assert_int_equal(value, 1237);
	assert_int_equal(dn_procfs_parse_keyed(cpu, strlen(cpu), "nr_throttled", &value), 0);
	assert_int_equal(value, 19);
	assert_int_equal(dn_procfs_parse_keyed(cpu, strlen(cpu), "nr_bursts", &value), -EINVAL);
	assert_int_equal(dn_procfs_parse_keyed("max\n", 4, NULL, &value), -EINVAL);
	assert_int_equal(dn_procfs_parse_keyed("31\n", 3, NULL, &value), 0);
	assert_int_equal(value, 31);
	assert_int_equal(dn_procfs_parse_pss(smaps, strlen(smaps), &value), 0);
	assert_int_equal(value, 29 * 1024);
	assert_int_equal(dn_procfs_parse_schedstat("37 41 43\n", 9, &schedstat), 0);
	assert_true(schedstat.run_ns == 37 && schedstat.delay_ns == 41 && schedstat.slices == 43);
	assert_int_equal(dn_procfs_parse_schedstat("37 41", 5, &schedstat), -EINVAL);
}

static void a_pid_at_the_end_of_a_piece_waits_for_the_rest(void **state)
{
	size_t position = 0;
	pid_t pid;

	assert_int_equal(dn_procfs_next_pid("101 10", 6, false, &position, &pid), 1);
	assert_int_equal(pid, 101);
	assert_int_equal(dn_procfs_next_pid("101 10", 6, false, &position, &pid), 0);
	assert_int_equal(position, 4);
	assert_int_equal(dn_procfs_next_pid("101 10", 6, true, &position, &pid), 1);
	assert_int_equal(pid, 10);
	position = 0;
	assert_int_equal(dn_procfs_next_pid("x", 1, true, &position, &pid), -EINVAL);
	assert_int_equal(dn_procfs_next_pid("99999999999", 11, true, &position, &pid), -EINVAL);
}

static void a_reaped_child_is_counted_once(void **state)
{
	char root[] = "/tmp/denet-procfs-XXXXXX";
	struct bench b;

	assert_non_null(mkdtemp(root));
	record(root, 101, 1, 1000, 0, 10, 0, 500);
	record(root, 103, 101, 100, 0, 2, 0, 70);
	children(root, 101, "103");
	children(root, 103, "");
	start(&b, root, 101, false, true);
	assert_int_equal(
		dn_tree_live(b.core.tree), 2); /* the walk found the child, with a baseline */
	record(root, 101, 1, 1007, 0, 11, 0, 511);
	record(root, 103, 101, 113, 0, 5, 0, 83);
	sample(&b, true);
	assert_int_equal(value(&b, DN_M_memory_minor_faults), 7 + 13);
	assert_int_equal(value(&b, DN_M_cpu_total_ns), (1 + 3) * UINT64_C(10000000));
	assert_int_equal(value(&b, DN_M_io_write_chars), 11 + 13);
	assert_int_equal(value(&b, DN_M_memory_rss_bytes), 2 * 3 * 4096);
	/* The child does 4 faults more, ends and is reaped: all of it is its parent's now. */
	forget_recording(root, "/103");
	children(root, 101, "");
	record(root, 101, 1, 1007, 117, 11, 6, 511 + 90);
	b.backend->ops->drain(b.backend);
	dn_tree_exit(b.core.tree, 103, dn_now_ns());
	sample(&b, true);
	assert_int_equal(value(&b, DN_M_memory_minor_faults), 7 + 17);
	assert_int_equal(value(&b, DN_M_cpu_total_ns), (1 + 4) * UINT64_C(10000000));
	assert_int_equal(value(&b, DN_M_io_write_chars), 11 + 20);
	finish(&b);
	forget_recording(root, "");
}

static void a_zombie_counts_until_its_parent_has_it(void **state)
{
	char root[] = "/tmp/denet-procfs-XXXXXX";
	struct bench b;

	assert_non_null(mkdtemp(root));
	record(root, 101, 1, 1000, 0, 10, 0, 500);
	record(root, 103, 101, 100, 0, 2, 0, 70);
	children(root, 101, "103");
	children(root, 103, "");
	start(&b, root, 101, false, true);
	record(root, 103, 101, 117, 0, 5, 0, 83);
	dn_tree_exit(b.core.tree, 103, dn_now_ns());
	sample(&b, true);
	assert_int_equal(value(&b, DN_M_memory_minor_faults), 17);
	forget_recording(root, "/103");
	record(root, 101, 1, 1000, 117, 10, 5, 500 + 83);
	sample(&b, true);
	assert_int_equal(value(&b, DN_M_memory_minor_faults), 17);
	assert_int_equal(value(&b, DN_M_cpu_total_ns), 3 * UINT64_C(10000000));
	finish(&b);
	forget_recording(root, "");
}

static void a_counter_never_falls_and_absence_is_no_zero(void **state)
{
	char root[] = "/tmp/denet-procfs-XXXXXX";
	struct bench b;

	assert_non_null(mkdtemp(root));
	record(root, 101, 1, 1000, 0, 10, 0, 500);
	children(root, 101, "");
	start(&b, root, 101, false, true);
	record(root, 101, 1, 1013, 0, 13, 0, 517);
	sample(&b, true);
	assert_int_equal(value(&b, DN_M_memory_minor_faults), 13);
	record(root, 101, 1, 900, 0, 3, 0, 517);
	sample(&b, true);
	assert_int_equal(value(&b, DN_M_memory_minor_faults), 13);
	assert_int_equal(value(&b, DN_M_cpu_total_ns), 30000000);
	/* The whole process is gone: its memory is not 0, there is none to speak of. */
	forget_recording(root, "/101");
	sample(&b, true);
	assert_false(dn_frame_has(&b.frame, DN_M_memory_rss_bytes));
	finish(&b);
	forget_recording(root, "");
}

/* real children */

static pid_t spawn(int gate[2], void (*body)(void))
{
	pid_t pid;
	char go;

	assert_int_equal(pipe2(gate, O_CLOEXEC), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		close(gate[1]);
		if (read(gate[0], &go, 1) != 1)
			_exit(1);
		body();
		_exit(0);
	}
	close(gate[0]);
	return pid;
}

static void open_gate(int gate[2])
{
	assert_int_equal(write(gate[1], "", 1), 1);
	close(gate[1]);
}

/* What the core does: ZOMBIE, wait4, REAPED, EXITED; noise stands for what other backends do in
 * between. */
static struct rusage reap(struct bench *b, pid_t pid, void (*noise)(void))
{
	struct dn_process *process = dn_tree_find(b->core.tree, pid);
	struct rusage rusage;
	siginfo_t info;
	int status;

	assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
	tell(b, DN_PROCESS_ZOMBIE, process, pid, NULL);
	if (noise)
		noise();
	assert_int_equal(wait4(pid, &status, 0, &rusage), pid);
	tell(b, DN_PROCESS_REAPED, process, pid, &rusage);
	dn_tree_reaped(b->core.tree, pid, status, dn_now_ns());
	return rusage;
}

static uint64_t cpu_of(const struct rusage *r)
{
	return (uint64_t)(r->ru_utime.tv_sec + r->ru_stime.tv_sec) * UINT64_C(1000000000) +
	       (uint64_t)(r->ru_utime.tv_usec + r->ru_stime.tv_usec) * 1000;
}

static void write_to_null(size_t bytes)
{
	static char data[20011];
	int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, data, bytes) != (ssize_t)bytes)
		_exit(1);
	close(fd);
}

static void write_a_prime(void)
{
	pid_t child = fork();

	write_to_null(10007);
	if (child == 0)
		_exit(0);
	waitpid(child, NULL, 0);
}

static void write_noise(void)
{
	char data[64];
	int fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);

	write_to_null(4099);
	assert_int_equal(read(fd, data, sizeof(data)), (ssize_t)sizeof(data));
	close(fd);
}

static void io_of_what_was_reaped_is_exact(void **state)
{
	struct bench b;
	int gate[2];
	pid_t pid = spawn(gate, write_a_prime);
	struct rusage rusage;

	start(&b, NULL, pid, false, false);
	if (b.probe.offer[DN_M_io_write_chars].fact != DN_FACT_OK) {
		finish(&b);
		open_gate(gate);
		waitpid(pid, NULL, 0);
		skip();
	}
	assert_int_equal(b.probe.offer[DN_M_io_write_chars].quality, DN_QUALITY_EXACT);
	open_gate(gate);
	rusage = reap(&b, pid, write_noise);
	sample(&b, true);
	assert_int_equal(value(&b, DN_M_io_write_chars), 2 * 10007);
	assert_int_equal(value(&b, DN_M_io_write_calls), 2);
	assert_int_equal(value(&b, DN_M_io_read_chars), 1);
	assert_int_equal(value(&b, DN_M_io_read_calls), 1);
	assert_true(value(&b, DN_M_cpu_total_ns) <= cpu_of(&rusage));
	assert_true(value(&b, DN_M_cpu_total_ns) > 0);
	assert_true(value(&b, DN_M_memory_minor_faults) <= (uint64_t)rusage.ru_minflt);
	assert_int_equal(b.quality[DN_M_io_write_chars], DN_QUALITY_EXACT);
	/* Nobody is left: memory has no value, and nothing is 0 for want of knowledge. */
	assert_false(dn_frame_has(&b.frame, DN_M_memory_rss_bytes));
	finish(&b);
}

static void live_and_reaped_values_never_add_up_to_more_than_the_end(void **state)
{
	struct bench b;
	int gate[2];
	pid_t pid = spawn(gate, write_a_prime);
	uint64_t seen = 0, cpu = 0;
	siginfo_t info = {0};

	start(&b, NULL, pid, false, false);
	open_gate(gate);
	while (info.si_pid == 0) {
		sample(&b, false);
		if (dn_frame_has(&b.frame, DN_M_io_write_chars)) {
			assert_true(value(&b, DN_M_io_write_chars) >= seen);
			seen = value(&b, DN_M_io_write_chars);
		}
		assert_true(value(&b, DN_M_cpu_total_ns) >= cpu);
		cpu = value(&b, DN_M_cpu_total_ns);
		assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT | WNOHANG), 0);
	}
	struct rusage rusage = reap(&b, pid, NULL);
	sample(&b, true);
	assert_true(seen <= 2 * 10007);
	/* rusage is cut to microseconds, user and system apart. */
	assert_true(cpu <= cpu_of(&rusage) + 2000);
	finish(&b);
}

static void ignore_sigchld(void)
{
	pid_t child;

	signal(SIGCHLD, SIG_IGN);
	child = fork();
	if (child == 0)
		_exit(0);
	waitpid(child, NULL, 0); /* ECHILD when all are gone */
}

static void children_that_the_kernel_reaps_make_a_lower_bound(void **state)
{
	struct bench b;
	int gate[2];
	pid_t pid = spawn(gate, ignore_sigchld);
	siginfo_t info;

	start(&b, NULL, pid, false, false);
	open_gate(gate);
	assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
	/* The process source tells of a child that lived and died: any pid that is nobody's. */
	assert_non_null(dn_tree_fork(b.core.tree, 0x7ffffff1, pid, dn_now_ns(), false));
	dn_tree_exit(b.core.tree, 0x7ffffff1, dn_now_ns());
	reap(&b, pid, NULL);
	assert_int_equal(b.quality[DN_M_cpu_total_ns], DN_QUALITY_LOWER_BOUND);
	assert_int_equal(b.quality[DN_M_io_write_chars], DN_QUALITY_LOWER_BOUND);
	assert_non_null(strstr(b.reason, "ignores SIGCHLD"));
	finish(&b);
}

static void without_children_theirs_is_left_out(void **state)
{
	struct bench b;
	int gate[2];
	pid_t pid = spawn(gate, write_a_prime);
	struct rusage rusage;

	start(&b, NULL, pid, true, false);
	open_gate(gate);
	rusage = reap(&b, pid, NULL);
	sample(&b, true);
	assert_true(value(&b, DN_M_memory_minor_faults) < (uint64_t)rusage.ru_minflt);
	assert_true(value(&b, DN_M_cpu_total_ns) < cpu_of(&rusage));
	assert_int_equal(b.quality[DN_M_cpu_total_ns], DN_QUALITY_EXACT);
	/* Nobody looked before the child was reaped: no value, and not 0. */
	assert_int_equal(b.quality[DN_M_io_write_chars], DN_QUALITY_MISSING);
	assert_false(dn_frame_has(&b.frame, DN_M_io_write_chars));
	finish(&b);
}

static void without_proc_only_the_reaped_is_known(void **state)
{
	char root[] = "/tmp/denet-procfs-XXXXXX";
	struct bench b;
	int gate[2];
	pid_t pid = spawn(gate, write_a_prime);
	struct rusage rusage;
	int fd;

	assert_non_null(mkdtemp(root));
	start(&b, NULL, pid, false, false);
	b.backend->ops->close(b.backend);
	fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(dup2(fd, b.env.proc_fd) >= 0);
	close(fd);
	struct dn_metric_set assigned = {{0}};
	dn_tree_find(b.core.tree, pid)->backend[0] = NULL;
	assert_int_equal(dn_backend_procfs.probe(&b.env, &b.probe, &b.backend), 0);
	assert_int_equal(b.probe.fact, DN_FACT_BROKEN);
	assert_int_equal(b.probe.offer[DN_M_cpu_total_ns].fact, DN_FACT_OK);
	assert_int_equal(b.probe.offer[DN_M_memory_rss_bytes].fact, DN_FACT_BROKEN);
	assert_int_equal(b.probe.offer[DN_M_io_read_bytes].fact, DN_FACT_BROKEN);
	dn_metric_set_add(&assigned, DN_M_cpu_total_ns);
	dn_metric_set_add(&assigned, DN_M_cpu_voluntary_switches);
	b.core.t0_ns = 0;
	assert_int_equal(b.backend->ops->open(b.backend, &assigned, &b.core), 0);
	b.core.t0_ns = dn_now_ns();
	open_gate(gate);
	rusage = reap(&b, pid, NULL);
	sample(&b, true);
	assert_true(value(&b, DN_M_cpu_total_ns) > 0 &&
		    value(&b, DN_M_cpu_total_ns) <= cpu_of(&rusage));
	assert_int_equal(value(&b, DN_M_cpu_voluntary_switches), rusage.ru_nvcsw);
	finish(&b);
	rmdir(root);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(stat_fields_are_where_the_kernel_puts_them),
		cmocka_unit_test(a_name_may_look_like_fields),
		cmocka_unit_test(a_cut_stat_is_refused_at_every_byte),
		cmocka_unit_test(numbers_saturate_and_never_wrap),
		cmocka_unit_test(status_lines_are_found_by_their_start),
		cmocka_unit_test(io_is_whole_or_nothing),
		cmocka_unit_test(cgroup_and_smaps_texts),
		cmocka_unit_test(a_pid_at_the_end_of_a_piece_waits_for_the_rest),
		cmocka_unit_test(a_reaped_child_is_counted_once),
		cmocka_unit_test(a_zombie_counts_until_its_parent_has_it),
		cmocka_unit_test(a_counter_never_falls_and_absence_is_no_zero),
		cmocka_unit_test(io_of_what_was_reaped_is_exact),
		cmocka_unit_test(live_and_reaped_values_never_add_up_to_more_than_the_end),
		cmocka_unit_test(children_that_the_kernel_reaps_make_a_lower_bound),
		cmocka_unit_test(without_children_theirs_is_left_out),
		cmocka_unit_test(without_proc_only_the_reaped_is_known),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

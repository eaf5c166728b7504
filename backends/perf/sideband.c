/* SPDX-License-Identifier: Apache-2.0 */
/* Reads the rings of all CPUs in the order of time and lets the lives follow. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <denet/fs.h>

#include "sideband.h"

/* Flags of /proc/PID/stat: the task is past the point where its events end. */
#define TASK_EXITING 0x4
/* After a loss: looking at every process costs. */
#define SWEEP_INTERVAL_NS UINT64_C(1000000000)

static void set_process_max(struct dn_process *process, unsigned metric, uint64_t value)
{
	int slot = dn_process_slot(metric);

	/* Another source that saw more, or saw it later, is right: time only grows. */
	if (slot >= 0 &&
		(process->value[slot].type != DN_VALUE_U64 || process->value[slot].u64 < value))
		dn_process_u64(process, metric, value);
}

static void put_life(struct dn_perf_sideband *sideband, const struct dn_perf_life *life)
{
	struct dn_process *process = dn_tree_find(sideband->core->tree, life->pid);

	if (!process)
		return;
	set_process_max(process, DN_M_cpu_total_ns, life->cpu_ns);
	set_process_max(process, DN_M_cpu_blocked_ns, life->blocked_ns);
}

static void each_life(void *arg, const struct dn_perf_life *life)
{
	put_life(arg, life);
}

static void on_born(void *arg, pid_t pid, pid_t ppid, uint64_t t_ns)
{
	struct dn_perf_sideband *sideband = arg;

	if (sideband->source)
		(void)dn_tree_fork(sideband->core->tree, pid, ppid, t_ns, !sideband->cpu_wide);
}

static void on_exec(void *arg, pid_t pid, const char *name, size_t len, uint64_t t_ns)
{
	struct dn_perf_sideband *sideband = arg;

	if (sideband->source)
		dn_tree_exec(sideband->core->tree, pid, name, len, t_ns);
}

static void on_renamed(void *arg, pid_t pid, const char *name, size_t len)
{
	struct dn_perf_sideband *sideband = arg;

	if (sideband->source)
		dn_tree_rename(sideband->core->tree, pid, name, len);
}

static void on_exited(void *arg, const struct dn_perf_life *life, uint64_t t_ns)
{
	struct dn_perf_sideband *sideband = arg;

	put_life(sideband, life);
	if (sideband->source)
		dn_tree_exit(sideband->core->tree, life->pid, t_ns);
}

static void on_taken(void *arg, pid_t pid)
{
	struct dn_perf_sideband *sideband = arg;

	sideband->on_taken(sideband->on_taken_arg, pid);
}

/* Skips n space-separated words. */
static const char *skip_words(const char *text, unsigned n)
{
	while (n > 0 && *text) {
		if (*text++ == ' ')
			n--;
	}
	return text;
}

/* The stat line of one that is not about to end, and that was there at t_ns already. */
static bool stat_survives(const char *text, uint64_t t_ns)
{
	const char *state = strrchr(text, ')');
	struct timespec boot;
	uint64_t flags, ticks, start_ns, t_boot_ns;
	const char *p;

	if (!state || state[1] != ' ')
		return false;
	state += 2;
	p = skip_words(state, 6);
	if (*state == 'Z' || *state == 'X' || dn_parse_u64(&p, &flags) < 0 || flags & TASK_EXITING)
		return false;
	p = skip_words(state, 19);
	if (dn_parse_u64(&p, &ticks) < 0 || clock_gettime(CLOCK_BOOTTIME, &boot) < 0)
		return true;
	/* A start after the end that we were told of: the number is used again by somebody else. */
	t_boot_ns = dn_sub_sat(dn_timespec_ns(&boot), dn_sub_sat(dn_now_ns(), t_ns));
	if (__builtin_mul_overflow(
		    ticks, UINT64_C(1000000000) / (uint64_t)sysconf(_SC_CLK_TCK), &start_ns))
		return false;
	return start_ns <= t_boot_ns;
}

static bool survives(void *arg, pid_t pid, uint64_t t_ns)
{
	const struct dn_perf_sideband *sideband = arg;
	char path[32], text[1024];

	if (kill(pid, 0) < 0 && errno == ESRCH)
		return false;
	(void)snprintf(path, sizeof(path), "%d/stat", pid);
	if (dn_read_file_at(sideband->env->proc_fd, path, text, sizeof(text)) > 0)
		return stat_survives(text, t_ns);
	/* Hidden from us (hidepid), or it went just now. */
	return kill(pid, 0) == 0 || errno == EPERM;
}

static const struct dn_perf_lives_ops lives_ops = {
	.born = on_born,
	.exec = on_exec,
	.renamed = on_renamed,
	.exited = on_exited,
	.survives = survives,
	.taken = on_taken,
};

static struct dn_perf_cpu *earliest(struct dn_perf_sideband *sideband, uint64_t until_ns)
{
	struct dn_perf_cpu *best = NULL;
	uint64_t best_ns = 0;

	for (unsigned i = 0; i < sideband->n_cpus; i++) {
		const struct dn_perf_record *record = dn_perf_ring_peek(&sideband->cpu[i].ring);

		if (record && record->t_ns <= until_ns && (!best || record->t_ns < best_ns)) {
			best = &sideband->cpu[i];
			best_ns = record->t_ns;
		}
	}
	return best;
}

/* Everything up to now, in the order of time. */
static uint64_t read_rings(struct dn_perf_sideband *sideband)
{
	struct dn_perf_cpu *cpu;
	uint64_t now_ns;

	/*
	 * First the time, then the heads: whatever was caused by a record that is not in its ring
	 * yet is later than now, so that it waits for the next drain, and so does everything after
	 * it.
	 */
	now_ns = dn_now_ns();
	for (unsigned i = 0; i < sideband->n_cpus; i++)
		dn_perf_ring_begin(&sideband->cpu[i].ring);
	while ((cpu = earliest(sideband, now_ns))) {
		if (cpu->ring.record.type == DN_PERF_LOST)
			sideband->lost_records =
				dn_add_sat(sideband->lost_records, cpu->ring.record.lost);
		else
			dn_perf_lives_feed(sideband->lives, &cpu->ring.record);
		dn_perf_ring_take(&cpu->ring);
	}
	for (unsigned i = 0; i < sideband->n_cpus; i++)
		dn_perf_ring_end(&sideband->cpu[i].ring);
	sideband->drained_ns = now_ns;
	return now_ns;
}

void dn_perf_sideband_drain(struct dn_perf_sideband *sideband)
{
	uint64_t now_ns;

	if (!sideband->lives || sideband->draining)
		return;
	sideband->draining = true;
	now_ns = read_rings(sideband);
	if ((sideband->lost_records > 0 || sideband->lost_told > 0) &&
		now_ns >= sideband->sweep_ns) {
		/* Who is gone at the first look, and whose end is not in the rings after it, had it
		 * lost. */
		dn_perf_lives_sweep(sideband->lives, true, now_ns);
		now_ns = read_rings(sideband);
		dn_perf_lives_sweep(sideband->lives, true, now_ns);
		sideband->sweep_ns = now_ns + SWEEP_INTERVAL_NS;
	} else {
		dn_perf_lives_sweep(sideband->lives, false, now_ns);
	}
	sideband->draining = false;
}

static int on_ring(struct dn_source *source, uint32_t events)
{
	struct dn_perf_cpu *cpu = dn_container_of(source, struct dn_perf_cpu, source);

	dn_perf_sideband_drain(cpu->sideband);
	return 0;
}

static void read_name(struct dn_perf_sideband *sideband, pid_t pid)
{
	char path[32], name[DN_PROCESS_NAME_MAX];
	ssize_t len;

	(void)snprintf(path, sizeof(path), "%d/comm", pid);
	len = dn_read_file_at(sideband->env->proc_fd, path, name, sizeof(name));
	if (len > 0 && name[len - 1] == '\n')
		len--;
	if (len > 0)
		dn_tree_rename(sideband->core->tree, pid, name, (size_t)len);
}

/* Everybody who ran before the events were on: who is started later is told by a record. */
static int enter_running(struct dn_perf_sideband *sideband)
{
	const struct dn_env *env = sideband->env;
	dn_cleanup(dn_perf_tasks_finish) struct dn_perf_tasks tasks = {0};
	uint64_t t_ns = dn_now_ns();
	int r = dn_perf_tasks_walk(
		env->proc_fd, env->targets, env->n_targets, !env->no_children, true, &tasks);

	if (r < 0)
		return r;
	for (size_t i = 0; i < tasks.n; i++) {
		const struct dn_perf_task *task = &tasks.task[i];

		if (sideband->source && (i == 0 || task->pid != tasks.task[i - 1].pid)) {
			(void)dn_tree_fork(sideband->core->tree, task->pid, task->ppid, t_ns, true);
			read_name(sideband, task->pid);
		}
		r = dn_perf_lives_add(
			sideband->lives, task->pid, task->tid, task->blocked, false, t_ns);
		if (r < 0)
			return r;
	}
	return 0;
}

int dn_perf_sideband_start(struct dn_perf_sideband *sideband, struct dn_core *core,
	const struct dn_perf_tasks *tasks, bool source)
{
	const struct dn_perf_lives_config config = {.ops = &lives_ops,
		.arg = sideband,
		.foreign = sideband->cpu_wide,
		.no_children = sideband->env->no_children};
	int r;

	sideband->core = core;
	sideband->source = source;
	sideband->drained_ns = dn_now_ns();
	r = dn_perf_lives_new(&config, &sideband->lives);
	if (r < 0)
		return r;
	if (sideband->env->attach) {
		for (unsigned i = 0; i < sideband->n_cpus; i++) {
			for (size_t k = 0; k < sideband->cpu[i].n_fds; k++) {
				if (sideband->cpu[i].fd[k] >= 0)
					(void)ioctl(
						sideband->cpu[i].fd[k], PERF_EVENT_IOC_ENABLE, 0);
			}
		}
		r = enter_running(sideband);
	} else {
		for (size_t i = 0; i < tasks->n && r >= 0; i++)
			r = dn_perf_lives_add(sideband->lives, tasks->task[i].pid,
				tasks->task[i].tid, false, true, dn_now_ns());
	}
	for (unsigned i = 0; i < sideband->n_cpus && r >= 0; i++) {
		struct dn_perf_cpu *cpu = &sideband->cpu[i];

		cpu->source.dispatch = on_ring;
		/*
		 * Edge-triggered: once its first task has ended the event is hung up for ever, but
		 * it goes on telling when the tree's records fill the ring, and each of these is an
		 * edge.
		 */
		r = dn_loop_add(core->loop, &cpu->source, EPOLLIN | EPOLLET);
	}
	return r;
}

uint64_t dn_perf_sideband_lost(struct dn_perf_sideband *sideband, bool final)
{
	uint64_t lost = 0, counted = 0, fresh;

	for (unsigned i = 0; i < sideband->n_cpus; i++) {
		const struct dn_perf_cpu *cpu = &sideband->cpu[i];

		/* Many events share a ring when attached; then only the last look asks them all. */
		for (size_t k = 0;
			sideband->format_lost && (final || cpu->n_fds == 1) && k < cpu->n_fds;
			k++) {
			uint64_t words[2];

			if (cpu->fd[k] >= 0 && TEMP_FAILURE_RETRY(read(cpu->fd[k], words,
						       sizeof(words))) == sizeof(words))
				counted = dn_add_sat(counted, words[1]);
		}
		lost = dn_add_sat(lost, cpu->ring.broken);
	}
	/* The same losses, told in two ways; only the counter knows of those at the very end. */
	lost = dn_add_sat(
		lost, counted > sideband->lost_records ? counted : sideband->lost_records);
	if (sideband->lives)
		lost = dn_add_sat(lost, dn_perf_lives_lost(sideband->lives));
	fresh = dn_sub_sat(lost, sideband->lost_told);
	sideband->lost_told = dn_add_sat(sideband->lost_told, fresh);
	return fresh;
}

bool dn_perf_sideband_cpus_changed(struct dn_perf_sideband *sideband)
{
	char text[sizeof(sideband->online)];
	ssize_t len;

	if (sideband->online_fd < 0)
		return false;
	len = dn_pread_file(sideband->online_fd, text, sizeof(text));
	if (len < 0 || strcmp(text, sideband->online) == 0)
		return false;
	close(sideband->online_fd);
	sideband->online_fd = -1;
	return true;
}

uint64_t dn_perf_sideband_blocked(const struct dn_perf_sideband *sideband)
{
	return dn_perf_lives_blocked(sideband->lives, sideband->drained_ns);
}

void dn_perf_sideband_per_process(struct dn_perf_sideband *sideband)
{
	dn_perf_lives_each(sideband->lives, sideband->drained_ns, each_life, sideband);
}

void dn_perf_sideband_close(struct dn_perf_sideband *sideband)
{
	for (unsigned i = 0; i < sideband->n_cpus; i++) {
		struct dn_perf_cpu *cpu = &sideband->cpu[i];

		if (sideband->core)
			dn_loop_remove(sideband->core->loop, &cpu->source);
		dn_perf_ring_unmap(&cpu->ring);
		for (size_t k = 0; k < cpu->n_fds; k++) {
			if (cpu->fd[k] >= 0)
				close(cpu->fd[k]);
		}
		free(cpu->fd);
	}
	free(sideband->cpu);
	dn_perf_lives_free(sideband->lives);
	dn_closep(&sideband->online_fd);
	*sideband = (struct dn_perf_sideband){.online_fd = -1};
}

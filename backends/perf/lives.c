/* SPDX-License-Identifier: Apache-2.0 */
/* The state machine of threads and processes behind the sideband. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <denet/fs.h>

#include "lives.h"
#include "pid-map.h"

enum state {
	STATE_BEFORE_EXEC, /* the gated child: nothing counts yet */
	STATE_RUNNABLE, /* off the CPU, waiting for one, or not known to be on it */
	STATE_UNKNOWN, /* was there before us and not asleep: running, if its first record is a
			  switch out */
	STATE_RUNNING,
	STATE_BLOCKED,
};

struct process;

struct thread {
	struct dn_pid_node node; /* first; by tid */
	struct process *process;
	struct thread *prev, *next; /* in its process */
	enum state state;
	uint64_t since_ns;
};

struct process {
	struct dn_pid_node node; /* first; by pid */
	struct thread *first;
	size_t n_threads;
	uint64_t cpu_ns, blocked_ns; /* closed intervals */
	bool announced; /* by a FORK record, or from the start */
	bool exec_unproven; /* execed, and has mapped nothing since */
	bool taken; /* its events are gone, it lives on */
	bool doubted; /* the last sweep found it gone */
};

struct dn_perf_lives {
	struct dn_perf_lives_config config;
	struct dn_pid_map threads, processes;
	size_t n_taken;
	uint64_t lost;
	/* All blocked threads together: closed intervals, and for the open ones their number and
	 * sum of beginnings. */
	uint64_t blocked_ns;
	uint64_t n_blocked;
	unsigned __int128 blocked_since_sum;
};

int dn_perf_lives_new(const struct dn_perf_lives_config *config, struct dn_perf_lives **ret)
{
	struct dn_perf_lives *lives = calloc(1, sizeof(*lives));

	if (!lives)
		return -ENOMEM;
	lives->config = *config;
	*ret = lives;
	return 0;
}

void dn_perf_lives_free(struct dn_perf_lives *lives)
{
	if (!lives)
		return;
	dn_pid_map_finish(&lives->threads);
	dn_pid_map_finish(&lives->processes);
	free(lives);
}

static struct thread *thread_find(const struct dn_perf_lives *lives, pid_t tid)
{
	return (struct thread *)dn_pid_map_find(&lives->threads, tid);
}

static struct process *process_find(const struct dn_perf_lives *lives, pid_t pid)
{
	return (struct process *)dn_pid_map_find(&lives->processes, pid);
}

bool dn_perf_lives_has(const struct dn_perf_lives *lives, pid_t tid)
{
	return thread_find(lives, tid);
}

/* Ends the thread's interval and begins another. */
static void enter(
	struct dn_perf_lives *lives, struct thread *thread, enum state state, uint64_t t_ns)
{
	uint64_t length = dn_sub_sat(t_ns, thread->since_ns);

	if (thread->state == STATE_RUNNING) {
		thread->process->cpu_ns = dn_add_sat(thread->process->cpu_ns, length);
	} else if (thread->state == STATE_BLOCKED) {
		thread->process->blocked_ns = dn_add_sat(thread->process->blocked_ns, length);
		lives->blocked_ns = dn_add_sat(lives->blocked_ns, length);
		lives->blocked_since_sum -= thread->since_ns;
		lives->n_blocked--;
	}
	thread->state = state;
	thread->since_ns = t_ns;
	if (state == STATE_BLOCKED) {
		lives->blocked_since_sum += t_ns;
		lives->n_blocked++;
	}
}

static struct thread *thread_new(
	struct dn_perf_lives *lives, struct process *process, pid_t tid, uint64_t t_ns)
{
	struct thread *thread = calloc(1, sizeof(*thread));

	if (!thread || dn_pid_map_add(&lives->threads, &thread->node, tid) < 0) {
		free(thread);
		lives->lost = dn_add_sat(lives->lost, 1);
		return NULL;
	}
	thread->state = STATE_RUNNABLE;
	thread->since_ns = t_ns;
	thread->process = process;
	thread->next = process->first;
	if (process->first)
		process->first->prev = thread;
	process->first = thread;
	process->n_threads++;
	return thread;
}

static void thread_end(struct dn_perf_lives *lives, struct thread *thread, uint64_t t_ns)
{
	struct process *process = thread->process;

	enter(lives, thread, STATE_RUNNABLE, t_ns);
	if (thread->prev)
		thread->prev->next = thread->next;
	else
		process->first = thread->next;
	if (thread->next)
		thread->next->prev = thread->prev;
	process->n_threads--;
	dn_pid_map_remove(&lives->threads, &thread->node);
	free(thread);
}

static struct process *process_new(struct dn_perf_lives *lives, pid_t pid)
{
	struct process *process = calloc(1, sizeof(*process));

	if (!process || dn_pid_map_add(&lives->processes, &process->node, pid) < 0) {
		free(process);
		lives->lost = dn_add_sat(lives->lost, 1);
		return NULL;
	}
	return process;
}

static void process_end(struct dn_perf_lives *lives, struct process *process, uint64_t t_ns)
{
	struct dn_perf_life life;

	while (process->first)
		thread_end(lives, process->first, t_ns);
	if (process->taken)
		lives->n_taken--;
	life = (struct dn_perf_life){.pid = process->node.pid,
		.cpu_ns = process->cpu_ns,
		.blocked_ns = process->blocked_ns};
	dn_pid_map_remove(&lives->processes, &process->node);
	free(process);
	lives->config.ops->exited(lives->config.arg, &life, t_ns);
}

int dn_perf_lives_add(struct dn_perf_lives *lives, pid_t pid, pid_t tid, bool blocked,
	bool waits_for_exec, uint64_t t_ns)
{
	struct process *process = process_find(lives, pid);
	struct thread *thread;

	if (thread_find(lives, tid))
		return 0;
	if (!process) {
		process = process_new(lives, pid);
		if (!process)
			return -ENOMEM;
		process->announced = true;
	}
	thread = thread_new(lives, process, tid, t_ns);
	if (!thread)
		return -ENOMEM;
	enter(lives, thread,
		waits_for_exec ? STATE_BEFORE_EXEC
		: blocked      ? STATE_BLOCKED
			       : STATE_UNKNOWN,
		t_ns);
	return 0;
}

/*
 * The thread that a record speaks of. Records of our own events come only from the tree, so a
 * thread that nobody announced is one whose birth was lost; in records of the whole machine it is a
 * stranger.
 */
static struct thread *thread_of(struct dn_perf_lives *lives, const struct dn_perf_record *record)
{
	struct thread *thread = thread_find(lives, record->tid);
	struct process *process;

	if (thread || lives->config.foreign)
		return thread;
	process = process_find(lives, record->pid);
	if (!process) {
		if (lives->config.no_children)
			return NULL;
		process = process_new(lives, record->pid);
		if (!process)
			return NULL;
		lives->config.ops->born(lives->config.arg, record->pid, 0, record->t_ns);
	}
	return thread_new(lives, process, record->tid, record->t_ns);
}

static void feed_fork(struct dn_perf_lives *lives, const struct dn_perf_record *record)
{
	struct process *process;
	struct thread *old;

	if (record->pid == record->ppid) {
		/* A thread. */
		process = process_find(lives, record->pid);
		if (process && !thread_find(lives, record->tid))
			(void)thread_new(lives, process, record->tid, record->t_ns);
		return;
	}
	if (lives->config.no_children)
		return;
	if (lives->config.foreign && !process_find(lives, record->ppid))
		return;
	process = process_find(lives, record->pid);
	if (process && !process->announced) {
		/* Clocks of two CPUs may differ a little: the child's first record came before its
		 * birth. */
		process->announced = true;
		return;
	}
	/* The number is used again: the end of its former owner was lost. */
	if (process)
		process_end(lives, process, record->t_ns);
	old = thread_find(lives, record->tid);
	if (old)
		thread_end(lives, old, record->t_ns);
	process = process_new(lives, record->pid);
	if (!process)
		return;
	process->announced = true;
	(void)thread_new(lives, process, record->tid, record->t_ns);
	lives->config.ops->born(lives->config.arg, record->pid, record->ppid, record->t_ns);
}

static void feed_exit(struct dn_perf_lives *lives, const struct dn_perf_record *record)
{
	struct thread *thread = thread_find(lives, record->tid);
	struct process *process;

	if (!thread)
		return;
	process = thread->process;
	thread_end(lives, thread, record->t_ns);
	if (process->n_threads > 0)
		return;
	/*
	 * An exec of a setuid or unreadable program takes the events away right after it is told,
	 * with the same record as an end. What tells them apart at any later time: a program that
	 * runs was mapped after its exec.
	 */
	if (process->exec_unproven) {
		lives->config.ops->taken(lives->config.arg, process->node.pid);
		if (lives->config.ops->survives(
			    lives->config.arg, process->node.pid, record->t_ns)) {
			process->taken = true;
			lives->n_taken++;
			return;
		}
	}
	process_end(lives, process, record->t_ns);
}

static void feed_exec(struct dn_perf_lives *lives, const struct dn_perf_record *record)
{
	struct thread *thread = thread_find(lives, record->tid);
	struct process *process = process_find(lives, record->pid);

	if (!thread && process)
		thread = thread_new(lives, process, record->tid, record->t_ns);
	else if (!thread)
		thread = thread_of(lives, record);
	if (!thread)
		return;
	process = thread->process;
	/*
	 * An exec leaves one thread. When it was not the leader that called it, that thread takes
	 * the leader's number: the leader's end was told under it, the caller's old number is never
	 * heard of again.
	 */
	while (process->first->next || process->first != thread) {
		struct thread *other =
			process->first != thread ? process->first : process->first->next;

		thread_end(lives, other, record->t_ns);
	}
	process->exec_unproven = true;
	enter(lives, thread, STATE_RUNNING, record->t_ns);
	lives->config.ops->exec(
		lives->config.arg, process->node.pid, record->comm, record->comm_len, record->t_ns);
}

static void feed_switch(struct dn_perf_lives *lives, const struct dn_perf_record *record)
{
	struct thread *thread = thread_of(lives, record);

	if (!thread)
		return;
	if (thread->state == STATE_UNKNOWN && record->out)
		thread->state = STATE_RUNNING;
	/* An exec is told from within its own switches: before it nothing counts. */
	if (thread->state == STATE_BEFORE_EXEC)
		return;
	if (!record->out)
		enter(lives, thread, STATE_RUNNING, record->t_ns);
	else
		enter(lives, thread, record->preempt ? STATE_RUNNABLE : STATE_BLOCKED,
			record->t_ns);
}

void dn_perf_lives_feed(struct dn_perf_lives *lives, const struct dn_perf_record *record)
{
	struct process *process;

	/* 0: not visible in our pid namespace. -1: already released. */
	if (record->pid <= 0 || record->tid <= 0)
		return;
	switch (record->type) {
	case DN_PERF_FORK:
		feed_fork(lives, record);
		break;
	case DN_PERF_EXIT:
		feed_exit(lives, record);
		break;
	case DN_PERF_COMM:
		if (record->exec)
			feed_exec(lives, record);
		else if (record->pid == record->tid && process_find(lives, record->pid))
			lives->config.ops->renamed(
				lives->config.arg, record->pid, record->comm, record->comm_len);
		break;
	case DN_PERF_SWITCH:
		feed_switch(lives, record);
		break;
	case DN_PERF_MMAP:
		process = process_find(lives, record->pid);
		if (process)
			process->exec_unproven = false;
		break;
	case DN_PERF_LOST:
	case DN_PERF_OTHER:
		break;
	}
}

void dn_perf_lives_sweep(struct dn_perf_lives *lives, bool all, uint64_t now_ns)
{
	if (!all && lives->n_taken == 0)
		return;
	for (size_t i = 0; i < lives->processes.n_buckets; i++) {
		struct dn_pid_node *next;

		for (struct dn_pid_node *n = lives->processes.bucket[i]; n; n = next) {
			struct process *process = (struct process *)n;

			next = n->next;
			if (!all && !process->taken)
				continue;
			if (lives->config.ops->survives(lives->config.arg, n->pid, now_ns))
				process->doubted = false;
			else if (!process->doubted && !process->taken)
				process->doubted =
					true; /* its last records may still be in the ring */
			else
				process_end(lives, process, now_ns);
		}
	}
}

uint64_t dn_perf_lives_blocked(const struct dn_perf_lives *lives, uint64_t now_ns)
{
	unsigned __int128 ends = (unsigned __int128)lives->n_blocked * now_ns;
	unsigned __int128 open =
		ends > lives->blocked_since_sum ? ends - lives->blocked_since_sum : 0;

	return dn_add_sat(lives->blocked_ns, open > UINT64_MAX ? UINT64_MAX : (uint64_t)open);
}

void dn_perf_lives_each(const struct dn_perf_lives *lives, uint64_t now_ns,
	void (*each)(void *arg, const struct dn_perf_life *life), void *arg)
{
	for (size_t i = 0; i < lives->processes.n_buckets; i++) {
		for (struct dn_pid_node *n = lives->processes.bucket[i]; n; n = n->next) {
			struct process *process = (struct process *)n;
			struct dn_perf_life life = {.pid = n->pid,
				.cpu_ns = process->cpu_ns,
				.blocked_ns = process->blocked_ns};

			for (struct thread *t = process->first; t; t = t->next) {
				uint64_t open = dn_sub_sat(now_ns, t->since_ns);

				if (t->state == STATE_RUNNING)
					life.cpu_ns = dn_add_sat(life.cpu_ns, open);
				else if (t->state == STATE_BLOCKED)
					life.blocked_ns = dn_add_sat(life.blocked_ns, open);
			}
			each(arg, &life);
		}
	}
}

uint64_t dn_perf_lives_lost(const struct dn_perf_lives *lives)
{
	return lives->lost;
}

size_t dn_perf_lives_threads(const struct dn_perf_lives *lives)
{
	return lives->threads.n;
}

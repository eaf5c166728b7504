/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lives of threads and processes as the sideband's records tell them: who is born and who dies,
 * how long each ran and how long each was off the CPU by its own will. Pure: records in, calls out.
 */
#ifndef DENET_PERF_LIVES_H
#define DENET_PERF_LIVES_H

#include "record.h"

struct dn_perf_life {
	pid_t pid;
	uint64_t cpu_ns; /* on the CPU, from switch records */
	uint64_t blocked_ns; /* off the CPU after giving it up, until it ran again */
};

/* What the machine tells the outside, and asks of it. */
struct dn_perf_lives_ops {
	void (*born)(void *arg, pid_t pid, pid_t ppid, uint64_t t_ns);
	void (*exec)(void *arg, pid_t pid, const char *name, size_t len, uint64_t t_ns);
	void (*renamed)(void *arg, pid_t pid, const char *name, size_t len);
	void (*exited)(void *arg, const struct dn_perf_life *life, uint64_t t_ns);
	/* The process whose events ended at t_ns, or may have, lives on all the same. */
	bool (*survives)(void *arg, pid_t pid, uint64_t t_ns);
	/* The kernel took the process's events away: from here on it runs unseen. */
	void (*taken)(void *arg, pid_t pid);
};

struct dn_perf_lives;

struct dn_perf_lives_config {
	const struct dn_perf_lives_ops *ops;
	void *arg;
	bool foreign; /* records of the whole machine: only of known parents' children is anything
			 believed */
	bool no_children; /* threads are followed, child processes are not */
};

int dn_perf_lives_new(const struct dn_perf_lives_config *config, struct dn_perf_lives **ret);
void dn_perf_lives_free(struct dn_perf_lives *lives);
/*
 * A thread that was there before the records began, at t_ns. waits_for_exec: the gated child, whose
 * time counts from its exec. Tells nobody. Idempotent. 0 or -ENOMEM.
 */
int dn_perf_lives_add(struct dn_perf_lives *lives, pid_t pid, pid_t tid, bool blocked,
	bool waits_for_exec, uint64_t t_ns);
bool dn_perf_lives_has(const struct dn_perf_lives *lives, pid_t tid);
void dn_perf_lives_feed(struct dn_perf_lives *lives, const struct dn_perf_record *record);
/* Looks after those whose events were taken; after a loss (all true) after everybody: who is gone
 * has exited. */
void dn_perf_lives_sweep(struct dn_perf_lives *lives, bool all, uint64_t now_ns);
/* Sum over all threads, dead ones included, open intervals up to now. */
uint64_t dn_perf_lives_blocked(const struct dn_perf_lives *lives, uint64_t now_ns);
/* Each live process as of now. */
void dn_perf_lives_each(const struct dn_perf_lives *lives, uint64_t now_ns,
	void (*each)(void *arg, const struct dn_perf_life *life), void *arg);
/* Threads that found no memory. */
uint64_t dn_perf_lives_lost(const struct dn_perf_lives *lives);
size_t dn_perf_lives_threads(const struct dn_perf_lives *lives);

#endif

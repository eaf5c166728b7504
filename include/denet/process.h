/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The process table: who belongs to the measured tree, alive or dead. One backend, the process
 * source (the supplier of process.started), reports births and deaths; the core tells every
 * backend. The table is bounded: dead processes are folded into per-command totals and a short list
 * of the most expensive ones.
 */
#ifndef DENET_PROCESS_H
#define DENET_PROCESS_H

#include <stddef.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <denet/frame.h>

/* Slots for the values of metrics that carry DN_FLAG_PROC. */
#define DN_PROCESS_METRIC_MAX 40
#define DN_PROCESS_NAME_MAX 64
#define DN_BACKEND_MAX 8

struct dn_process {
	pid_t pid;
	pid_t ppid; /* at birth; 1-based pid of the parent, 0 if unknown */
	uint64_t start_ns; /* since measuring began; 0 for what was there before */
	uint64_t exit_ns;
	bool alive;
	bool is_target; /* the command, or a process named to attach */
	bool inherited; /* was there before measuring began: its counters need a baseline */
	bool child_of_denet; /* denet reaps it: the root, or an orphan that came to the subreaper */
	char name[DN_PROCESS_NAME_MAX]; /* raw bytes of comm, NUL-terminated; every sink encodes for
					   itself */
	bool exit_known; /* wait_status below is valid */
	int wait_status; /* as from wait4() */
	uint64_t runs; /* grows whenever it had a CPU between two samples; see dn_core.runs_known */
	struct dn_value
		value[DN_PROCESS_METRIC_MAX]; /* by dn_process_slot(); the last that was seen */
	void *backend[DN_BACKEND_MAX]; /* private to the backend with that index */
	struct dn_process *prev, *next; /* live list */
	struct dn_process *hash_next;
};

/* Slot of a metric in dn_process.value, or -1 when it has none. */
int dn_process_slot(unsigned metric);

static inline void dn_process_u64(struct dn_process *process, unsigned metric, uint64_t value)
{
	int slot = dn_process_slot(metric);

	if (slot >= 0) {
		process->value[slot].type = DN_VALUE_U64;
		process->value[slot].u64 = value;
	}
}

/* What was seen before does not stand any more. */
static inline void dn_process_none(struct dn_process *process, unsigned metric)
{
	int slot = dn_process_slot(metric);

	if (slot >= 0)
		process->value[slot].type = DN_VALUE_NONE;
}

struct dn_tree;

/*
 * Births and deaths, called by the process source only; all are idempotent. t_ns is
 * CLOCK_MONOTONIC, absolute. dn_tree_fork returns the new or known process; NULL when memory is
 * short (the loss is counted) or when the parent is not in the tree and force is false.
 */
struct dn_process *dn_tree_fork(
	struct dn_tree *tree, pid_t pid, pid_t ppid, uint64_t t_ns, bool force);
void dn_tree_exec(
	struct dn_tree *tree, pid_t pid, const char *name, size_t name_len, uint64_t t_ns);
/* A new name without an exec (prctl, pthread_setname_np of the leader). */
void dn_tree_rename(struct dn_tree *tree, pid_t pid, const char *name, size_t name_len);
void dn_tree_exit(struct dn_tree *tree, pid_t pid, uint64_t t_ns);
/* The same by a source that knows how it ended, and whose values of the process are its last ones.
 */
void dn_tree_exit_status(struct dn_tree *tree, pid_t pid, int wait_status, uint64_t t_ns);

struct dn_process *dn_tree_find(struct dn_tree *tree, pid_t pid); /* live only; NULL if unknown */
struct dn_process *dn_tree_first(
	struct dn_tree *tree); /* live ones: for (p = first; p; p = p->next) */
uint64_t dn_tree_live(const struct dn_tree *tree);
uint64_t dn_tree_started(const struct dn_tree *tree);
uint64_t dn_tree_exited(const struct dn_tree *tree);

#endif

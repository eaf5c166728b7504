/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The procfs backend's inside.
 *
 * Totals without double counting: when a parent reaps a child, the kernel adds the child's CPU
 * time, faults and I/O to the parent. So the tree's total is
 *
 *   what denet itself reaped (rusage; for I/O what denet's own account grew by)
 * + each live member with what it has reaped
 * + what left with a parent that nobody watches (departed)
 * - what was there before measuring began (base).
 *
 * A parent is always read before its children: a child that is reaped in between is missing once
 * instead of counted twice, and a counter never falls.
 */
#ifndef DENET_PROCFS_H
#define DENET_PROCFS_H

#include <denet/backend.h>

#include "parse.h"

#define DN_PROCFS_MEMBERS_MAX 100000
#define DN_PROCFS_BUFFER 16384

/* What adds up over processes. */
enum dn_procfs_count {
	DN_PROCFS_CPU,
	DN_PROCFS_USER,
	DN_PROCFS_SYSTEM,
	DN_PROCFS_MINFLT,
	DN_PROCFS_MAJFLT,
	DN_PROCFS_VOLUNTARY,
	DN_PROCFS_INVOLUNTARY,
	DN_PROCFS_IO, /* and the following, as enum dn_procfs_io */
	DN_PROCFS_COUNT_N = DN_PROCFS_IO + DN_PROCFS_IO_N,
};

struct dn_procfs_counts {
	uint64_t v[DN_PROCFS_COUNT_N];
};

/* What is read together, at its own pace, and only of processes that ran since. */
enum dn_procfs_class {
	DN_PROCFS_CLASS_STAT,
	DN_PROCFS_CLASS_IO,
	DN_PROCFS_CLASS_STATUS,
	DN_PROCFS_CLASS_SCHED,
	DN_PROCFS_CLASS_FDS,
	DN_PROCFS_CLASS_STATM,
	DN_PROCFS_CLASS_N,
};

struct dn_procfs_member {
	struct dn_procfs_member *prev,
		*next; /* in order of birth: parents come before their children */
	struct dn_procfs_member *hash_next;
	struct dn_process *process; /* NULL: a zombie that its parent has not reaped yet */
	pid_t pid, ppid;
	int fd; /* statm, kept open: it says ESRCH for ever once the process is gone; -1 when there
		   is none */
	unsigned threads;
	char comm[16];
	size_t comm_len;
	uint64_t start_ticks; /* 0: unknown */
	uint64_t start_stack;
	struct dn_procfs_counts now; /* own and reaped children's, as last seen */
	struct dn_procfs_counts *own_base; /* inherited ones: own values when measuring began */
	uint64_t clock_ns, reaped_ns; /* own CPU clock; cutime + cstime */
	uint64_t reaped_faults,
		reaped_faults_base; /* above the base: it has reaped children since */
	uint64_t rss_bytes, size_bytes, swap_bytes, hwm_bytes, fds, delay_ns, delay_base_ns;
	uint64_t pss_bytes, pss_cost_ns;
	/*
	 * Its CPU clock before each class (and its children) was read last. A process that has not
	 * run since can't have changed what it shows, but for what reclaim takes from it.
	 */
	uint64_t seen_ns[DN_PROCFS_CLASS_N], walked_ns;
	uint64_t memory_t_ns[2]; /* when statm, status were read */
	unsigned read; /* a bit per class that was read */
	uint32_t pss_round;
	bool gone : 1; /* reaped, but nobody told us yet */
	bool zombie : 1;
	bool target : 1;
	bool dirty : 1; /* a child of it ended: what it has reaped changed */
	bool walked : 1;
	bool had_child_exit : 1;
	bool sigchld_checked : 1;
	bool execed : 1;
	bool threaded : 1; /* had more than one thread at some look */
	bool has_mm : 1, has_vm : 1, has_fds : 1;
	bool hidden : 1; /* alive, but not in /proc for us */
	bool io_refused : 1;
	bool basing : 1; /* the values of before measuring began are being read */
	bool named : 1; /* the process source told its name */
	bool new_name : 1, new_image : 1; /* to be told by the process source */
};

struct dn_procfs_round {
	struct dn_procfs_member *cursor;
	bool going;
	bool done; /* in this sample */
	uint64_t cost_ns, due_ns;
};

struct dn_procfs_io_mark {
	bool valid;
	uint64_t v[DN_PROCFS_IO_N];
};

/* Text of the moment. Apart and never cleared: pages that nobody needs are not touched. */
struct dn_procfs_scratch {
	char buffer[DN_PROCFS_BUFFER];
	char entries[8192];
	char list[4096], tasks[8192];
};

struct dn_procfs_system;

struct dn_procfs {
	struct dn_backend backend; /* first */
	const struct dn_env *env;
	struct dn_core *core;

	struct dn_metric_set assigned;
	unsigned classes; /* a bit per class that something assigned needs */
	bool no_proc; /* nothing but rusage and CPU clocks */
	bool no_fd_count; /* the size of /proc/PID/fd is not told: entries must be counted */
	bool cpu, io, peak, pss, source; /* assigned */
	bool gauges_only; /* nothing that adds up: nobody's account can be in another's */
	uint64_t tick_ns, page_bytes;
	pid_t self, self_tid;
	int self_io_fd, self_task_io_fd;

	struct dn_procfs_member *first, *last;
	struct dn_procfs_member **buckets;
	size_t n_buckets;
	unsigned n_members, n_ghosts, n_kept, kept_max;
	bool sorted;

	struct dn_procfs_counts reaped, departed, base, shown;
	struct dn_procfs_io_mark mark;
	uint64_t reaped_delay_ns, shown_delay_ns;
	uint64_t hwm_bytes; /* largest VmHWM seen after exec */
	uint64_t maxrss_bytes; /* largest ru_maxrss of what denet reaped */
	uint64_t floor_bytes; /* what denet's own child had before exec: ru_maxrss can't fall below
				 it */
	uint64_t peak_tree_bytes;
	uint64_t gate_ns; /* CPU time of denet's child before the command's exec */
	bool autoreap_told, own_only_told;
	bool io_without_base; /* some process's I/O before measuring began is unknown */
	bool final; /* the sample that is being made is the last */
	unsigned vanished; /* members found gone in this sample */
	unsigned reads; /* members read in this sample */

	struct dn_procfs_round round[DN_PROCFS_CLASS_N];
	unsigned first_class; /* rotates, so that no class starves */

	struct {
		uint64_t due_ns, spent_ns;
		uint32_t round;
		bool going, refused, shown;
	} pss_state;

	struct {
		uint64_t due_ns;
		bool no_children_files;
		pid_t foreign[64]; /* children that denet had before it measured anything */
		unsigned n_foreign;
		pid_t *dead;
		size_t n_dead, dead_size;
	} walk;

	struct dn_procfs_system *system;
	bool system_unseen; /* offered, and settled when the command is on its way */
	struct dn_procfs_scratch *scratch;
};

/* probe.c */
int dn_procfs_probe(
	const struct dn_env *env, struct dn_probe *probe, struct dn_backend **ret_backend);

/* member.c: the table. */
struct dn_procfs_member *dn_procfs_find(const struct dn_procfs *p, pid_t pid);
/* NULL when memory is short or the table full. */
struct dn_procfs_member *dn_procfs_add(
	struct dn_procfs *p, pid_t pid, pid_t ppid, struct dn_process *process);
void dn_procfs_remove(struct dn_procfs *p, struct dn_procfs_member *m);
void dn_procfs_sort(struct dn_procfs *p); /* by start time */
void dn_procfs_free_members(struct dn_procfs *p);

/*
 * process.c: readers of one member. 0; -ESRCH when it is gone (and marked so); another negative
 * errno. What was read is in the member.
 */
int dn_procfs_open_member(struct dn_procfs *p, struct dn_procfs_member *m);
bool dn_procfs_is_gone(struct dn_procfs *p, struct dn_procfs_member *m);
int dn_procfs_read_clock(struct dn_procfs *p, struct dn_procfs_member *m);
int dn_procfs_read_stat(struct dn_procfs *p, struct dn_procfs_member *m);
int dn_procfs_read_statm(struct dn_procfs *p, struct dn_procfs_member *m);
int dn_procfs_read_io(struct dn_procfs *p, struct dn_procfs_member *m);
int dn_procfs_read_fds(struct dn_procfs *p, struct dn_procfs_member *m);
/* A file of the member into p->buffer; length or negative errno. */
ssize_t dn_procfs_read_file(struct dn_procfs *p, struct dn_procfs_member *m, const char *name);
/* Own values into the process's slots: counters since measuring began, and gauges. */
void dn_procfs_show(struct dn_procfs *p, struct dn_procfs_member *m, unsigned metric,
	enum dn_procfs_count count, uint64_t own);
void dn_procfs_show_gauge(
	struct dn_procfs *p, struct dn_procfs_member *m, unsigned metric, uint64_t value);
/* Calls fn for each numeric name in a directory; stops when fn returns false. 0 or negative errno.
 */
int dn_procfs_each_number(
	int dir_fd, char *buffer, size_t size, bool (*fn)(void *arg, pid_t number), void *arg);

/* thread.c: what only threads tell. */
int dn_procfs_read_status(struct dn_procfs *p, struct dn_procfs_member *m);
int dn_procfs_read_sched(struct dn_procfs *p, struct dn_procfs_member *m);
/* rss of a process whose main thread has ended while others run */
int dn_procfs_read_task_statm(
	struct dn_procfs *p, struct dn_procfs_member *m, struct dn_procfs_statm *ret);

/* events.c */
void dn_procfs_on_event(struct dn_backend *backend, const struct dn_process_event *event);
int dn_procfs_open_self_io(struct dn_procfs *p);
/* Degrades what is assigned to this backend; others have their own suppliers. */
void dn_procfs_degrade(struct dn_procfs *p, unsigned metric, enum dn_quality quality,
	const char *format, ...) __attribute__((format(printf, 4, 5)));
/* All that reaches denet by being reaped. */
void dn_procfs_degrade_reaped(struct dn_procfs *p, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
void dn_procfs_degrade_own_only(struct dn_procfs *p, const struct dn_procfs_member *m);
void dn_procfs_check_sigchld(struct dn_procfs *p, struct dn_procfs_member *m, uint64_t ignored);
unsigned dn_procfs_count_metric(enum dn_procfs_count count);
void dn_procfs_add_counts(struct dn_procfs_counts *sum, const struct dn_procfs_counts *what);
/* Takes its VmHWM into the tree's, unless it may still be that of denet's child before exec. */
void dn_procfs_keep_peak(struct dn_procfs *p, const struct dn_procfs_member *m);
/* What it shows from here on is not that of denet's child any more. */
void dn_procfs_set_execed(struct dn_procfs *p, struct dn_procfs_member *m);
/* ru_maxrss or VmHWM above it is the command's own. */
bool dn_procfs_above_floor(const struct dn_procfs *p, uint64_t bytes);
/* Its numbers reach nobody: the last ones that were seen stand. */
void dn_procfs_depart(struct dn_procfs *p, struct dn_procfs_member *m, bool seen_dead);
static inline bool dn_procfs_reaped_some(const struct dn_procfs_member *m)
{
	return m->reaped_faults > m->reaped_faults_base;
}

/* totals.c */
void dn_procfs_sample_tree(struct dn_procfs *p, struct dn_frame *frame);

/* pss.c */
void dn_procfs_sample_pss(struct dn_procfs *p, struct dn_frame *frame, uint64_t now_ns);

/* walk.c: the process source of last resort. */
void dn_procfs_walk(struct dn_procfs *p, bool forced);
/* Its first name, or a new one, to the process table. */
void dn_procfs_tell_name(struct dn_procfs *p, struct dn_procfs_member *m);
void dn_procfs_walk_start(struct dn_procfs *p);
void dn_procfs_walk_finish(struct dn_procfs *p);

/* system.c: PSI and the cgroup. */
void dn_procfs_system_probe(struct dn_procfs *p, struct dn_probe *probe);
void dn_procfs_system_open(struct dn_procfs *p);
void dn_procfs_system_started(struct dn_procfs *p);
void dn_procfs_system_sample(struct dn_procfs *p, struct dn_frame *frame);
void dn_procfs_system_free(struct dn_procfs_system *system);

#endif

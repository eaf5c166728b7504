/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the kernel side and backends/ebpf share: fixed widths, asserted sizes, nothing else.
 * Included by both; the kernel side has <linux/types.h> through <linux/bpf.h>.
 */
#ifndef DENET_WIRE_H
#define DENET_WIRE_H

#include <linux/types.h>

#define DN_WIRE_COMM 16

/* Features of the system call programs: what their one pair of hooks does. */
enum dn_wire_feature {
	DN_FEATURE_COUNT = 1 << 0,
	DN_FEATURE_LATENCY = 1 << 1,
	DN_FEATURE_FILE = 1 << 2,
	DN_FEATURE_NETWORK = 1 << 3,
	DN_FEATURE_MEMORY = 1 << 4,
	DN_FEATURE_LOCKS = 1 << 5,
	DN_FEATURE_LIMITS = 1 << 6,
	DN_FEATURE_SECURITY = 1 << 7,
	DN_FEATURE_SAMPLED = 1 << 8, /* control.sample_every is looked at */
	DN_FEATURE_PATHS = 1 << 9,
	DN_FEATURE_ACCOUNT = 1 << 10, /* runs for threads outside of the tree are counted */
	/* Those that need the time of a call, besides latency. */
	DN_FEATURE_TIMED_OTHERS = DN_FEATURE_FILE | DN_FEATURE_NETWORK | DN_FEATURE_LOCKS,
};

/* enum dn_probe_group, as far as the programs ask for a group's rate of sampling; asserted in
 * backends/ebpf/group.c. */
enum dn_wire_group {
	DN_GROUP_SYSCALLS = 2,
	DN_GROUP_SCHED,
	DN_GROUP_LATENCY,
	DN_GROUP_FILE,
	DN_GROUP_BLOCK,
	DN_GROUP_NETWORK,
	DN_GROUP_MEMORY,
	DN_GROUP_LOCKS,
	DN_GROUP_SIGNALS,
	DN_GROUP_LIMITS,
	DN_GROUP_SECURITY,
	DN_GROUP_HW,
};

/* What a thread used; the sums of the tree and of a process are made of differences of these. */
enum dn_wire_usage_id {
	DN_USAGE_CPU_NS,
	DN_USAGE_UTIME_NS, /* as the tick saw it */
	DN_USAGE_STIME_NS,
	DN_USAGE_RUN_DELAY_NS,
	DN_USAGE_VOLUNTARY,
	DN_USAGE_INVOLUNTARY,
	DN_USAGE_MIGRATIONS,
	DN_USAGE_MINOR_FAULTS,
	DN_USAGE_MAJOR_FAULTS,
	DN_USAGE_READ_CHARS,
	DN_USAGE_WRITE_CHARS,
	DN_USAGE_READ_CALLS,
	DN_USAGE_WRITE_CALLS,
	DN_USAGE_READ_BYTES,
	DN_USAGE_WRITE_BYTES,
	DN_USAGE_CANCELLED_BYTES,
	/* kept by the programs themselves */
	DN_USAGE_ON_CPU_NS,
	DN_USAGE_BLOCKED_NS,
	DN_USAGE_CALLS,
	DN_USAGE_ERRORS,
	DN_USAGE_N,
};

struct dn_wire_usage {
	__u64 value[DN_USAGE_N];
};

/* Of each thread of the tree; user space makes the first ones. */
enum {
	DN_TASK_ACTIVE = 1, /* it counts */
	DN_TASK_WAITS_FOR_EXEC = 2, /* the gated command: counts from its exec on */
	DN_TASK_LAST = 4, /* the last thread of its process, and it has exited */
};

enum dn_wire_slot {
	DN_SLOT_FAULT,
	DN_SLOT_FAULT_NS,
	DN_SLOT_RECLAIM,
	DN_SLOT_SIZE, /* before a call that changes it */
	DN_SLOT_FUTEX, /* of a wait that was interrupted by a stop */
	DN_SLOT_LOCK,
	DN_SLOT_LOCK_NS,
	DN_SLOT_INNER,
	DN_SLOT_INNER_NS,
	DN_SLOT_DENIED, /* capabilities that were denied in this call */
	DN_SLOT_FD,
	DN_SLOT_HW,
	DN_SLOT_N,
};

/* Hooks that there are twice where programs can be preempted: what the first one has seen. */
enum dn_wire_seen {
	DN_SEEN_FORK = 1,
	DN_SEEN_EXEC = 2,
	DN_SEEN_EXIT = 4,
};

struct dn_task {
	/* What a pass looks at of a thread that has not run: in the first cache line of the
	 * storage, which has 8 bytes of the kernel's. */
	__u32 flags;
	__u32 kind; /* enum dn_wire_blocked, while it is blocked */
	__u32 ran; /* it had a CPU since the last pass, or has one */
	__u32 latency_weight; /* how many calls the time of this one stands for; 0: it is not taken
			       */
	__u64 on_ns; /* when it got the CPU that it has; 0: it has none */
	__u64 owed_ns; /* up to where its blocked time is in the sums; 0: it is not blocked */
	__u64 off_ns; /* blocked or waiting for a CPU, a sum */
	__u64 off_counted_ns; /* what the sums of the tree have of it; those of its process, below
			       */

	__u64 delay_seen_ns; /* the kernel's sum of its waits for a CPU, as far as accounted */
	__u64 blocked_ns; /* since when it is, or was, blocked */
	__u64 pending_ns; /* time off the CPU whose part of waiting for one is not known yet */
	__u64 on_cpu_ns; /* sum */
	__u64 calls, errors;
	__u64 enter_ns; /* when it entered the system call that it is in */
	__u64 exit_ns, start_ns; /* LAST: when, and of the process; start_ns also: its sums have a
				    baseline */
	__u32 exit_pid, exit_ppid, exit_status;
	__u32 seen; /* enum dn_wire_seen; written by itself only */
	__u64 group[DN_SLOT_N]; /* what the groups keep between two hooks; see each */
	__u64 counted[DN_USAGE_N]; /* what the sums of its process have of it, and the tree's */
};

/* Log-linear as <denet/table.h>, up to 2^40; what is larger is in the last bucket. */
#define DN_WIRE_BUCKETS 304

struct dn_wire_histogram {
	__u64 sum;
	__u64 max;
	__u64 min_inverse; /* ~min, so that a zeroed one is empty */
	__u32 bucket[DN_WIRE_BUCKETS];
};

/* Why something was lost. */
enum dn_wire_loss {
	DN_LOSS_RING, /* no room in the ring buffer */
	DN_LOSS_TASK, /* no storage for a thread: it and its children run unseen */
	DN_LOSS_PROCESS, /* no room in the table of processes */
	DN_LOSS_MAP, /* no room in a table of a group */
	DN_LOSS_N,
};

enum dn_wire_blocked {
	DN_BLOCKED_NONE,
	DN_BLOCKED_FUTEX,
	DN_BLOCKED_SLEEP,
	DN_BLOCKED_DISK,
	DN_BLOCKED_NETWORK,
	DN_BLOCKED_PIPE,
	DN_BLOCKED_OTHER,
	DN_BLOCKED_N,
};

/* Per system call number, made by user space: what a thread blocks in there. FD: by the descriptor.
 */
#define DN_BLOCKED_BY_FD 15

/* Counters of the whole tree, one per CPU. */
struct dn_wire_totals {
	struct dn_wire_usage usage;
	__u64 forks, threads, execs, leaving, exits; /* leaving: exits, some not yet told */
	__u64 events; /* ring records that were produced, lost ones included */
	__u64 blocked_ns[DN_BLOCKED_N];
	__u64 peak_rss_pages; /* of processes that ended: the largest */
	__u64 arrivals; /* times that a thread of the tree got a CPU */
	__u64 outside; /* with DN_FEATURE_ACCOUNT: runs of programs that found nobody of the tree */
};

struct dn_wire_sched {
	struct dn_wire_histogram run_delay;
	struct dn_wire_histogram blocked[DN_BLOCKED_N];
};

/* The group hw: the columns of hw.by_process, two and two of which are read together. */
enum dn_wire_hw_kind {
	DN_HW_CYCLES,
	DN_HW_INSTRUCTIONS,
	DN_HW_CACHE_REFERENCES,
	DN_HW_CACHE_MISSES,
	DN_HW_BRANCHES,
	DN_HW_BRANCH_MISSES,
	DN_HW_N,
};

struct dn_wire_hw {
	struct {
		__u64 count, enabled_ns, running_ns;
	} kind[DN_HW_N];
};

struct dn_wire_hw_totals {
	struct dn_wire_hw sum;
	__u64 unread; /* times on a CPU whose counters could not be read */
	__u64 no_room; /* times on a CPU that belong to no process of the table */
};

struct dn_wire_hw_key {
	__u64 birth_ns;
	__u32 pid; /* as in the records */
	__u32 zero;
};

struct dn_wire_hw_process {
	struct dn_wire_hw sum;
	__u64 dead_ns; /* 0: it lives */
	char comm[DN_WIRE_COMM];
};

enum dn_wire_pass {
	DN_PASS_MARK, /* who belongs to the tree */
	DN_PASS_ACTIVATE, /* counting begins */
	DN_PASS_HARVEST, /* what live threads used since the last pass; tells who ran (__u32 pid) */
	DN_PASS_HARVEST_ALL, /* the same, and the sums of processes whose threads only waited */
	DN_PASS_REPORT, /* a record per process */
};

/* One word block that user space writes while the programs run. */
struct dn_wire_control {
	__u32 pass; /* enum dn_wire_pass, of the next pass */
	__u32 no_children;
	__u32 sample_every[32]; /* by enum dn_probe_group; 0 and 1: all, ~0: none */
	__u32 ended; /* no records any more: what was produced is received or lost */
	__u32 zero;
	__u64 changed; /* tasks that a pass marked or activated */
	/* By kind: threads that a harvest found blocked, and the sum of the times up to which each
	 * one's is in the sums. While nobody gets a CPU, what more they are blocked follows. */
	__u64 blocked[DN_BLOCKED_N], blocked_until_ns[DN_BLOCKED_N];
};

/* Index of a call in the tables: number + DN_CALLS_PER_ABI * enum dn_abi; DN_CALLS_N: its number is
 * beyond every table. */
#define DN_CALLS_PER_ABI 576
#define DN_CALLS_N (3 * DN_CALLS_PER_ABI)
#define DN_CALLS_LATENCY DN_CALLS_PER_ABI /* histograms for native calls only */

struct dn_wire_call {
	__u64 count, errors, time_ns;
};

#define DN_CALLS_PER_ROW 64
#define DN_CALL_ROWS (DN_CALLS_N / DN_CALLS_PER_ROW + 1)

struct dn_wire_calls {
	struct dn_wire_call call[DN_CALLS_PER_ROW];
};

enum dn_wire_record_type {
	DN_RECORD_FORK = 1,
	DN_RECORD_EXEC,
	DN_RECORD_EXIT,
	DN_RECORD_RENAME,
	DN_RECORD_LIVE, /* of a pass */
	DN_RECORD_LIMIT,
	DN_RECORD_SECURITY,
	DN_RECORD_CAPABILITY,
	DN_RECORD_OOM,
};

/* The head of each record in the ring and of a pass. */
struct dn_wire_record {
	__u32 type;
	__u32 pid, ppid; /* of denet's own pid namespace; 0 for who is not in it */
	__u32 value; /* EXIT: wait status; others: what they say */
	__u64 t_ns; /* CLOCK_MONOTONIC */
	char comm[DN_WIRE_COMM];
};

/* EXIT and LIVE */
struct dn_wire_record_usage {
	struct dn_wire_record head;
	__u64 start_ns; /* of the process */
	__u64 birth_ns; /* the same, or earlier: when it was forked. The keys of tables have it */
	__u64 peak_rss_pages;
	__u64 virtual_pages; /* LIVE */
	__u64 threads; /* LIVE */
	struct dn_wire_usage usage;
};

/* LIMIT, SECURITY, CAPABILITY: the call, its result and arguments as they were given. head.value:
 * for how many this one stands, which were told of by no record of their own. */
struct dn_wire_record_call {
	struct dn_wire_record head;
	__u32 call; /* index in the tables */
	__s32 result;
	__u64 arg[3];
	__u64 denied; /* capabilities, a bit each */
};

/* How much is told by records: of each kind so many in a second, and the rest in numbers. */
#define DN_RECORDS_PER_SECOND 3

struct dn_wire_window {
	__u64 since_ns;
	__u32 told, untold;
};

_Static_assert(sizeof(struct dn_wire_usage) == 8 * DN_USAGE_N, "no holes");
_Static_assert(sizeof(struct dn_wire_record) == 40, "no holes");
_Static_assert(sizeof(struct dn_wire_record_usage) == 80 + 8 * DN_USAGE_N, "no holes");
_Static_assert(sizeof(struct dn_wire_hw) == 24 * DN_HW_N, "no holes");
_Static_assert(sizeof(struct dn_wire_hw_key) == 16, "no holes");
_Static_assert(sizeof(struct dn_wire_record_call) == 80, "no holes");
_Static_assert(sizeof(struct dn_wire_histogram) == 24 + 4 * DN_WIRE_BUCKETS, "no holes");

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The contract of a backend: a folder, one const struct dn_backend_ops, named dn_backend_<folder>.
 * The build makes the list of backends from the folders. A backend sees only include/denet; it
 * never logs, never writes to an output and never decides what is measured: it answers what it
 * could supply (probe), is told what it shall supply (open), and fills frames (sample).
 *
 * Life of an instance:  probe -> open -> { on_event, sample } ... -> close.  close may follow probe
 * directly. Order of a run: fork the command behind a gate, probe all backends, plan, open those
 * that supply something, open the gate, loop, final sample while the root is a zombie, reap, close.
 */
#ifndef DENET_BACKEND_H
#define DENET_BACKEND_H

#include <sys/resource.h>

#include <denet/event.h>
#include <denet/frame.h>
#include <denet/loop.h>
#include <denet/metric.h>
#include <denet/process.h>

/* What the run is about; lives as long as the backends do. */
struct dn_env {
	int proc_fd; /* directory: /proc, or a fixture */
	int sys_fd; /* directory: /sys, or a fixture; -1 when there is none */
	bool attach; /* the targets run already: counters need baselines, all threads must be found
		      */
	bool fixture; /* proc_fd is a recorded tree: only files may be asked, no syscalls about pids
		       */
	bool still; /* a fixture that is looked at once: counters are since each process began, not
		       since now */
	bool no_children; /* the targets only, with their threads */
	bool subreaper; /* orphans of the tree come to denet */
	bool header; /* somebody is told of every metric's state before the first sample */
	bool per_process; /* somebody reads dn_process.value at every sample */
	const pid_t *targets; /* run: the command, stopped behind its gate, not yet exec'ed. Empty
				 for doctor */
	unsigned n_targets;
	const char *events; /* --events, libpfm4 syntax, comma separated; or NULL */
	const char *script; /* --fake: script for the fake backend; or NULL */
	uint64_t interval_ns; /* first sampling interval */
	uint32_t groups; /* probe groups that are on: a bit per enum dn_probe_group */
	uint32_t sample_every[DN_PROBES_N]; /* --sample: of so many events one is looked at; 0 and
					     * 1: all
					     */
	double max_overhead_percent; /* --max-overhead, 100 is one busy core; 0: no budget */
	unsigned paths; /* --paths: so many files are told by path; 0: none */
	bool detail; /* tables and histograms are wanted in every frame, not only in the final one
		      */
	bool account_bpf; /* --account: measure the run time of BPF programs, which costs */
	struct dn_metric_set wanted; /* what is not wanted is not tried */
};

/* What a backend can say of one metric. Strings are static or from dn_probe_printf(). */
struct dn_offer {
	enum dn_fact fact;
	enum dn_quality
		quality; /* when fact is OK: the best that this backend can promise at this point */
	const char *source; /* as the stream names it: "perf task-clock", "rusage", "sock_diag" */
	const char *reason; /* fact not OK: what was asked and what the kernel said. OK but not
			       exact: why. May be NULL */
	const char *hint; /* the smallest change that unlocks it; NULL when nothing does */
	/*
	 * Not NULL: the offer holds only while no process can be missed. When the plan's process
	 * source is not lossless (its process.started is not EXACT), the plan lowers the offer to
	 * LOWER_BOUND with this reason; and the core does the same at the end when CPU clocks show
	 * that processes were reaped by the kernel unseen.
	 */
	const char *if_lossy;
};

struct dn_probe {
	/* The backend as a whole; fact OK when any metric is. */
	enum dn_fact fact;
	const char *reason;
	const char *hint;
	const char *detail; /* what a developer wants to know of a refusal, for --debug; or NULL */
	struct dn_offer offer[DN_METRIC_MAX]; /* preset to UNTRIED */
	struct dn_arena *arena; /* owns the strings of dn_probe_printf() */
};

/* A formatted string that lives as long as the probe; "out of memory" when there is none. */
const char *dn_probe_printf(struct dn_probe *probe, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
void dn_probe_offer(struct dn_probe *probe, unsigned metric, enum dn_quality quality,
	const char *source, const char *reason);
void dn_probe_refuse(struct dn_probe *probe, unsigned metric, enum dn_fact fact, const char *reason,
	const char *hint);

/* What a backend may ask of the core. Valid from open to close. */
struct dn_core {
	struct dn_loop *loop;
	struct dn_tree *tree;
	uint64_t
		t0_ns; /* CLOCK_MONOTONIC when measuring began; set when the gate opens, 0 before */
	bool runs_known; /* the process source sets dn_process.runs before others sample: a process
			    whose runs stay the same has not run since the last sample */
	/* A metric got worse than planned: the first reason is kept, the quality only falls. */
	void (*degrade)(
		struct dn_core *core, unsigned metric, enum dn_quality quality, const char *reason);
	/*
	 * What a metric that was offered unseen turned out to be; in started() only, before the
	 * header is written. Quality MISSING: reason and hint say why. The strings are copied.
	 */
	void (*settle)(struct dn_core *core, unsigned metric, enum dn_quality quality,
		const char *source, const char *reason, const char *hint);
	/* n events were lost by this source; the touched metrics are degraded by the caller. */
	void (*lost)(struct dn_core *core, const char *source, uint64_t n);
	/*
	 * Something worth a record of its own. process: whom it is about, or NULL; text: a
	 * sentence. t_ns is CLOCK_MONOTONIC, absolute.
	 */
	void (*event)(struct dn_core *core, enum dn_event_type type,
		const struct dn_process *process, uint64_t t_ns, const char *text);
	/*
	 * Brings the process table up to date between samples: births and deaths are told before it
	 * returns. Not to be called from on_event. May be NULL.
	 */
	void (*drain)(struct dn_core *core);
};

enum dn_process_event_type {
	DN_PROCESS_BORN, /* entered the tree: process->backend[index] is the backend's to set */
	DN_PROCESS_EXEC,
	DN_PROCESS_EXITED, /* left; process->backend[index] must be freed now. May long be reaped,
			      its pid reused */
	/*
	 * A child of denet (the root, an orphan) is a zombie and about to be reaped: the last look
	 * at its files. Between ZOMBIE and REAPED nothing but wait4() happens, so that denet's own
	 * /proc/self/io, read last in ZOMBIE and first in REAPED, differs by exactly the child's
	 * reaped tree.
	 */
	DN_PROCESS_ZOMBIE,
	DN_PROCESS_REAPED, /* rusage and wait_status are valid; EXITED follows */
};

struct dn_process_event {
	enum dn_process_event_type type;
	struct dn_process *process; /* NULL in ZOMBIE and REAPED for a child that the process source
				       never saw */
	pid_t pid;
	uint64_t t_ns; /* CLOCK_MONOTONIC, absolute */
	const struct rusage *rusage; /* REAPED: the process and all that it had reaped */
	int wait_status;
};

/* One program in the kernel. */
struct dn_program_cost {
	char name[32];
	uint64_t ns, runs; /* of all processes, bystanders included */
};
#define DN_PROGRAM_COSTS_MAX 96

/* What a backend costs beside denet's own CPU time and memory. All are sums over backends. */
struct dn_cost {
	bool has_bpf; /* some backend runs programs in the kernel */
	uint32_t bpf_programs, bpf_maps;
	uint64_t bpf_map_bytes; /* memory of the maps, as the kernel tells it */
	bool has_bpf_ns; /* run times were measured (--account) */
	uint64_t bpf_ns, bpf_runs; /* of all processes, bystanders included */
	uint64_t bystander_runs; /* of these, the runs that found nobody of the tree */
	struct dn_program_cost program[DN_PROGRAM_COSTS_MAX];
	unsigned n_programs;
	uint64_t load_ns, attach_ns; /* wall time of setting up */
	bool has_records; /* some backend was told of events through a buffer that can be full */
	uint64_t records_produced, records_received; /* the difference was lost */
};

struct dn_backend_ops;

/* First member of every backend's own struct. */
struct dn_backend {
	const struct dn_backend_ops *ops;
	unsigned index; /* its slot in dn_process.backend */
};

struct dn_backend_ops {
	const char *name; /* folder name */
	const char *summary; /* one line for doctor */
	const char *tier; /* "procfs", "perf", "ebpf": what --backend TIER includes it in; tiers
			     include lower ones */
	/*
	 * Required. Tries what is in env->wanted and answers per metric. May keep what it opened in
	 * *ret_backend, so that open need not open it again. Always sets *ret_backend unless it
	 * returns -ENOMEM. No lasting effect outside this process.
	 */
	int (*probe)(
		const struct dn_env *env, struct dn_probe *probe, struct dn_backend **ret_backend);
	/*
	 * Required. assigned: the metrics that this instance supplies; what is not in it costs
	 * nothing from here on. The targets are already in the tree (is_target, and inherited when
	 * they ran before). In a run the command has not exec'ed yet: take baselines now. Negative
	 * errno: the instance supplies nothing; the core plans again without it.
	 */
	int (*open)(struct dn_backend *backend, const struct dn_metric_set *assigned,
		struct dn_core *core);
	/*
	 * Optional. Measuring has begun: the command is on its way through exec. What needs not be
	 * there before its first instruction is done here, beside it and not before it.
	 */
	void (*started)(struct dn_backend *backend);
	/*
	 * Optional. Can this instance go on without capabilities? Asked with the effective set
	 * lowered already (dn_capabilities_lower), so that it can try; again after each sample
	 * while the answer is -EAGAIN: something is still to be opened. 0: yes; other errnos:
	 * never.
	 */
	int (*unprivileged)(struct dn_backend *backend);
	/*
	 * Optional. Brings the process table up to date (process.count, .started and .exited are
	 * read from the table by the core: a process source offers them but does not put them into
	 * frames); called on the process source before every sample and before children are reaped.
	 */
	void (*drain)(struct dn_backend *backend);
	/* Required. Appends what it was assigned; what has no value now is left out. Negative
	 * errno: the backend is dead. */
	int (*sample)(struct dn_backend *backend, struct dn_frame *frame);
	/* Optional. Adds its own cost. */
	void (*cost)(struct dn_backend *backend, struct dn_cost *cost);
	/* Optional. */
	void (*on_event)(struct dn_backend *backend, const struct dn_process_event *event);
	/* Required. Accepts NULL and half-open instances. */
	void (*close)(struct dn_backend *backend);
};

/* Made by the build, worst tier first. */
extern const struct dn_backend_ops *const dn_backends[];
extern const unsigned dn_n_backends;

#endif

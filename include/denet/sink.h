/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The contract of a sink: it reads frames and the registry, never a backend. It renders a record
 * into a buffer and hands it to its output, one write() per record.
 */
#ifndef DENET_SINK_H
#define DENET_SINK_H

#include <time.h>

#include <denet/backend.h>
#include <denet/frame.h>
#include <denet/machine.h>
#include <denet/metric.h>
#include <denet/process.h>

#define DN_SCHEMA_VERSION 1

/* What is known of one metric in this run: from the plan, then only getting worse. */
struct dn_metric_state {
	bool wanted;
	enum dn_quality quality;
	const char *source; /* NULL when missing */
	const char *reason; /* NULL when exact */
	const char *hint; /* NULL when nothing helps */
	bool changed; /* differs from what the header said */
};

struct dn_backend_state {
	const char *name;
	enum dn_fact fact; /* in the stream: ok -> "active" when it supplies something, "idle" when
			      not, else the fact's name */
	bool active;
	const char *reason;
	const char *hint;
};

/* The header record's content; lives as long as the run. */
struct dn_run {
	struct timespec time; /* CLOCK_REALTIME at t0 */
	const char *mode; /* "run", "attach" */
	char *const *command; /* run: argv, NULL-terminated; attach: NULL */
	const char *cwd;
	const pid_t *targets;
	unsigned n_targets;
	const char *tier; /* "procfs", "perf", "ebpf", "fake" */
	uint64_t interval_ns;
	const struct dn_machine *machine;
	struct dn_backend_state backend[DN_BACKEND_MAX];
	unsigned n_backends;
	struct dn_metric_state metric[DN_METRIC_MAX];
	bool per_process;
	bool detail; /* tables and histograms in every sample */
};

/* One line of the summary's "commands": all processes of one name. */
struct dn_command_total {
	char name[DN_PROCESS_NAME_MAX];
	uint64_t count; /* processes that ended with, or still have, this name */
	uint64_t cpu_ns; /* known CPU time; has_cpu false when no source could tell */
	uint64_t peak_rss_bytes;
	uint64_t wall_ns; /* sum of lifetimes */
	bool has_cpu, has_rss;
};

struct dn_summary {
	uint64_t t_ns;
	uint64_t wall_ns;
	bool has_exit; /* run: the command ended; wait_status is valid */
	int wait_status; /* as from wait4() */
	const char *ended_by; /* "exit", "duration", "signal", "target" (attach: all targets gone),
				 "exec_failed", "fixture" */
	uint64_t descendants_left; /* live members of the tree besides the root */
	struct dn_frame frame; /* the last values */
	uint64_t lost_events;
	uint64_t lost_samples; /* ticks that did not happen in time */
	uint64_t self_cpu_ns; /* denet's own, command excluded */
	uint64_t self_max_rss_bytes; /* 0: unknown */
	struct dn_cost cost; /* of the backends */
	const struct dn_command_total *command; /* by CPU, most expensive first */
	unsigned n_commands;
	uint64_t commands_other; /* processes of names that did not fit the bounded table */
	const struct dn_process *const
		*process; /* the most expensive single processes, dead ones too, by CPU */
	unsigned n_processes;
};

struct dn_sink;
struct dn_sink_ops {
	const char *name;
	/* All required; 0 or negative errno. An error is told once by the output; the run goes on.
	 */
	int (*header)(struct dn_sink *sink, const struct dn_run *run);
	int (*sample)(struct dn_sink *sink, const struct dn_run *run, const struct dn_frame *frame,
		struct dn_tree *tree);
	int (*event)(struct dn_sink *sink, const struct dn_run *run, const struct dn_event *event);
	int (*summary)(
		struct dn_sink *sink, const struct dn_run *run, const struct dn_summary *summary);
	void (*close)(struct dn_sink *sink); /* frees; accepts NULL */
};

struct dn_sink {
	const struct dn_sink_ops *ops;
};

#endif

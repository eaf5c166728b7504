/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One measurement, from options to summary. session.c wires it up, session-events.c answers to what
 * happens (processes, signals, the end), session-report.c makes frames and the summary. The only
 * files that know backends, sinks and the loop together.
 */
#ifndef DENET_SESSION_H
#define DENET_SESSION_H

#include <denet/backend.h>
#include <denet/sink.h>

#include "options.h"
#include "output.h"
#include "plan.h"
#include "sampler.h"
#include "signals.h"
#include "spawn.h"
#include "tree.h"

#define DN_SINK_MAX 3

struct dn_session;

/* A pidfd tells when a target of attach is gone. */
struct dn_target_watch {
	struct dn_source source;
	struct dn_session *session;
	pid_t pid;
};

struct dn_session {
	const struct dn_options *options;
	bool attach;

	/* what is measured */
	struct dn_env env;
	struct dn_child child; /* run */
	struct dn_inheritance inheritance;
	struct dn_target_watch *watches; /* attach: one per target */
	unsigned targets_left;

	/* who measures */
	struct dn_plan plan;
	struct dn_core core;
	struct dn_loop *loop;
	struct dn_tree *tree;
	struct dn_tree_listener listener;
	uint32_t open_backends; /* a bit per backend that may be told of processes */
	struct dn_sampler sampler;
	struct dn_signals signals;
	struct dn_source duration;

	/* who listens */
	struct dn_output out, terminal;
	struct dn_sink *sink[DN_SINK_MAX];
	unsigned n_sinks;
	bool header_wanted; /* some sink prints the machine's facts */
	bool header_done;
	struct dn_metric_set
		shown; /* what the user asked for; env.wanted adds what that is made of */
	struct dn_run run;
	struct dn_machine machine;
	char cwd[4096];

	/* how it went */
	bool measuring, ended;
	bool privileges_settled; /* given up, or to be kept until the end */
	const char *ended_by;
	bool root_exited, root_stopped;
	int exec_error; /* errno of an exec that failed */
	int root_status;
	uint64_t root_exit_ns; /* CLOCK_MONOTONIC */
	uint64_t reaped_cpu_ns, gate_cpu_ns; /* rusage of all that was reaped; what the child used
						before the gate */
	uint64_t lost_events;
	struct dn_frame frame, before; /* before: no tables and histograms, unless it is final */
	struct dn_cost cost; /* of backends that were closed on the way */
	uint64_t seq;
};

/*
 * In this order, on a zeroed session; each returns 0 or negative errno with why.
 * dn_session_finish() copes with any prefix of it. dn_session_start opens the gate (run) or begins
 * counting (attach); dn_session_loop returns when measuring is over.
 */
int dn_session_init(struct dn_session *session, const struct dn_options *options, bool attach,
	struct dn_why *why);
int dn_session_open_outputs(struct dn_session *session, struct dn_why *why);
int dn_session_plan(
	struct dn_session *session, const pid_t *targets, unsigned n_targets, struct dn_why *why);
int dn_session_open_backends(struct dn_session *session, struct dn_why *why);
int dn_session_start(struct dn_session *session, struct dn_why *why);
int dn_session_loop(struct dn_session *session);
void dn_session_finish(struct dn_session *session);

/* session-events.c */
void dn_session_listen(struct dn_session *session); /* sets the tree's listener */
void dn_session_on_signal(struct dn_signals *signals, const struct signalfd_siginfo *info);
void dn_session_reap(struct dn_session *session);
int dn_session_watch_targets(struct dn_session *session);
/* Ends measuring once: final frame, summary, quit. */
void dn_session_end(struct dn_session *session, const char *ended_by);
void dn_session_drain(struct dn_session *session);
void dn_session_event(struct dn_session *session, enum dn_event_type type,
	const struct dn_process *process, uint64_t t_ns, const char *text);
void dn_session_degrade(
	struct dn_session *session, unsigned metric, enum dn_quality quality, const char *reason);
void dn_session_settle(struct dn_session *session, unsigned metric, enum dn_quality quality,
	const char *source, const char *reason, const char *hint);
void dn_session_started(struct dn_session *session);
void dn_session_replay_births(struct dn_session *session, unsigned backend);

/* session-report.c */
void dn_session_header(struct dn_session *session);
void dn_session_on_tick(struct dn_sampler *sampler);
/* As soon as all is open: denet goes on with the few capabilities that it still needs. */
void dn_session_privileges(struct dn_session *session);
void dn_session_sample(struct dn_session *session, bool final);
void dn_session_summary(struct dn_session *session);

#endif

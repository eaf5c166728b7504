/* SPDX-License-Identifier: Apache-2.0 */
/* Wiring of one measurement: outputs, plan, backends, gate, loop, and all of it back in reverse. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include <denet/fs.h>

#include "session.h"
#include "sinks.h"
#include "stdio-guard.h"
#include "terminal.h"

static struct dn_session *session_of(struct dn_core *core)
{
	return dn_container_of(core, struct dn_session, core);
}

static void core_degrade(
	struct dn_core *core, unsigned metric, enum dn_quality quality, const char *reason)
{
	dn_session_degrade(session_of(core), metric, quality, reason);
}

static void core_settle(struct dn_core *core, unsigned metric, enum dn_quality quality,
	const char *source, const char *reason, const char *hint)
{
	dn_session_settle(session_of(core), metric, quality, source, reason, hint);
}

static void core_drain(struct dn_core *core)
{
	dn_session_drain(session_of(core));
}

static void core_lost(struct dn_core *core, const char *source, uint64_t n)
{
	session_of(core)->lost_events = dn_add_sat(session_of(core)->lost_events, n);
	dn_debug("%s lost %llu events", source, (unsigned long long)n);
}

static void core_event(struct dn_core *core, enum dn_event_type type,
	const struct dn_process *process, uint64_t t_ns, const char *text)
{
	dn_session_event(session_of(core), type, process, t_ns, text);
}

static int open_directory(const char *path, int *ret, struct dn_why *why)
{
	int fd = dn_open_at(AT_FDCWD, path, O_RDONLY | O_DIRECTORY);

	if (fd < 0) {
		dn_why_set(why, "cannot open %s: %s", path, strerror(-fd));
		return fd;
	}
	*ret = fd;
	return 0;
}

/* The numbers in a /proc of another pid namespace are other processes'. */
static bool is_own_proc(int proc_fd)
{
	char text[32] = "";
	const char *p = text;
	uint64_t pid;

	return readlinkat(proc_fd, "self", text, sizeof(text) - 1) > 0 &&
	       dn_parse_u64(&p, &pid) == 0 && pid == (uint64_t)getpid();
}

/* A run without a /proc that speaks of us still has what wait tells, and backends say what they
 * miss. */
static int open_proc(struct dn_session *session, struct dn_why *why)
{
	int *fd = &session->env.proc_fd, r = open_directory(session->options->proc_root, fd, why);

	if (session->env.fixture)
		return r;
	if (r == 0 && !is_own_proc(*fd)) {
		dn_why_set(why, "/proc is not that of this pid namespace");
		dn_why_hint(why, "mount procfs in it: unshare --mount-proc");
		close(dn_steal_fd(fd));
		r = -ENOENT;
	}
	if (r == 0 || session->attach)
		return r;
	dn_warn("%s; continuing with what the command's end tells", why->text);
	return open_directory("/", fd, why);
}

int dn_session_init(struct dn_session *session, const struct dn_options *options, bool attach,
	struct dn_why *why)
{
	struct dn_why ignored;
	int r;

	session->options = options;
	session->attach = attach;
	session->child.gate = session->child.pidfd = -1;
	session->env.proc_fd = session->env.sys_fd = -1;
	session->out.fd = session->terminal.fd = -1;
	session->signals.source.fd = session->sampler.source.fd = session->duration.fd = -1;
	session->sampler.base_ns = options->interval_ns;
	session->sampler.max_ns = options->max_interval_ns;
	session->sampler.on_tick = dn_session_on_tick;
	session->signals.on_signal = dn_session_on_signal;
	r = dn_signals_init(&session->signals, &session->inheritance);
	if (r == 0)
		r = dn_loop_new(&session->loop);
	if (r == 0)
		r = dn_loop_add(session->loop, &session->signals.source, EPOLLIN);
	if (r == 0)
		r = dn_tree_new(&session->listener, &session->tree);
	if (r < 0) {
		dn_why_set(why, "cannot set up: %s", strerror(-r));
		if (r == -EMFILE || r == -ENFILE)
			dn_why_hint(why, "raise the limit of open files (ulimit -n)");
		return r;
	}
	dn_session_listen(session);
	/* Before backends, which take a descriptor per process, take the last one. */
	session->sampler.source.fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (options->duration_ns > 0)
		session->duration.fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (session->sampler.source.fd < 0 ||
		(options->duration_ns > 0 && session->duration.fd < 0)) {
		r = -errno;
		dn_why_set(why, "cannot make a timer: %s", strerror(-r));
		return r;
	}
	session->env.fixture = strcmp(options->proc_root, "/proc") != 0;
	session->env.still = session->env.fixture && attach;
	r = open_proc(session, why);
	if (r < 0)
		return r;
	/* Without /sys less is known of the machine; nothing else fails. */
	(void)open_directory(options->sys_root, &session->env.sys_fd, &ignored);
	session->core = (struct dn_core){.loop = session->loop,
		.tree = session->tree,
		.degrade = core_degrade,
		.settle = core_settle,
		.lost = core_lost,
		.event = core_event,
		.drain = core_drain};
	return 0;
}

static bool is_csv(const struct dn_options *options)
{
	size_t len = options->out ? strlen(options->out) : 0;

	if (options->format != DN_FORMAT_AUTO)
		return options->format == DN_FORMAT_CSV;
	return len > 4 && strcmp(options->out + len - 4, ".csv") == 0;
}

/* What the plan says of each metric becomes what the run says, less what nobody asked to see. */
static void adopt_plan(struct dn_session *session)
{
	memcpy(session->run.metric, session->plan.metric, sizeof(session->run.metric));
	for (unsigned m = 0; m < DN_METRIC_MAX; m++)
		session->run.metric[m].wanted &= dn_metric_set_has(&session->shown, m);
	if (session->env.still)
		dn_session_settle(session, DN_M_cpu_usage_percent, DN_QUALITY_MISSING, NULL,
			"a recorded machine stands still: there is no interval", NULL);
}

static int add_sink(struct dn_session *session, int r, struct dn_sink *sink)
{
	if (r == 0)
		session->sink[session->n_sinks++] = sink;
	return r;
}

int dn_session_open_outputs(struct dn_session *session, struct dn_why *why)
{
	const struct dn_options *options = session->options;
	struct dn_sink *sink = NULL;
	bool stream = options->json || options->out;
	int r = 0;

	if (stream) {
		const char *spec = options->out ? options->out : "-";

		if (strcmp(spec, "-") == 0 && dn_stdio_was_closed() & 1u << STDOUT_FILENO) {
			dn_why_set(why, "cannot write the stream: stdout is closed");
			dn_why_hint(why, "use -o FILE");
			return -EBADF;
		}
		r = dn_output_open(spec, &session->out, why);
		if (r < 0)
			return r;
		if (is_csv(options)) {
			r = dn_sink_csv_new(&session->out, &sink);
		} else {
			r = dn_sink_jsonl_new(&session->out, options->process_events, &sink);
			session->header_wanted = true;
		}
		r = add_sink(session, r, sink);
	}
	dn_output_from_fd(STDERR_FILENO, "stderr", &session->terminal);
	if (r == 0 && options->live && isatty(STDERR_FILENO)) {
		r = dn_sink_live_new(&session->terminal,
			dn_terminal_color(STDERR_FILENO, options->color),
			dn_terminal_columns(STDERR_FILENO), &sink);
		r = add_sink(session, r, sink);
	}
	if (r == 0 && !stream && !options->quiet) {
		r = dn_sink_summary_new(&session->terminal,
			dn_terminal_color(STDERR_FILENO, options->color),
			dn_terminal_columns(STDERR_FILENO), &sink);
		r = add_sink(session, r, sink);
	}
	if (r < 0)
		dn_why_set(why, "cannot set up the output: %s", strerror(-r));
	return r;
}

/* What is asked for, and what that needs: the process table, and the inputs of derived metrics. */
static int wanted_metrics(struct dn_session *session, struct dn_metric_set *ret, struct dn_why *why)
{
	const struct dn_options *options = session->options;
	uint32_t *groups = &session->env.groups;
	int r;

	*groups = options->groups;
	r = dn_options_metric_set(options->metrics, groups, options->groups_denied, ret, why);
	if (r < 0)
		return r;
	if (session->n_sinks == 0) {
		/* --quiet without a stream: nobody will be told anything. */
		*ret = (struct dn_metric_set){0};
		*groups = 0;
		return 0;
	}
	if (!options->json && !options->out) {
		struct dn_metric_set summary;

		dn_sink_summary_metrics(&summary);
		for (unsigned i = 0; i < sizeof(ret->bits) / sizeof(ret->bits[0]); i++)
			ret->bits[i] &= summary.bits[i];
	}
	session->shown = *ret;
	dn_plan_add_inputs(ret);
	if (options->no_children) {
		dn_metric_set_del(ret, DN_M_process_started);
		dn_metric_set_del(ret, DN_M_process_exited);
		dn_metric_set_del(ret, DN_M_process_count);
		return 0;
	}
	dn_metric_set_add(ret, DN_M_process_started);
	return 0;
}

/* denet's own need of descriptors grows with the tree; the command got the old limit. */
static void raise_descriptor_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= limit.rlim_max)
		return;
	limit.rlim_cur = limit.rlim_max < 65536 ? limit.rlim_max : 65536;
	(void)setrlimit(RLIMIT_NOFILE, &limit);
}

int dn_session_plan(
	struct dn_session *session, const pid_t *targets, unsigned n_targets, struct dn_why *why)
{
	const struct dn_options *options = session->options;
	struct dn_env *env = &session->env;
	int r;

	raise_descriptor_limit();
	env->attach = session->attach;
	env->no_children = options->no_children;
	env->subreaper = !session->attach && !options->no_subreaper &&
			 prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0;
	env->header = session->header_wanted;
	env->per_process = options->per_process;
	env->targets = targets;
	env->n_targets = n_targets;
	env->events = options->events;
	env->script = options->fake_script;
	env->interval_ns = options->interval_ns;
	memcpy(env->sample_every, options->sample_every, sizeof(env->sample_every));
	env->max_overhead_percent = options->max_overhead_percent;
	env->paths = options->paths;
	env->detail = options->detail;
	env->account_bpf = options->account;
	r = wanted_metrics(session, &env->wanted, why);
	if (r < 0)
		return r;
	for (unsigned i = 0; i < n_targets; i++) {
		if (!dn_tree_add_target(session->tree, targets[i], !session->attach))
			return -ENOMEM;
	}
	r = dn_plan_probe(options->backend, env, &session->plan, why);
	if (r < 0)
		return r;
	dn_plan_make(&session->plan, &env->wanted);
	return dn_plan_check_forced(&session->plan, options->backend, why);
}

/* Opens those that supply something, the highest tier first: if it fails, the lower ones take over
 * its metrics. */
int dn_session_open_backends(struct dn_session *session, struct dn_why *why)
{
	struct dn_plan *plan = &session->plan;

	/* Before any opens: what an open has to say of a metric must stay said. */
	adopt_plan(session);
	if (session->attach && !session->env.still) {
		int r = dn_session_watch_targets(session);

		if (r < 0) {
			dn_why_set(why, "cannot watch the target: %s", strerror(-r));
			return r;
		}
	}
	for (unsigned i = plan->n_backends; i > 0; i--) {
		struct dn_plan_backend *backend = &plan->backend[i - 1];
		int r;

		if (!backend->active || backend->dead)
			continue;
		session->open_backends |= 1u << (i - 1);
		r = backend->ops->open(backend->instance, &backend->assigned, &session->core);
		if (r < 0) {
			dn_debug("backend %s does not open: %s", backend->ops->name, strerror(-r));
			session->open_backends &= ~(1u << (i - 1));
			backend->dead = true;
			if (!backend->probe.reason)
				backend->probe.reason = dn_probe_printf(
					&backend->probe, "it could not start: %s", strerror(-r));
			dn_plan_make(plan, &session->env.wanted);
			adopt_plan(session);
			r = dn_plan_check_forced(plan, session->options->backend, why);
			if (r < 0)
				return r;
			continue;
		}
		dn_session_replay_births(session, i - 1);
	}
	return 0;
}

static int on_duration(struct dn_source *source, uint32_t events)
{
	dn_session_end(dn_container_of(source, struct dn_session, duration), "duration");
	return 0;
}

static int arm_duration(struct dn_session *session)
{
	uint64_t end = dn_add_sat(session->core.t0_ns, session->options->duration_ns);
	struct itimerspec when = {.it_value.tv_sec = (time_t)(end / 1000000000),
		.it_value.tv_nsec = (long)(end % 1000000000)};

	if (session->options->duration_ns == 0)
		return 0;
	session->duration.dispatch = on_duration;
	if (timerfd_settime(session->duration.fd, TFD_TIMER_ABSTIME, &when, NULL) < 0)
		return -errno;
	return dn_loop_add(session->loop, &session->duration, EPOLLIN);
}

static uint64_t child_cpu_ns(pid_t pid)
{
	struct timespec ts;

	/* The CPU clock of any pid, all its threads: see clock_getcpuclockid(3). */
	if (clock_gettime((clockid_t)(~(unsigned)pid << 3 | 2), &ts) < 0)
		return 0;
	return dn_timespec_ns(&ts);
}

int dn_session_start(struct dn_session *session, struct dn_why *why)
{
	int r;

	clock_gettime(CLOCK_REALTIME, &session->run.time);
	session->core.t0_ns = dn_now_ns();
	dn_tree_begin(session->tree, session->core.t0_ns);
	session->measuring = true;
	/* Whatever may fail comes before the gate: what can't be measured is not run. */
	r = session->env.still
		    ? 0
		    : dn_sampler_start(&session->sampler, session->loop, session->core.t0_ns);
	if (r == 0 && !session->env.still)
		r = arm_duration(session);
	if (r == 0 && !session->attach) {
		session->gate_cpu_ns = child_cpu_ns(session->child.pid);
		r = dn_spawn_open_gate(&session->child);
	}
	if (r < 0) {
		dn_why_set(why, "cannot start measuring: %s", strerror(-r));
		return r;
	}
	dn_session_started(session);
	/* The command runs while denet reads what the header says of the machine. */
	dn_session_header(session);
	dn_session_privileges(session);
	if (session->env.still)
		dn_session_end(session, "fixture");
	return 0;
}

int dn_session_loop(struct dn_session *session)
{
	int r = session->ended ? 0 : dn_loop_run(session->loop);

	if (session->measuring)
		dn_session_end(session, "signal");
	return r;
}

void dn_session_finish(struct dn_session *session)
{
	/* Backends first: they may still hold sources in the loop and processes of the tree. */
	dn_plan_finish(&session->plan);
	for (unsigned i = 0; i < session->n_sinks; i++)
		session->sink[i]->ops->close(session->sink[i]);
	(void)dn_output_close(&session->out);
	(void)dn_output_close(&session->terminal);
	for (unsigned i = 0; session->watches && i < session->env.n_targets; i++) {
		if (session->watches[i].source.fd >= 0)
			close(session->watches[i].source.fd);
	}
	free(session->watches);
	if (session->duration.fd >= 0)
		close(session->duration.fd);
	if (session->sampler.source.fd >= 0)
		close(session->sampler.source.fd);
	dn_signals_finish(&session->signals);
	dn_child_finish(&session->child);
	dn_tree_free(session->tree);
	dn_loop_free(session->loop);
	if (session->env.proc_fd >= 0)
		close(session->env.proc_fd);
	if (session->env.sys_fd >= 0)
		close(session->env.sys_fd);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What happens during a measurement: births and deaths, children to reap, signals, the end. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <denet/arena.h>
#include <denet/fs.h>

#include "session.h"

static void tell(struct dn_session *session, unsigned index, const struct dn_process_event *event)
{
	const struct dn_plan_backend *backend = &session->plan.backend[index];

	if (backend->ops->on_event)
		backend->ops->on_event(backend->instance, event);
}

static void tell_all(struct dn_session *session, const struct dn_process_event *event)
{
	for (unsigned i = 0; i < session->plan.n_backends; i++) {
		if (session->open_backends >> i & 1)
			tell(session, i, event);
	}
}

void dn_session_event(struct dn_session *session, enum dn_event_type type,
	const struct dn_process *process, uint64_t t_ns, const char *text)
{
	struct dn_event event = {.type = type,
		.t_ns = dn_sub_sat(t_ns, session->core.t0_ns),
		.process = process,
		.text = text};

	/* Births before the header are what was there before, and the summary is the last record.
	 */
	if (!session->header_done || !session->measuring)
		return;
	for (unsigned i = 0; i < session->n_sinks; i++)
		(void)session->sink[i]->ops->event(session->sink[i], &session->run, &event);
}

static void on_born(struct dn_tree_listener *listener, struct dn_process *process, uint64_t t_ns)
{
	struct dn_session *session = dn_container_of(listener, struct dn_session, listener);
	struct dn_process_event event = {
		.type = DN_PROCESS_BORN, .process = process, .pid = process->pid, .t_ns = t_ns};

	for (unsigned i = 0; i < session->plan.n_backends; i++) {
		if (session->open_backends >> i & 1 && !dn_tree_told(process, i))
			tell(session, i, &event);
	}
	if (!process->inherited)
		dn_session_event(session, DN_EVENT_FORK, process, t_ns, NULL);
}

void dn_session_replay_births(struct dn_session *session, unsigned backend)
{
	for (struct dn_process *p = dn_tree_first(session->tree); p; p = p->next) {
		struct dn_process_event event = {
			.type = DN_PROCESS_BORN, .process = p, .pid = p->pid};

		if (!dn_tree_told(p, backend))
			tell(session, backend, &event);
	}
}

static void on_exec(struct dn_tree_listener *listener, struct dn_process *process, uint64_t t_ns)
{
	struct dn_session *session = dn_container_of(listener, struct dn_session, listener);

	tell_all(session, &(struct dn_process_event){.type = DN_PROCESS_EXEC,
				  .process = process,
				  .pid = process->pid,
				  .t_ns = t_ns});
	dn_session_event(session, DN_EVENT_EXEC, process, t_ns, NULL);
}

static void on_exited(struct dn_tree_listener *listener, struct dn_process *process, uint64_t t_ns)
{
	struct dn_session *session = dn_container_of(listener, struct dn_session, listener);

	tell_all(session, &(struct dn_process_event){.type = DN_PROCESS_EXITED,
				  .process = process,
				  .pid = process->pid,
				  .t_ns = t_ns});
	dn_session_event(session, DN_EVENT_EXIT, process, t_ns, NULL);
}

void dn_session_listen(struct dn_session *session)
{
	session->listener =
		(struct dn_tree_listener){.born = on_born, .exec = on_exec, .exited = on_exited};
}

void dn_session_degrade(
	struct dn_session *session, unsigned metric, enum dn_quality quality, const char *reason)
{
	struct dn_metric_state *state;
	int derived;

	if (metric >= DN_METRIC_MAX)
		return;
	for (unsigned i = 0; (derived = dn_plan_made_of(metric, i)) >= 0; i++)
		dn_session_degrade(session, (unsigned)derived, quality, reason);
	state = &session->run.metric[metric];
	if (!state->wanted || quality <= state->quality)
		return;
	state->quality = quality;
	state->reason = dn_arena_printf(session->plan.arena, "%s", reason);
	state->changed = session->header_done;
	if (quality == DN_QUALITY_MISSING)
		state->source = NULL;
}

static const char *copy(struct dn_session *session, const char *text)
{
	return text ? dn_arena_printf(session->plan.arena, "%s", text) : NULL;
}

void dn_session_settle(struct dn_session *session, unsigned metric, enum dn_quality quality,
	const char *source, const char *reason, const char *hint)
{
	struct dn_metric_state *state;

	if (metric >= DN_METRIC_MAX)
		return;
	state = &session->run.metric[metric];
	state->quality = quality;
	state->source = quality == DN_QUALITY_MISSING ? NULL : copy(session, source);
	state->reason = copy(session, reason);
	state->hint = copy(session, hint);
	state->changed = session->header_done;
}

void dn_session_started(struct dn_session *session)
{
	for (unsigned i = 0; i < session->plan.n_backends; i++) {
		const struct dn_plan_backend *backend = &session->plan.backend[i];

		if (session->open_backends >> i & 1 && backend->ops->started)
			backend->ops->started(backend->instance);
	}
}

void dn_session_drain(struct dn_session *session)
{
	int source = session->plan.supplier[DN_M_process_started];
	const struct dn_plan_backend *backend;

	if (source < 0 || !(session->open_backends >> source & 1))
		return;
	backend = &session->plan.backend[source];
	if (backend->ops->drain)
		backend->ops->drain(backend->instance);
}

static void reap_one(struct dn_session *session, pid_t pid)
{
	struct dn_process_event event = {
		.type = DN_PROCESS_ZOMBIE, .pid = pid, .t_ns = dn_now_ns()};
	struct rusage rusage;
	int status;

	event.process = dn_tree_find(session->tree, pid);
	if (!event.process && !session->options->no_children &&
		session->run.metric[DN_M_process_started].quality != DN_QUALITY_EXACT) {
		/* An orphan that came and went between two looks of a source that is not lossless.
		 */
		event.process = dn_tree_fork(session->tree, pid, 0, event.t_ns, true);
	}
	if (event.process)
		event.process->child_of_denet = true;
	tell_all(session, &event);
	if (wait4(pid, &status, WNOHANG | __WALL, &rusage) != pid)
		return;
	event.type = DN_PROCESS_REAPED;
	event.t_ns = dn_now_ns();
	event.rusage = &rusage;
	event.wait_status = status;
	tell_all(session, &event);
	session->reaped_cpu_ns +=
		(uint64_t)(rusage.ru_utime.tv_sec + rusage.ru_stime.tv_sec) * UINT64_C(1000000000) +
		(uint64_t)(rusage.ru_utime.tv_usec + rusage.ru_stime.tv_usec) * 1000;
	if (pid == session->child.pid) {
		session->root_exited = true;
		session->root_status = status;
		session->root_exit_ns = event.t_ns;
		session->exec_error = dn_spawn_exec_error(&session->child);
		if (session->exec_error)
			session->ended_by = "exec_failed";
	}
	dn_tree_reaped(session->tree, pid, status, event.t_ns);
}

/*
 * A command that stopped itself (vi's ^Z reaches the group, but a shell's `suspend` only itself):
 * the shell above waits for denet, so denet stops too. SIGTSTP, not SIGSTOP: where nobody could
 * continue us the kernel drops it.
 */
static void follow_stop(struct dn_session *session)
{
	siginfo_t info = {0};
	int tty;

	if (waitid(P_PID, (id_t)session->child.pid, &info, WSTOPPED | WCONTINUED | WNOHANG) < 0 ||
		info.si_pid == 0)
		return;
	session->root_stopped = info.si_code == CLD_STOPPED;
	if (!session->root_stopped || getsid(0) == getpgrp())
		return;
	tty = open("/dev/tty", O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (tty < 0)
		return;
	close(tty);
	raise(SIGTSTP);
}

static bool command_has_ended(const struct dn_session *session)
{
	struct pollfd end = {.fd = session->child.pidfd, .events = POLLIN};

	return !session->attach && !session->root_exited && session->child.pidfd >= 0 &&
	       poll(&end, 1, 0) > 0;
}

void dn_session_reap(struct dn_session *session)
{
	bool drained = false;

	for (;;) {
		siginfo_t info = {0};

		if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT | __WALL) < 0) {
			if (errno == EINTR)
				continue;
			if (errno == ECHILD && !session->attach && session->options->wait_tree &&
				session->root_exited)
				dn_session_end(session, "exit");
			if (errno != ECHILD && command_has_ended(session))
				reap_one(session,
					session->child.pid); /* waitid is refused (seccomp) */
			break;
		}
		if (info.si_pid == 0)
			break;
		if (!drained && session->measuring)
			dn_session_drain(session);
		drained = true;
		reap_one(session, info.si_pid);
	}
	if (session->attach)
		return;
	if (!session->root_exited)
		follow_stop(session);
	else if (session->ended)
		dn_loop_quit(
			session->loop); /* measuring ended before the command did (--duration) */
	else if (!session->options->wait_tree)
		dn_session_end(session, "exit");
	else if (!session->env.subreaper && dn_tree_live(session->tree) == 0)
		dn_session_end(session, "exit");
}

static bool ends_a_program(int signal_number)
{
	return signal_number == SIGINT || signal_number == SIGTERM || signal_number == SIGHUP ||
	       signal_number == SIGQUIT;
}

void dn_session_on_signal(struct dn_signals *signals, const struct signalfd_siginfo *info)
{
	struct dn_session *session = dn_container_of(signals, struct dn_session, signals);
	int number = (int)info->ssi_signo;

	if (number == SIGCHLD) {
		dn_session_reap(session);
		return;
	}
	if (session->attach || session->root_exited) {
		/* Nothing is sent to a target of attach; and a command that ended can't get
		 * anything. */
		if (ends_a_program(number))
			dn_session_end(session, "signal");
		return;
	}
	if (number == SIGCONT) {
		/* `fg` continues our group; a command that stopped in a group of its own is not in
		 * it. */
		if (session->root_stopped)
			kill(session->child.pid, SIGCONT);
		return;
	}
	/* The terminal and the kernel signal the whole group; the command has it already. */
	if (info->ssi_code == SI_KERNEL || info->ssi_code > 0)
		return;
	/* From inside the tree: kill(0, ...) reached its own group. */
	if (info->ssi_pid != 0 && dn_tree_find(session->tree, (pid_t)info->ssi_pid))
		return;
	dn_debug("forwarding signal %d to the command", number);
	if (session->child.pidfd < 0 ||
		syscall(SYS_pidfd_send_signal, session->child.pidfd, number, NULL, 0) < 0)
		kill(session->child.pid, number);
}

static int on_target_exit(struct dn_source *source, uint32_t events)
{
	struct dn_target_watch *watch = dn_container_of(source, struct dn_target_watch, source);
	struct dn_session *session = watch->session;
	struct dn_process *process = dn_tree_find(session->tree, watch->pid);

	dn_loop_remove(session->loop, source);
	close(source->fd);
	source->fd = -1;
	if (process)
		dn_session_event(
			session, DN_EVENT_TARGET_LOST, process, dn_now_ns(), "the target exited");
	dn_session_drain(session);
	/* A source that looks now and then may not have noticed. */
	dn_tree_exit(session->tree, watch->pid, dn_now_ns());
	if (--session->targets_left == 0)
		dn_session_end(session, "target");
	return 0;
}

int dn_session_watch_targets(struct dn_session *session)
{
	unsigned n = session->env.n_targets;

	session->watches = calloc(n, sizeof(*session->watches));
	if (!session->watches)
		return -ENOMEM;
	for (unsigned i = 0; i < n; i++)
		session->watches[i].source.fd = -1;
	for (unsigned i = 0; i < n; i++) {
		struct dn_source *source = &session->watches[i].source;
		int r;

		session->watches[i].session = session;
		session->watches[i].pid = session->env.targets[i];
		source->fd = (int)syscall(SYS_pidfd_open, session->env.targets[i], 0);
		source->dispatch = on_target_exit;
		if (source->fd < 0)
			return -errno;
		r = dn_loop_add(session->loop, source, EPOLLIN);
		if (r < 0)
			return r;
		session->targets_left++;
	}
	return 0;
}

void dn_session_end(struct dn_session *session, const char *ended_by)
{
	if (session->ended)
		return;
	session->ended = true;
	if (!session->ended_by)
		session->ended_by = ended_by;
	dn_session_drain(session);
	dn_session_sample(session, true);
	dn_session_summary(session);
	session->measuring = false;
	dn_sampler_stop(&session->sampler, session->loop);
	dn_loop_quit(session->loop);
}

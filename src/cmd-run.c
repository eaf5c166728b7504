/* SPDX-License-Identifier: Apache-2.0 */
/* denet run: launch a command, measure its tree, end as it ended. */
#include <errno.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "commands.h"
#include "session.h"

static int fail(const struct dn_why *why)
{
	if (why->hint[0])
		dn_error("%s; %s", why->text, why->hint);
	else
		dn_error("%s", why->text[0] ? why->text : "out of memory");
	return DN_EXIT_FAILED;
}

/* Everything up to the open gate. */
static int prepare(struct dn_session *session, const struct dn_options *options, struct dn_why *why)
{
	bool stream_on_stdout =
		options->out ? strcmp(options->out, "-") == 0 || strcmp(options->out, "fd:1") == 0
			     : options->json;
	int r;

	r = dn_session_init(session, options, false, why);
	if (r == 0)
		r = dn_session_open_outputs(session, why);
	if (r == 0)
		r = dn_spawn(options->argv, &session->inheritance, stream_on_stdout,
			&session->child, why);
	if (r == 0)
		r = dn_session_plan(session, &session->child.pid, 1, why);
	if (r == 0)
		dn_spawn_wait_arrival(&session->child);
	if (r == 0)
		r = dn_session_open_backends(session, why);
	if (r == 0)
		r = dn_session_start(session, why);
	return r;
}

static const char *why_not(const char *command, int error)
{
	if (error != ENOENT)
		return strerror(error);
	if (strchr(command, '/') && access(command, F_OK) == 0)
		return "its interpreter (the first line of a script) or its loader does not exist";
	return "command not found";
}

int dn_cmd_run(const struct dn_options *options)
{
	static struct dn_session session; /* large: frames with every metric */
	struct dn_why why = {0};
	int r, status;

	r = prepare(&session, options, &why);
	if (r < 0) {
		dn_session_finish(&session);
		return fail(&why);
	}
	r = dn_session_loop(&session);
	if (!session.root_exited) {
		/* --duration: the command lives on, and so does the promise to end as it ends. */
		dn_plan_finish(&session.plan);
		session.open_backends = 0;
		session.plan.n_backends = 0;
		r = dn_loop_run(session.loop);
	}
	if (session.exec_error)
		dn_error("cannot run '%s': %s", options->argv[0],
			why_not(options->argv[0], session.exec_error));
	if (r < 0)
		dn_error("lost track of the command: %s", strerror(-r));
	status = session.root_status;
	dn_session_finish(&session);
	if (!session.root_exited)
		return DN_EXIT_FAILED;
	if (WIFSIGNALED(status)) {
		dn_die_of_signal(WTERMSIG(status));
		return 128 + WTERMSIG(status);
	}
	return WEXITSTATUS(status);
}

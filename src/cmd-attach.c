/* SPDX-License-Identifier: Apache-2.0 */
/* denet attach: measure what runs already, with its threads and descendants. Nothing is ever sent
 * to a target. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "session.h"
#include "target.h"

static int fail(int r, const struct dn_why *why)
{
	if (why->hint[0])
		dn_error("%s; %s", why->text, why->hint);
	else
		dn_error("%s", why->text[0] ? why->text : strerror(-r));
	return r == -EDOM ? DN_EXIT_USAGE : DN_EXIT_ERROR;
}

int dn_cmd_attach(const struct dn_options *options)
{
	static struct dn_session session; /* large: frames with every metric */
	struct dn_why why = {0};
	pid_t *pids = NULL;
	unsigned n_pids;
	int r;

	r = dn_session_init(&session, options, true, &why);
	if (r == 0)
		r = dn_target_resolve(session.env.proc_fd, options, &pids, &n_pids, &why);
	if (r == 0)
		r = dn_session_open_outputs(&session, &why);
	if (r == 0)
		r = dn_session_plan(&session, pids, n_pids, &why);
	if (r == 0)
		r = dn_session_open_backends(&session, &why);
	if (r == 0)
		r = dn_session_start(&session, &why);
	if (r == 0)
		r = dn_session_loop(&session);
	if (r == -ESRCH && !why.text[0])
		dn_why_set(&why, "the target is gone");
	dn_session_finish(&session);
	free(pids);
	return r < 0 ? fail(r, &why) : 0;
}

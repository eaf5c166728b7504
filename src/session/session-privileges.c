/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Giving up capabilities in the middle of a run: what opens and loads has them, what reads the
 * bytes of others for hours has not. The command was forked before, and keeps its own.
 */
#include <errno.h>
#include <string.h>

#include <denet/machine.h>

#include "session.h"

/* All that are open must be able to go on; the first that can't is named. */
static int ask(const struct dn_session *session, const char **ret_name)
{
	int answer = 0;

	for (unsigned i = 0; i < session->plan.n_backends; i++) {
		const struct dn_plan_backend *backend = &session->plan.backend[i];
		int r;

		if (!(session->open_backends >> i & 1) || !backend->ops->unprivileged)
			continue;
		r = backend->ops->unprivileged(backend->instance);
		if (r == 0 || (r == -EAGAIN && answer < 0))
			continue;
		answer = r;
		*ret_name = backend->ops->name;
		if (r != -EAGAIN)
			break;
	}
	return answer;
}

void dn_session_privileges(struct dn_session *session)
{
	struct dn_capabilities before;
	const char *name = "";
	int r;

	if (session->privileges_settled)
		return;
	r = dn_capabilities_lower(&before);
	if (r < 0) {
		session->privileges_settled = true;
		return;
	}
	r = ask(session, &name);
	if (r == 0)
		r = dn_capabilities_give_up();
	if (r == 0) {
		session->privileges_settled = true;
		dn_debug("capabilities are given up, but for those to read /proc and to signal");
		return;
	}
	if (dn_capabilities_raise(&before) < 0)
		dn_debug("capabilities can't be had back");
	if (r == -EAGAIN)
		return;
	session->privileges_settled = true;
	dn_debug("capabilities are kept, %s can't go on without: %s", name, strerror(-r));
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Doing without privileges: what parses bytes of others needs none. */
#include "config.h"
#if HAVE_CAPNG
#include <cap-ng.h>
#endif
#include <sys/prctl.h>

#include <denet/machine.h>

bool dn_privileges_drop(void)
{
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
#if HAVE_CAPNG
	capng_clear(CAPNG_SELECT_BOTH);
	return capng_apply(CAPNG_SELECT_BOTH) == 0;
#else
	return false;
#endif
}

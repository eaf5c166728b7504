/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Doing without privileges: what parses bytes of others needs none, and a run needs few once
 * everything is open. By capset(2) itself: it is there in every build.
 */
#include "config.h"
#if HAVE_CAPNG
#include <cap-ng.h>
#endif
#include <errno.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

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

#define BIT(capability) (UINT64_C(1) << (capability))
/* Reading /proc of other users' processes, and handing signals on to them. */
#define KEPT                                                                                       \
	(BIT(CAP_SYS_PTRACE) | BIT(CAP_DAC_READ_SEARCH) | BIT(CAP_DAC_OVERRIDE) | BIT(CAP_KILL))

static int get(struct dn_capabilities *ret)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

	*ret = (struct dn_capabilities){0};
	if (syscall(SYS_capget, &header, data) < 0)
		return -errno;
	ret->effective = data[0].effective | (uint64_t)data[1].effective << 32;
	ret->permitted = data[0].permitted | (uint64_t)data[1].permitted << 32;
	ret->inheritable = data[0].inheritable | (uint64_t)data[1].inheritable << 32;
	return 0;
}

static int set(const struct dn_capabilities *capabilities)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

	for (unsigned i = 0; i < _LINUX_CAPABILITY_U32S_3; i++) {
		data[i].effective = (uint32_t)(capabilities->effective >> 32 * i);
		data[i].permitted = (uint32_t)(capabilities->permitted >> 32 * i);
		data[i].inheritable = (uint32_t)(capabilities->inheritable >> 32 * i);
	}
	return syscall(SYS_capset, &header, data) < 0 ? -errno : 0;
}

int dn_capabilities_lower(struct dn_capabilities *ret_before)
{
	struct dn_capabilities low;
	int r = get(&low);

	if (r < 0)
		return r;
	if (!(low.permitted & ~KEPT))
		return -EALREADY;
	*ret_before = low;
	low.effective &= KEPT;
	return set(&low);
}

int dn_capabilities_raise(const struct dn_capabilities *before)
{
	return set(before);
}

int dn_capabilities_give_up(void)
{
	struct dn_capabilities low;
	int r = get(&low);

	if (r < 0)
		return r;
	low.permitted &= KEPT;
	low.effective &= KEPT;
	low.inheritable = 0;
	return set(&low);
}

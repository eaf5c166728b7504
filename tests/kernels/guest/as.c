/* SPDX-License-Identifier: Apache-2.0 */
/*
 * as WHO CMD [ARG...]: becomes WHO and runs CMD.
 *   root      as it is
 *   nobody    uid and gid 65534, no groups, no capabilities, no way back (no_new_privs)
 *   user      the same, but a program with capabilities gets them
 *   capable   nobody, with CAP_BPF and CAP_PERFMON, which its programs keep
 *   stripped  root without CAP_BPF, CAP_PERFMON and CAP_SYS_ADMIN
 */
#include <grp.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NOBODY 65534
#define BIT(cap) (1ULL << (cap))
#define TRACING (BIT(CAP_BPF) | BIT(CAP_PERFMON))

/* Permitted and effective ones are and-ed with keep; those that are inherited, set. */
static int set_capabilities(unsigned long long keep, unsigned long long inherited)
{
	struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct data[2];

	if (syscall(SYS_capget, &header, data) < 0)
		return -1;
	for (int i = 0; i < 2; i++) {
		data[i].permitted &= (unsigned)(keep >> 32 * i);
		data[i].effective = data[i].permitted;
		data[i].inheritable = (unsigned)(inherited >> 32 * i);
	}
	return (int)syscall(SYS_capset, &header, data);
}

static int become_nobody(void)
{
	if (setgroups(0, NULL) < 0 || setresgid(NOBODY, NOBODY, NOBODY) < 0)
		return -1;
	return setresuid(NOBODY, NOBODY, NOBODY);
}

static int forbid_more(void)
{
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

static int keep_tracing(void)
{
	if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0 || become_nobody() < 0 ||
		set_capabilities(TRACING, TRACING) < 0 || forbid_more() < 0)
		return -1;
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_BPF, 0, 0) < 0)
		return -1;
	return prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_PERFMON, 0, 0);
}

static int strip(void)
{
	if (prctl(PR_CAPBSET_DROP, CAP_BPF, 0, 0, 0) < 0 ||
		prctl(PR_CAPBSET_DROP, CAP_PERFMON, 0, 0, 0) < 0 ||
		prctl(PR_CAPBSET_DROP, CAP_SYS_ADMIN, 0, 0, 0) < 0)
		return -1;
	return set_capabilities(~(TRACING | BIT(CAP_SYS_ADMIN)), 0);
}

int main(int argc, char **argv)
{
	const char *who = argc > 2 ? argv[1] : "";
	int r = -1;

	if (strcmp(who, "root") == 0)
		r = 0;
	else if (strcmp(who, "nobody") == 0)
		r = become_nobody() < 0 ? -1 : forbid_more();
	else if (strcmp(who, "user") == 0)
		r = become_nobody();
	else if (strcmp(who, "capable") == 0)
		r = keep_tracing();
	else if (strcmp(who, "stripped") == 0)
		r = strip();
	if (r < 0) {
		perror(who);
		return 99;
	}
	execvp(argv[2], argv + 2);
	perror(argv[2]);
	return 127;
}

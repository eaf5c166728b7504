/* SPDX-License-Identifier: Apache-2.0 */
/*
 * capper [N=5]: becomes nobody without capabilities, then asks N times each for what needs one:
 * chroot, sethostname, mount, clock_settime, reboot (with magic numbers that are wrong), a raw
 * socket, setresuid(0) and a lower nice value. All are refused. Truth: refused calls, their errno
 * and the capability that the kernel asks for; root makes one setresuid more, to become nobody.
 */
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "workload.h"

struct call {
	const char *name, *capability;
	long nr;
	int error;
	long args[5];
};

static const struct timespec zero;

static const struct call calls[] = {
	{"chroot", "sys_chroot", SYS_chroot, EPERM, {(long)"/"}},
	{"sethostname", "sys_admin", SYS_sethostname, EPERM, {(long)"x", 1}},
	{"mount", "sys_admin", SYS_mount, EPERM, {(long)"none", (long)"/", (long)"tmpfs", 0, 0}},
	{"clock_settime", "sys_time", SYS_clock_settime, EPERM, {CLOCK_REALTIME, (long)&zero}},
	{"reboot", "sys_boot", SYS_reboot, EPERM, {1, 2, 3, 0}},
	{"socket", "net_raw", SYS_socket, EPERM, {AF_INET, SOCK_RAW, IPPROTO_ICMP}},
	{"setresuid", "setuid", SYS_setresuid, EPERM, {0, 0, 0}},
	{"setpriority", "sys_nice", SYS_setpriority, EACCES, {PRIO_PROCESS, 0, -20}},
};
#define N_CALLS (sizeof(calls) / sizeof(*calls))

/* Anything of this would be harmful with a capability. */
static void become_nobody(void)
{
	struct {
		uint32_t version;
		int pid;
	} header = {0x20080522, 0};
	uint32_t sets[6] = {0};

	if (geteuid() == 0 && (syscall(SYS_setgroups, 0, NULL) < 0 ||
				      syscall(SYS_setresgid, 65534, 65534, 65534) < 0 ||
				      syscall(SYS_setresuid, 65534, 65534, 65534) < 0))
		die("setresuid");
	if (syscall(SYS_capset, &header, sets) < 0)
		die("capset");
	memset(sets, 0xff, sizeof(sets));
	if (syscall(SYS_capget, &header, sets) < 0)
		die("capget");
	for (size_t i = 0; i < 6; i++)
		if (i % 3 != 2 && sets[i])
			_exit(98);
	if (getuid() == 0 || geteuid() == 0)
		_exit(98);
}

int main(int argc, char **argv)
{
	uint64_t n = argument(argc, argv, 1, 5);
	char text[2048];
	size_t length = 0;

	become_nobody();
	for (size_t k = 0; k < N_CALLS; k++) {
		const struct call *c = &calls[k];

		for (uint64_t i = 0; i < n; i++)
			if (syscall(c->nr, c->args[0], c->args[1], c->args[2], c->args[3],
				    c->args[4]) != -1 ||
				errno != c->error)
				die(c->name);
		length += (size_t)snprintf(text + length, sizeof(text) - length,
			"%s\"%s\":{\"count\":%llu,\"errno\":\"%s\",\"capability\":\"%s\"}",
			k ? "," : "", c->name, (unsigned long long)n, strerrorname_np(c->error),
			c->capability);
	}
	emit("{\"processes\":1,\"denials\":%llu,\"calls\":{%s}}", (unsigned long long)(n * N_CALLS),
		text);
	return 0;
}

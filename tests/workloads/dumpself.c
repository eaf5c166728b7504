/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dumpself: prints all that a process can know of how it was started, a line each, without what
 * differs from run to run (pids, except whether it leads its group and session).
 */
#include <dirent.h>
#include <sched.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <termios.h>

#include "workload.h"

extern char **environ;

static void show_status(void)
{
	static const char *const keys[] = {"SigBlk", "SigIgn", "SigCgt", "SigPnd", "ShdPnd",
		"Umask", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp",
		"Seccomp_filters", "TracerPid", "Uid", "Gid", "Groups", "Cpus_allowed",
		"Mems_allowed", "Threads", "THP_enabled", "Speculation_Store_Bypass",
		"CoreDumping"};
	FILE *file = fopen("/proc/self/status", "re");
	char line[4096];

	if (!file)
		return;
	while (fgets(line, sizeof(line), file))
		for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++)
			if (strncmp(line, keys[i], strlen(keys[i])) == 0 &&
				line[strlen(keys[i])] == ':')
				fputs(line, stdout);
	fclose(file);
}

static void show_file(const char *path)
{
	FILE *file = fopen(path, "re");
	char line[4096];

	while (file && fgets(line, sizeof(line), file))
		printf("%s: %s%s", path, line, strchr(line, '\n') ? "" : "\n");
	if (file)
		fclose(file);
}

static void show_descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");

	for (int fd = 0; fd < 1024; fd++) {
		char path[64], target[4096];
		int flags = fcntl(fd, F_GETFL), cloexec = fcntl(fd, F_GETFD);
		struct stat st;
		ssize_t n;

		if (flags < 0 || (dir && fd == dirfd(dir)))
			continue;
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		n = readlink(path, target, sizeof(target) - 1);
		target[n < 0 ? 0 : n] = '\0';
		if (fstat(fd, &st) < 0)
			continue;
		/* Pipes and sockets carry numbers that differ from run to run: their kind is what
		 * matters. */
		if (S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode))
			*strchrnul(target, ':') = '\0';
		printf("fd %d: %s flags %o cloexec %d\n", fd, target, (unsigned)flags, cloexec);
	}
	if (dir)
		closedir(dir);
}

static void show_signals(void)
{
	for (int signo = 1; signo < NSIG; signo++) {
		struct sigaction action;

		if (sigaction(signo, NULL, &action) == 0 && action.sa_handler != SIG_DFL)
			printf("signal %d: %s\n", signo,
				action.sa_handler == SIG_IGN ? "ignored" : "handled");
	}
	printf("sigaltstack, itimers: %d\n", getitimer(ITIMER_REAL, &(struct itimerval){0}));
}

static void show_limits(void)
{
	for (int i = 0; i < RLIM_NLIMITS; i++) {
		struct rlimit limit;

		if (getrlimit((__rlimit_resource_t)i, &limit) == 0)
			printf("rlimit %d: %llu %llu\n", i, (unsigned long long)limit.rlim_cur,
				(unsigned long long)limit.rlim_max);
	}
}

static void show_calls(void)
{
	struct sched_param param;
	int value = -1, parent_death = -1;
	struct termios tty;
	char cwd[4096];

	printf("cwd %s\n", getcwd(cwd, sizeof(cwd)) ? cwd : "?");
	printf("nice %d\n", getpriority(PRIO_PROCESS, 0));
	sched_getparam(0, &param);
	printf("scheduler %d %d\n", sched_getscheduler(0), param.sched_priority);
	prctl(PR_GET_PDEATHSIG, &parent_death);
	prctl(PR_GET_CHILD_SUBREAPER, &value);
	printf("pdeathsig %d subreaper %d dumpable %d securebits %#x timerslack %ld thp %d "
	       "keepcaps %d tsc %d\n",
		parent_death, value, prctl(PR_GET_DUMPABLE), (unsigned)prctl(PR_GET_SECUREBITS),
		(long)prctl(PR_GET_TIMERSLACK), prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0),
		prctl(PR_GET_KEEPCAPS), prctl(PR_GET_TSC, &value));
	printf("personality %#x\n", (unsigned)personality(0xffffffff));
	printf("leads session %d group %d, group is session %d\n", getsid(0) == getpid(),
		getpgrp() == getpid(), getpgrp() == getsid(0));
	printf("foreground %d\n", tcgetpgrp(0) == getpgrp());
	printf("ids %d %d %d %d\n", (int)getuid(), (int)geteuid(), (int)getgid(), (int)getegid());
	if (tcgetattr(0, &tty) == 0)
		printf("tty %#x %#x %#x %#x\n", tty.c_iflag, tty.c_oflag, tty.c_cflag, tty.c_lflag);
	if (readlink("/proc/self/exe", cwd, sizeof(cwd)) > 0)
		printf("exe %.*s\n", (int)readlink("/proc/self/exe", cwd, sizeof(cwd)), cwd);
}

int main(int argc, char **argv)
{
	for (int i = 0; i < argc; i++)
		printf("argv %d: %s\n", i, argv[i]);
	/* "_" is set by a shell to the program that it starts: denet, when denet is there. */
	for (char **e = environ; *e; e++)
		printf("env %s\n", *e);
	show_descriptors();
	show_calls();
	show_signals();
	show_limits();
	show_status();
	show_file("/proc/self/oom_score_adj");
	show_file("/proc/self/cgroup");
	show_file("/proc/self/autogroup");
	show_file("/proc/self/loginuid");
	show_file("/proc/self/coredump_filter");
	show_file("/proc/self/timens_offsets");
	return 0;
}

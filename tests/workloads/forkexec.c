/* SPDX-License-Identifier: Apache-2.0 */
/*
 * forkexec [N=101]: N children one after the other, each of which executes this program again:
 * every fifth dies of a signal (KILL, TERM, SEGV, ABRT in turn), the others exit with i % 7. Truth:
 * ends of the children by code or signal, as waitpid told them.
 */
#include <sys/resource.h>

#include "workload.h"

static const int signals[] = {SIGKILL, SIGTERM, SIGSEGV, SIGABRT};
#define N_SIGNALS (sizeof(signals) / sizeof(*signals))

static _Noreturn void end(uint64_t i)
{
	if (i % 5 != 4)
		_exit((int)(i % 7));
	signal(signals[i / 5 % N_SIGNALS], SIG_DFL);
	kill(getpid(), signals[i / 5 % N_SIGNALS]);
	_exit(99);
}

int main(int argc, char **argv)
{
	uint64_t n = argument(argc, argv, 1, 101), codes[7] = {0}, killed[N_SIGNALS] = {0};
	struct rlimit no_core = {0, 0};
	char text[512] = "", number_text[32];
	size_t length = 0;

	if (argc > 2)
		end(number(argv[2]));
	if (setrlimit(RLIMIT_CORE, &no_core) < 0)
		die("setrlimit");
	for (uint64_t i = 0; i < n; i++) {
		pid_t pid;
		int status;

		snprintf(number_text, sizeof(number_text), "%llu", (unsigned long long)i);
		pid = fork_or_die();
		if (pid == 0) {
			execl("/proc/self/exe", argv[0], "0", number_text, (char *)NULL);
			die("execl");
		}
		status = wait_for(pid);
		if (WIFEXITED(status) && WEXITSTATUS(status) < 7) {
			codes[WEXITSTATUS(status)]++;
			continue;
		}
		for (size_t k = 0; k < N_SIGNALS; k++)
			if (WIFSIGNALED(status) && WTERMSIG(status) == signals[k])
				killed[k]++;
	}
	for (size_t k = 0; k < 7; k++)
		length += (size_t)snprintf(text + length, sizeof(text) - length, "\"%zu\":%llu,", k,
			(unsigned long long)codes[k]);
	for (size_t k = 0; k < N_SIGNALS; k++)
		length += (size_t)snprintf(text + length, sizeof(text) - length, "\"SIG%s\":%llu,",
			sigabbrev_np(signals[k]), (unsigned long long)killed[k]);
	text[length - 1] = '\0';
	emit("{\"processes\":%llu,\"execs\":%llu,\"ends\":{%s}}", (unsigned long long)n + 1,
		(unsigned long long)n, text);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rusage CMD [ARG...]: runs CMD and then says, as one JSON line, what the kernel accounts to it and
 * its reaped children and to this program itself: the truth for a measurement of the whole.
 */
#include <stdio.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

static unsigned long long cpu_ns(const struct rusage *usage)
{
	struct timeval sum;

	timeradd(&usage->ru_utime, &usage->ru_stime, &sum);
	return (unsigned long long)sum.tv_sec * 1000000000 + (unsigned long long)sum.tv_usec * 1000;
}

int main(int argc, char **argv)
{
	struct rusage children, self;
	int status;
	pid_t pid;

	if (argc < 2)
		return 98;
	pid = fork();
	if (pid == 0) {
		execvp(argv[1], argv + 1);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid ||
		getrusage(RUSAGE_CHILDREN, &children) < 0 || getrusage(RUSAGE_SELF, &self) < 0)
		return 99;
	printf("{\"rusage_cpu_ns\":%llu,\"rusage_switches\":%ld,\"rusage_faults\":%ld}\n",
		cpu_ns(&children) + cpu_ns(&self), children.ru_nvcsw + self.ru_nvcsw,
		children.ru_minflt + self.ru_minflt);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

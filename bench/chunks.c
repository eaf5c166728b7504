/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one operation takes, in ns: the smallest of many short chunks, so that what else the machine
 * does is left out.  chunks getppid|dd|pair|switch|fork|block ROUNDS [DEVICE]
 */
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CHUNK 300
#define FORKS 20
#define BLOCK 4096

static int in = -1, out = -1, device = -1, ends[2], back[2];
static _Alignas(BLOCK) char block[BLOCK];

/* Where a child runs, and whether it has to be woken there, shall not be a matter of chance. */
static void stay_here(void)
{
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET(sched_getcpu(), &one);
	if (sched_setaffinity(0, sizeof(one), &one) < 0)
		exit(2);
}

/* A process that answers each byte: two switches a round trip. */
static void answer(void)
{
	char byte;

	if (pipe(back) < 0)
		exit(2);
	if (fork() != 0)
		return;
	close(ends[1]);
	while (read(ends[0], &byte, 1) == 1 && write(back[1], &byte, 1) == 1)
		continue;
	_exit(0);
}

static void born_and_gone(void)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	if (pid < 0 || waitpid(pid, NULL, 0) != pid)
		exit(1);
}

static void operate(char what)
{
	char byte = 0;

	if (what == 'g')
		syscall(SYS_getppid);
	else if (what == 'd' && (read(in, &byte, 1) != 1 || write(out, &byte, 1) != 1))
		exit(1);
	else if (what == 'p' && (write(ends[1], &byte, 1) != 1 || read(ends[0], &byte, 1) != 1))
		exit(1);
	else if (what == 's' && (write(ends[1], &byte, 1) != 1 || read(back[0], &byte, 1) != 1))
		exit(1);
	else if (what == 'f')
		born_and_gone();
	else if (what == 'b' && pread(device, block, BLOCK, 0) != BLOCK)
		exit(1);
}

int main(int argc, char **argv)
{
	int rounds = argc > 2 ? atoi(argv[2]) : 0;
	char what = argc > 1 ? argv[1][0] : 0;
	int n = what == 'f' ? FORKS : CHUNK;
	double best = 0;

	if (rounds <= 0 || !what || !strchr("gdpsfb", what) || pipe(ends) < 0)
		return 2;
	in = open("/dev/zero", O_RDONLY);
	out = open("/dev/null", O_WRONLY);
	if (what == 'b' && (argc < 4 || (device = open(argv[3], O_RDONLY | O_DIRECT)) < 0))
		return 2;
	stay_here();
	if (what == 's')
		answer();
	for (int round = 0; round < rounds; round++) {
		struct timespec from, to;
		double ns;

		clock_gettime(CLOCK_MONOTONIC, &from);
		for (int i = 0; i < n; i++)
			operate(what);
		clock_gettime(CLOCK_MONOTONIC, &to);
		ns = ((double)(to.tv_sec - from.tv_sec) * 1e9 +
			     (double)(to.tv_nsec - from.tv_nsec)) /
		     n;
		if (best == 0 || ns < best)
			best = ns;
	}
	printf("%.1f\n", best);
	return 0;
}

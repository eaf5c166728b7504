/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Times commands from spawn to reap, interleaved: round r runs every command once, in a rotated order, so that a drift
 * of the machine's speed touches all alike. Output of the commands goes to /dev/null.
 *
 *   spawn-timer ROUNDS PAUSE_MS NAME CMD ARG... :: NAME CMD ARG... [:: ...]
 *
 * Prints one JSON line per command: wall (ns: min, p25, median), CPU of the command and all it waited for (ns: median),
 * largest peak RSS (KiB), and the last exit status.
 */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define COMMANDS_MAX 32

extern char **environ;

struct command {
	const char *name;
	char **argv;
	uint64_t *wall_ns, *cpu_ns;
	long max_rss_kib;
	int status;
};

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void run(struct command *command, unsigned round, const posix_spawn_file_actions_t *actions)
{
	struct rusage usage;
	uint64_t start = now_ns();
	pid_t pid;
	int r = posix_spawnp(&pid, command->argv[0], actions, NULL, command->argv, environ);

	if (r != 0) {
		fprintf(stderr, "spawn-timer: %s: %s\n", command->argv[0], strerror(r));
		exit(1);
	}
	while (wait4(pid, &command->status, 0, &usage) < 0 && errno == EINTR)
		continue;
	command->wall_ns[round] = now_ns() - start;
	command->cpu_ns[round] = (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000000u +
				 (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1000u;
	if (usage.ru_maxrss > command->max_rss_kib)
		command->max_rss_kib = usage.ru_maxrss;
}

int main(int argc, char **argv)
{
	struct command command[COMMANDS_MAX];
	posix_spawn_file_actions_t actions;
	unsigned n = 0, rounds, pause_ms;

	if (argc < 5)
		return 2;
	rounds = (unsigned)atoi(argv[1]);
	pause_ms = (unsigned)atoi(argv[2]);
	for (int i = 3; i + 1 < argc && n < COMMANDS_MAX;) {
		command[n] = (struct command){.name = argv[i], .argv = &argv[i + 1]};
		command[n].wall_ns = calloc(rounds, sizeof(uint64_t));
		command[n].cpu_ns = calloc(rounds, sizeof(uint64_t));
		if (!command[n].wall_ns || !command[n].cpu_ns)
			return 1;
		n++;
		while (i < argc && strcmp(argv[i], "::") != 0)
			i++;
		if (i < argc)
			argv[i++] = NULL;
	}
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
	posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
	for (unsigned round = 0; round < rounds; round++) {
		for (unsigned i = 0; i < n; i++) {
			if (pause_ms)
				usleep(pause_ms * 1000);
			run(&command[(i + round) % n], round, &actions);
		}
	}
	for (unsigned i = 0; i < n; i++) {
		qsort(command[i].wall_ns, rounds, sizeof(uint64_t), compare);
		qsort(command[i].cpu_ns, rounds, sizeof(uint64_t), compare);
		printf("{\"name\":\"%s\",\"min\":%llu,\"p25\":%llu,\"median\":%llu,\"cpu\":%llu,\"rss_kib\":%ld,\"status\":%d}\n",
			command[i].name, (unsigned long long)command[i].wall_ns[0],
			(unsigned long long)command[i].wall_ns[rounds / 4],
			(unsigned long long)command[i].wall_ns[rounds / 2],
			(unsigned long long)command[i].cpu_ns[rounds / 2], command[i].max_rss_kib, command[i].status);
	}
	return 0;
}

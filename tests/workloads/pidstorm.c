/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pidstorm N [PAR=3]: forks N children that end at once, at most PAR of them live, and says the pid
 * of each in the order of their births. Truth: processes, pids.
 */
#include "workload.h"

int main(int argc, char **argv)
{
	uint64_t n = argument(argc, argv, 1, 1000), par = argument(argc, argv, 2, 3), live = 0;
	pid_t *pids = calloc(n ? n : 1, sizeof(*pids));

	if (!pids)
		die("calloc");
	for (uint64_t i = 0; i < n; i++) {
		if (live == par) {
			wait_for(-1);
			live--;
		}
		pids[i] = fork_or_die();
		if (pids[i] == 0)
			_exit(0);
		live++;
	}
	for (; live > 0; live--)
		wait_for(-1);
	printf("{\"processes\":%llu,\"pids\":[", (unsigned long long)n + 1);
	for (uint64_t i = 0; i < n; i++)
		printf("%s%d", i ? "," : "", (int)pids[i]);
	printf("]}\n");
	return 0;
}

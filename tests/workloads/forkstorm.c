/* SPDX-License-Identifier: Apache-2.0 */
/*
 * forkstorm N MS [PAR=1]: forks N children, each burns MS ms of its own CPU time and ends; at most
 * PAR live at once. Truth: processes, and the sum of all CPU clocks as each process last saw its
 * own.
 */
#include "workload.h"

int main(int argc, char **argv)
{
	uint64_t n = argument(argc, argv, 1, 100), ms = argument(argc, argv, 2, 2),
		 par = argument(argc, argv, 3, 1);
	_Atomic uint64_t *sum = shared(sizeof(*sum));
	uint64_t live = 0, own;

	for (uint64_t i = 0; i < n; i++) {
		if (live == par) {
			wait_for(-1);
			live--;
		}
		if (fork_or_die() == 0) {
			burn(CLOCK_PROCESS_CPUTIME_ID, ms * MS);
			*sum += process_ns();
			_exit(0);
		}
		live++;
	}
	for (; live > 0; live--)
		wait_for(-1);
	own = process_ns();
	emit("{\"processes\":%llu,\"cpu_ns\":%llu,\"children_cpu_ns\":%llu}",
		(unsigned long long)n + 1, (unsigned long long)(*sum + own),
		(unsigned long long)*sum);
	return 0;
}

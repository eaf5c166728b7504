/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nd MS [HOLD=300]: makes itself non-dumpable, says "ready", burns MS ms, stays HOLD ms. Truth: its
 * own clock and what it wrote.
 */
#include <sys/prctl.h>

#include "workload.h"

int main(int argc, char **argv)
{
	uint64_t ms = argument(argc, argv, 1, 50), hold_ns = argument(argc, argv, 2, 300) * MS;

	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		die("prctl");
	burn(CLOCK_PROCESS_CPUTIME_ID, ms * MS);
	nap(hold_ns);
	emit("{\"processes\":1,\"cpu_ns\":%llu}", (unsigned long long)process_ns());
	return 0;
}

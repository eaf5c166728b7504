/* SPDX-License-Identifier: Apache-2.0 */
/* burn MS: burns MS ms of CPU time; 0 burns until killed. Prints nothing, so that a setuid copy of
 * it is as simple. */
#include "workload.h"

int main(int argc, char **argv)
{
	uint64_t ms = argument(argc, argv, 1, 200);

	burn(CLOCK_PROCESS_CPUTIME_ID, ms ? ms * MS : UINT64_MAX / 2);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* sleeps N US: N sleeps of US us. Truth: N voluntary switches, and what the kernel counted from the
 * first to the last of them. */
#include <sys/resource.h>

#include "workload.h"

int main(int argc, char **argv)
{
	uint64_t n = argument(argc, argv, 1, 1000), us = argument(argc, argv, 2, 100);
	struct rusage before, usage;

	getrusage(RUSAGE_SELF, &before);
	for (uint64_t i = 0; i < n; i++)
		nap(us * 1000);
	getrusage(RUSAGE_SELF, &usage);
	emit("{\"processes\":1,\"sleeps\":%llu,\"voluntary\":%ld,\"involuntary\":%ld}",
		(unsigned long long)n, usage.ru_nvcsw - before.ru_nvcsw,
		usage.ru_nivcsw - before.ru_nivcsw);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * contend [THREADS=4] [MS=300]: threads of one process that map, touch and unmap memory for so
 * long, so that they wait for the lock of their address space. Truth: rounds; how often a thread
 * waits is known to the kernel only.
 */
#include <pthread.h>

#include "workload.h"

static uint64_t until_ns;

static void *contend(void *arg)
{
	uint64_t *rounds = arg;

	while (clock_ns(CLOCK_MONOTONIC) < until_ns) {
		char *p = mmap(
			NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (p == MAP_FAILED)
			die("mmap");
		for (unsigned i = 0; i < 65536; i += 4096)
			p[i] = 1;
		if (munmap(p, 65536) < 0)
			die("munmap");
		(*rounds)++;
	}
	return NULL;
}

int main(int argc, char **argv)
{
	uint64_t n = argument(argc, argv, 1, 4), rounds[64] = {0}, sum = 0;
	pthread_t thread[64];

	if (n < 1 || n > 64)
		return 98;
	until_ns = clock_ns(CLOCK_MONOTONIC) + argument(argc, argv, 2, 300) * MS;
	for (uint64_t i = 0; i < n; i++)
		if (pthread_create(&thread[i], NULL, contend, &rounds[i]) != 0)
			die("pthread_create");
	for (uint64_t i = 0; i < n; i++) {
		pthread_join(thread[i], NULL);
		sum += rounds[i];
	}
	emit("{\"processes\":1,\"threads\":%llu,\"rounds\":%llu}", (unsigned long long)n,
		(unsigned long long)sum);
	return 0;
}

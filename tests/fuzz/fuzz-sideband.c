/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sideband from its bytes: whatever the ring holds, decoding stays inside it, and the lives
 * keep their books: nobody exits who was not born.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lives.h"
#include "record.h"

#define RING_BYTES 4096

struct books {
	int64_t live;
	uint64_t seen;
};

static void born(void *arg, pid_t pid, pid_t ppid, uint64_t t_ns)
{
	((struct books *)arg)->live++;
}

static void execed(void *arg, pid_t pid, const char *name, size_t len, uint64_t t_ns)
{
	for (size_t i = 0; i < len; i++)
		((struct books *)arg)->seen += (uint8_t)name[i];
}

static void renamed(void *arg, pid_t pid, const char *name, size_t len)
{
	execed(arg, pid, name, len, 0);
}

static void exited(void *arg, const struct dn_perf_life *life, uint64_t t_ns)
{
	struct books *books = arg;

	books->live--;
	if (books->live < 0)
		abort();
}

static bool survives(void *arg, pid_t pid, uint64_t t_ns)
{
	return pid % 3 == 0;
}

static void taken(void *arg, pid_t pid)
{
	((struct books *)arg)->seen++;
}

static const struct dn_perf_lives_ops ops = {
	.born = born,
	.exec = execed,
	.renamed = renamed,
	.exited = exited,
	.survives = survives,
	.taken = taken,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t ring[RING_BYTES];
	struct books books = {.live = 1};
	struct dn_perf_lives_config config = {.ops = &ops, .arg = &books};
	struct dn_perf_lives *lives;
	struct dn_perf_record record;
	uint64_t tail, head;
	int r;

	if (size < 2 || size > RING_BYTES)
		return 0;
	config.foreign = data[0] & 1;
	config.no_children = data[0] & 2;
	/* Anywhere in the ring, so that records go over its end. */
	tail = (uint64_t)data[1] * 8;
	head = tail + (size - 2);
	for (size_t i = 0; i < size - 2; i++)
		ring[(tail + i) % RING_BYTES] = data[2 + i];
	if (dn_perf_lives_new(&config, &lives) < 0)
		return 0;
	if (dn_perf_lives_add(lives, 1, 1, false, data[0] & 4, 1) < 0)
		abort();
	while ((r = dn_perf_record_at(ring, RING_BYTES - 1, tail, head, &record)) > 0) {
		tail += (uint64_t)r;
		if (tail > head)
			abort();
		dn_perf_lives_feed(lives, &record);
		if (data[0] & 8)
			dn_perf_lives_sweep(lives, true, record.t_ns);
		(void)dn_perf_lives_blocked(lives, record.t_ns);
	}
	dn_perf_lives_free(lives);
	return 0;
}

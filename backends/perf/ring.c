/* SPDX-License-Identifier: Apache-2.0 */
/* The shared memory protocol of a perf ring. */
#include <errno.h>
#include <linux/perf_event.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ring.h"

static size_t page_bytes(void)
{
	return (size_t)sysconf(_SC_PAGESIZE);
}

int dn_perf_ring_map(struct dn_perf_ring *ring, int fd, unsigned pages)
{
	size_t page = page_bytes();
	void *map =
		mmap(NULL, (1 + (size_t)pages) * page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (map == MAP_FAILED)
		return -errno;
	*ring = (struct dn_perf_ring){.map = map, .data_bytes = pages * page};
	return 0;
}

void dn_perf_ring_unmap(struct dn_perf_ring *ring)
{
	if (ring->map)
		munmap(ring->map, ring->data_bytes + page_bytes());
	ring->map = NULL;
}

void dn_perf_ring_begin(struct dn_perf_ring *ring)
{
	const struct perf_event_mmap_page *control = ring->map;

	ring->head = __atomic_load_n(&control->data_head, __ATOMIC_ACQUIRE);
}

const struct dn_perf_record *dn_perf_ring_peek(struct dn_perf_ring *ring)
{
	const uint8_t *data = (const uint8_t *)ring->map + page_bytes();

	while (ring->record_bytes == 0 && ring->tail != ring->head) {
		int r = dn_perf_record_at(
			data, ring->data_bytes - 1, ring->tail, ring->head, &ring->record);

		if (r <= 0) {
			/* The kernel publishes whole records only: nothing here can be trusted. */
			ring->broken++;
			ring->tail = ring->head;
			break;
		}
		if (ring->record.type == DN_PERF_OTHER)
			ring->tail += (unsigned)r;
		else
			ring->record_bytes = (unsigned)r;
	}
	return ring->record_bytes ? &ring->record : NULL;
}

void dn_perf_ring_take(struct dn_perf_ring *ring)
{
	ring->tail += ring->record_bytes;
	ring->record_bytes = 0;
}

void dn_perf_ring_end(struct dn_perf_ring *ring)
{
	struct perf_event_mmap_page *control = ring->map;

	__atomic_store_n(&control->data_tail, ring->tail, __ATOMIC_RELEASE);
}

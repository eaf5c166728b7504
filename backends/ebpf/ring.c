/* SPDX-License-Identifier: Apache-2.0 */
/* The ring buffer: records of births, deaths and rare events, in the order in which they happened.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include <bpf/libbpf.h>

#include <denet/fs.h>

#include "ebpf.h"

struct dn_ebpf_ring {
	struct dn_source source;
	struct dn_ebpf *ebpf;
	struct ring_buffer *buffer;
	bool draining;
};

static size_t size_of(uint32_t type)
{
	switch (type) {
	case DN_RECORD_EXIT:
		return sizeof(struct dn_wire_record_usage);
	case DN_RECORD_LIMIT:
	case DN_RECORD_SECURITY:
	case DN_RECORD_CAPABILITY:
		return sizeof(struct dn_wire_record_call);
	default:
		return sizeof(struct dn_wire_record);
	}
}

static int on_record(void *arg, void *data, size_t size)
{
	struct dn_ebpf_ring *ring = arg;
	struct dn_ebpf *ebpf = ring->ebpf;
	const struct dn_wire_record *record = data;

	ebpf->received++;
	if (size < sizeof(*record) || size < size_of(record->type))
		return 0;
	/* The process table last: when it takes a process out, the others have had their say. */
	for (unsigned i = dn_n_ebpf_groups; i > 0; i--) {
		const struct dn_ebpf_group *group = dn_ebpf_groups[i - 1];

		if (group->record && dn_ebpf_on(ebpf, group->id))
			group->record(ebpf, record, size);
	}
	return 0;
}

void dn_ebpf_ring_drain(struct dn_ebpf *ebpf)
{
	struct dn_ebpf_ring *ring = ebpf->ring;

	if (!ring || !ring->buffer || ring->draining)
		return;
	ring->draining = true;
	(void)ring_buffer__consume(ring->buffer);
	ring->draining = false;
}

static int on_readable(struct dn_source *source, uint32_t events)
{
	dn_ebpf_ring_drain(dn_container_of(source, struct dn_ebpf_ring, source)->ebpf);
	return 0;
}

int dn_ebpf_ring_open(struct dn_ebpf *ebpf)
{
	struct dn_ebpf_ring *ring = calloc(1, sizeof(*ring));
	int fd = dn_ebpf_map(&ebpf->objects, "process", "dn_ring");

	if (!ring)
		return -ENOMEM;
	ebpf->ring = ring;
	ring->ebpf = ebpf;
	ring->source.fd = fd;
	ring->source.dispatch = on_readable;
	ring->buffer = ring_buffer__new(fd, on_record, ring, NULL);
	if (!ring->buffer)
		return -errno;
	return dn_loop_add(ebpf->core->loop, &ring->source, EPOLLIN);
}

void dn_ebpf_ring_close(struct dn_ebpf *ebpf)
{
	if (!ebpf->ring)
		return;
	if (ebpf->core)
		dn_loop_remove(ebpf->core->loop, &ebpf->ring->source);
	ring_buffer__free(ebpf->ring->buffer);
	free(ebpf->ring);
	ebpf->ring = NULL;
}

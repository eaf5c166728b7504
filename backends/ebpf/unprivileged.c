/* SPDX-License-Identifier: Apache-2.0 */
/* Going on without capabilities, once everything is loaded. */
#include <errno.h>

#include "ebpf.h"

static void nothing(void *arg, const void *value)
{
}

/* Kernels before 5.19 take no bpf(2) call at all of those who may not load programs. */
int dn_ebpf_unprivileged(struct dn_backend *backend)
{
	struct dn_ebpf *ebpf = (struct dn_ebpf *)backend;

	if (dn_ebpf_objects_pending(&ebpf->objects))
		return -EAGAIN;
	return dn_ebpf_read_percpu(ebpf, dn_ebpf_map(&ebpf->objects, "process", "dn_losses"), 0,
		sizeof(uint64_t), nothing, NULL);
}

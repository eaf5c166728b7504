/* SPDX-License-Identifier: Apache-2.0 */
/* The probe groups: the process table first, since the others rest on it. */
#include "ebpf.h"

_Static_assert((int)DN_GROUP_SYSCALLS == (int)DN_PROBES_SYSCALLS, "as the kernel side has them");
_Static_assert((int)DN_GROUP_FILE == (int)DN_PROBES_FILE, "as the kernel side has them");
_Static_assert((int)DN_GROUP_HW == (int)DN_PROBES_HW, "as the kernel side has them");

const struct dn_ebpf_group *const dn_ebpf_groups[] = {
	&dn_ebpf_group_lifecycle,
	&dn_ebpf_group_sched,
	&dn_ebpf_group_hw,
	&dn_ebpf_group_syscalls,
	&dn_ebpf_group_latency,
	&dn_ebpf_group_signals,
	&dn_ebpf_group_locks,
	&dn_ebpf_group_limits,
	&dn_ebpf_group_file,
	&dn_ebpf_group_block,
	&dn_ebpf_group_security,
	&dn_ebpf_group_network,
	&dn_ebpf_group_memory,
};
const unsigned dn_n_ebpf_groups = sizeof(dn_ebpf_groups) / sizeof(dn_ebpf_groups[0]);

const struct dn_ebpf_group *dn_ebpf_group(enum dn_probe_group id)
{
	for (unsigned i = 0; i < dn_n_ebpf_groups; i++) {
		if (dn_ebpf_groups[i]->id == id)
			return dn_ebpf_groups[i];
	}
	return NULL;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Why the tier, or a part of it, can't be had, and the smallest change that helps. */
#ifndef DENET_EBPF_REFUSAL_H
#define DENET_EBPF_REFUSAL_H

#include <stdbool.h>

#include <denet/backend.h>

struct dn_ebpf_refusal {
	enum dn_fact fact;
	const char *reason, *hint;
};

/* By the negative errno of what was tried. */
struct dn_ebpf_refusal dn_ebpf_explain(
	const struct dn_env *env, struct dn_probe *probe, const char *what, int r);
/* Maps were refused with EPERM: true when the limit of locked memory explains it. */
bool dn_ebpf_explain_memlock(struct dn_probe *probe, struct dn_ebpf_refusal *ret);
/* Programs were refused: true when the kernel's lockdown explains it. */
bool dn_ebpf_explain_lockdown(int sys_fd, struct dn_ebpf_refusal *ret);

#endif

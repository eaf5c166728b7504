/* SPDX-License-Identifier: Apache-2.0 */
/*
 * System calls when they are only counted, which is the default: as syscalls.bpf.c does it, less
 * all that the kernel would have to cut out of that when it loads it (2 ms of the start).
 */
#include "group-syscalls.bpf.h"

DN_RAW_TRACEPOINT(sys_exit)
int BPF_PROG(dn_sys_exit, struct pt_regs *regs, long result)
{
	struct dn_task *task = task_counting();
	struct call call = {};
	u64 weight;

	if (!task || !call_ends(&call, regs, result))
		return 0;
	weight = sample_weight(DN_GROUP_SYSCALLS);
	if (weight)
		count_call(&call, task, weight);
	return 0;
}

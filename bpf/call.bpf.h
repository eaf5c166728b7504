/* SPDX-License-Identifier: Apache-2.0 */
/* A system call as the groups see it when it returns. */
#ifndef DENET_CALL_BPF_H
#define DENET_CALL_BPF_H

#include "common.bpf.h"

struct call {
	struct pt_regs *regs;
	struct dn_task *task;
	u32 index; /* in the tables */
	s64 result;
	u64 duration_ns; /* 0: not known */
	u64 now_ns; /* 0: not known */
};

static __always_inline bool is_error(s64 result)
{
	return result < 0 && result >= -4095;
}

/* Argument n, as it was given. */
static __always_inline u64 call_argument(const struct call *call, u32 n)
{
	return regs_argument_of(call->regs, n, call->index / DN_CALLS_PER_ABI);
}

static __always_inline u64 call_now(const struct call *call)
{
	return call->now_ns ? call->now_ns : bpf_ktime_get_ns();
}

#endif

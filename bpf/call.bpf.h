/* SPDX-License-Identifier: Apache-2.0 */
/* A system call as the groups see it when it returns. */
#ifndef DENET_CALL_BPF_H
#define DENET_CALL_BPF_H

#include <asm-generic/errno.h>

#include "common.bpf.h"

/* What the kernel makes of an interrupted call on its way out; programs see EINTR or a new call. */
#define ERESTARTSYS 512

/* Numbers only, so that functions that the verifier looks at once can take it. */
struct call {
	u64 regs; /* where the registers are */
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
	return regs_argument_of((struct pt_regs *)call->regs, n, call->index / DN_CALLS_PER_ABI);
}

static __always_inline u64 call_now(const struct call *call)
{
	return call->now_ns ? call->now_ns : bpf_ktime_get_ns();
}

/*
 * May this be told by a record? 0: not now; else for how many it stands. Threads that come here at
 * once may tell one more; what was told of is counted elsewhere.
 */
static __always_inline u32 may_tell(struct dn_wire_window *window, u32 weight)
{
	u64 now = bpf_ktime_get_ns();
	u32 times = window->untold + weight;

	if (now - window->since_ns >= 1000000000) {
		window->since_ns = now;
		window->told = 0;
	}
	if (window->told >= DN_RECORDS_PER_SECOND) {
		window->untold = times;
		return 0;
	}
	window->told++;
	window->untold = 0;
	return times;
}

static __always_inline void tell_call(
	u32 type, u32 times, u32 index, s32 result, u64 arg0, u64 arg1, u64 arg2, u64 denied)
{
	struct dn_wire_record_call *record = record_reserve(sizeof(*record));

	if (!record)
		return;
	record_head(&record->head, type, task_now(), times);
	record->call = index;
	record->result = result;
	record->arg[0] = arg0;
	record->arg[1] = arg1;
	record->arg[2] = arg2;
	record->denied = denied;
	record_submit(record);
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* One accessor per thing that the kernel changed: it asks what is there, never for a version. */
#ifndef DENET_CORE_FIXES_BPF_H
#define DENET_CORE_FIXES_BPF_H

#include <bpf/bpf_core_read.h>

#include "kernel.bpf.h"
#include "wire.h"

/* 5.14 renamed task_struct.state. */
static __always_inline u64 task_state_of(struct task_struct *task)
{
	if (bpf_core_field_exists(task->__state))
		return BPF_CORE_READ(task, __state);
	return (u64)BPF_CORE_READ((struct task_struct___state *)task, state);
}

#define THREAD_SIZE 16384 /* of both architectures, with pages of 4 KiB and no KASAN */

/* The registers of the system call that the task is in. 5.15 got a helper. */
static __always_inline struct pt_regs *task_regs(struct task_struct *task)
{
#ifndef DENET_HASH
	if (bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_task_pt_regs))
		return (struct pt_regs *)bpf_task_pt_regs(task);
#endif
	{
		char *stack = BPF_CORE_READ(task, stack);

#if defined(__TARGET_ARCH_arm64)
		return (struct pt_regs *)(stack + THREAD_SIZE - 16) - 1;
#else
		return (struct pt_regs *)(stack + THREAD_SIZE) - 1;
#endif
	}
}

static __always_inline s64 regs_call(struct pt_regs *regs)
{
#if defined(__TARGET_ARCH_x86)
	long nr = 0;

	bpf_probe_read_kernel(&nr, sizeof(nr), &regs->orig_ax);
	return nr;
#else
	s32 nr = 0;

	bpf_probe_read_kernel(&nr, sizeof(nr), &regs->syscallno);
	return nr;
#endif
}

static __always_inline u64 regs_argument(struct pt_regs *regs, u32 n)
{
	u64 value = 0;
	const void *at;

#if defined(__TARGET_ARCH_x86)
	switch (n) {
	case 0:
		at = &regs->di;
		break;
	case 1:
		at = &regs->si;
		break;
	case 2:
		at = &regs->dx;
		break;
	case 3:
		at = &regs->r10;
		break;
	case 4:
		at = &regs->r8;
		break;
	default:
		at = &regs->r9;
		break;
	}
#else
	at = n == 0 ? &regs->orig_x0 : &regs->regs[n < 6 ? n : 0];
#endif
	bpf_probe_read_kernel(&value, sizeof(value), at);
	return value;
}

/* The same of a call of any ABI (enum dn_abi): i386 has registers of its own, and its values are
 * 32 bits wide. */
static __always_inline u64 regs_argument_of(struct pt_regs *regs, u32 n, u32 abi)
{
#if defined(__TARGET_ARCH_x86)
	u64 value = 0;
	const void *at;

	if (abi != 1)
		return regs_argument(regs, n);
	switch (n) {
	case 0:
		at = &regs->bx;
		break;
	case 1:
		at = &regs->cx;
		break;
	case 2:
		at = &regs->dx;
		break;
	case 3:
		at = &regs->si;
		break;
	case 4:
		at = &regs->di;
		break;
	default:
		at = &regs->bp;
		break;
	}
	bpf_probe_read_kernel(&value, sizeof(value), at);
	return (u32)value;
#else
	return abi ? (u32)regs_argument(regs, n) : regs_argument(regs, n);
#endif
}

/* The number of the call that the current task, which must be it, is in; at one of the two hooks of
 * system calls, which have its registers. Read in place where the kernel tells where they are. */
static __always_inline s64 current_call(struct task_struct *task, struct pt_regs *regs)
{
#ifndef DENET_HASH
	if (bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_task_pt_regs)) {
		struct pt_regs *own = (struct pt_regs *)bpf_task_pt_regs(task);

#if defined(__TARGET_ARCH_x86)
		return (s64)own->orig_ax;
#else
		return own->syscallno;
#endif
	}
#endif
	return regs_call(regs);
}

/* enum dn_abi of the call that the task is in, without x32, which its number tells. */
static __always_inline u32 task_abi(struct task_struct *task)
{
#ifdef DENET_HASH
#define TASK_FIELD(task, field) BPF_CORE_READ(task, field)
#else
#define TASK_FIELD(task, field) ((task)->field)
#endif
#if defined(__TARGET_ARCH_x86)
	return TASK_FIELD(task, thread_info.status) >> 1 & 1; /* TS_COMPAT */
#else
	return TASK_FIELD(task, thread_info.flags) >> 22 & 1; /* TIF_32BIT */
#endif
}

/* Where a call has its place in the tables; DN_CALLS_N when it has none. */
static __always_inline u32 call_index(s64 nr, u32 abi)
{
	u32 n = (u32)nr;

#if defined(__TARGET_ARCH_x86)
	if (n & 0x40000000 && nr > 0) {
		n &= ~0x40000000u;
		abi = 2;
	}
	/* rt_sigreturn restores the registers and with them says that there is no call to restart.
	 */
	if (nr == -1)
		n = abi ? 173 : 15;
#else
	if (nr == -1)
		n = abi ? 173 : 139;
#endif
	return n < DN_CALLS_PER_ABI ? n + abi * DN_CALLS_PER_ABI : DN_CALLS_N;
}

#endif

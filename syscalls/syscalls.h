/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The system calls of the ABIs that a program can use on this machine: names, what they are for,
 * and what a thread that sleeps in one waits for. The tables are made at build time
 * (syscalls/table.py).
 */
#ifndef DN_SYSCALLS_H
#define DN_SYSCALLS_H

#include <stdbool.h>

enum dn_abi {
	DN_ABI_NATIVE, /* x86_64, aarch64 */
	DN_ABI_COMPAT, /* i386, arm (EABI) */
	DN_ABI_X32, /* x86_64 only */
	DN_N_ABIS,
};

enum dn_syscall_category {
	DN_SYSCALL_FILE,
	DN_SYSCALL_NETWORK,
	DN_SYSCALL_MEMORY,
	DN_SYSCALL_PROCESS,
	DN_SYSCALL_SIGNAL,
	DN_SYSCALL_TIME,
	DN_SYSCALL_IPC,
	DN_SYSCALL_SECURITY,
	DN_SYSCALL_SYSTEM, /* and every call that the tables don't know */
	DN_N_SYSCALL_CATEGORIES,
};

/* What a thread that sleeps in a call waits for, as far as the call says. */
enum dn_block_class {
	DN_BLOCK_OTHER,
	DN_BLOCK_FUTEX,
	DN_BLOCK_SLEEP, /* sleeps, and waits for a signal */
	DN_BLOCK_DISK,
	DN_BLOCK_NETWORK, /* socket calls, poll, select, epoll */
	DN_BLOCK_FD, /* the read and write family: the type of the descriptor decides */
	DN_N_BLOCK_CLASSES,
};

/* "x86_64", "i386", "x32", "aarch64", "arm"; NULL: this machine doesn't have the ABI. */
const char *dn_abi_name(enum dn_abi abi);

/*
 * nr is the number as the kernel sees it; x32's may have its bit 0x40000000 or not.
 * NULL: unknown (the caller prints "syscall_NNN"). Names are [a-z0-9_], and live for ever.
 */
const char *dn_syscall_name(enum dn_abi abi, unsigned nr);

/*
 * 1 + the largest number of the ABI's table, without x32's bit; 0 without the ABI. ARM's own calls
 * (0xf0001 to 0xf0006: cacheflush, set_tls...) have names and are beyond it.
 */
unsigned dn_syscall_limit(enum dn_abi abi);

enum dn_syscall_category dn_syscall_category(enum dn_abi abi, unsigned nr);
const char *dn_syscall_category_name(enum dn_syscall_category category);

enum dn_block_class dn_syscall_block_class(enum dn_abi abi, unsigned nr);

/* Whether syscalls/categories.def has the call: false for one that only a newer header names. */
bool dn_syscall_is_classified(enum dn_abi abi, unsigned nr);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* What table.py makes: one struct dn_syscall_table per ABI. */
#ifndef DN_SYSCALLS_TABLE_H
#define DN_SYSCALLS_TABLE_H

#include "syscalls.h"

struct dn_syscall_entry {
	const char *name; /* NULL: a number without a call */
	unsigned char category, block;
	bool classified;
};

/* Calls far beyond the others. */
struct dn_syscall_extra {
	unsigned nr;
	struct dn_syscall_entry entry;
};

struct dn_syscall_table {
	const char *abi;
	const struct dn_syscall_entry *entries;
	unsigned limit;
	unsigned nr_mask; /* bits of the number that count */
	const struct dn_syscall_extra *extras;
	unsigned n_extras;
};

extern const struct dn_syscall_table dn_syscall_table_native;
extern const struct dn_syscall_table dn_syscall_table_compat;
extern const struct dn_syscall_table dn_syscall_table_x32;

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Look-ups in the tables of system calls. */
#include <stddef.h>

#include "table.h"

static const struct dn_syscall_table *const tables[DN_N_ABIS] = {
	[DN_ABI_NATIVE] = &dn_syscall_table_native,
	[DN_ABI_COMPAT] = &dn_syscall_table_compat,
	[DN_ABI_X32] = &dn_syscall_table_x32,
};

static const struct dn_syscall_entry *find(enum dn_abi abi, unsigned nr)
{
	const struct dn_syscall_table *table;

	if ((unsigned)abi >= DN_N_ABIS)
		return NULL;
	table = tables[abi];
	nr &= table->nr_mask;
	if (nr < table->limit)
		return table->entries[nr].name ? &table->entries[nr] : NULL;
	for (unsigned i = 0; i < table->n_extras; i++)
		if (table->extras[i].nr == nr)
			return &table->extras[i].entry;
	return NULL;
}

const char *dn_abi_name(enum dn_abi abi)
{
	return (unsigned)abi < DN_N_ABIS ? tables[abi]->abi : NULL;
}

unsigned dn_syscall_limit(enum dn_abi abi)
{
	return (unsigned)abi < DN_N_ABIS ? tables[abi]->limit : 0;
}

const char *dn_syscall_name(enum dn_abi abi, unsigned nr)
{
	const struct dn_syscall_entry *entry = find(abi, nr);

	return entry ? entry->name : NULL;
}

enum dn_syscall_category dn_syscall_category(enum dn_abi abi, unsigned nr)
{
	const struct dn_syscall_entry *entry = find(abi, nr);

	return entry ? (enum dn_syscall_category)entry->category : DN_SYSCALL_SYSTEM;
}

enum dn_block_class dn_syscall_block_class(enum dn_abi abi, unsigned nr)
{
	const struct dn_syscall_entry *entry = find(abi, nr);

	return entry ? (enum dn_block_class)entry->block : DN_BLOCK_OTHER;
}

bool dn_syscall_is_classified(enum dn_abi abi, unsigned nr)
{
	const struct dn_syscall_entry *entry = find(abi, nr);

	return entry && entry->classified;
}

const char *dn_syscall_category_name(enum dn_syscall_category category)
{
	static const char *const names[DN_N_SYSCALL_CATEGORIES] = {
		[DN_SYSCALL_FILE] = "file",
		[DN_SYSCALL_NETWORK] = "network",
		[DN_SYSCALL_MEMORY] = "memory",
		[DN_SYSCALL_PROCESS] = "process",
		[DN_SYSCALL_SIGNAL] = "signal",
		[DN_SYSCALL_TIME] = "time",
		[DN_SYSCALL_IPC] = "ipc",
		[DN_SYSCALL_SECURITY] = "security",
		[DN_SYSCALL_SYSTEM] = "system",
	};

	return (unsigned)category < DN_N_SYSCALL_CATEGORIES ? names[category] : NULL;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Tables of system calls: known numbers per ABI, and a category for every name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <cmocka.h>

#include "syscalls.h"

#define X32_BIT 0x40000000u

struct known {
	enum dn_abi abi;
	unsigned nr;
	const char *name;
	enum dn_syscall_category category;
	enum dn_block_class block;
};

/* Numbers as strace 6.1 prints them with -n, and as the manuals of the ABIs have them. */
static const struct known known[] = {
#if defined(__x86_64__)
	{DN_ABI_NATIVE, 0, "read", DN_SYSCALL_FILE, DN_BLOCK_FD},
	{DN_ABI_NATIVE, 7, "poll", DN_SYSCALL_FILE, DN_BLOCK_NETWORK},
	{DN_ABI_NATIVE, 9, "mmap", DN_SYSCALL_MEMORY, DN_BLOCK_OTHER},
	{DN_ABI_NATIVE, 35, "nanosleep", DN_SYSCALL_TIME, DN_BLOCK_SLEEP},
	{DN_ABI_NATIVE, 42, "connect", DN_SYSCALL_NETWORK, DN_BLOCK_NETWORK},
	{DN_ABI_NATIVE, 59, "execve", DN_SYSCALL_PROCESS, DN_BLOCK_OTHER},
	{DN_ABI_NATIVE, 74, "fsync", DN_SYSCALL_FILE, DN_BLOCK_DISK},
	{DN_ABI_NATIVE, 102, "getuid", DN_SYSCALL_SECURITY, DN_BLOCK_OTHER},
	{DN_ABI_NATIVE, 202, "futex", DN_SYSCALL_IPC, DN_BLOCK_FUTEX},
	{DN_ABI_NATIVE, 231, "exit_group", DN_SYSCALL_PROCESS, DN_BLOCK_OTHER},
	{DN_ABI_NATIVE, 234, "tgkill", DN_SYSCALL_SIGNAL, DN_BLOCK_OTHER},
	{DN_ABI_NATIVE, 262, "newfstatat", DN_SYSCALL_FILE, DN_BLOCK_OTHER},
	{DN_ABI_NATIVE, 321, "bpf", DN_SYSCALL_SYSTEM, DN_BLOCK_OTHER},
	{DN_ABI_NATIVE, 334, "rseq", DN_SYSCALL_PROCESS, DN_BLOCK_OTHER},
	{DN_ABI_NATIVE, 336, "uprobe", DN_SYSCALL_PROCESS, DN_BLOCK_OTHER},
	{DN_ABI_COMPAT, 1, "exit", DN_SYSCALL_PROCESS, DN_BLOCK_OTHER},
	{DN_ABI_COMPAT, 3, "read", DN_SYSCALL_FILE, DN_BLOCK_FD},
	{DN_ABI_COMPAT, 102, "socketcall", DN_SYSCALL_NETWORK, DN_BLOCK_NETWORK},
	{DN_ABI_COMPAT, 192, "mmap2", DN_SYSCALL_MEMORY, DN_BLOCK_OTHER},
	{DN_ABI_COMPAT, 422, "futex_time64", DN_SYSCALL_IPC, DN_BLOCK_FUTEX},
	{DN_ABI_X32, 0, "read", DN_SYSCALL_FILE, DN_BLOCK_FD},
	{DN_ABI_X32, 512, "rt_sigaction", DN_SYSCALL_SIGNAL, DN_BLOCK_OTHER},
	{DN_ABI_X32, X32_BIT | 515, "readv", DN_SYSCALL_FILE, DN_BLOCK_FD},
	{DN_ABI_X32, X32_BIT | 547, "pwritev2", DN_SYSCALL_FILE, DN_BLOCK_FD},
	{DN_ABI_X32, 471, "rseq_slice_yield", DN_SYSCALL_PROCESS, DN_BLOCK_OTHER},
#elif defined(__aarch64__)
	{DN_ABI_NATIVE, 25, "fcntl", DN_SYSCALL_FILE, DN_BLOCK_OTHER},
	{DN_ABI_NATIVE, 56, "openat", DN_SYSCALL_FILE, DN_BLOCK_OTHER},
	{DN_ABI_NATIVE, 63, "read", DN_SYSCALL_FILE, DN_BLOCK_FD},
	{DN_ABI_NATIVE, 79, "newfstatat", DN_SYSCALL_FILE, DN_BLOCK_OTHER},
	{DN_ABI_NATIVE, 98, "futex", DN_SYSCALL_IPC, DN_BLOCK_FUTEX},
	{DN_ABI_NATIVE, 101, "nanosleep", DN_SYSCALL_TIME, DN_BLOCK_SLEEP},
	{DN_ABI_NATIVE, 222, "mmap", DN_SYSCALL_MEMORY, DN_BLOCK_OTHER},
	{DN_ABI_COMPAT, 3, "read", DN_SYSCALL_FILE, DN_BLOCK_FD},
	{DN_ABI_COMPAT, 192, "mmap2", DN_SYSCALL_MEMORY, DN_BLOCK_OTHER},
	{DN_ABI_COMPAT, 240, "futex", DN_SYSCALL_IPC, DN_BLOCK_FUTEX},
	{DN_ABI_COMPAT, 341, "arm_sync_file_range", DN_SYSCALL_FILE, DN_BLOCK_DISK},
	{DN_ABI_COMPAT, 0xf0002, "cacheflush", DN_SYSCALL_MEMORY, DN_BLOCK_OTHER},
	{DN_ABI_COMPAT, 0xf0005, "set_tls", DN_SYSCALL_MEMORY, DN_BLOCK_OTHER},
#endif
	/* The same everywhere, and younger than Linux 6.1. */
	{DN_ABI_NATIVE, 435, "clone3", DN_SYSCALL_PROCESS, DN_BLOCK_OTHER},
	{DN_ABI_NATIVE, 455, "futex_wait", DN_SYSCALL_IPC, DN_BLOCK_FUTEX},
	{DN_ABI_COMPAT, 455, "futex_wait", DN_SYSCALL_IPC, DN_BLOCK_FUTEX},
	{DN_ABI_NATIVE, 469, "file_setattr", DN_SYSCALL_FILE, DN_BLOCK_OTHER},
};

static void test_known_numbers(void **state)
{
	for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++) {
		const struct known *k = &known[i];
		const char *name = dn_syscall_name(k->abi, k->nr);

		assert_non_null(name);
		assert_string_equal(name, k->name);
		assert_int_equal(dn_syscall_category(k->abi, k->nr), k->category);
		assert_int_equal(dn_syscall_block_class(k->abi, k->nr), k->block);
	}
}

/* What the compiler calls SYS_name has this name here. */
static void test_same_as_libc(void **state)
{
	assert_string_equal(dn_syscall_name(DN_ABI_NATIVE, SYS_read), "read");
	assert_string_equal(dn_syscall_name(DN_ABI_NATIVE, SYS_getppid), "getppid");
	assert_string_equal(dn_syscall_name(DN_ABI_NATIVE, SYS_futex), "futex");
	assert_string_equal(dn_syscall_name(DN_ABI_NATIVE, SYS_execveat), "execveat");
	assert_string_equal(dn_syscall_name(DN_ABI_NATIVE, SYS_fcntl), "fcntl");
	assert_string_equal(dn_syscall_name(DN_ABI_NATIVE, SYS_umount2), "umount2");
}

static void test_unknown_numbers(void **state)
{
	for (unsigned abi = 0; abi < DN_N_ABIS; abi++) {
		const unsigned numbers[] = {
			dn_syscall_limit(abi), 0x3fffffff, 0x80000000, UINT32_MAX};

		for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++) {
			assert_null(dn_syscall_name(abi, numbers[i]));
			assert_int_equal(dn_syscall_category(abi, numbers[i]), DN_SYSCALL_SYSTEM);
			assert_int_equal(dn_syscall_block_class(abi, numbers[i]), DN_BLOCK_OTHER);
		}
	}
	assert_null(dn_syscall_name(DN_N_ABIS, 0));
	assert_null(dn_abi_name(DN_N_ABIS));
	assert_int_equal(dn_syscall_limit(DN_N_ABIS), 0);
	assert_null(dn_syscall_category_name(DN_N_SYSCALL_CATEGORIES));
	/* Native numbers don't have x32's bit. */
	assert_null(dn_syscall_name(DN_ABI_NATIVE, X32_BIT));
}

static void test_abis(void **state)
{
#if defined(__x86_64__)
	assert_string_equal(dn_abi_name(DN_ABI_NATIVE), "x86_64");
	assert_string_equal(dn_abi_name(DN_ABI_COMPAT), "i386");
	assert_string_equal(dn_abi_name(DN_ABI_X32), "x32");
	assert_true(dn_syscall_limit(DN_ABI_X32) >= 548);
#elif defined(__aarch64__)
	assert_string_equal(dn_abi_name(DN_ABI_NATIVE), "aarch64");
	assert_string_equal(dn_abi_name(DN_ABI_COMPAT), "arm");
	assert_null(dn_abi_name(DN_ABI_X32));
	assert_int_equal(dn_syscall_limit(DN_ABI_X32), 0);
#endif
	assert_in_range(dn_syscall_limit(DN_ABI_NATIVE), 472, 1024);
	assert_in_range(dn_syscall_limit(DN_ABI_COMPAT), 472, 1024);
}

/* Every name is in categories.def, is spelt as metrics are, and is there once per ABI. */
static void test_every_name_has_a_category(void **state)
{
	unsigned missing = 0, names = 0;

	for (unsigned abi = 0; abi < DN_N_ABIS; abi++) {
		for (unsigned nr = 0; nr < dn_syscall_limit(abi); nr++) {
			const char *name = dn_syscall_name(abi, nr);

			if (!name)
				continue;
			names++;
			assert_int_equal(strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_"),
				strlen(name));
			for (unsigned other = 0; other < nr; other++)
				if (dn_syscall_name(abi, other))
					assert_string_not_equal(dn_syscall_name(abi, other), name);
			if (!dn_syscall_is_classified(abi, nr)) {
				print_error("syscalls/categories.def: %s (%s %u) has no category\n",
					name, dn_abi_name(abi), nr);
				missing++;
			}
		}
	}
	assert_int_equal(missing, 0);
	assert_true(names > 700);
}

static void test_category_names(void **state)
{
	static const char *const names[] = {"file", "network", "memory", "process", "signal",
		"time", "ipc", "security", "system"};

	assert_int_equal(sizeof(names) / sizeof(*names), DN_N_SYSCALL_CATEGORIES);
	for (unsigned i = 0; i < DN_N_SYSCALL_CATEGORIES; i++)
		assert_string_equal(dn_syscall_category_name(i), names[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_known_numbers),
		cmocka_unit_test(test_same_as_libc),
		cmocka_unit_test(test_unknown_numbers),
		cmocka_unit_test(test_abis),
		cmocka_unit_test(test_every_name_has_a_category),
		cmocka_unit_test(test_category_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

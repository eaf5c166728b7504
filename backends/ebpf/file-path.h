/* SPDX-License-Identifier: Apache-2.0 */
/* The busiest files by path, made of what the kernel side kept by inode. */
#ifndef DENET_EBPF_FILE_PATH_H
#define DENET_EBPF_FILE_PATH_H

#include <stddef.h>
#include <stdint.h>

#include "wire-file.h"

/* "/usr/lib/x", ".../lib/x" where what is above is not known; size is at least 4. */
void dn_ebpf_file_path(const struct dn_wire_path *from, char *path, size_t size);

struct dn_ebpf_file_entry {
	char *path;
	uint64_t count, read_bytes, write_bytes, time_ns;
};

struct dn_ebpf_file_list {
	struct dn_ebpf_file_entry *entry;
	size_t n, room;
	int error;
};

void dn_ebpf_file_list_add(struct dn_ebpf_file_list *list, const struct dn_wire_path *from);
/* One entry per path, the busiest first: by bytes and calls. */
void dn_ebpf_file_list_order(struct dn_ebpf_file_list *list);
void dn_ebpf_file_list_free(struct dn_ebpf_file_list *list);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel's BTF, read once. Parsing all of it is what makes eBPF tools slow to start (7 ms and
 * more); this finds the few names that are wanted in one walk, and copies the few structs that the
 * programs read into a small BTF of their own for libbpf to relocate against.
 */
#ifndef DENET_EBPF_BTF_H
#define DENET_EBPF_BTF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct btf;
struct dn_ebpf_btf;

/* 0; -ENOENT when the kernel has none; -EINVAL for what is no BTF; other errnos. */
int dn_ebpf_btf_open(int sys_fd, struct dn_ebpf_btf **ret);
void dn_ebpf_btf_free(struct dn_ebpf_btf *btf);

/* Names to look for: what attaching needs, and every struct of the objects' own BTF, which is
 * borrowed until it was extracted. */
int dn_ebpf_btf_want_typedef(struct dn_ebpf_btf *btf, const char *name);
int dn_ebpf_btf_want_function(struct dn_ebpf_btf *btf, const char *name);
int dn_ebpf_btf_want_structs(struct dn_ebpf_btf *btf, const struct btf *local);
/* One walk until everything is found but functions, which lie behind all else: to those it goes on
 * when they are asked for. 0 or negative errno. */
int dn_ebpf_btf_walk(struct dn_ebpf_btf *btf);
/* Type id of a wanted typedef or function; 0 when the kernel does not have it. */
uint32_t dn_ebpf_btf_id(struct dn_ebpf_btf *btf, const char *name);
/* Has the kernel this wanted struct? */
bool dn_ebpf_btf_has_struct(const struct dn_ebpf_btf *btf, const char *name);
/* How many arguments the event of a wanted btf_trace_NAME has; 0 when it is not known. */
unsigned dn_ebpf_btf_arguments(struct dn_ebpf_btf *btf, const char *name);
/* A small BTF with the wanted structs, less the members that nobody reads. The caller frees it with
 * btf__free(). */
int dn_ebpf_btf_extract(struct dn_ebpf_btf *btf, struct btf **ret);

/* For tests: over memory instead of a file; data is borrowed. */
int dn_ebpf_btf_from(const void *data, size_t size, struct dn_ebpf_btf **ret);

#endif

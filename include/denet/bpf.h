/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Programs, maps and links in the kernel, by raw bpf(2): no library is needed, every build has it.
 * What an older kernel does not tell is absent, never 0.
 */
#ifndef DENET_BPF_H
#define DENET_BPF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum dn_bpf_kind { DN_BPF_PROG, DN_BPF_MAP, DN_BPF_LINK, DN_BPF_KINDS_N };

#define DN_BPF_NAME_MAX 16
#define DN_BPF_MAPS_MAX 64 /* maps that a program's entry tells; the kernel takes no more */
#define DN_BPF_TARGET_MAX 256

struct dn_bpf_prog {
	uint32_t id, type;
	char name[DN_BPF_NAME_MAX + 1];
	uint8_t tag[8];
	uint64_t loaded_ns; /* CLOCK_BOOTTIME */
	uint32_t loaded_uid;
	uint32_t jited_bytes; /* 0: interpreted, or not told */
	uint32_t xlated_bytes;
	uint32_t n_maps; /* of them DN_BPF_MAPS_MAX at most in map_id */
	uint32_t map_id[DN_BPF_MAPS_MAX];
	uint64_t run_ns, runs; /* only while statistics were on */
	bool has_misses, has_verified;
	uint64_t misses; /* runs left out because it ran already */
	uint32_t verified_insns;
};

struct dn_bpf_map {
	uint32_t id, type;
	char name[DN_BPF_NAME_MAX + 1];
	uint32_t key_bytes, value_bytes, max_entries, flags;
};

struct dn_bpf_link {
	uint32_t id, type, prog_id;
	int attach_type; /* enum bpf_attach_type, or -1 */
	/* What it is attached to; raw bytes of outside origin. "" when the kernel does not tell. */
	char target[DN_BPF_TARGET_MAX];
	uint32_t btf_object, btf_type; /* of a traced function: see dn_bpf_btf_name(); 0: none */
};

/* The id behind id; -ENOENT behind the last; -EPERM without CAP_SYS_ADMIN. */
int dn_bpf_next_id(enum dn_bpf_kind kind, uint32_t id, uint32_t *ret);
/* A descriptor, or -ENOENT when it is gone by now. */
int dn_bpf_open(enum dn_bpf_kind kind, uint32_t id);
/* What is pinned at a path, to be looked at only; a descriptor or negative errno. */
int dn_bpf_open_pinned(const char *path);

/*
 * Calls visit for what is pinned in the BPF filesystems of this mount namespace, until it returns
 * something else than 0, which is returned. 0; 1 when there was more than is looked at; negative
 * errno.
 */
int dn_bpf_pins_visit(int proc_fd,
	int (*visit)(enum dn_bpf_kind kind, uint32_t id, const char *path, void *data), void *data);

int dn_bpf_prog_read(int fd, struct dn_bpf_prog *ret);
int dn_bpf_map_read(int fd, struct dn_bpf_map *ret);
int dn_bpf_link_read(int fd, struct dn_bpf_link *ret);

/* Run time and number of runs of a program, as far as statistics were on. */
int dn_bpf_prog_cost(int fd, uint64_t *ret_run_ns, uint64_t *ret_runs);
/* The memory of a map, or of a program, as /proc/self/fdinfo tells it; negative errno. */
int dn_bpf_map_bytes(int fd, uint64_t *ret);
/*
 * Run counts and times of all programs of the machine are measured until the returned descriptor
 * is closed; this costs each run 35 to 45 ns. -EPERM without CAP_SYS_ADMIN.
 */
int dn_bpf_stats_enable(void);

/* The text of a descriptor of this process below /proc/self/fdinfo; the length or negative errno.
 */
int dn_bpf_fdinfo_read(int fd, char *buffer, size_t size);
/* The number behind "key:" at the start of a line; the first such line counts, as what follows may
 * hold names that somebody chose. */
bool dn_bpf_fdinfo_u64(const char *text, const char *key, uint64_t *ret);
/* The kind of object that a link of /proc/PID/fd names, and what its fdinfo calls its id: -1 for
 * what is none. */
int dn_bpf_fd_kind(const char *link, const char **ret_key);

/* Names as the kernel's own, lower case; for a type that is not known here "type N" in buffer. */
#define DN_BPF_TYPE_NAME_MAX 24
const char *dn_bpf_type_name(
	enum dn_bpf_kind kind, uint32_t type, char buffer[DN_BPF_TYPE_NAME_MAX]);
/* NULL for what is not known here. */
const char *dn_bpf_attach_name(int attach_type);

/* Names of the kernel's types and functions, read when the first is asked for. */
struct dn_bpf_btf;
struct dn_bpf_btf *dn_bpf_btf_new(void); /* NULL: out of memory */
void dn_bpf_btf_free(struct dn_bpf_btf *btf);
/* The name that a link's btf_object and btf_type stand for; "" when it can't be known. */
void dn_bpf_btf_name(
	struct dn_bpf_btf *btf, uint32_t object, uint32_t type, char *out, size_t size);
/* Reads a BTF blob; apart for tests. base: of the kernel for a module's, or NULL. */
struct dn_btf_blob;
struct dn_btf_blob *dn_btf_parse(
	const void *data, size_t size, const struct dn_btf_blob *base); /* NULL: damaged */
void dn_btf_free(struct dn_btf_blob *blob);
/* NULL when there is no such type or it has no name. */
const char *dn_btf_type_name(const struct dn_btf_blob *blob, uint32_t type);

#endif

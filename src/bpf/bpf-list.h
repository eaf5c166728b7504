/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All BPF programs, maps and links of the machine at a moment, and who holds them. An object lives
 * as long as something holds it: a descriptor of a process, a name in a BPF filesystem, another
 * object, or what it is attached to.
 */
#ifndef DENET_BPF_LIST_H
#define DENET_BPF_LIST_H

#include <stdio.h>
#include <time.h>

#include <denet/bpf.h>
#include <denet/process.h>

/* A process, or a path where something is pinned. */
struct dn_bpf_holder {
	pid_t pid; /* 0: path */
	char name[DN_PROCESS_NAME_MAX]; /* raw bytes */
	char *path; /* raw bytes */
};

enum dn_bpf_by {
	DN_BPF_BY_ITSELF, /* has a descriptor, or is a name, of the object */
	DN_BPF_BY_LINK, /* of a link that holds the program */
	DN_BPF_BY_PROG, /* of a program, or a link to one, that holds the map */
};

struct dn_bpf_hold {
	enum dn_bpf_kind kind;
	uint32_t id;
	uint32_t holder; /* index */
	enum dn_bpf_by by;
};

struct dn_bpf_owners {
	struct dn_bpf_holder *holder;
	unsigned n_holders, room_holders;
	struct dn_bpf_hold *hold; /* by kind and id; each holder once per object */
	unsigned n_holds, room_holds;
	unsigned processes; /* looked into */
	unsigned denied; /* not allowed to */
	bool outside; /* /proc is not that of all processes of the machine */
	bool cut; /* there was more than the limits below allow */
};

#define DN_BPF_DESCRIPTORS_MAX (1u << 20) /* looked at in one walk */
#define DN_BPF_HOLDS_MAX (1u << 18)
#define DN_BPF_OBJECTS_MAX (1u << 16) /* of one kind */

struct dn_bpf_prog_entry {
	struct dn_bpf_prog info;
	bool has_memory;
	uint64_t memory_bytes; /* of its instructions and their compiled form */
	bool has_interval; /* counted over the interval */
	uint64_t interval_ns, interval_runs, interval_misses;
};

struct dn_bpf_map_entry {
	struct dn_bpf_map info;
	bool has_memory, has_frozen, frozen;
	uint64_t memory_bytes;
};

struct dn_bpf_list {
	uint64_t t_ns; /* CLOCK_MONOTONIC */
	struct timespec time; /* CLOCK_REALTIME */
	struct dn_bpf_prog_entry *prog; /* by id */
	struct dn_bpf_map_entry *map;
	struct dn_bpf_link *link;
	uint32_t *by_prog; /* indices of links, by the id of their program */
	unsigned n[DN_BPF_KINDS_N], room[DN_BPF_KINDS_N];
	unsigned unread[DN_BPF_KINDS_N]; /* are there, but could not be looked at */
	bool cut[DN_BPF_KINDS_N];
	bool no_links; /* this kernel tells no links */
	int stats_on; /* the machine's setting: 1, 0, -1 unknown */
	uint64_t interval_ns; /* 0: a moment */
	unsigned gone; /* programs that ended in the interval, with what they ran in it */
};

/* 0; -EPERM without CAP_SYS_ADMIN; another negative errno. btf may be NULL: no names of functions.
 */
int dn_bpf_list_read(struct dn_bpf_list *ret, struct dn_bpf_btf *btf);
void dn_bpf_list_finish(struct dn_bpf_list *list);
/* Fills what list counted since earlier. */
void dn_bpf_list_since(struct dn_bpf_list *list, const struct dn_bpf_list *earlier);
/* The same objects, though they may have run. */
bool dn_bpf_list_same(const struct dn_bpf_list *a, const struct dn_bpf_list *b);
/* False for what reads 0 because nobody ever counted: the machine has no statistics on, and a count
 * of 0. */
bool dn_bpf_has_runs(const struct dn_bpf_list *list, const struct dn_bpf_prog_entry *entry);

struct dn_bpf_totals {
	uint64_t prog_bytes, map_bytes;
	bool has_runs;
	uint64_t run_ns, runs, interval_ns, interval_runs;
};
void dn_bpf_list_totals(const struct dn_bpf_list *list, struct dn_bpf_totals *ret);

/* Link n of those of a program; NULL behind the last. */
const struct dn_bpf_link *dn_bpf_list_link_of(
	const struct dn_bpf_list *list, uint32_t prog_id, unsigned n);

/* Who holds them. proc_fd: /proc, or a folder like it; pinned: look into BPF filesystems too. */
int dn_bpf_owners_read(
	struct dn_bpf_owners *ret, const struct dn_bpf_list *list, int proc_fd, bool pinned);
void dn_bpf_owners_finish(struct dn_bpf_owners *owners);
/* The holds of one object, in *ret_n. */
const struct dn_bpf_hold *dn_bpf_owners_of(
	const struct dn_bpf_owners *owners, enum dn_bpf_kind kind, uint32_t id, unsigned *ret_n);
/* Nobody else can hold anything. */
bool dn_bpf_owners_complete(const struct dn_bpf_owners *owners);
struct dn_json;
/* One object, without a newline. */
void dn_bpf_write_json(
	struct dn_json *json, const struct dn_bpf_list *list, const struct dn_bpf_owners *owners);

struct dn_bpf_style {
	bool color;
	unsigned columns; /* 0: no limit */
	unsigned lines; /* of a screen; 0: all */
};
/* Tables for people; in an interval that of the programs only. 0 or -ENOMEM. */
int dn_bpf_print(FILE *out, const struct dn_bpf_list *list, const struct dn_bpf_owners *owners,
	const struct dn_bpf_style *style);

#endif

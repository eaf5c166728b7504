/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The part of bpf(2)'s interface that is used here, written down instead of taken from the build
 * machine's headers, which may be older than the kernel that denet runs on. The kernel takes and
 * fills as much as it knows, and says how much that was.
 */
#ifndef DENET_BPF_ABI_H
#define DENET_BPF_ABI_H

#include <stddef.h>
#include <stdint.h>

enum dn_bpf_command {
	DN_BPF_CMD_OBJ_GET = 7,
	DN_BPF_CMD_PROG_GET_NEXT_ID = 11,
	DN_BPF_CMD_MAP_GET_NEXT_ID = 12,
	DN_BPF_CMD_PROG_GET_FD_BY_ID = 13,
	DN_BPF_CMD_MAP_GET_FD_BY_ID = 14,
	DN_BPF_CMD_OBJ_GET_INFO_BY_FD = 15,
	DN_BPF_CMD_BTF_GET_FD_BY_ID = 19,
	DN_BPF_CMD_LINK_GET_FD_BY_ID = 30,
	DN_BPF_CMD_LINK_GET_NEXT_ID = 31,
	DN_BPF_CMD_ENABLE_STATS = 32,
};

#define DN_BPF_STATS_RUN_TIME 0
#define DN_BPF_F_RDONLY (1u << 3)

struct dn_bpf_attr_id {
	uint32_t id, next_id, open_flags;
};

struct dn_bpf_attr_info {
	uint32_t fd, len;
	uint64_t info;
};

struct dn_bpf_attr_path {
	uint64_t path;
	uint32_t fd, flags;
};

struct dn_bpf_prog_info {
	uint32_t type, id;
	uint8_t tag[8];
	uint32_t jited_len, xlated_len;
	uint64_t jited_insns, xlated_insns;
	uint64_t load_time;
	uint32_t uid, n_map_ids;
	uint64_t map_ids;
	char name[16];
	uint32_t ifindex, gpl;
	uint64_t netns_dev, netns_ino;
	uint32_t n_jited_ksyms, n_jited_func_lens;
	uint64_t jited_ksyms, jited_func_lens;
	uint32_t btf_id, func_info_rec_size;
	uint64_t func_info;
	uint32_t n_func_info, n_line_info;
	uint64_t line_info, jited_line_info;
	uint32_t n_jited_line_info, line_info_rec_size, jited_line_info_rec_size, n_prog_tags;
	uint64_t prog_tags;
	uint64_t run_time_ns, run_cnt;
	uint64_t recursion_misses; /* 5.12 */
	uint32_t verified_insns; /* 5.16 */
	uint32_t attach_btf_obj_id, attach_btf_id, pad; /* 6.0 */
};
_Static_assert(sizeof(struct dn_bpf_prog_info) == 232, "as the kernel has it");
_Static_assert(offsetof(struct dn_bpf_prog_info, recursion_misses) == 208, "as the kernel has it");

struct dn_bpf_map_info {
	uint32_t type, id, key_size, value_size, max_entries, flags;
	char name[16];
};
_Static_assert(sizeof(struct dn_bpf_map_info) == 40, "as the kernel has it");

struct dn_bpf_link_info {
	uint32_t type, id, prog_id, pad;
	union {
		struct {
			uint64_t name;
			uint32_t name_len;
		} raw_tracepoint;
		struct {
			uint32_t attach_type, object, type;
		} tracing;
		struct {
			uint64_t id;
			uint32_t attach_type;
		} cgroup;
		struct {
			uint64_t name;
			uint32_t name_len, map_id;
			uint32_t tid, pid;
		} iter;
		struct {
			uint32_t ino, attach_type;
		} netns;
		struct {
			uint32_t ifindex, attach_type; /* xdp: without the type */
		} device;
		struct {
			uint32_t map_id, attach_type; /* struct_ops: without the type */
		} map;
		struct {
			uint32_t pf, hook;
			int32_t priority;
			uint32_t flags;
		} netfilter;
		struct {
			uint64_t addresses;
			uint32_t count, flags;
			uint64_t missed, cookies;
		} kprobe_multi;
		struct {
			uint64_t path, offsets, ref_ctr_offsets, cookies;
			uint32_t path_size, count, flags, pid;
		} uprobe_multi;
		struct {
			uint32_t type, pad; /* enum dn_bpf_perf_type */
			union {
				struct {
					uint64_t name;
					uint32_t name_len, offset; /* a tracepoint has none */
				} probe;
				struct {
					uint64_t config;
					uint32_t type;
				} event;
			};
		} perf;
		uint64_t room[16];
	};
};
_Static_assert(offsetof(struct dn_bpf_link_info, raw_tracepoint) == 16, "as the kernel has it");
_Static_assert(
	offsetof(struct dn_bpf_link_info, uprobe_multi.path_size) == 48, "as the kernel has it");

enum dn_bpf_link_type {
	DN_BPF_LINK_RAW_TRACEPOINT = 1,
	DN_BPF_LINK_TRACING,
	DN_BPF_LINK_CGROUP,
	DN_BPF_LINK_ITER,
	DN_BPF_LINK_NETNS,
	DN_BPF_LINK_XDP,
	DN_BPF_LINK_PERF_EVENT,
	DN_BPF_LINK_KPROBE_MULTI,
	DN_BPF_LINK_STRUCT_OPS,
	DN_BPF_LINK_NETFILTER,
	DN_BPF_LINK_TCX,
	DN_BPF_LINK_UPROBE_MULTI,
	DN_BPF_LINK_NETKIT,
	DN_BPF_LINK_SOCKMAP,
};

enum dn_bpf_perf_type {
	DN_BPF_PERF_UPROBE = 1,
	DN_BPF_PERF_URETPROBE,
	DN_BPF_PERF_KPROBE,
	DN_BPF_PERF_KRETPROBE,
	DN_BPF_PERF_TRACEPOINT,
	DN_BPF_PERF_EVENT,
};

struct dn_bpf_btf_info {
	uint64_t btf;
	uint32_t btf_size, id;
	uint64_t name;
	uint32_t name_len, kernel_btf;
};

/* bpf(2): 0 or a descriptor, or negative errno. Tries again when a signal came in between. */
int dn_bpf_call(enum dn_bpf_command command, void *attr, size_t size);
/* Fills info, of which size bytes are known here; returns how many the kernel filled. */
int dn_bpf_info(int fd, void *info, size_t size);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernel's numbers for kinds of programs, maps, links and places to attach are called. */
#include <stdio.h>

#include <denet/bpf.h>

static const char *const prog_types[] = {"unspec", "socket_filter", "kprobe", "sched_cls",
	"sched_act", "tracepoint", "xdp", "perf_event", "cgroup_skb", "cgroup_sock", "lwt_in",
	"lwt_out", "lwt_xmit", "sock_ops", "sk_skb", "cgroup_device", "sk_msg", "raw_tracepoint",
	"cgroup_sock_addr", "lwt_seg6local", "lirc_mode2", "sk_reuseport", "flow_dissector",
	"cgroup_sysctl", "raw_tracepoint_writable", "cgroup_sockopt", "tracing", "struct_ops",
	"ext", "lsm", "sk_lookup", "syscall", "netfilter"};

static const char *const map_types[] = {"unspec", "hash", "array", "prog_array", "perf_event_array",
	"percpu_hash", "percpu_array", "stack_trace", "cgroup_array", "lru_hash", "lru_percpu_hash",
	"lpm_trie", "array_of_maps", "hash_of_maps", "devmap", "sockmap", "cpumap", "xskmap",
	"sockhash", "cgroup_storage", "reuseport_sockarray", "percpu_cgroup_storage", "queue",
	"stack", "sk_storage", "devmap_hash", "struct_ops", "ringbuf", "inode_storage",
	"task_storage", "bloom_filter", "user_ringbuf", "cgrp_storage", "arena"};

static const char *const link_types[] = {"unspec", "raw_tracepoint", "tracing", "cgroup", "iter",
	"netns", "xdp", "perf_event", "kprobe_multi", "struct_ops", "netfilter", "tcx",
	"uprobe_multi", "netkit", "sockmap"};

static const char *const attach_types[] = {"cgroup_inet_ingress", "cgroup_inet_egress",
	"cgroup_inet_sock_create", "cgroup_sock_ops", "sk_skb_stream_parser",
	"sk_skb_stream_verdict", "cgroup_device", "sk_msg_verdict", "cgroup_inet4_bind",
	"cgroup_inet6_bind", "cgroup_inet4_connect", "cgroup_inet6_connect",
	"cgroup_inet4_post_bind", "cgroup_inet6_post_bind", "cgroup_udp4_sendmsg",
	"cgroup_udp6_sendmsg", "lirc_mode2", "flow_dissector", "cgroup_sysctl",
	"cgroup_udp4_recvmsg", "cgroup_udp6_recvmsg", "cgroup_getsockopt", "cgroup_setsockopt",
	"trace_raw_tp", "trace_fentry", "trace_fexit", "modify_return", "lsm_mac", "trace_iter",
	"cgroup_inet4_getpeername", "cgroup_inet6_getpeername", "cgroup_inet4_getsockname",
	"cgroup_inet6_getsockname", "xdp_devmap", "cgroup_inet_sock_release", "xdp_cpumap",
	"sk_lookup", "xdp", "sk_skb_verdict", "sk_reuseport_select",
	"sk_reuseport_select_or_migrate", "perf_event", "trace_kprobe_multi", "lsm_cgroup",
	"struct_ops", "netfilter", "tcx_ingress", "tcx_egress", "trace_uprobe_multi",
	"cgroup_unix_connect", "cgroup_unix_sendmsg", "cgroup_unix_recvmsg",
	"cgroup_unix_getpeername", "cgroup_unix_getsockname", "netkit_primary", "netkit_peer",
	"trace_kprobe_session", "trace_uprobe_session"};

#define N(array) (sizeof(array) / sizeof((array)[0]))

_Static_assert(N(prog_types) == 33, "netfilter is 32");
_Static_assert(N(map_types) == 34, "arena is 33");
_Static_assert(N(link_types) == 15, "sockmap is 14");
_Static_assert(N(attach_types) == 58, "trace_uprobe_session is 57");

const char *dn_bpf_type_name(
	enum dn_bpf_kind kind, uint32_t type, char buffer[DN_BPF_TYPE_NAME_MAX])
{
	static const struct {
		const char *const *name;
		uint32_t n;
	} table[] = {
		[DN_BPF_PROG] = {prog_types, N(prog_types)},
		[DN_BPF_MAP] = {map_types, N(map_types)},
		[DN_BPF_LINK] = {link_types, N(link_types)},
	};

	if (type < table[kind].n)
		return table[kind].name[type];
	snprintf(buffer, DN_BPF_TYPE_NAME_MAX, "type %u", (unsigned)type);
	return buffer;
}

const char *dn_bpf_attach_name(int attach_type)
{
	return attach_type >= 0 && (unsigned)attach_type < N(attach_types)
		       ? attach_types[attach_type]
		       : NULL;
}

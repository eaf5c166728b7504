/* SPDX-License-Identifier: Apache-2.0 */
/* Links: what a program is attached to, in the words of the kind of link. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <denet/bpf.h>

#include "bpf-abi.h"

static void put(struct dn_bpf_link *link, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
static void put(struct dn_bpf_link *link, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(link->target, sizeof(link->target), format, args);
	va_end(args);
}

/* Where the kernel shall put the name that this kind of link has; false when it has none. */
static bool ask_for_name(struct dn_bpf_link_info *info, char *name, size_t size)
{
	uint64_t address = (uintptr_t)name;

	switch (info->type) {
	case DN_BPF_LINK_RAW_TRACEPOINT:
		info->raw_tracepoint.name = address;
		info->raw_tracepoint.name_len = (uint32_t)size;
		return true;
	case DN_BPF_LINK_ITER:
		info->iter.name = address;
		info->iter.name_len = (uint32_t)size;
		return true;
	case DN_BPF_LINK_UPROBE_MULTI:
		info->uprobe_multi.path = address;
		info->uprobe_multi.path_size = (uint32_t)size;
		return true;
	case DN_BPF_LINK_PERF_EVENT:
		if (info->perf.type < DN_BPF_PERF_UPROBE ||
			info->perf.type > DN_BPF_PERF_TRACEPOINT)
			return false;
		info->perf.probe.name = address;
		info->perf.probe.name_len = (uint32_t)size;
		return true;
	default:
		return false;
	}
}

static void put_perf(
	struct dn_bpf_link *link, const struct dn_bpf_link_info *info, const char *name)
{
	switch (info->perf.type) {
	case DN_BPF_PERF_UPROBE:
	case DN_BPF_PERF_URETPROBE:
		put(link, "%s+0x%x", name, (unsigned)info->perf.probe.offset);
		break;
	case DN_BPF_PERF_KPROBE:
	case DN_BPF_PERF_KRETPROBE:
		if (info->perf.probe.offset)
			put(link, "%s+0x%x", name, (unsigned)info->perf.probe.offset);
		else
			put(link, "%s", name);
		break;
	case DN_BPF_PERF_TRACEPOINT:
		put(link, "%s", name);
		break;
	case DN_BPF_PERF_EVENT:
		put(link, "event type %u config 0x%llx", (unsigned)info->perf.event.type,
			(unsigned long long)info->perf.event.config);
		break;
	default: /* before 6.6 nothing is told */
		break;
	}
}

static void put_iter(
	struct dn_bpf_link *link, const struct dn_bpf_link_info *info, const char *name)
{
	if (info->iter.map_id)
		put(link, "%s of map %u", name, (unsigned)info->iter.map_id);
	else if (info->iter.pid && strncmp(name, "task", 4) == 0)
		put(link, "%s of pid %u", name, (unsigned)info->iter.pid);
	else
		put(link, "%s", name);
}

static void put_target(
	struct dn_bpf_link *link, const struct dn_bpf_link_info *info, const char *name)
{
	switch (info->type) {
	case DN_BPF_LINK_RAW_TRACEPOINT:
		put(link, "%s", name);
		break;
	case DN_BPF_LINK_TRACING:
		link->attach_type = (int)info->tracing.attach_type;
		link->btf_object = info->tracing.object;
		link->btf_type = info->tracing.type;
		break;
	case DN_BPF_LINK_CGROUP:
		link->attach_type = (int)info->cgroup.attach_type;
		put(link, "cgroup %llu", (unsigned long long)info->cgroup.id);
		break;
	case DN_BPF_LINK_ITER:
		put_iter(link, info, name);
		break;
	case DN_BPF_LINK_NETNS:
		link->attach_type = (int)info->netns.attach_type;
		put(link, "network namespace %u", (unsigned)info->netns.ino);
		break;
	case DN_BPF_LINK_XDP:
		put(link, "interface %u", (unsigned)info->device.ifindex);
		break;
	case DN_BPF_LINK_TCX:
	case DN_BPF_LINK_NETKIT:
		link->attach_type = (int)info->device.attach_type;
		put(link, "interface %u", (unsigned)info->device.ifindex);
		break;
	case DN_BPF_LINK_PERF_EVENT:
		put_perf(link, info, name);
		break;
	case DN_BPF_LINK_KPROBE_MULTI:
		put(link, "%u functions", (unsigned)info->kprobe_multi.count);
		break;
	case DN_BPF_LINK_UPROBE_MULTI:
		put(link, "%s, %u places", name, (unsigned)info->uprobe_multi.count);
		break;
	case DN_BPF_LINK_NETFILTER:
		put(link, "protocol %u hook %u priority %d", (unsigned)info->netfilter.pf,
			(unsigned)info->netfilter.hook, (int)info->netfilter.priority);
		break;
	case DN_BPF_LINK_SOCKMAP:
		link->attach_type = (int)info->map.attach_type;
		put(link, "map %u", (unsigned)info->map.map_id);
		break;
	case DN_BPF_LINK_STRUCT_OPS:
		put(link, "map %u", (unsigned)info->map.map_id);
		break;
	default:
		break;
	}
}

int dn_bpf_link_read(int fd, struct dn_bpf_link *ret)
{
	char name[DN_BPF_TARGET_MAX - 32] = "";
	struct dn_bpf_link_info info = {0};
	int r = dn_bpf_info(fd, &info, sizeof(info));

	if (r < 0)
		return r;
	/* What kind it is decides where the address of the buffer goes; all else must be 0. */
	if (info.type == DN_BPF_LINK_RAW_TRACEPOINT || info.type == DN_BPF_LINK_ITER ||
		info.type == DN_BPF_LINK_UPROBE_MULTI || info.type == DN_BPF_LINK_PERF_EVENT) {
		struct dn_bpf_link_info named = {.type = info.type};

		named.perf.type = info.type == DN_BPF_LINK_PERF_EVENT ? info.perf.type : 0;
		/* -ENOSPC fills what fits. */
		if (ask_for_name(&named, name, sizeof(name)) &&
			dn_bpf_info(fd, &named, sizeof(named)) >= 0)
			info = named;
	}
	name[sizeof(name) - 1] = '\0';
	*ret = (struct dn_bpf_link){
		.id = info.id, .type = info.type, .prog_id = info.prog_id, .attach_type = -1};
	put_target(ret, &info, name);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What this machine runs in: a hypervisor, a container. Only what evidence says; "" is "don't
 * know". */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#ifdef __x86_64__
#include <cpuid.h>
#endif

#include <denet/fs.h>

#include "host.h"

#define ENVIRON_MAX (64 * 1024)

struct pattern {
	const char *text;
	const char *name;
};

static const char *find_pattern(const struct pattern *patterns, size_t n, const char *text)
{
	for (size_t i = 0; i < n; i++) {
		if (strstr(text, patterns[i].text))
			return patterns[i].name;
	}
	return NULL;
}
#define FIND(patterns, text) find_pattern(patterns, sizeof(patterns) / sizeof((patterns)[0]), text)

#ifdef __x86_64__
static void cpuid_signature(unsigned leaf, char out[13])
{
	unsigned a, b, c, d;

	__cpuid(leaf, a, b, c, d);
	memcpy(out, &b, 4);
	memcpy(out + 4, &c, 4);
	memcpy(out + 8, &d, 4);
	out[12] = '\0';
}

/* The CPU says it itself, without a file and without privileges. */
static const char *from_cpu(void)
{
	static const struct pattern known[] = {
		{"KVMKVMKVM", "kvm"},
		{"Linux KVM Hv", "kvm"},
		{"TCGTCGTCGTCG", "qemu"},
		{"VMwareVMware", "vmware"},
		{"Microsoft Hv", "hyperv"},
		{"XenVMMXenVMM", "xen"},
		{"bhyve bhyve ", "bhyve"},
		{"VBoxVBoxVBox", "virtualbox"},
		{" prl hyperv ", "parallels"},
		{" lrpepyh  vr", "parallels"},
		{"ACRNACRNACRN", "acrn"},
		{"QNXQVMBSQG", "qnx"},
	};
	unsigned a, b, c, d;
	char signature[13];
	const char *name;

	if (!__get_cpuid(1, &a, &b, &c, &d))
		return NULL;
	if (!(c & (1u << 31)))
		return "none";
	cpuid_signature(0x40000000, signature);
	name = FIND(known, signature);
	if (name && strcmp(name, "hyperv") == 0) {
		/* KVM that offers Hyper-V's interface to a Windows guest keeps its own one leaf
		 * group higher. */
		cpuid_signature(0x40000100, signature);
		if (strcmp(signature, "KVMKVMKVM") == 0)
			name = "kvm";
	}
	return name ? name : "other";
}
#else
static const char *from_cpu(void)
{
	return NULL;
}
#endif

/* Recorded x86 machines have the flag only; other architectures have nothing of the kind. */
static const char *from_cpuinfo(const char *text)
{
	const char *flags = strstr(text, "\nflags\t");
	const char *end = flags ? strchr(flags + 1, '\n') : NULL;
	const char *flag;

	if (!end)
		return NULL;
	for (flag = flags; (flag = strstr(flag, " hypervisor")) && flag < end; flag++) {
		if (flag[11] == ' ' || flag[11] == '\n')
			return "other";
	}
	return "none";
}

static const char *from_firmware(int sys_fd)
{
	static const struct pattern vendors[] = {
		{"QEMU", "qemu"},
		{"VMware", "vmware"},
		{"Xen", "xen"},
		{"innotek GmbH", "virtualbox"},
		{"Parallels", "parallels"},
		{"BHYVE", "bhyve"},
		{"Amazon EC2", "amazon"},
		{"Google", "google"},
	};
	static const struct pattern products[] = {
		{"VirtualBox", "virtualbox"},
		{"KVM", "kvm"},
	};
	char vendor[128], product[128];
	const char *name;

	dn_read_word(sys_fd, "class/dmi/id/sys_vendor", vendor, sizeof(vendor));
	dn_read_word(sys_fd, "class/dmi/id/product_name", product, sizeof(product));
	if (strstr(product, ".metal")) /* a cloud's name on a machine without a hypervisor */
		return NULL;
	if (strstr(vendor, "Microsoft") && strstr(product, "Virtual Machine"))
		return "hyperv";
	name = FIND(products, product);
	if (!name)
		name = FIND(vendors, vendor);
	if (name)
		return strcmp(name, "google") == 0 && !strstr(product, "Compute Engine") ? NULL
											 : name;
	dn_read_word(
		sys_fd, "firmware/devicetree/base/hypervisor/compatible", vendor, sizeof(vendor));
	if (strstr(vendor, "xen"))
		return "xen";
	if (strstr(vendor, "kvm"))
		return "kvm";
	dn_read_word(sys_fd, "firmware/devicetree/base/compatible", vendor, sizeof(vendor));
	return strstr(vendor, "dummy-virt") ? "qemu" : NULL;
}

static void read_virtualization(bool live, int sys_fd, const char *cpuinfo, struct dn_machine *ret)
{
	char type[64] = "";
	const char *name, *firmware;

	if (strcasestr(ret->kernel, "microsoft")) {
		strcpy(ret->virtualization, "wsl");
		return;
	}
	name = live ? from_cpu() : NULL;
	if (!name)
		name = from_cpuinfo(cpuinfo);
	if (sys_fd >= 0 && (!name || strcmp(name, "none") == 0 || strcmp(name, "other") == 0)) {
		/* A paravirtual Xen guest sees the CPU as it is. */
		dn_read_word(sys_fd, "hypervisor/type", type, sizeof(type));
		firmware = type[0] ? NULL : from_firmware(sys_fd);
		if (type[0])
			name = type;
		else if (firmware && (!name || strcmp(name, "other") == 0))
			name = firmware;
	}
	if (name)
		snprintf(ret->virtualization, sizeof(ret->virtualization), "%s", name);
}

static const struct pattern cgroup_patterns[] = {
	{"/kubepods", "kubernetes"},
	{"/libpod", "podman"},
	{"/docker", "docker"},
	{"/lxc", "lxc"},
	{"/machine.slice/systemd-nspawn", "systemd-nspawn"},
};

/* Engines bind these files into every container, from folders that tell whose they are. */
static int visit_mount(const struct dn_mount *mount, void *data)
{
	static const struct pattern roots[] = {
		{"/kubelet/pods/", "kubernetes"},
		{"/docker/containers/", "docker"},
		{"/overlay-containers/", "podman"},
		{"/libpod/", "podman"},
		{"io.containerd.", "containerd"},
	};
	const char **name = data;

	if (strcmp(mount->point, "/etc/hostname") != 0 && strcmp(mount->point, "/etc/hosts") != 0 &&
		strcmp(mount->point, "/etc/resolv.conf") != 0)
		return 0;
	*name = FIND(roots, mount->root);
	return *name != NULL;
}

/* Some namespace is not the first one. Their inode numbers are part of the kernel's ABI
 * (proc_ns.h). */
static bool is_in_namespace(int proc_fd)
{
	static const struct {
		const char *path;
		const char *first;
	} ns[] = {
		{"self/ns/pid", "pid:[4026531836]"},
		{"self/ns/uts", "uts:[4026531838]"},
		{"self/ns/ipc", "ipc:[4026531839]"},
		{"self/ns/cgroup", "cgroup:[4026531835]"},
	};

	for (size_t i = 0; i < sizeof(ns) / sizeof(ns[0]); i++) {
		char target[64];
		ssize_t len = readlinkat(proc_fd, ns[i].path, target, sizeof(target) - 1);

		if (len < 0)
			continue;
		target[len] = '\0';
		if (strcmp(target, ns[i].first) != 0)
			return true;
	}
	return false;
}

/* container=NAME in the environment of pid 1, where we may read it. */
static bool from_init(int proc_fd, char *out, size_t size)
{
	char *text = malloc(ENVIRON_MAX);
	ssize_t len = text ? dn_read_file_at(proc_fd, "1/environ", text, ENVIRON_MAX) : -ENOMEM;
	bool found = false;

	if (len == -ENOBUFS)
		len = ENVIRON_MAX - 1;
	for (ssize_t i = 0; i < len && !found; i += (ssize_t)strlen(text + i) + 1) {
		const char *value = text + i + 10;

		if (strncmp(text + i, "container=", 10) == 0 && *value && strlen(value) < size) {
			strcpy(out, strcmp(value, "oci") == 0 ? "podman" : value);
			found = true;
		}
	}
	free(text);
	return found;
}

static void read_container(int proc_fd, bool live, struct dn_machine *ret)
{
	const char *name = FIND(cgroup_patterns, ret->cgroup.path);
	char first[sizeof(ret->cgroup.path)];
	char text[8192];
	ssize_t len;
	bool inside;
	int version;

	/* An engine's name in our own path is also what its tools on the host would show: pid 1
	 * decides there. */
	if (name) {
		len = dn_read_file_at(proc_fd, "1/cgroup", text, sizeof(text));
		if (len >= 0 && dn_cgroup_parse(text, NULL, &version, first, sizeof(first)) == 0 &&
			strcmp(first, "/") != 0 && !FIND(cgroup_patterns, first))
			name = NULL;
	}
	/*
	 * Images of machines are made from images of containers: what an engine left in the file
	 * system proves nothing where all namespaces are the first ones.
	 */
	inside = !live || is_in_namespace(proc_fd);
	if (!name && inside)
		dn_mount_visit(proc_fd, visit_mount, &name);
	if (!name && live && inside) {
		if (access("/run/.containerenv", F_OK) == 0)
			name = "podman";
		else if (access("/.dockerenv", F_OK) == 0)
			name = "docker";
	}
	if (name)
		snprintf(ret->container, sizeof(ret->container), "%s", name);
	else
		from_init(proc_fd, ret->container, sizeof(ret->container));
}

void dn_environment_read(int proc_fd, int sys_fd, const char *cpuinfo, struct dn_machine *ret)
{
	bool live = dn_host_is_live(proc_fd);

	read_virtualization(live, sys_fd, cpuinfo, ret);
	read_container(proc_fd, live, ret);
}

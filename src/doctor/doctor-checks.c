/* SPDX-License-Identifier: Apache-2.0 */
/* The checks that need no counters, and how a check says what to do. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <stdarg.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <denet/fs.h>

#include "doctor.h"
#include "sinks.h"

const char *dn_check_level_name(enum dn_check_level level)
{
	static const char *const names[] = {"ok", "info", "warn", "error"};

	return names[level];
}

struct dn_check *dn_doctor_add(struct dn_doctor *doctor, const char *id, enum dn_check_level level,
	const char *format, ...)
{
	/* The list is fixed by the code; a row too many would overwrite the last one, not memory.
	 */
	struct dn_check *check = &doctor->check[doctor->n_checks < DN_CHECK_MAX ? doctor->n_checks++
										: DN_CHECK_MAX - 1];
	va_list args;

	*check = (struct dn_check){.id = id, .level = level};
	va_start(args, format);
	vsnprintf(check->text, sizeof(check->text), format, args);
	va_end(args);
	return check;
}

void dn_check_lost(struct dn_check *check, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(check->lost, sizeof(check->lost), format, args);
	va_end(args);
}

void dn_check_remedy(struct dn_check *check, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(check->remedy, sizeof(check->remedy), format, args);
	va_end(args);
}

static void upper(const char *name, char *out, size_t size)
{
	size_t i;

	for (i = 0; name[i] && i < size - 1; i++)
		out[i] = (char)(name[i] >= 'a' && name[i] <= 'z' ? name[i] - 'a' + 'A' : name[i]);
	out[i] = '\0';
}

void dn_check_remedy_capability(
	struct dn_check *check, const struct dn_doctor *doctor, int number, const char *name)
{
	const char *container = doctor->machine.container;
	bool bounded = prctl(PR_CAPBSET_READ, number, 0, 0, 0) == 0;
	struct statvfs fs;
	char big[32];

	upper(name, big, sizeof(big));
	/* File capabilities beyond the bounding set make the exec itself fail: the set comes first.
	 */
	if (bounded && strcmp(container, "kubernetes") == 0) {
		dn_check_remedy(check, "securityContext: capabilities: add: [%s]", big);
	} else if (bounded && container[0]) {
		dn_check_remedy(check,
			"%s run --cap-add %s ... (as a user other than root also: setcap cap_%s+ep "
			"%s); an engine's "
			"default seccomp profile then allows the call, one of your own has to",
			strcmp(container, "podman") == 0 ? "podman" : "docker", big, name,
			doctor->self);
	} else if (bounded) {
		dn_check_remedy(check,
			"start denet with cap_%s in its capability bounding set (systemd: "
			"CapabilityBoundingSet=)",
			name);
	} else if (doctor->machine.no_new_privs) {
		dn_check_remedy(check,
			"setcap cap_%s+ep %s, and start denet without no_new_privs, which is set "
			"here and makes "
			"file capabilities void",
			name, doctor->self);
	} else if (statvfs("/proc/self/exe", &fs) == 0 && fs.f_flag & ST_NOSUID) {
		dn_check_remedy(check,
			"put denet on a file system that is not mounted nosuid, then setcap "
			"cap_%s+ep there",
			name);
	} else {
		dn_check_remedy(check, "setcap cap_%s+ep %s", name, doctor->self);
	}
}

/* A mount option of our /proc, as "hidepid=2"; false when it is not there. The last mount is the
 * one that is seen. */
static bool proc_option(int proc_fd, const char *option, char *out, size_t size)
{
	static const char type[] = " - proc ";
	char text[16384];
	ssize_t read = dn_read_file_at(proc_fd, "self/mountinfo", text, sizeof(text));
	bool has = false;

	if (read < 0 && read != -ENOBUFS)
		return false;
	for (const char *line = text, *end; *line; line = *end ? end + 1 : end) {
		const char *options, *found;
		size_t len;

		end = strchrnul(line, '\n');
		options = memmem(line, (size_t)(end - line), type, strlen(type));
		if (!options || !memmem(line, (size_t)(options - line), " /proc ", 7))
			continue;
		found = memmem(options, (size_t)(end - options), option, strlen(option));
		len = found ? strcspn(found, ", \n") : 0;
		has = found && len < size;
		if (has) {
			memcpy(out, found, len);
			out[len] = '\0';
		}
	}
	return has;
}

static bool base_tier_works(const struct dn_doctor *doctor)
{
	for (unsigned i = 0; i < doctor->plan.n_backends; i++) {
		const struct dn_plan_backend *backend = &doctor->plan.backend[i];

		if (strcmp(backend->ops->name, "procfs") == 0)
			return !backend->dead && backend->probe.fact == DN_FACT_OK;
	}
	return false;
}

static bool has_a_process(int proc_fd)
{
	int fd = dn_open_at(proc_fd, ".", O_RDONLY | O_DIRECTORY);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;
	bool found = false;

	if (!dir) {
		dn_closep(&fd);
		return false;
	}
	while (!found && (entry = readdir(dir)))
		found = entry->d_name[0] >= '1' && entry->d_name[0] <= '9';
	closedir(dir);
	return found;
}

/* Why nothing can be measured at all, or NULL. */
static const char *why_unusable(const struct dn_doctor *doctor)
{
	char text[4096];

	if (doctor->live && !doctor->procfs)
		return "/proc is not a procfs";
	if (doctor->live &&
		dn_read_file_at(doctor->env.proc_fd, "self/stat", text, sizeof(text)) < 0)
		return "/proc/self/stat can't be read";
	if (!doctor->live && !has_a_process(doctor->env.proc_fd))
		return "no process in the recorded machine";
	return base_tier_works(doctor) ? NULL : "the procfs tier does not work";
}

static bool check_proc(struct dn_doctor *doctor)
{
	const char *unusable = why_unusable(doctor);
	struct dn_check *check;
	char option[64];

	if (unusable) {
		check = dn_doctor_add(doctor, "proc", DN_CHECK_ERROR, "%s", unusable);
		dn_check_lost(check,
			"everything but what the kernel tells a parent of its child at the end");
		if (doctor->live && !doctor->procfs)
			dn_check_remedy(check, "mount -t proc proc /proc");
		return false;
	}
	if (!doctor->live) {
		dn_doctor_add(doctor, "proc", DN_CHECK_OK, "a recorded machine");
	} else if (geteuid() != 0 &&
		   proc_option(doctor->env.proc_fd, "hidepid=", option, sizeof(option)) &&
		   strcmp(option, "hidepid=0") != 0 && strcmp(option, "hidepid=off") != 0) {
		check = dn_doctor_add(doctor, "proc", DN_CHECK_WARN,
			"/proc is mounted %s: processes of other users are hidden", option);
		dn_check_lost(check, "attach to processes of other users, and children of the "
				     "command that change their user");
		dn_check_remedy(
			check, "run denet in the group that the gid= option of that mount names");
	} else if (proc_option(doctor->env.proc_fd, "subset=pid", option, sizeof(option))) {
		check = dn_doctor_add(doctor, "proc", DN_CHECK_WARN, "/proc is mounted subset=pid");
		dn_check_lost(check, "facts of the machine, pressure.* of the host");
	} else {
		dn_doctor_add(
			doctor, "proc", DN_CHECK_OK, "/proc is a procfs and shows all processes");
	}
	return true;
}

/* A file of /proc or /sys that is there or not. */
static void check_file(struct dn_doctor *doctor, const char *id, const char *path,
	const char *found, const char *lost, const char *remedy)
{
	char text[256];
	ssize_t len = dn_read_file_at(doctor->env.proc_fd, path, text, sizeof(text));
	struct dn_check *check;

	if (len >= 0 || len == -ENOBUFS) {
		dn_doctor_add(doctor, id, DN_CHECK_OK, "%s", found);
		return;
	}
	check = dn_doctor_add(doctor, id, DN_CHECK_WARN, "/proc/%s: %s", path, strerror((int)-len));
	dn_check_lost(check, "%s", lost);
	if (remedy)
		dn_check_remedy(check, "%s", remedy);
}

static void check_subreaper(struct dn_doctor *doctor)
{
	struct dn_check *check;
	int is = 0;

	if (prctl(PR_GET_CHILD_SUBREAPER, &is, 0, 0, 0) == 0) {
		dn_doctor_add(doctor, "subreaper", DN_CHECK_OK,
			"orphans of the command can come to denet");
		return;
	}
	check = dn_doctor_add(doctor, "subreaper", DN_CHECK_WARN,
		"prctl(PR_GET_CHILD_SUBREAPER): %s", strerror(errno));
	dn_check_lost(check, "what daemonised descendants did after their last sample");
}

static void check_cgroup(struct dn_doctor *doctor)
{
	const struct dn_cgroup_facts *cgroup = &doctor->machine.cgroup;
	char memory[32] = "unknown", cpu[32] = "unknown", pids[32] = "unknown", path[128];
	struct dn_check *check;

	if (cgroup->version == 0) {
		check = dn_doctor_add(doctor, "cgroup", DN_CHECK_WARN,
			"this process is in no cgroup that can be seen");
		dn_check_lost(check, "cgroup.*, and the limits in the header");
		return;
	}
	if (cgroup->has_memory_max && cgroup->memory_max_bytes == UINT64_MAX)
		strcpy(memory, "unlimited");
	else if (cgroup->has_memory_max)
		dn_human_bytes(cgroup->memory_max_bytes, memory, sizeof(memory));
	if (cgroup->has_cpu_quota && cgroup->cpu_quota_ratio < 0)
		strcpy(cpu, "unlimited");
	else if (cgroup->has_cpu_quota)
		snprintf(cpu, sizeof(cpu), "%.2f CPUs", cgroup->cpu_quota_ratio);
	if (cgroup->has_pids_max && cgroup->pids_max == UINT64_MAX)
		strcpy(pids, "unlimited");
	else if (cgroup->has_pids_max)
		snprintf(pids, sizeof(pids), "%llu", (unsigned long long)cgroup->pids_max);
	dn_text_safe(cgroup->path, strlen(cgroup->path), 60, path, sizeof(path));
	dn_doctor_add(doctor, "cgroup", DN_CHECK_OK, "v%d, %s; limits: memory %s, CPU %s, tasks %s",
		cgroup->version, path, memory, cpu, pids);
}

/* The last words of each TCP connection: without them, what closes between two samples is missed.
 */
static void check_sock_diag(struct dn_doctor *doctor)
{
	dn_cleanup(dn_closep) int fd =
		socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
	int group = SKNLGRP_INET_TCP_DESTROY;
	struct dn_check *check;

	if (fd < 0) {
		check = dn_doctor_add(doctor, "sock_diag", DN_CHECK_WARN,
			"socket(NETLINK_SOCK_DIAG): %s", strerror(errno));
		dn_check_lost(check, "network.*");
		if (doctor->machine.seccomp == 2)
			dn_check_remedy(check,
				"allow AF_NETLINK sockets in the seccomp profile (systemd: "
				"RestrictAddressFamilies=AF_NETLINK ...)");
		return;
	}
	if (setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)) < 0) {
		check = dn_doctor_add(doctor, "sock_diag", DN_CHECK_WARN,
			"closed connections are not announced: %s", strerror(errno));
		dn_check_lost(check, "bytes of connections that close between two samples "
				     "(network.* are lower_bound)");
		return;
	}
	dn_doctor_add(doctor, "sock_diag", DN_CHECK_OK,
		"TCP connections and their last words can be read");
}

static void check_ebpf(struct dn_doctor *doctor)
{
	if (doctor->machine.btf)
		dn_doctor_add(doctor, "btf", DN_CHECK_OK,
			"the kernel describes its types (for the eBPF tier)");
	else
		dn_doctor_add(doctor, "btf", DN_CHECK_INFO,
			"/sys/kernel/btf/vmlinux is not readable (for the eBPF tier)");
	for (unsigned i = 0; i < dn_n_backends; i++) {
		if (strcmp(dn_backends[i]->tier, "ebpf") == 0) {
			dn_doctor_add(doctor, "ebpf", DN_CHECK_OK, "this build has the eBPF tier");
			return;
		}
	}
	dn_doctor_add(doctor, "ebpf", DN_CHECK_INFO, "not in this build");
}

void dn_doctor_check_system(struct dn_doctor *doctor)
{
	bool usable = check_proc(doctor);

	if (usable && doctor->live)
		check_file(doctor, "proc_children", "thread-self/children",
			"children are listed by their parent",
			"speed: the tree is found by reading all of /proc", NULL);
	if (doctor->live)
		check_subreaper(doctor);
	if (usable) {
		check_file(doctor, "io_accounting", "self/io", "I/O is accounted", "io.*", NULL);
		check_file(doctor, "psi", "pressure/cpu", "pressure stall information is kept",
			"pressure.* of the host",
			"where the kernel has it built in, only its command line turns it on: "
			"psi=1");
		check_cgroup(doctor);
	}
	if (doctor->live)
		check_sock_diag(doctor);
	check_ebpf(doctor);
}

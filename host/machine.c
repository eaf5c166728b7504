/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Facts of the machine and of our privileges, from few and small reads: this runs while the
 * measured command runs. Of a recorded machine only files are read; syscalls would answer for this
 * one.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#ifdef __x86_64__
#include <cpuid.h>
#endif

#include <denet/fs.h>

#include "host.h"

#define CPUINFO_HEAD 4096
#define POLICY_MAX 64
#define CPU_MAX 65536

void dn_read_word(int dir_fd, const char *path, char *out, size_t size)
{
	ssize_t len = dn_read_file_at(dir_fd, path, out, size);

	if (len < 0) {
		out[0] = '\0';
		return;
	}
	out[strcspn(out, "\n")] = '\0';
}

void dn_parse_bracketed(const char *text, char *out, size_t size)
{
	const char *open = strchr(text, '[');
	const char *end = open ? strchr(open, ']') : NULL;

	out[0] = '\0';
	if (end && (size_t)(end - open) <= size) {
		memcpy(out, open + 1, (size_t)(end - open - 1));
		out[end - open - 1] = '\0';
	}
}

/* -EINVAL for anything that is no list; an empty one has no CPUs. */
int dn_machine_parse_cpu_list(const char *text)
{
	uint64_t first, last, count = 0;

	while (*text && *text != '\n') {
		if (dn_parse_u64(&text, &first) < 0)
			return -EINVAL;
		last = first;
		if (*text == '-') {
			text++;
			if (dn_parse_u64(&text, &last) < 0)
				return -EINVAL;
		}
		if (last < first || last >= CPU_MAX)
			return -EINVAL;
		count += last - first + 1;
		if (*text == ',') {
			text++;
			if (*text < '0' || *text > '9')
				return -EINVAL;
		}
	}
	return count <= CPU_MAX ? (int)count : -EINVAL;
}

/* Value of the first line with this key, trimmed; false when there is none or it does not fit. */
static bool key_value(const char *text, const char *key, char *out, size_t size)
{
	size_t key_len = strlen(key);

	for (const char *line = text; *line;) {
		const char *end = strchrnul(line, '\n');
		const char *p = line + key_len;

		if (strncmp(line, key, key_len) == 0 && *end) {
			while (*p == ' ' || *p == '\t')
				p++;
			if (*p == ':') {
				p++;
				while (*p == ' ' || *p == '\t')
					p++;
				while (end > p && (end[-1] == ' ' || end[-1] == '\t'))
					end--;
				if (p >= end || (size_t)(end - p) >= size)
					return false;
				memcpy(out, p, (size_t)(end - p));
				out[end - p] = '\0';
				return true;
			}
		}
		end = strchrnul(line, '\n');
		line = *end ? end + 1 : end;
	}
	return false;
}

static const char *arm_part_name(const char *implementer, const char *part)
{
	static const struct {
		const char *implementer, *part, *name;
	} known[] = {
		{"0x41", "0xd03", "ARM Cortex-A53"},
		{"0x41", "0xd05", "ARM Cortex-A55"},
		{"0x41", "0xd07", "ARM Cortex-A57"},
		{"0x41", "0xd08", "ARM Cortex-A72"},
		{"0x41", "0xd0b", "ARM Cortex-A76"},
		{"0x41", "0xd0c", "ARM Neoverse-N1"},
		{"0x41", "0xd40", "ARM Neoverse-V1"},
		{"0x41", "0xd49", "ARM Neoverse-N2"},
		{"0x41", "0xd4f", "ARM Neoverse-V2"},
		{"0x43", "0x0af", "Cavium ThunderX2"},
		{"0x48", "0xd01", "HiSilicon TSV110"},
		{"0xc0", "0xac3", "Ampere-1"},
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		if (strcmp(known[i].implementer, implementer) == 0 &&
			strcmp(known[i].part, part) == 0)
			return known[i].name;
	}
	return NULL;
}

void dn_machine_parse_cpuinfo(const char *text, char *model, size_t size)
{
	static const char *const keys[] = {"model name", "Model Name", "cpu model", "cpu", "uarch"};
	char implementer[16], part[16];
	const char *name;

	if (size == 0)
		return;
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		if (key_value(text, keys[i], model, size))
			return;
	}
	model[0] = '\0';
	if (!key_value(text, "CPU implementer", implementer, sizeof(implementer)) ||
		!key_value(text, "CPU part", part, sizeof(part)))
		return;
	name = arm_part_name(implementer, part);
	if (name)
		snprintf(model, size, "%s", name);
	else
		snprintf(model, size, "implementer %s part %s", implementer, part);
}

#ifdef __x86_64__
/* The same text as "model name", without making the kernel print all CPUs. */
static bool cpu_brand(char *out, size_t size)
{
	unsigned a[12];
	char text[sizeof(a) + 1];
	const char *p = text;
	size_t len;

	if ((unsigned)__get_cpuid_max(0x80000000, NULL) < 0x80000004)
		return false;
	for (unsigned i = 0; i < 3; i++)
		__cpuid(0x80000002 + i, a[4 * i], a[4 * i + 1], a[4 * i + 2], a[4 * i + 3]);
	memcpy(text, a, sizeof(a));
	text[sizeof(a)] = '\0';
	while (*p == ' ')
		p++;
	len = strlen(p);
	while (len > 0 && p[len - 1] == ' ')
		len--;
	if (len == 0 || len >= size)
		return false;
	memcpy(out, p, len);
	out[len] = '\0';
	return true;
}
#else
static bool cpu_brand(char *out, size_t size)
{
	return false;
}
#endif

static void read_cpu_model(
	int proc_fd, int sys_fd, bool live, char *cpuinfo, struct dn_machine *ret)
{
	cpuinfo[0] = '\0';
	if (live && cpu_brand(ret->cpu_model, sizeof(ret->cpu_model)))
		return;
	if (dn_read_file_at(proc_fd, "cpuinfo", cpuinfo, CPUINFO_HEAD) >= 0 || cpuinfo[0])
		dn_machine_parse_cpuinfo(cpuinfo, ret->cpu_model, sizeof(ret->cpu_model));
	if (!ret->cpu_model[0] && sys_fd >= 0)
		dn_read_word(sys_fd, "firmware/devicetree/base/model", ret->cpu_model,
			sizeof(ret->cpu_model));
}

/* Writes "0-3,8"; nothing when it does not fit, for half a list would be another list. */
static void format_affinity(const cpu_set_t *set, size_t set_size, char *out, size_t size)
{
	size_t len = 0;
	unsigned max = (unsigned)(set_size * 8);

	for (unsigned cpu = 0; cpu < max; cpu++) {
		unsigned last = cpu;
		int n;

		if (!CPU_ISSET_S(cpu, set_size, set))
			continue;
		while (last + 1 < max && CPU_ISSET_S(last + 1, set_size, set))
			last++;
		n = last > cpu
			    ? snprintf(out + len, size - len, "%s%u-%u", len ? "," : "", cpu, last)
			    : snprintf(out + len, size - len, "%s%u", len ? "," : "", cpu);
		if (n < 0 || (size_t)n >= size - len) {
			out[0] = '\0';
			return;
		}
		len += (size_t)n;
		cpu = last;
	}
}

static void read_affinity(struct dn_machine *ret)
{
	cpu_set_t set[8]; /* 8192 CPUs, the most that the kernel can be built for */

	memset(set, 0, sizeof(set));
	if (sched_getaffinity(0, sizeof(set), set) == 0)
		format_affinity(set, sizeof(set), ret->affinity, sizeof(ret->affinity));
}

static void read_governor(int sys_fd, char *out, size_t size)
{
	dn_cleanup(dn_closep) int fd =
		dn_open_at(sys_fd, "devices/system/cpu/cpufreq", O_RDONLY | O_DIRECTORY);
	unsigned seen = 0;
	struct dirent *entry;
	char path[300], word[64];
	DIR *dir;

	if (fd < 0)
		return;
	dir = fdopendir(fd);
	if (!dir)
		return;
	dn_steal_fd(&fd);
	while (seen < POLICY_MAX && (entry = readdir(dir))) {
		if (strncmp(entry->d_name, "policy", 6) != 0)
			continue;
		snprintf(path, sizeof(path), "%s/scaling_governor", entry->d_name);
		dn_read_word(dirfd(dir), path, word, sizeof(word));
		seen++;
		if (!word[0] || strlen(word) >= size)
			continue;
		if (!out[0]) {
			strcpy(out, word);
		} else if (strcmp(out, word) != 0) {
			snprintf(out, size, "mixed");
			break;
		}
	}
	closedir(dir);
}

static void read_status(int proc_fd, bool live, struct dn_machine *ret)
{
	char text[8192], value[256];
	const char *p = value;
	uint64_t number;
	ssize_t len = dn_read_file_at(proc_fd, "self/status", text, sizeof(text));

	if (len < 0)
		return;
	if (key_value(text, "CapEff", value, sizeof(value))) {
		uint64_t caps = 0;

		for (p = value; *p; p++) {
			const char *digits = "0123456789abcdef", *d = strchr(digits, *p);

			if (!d || caps >> 60)
				break;
			caps = caps << 4 | (uint64_t)(d - digits);
		}
		if (!*p)
			ret->capabilities = caps;
	}
	if (key_value(text, "NoNewPrivs", value, sizeof(value)))
		ret->no_new_privs = value[0] == '1';
	if (key_value(text, "Seccomp", value, sizeof(value)) && value[0] >= '0' && value[0] <= '2')
		ret->seccomp = value[0] - '0';
	if (live)
		return;
	if (key_value(text, "Cpus_allowed_list", value, sizeof(value)) &&
		dn_machine_parse_cpu_list(value) > 0)
		snprintf(ret->affinity, sizeof(ret->affinity), "%s", value);
	if (key_value(text, "Uid", value, sizeof(value))) {
		p = value;
		if (dn_parse_u64(&p, &number) == 0) {
			p += strspn(p, " \t");
			if (dn_parse_u64(&p, &number) == 0 && number <= UINT32_MAX)
				ret->euid = (uid_t)number;
		}
	}
}

static void read_number(int dir_fd, const char *path, int *ret)
{
	char text[32];
	const char *p = text;
	int64_t value;

	if (dn_read_file_at(dir_fd, path, text, sizeof(text)) > 0 &&
		dn_parse_i64(&p, &value) == 0 && (*p == '\n' || *p == '\0') && value > INT_MIN &&
		value <= INT_MAX)
		*ret = (int)value;
}

static void read_names(int proc_fd, bool live, struct dn_machine *ret)
{
	struct utsname name;

	if (live && uname(&name) == 0) {
		snprintf(ret->hostname, sizeof(ret->hostname), "%s", name.nodename);
		snprintf(ret->kernel, sizeof(ret->kernel), "%s", name.release);
		snprintf(ret->arch, sizeof(ret->arch), "%.63s", name.machine);
		return;
	}
	dn_read_word(proc_fd, "sys/kernel/hostname", ret->hostname, sizeof(ret->hostname));
	dn_read_word(proc_fd, "sys/kernel/osrelease", ret->kernel, sizeof(ret->kernel));
	dn_read_word(proc_fd, "sys/kernel/arch", ret->arch, sizeof(ret->arch));
}

static void read_memory(int proc_fd, struct dn_machine *ret)
{
	char text[1024], value[64];
	const char *p = value;
	uint64_t kib;
	ssize_t len = dn_read_file_at(proc_fd, "meminfo", text, sizeof(text));

	if (len < 0 && len != -ENOBUFS)
		return;
	if (key_value(text, "MemTotal", value, sizeof(value)) && dn_parse_u64(&p, &kib) == 0 &&
		strcmp(p, " kB") == 0 &&
		__builtin_mul_overflow(kib, UINT64_C(1024), &ret->memory_bytes))
		ret->memory_bytes = 0;
}

static void read_sys(int sys_fd, struct dn_machine *ret)
{
	char text[4096];
	dn_cleanup(dn_closep) int fd = -1;
	struct stat st;
	int n;

	dn_read_word(sys_fd, "devices/system/cpu/online", text, sizeof(text));
	n = dn_machine_parse_cpu_list(text);
	if (n > 0)
		ret->cpus_online = n;
	dn_read_word(sys_fd, "devices/system/node/online", text, sizeof(text));
	n = dn_machine_parse_cpu_list(text);
	if (n > 0)
		ret->numa_nodes = n;
	read_number(sys_fd, "devices/system/cpu/smt/active", &ret->smt);
	if (ret->smt != 0 && ret->smt != 1)
		ret->smt = -1;
	read_governor(sys_fd, ret->governor, sizeof(ret->governor));
	dn_read_word(sys_fd, "kernel/mm/transparent_hugepage/enabled", text, sizeof(text));
	dn_parse_bracketed(text, ret->thp, sizeof(ret->thp));
	dn_read_word(sys_fd, "kernel/security/lockdown", text, sizeof(text));
	dn_parse_bracketed(text, ret->lockdown, sizeof(ret->lockdown));
	fd = dn_open_at(sys_fd, "kernel/btf/vmlinux", O_RDONLY | O_NONBLOCK);
	ret->btf = fd >= 0 && fstat(fd, &st) == 0 && st.st_size > 0;
}

void dn_machine_read(int proc_fd, int sys_fd, struct dn_machine *ret)
{
	bool live = dn_host_is_live(proc_fd);
	char cpuinfo[CPUINFO_HEAD];

	*ret = (struct dn_machine){
		.numa_nodes = -1,
		.smt = -1,
		.euid = geteuid(),
		.perf_event_paranoid = INT_MIN,
		.unprivileged_bpf_disabled = -1,
		.seccomp = -1,
		.yama_ptrace_scope = -1,
	};
	read_names(proc_fd, live, ret);
	read_cpu_model(proc_fd, sys_fd, live, cpuinfo, ret);
	if (live)
		read_affinity(ret);
	read_memory(proc_fd, ret);
	if (sys_fd >= 0)
		read_sys(sys_fd, ret);
	dn_cgroup_read(proc_fd, &ret->cgroup);
	dn_environment_read(proc_fd, sys_fd, cpuinfo, ret);
	read_status(proc_fd, live, ret);
	read_number(proc_fd, "sys/kernel/perf_event_paranoid", &ret->perf_event_paranoid);
	read_number(
		proc_fd, "sys/kernel/unprivileged_bpf_disabled", &ret->unprivileged_bpf_disabled);
	read_number(proc_fd, "sys/kernel/yama/ptrace_scope", &ret->yama_ptrace_scope);
}

/* Not ru_maxrss: that survives exec, and would be the memory of whoever started us. */
uint64_t dn_machine_own_peak(int proc_fd)
{
	char text[4096];
	const char *p;
	uint64_t kib;

	if (dn_read_file_at(proc_fd, "self/status", text, sizeof(text)) <= 0)
		return 0;
	p = strstr(text, "\nVmHWM:");
	if (!p)
		return 0;
	for (p += 7; *p == ' ' || *p == '\t';)
		p++;
	return dn_parse_u64(&p, &kib) < 0 ? 0 : kib * 1024;
}

/* The eighth number of the first line, in ticks; the rest of the file is long and not wanted. */
uint64_t dn_machine_stolen_ns(int proc_fd)
{
	char text[512];
	const char *p = text;
	uint64_t ticks = 0;

	if (dn_read_file_at(proc_fd, "stat", text, sizeof(text)) == 0 ||
		strncmp(text, "cpu ", 4) != 0)
		return 0;
	for (p += 4; *p == ' ';)
		p++;
	for (unsigned i = 0; i < 8; i++) {
		if (dn_parse_u64(&p, &ticks) < 0)
			return 0;
		if (*p == ' ')
			p++;
	}
	return ticks * (UINT64_C(1000000000) / (uint64_t)sysconf(_SC_CLK_TCK));
}

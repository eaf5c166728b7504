/* SPDX-License-Identifier: Apache-2.0 */
/* Facts of the machine: parsers on hostile text, and whole machines recorded as folders. */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include <denet/fs.h>
#include <denet/machine.h>

#include "host.h"

/* A machine in a folder: proc and sys side by side, as the code expects of a recorded one. */
struct fixture {
	char root[64];
	int proc_fd, sys_fd;
};

static void make_parents(char *path)
{
	for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		assert_true(mkdir(path, 0700) == 0 || errno == EEXIST);
		*slash = '/';
	}
}

static void put(struct fixture *fixture, const char *name, const char *text)
{
	char path[512];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", fixture->root, name);
	make_parents(path);
	file = fopen(path, "we");
	assert_non_null(file);
	assert_int_equal(fwrite(text, 1, strlen(text), file), strlen(text));
	assert_int_equal(fclose(file), 0);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

static int setup(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));
	char path[128];

	assert_non_null(fixture);
	strcpy(fixture->root, "/tmp/denet-host-XXXXXX");
	assert_non_null(mkdtemp(fixture->root));
	snprintf(path, sizeof(path), "%s/proc", fixture->root);
	assert_int_equal(mkdir(path, 0700), 0);
	fixture->proc_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	snprintf(path, sizeof(path), "%s/sys", fixture->root);
	assert_int_equal(mkdir(path, 0700), 0);
	fixture->sys_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(fixture->proc_fd >= 0 && fixture->sys_fd >= 0);
	*state = fixture;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *fixture = *state;

	close(fixture->proc_fd);
	close(fixture->sys_fd);
	assert_int_equal(nftw(fixture->root, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
	free(fixture);
	return 0;
}

static void cpu_lists_are_counted(void **state)
{
	assert_int_equal(dn_machine_parse_cpu_list("0\n"), 1);
	assert_int_equal(dn_machine_parse_cpu_list("0-3,8"), 5);
	assert_int_equal(dn_machine_parse_cpu_list("0-12,17,19-22\n"), 18);
	assert_int_equal(dn_machine_parse_cpu_list(""), 0);
	assert_int_equal(dn_machine_parse_cpu_list("\n"), 0);
	assert_int_equal(dn_machine_parse_cpu_list("3-1"), -EINVAL);
	assert_int_equal(dn_machine_parse_cpu_list("1,"), -EINVAL);
	assert_int_equal(dn_machine_parse_cpu_list(",1"), -EINVAL);
	assert_int_equal(dn_machine_parse_cpu_list("1 2"), -EINVAL);
	assert_int_equal(dn_machine_parse_cpu_list("-1"), -EINVAL);
	assert_int_equal(dn_machine_parse_cpu_list("0-18446744073709551615"), -EINVAL);
	assert_int_equal(dn_machine_parse_cpu_list("0-99999999999999999999999"), -EINVAL);
	assert_int_equal(dn_machine_parse_cpu_list("0-65535,0-65535"), -EINVAL);
}

static void cpu_models_of_many_architectures(void **state)
{
	char model[64];

	dn_machine_parse_cpuinfo("processor\t: 0\nmodel name\t: AMD EPYC 7B13  \nflags\t: fpu\n",
		model, sizeof(model));
	assert_string_equal(model, "AMD EPYC 7B13");
	dn_machine_parse_cpuinfo(
		"processor\t: 0\nCPU implementer\t: 0x41\nCPU architecture: 8\nCPU part\t: 0xd0c\n",
		model, sizeof(model));
	assert_string_equal(model, "ARM Neoverse-N1");
	dn_machine_parse_cpuinfo(
		"CPU implementer\t: 0x7f\nCPU part\t: 0xfff\n", model, sizeof(model));
	assert_string_equal(model, "implementer 0x7f part 0xfff");
	dn_machine_parse_cpuinfo(
		"processor\t: 0\ncpu\t\t: POWER9, altivec supported\n", model, sizeof(model));
	assert_string_equal(model, "POWER9, altivec supported");
	/* Nothing is said of what is empty, cut or too long. */
	dn_machine_parse_cpuinfo("model name\t: \n", model, sizeof(model));
	assert_string_equal(model, "");
	dn_machine_parse_cpuinfo("model name\t: Half a na", model, sizeof(model));
	assert_string_equal(model, "");
	dn_machine_parse_cpuinfo("model name\t: 12345678\n", model, 8);
	assert_string_equal(model, "");
	dn_machine_parse_cpuinfo("model name\t: 1234567\n", model, 8);
	assert_string_equal(model, "1234567");
}

static void cgroup_text_of_both_versions(void **state)
{
	static const char hybrid[] = "9:name=systemd:/s\n5:cpu,cpuacct:/c:with:colons\n4:memory:/"
				     "m\n1:name=other:/x\n0::/u\n";
	static const char pure[] = "0::/user.slice/a b\n";
	static const char some[] = "3:pids:/p\n1:name=systemd:/s\n0::/u\n";
	char path[64];
	int version = 0;

	assert_int_equal(dn_cgroup_parse(hybrid, NULL, &version, path, sizeof(path)), 0);
	assert_int_equal(version, 1);
	assert_string_equal(path, "/m");
	assert_int_equal(dn_cgroup_parse(hybrid, "cpuacct", &version, path, sizeof(path)), 0);
	assert_string_equal(path, "/c:with:colons");
	assert_int_equal(dn_cgroup_parse(hybrid, "name=systemd", &version, path, sizeof(path)), 0);
	assert_string_equal(path, "/s");
	assert_int_equal(dn_cgroup_parse(hybrid, "cpuac", &version, path, sizeof(path)), -ENOENT);
	assert_int_equal(dn_cgroup_parse(hybrid, "*", &version, path, sizeof(path)), -ENOENT);
	assert_int_equal(dn_cgroup_parse(pure, NULL, &version, path, sizeof(path)), 0);
	assert_int_equal(version, 2);
	assert_string_equal(path, "/user.slice/a b");
	/* memory and cpu are not in v1: the unified hierarchy holds them. */
	assert_int_equal(dn_cgroup_parse(some, NULL, &version, path, sizeof(path)), 0);
	assert_int_equal(version, 2);
	assert_string_equal(path, "/u");
	assert_int_equal(dn_cgroup_parse("", NULL, &version, path, sizeof(path)), -ENOENT);
	assert_int_equal(
		dn_cgroup_parse("0:\n:::\n0::relative\n", NULL, &version, path, sizeof(path)),
		-ENOENT);
	assert_int_equal(dn_cgroup_parse("0::/1234567", NULL, &version, path, 8), -ENAMETOOLONG);
	assert_int_equal(dn_cgroup_parse("0::/123456", NULL, &version, path, 8), 0);
}

static void cpu_max_is_a_number_of_cpus(void **state)
{
	double ratio = 7;

	assert_int_equal(dn_cgroup_parse_cpu_max("150000 100000\n", &ratio), 0);
	assert_true(ratio == 1.5);
	assert_int_equal(dn_cgroup_parse_cpu_max("max 100000\n", &ratio), 0);
	assert_true(ratio < 0);
	ratio = 7;
	assert_int_equal(dn_cgroup_parse_cpu_max("1 0", &ratio), -EINVAL);
	assert_int_equal(dn_cgroup_parse_cpu_max("max", &ratio), -EINVAL);
	assert_int_equal(dn_cgroup_parse_cpu_max("1000", &ratio), -EINVAL);
	assert_int_equal(dn_cgroup_parse_cpu_max("1 2 3", &ratio), -EINVAL);
	assert_int_equal(dn_cgroup_parse_cpu_max("", &ratio), -EINVAL);
	assert_true(ratio == 7);
}

static void a_cgroup_outside_of_the_mount_is_not_found_in_it(void **state)
{
	const char *below;

	assert_int_equal(dn_cgroup_below("/", "/a/b", &below), 0);
	assert_string_equal(below, "a/b");
	assert_int_equal(dn_cgroup_below("/a", "/a/b", &below), 0);
	assert_string_equal(below, "b");
	assert_int_equal(dn_cgroup_below("/a", "/a", &below), 0);
	assert_string_equal(below, "");
	assert_int_equal(dn_cgroup_below("/", "/", &below), 0);
	assert_string_equal(below, "");
	assert_int_equal(dn_cgroup_below("/a", "/ab", &below), -EXDEV);
	assert_int_equal(dn_cgroup_below("/", "/../etc", &below), -EXDEV);
	assert_int_equal(dn_cgroup_below("/", "/a/..", &below), -EXDEV);
	assert_int_equal(dn_cgroup_below("/", "/..a/b..", &below), 0);
}

static void mount_lines(void **state)
{
	struct dn_mount mount;
	char good[] = "31 23 0:28 /a\\040b /sys/fs/c\\012\\134g rw,relatime shared:7 master:1 - "
		      "cgroup cg\\040roup rw,cpu,cpuacct";
	char no_optional[] = "31 23 0:28 / /m rw - cgroup2  rw";
	char odd[] = "1 2 3 /\\999\\000\\04 /m rw - tmpfs none rw";
	char torn[] = "31 23 0:28 / /m rw,relatime shared:7";
	char empty[] = "";
	char huge[8192];

	assert_int_equal(dn_mount_parse(good, &mount), 0);
	assert_string_equal(mount.root, "/a b");
	assert_string_equal(mount.point, "/sys/fs/c\n\\g");
	assert_string_equal(mount.type, "cgroup");
	assert_string_equal(mount.super_options, "rw,cpu,cpuacct");
	assert_int_equal(dn_mount_parse(no_optional, &mount), 0);
	assert_string_equal(mount.type, "cgroup2");
	assert_int_equal(dn_mount_parse(odd, &mount), 0);
	assert_string_equal(mount.root, "/\\999\\000\\04");
	assert_int_equal(dn_mount_parse(torn, &mount), -EINVAL);
	assert_int_equal(dn_mount_parse(empty, &mount), -EINVAL);
	memset(huge, 'x', sizeof(huge));
	memcpy(huge, "1 2 3 /", 7);
	strcpy(huge + 5000, " /m rw - tmpfs none rw");
	assert_int_equal(dn_mount_parse(huge, &mount), -ENAMETOOLONG);
}

static void brackets_choose_a_word(void **state)
{
	char word[8];

	dn_parse_bracketed("always [madvise] never\n", word, sizeof(word));
	assert_string_equal(word, "madvise");
	dn_parse_bracketed("[integrity] none", word, sizeof(word));
	assert_string_equal(word, ""); /* does not fit */
	dn_parse_bracketed("a ]b[ c", word, sizeof(word));
	assert_string_equal(word, "");
	dn_parse_bracketed("", word, sizeof(word));
	assert_string_equal(word, "");
}

static void capability_names(void **state)
{
	assert_string_equal(dn_capability_name(0), "cap_chown");
	assert_string_equal(dn_capability_name(19), "cap_sys_ptrace");
	assert_string_equal(dn_capability_name(21), "cap_sys_admin");
	assert_string_equal(dn_capability_name(34), "cap_syslog");
	assert_string_equal(dn_capability_name(38), "cap_perfmon");
	assert_string_equal(dn_capability_name(39), "cap_bpf");
	assert_string_equal(dn_capability_name(40), "cap_checkpoint_restore");
	assert_null(dn_capability_name(41));
	assert_null(dn_capability_name(UINT_MAX));
}

static void an_empty_machine_is_unknown_not_zero(void **state)
{
	struct fixture *fixture = *state;
	struct dn_machine machine;
	static const char *const controllers[] = {NULL, "memory"};
	int fds[2];

	dn_machine_read(fixture->proc_fd, -1, &machine);
	assert_string_equal(machine.hostname, "");
	assert_string_equal(machine.cpu_model, "");
	assert_string_equal(machine.affinity, "");
	assert_string_equal(machine.virtualization, "");
	assert_string_equal(machine.container, "");
	assert_int_equal(machine.memory_bytes, 0);
	assert_int_equal(machine.numa_nodes, -1);
	assert_int_equal(machine.smt, -1);
	assert_int_equal(machine.cgroup.version, 0);
	assert_false(machine.cgroup.has_memory_max || machine.cgroup.has_cpu_quota ||
		     machine.cgroup.has_pids_max);
	assert_int_equal(machine.perf_event_paranoid, INT_MIN);
	assert_int_equal(machine.unprivileged_bpf_disabled, -1);
	assert_int_equal(machine.seccomp, -1);
	assert_int_equal(machine.yama_ptrace_scope, -1);
	assert_false(machine.btf);
	dn_cgroup_open(fixture->proc_fd, 0, controllers, 2, fds);
	assert_true(fds[0] < 0);
	assert_true(fds[1] < 0);
}

static void stolen_time(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(dn_machine_stolen_ns(fixture->proc_fd), 0);
	put(fixture, "proc/stat", "cpu  1 2 3 4 5 6 7 1009 10 11\ncpu0 1 2 3 4 5 6 7 1 0 0\n");
	assert_int_equal(
		dn_machine_stolen_ns(fixture->proc_fd), 1009 * (1000000000 / sysconf(_SC_CLK_TCK)));
	put(fixture, "proc/stat", "cpu  1 2 3 4\n");
	assert_int_equal(dn_machine_stolen_ns(fixture->proc_fd), 0);
	put(fixture, "proc/stat", "intr 1 2 3 4 5 6 7 8 9\n");
	assert_int_equal(dn_machine_stolen_ns(fixture->proc_fd), 0);
}

static void put_common(struct fixture *fixture)
{
	put(fixture, "proc/sys/kernel/hostname", "box\n");
	put(fixture, "proc/sys/kernel/osrelease", "6.1.0-13-amd64\n");
	put(fixture, "proc/sys/kernel/arch", "x86_64\n");
	put(fixture, "proc/sys/kernel/perf_event_paranoid", "-1\n");
	put(fixture, "proc/sys/kernel/unprivileged_bpf_disabled", "2\n");
	put(fixture, "proc/sys/kernel/yama/ptrace_scope", "1\n");
	put(fixture, "proc/meminfo", "MemTotal:       16330001 kB\nMemFree: 1 kB\n");
	put(fixture, "proc/cpuinfo",
		"processor\t: 0\nmodel name\t: Test CPU 13\nflags\t\t: fpu hypervisor sse\nbugs\t: "
		"x\n\nprocessor\t: 1\n");
	put(fixture, "proc/self/status",
		"Name:\tdenet\nUid:\t1009\t1013\t1009\t1009\nNoNewPrivs:\t1\nSeccomp:\t2\nCapEff:"
		"\t000000c000080000\n"
		"Cpus_allowed_list:\t0-2,7\n");
	put(fixture, "sys/devices/system/cpu/online", "0-6\n");
	put(fixture, "sys/devices/system/node/online", "0-2\n");
	put(fixture, "sys/devices/system/cpu/smt/active", "1\n");
	put(fixture, "sys/devices/system/cpu/cpufreq/policy0/scaling_governor", "performance\n");
	put(fixture, "sys/devices/system/cpu/cpufreq/policy5/scaling_governor", "performance\n");
	put(fixture, "sys/kernel/mm/transparent_hugepage/enabled", "[always] madvise never\n");
	put(fixture, "sys/kernel/security/lockdown", "none [integrity] confidentiality\n");
	put(fixture, "sys/kernel/btf/vmlinux", "x");
}

static void a_recorded_v2_machine(void **state)
{
	struct fixture *fixture = *state;
	struct dn_machine machine;
	static const char *const controllers[] = {NULL, "memory"};
	int fds[2];
	char text[16];

	put_common(fixture);
	put(fixture, "proc/self/cgroup", "0::/work.slice/job 7\n");
	put(fixture, "proc/self/mountinfo",
		"20 1 0:5 / /proc rw - proc proc rw\n30 1 0:7 / /sys/fs/cg\\040roup rw shared:3 - "
		"cgroup2 cgroup2 rw\n");
	put(fixture, "sys/fs/cg roup/cgroup.controllers", "cpu memory\n");
	put(fixture, "sys/fs/cg roup/work.slice/memory.max", "104857601\n");
	put(fixture, "sys/fs/cg roup/work.slice/job 7/memory.max", "max\n");
	put(fixture, "sys/fs/cg roup/work.slice/cpu.max", "300000 100000\n");
	put(fixture, "sys/fs/cg roup/work.slice/job 7/cpu.max", "50000 100000\n");
	dn_machine_read(fixture->proc_fd, fixture->sys_fd, &machine);
	assert_string_equal(machine.hostname, "box");
	assert_string_equal(machine.kernel, "6.1.0-13-amd64");
	assert_string_equal(machine.arch, "x86_64");
	assert_string_equal(machine.cpu_model, "Test CPU 13");
	assert_int_equal(machine.cpus_online, 7);
	assert_string_equal(machine.affinity, "0-2,7");
	assert_int_equal(machine.memory_bytes, UINT64_C(16330001) * 1024);
	assert_int_equal(machine.numa_nodes, 3);
	assert_int_equal(machine.smt, 1);
	assert_string_equal(machine.governor, "performance");
	assert_string_equal(machine.thp, "always");
	assert_string_equal(machine.lockdown, "integrity");
	assert_string_equal(machine.virtualization, "other");
	assert_string_equal(machine.container, "");
	assert_true(machine.btf);
	assert_int_equal(machine.euid, 1013);
	assert_int_equal(machine.capabilities, UINT64_C(3) << 38 | 1 << 19);
	assert_true(machine.no_new_privs);
	assert_int_equal(machine.seccomp, 2);
	assert_int_equal(machine.perf_event_paranoid, -1);
	assert_int_equal(machine.unprivileged_bpf_disabled, 2);
	assert_int_equal(machine.yama_ptrace_scope, 1);
	assert_int_equal(machine.cgroup.version, 2);
	assert_string_equal(machine.cgroup.path, "/work.slice/job 7");
	assert_true(machine.cgroup.has_memory_max);
	assert_int_equal(machine.cgroup.memory_max_bytes, 104857601);
	assert_true(machine.cgroup.has_cpu_quota);
	assert_true(machine.cgroup.cpu_quota_ratio == 0.5);
	/* The controller is not there: that is not "no limit". */
	assert_false(machine.cgroup.has_pids_max);

	dn_cgroup_open(fixture->proc_fd, 0, controllers, 2, fds);
	assert_true(fds[0] >= 0);
	assert_true(dn_read_file_at(fds[0], "cpu.max", text, sizeof(text)) > 0);
	assert_string_equal(text, "50000 100000\n");
	close(fds[0]);
	assert_int_equal(fds[1], -ENOENT);
}

static void a_recorded_v1_container(void **state)
{
	struct fixture *fixture = *state;
	struct dn_machine machine;

	put_common(fixture);
	put(fixture, "sys/devices/system/cpu/cpufreq/policy5/scaling_governor", "powersave\n");
	put(fixture, "sys/class/dmi/id/sys_vendor", "QEMU\n");
	put(fixture, "sys/class/dmi/id/product_name", "Standard PC\n");
	put(fixture, "proc/self/cgroup",
		"6:pids:/docker/c0ffee\n5:cpu,cpuacct:/docker/c0ffee\n4:memory:/docker/c0ffee/"
		"sub\n");
	put(fixture, "proc/self/mountinfo",
		"30 1 0:7 /docker/c0ffee /cg/memory ro - cgroup cgroup rw,memory\n"
		"31 1 0:8 /docker/other /cg/wrong ro - cgroup cgroup rw,cpu,cpuacct\n"
		"32 1 0:8 /docker/c0ffee /cg/cpu ro - cgroup cgroup rw,cpu,cpuacct\n"
		"33 1 0:9 /docker/c0ffee /cg/pids ro - cgroup cgroup rw,pids\n");
	put(fixture, "cg/wrong/cpu.cfs_quota_us", "1\n");
	put(fixture, "cg/memory/memory.limit_in_bytes", "33554467\n");
	put(fixture, "cg/memory/sub/memory.limit_in_bytes", "9223372036854771712\n");
	put(fixture, "cg/memory/memory.use_hierarchy", "1\n");
	put(fixture, "cg/cpu/cpu.cfs_quota_us", "-1\n");
	put(fixture, "cg/cpu/cpu.cfs_period_us", "100000\n");
	put(fixture, "cg/pids/pids.max", "97\n");
	dn_machine_read(fixture->proc_fd, fixture->sys_fd, &machine);
	assert_string_equal(machine.container, "docker");
	assert_string_equal(machine.virtualization, "qemu");
	assert_string_equal(machine.governor, "mixed");
	assert_int_equal(machine.cgroup.version, 1);
	assert_string_equal(machine.cgroup.path, "/docker/c0ffee/sub");
	assert_true(machine.cgroup.has_memory_max);
	assert_int_equal(machine.cgroup.memory_max_bytes, 33554467);
	assert_true(machine.cgroup.has_cpu_quota);
	assert_true(machine.cgroup.cpu_quota_ratio < 0);
	assert_true(machine.cgroup.has_pids_max);
	assert_int_equal(machine.cgroup.pids_max, 97);

	/* A parent that does not account for its children does not limit them. */
	put(fixture, "cg/memory/memory.use_hierarchy", "0\n");
	dn_machine_read(fixture->proc_fd, fixture->sys_fd, &machine);
	assert_true(machine.cgroup.has_memory_max);
	assert_int_equal(machine.cgroup.memory_max_bytes, UINT64_MAX);

	/* A limit that can't be understood is unknown, whatever the others say. */
	put(fixture, "cg/memory/memory.limit_in_bytes", "many\n");
	dn_machine_read(fixture->proc_fd, fixture->sys_fd, &machine);
	assert_false(machine.cgroup.has_memory_max);
}

static void containers_are_known_by_what_engines_mount(void **state)
{
	struct fixture *fixture = *state;
	struct dn_machine machine;

	put_common(fixture);
	put(fixture, "proc/self/cgroup", "0::/\n");
	put(fixture, "proc/self/mountinfo",
		"40 1 8:1 /var/lib/docker/containers/1/hostname /elsewhere rw - ext4 /dev/sda rw\n"
		"41 1 8:1 /var/lib/kubelet/pods/7/etc-hosts /etc/hosts rw - ext4 /dev/sda rw\n");
	dn_machine_read(fixture->proc_fd, fixture->sys_fd, &machine);
	assert_string_equal(machine.container, "kubernetes");
	put(fixture, "proc/self/mountinfo",
		"40 1 8:1 /var/lib/docker/containers/1/hostname /elsewhere rw - ext4 /dev/sda "
		"rw\n");
	dn_machine_read(fixture->proc_fd, fixture->sys_fd, &machine);
	assert_string_equal(machine.container, "");
	put(fixture, "proc/self/cgroup", "0::/docker/buildkit/7\n");
	put(fixture, "proc/1/cgroup", "0::/init.scope\n");
	dn_machine_read(fixture->proc_fd, fixture->sys_fd, &machine);
	assert_string_equal(machine.container, "");
}

static void this_machine_agrees_with_the_system_calls(void **state)
{
	int proc_fd = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int sys_fd = open("/sys", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct dn_machine machine;
	struct utsname name;
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);

	if (proc_fd < 0 || sys_fd < 0 || !dn_host_is_live(proc_fd))
		skip();
	assert_int_equal(uname(&name), 0);
	dn_machine_read(proc_fd, sys_fd, &machine);
	assert_string_equal(machine.kernel, name.release);
	assert_string_equal(machine.arch, name.machine);
	assert_int_equal(machine.euid, geteuid());
	assert_true(machine.memory_bytes > 0);
	assert_true(machine.affinity[0] != '\0');
	assert_true(machine.cpus_online == 0 || machine.cpus_online == cpus);
	close(proc_fd);
	close(sys_fd);
}

/* In a child, since what is given up can't be had back: its exit status is the line that failed. */
#define CHILD_ASSERT(condition)                                                                    \
	do {                                                                                       \
		if (!(condition))                                                                  \
			_exit(__LINE__ % 251 + 1);                                                 \
	} while (0)

static void own_capabilities(uint64_t *permitted, uint64_t *effective)
{
	FILE *file = fopen("/proc/self/status", "re");
	char line[256];

	*permitted = *effective = UINT64_MAX;
	while (file && fgets(line, sizeof(line), file)) {
		(void)sscanf(line, "CapPrm: %" SCNx64, permitted);
		(void)sscanf(line, "CapEff: %" SCNx64, effective);
	}
	if (file)
		fclose(file);
}

static void check_capabilities(void)
{
	const uint64_t kept = 1 << 1 | 1 << 2 | 1 << 5 | 1 << 19; /* DAC, DAC read, KILL, PTRACE */
	uint64_t permitted, effective, now, low;
	struct dn_capabilities before;

	own_capabilities(&permitted, &effective);
	if (!(permitted & ~kept)) {
		CHILD_ASSERT(dn_capabilities_lower(&before) == -EALREADY);
		_exit(0);
	}
	CHILD_ASSERT(dn_capabilities_lower(&before) == 0);
	own_capabilities(&now, &low);
	CHILD_ASSERT(now == permitted && low == (effective & kept));
	CHILD_ASSERT(before.permitted == permitted && before.effective == effective);
	CHILD_ASSERT(dn_capabilities_raise(&before) == 0);
	own_capabilities(&now, &low);
	CHILD_ASSERT(now == permitted && low == effective);
	CHILD_ASSERT(dn_capabilities_lower(&before) == 0 && dn_capabilities_give_up() == 0);
	own_capabilities(&now, &low);
	CHILD_ASSERT(now == (permitted & kept) && low == (effective & kept));
	/* For good: neither back, nor once more. */
	CHILD_ASSERT(dn_capabilities_raise(&before) == -EPERM);
	CHILD_ASSERT(dn_capabilities_lower(&before) == -EALREADY);
	_exit(0);
}

static void test_capabilities_that_are_given_up(void **state)
{
	pid_t pid = fork();
	int status = -1;

	if (pid == 0)
		check_capabilities();
	assert_true(pid > 0 && waitpid(pid, &status, 0) == pid);
	assert_int_equal(status, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_capabilities_that_are_given_up),
		cmocka_unit_test(cpu_lists_are_counted),
		cmocka_unit_test(cpu_models_of_many_architectures),
		cmocka_unit_test(cgroup_text_of_both_versions),
		cmocka_unit_test(cpu_max_is_a_number_of_cpus),
		cmocka_unit_test(a_cgroup_outside_of_the_mount_is_not_found_in_it),
		cmocka_unit_test(mount_lines),
		cmocka_unit_test(brackets_choose_a_word),
		cmocka_unit_test(capability_names),
		cmocka_unit_test_setup_teardown(
			an_empty_machine_is_unknown_not_zero, setup, teardown),
		cmocka_unit_test_setup_teardown(stolen_time, setup, teardown),
		cmocka_unit_test_setup_teardown(a_recorded_v2_machine, setup, teardown),
		cmocka_unit_test_setup_teardown(a_recorded_v1_container, setup, teardown),
		cmocka_unit_test_setup_teardown(
			containers_are_known_by_what_engines_mount, setup, teardown),
		cmocka_unit_test(this_machine_agrees_with_the_system_calls),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What perf_event_open gives here. Found by trying: the sysctl says something else on every
 * distribution. And by value: what opens but does not count is not there.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/perf_event.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <denet/fs.h>

#include "doctor.h"

#ifndef CAP_PERFMON
#define CAP_PERFMON 38
#endif

struct reading {
	uint64_t value, enabled, running;
};

static int perf_open(struct perf_event_attr *attr, int cpu)
{
	int fd;

	attr->size = sizeof(*attr);
	fd = (int)syscall(SYS_perf_event_open, attr, 0, cpu, -1, PERF_FLAG_FD_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* Some work in the kernel and out of it; volatile keeps the compiler from leaving it out. */
static void work(void)
{
	volatile unsigned sum = 0;

	for (unsigned i = 0; i < 200000; i++)
		sum += i;
	(void)sum;
	for (unsigned i = 0; i < 50; i++)
		sched_yield();
}

/* Opens, works, reads. 0 or the negative errno of the refusal. */
static int try_counter(uint32_t type, uint64_t config, bool user_only, struct reading *ret)
{
	struct perf_event_attr attr = {
		.type = type,
		.config = config,
		.exclude_kernel = user_only,
		.exclude_hv = user_only,
		.read_format = PERF_FORMAT_TOTAL_TIME_ENABLED | PERF_FORMAT_TOTAL_TIME_RUNNING,
	};
	dn_cleanup(dn_closep) int fd = perf_open(&attr, -1);

	if (fd < 0)
		return fd;
	work();
	if (read(fd, ret, sizeof(*ret)) != sizeof(*ret))
		return -EIO;
	return 0;
}

/* Why every form of the call is refused, and what would help. */
static void explain(struct dn_doctor *doctor, struct dn_check *check, int r)
{
	if (r == -ENOSYS) {
		if (doctor->machine.seccomp == 2)
			dn_check_remedy(check, "allow the one call perf_event_open in the seccomp "
					       "profile that hides it "
					       "(docker: --security-opt seccomp=PROFILE.json)");
	} else if (r == -EPERM && doctor->machine.seccomp == 2 && !doctor->machine.container[0]) {
		dn_check_remedy(check, "allow the one call perf_event_open in the seccomp profile "
				       "that denet runs under");
	} else if (r == -EMFILE || r == -ENFILE) {
		dn_check_remedy(check, "raise the limit of open files (ulimit -n)");
	} else if (r == -EPERM || r == -EACCES) {
		dn_check_remedy_capability(check, doctor, CAP_PERFMON, "perfmon");
	}
}

static int check_software(struct dn_doctor *doctor)
{
	struct reading reading = {0};
	int r = try_counter(PERF_TYPE_SOFTWARE, PERF_COUNT_SW_TASK_CLOCK, true, &reading);
	struct dn_check *check;

	if (r == 0 && reading.value > 0) {
		dn_doctor_add(doctor, "perf_software", DN_CHECK_OK,
			"software counters of own processes open and count");
		return 0;
	}
	if (r == 0)
		check = dn_doctor_add(doctor, "perf_software", DN_CHECK_WARN,
			"the task clock opens but does not count");
	else
		check = dn_doctor_add(doctor, "perf_software", DN_CHECK_WARN, "perf_event_open: %s",
			strerror(-r));
	dn_check_lost(check, "the perf tier: exact CPU time across processes that nobody waits "
			     "for, the lossless "
			     "process table, hardware counters");
	explain(doctor, check, r);
	return r < 0 ? r : -EIO;
}

static void check_kernel(struct dn_doctor *doctor)
{
	struct reading reading = {0};
	int r = try_counter(PERF_TYPE_SOFTWARE, PERF_COUNT_SW_CPU_MIGRATIONS, false, &reading);
	struct dn_check *check;

	if (r == 0) {
		dn_doctor_add(doctor, "perf_kernel", DN_CHECK_OK,
			"what happens in the kernel is counted too");
		return;
	}
	check = dn_doctor_add(doctor, "perf_kernel", DN_CHECK_WARN,
		"only user mode is counted (perf_event_open: %s)", strerror(-r));
	dn_check_lost(check, "cpu.migrations, and the kernel's share of hw.* where there is a PMU");
	explain(doctor, check, r);
}

static void check_hardware(struct dn_doctor *doctor)
{
	struct reading reading = {0};
	bool guest = doctor->machine.virtualization[0] &&
		     strcmp(doctor->machine.virtualization, "none") != 0;
	int r = try_counter(PERF_TYPE_HARDWARE, PERF_COUNT_HW_CPU_CYCLES, true, &reading);
	struct dn_check *check;

	if (r == 0 && reading.running > 0 && reading.value > 0) {
		dn_doctor_add(
			doctor, "perf_hardware", DN_CHECK_OK, "hardware counters open and count");
		return;
	}
	if (r == 0)
		check = dn_doctor_add(doctor, "perf_hardware", DN_CHECK_WARN,
			"the cycle counter opens but does not count: %s",
			reading.running ? "it reads 0 after work" : "it never got onto the PMU");
	else if (r == -ENOENT || r == -ENODEV || r == -EOPNOTSUPP)
		check = dn_doctor_add(doctor, "perf_hardware", DN_CHECK_INFO,
			"no hardware PMU in this machine (%s)", strerror(-r));
	else
		check = dn_doctor_add(doctor, "perf_hardware", DN_CHECK_WARN, "perf_event_open: %s",
			strerror(-r));
	dn_check_lost(check, "hw.*: cycles, instructions, cache, branches");
	if (r == 0 || r == -ENOENT || r == -ENODEV || r == -EOPNOTSUPP)
		dn_check_remedy(check, "%s",
			guest ? "have the hypervisor pass the PMU through, or use bare metal"
			      : "use a machine that has one");
	else
		explain(doctor, check, r);
}

/* One event that counts nothing and tells of every fork, exec, exit and switch of its tree on one
 * CPU. */
static void check_sideband(struct dn_doctor *doctor)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_SOFTWARE,
		.config = PERF_COUNT_SW_DUMMY,
		.exclude_kernel = 1,
		.exclude_hv = 1,
		.inherit = 1,
		.task = 1,
		.comm = 1,
		.comm_exec = 1,
		.context_switch = 1,
		.sample_id_all = 1,
		.sample_type = PERF_SAMPLE_TID | PERF_SAMPLE_TIME | PERF_SAMPLE_CPU,
		.watermark = 1,
		.wakeup_watermark = 4096,
	};
	int cpu = sched_getcpu();
	dn_cleanup(dn_closep) int fd = perf_open(&attr, cpu < 0 ? 0 : cpu);
	size_t size = 9 * (size_t)sysconf(_SC_PAGESIZE);
	struct dn_check *check;
	int r = fd < 0 ? fd : 0;
	void *map;

	if (r == 0) {
		map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		if (map != MAP_FAILED) {
			munmap(map, size);
			dn_doctor_add(doctor, "perf_sideband", DN_CHECK_OK,
				"births, deaths and switches of own processes come without a loss");
			return;
		}
		r = -errno;
		check = dn_doctor_add(doctor, "perf_sideband", DN_CHECK_WARN,
			"the ring can't be mapped: %s", strerror(-r));
		if (r == -EPERM)
			dn_check_remedy(check,
				"raise the budget of locked memory for denet's user (ulimit -l)");
	} else {
		check = dn_doctor_add(doctor, "perf_sideband", DN_CHECK_WARN, "perf_event_open: %s",
			strerror(-r));
		explain(doctor, check, r);
	}
	dn_check_lost(check, "the lossless process table: processes between two samples are missed "
			     "(lower_bound), and cpu.blocked_ns");
}

static void check_budget(struct dn_doctor *doctor)
{
	struct rlimit limit = {.rlim_cur = 0};
	char text[32], locked[32];
	uint64_t kib;

	if (dn_read_file_at(
		    doctor->env.proc_fd, "sys/kernel/perf_event_mlock_kb", text, sizeof(text)) <= 0)
		return;
	text[strcspn(text, "\n")] = '\0';
	if (dn_parse_u64_whole(text, &kib) < 0 || getrlimit(RLIMIT_MEMLOCK, &limit) < 0)
		return;
	if (limit.rlim_cur == RLIM_INFINITY)
		snprintf(locked, sizeof(locked), "unlimited");
	else
		snprintf(locked, sizeof(locked), "%llu KiB",
			(unsigned long long)limit.rlim_cur / 1024);
	dn_doctor_add(doctor, "mlock_budget", DN_CHECK_INFO,
		"perf rings: %llu KiB per CPU and user, beyond that the limit of locked memory, %s",
		(unsigned long long)kib, locked);
}

void dn_doctor_check_perf(struct dn_doctor *doctor)
{
	static const char *const ids[] = {
		"perf_software", "perf_kernel", "perf_hardware", "perf_sideband"};

	if (!doctor->live) {
		for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++)
			dn_doctor_add(doctor, ids[i], DN_CHECK_INFO,
				"not tried: this is a recorded machine");
	} else if (check_software(doctor) < 0) {
		/* One answer for all of them: the reason is the same. */
		for (size_t i = 1; i < sizeof(ids) / sizeof(ids[0]); i++)
			dn_doctor_add(doctor, ids[i], DN_CHECK_INFO, "needs perf_software");
	} else {
		check_kernel(doctor);
		check_hardware(doctor);
		check_sideband(doctor);
	}
	check_budget(doctor);
}

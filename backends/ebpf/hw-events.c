/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening is not counting: each kind of event is tried by value on the CPU that we are on, before
 * it is opened on all of them. An event that counts a CPU needs CAP_PERFMON, which this tier has.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/perf_event.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include <denet/fs.h>

#include "hw.h"

/* On the PMU for this long and still 0: it does not count. */
#define PROOF_NS UINT64_C(1000000)
/* All kinds have had their turn by then, also where they take turns at each tick. */
#define TRY_NS UINT64_C(60000000)
#define WORK_BYTES (512 * 1024)
#define PMUS_MAX 8

static const uint64_t configs[DN_HW_N] = {
	[DN_HW_CYCLES] = PERF_COUNT_HW_CPU_CYCLES,
	[DN_HW_INSTRUCTIONS] = PERF_COUNT_HW_INSTRUCTIONS,
	[DN_HW_CACHE_REFERENCES] = PERF_COUNT_HW_CACHE_REFERENCES,
	[DN_HW_CACHE_MISSES] = PERF_COUNT_HW_CACHE_MISSES,
	[DN_HW_BRANCHES] = PERF_COUNT_HW_BRANCH_INSTRUCTIONS,
	[DN_HW_BRANCH_MISSES] = PERF_COUNT_HW_BRANCH_MISSES,
};

/* Misses may well be 0: then the event that they are a share of proves that the PMU counts. */
static const unsigned proofs[DN_HW_N] = {
	[DN_HW_CYCLES] = DN_HW_CYCLES,
	[DN_HW_INSTRUCTIONS] = DN_HW_INSTRUCTIONS,
	[DN_HW_CACHE_REFERENCES] = DN_HW_CACHE_REFERENCES,
	[DN_HW_CACHE_MISSES] = DN_HW_CACHE_REFERENCES,
	[DN_HW_BRANCHES] = DN_HW_BRANCHES,
	[DN_HW_BRANCH_MISSES] = DN_HW_BRANCHES,
};

uint64_t dn_hw_scale(uint64_t count, uint64_t enabled, uint64_t running)
{
	unsigned __int128 scaled;

	if (running == 0 || enabled <= running)
		return count;
	scaled = (unsigned __int128)count * enabled / running;
	return scaled > UINT64_MAX ? UINT64_MAX : (uint64_t)scaled;
}

static int open_as(
	const struct dn_hw_events *events, unsigned kind, uint32_t pmu, int cpu, int leader)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_HARDWARE,
		.size = sizeof(attr),
		.config = configs[kind] | (uint64_t)pmu << PERF_PMU_TYPE_SHIFT,
		.read_format = PERF_FORMAT_TOTAL_TIME_ENABLED | PERF_FORMAT_TOTAL_TIME_RUNNING,
		.exclude_guest = events->exclude_guest,
	};
	long fd = syscall(
		SYS_perf_event_open, &attr, -1, cpu, leader, (unsigned long)PERF_FLAG_FD_CLOEXEC);

	return fd < 0 ? -errno : (int)fd;
}

/* Beside its leader when they fit, else alone. */
static int open_event(struct dn_hw_events *events, unsigned kind, uint32_t pmu, int cpu, int leader)
{
	int fd = open_as(events, kind, pmu, cpu, leader);

	if (leader >= 0 && (fd == -EINVAL || fd == -ENOSPC || fd == -EAGAIN))
		fd = open_as(events, kind, pmu, cpu, -1);
	if ((fd == -EINVAL || fd == -EOPNOTSUPP) && !events->exclude_guest) {
		events->exclude_guest = true;
		fd = open_as(events, kind, pmu, cpu, -1);
		events->exclude_guest = fd >= 0;
	}
	return fd;
}

/* PMUs that say which CPUs they are of: cores of different kinds have one each. */
static unsigned list_pmus(int sys_fd, uint32_t *types)
{
	int folder = sys_fd < 0 ? -1
				: openat(sys_fd, "bus/event_source/devices",
					  O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = folder < 0 ? NULL : fdopendir(folder);
	struct dirent *entry;
	unsigned n = 0;

	if (!dir) {
		if (folder >= 0)
			close(folder);
		return 0;
	}
	while (n < PMUS_MAX && (entry = readdir(dir))) {
		char path[300], text[32];
		const char *p = text;
		uint64_t type;

		(void)snprintf(path, sizeof(path), "%s/cpus", entry->d_name);
		if (entry->d_name[0] == '.' || faccessat(folder, path, R_OK, 0) < 0)
			continue;
		(void)snprintf(path, sizeof(path), "%s/type", entry->d_name);
		if (dn_read_file_at(folder, path, text, sizeof(text)) > 0 &&
			dn_parse_u64(&p, &type) == 0 && type <= UINT32_MAX)
			types[n++] = (uint32_t)type;
	}
	closedir(dir);
	return n;
}

/* The PMU of this CPU: 0 where the kernel finds it by itself. */
static int find_pmu(struct dn_hw_events *events, unsigned kind, int cpu, const uint32_t *types,
	unsigned n_types, uint32_t *ret)
{
	int fd = open_event(events, kind, 0, cpu, -1);

	*ret = 0;
	for (unsigned i = 0; i < n_types && fd == -ENOENT; i++) {
		*ret = types[i];
		fd = open_event(events, kind, types[i], cpu, -1);
		/* A PMU that knows nothing of others' kinds. */
		if (fd == -EINVAL)
			fd = -ENOENT;
	}
	return fd;
}

struct trial {
	int fd[DN_HW_N];
	uint64_t count[DN_HW_N], running[DN_HW_N];
};

static void read_trial(struct trial *trial)
{
	for (unsigned kind = 0; kind < DN_HW_N; kind++) {
		uint64_t words[3]; /* value, enabled, running */

		if (trial->fd[kind] < 0 ||
			read(trial->fd[kind], words, sizeof(words)) != sizeof(words))
			continue;
		trial->count[kind] = words[0];
		trial->running[kind] = words[2];
	}
}

static bool is_decided(const struct trial *trial)
{
	for (unsigned kind = 0; kind < DN_HW_N; kind++) {
		if (trial->fd[kind] >= 0 &&
			(!trial->running[kind] ||
				(!trial->count[proofs[kind]] && trial->running[kind] < PROOF_NS)))
			return false;
	}
	return true;
}

/* Something to count: branches, and more memory than the inner caches hold. */
static void work(volatile char *memory)
{
	for (size_t i = 0; i < WORK_BYTES; i += 64)
		memory[i]++;
}

static void judge(struct dn_hw_events *events, const struct trial *trial)
{
	for (unsigned kind = 0; kind < DN_HW_N; kind++) {
		if (trial->fd[kind] < 0) {
			events->state[kind] = DN_HW_REFUSED;
			events->error[kind] = trial->fd[kind];
		} else if (!trial->running[kind]) {
			events->state[kind] = DN_HW_HELD;
		} else if (!trial->count[kind] &&
			   (trial->fd[proofs[kind]] < 0 || !trial->count[proofs[kind]])) {
			events->state[kind] = DN_HW_SILENT;
		} else {
			events->kinds |= 1u << kind;
		}
	}
}

static void open_trial(struct dn_hw_events *events, int sys_fd, struct trial *trial, int cpu)
{
	uint32_t types[PMUS_MAX], pmu;
	unsigned n_types = list_pmus(sys_fd, types);

	for (unsigned kind = 0; kind < DN_HW_N; kind++)
		trial->fd[kind] = -ENOENT;
	for (unsigned kind = 0; kind < DN_HW_N; kind++) {
		int leader = kind % 2 ? trial->fd[kind - 1] : -1;

		trial->fd[kind] =
			kind == 0 ? find_pmu(events, kind, cpu, types, n_types, &pmu)
				  : open_event(events, kind, pmu, cpu, leader < 0 ? -1 : leader);
		/* No driver lacks both: the rest need not be asked for. */
		if (kind == DN_HW_INSTRUCTIONS && trial->fd[0] < 0 && trial->fd[1] < 0) {
			for (unsigned rest = kind + 1; rest < DN_HW_N; rest++)
				trial->fd[rest] = trial->fd[0];
			return;
		}
	}
}

void dn_hw_events_try(struct dn_hw_events *events, int sys_fd)
{
	uint64_t until_ns = dn_now_ns() + TRY_NS;
	char *memory = malloc(WORK_BYTES);
	struct trial trial = {0};
	cpu_set_t before, here;
	int cpu = sched_getcpu();
	bool moved;

	memset(events, 0, sizeof(*events));
	/* Our own affinity, for a moment: the command has its own. */
	CPU_ZERO(&here);
	if (cpu >= 0 && cpu < CPU_SETSIZE)
		CPU_SET(cpu, &here);
	moved = sched_getaffinity(0, sizeof(before), &before) == 0 &&
		sched_setaffinity(0, sizeof(here), &here) == 0;
	open_trial(events, sys_fd, &trial, cpu);
	if (memory && (trial.fd[0] >= 0 || trial.fd[1] >= 0)) {
		memset(memory, 0, WORK_BYTES);
		do {
			work(memory);
			read_trial(&trial);
		} while (!is_decided(&trial) && dn_now_ns() < until_ns);
	}
	judge(events, &trial);
	for (unsigned kind = DN_HW_N; kind > 0; kind--) {
		if (trial.fd[kind - 1] >= 0)
			close(trial.fd[kind - 1]);
	}
	if (moved)
		(void)sched_setaffinity(0, sizeof(before), &before);
	free(memory);
}

static int fill_cpu(struct dn_hw_events *events, int map, unsigned n_cpus, unsigned cpu,
	const uint32_t *types, unsigned n_types)
{
	int fd[DN_HW_N], r = 0;
	uint32_t pmu = 0;
	bool first = true;

	for (unsigned kind = 0; kind < DN_HW_N; kind++) {
		int leader = kind % 2 && events->kinds >> (kind - 1) & 1 ? fd[kind - 1] : -1;
		uint32_t key = kind * n_cpus + cpu;

		fd[kind] = -ENOENT;
		if (!(events->kinds >> kind & 1))
			continue;
		fd[kind] =
			first ? find_pmu(events, kind, (int)cpu, types, n_types, &pmu)
			      : open_event(events, kind, pmu, (int)cpu, leader < 0 ? -1 : leader);
		if (fd[kind] == -ENODEV)
			break; /* it is offline */
		first = false;
		if (fd[kind] < 0 && fd[kind] != -ENOENT && fd[kind] != -EOPNOTSUPP)
			r = fd[kind]; /* not all kinds of CPU have all kinds of event */
		else if (fd[kind] >= 0 && bpf_map_update_elem(map, &key, &fd[kind], BPF_ANY) < 0)
			r = -errno;
	}
	for (unsigned kind = DN_HW_N; kind > 0; kind--) {
		if (fd[kind - 1] >= 0)
			close(fd[kind - 1]); /* the map has them */
	}
	return r;
}

int dn_hw_events_fill(struct dn_hw_events *events, int sys_fd, int map, unsigned n_cpus)
{
	uint32_t types[PMUS_MAX];
	unsigned n_types = list_pmus(sys_fd, types);
	int r = 0;

	for (unsigned cpu = 0; cpu < n_cpus && r == 0; cpu++)
		r = fill_cpu(events, map, n_cpus, cpu, types, n_types);
	return r;
}

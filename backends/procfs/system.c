/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is measured of the machine or of the command's cgroup: PSI, CPU, memory and tasks of the
 * cgroup. Each file is opened once and read once a sample. The root cgroup is the whole machine:
 * its numbers would say nothing of the command.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <denet/fs.h>
#include <denet/machine.h>

#include "procfs.h"

#define FILES_MAX 24 /* a row may try two places */

enum place {
	PLACE_HOST_PSI, /* /proc/pressure */
	PLACE_V2,
	PLACE_V1_CPUACCT,
	PLACE_V1_CPU,
	PLACE_V1_MEMORY,
	PLACE_V1_PIDS,
	PLACE_N,
};

static const char *const controllers[PLACE_N] = {NULL, NULL, "cpuacct", "cpu", "memory", "pids"};
/* Files that only the root of a hierarchy has, or has not. */
static const char *const root_marks[PLACE_N] = {
	NULL, "!cgroup.events", "release_agent", "release_agent", "release_agent", "release_agent"};

/* Where a metric may be found, best first. */
struct place_of {
	enum place place;
	const char *file, *source;
	const char *key; /* in a file of several lines; "some" and "full" in PSI */
	uint64_t scale;
};

struct row {
	unsigned metric;
	bool counter; /* since measuring began: what was there before is taken off */
	enum dn_quality quality;
	const char *reason;
	struct place_of from[2];
};

#define PSI_REASON "the kernel brings its pressure accounts up to date every 2 seconds"
#define PSI(name, file, line)                                                                      \
	{                                                                                          \
		DN_M_pressure_##name##_ns, true, DN_QUALITY_SAMPLED, PSI_REASON,                   \
		{                                                                                  \
			{PLACE_V2, file ".pressure", "cgroup PSI", line, 1},                       \
				{PLACE_HOST_PSI, "pressure/" file, "host PSI", line, 1},           \
		}                                                                                  \
	}

static const struct row rows[] = {
	PSI(cpu_some, "cpu", "some"),
	PSI(cpu_full, "cpu", "full"),
	PSI(memory_some, "memory", "some"),
	PSI(memory_full, "memory", "full"),
	PSI(io_some, "io", "some"),
	PSI(io_full, "io", "full"),
	{DN_M_cgroup_cpu_usage_ns, true, DN_QUALITY_EXACT, NULL,
		{{PLACE_V2, "cpu.stat", "cgroup v2 cpu.stat", "usage_usec", 1000},
			{PLACE_V1_CPUACCT, "cpuacct.usage", "cgroup v1 cpuacct.usage", NULL, 1}}},
	{DN_M_cgroup_cpu_throttled_ns, true, DN_QUALITY_EXACT, NULL,
		{{PLACE_V2, "cpu.stat", "cgroup v2 cpu.stat", "throttled_usec", 1000},
			{PLACE_V1_CPU, "cpu.stat", "cgroup v1 cpu.stat", "throttled_time", 1}}},
	{DN_M_cgroup_cpu_throttled_periods, true, DN_QUALITY_EXACT, NULL,
		{{PLACE_V2, "cpu.stat", "cgroup v2 cpu.stat", "nr_throttled", 1},
			{PLACE_V1_CPU, "cpu.stat", "cgroup v1 cpu.stat", "nr_throttled", 1}}},
	{DN_M_cgroup_memory_current_bytes, false, DN_QUALITY_SAMPLED,
		"a gauge, seen at each sample",
		{{PLACE_V2, "memory.current", "cgroup v2 memory.current", NULL, 1},
			{PLACE_V1_MEMORY, "memory.usage_in_bytes",
				"cgroup v1 memory.usage_in_bytes", NULL, 1}}},
	{DN_M_cgroup_memory_peak_bytes, false, DN_QUALITY_EXACT, NULL,
		{{PLACE_V2, "memory.peak", "cgroup v2 memory.peak", NULL, 1},
			{PLACE_V1_MEMORY, "memory.max_usage_in_bytes",
				"cgroup v1 memory.max_usage_in_bytes", NULL, 1}}},
	{DN_M_cgroup_memory_failures, true, DN_QUALITY_EXACT, NULL,
		{{PLACE_V2, "memory.events", "cgroup v2 memory.events", "max", 1},
			{PLACE_V1_MEMORY, "memory.failcnt", "cgroup v1 memory.failcnt", NULL, 1}}},
	{DN_M_cgroup_pids_current, false, DN_QUALITY_SAMPLED, "a gauge, seen at each sample",
		{{PLACE_V2, "pids.current", "cgroup v2 pids.current", NULL, 1},
			{PLACE_V1_PIDS, "pids.current", "cgroup v1 pids.current", NULL, 1}}},
};
#define N_ROWS (sizeof(rows) / sizeof(rows[0]))

struct file {
	enum place place;
	const char *name;
	int fd;
};

struct value {
	int file; /* -1: not supplied */
	const struct place_of *from;
	uint64_t base;
};

struct dn_procfs_system {
	int dir[PLACE_N]; /* during the probe; negative errno when there is none */
	bool looked;
	bool is_root[PLACE_N];
	struct file files[FILES_MAX];
	unsigned n_files;
	struct value values[N_ROWS];
};

/* All cgroup folders in one look at the mounts. */
static void open_places(struct dn_procfs *p, struct dn_procfs_system *s)
{
	pid_t pid = p->env->attach && p->env->n_targets > 0 ? p->env->targets[0] : 0;

	s->looked = true;
	dn_cgroup_open(p->env->proc_fd, pid, controllers + PLACE_V2, PLACE_N - PLACE_V2,
		s->dir + PLACE_V2);
	for (int place = PLACE_V2; place < PLACE_N; place++) {
		const char *mark = root_marks[place];
		bool there;

		if (s->dir[place] < 0)
			continue;
		there = faccessat(s->dir[place], mark + (*mark == '!'), F_OK, 0) == 0;
		s->is_root[place] = there != (*mark == '!');
	}
}

static int parse_row(
	const struct place_of *from, bool psi, const char *text, size_t len, uint64_t *ret)
{
	uint64_t value;
	int r;

	if (psi) {
		struct dn_procfs_psi pressure;
		bool full = strcmp(from->key, "full") == 0;

		r = dn_procfs_parse_psi(text, len, &pressure);
		if (r < 0)
			return r;
		if (!(full ? pressure.has_full : pressure.has_some))
			return -ENOENT;
		*ret = full ? pressure.full_ns : pressure.some_ns;
		return 0;
	}
	r = dn_procfs_parse_keyed(text, len, from->key, &value);
	if (r < 0)
		return from->key ? -ENOENT : r;
	*ret = dn_procfs_mul_sat(value, from->scale);
	return 0;
}

static bool is_psi(const struct row *row)
{
	return row->metric >= DN_M_pressure_cpu_some_ns && row->metric <= DN_M_pressure_io_full_ns;
}

/* Index of the opened file, or negative errno. */
static int open_file(struct dn_procfs *p, struct dn_procfs_system *s, const struct place_of *from)
{
	int dir = p->env->proc_fd, fd;

	for (unsigned i = 0; i < s->n_files; i++) {
		if (s->files[i].place == from->place && strcmp(s->files[i].name, from->file) == 0)
			return s->files[i].fd >= 0 ? (int)i : s->files[i].fd;
	}
	if (from->place != PLACE_HOST_PSI) {
		if (!s->looked)
			open_places(p, s);
		dir = s->dir[from->place];
		if (dir < 0)
			return dir;
		if (s->is_root[from->place])
			return -EDOM;
	}
	fd = dn_open_at(dir, from->file, O_RDONLY | O_NONBLOCK);
	if (s->n_files == FILES_MAX) {
		if (fd >= 0)
			close(fd);
		return -ENOSPC;
	}
	s->files[s->n_files] = (struct file){.place = from->place, .name = from->file, .fd = fd};
	s->n_files++;
	return fd < 0 ? fd : (int)s->n_files - 1;
}

static int try_place(struct dn_procfs *p, struct dn_procfs_system *s, const struct row *row,
	struct value *value, const struct place_of *from)
{
	int file = open_file(p, s, from);
	ssize_t n;
	int r;

	if (file < 0)
		return file;
	n = dn_pread_file(s->files[file].fd, p->scratch->buffer, sizeof(p->scratch->buffer));
	if (n < 0)
		return (int)n;
	r = parse_row(from, is_psi(row), p->scratch->buffer, (size_t)n, &value->base);
	if (r < 0)
		return r;
	value->file = file;
	value->from = from;
	return 0;
}

/* What trying a row came to. */
struct answer {
	enum dn_fact fact;
	const char *reason, *hint;
	char text[160];
};

static void explain(const struct row *row, int r, struct answer *ret)
{
	*ret = (struct answer){.fact = r == -EDOM ? DN_FACT_UNSUPPORTED : dn_fact_from_errno(r)};
	if (r == 0) {
		ret->reason = row->reason;
	} else if (row->metric == DN_M_pressure_cpu_full_ns) {
		ret->fact = DN_FACT_UNSUPPORTED;
		ret->reason =
			"of the whole machine it is 0 by definition, and the command has no cgroup "
			"of its own";
	} else if (r == -EDOM) {
		ret->reason = "the command is in the root cgroup, which is the whole machine";
		ret->hint = "run it in a cgroup of its own: systemd-run --user --scope";
	} else if (is_psi(row) && (r == -EOPNOTSUPP || r == -ENOENT)) {
		ret->reason = "this kernel keeps no pressure accounts (/proc/pressure)";
		ret->hint = r == -EOPNOTSUPP ? "boot with psi=1" : NULL;
	} else {
		snprintf(ret->text, sizeof(ret->text), "%s: %s", row->from[0].file, strerror(-r));
		ret->reason = ret->text;
	}
}

static void close_places(struct dn_procfs_system *s)
{
	for (int i = 0; i < PLACE_N; i++) {
		if (s->dir[i] >= 0)
			close(s->dir[i]);
		s->dir[i] = -ENOENT;
	}
}

static int try_row(struct dn_procfs *p, struct dn_procfs_system *s, size_t i)
{
	const struct row *row = &rows[i];
	struct value *value = &s->values[i];
	int r, first = try_place(p, s, row, value, &row->from[0]);

	/* Of the host there is no full pressure of the CPU. */
	if (first == 0 || row->metric == DN_M_pressure_cpu_full_ns)
		return first;
	r = try_place(p, s, row, value, &row->from[1]);
	return r < 0 && (first == -EDOM || r == -ENOENT) ? first : r;
}

static struct dn_procfs_system *new_system(void)
{
	struct dn_procfs_system *s = calloc(1, sizeof(*s));

	for (int i = 0; s && i < PLACE_N; i++)
		s->dir[i] = -ENOENT;
	for (size_t i = 0; s && i < N_ROWS; i++)
		s->values[i].file = -1;
	return s;
}

/*
 * Finding the cgroup costs as much as all the rest of a probe, and none of it has to be there
 * before the command's first instruction: with a target the rows are offered unseen and settled
 * beside its exec.
 */
void dn_procfs_system_probe(struct dn_procfs *p, struct dn_probe *probe)
{
	struct dn_procfs_system *s = new_system();

	p->system = s;
	p->system_unseen = p->env->n_targets > 0 && !p->env->fixture;
	for (size_t i = 0; s && i < N_ROWS; i++) {
		const struct row *row = &rows[i];
		struct answer answer;

		if (!dn_metric_set_has(&p->env->wanted, row->metric))
			continue;
		if (p->system_unseen) {
			dn_probe_offer(
				probe, row->metric, row->quality, row->from[0].source, row->reason);
			continue;
		}
		explain(row, try_row(p, s, i), &answer);
		if (answer.fact == DN_FACT_OK)
			dn_probe_offer(probe, row->metric, row->quality, s->values[i].from->source,
				answer.reason);
		else
			dn_probe_refuse(probe, row->metric, answer.fact,
				answer.text[0] ? dn_probe_printf(probe, "%s", answer.text)
					       : answer.reason,
				answer.hint);
	}
	if (s)
		close_places(s);
}

void dn_procfs_system_started(struct dn_procfs *p)
{
	struct dn_procfs_system *s = p->system;

	if (!s || !p->system_unseen)
		return;
	p->system_unseen = false;
	for (size_t i = 0; i < N_ROWS; i++) {
		const struct row *row = &rows[i];
		struct answer answer;

		if (!dn_metric_set_has(&p->assigned, row->metric))
			continue;
		explain(row, try_row(p, s, i), &answer);
		p->core->settle(p->core, row->metric,
			answer.fact == DN_FACT_OK ? row->quality : DN_QUALITY_MISSING,
			answer.fact == DN_FACT_OK ? s->values[i].from->source : NULL, answer.reason,
			answer.hint);
	}
	close_places(s);
}

void dn_procfs_system_open(struct dn_procfs *p)
{
	struct dn_procfs_system *s = p->system;

	if (!s || p->system_unseen)
		return;
	for (size_t i = 0; i < N_ROWS; i++) {
		if (!dn_metric_set_has(&p->assigned, rows[i].metric))
			s->values[i].file = -1;
	}
	for (unsigned f = 0; f < s->n_files; f++) {
		ssize_t n = -1;
		bool used = false;

		for (size_t i = 0; i < N_ROWS; i++)
			used = used || s->values[i].file == (int)f;
		if (used)
			n = dn_pread_file(
				s->files[f].fd, p->scratch->buffer, sizeof(p->scratch->buffer));
		for (size_t i = 0; i < N_ROWS && n >= 0; i++) {
			struct value *value = &s->values[i];

			if (value->file == (int)f)
				(void)parse_row(value->from, is_psi(&rows[i]), p->scratch->buffer,
					(size_t)n, &value->base);
		}
		if (!used) {
			dn_closep(&s->files[f].fd);
			s->files[f].fd = -1;
		}
	}
}

static void put_row(struct dn_procfs *p, struct dn_frame *frame, size_t i, ssize_t n)
{
	const struct row *row = &rows[i];
	struct value *value = &p->system->values[i];
	uint64_t now;

	if (n == -ENODEV) {
		dn_procfs_degrade(p, row->metric, DN_QUALITY_LOWER_BOUND, "the cgroup was removed");
		value->file = -1;
		return;
	}
	if (n < 0 || parse_row(value->from, is_psi(row), p->scratch->buffer, (size_t)n, &now) < 0)
		return;
	dn_frame_u64(frame, row->metric,
		row->counter && !p->env->still ? dn_sub_sat(now, value->base) : now);
}

void dn_procfs_system_sample(struct dn_procfs *p, struct dn_frame *frame)
{
	struct dn_procfs_system *s = p->system;

	for (unsigned f = 0; s && f < s->n_files; f++) {
		ssize_t n;

		if (s->files[f].fd < 0)
			continue;
		n = dn_pread_file(s->files[f].fd, p->scratch->buffer, sizeof(p->scratch->buffer));
		for (size_t i = 0; i < N_ROWS; i++) {
			if (s->values[i].file == (int)f)
				put_row(p, frame, i, n);
		}
	}
}

void dn_procfs_system_free(struct dn_procfs_system *system)
{
	if (!system)
		return;
	close_places(system);
	for (unsigned f = 0; f < system->n_files; f++)
		dn_closep(&system->files[f].fd);
	free(system);
}

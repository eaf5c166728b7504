/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The group hw: hardware counters of each process, read at context switches (bpf/hw.bpf.c), and the
 * totals of the tree from the same counters, so that they do not take turns with a second set.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <denet/fs.h>

#include "hw.h"

#define SWITCHES "dn_fork dn_exec dn_exit dn_hw_switch dn_hw_exec"
#define SOURCE "perf event array at sched_switch"
#define ROWS_MAX 128
/* The dead that are remembered: twice as many before the least busy half is let go. */
#define DEAD_KEPT 512
/* Threads of one process may have their last switch after the one that is told as the last. */
#define STRAGGLERS_NS UINT64_C(20000000)

#define ALIKE(m)                                                                                   \
	{                                                                                          \
		m, DN_QUALITY_EXACT, SOURCE, SWITCHES, NULL                                        \
	}

static const struct dn_ebpf_metric metrics[] = {
	ALIKE(DN_M_hw_cycles),
	ALIKE(DN_M_hw_instructions),
	ALIKE(DN_M_hw_cache_references),
	ALIKE(DN_M_hw_cache_misses),
	ALIKE(DN_M_hw_branches),
	ALIKE(DN_M_hw_branch_misses),
	ALIKE(DN_M_hw_running_ratio),
	ALIKE(DN_M_hw_by_process),
};

static const unsigned metric_of[DN_HW_N] = {
	[DN_HW_CYCLES] = DN_M_hw_cycles,
	[DN_HW_INSTRUCTIONS] = DN_M_hw_instructions,
	[DN_HW_CACHE_REFERENCES] = DN_M_hw_cache_references,
	[DN_HW_CACHE_MISSES] = DN_M_hw_cache_misses,
	[DN_HW_BRANCHES] = DN_M_hw_branches,
	[DN_HW_BRANCH_MISSES] = DN_M_hw_branch_misses,
};

struct entry {
	struct dn_wire_hw_key key;
	struct dn_wire_hw_process value;
};

struct list {
	struct entry *at;
	size_t n, room;
};

struct hw {
	struct dn_hw_events events;
	bool tried;
	bool filled;
	int fill_error; /* of handing the events to the map */
	struct dn_wire_hw_totals all; /* at this sample */
	struct list now; /* what the map holds at this sample */
	struct list dead; /* what was taken out of it */
	uint64_t no_room_told;
	struct dn_ebpf_table table;
};

static struct hw *data_of(const struct dn_ebpf *ebpf)
{
	return ebpf->group_data[DN_PROBES_HW];
}

/* Before measuring */

static void prepare(struct dn_ebpf *ebpf, const char *name, struct bpf_object *object)
{
	struct hw *self = data_of(ebpf);
	int cpus = libbpf_num_possible_cpus();
	uint32_t n_cpus = cpus > 0 ? (uint32_t)cpus : 1;

	if (strcmp(name, "hw") != 0)
		return;
	if (!self)
		self = ebpf->group_data[DN_PROBES_HW] = calloc(1, sizeof(*self));
	if (self && !self->tried) {
		self->tried = true;
		dn_hw_events_try(&self->events, ebpf->env->sys_fd);
	}
	if (!self || !self->events.kinds) {
		dn_ebpf_leave_out(object, "dn_hw_switch");
		dn_ebpf_leave_out(object, "dn_hw_exec");
		dn_ebpf_leave_out(object, "dn_hw_look");
		return;
	}
	(void)dn_ebpf_set(object, "dn_hw_kinds", &self->events.kinds, sizeof(uint32_t));
	(void)dn_ebpf_set(object, "dn_hw_cpus", &n_cpus, sizeof(n_cpus));
	dn_ebpf_resize(object, "dn_hw_events", DN_HW_N * n_cpus);
}

static void refuse_error(struct dn_probe *probe, unsigned metric, int error)
{
	const char *name = strerrorname_np(-error) ?: "?", *hint = NULL, *format;

	if (error == -ENOENT || error == -EOPNOTSUPP || error == -ENODEV || error == -ENXIO) {
		format = "perf_event_open: %s, no hardware PMU in this machine";
		hint = "run on bare metal or in a VM with a virtual PMU";
	} else if (error == -EPERM || error == -EACCES || error == -ENOSYS) {
		/* Whoever may load BPF programs may count CPUs. */
		format =
			"perf_event_open: %s although BPF is allowed, a seccomp filter or security "
			"module forbids it";
		hint = "allow perf_event_open in the container's seccomp profile";
	} else if (error == -EMFILE) {
		format = "perf_event_open: %s";
		hint = "raise the limit of open files: ulimit -n";
	} else {
		format = "perf_event_open: %s";
	}
	dn_probe_refuse(probe, metric, dn_fact_from_errno(error),
		dn_probe_printf(probe, format, name), hint);
}

/* Why a kind can't be had; false when it can. */
static bool refuse_kind(
	const struct hw *self, struct dn_probe *probe, unsigned metric, unsigned kind)
{
	switch (self->events.state[kind]) {
	case DN_HW_REFUSED:
		if (self->events.kinds && self->events.error[kind] == -ENOENT)
			dn_probe_refuse(probe, metric, DN_FACT_UNSUPPORTED,
				"this machine's PMU does not have the event", NULL);
		else
			refuse_error(probe, metric, self->events.error[kind]);
		return true;
	case DN_HW_SILENT:
		dn_probe_refuse(probe, metric, DN_FACT_UNSUPPORTED,
			"the event opens, but it does not count on this machine", NULL);
		return true;
	case DN_HW_HELD:
		dn_probe_refuse(probe, metric, DN_FACT_UNSUPPORTED,
			"the event never got onto the PMU: other users hold its counters", NULL);
		return true;
	default:
		return false;
	}
}

static bool refuse(struct dn_ebpf *ebpf, struct dn_probe *probe, unsigned metric)
{
	struct hw *self = data_of(ebpf);
	int map = dn_ebpf_map(&ebpf->objects, "hw", "dn_hw_events");

	if (!self || !dn_ebpf_object(&ebpf->objects, "hw"))
		return false;
	if (self->events.kinds && !self->filled) {
		self->filled = true;
		self->fill_error =
			dn_hw_events_fill(&self->events, ebpf->env->sys_fd, map, ebpf->n_cpus);
	}
	if (self->fill_error < 0) {
		refuse_error(probe, metric, self->fill_error);
		return true;
	}
	for (unsigned kind = 0; kind < DN_HW_N; kind++) {
		if (metric_of[kind] == metric)
			return refuse_kind(self, probe, metric, kind);
	}
	/* Of the whole: as long as one kind counts. */
	return !self->events.kinds && refuse_kind(self, probe, metric, DN_HW_CYCLES);
}

/* Reading */

/* Runs the program on each CPU, so that what runs there now is in the sums too. */
static void look(struct dn_ebpf *ebpf)
{
	const struct dn_ebpf_program *program = dn_ebpf_program(&ebpf->objects, "dn_hw_look");

	for (unsigned cpu = 0; program && program->fd >= 0 && cpu < ebpf->n_cpus; cpu++) {
		LIBBPF_OPTS(bpf_test_run_opts, opts, .flags = BPF_F_TEST_RUN_ON_CPU, .cpu = cpu);

		if (bpf_prog_test_run_opts(program->fd, &opts) < 0 && errno != ENXIO) {
			dn_ebpf_degrade_group(ebpf, DN_PROBES_HW, DN_QUALITY_LOWER_BOUND,
				"what threads did since they last got a CPU could not be asked "
				"for");
			return;
		}
	}
}

static void add_totals(void *arg, const void *value)
{
	const uint64_t *from = value;
	uint64_t *into = arg;

	for (unsigned i = 0; i < sizeof(struct dn_wire_hw_totals) / sizeof(uint64_t); i++)
		into[i] += from[i];
}

static struct entry *append(struct list *list)
{
	if (list->n == list->room) {
		size_t room = list->room ? list->room * 2 : 64;
		void *grown = realloc(list->at, room * sizeof(*list->at));

		if (!grown)
			return NULL;
		list->at = grown;
		list->room = room;
	}
	return &list->at[list->n++];
}

static void keep_entry(void *arg, const void *key, const void *value)
{
	struct entry *entry = append(arg);

	if (!entry)
		return;
	memcpy(&entry->key, key, sizeof(entry->key));
	memcpy(&entry->value, value, sizeof(entry->value));
}

static uint64_t value_of(const struct dn_wire_hw *sum, unsigned kind)
{
	return dn_hw_scale(
		sum->kind[kind].count, sum->kind[kind].enabled_ns, sum->kind[kind].running_ns);
}

/* It was counted, or there was nothing to count. */
static bool is_known(const struct dn_wire_hw *sum, unsigned kind)
{
	return sum->kind[kind].running_ns > 0 || sum->kind[kind].enabled_ns == 0;
}

static uint64_t weight(const struct entry *entry)
{
	uint64_t cycles = value_of(&entry->value.sum, DN_HW_CYCLES);

	return cycles ? cycles : entry->value.sum.kind[DN_HW_INSTRUCTIONS].enabled_ns;
}

static int heavier(const void *a, const void *b)
{
	uint64_t x = weight(a), y = weight(b);

	return x != y ? (x < y ? 1 : -1) : memcmp(a, b, sizeof(struct dn_wire_hw_key));
}

/* Takes the dead out of the kernel's table, so that it has room for others. */
static void bury(struct hw *self, int map)
{
	uint64_t now_ns = dn_now_ns();
	size_t kept = 0;

	for (size_t i = 0; i < self->now.n; i++) {
		const struct entry *entry = &self->now.at[i];
		uint64_t dead_ns = entry->value.dead_ns;
		struct entry *grave;

		if (!dead_ns || now_ns < dead_ns + STRAGGLERS_NS ||
			!(grave = append(&self->dead))) {
			self->now.at[kept++] = *entry;
			continue;
		}
		*grave = *entry;
		(void)bpf_map_delete_elem(map, &entry->key);
	}
	self->now.n = kept;
	if (self->dead.n > 2 * DEAD_KEPT) {
		qsort(self->dead.at, self->dead.n, sizeof(struct entry), heavier);
		self->dead.n = DEAD_KEPT;
	}
}

static int read_all(struct dn_ebpf *ebpf, struct hw *self)
{
	int map = dn_ebpf_map(&ebpf->objects, "hw", "dn_hw_processes"), r;

	look(ebpf);
	memset(&self->all, 0, sizeof(self->all));
	r = dn_ebpf_read_percpu(ebpf, dn_ebpf_map(&ebpf->objects, "hw", "dn_hw_totals"), 0,
		sizeof(self->all), add_totals, &self->all);
	self->now.n = 0;
	if (r == 0)
		r = dn_ebpf_read_hash(map, sizeof(struct dn_wire_hw_key),
			sizeof(struct dn_wire_hw_process), keep_entry, &self->now);
	if (r == 0)
		bury(self, map);
	return r;
}

/* Telling */

static void put_process(
	const struct dn_ebpf *ebpf, struct dn_process *process, const struct dn_wire_hw *sum)
{
	const struct hw *self = data_of(ebpf);

	for (unsigned kind = 0; kind < DN_HW_N; kind++) {
		if (self->events.kinds >> kind & 1 && is_known(sum, kind) &&
			dn_ebpf_has(ebpf, metric_of[kind]))
			dn_process_u64(process, metric_of[kind], value_of(sum, kind));
	}
}

/* Its last values, before the process table takes it out. */
static void on_record(struct dn_ebpf *ebpf, const struct dn_wire_record *record, size_t size)
{
	const struct dn_wire_record_usage *exit = (const struct dn_wire_record_usage *)record;
	struct dn_wire_hw_process value;
	struct dn_wire_hw_key key = {.pid = record->pid};
	struct dn_process *process;

	if (record->type != DN_RECORD_EXIT || size < sizeof(*exit) || !ebpf->process_source)
		return;
	process = dn_tree_find(ebpf->core->tree, (pid_t)record->pid);
	key.birth_ns = exit->birth_ns;
	if (process && bpf_map_lookup_elem(dn_ebpf_map(&ebpf->objects, "hw", "dn_hw_processes"),
			       &key, &value) == 0)
		put_process(ebpf, process, &value.sum);
}

static void put_row(struct dn_ebpf *ebpf, struct hw *self, const struct entry *entry)
{
	struct dn_process *process =
		entry->value.dead_ns ? NULL : dn_tree_find(ebpf->core->tree, (pid_t)entry->key.pid);
	char comm[DN_WIRE_COMM + 1] = {0}, key[DN_TABLE_KEY_MAX];
	struct dn_table_row *row;

	memcpy(comm, entry->value.comm, DN_WIRE_COMM);
	(void)snprintf(key, sizeof(key), "%s[%u]",
		process && process->name[0] ? process->name : comm, entry->key.pid);
	row = dn_ebpf_table_row(&self->table, key);
	for (unsigned kind = 0; row && kind < DN_HW_N; kind++) {
		if (self->events.kinds >> kind & 1 && is_known(&entry->value.sum, kind))
			dn_ebpf_table_add(row, kind, value_of(&entry->value.sum, kind));
	}
}

static void put_table(struct dn_ebpf *ebpf, struct hw *self, struct dn_frame *frame)
{
	static const char *const columns[] = {"cycles", "instructions", "cache_references",
		"cache_misses", "branches", "branch_misses"};
	unsigned first = (unsigned)__builtin_ctz(self->events.kinds);
	uint64_t total = value_of(&self->all.sum, first), shown = 0;
	struct list both = {0};
	const struct dn_table *table;

	for (size_t i = 0; i < self->now.n + self->dead.n; i++) {
		struct entry *entry = append(&both);

		if (entry)
			*entry = i < self->now.n ? self->now.at[i] : self->dead.at[i - self->now.n];
	}
	if (both.n)
		qsort(both.at, both.n, sizeof(struct entry), heavier);
	dn_ebpf_table_begin(&self->table, columns, DN_HW_N, ROWS_MAX);
	for (size_t i = 0; i < both.n && i < ROWS_MAX; i++)
		put_row(ebpf, self, &both.at[i]);
	free(both.at);
	table = dn_ebpf_table_end(&self->table, first);
	for (unsigned i = 0; i < table->n_rows; i++) {
		if (table->row[i].value[first].type == DN_VALUE_U64)
			shown = dn_add_sat(shown, table->row[i].value[first].u64);
	}
	/* With all of them in the table the rest is a matter of rounding. */
	self->table.table.other =
		both.n > ROWS_MAX || self->all.no_room ? dn_sub_sat(total, shown) : 0;
	dn_frame_table(frame, DN_M_hw_by_process, table);
}

static void judge(struct dn_ebpf *ebpf, struct hw *self, unsigned kind, bool final)
{
	uint64_t enabled = self->all.sum.kind[kind].enabled_ns;
	uint64_t running = self->all.sum.kind[kind].running_ns;
	const char *reason;

	if (!running && enabled && final)
		dn_ebpf_degrade(ebpf, metric_of[kind], DN_QUALITY_MISSING,
			"the event never got onto the PMU: other users hold its counters");
	if (!running || running >= enabled)
		return;
	reason = dn_arena_printf(ebpf->arena,
		"the counters took turns: this one was on the PMU for %u %% of the time",
		(unsigned)((unsigned __int128)running * 100 / enabled));
	if (!dn_metric_set_has(&ebpf->degraded, metric_of[kind]))
		dn_ebpf_degrade(ebpf, metric_of[kind], DN_QUALITY_SCALED, reason);
	dn_metric_set_add(&ebpf->degraded, metric_of[kind]);
	if (!dn_metric_set_has(&ebpf->degraded, DN_M_hw_by_process))
		dn_ebpf_degrade(ebpf, DN_M_hw_by_process, DN_QUALITY_SCALED, reason);
	dn_metric_set_add(&ebpf->degraded, DN_M_hw_by_process);
}

static void check(struct dn_ebpf *ebpf, struct hw *self)
{
	if (self->all.unread)
		dn_ebpf_degrade_group(ebpf, DN_PROBES_HW, DN_QUALITY_LOWER_BOUND,
			"the counters of some CPU could not be read: what ran there is not "
			"counted");
	if (self->all.no_room <= self->no_room_told)
		return;
	ebpf->core->lost(ebpf->core, "ebpf table of hardware counters",
		self->all.no_room - self->no_room_told);
	self->no_room_told = self->all.no_room;
	dn_ebpf_degrade(ebpf, DN_M_hw_by_process, DN_QUALITY_LOWER_BOUND,
		"there was no room for some processes");
}

static void put_ratio(const struct dn_ebpf *ebpf, const struct hw *self, struct dn_frame *frame)
{
	double least = 1;
	bool any = false;

	for (unsigned kind = 0; kind < DN_HW_N; kind++) {
		uint64_t enabled = self->all.sum.kind[kind].enabled_ns;
		uint64_t running = self->all.sum.kind[kind].running_ns;

		any = any || enabled;
		if (enabled && running < enabled && (double)running / (double)enabled < least)
			least = (double)running / (double)enabled;
	}
	if (any && dn_ebpf_has(ebpf, DN_M_hw_running_ratio))
		dn_frame_f64(frame, DN_M_hw_running_ratio, least);
}

static void sample(struct dn_ebpf *ebpf, struct dn_frame *frame)
{
	struct hw *self = data_of(ebpf);

	if (!self || !self->events.kinds || read_all(ebpf, self) < 0)
		return;
	check(ebpf, self);
	for (unsigned kind = 0; kind < DN_HW_N; kind++) {
		if (!(self->events.kinds >> kind & 1))
			continue;
		judge(ebpf, self, kind, frame->final);
		if (is_known(&self->all.sum, kind) && dn_ebpf_has(ebpf, metric_of[kind]))
			dn_frame_u64(frame, metric_of[kind], value_of(&self->all.sum, kind));
	}
	put_ratio(ebpf, self, frame);
	for (size_t i = 0; i < self->now.n && (ebpf->env->per_process || frame->final); i++) {
		const struct entry *entry = &self->now.at[i];
		struct dn_process *process = entry->value.dead_ns ? NULL
								  : dn_tree_find(ebpf->core->tree,
									    (pid_t)entry->key.pid);

		if (process)
			put_process(ebpf, process, &entry->value.sum);
	}
	if ((ebpf->env->detail || frame->final) && dn_ebpf_has(ebpf, DN_M_hw_by_process))
		put_table(ebpf, self, frame);
}

static void finish(struct dn_ebpf *ebpf)
{
	struct hw *self = data_of(ebpf);

	if (!self)
		return;
	dn_ebpf_table_free(&self->table);
	free(self->now.at);
	free(self->dead.at);
	free(self);
	ebpf->group_data[DN_PROBES_HW] = NULL;
}

const struct dn_ebpf_group dn_ebpf_group_hw = {
	.id = DN_PROBES_HW,
	.object = "hw",
	.metric = metrics,
	.n_metrics = sizeof(metrics) / sizeof(metrics[0]),
	.prepare = prepare,
	.refuse = refuse,
	.flagged = look,
	.sample = sample,
	.record = on_record,
	.finish = finish,
};

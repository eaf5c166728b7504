/* SPDX-License-Identifier: Apache-2.0 */
/* The eBPF backend: what is allowed here, which groups to load, and what they bring. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <denet/bpf.h>
#include <denet/fs.h>

#include "ebpf.h"
#include "refusal.h"

/* Of the first pid namespace: PROC_PID_INIT_INO. */
#define INIT_PID_NS UINT32_C(0xEFFFFFFC)

bool dn_ebpf_has(const struct dn_ebpf *ebpf, unsigned metric)
{
	return dn_metric_set_has(&ebpf->assigned, metric);
}

bool dn_ebpf_on(const struct dn_ebpf *ebpf, enum dn_probe_group id)
{
	return ebpf->groups >> id & 1;
}

void dn_ebpf_degrade(
	struct dn_ebpf *ebpf, unsigned metric, enum dn_quality quality, const char *reason)
{
	if (dn_ebpf_has(ebpf, metric))
		ebpf->core->degrade(ebpf->core, metric, quality, reason);
}

void dn_ebpf_degrade_group(
	struct dn_ebpf *ebpf, enum dn_probe_group id, enum dn_quality quality, const char *reason)
{
	const struct dn_ebpf_group *group = dn_ebpf_group(id);

	for (unsigned i = 0; group && i < group->n_metrics; i++)
		dn_ebpf_degrade(ebpf, group->metric[i].metric, quality, reason);
}

void dn_ebpf_set_sampling(struct dn_ebpf *ebpf, enum dn_probe_group id, uint32_t every)
{
	if (ebpf->control && (unsigned)id < 32)
		__atomic_store_n(&ebpf->control->sample_every[id], every, __ATOMIC_RELAXED);
}

/* What is allowed */

/* The smallest program that there is: "not allowed" before anything is read or built. */
static int try_bpf(void)
{
	struct bpf_insn nothing[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0},
		{.code = BPF_JMP | BPF_EXIT},
	};
	int fd =
		bpf_prog_load(BPF_PROG_TYPE_RAW_TRACEPOINT, "denet_probe", "GPL", nothing, 2, NULL);

	if (fd < 0)
		return -errno;
	close(fd);
	return 0;
}

/* Which groups, which objects */

static bool is_wanted(const struct dn_env *env, const struct dn_ebpf_group *group)
{
	if (!(env->groups >> group->id & 1))
		return false;
	for (unsigned i = 0; i < group->n_metrics; i++) {
		if (dn_metric_set_has(&env->wanted, group->metric[i].metric))
			return true;
	}
	return false;
}

static void choose_groups(struct dn_ebpf *ebpf)
{
	for (unsigned i = 0; i < dn_n_ebpf_groups; i++) {
		const struct dn_ebpf_group *group = dn_ebpf_groups[i];

		if (is_wanted(ebpf->env, group))
			ebpf->groups |= 1u << group->id;
	}
	if (!ebpf->groups)
		return;
	/* The others know from it who is in the tree. */
	ebpf->groups |= 1u << DN_PROBES_LIFECYCLE;
	if (dn_ebpf_on(ebpf, DN_PROBES_LATENCY))
		ebpf->groups |= 1u << DN_PROBES_SYSCALLS;
	for (unsigned i = 0; i < dn_n_ebpf_groups; i++) {
		const struct dn_ebpf_group *group = dn_ebpf_groups[i];

		if (!dn_ebpf_on(ebpf, group->id))
			continue;
		ebpf->features |= group->features;
		if (ebpf->env->sample_every[group->id] > 1 || ebpf->env->max_overhead_percent > 0)
			ebpf->features |= DN_FEATURE_SAMPLED;
	}
	if (ebpf->env->paths && dn_ebpf_on(ebpf, DN_PROBES_FILE))
		ebpf->features |= DN_FEATURE_PATHS;
}

static void add_objects(struct dn_ebpf *ebpf)
{
	const uint32_t others = ~(uint32_t)(DN_FEATURE_COUNT | DN_FEATURE_SAMPLED);

	(void)dn_ebpf_objects_add(&ebpf->objects, "process");
	(void)dn_ebpf_objects_add(&ebpf->objects, "switch");
	(void)dn_ebpf_objects_add_late(&ebpf->objects, "pass");
	if (ebpf->features & others)
		(void)dn_ebpf_objects_add(&ebpf->objects, "syscalls");
	else if (ebpf->features & DN_FEATURE_COUNT)
		(void)dn_ebpf_objects_add(&ebpf->objects, "counts");
	for (unsigned i = 0; i < dn_n_ebpf_groups; i++) {
		if (!dn_ebpf_on(ebpf, dn_ebpf_groups[i]->id))
			continue;
		if (dn_ebpf_groups[i]->object)
			(void)dn_ebpf_objects_add(&ebpf->objects, dn_ebpf_groups[i]->object);
		if (dn_ebpf_groups[i]->late)
			(void)dn_ebpf_objects_add_late(&ebpf->objects, dn_ebpf_groups[i]->late);
	}
}

/* Before an object is loaded */

static void prepare(void *arg, const char *name, struct bpf_object *object)
{
	const uint32_t entered = DN_FEATURE_LATENCY | DN_FEATURE_TIMED_OTHERS | DN_FEATURE_MEMORY;
	struct dn_ebpf *ebpf = arg;
	struct stat st;
	uint32_t ns = 0;

	if (stat("/proc/self/ns/pid", &st) == 0 && st.st_ino != INIT_PID_NS)
		ns = (uint32_t)st.st_ino;
	(void)dn_ebpf_set(object, "dn_pid_ns", &ns, sizeof(ns));
	(void)dn_ebpf_set(object, "dn_features", &ebpf->features, sizeof(ebpf->features));
	if (strcmp(name, "pass") == 0)
		(void)dn_ebpf_set(
			object, "dn_marks", &ebpf->env->attach, sizeof(ebpf->env->attach));
	if (strcmp(name, "syscalls") == 0 && !(ebpf->features & entered))
		dn_ebpf_leave_out(object, "dn_sys_enter");
	for (unsigned i = 0; i < dn_n_ebpf_groups; i++) {
		const struct dn_ebpf_group *group = dn_ebpf_groups[i];

		if (group->prepare && dn_ebpf_on(ebpf, group->id))
			group->prepare(ebpf, name, object);
		if (strcmp(name, "syscalls") == 0 && !dn_ebpf_on(ebpf, group->id))
			dn_ebpf_shrink_maps(object, group->maps);
	}
}

/* The verifier refused the system call programs: once more with one group less, the last first. */
static bool reduce(void *arg, const char *program)
{
	struct dn_ebpf *ebpf = arg;

	if (strncmp(program, "dn_sys_", 7) != 0)
		return false;
	for (unsigned i = dn_n_ebpf_groups; i > 0; i--) {
		const struct dn_ebpf_group *group = dn_ebpf_groups[i - 1];
		uint32_t rest = 0;

		if (!dn_ebpf_on(ebpf, group->id) ||
			!(group->features & ~(uint32_t)DN_FEATURE_COUNT))
			continue;
		ebpf->groups &= ~(1u << group->id);
		for (unsigned j = 0; j < dn_n_ebpf_groups; j++) {
			if (dn_ebpf_on(ebpf, dn_ebpf_groups[j]->id))
				rest |= dn_ebpf_groups[j]->features;
		}
		ebpf->features = rest | (ebpf->features & (DN_FEATURE_SAMPLED | DN_FEATURE_PATHS |
								  DN_FEATURE_ACCOUNT));
		return true;
	}
	return false;
}

/* Offers */

static struct dn_ebpf_refusal explain_program(
	struct dn_ebpf *ebpf, struct dn_probe *probe, const char *name, size_t len)
{
	struct dn_ebpf_objects *objects = &ebpf->objects;
	struct dn_ebpf_refusal refusal = {DN_FACT_UNSUPPORTED, NULL, NULL};
	char word[64];

	snprintf(word, sizeof(word), "%.*s", (int)len, name);
	const struct dn_ebpf_program *program = dn_ebpf_program(objects, word);

	if (program && program->absent) {
		const char *target = program->target;

		refusal.reason =
			strncmp(target, "btf_trace_", 10) == 0
				? dn_probe_printf(
					  probe, "this kernel has no tracepoint %s", target + 10)
				: dn_probe_printf(probe, "this kernel has no function %s", target);
	} else if (program && program->error) {
		/* Others of its kind were allowed: no capability would change that. */
		refusal.fact = DN_FACT_BROKEN;
		refusal.reason =
			program->error == -EACCES
				? dn_probe_printf(probe,
					  "the kernel's verifier refused the program %s; "
					  "--debug tells more",
					  word)
				: dn_probe_printf(probe, "the kernel refused the program %s: %s",
					  word, strerror(-program->error));
		if (program->error == -EPERM)
			refusal.fact =
				DN_FACT_UNSUPPORTED; /* fentry where functions can't be traced */
	} else {
		refusal.reason = dn_probe_printf(
			probe, "the program %s could not be loaded with its object", word);
	}
	return refusal;
}

static void offer(struct dn_ebpf *ebpf, struct dn_probe *probe, const struct dn_ebpf_group *group,
	const struct dn_ebpf_metric *metric)
{
	const char *name = metric->programs;

	if (!dn_metric_set_has(&ebpf->env->wanted, metric->metric))
		return;
	/* Of several ways to it the first one that works. */
	if (probe->offer[metric->metric].fact == DN_FACT_OK)
		return;
	if (!dn_ebpf_on(ebpf, group->id)) {
		dn_probe_refuse(probe, metric->metric, DN_FACT_BROKEN,
			"the kernel's verifier refused its programs; --debug tells more", NULL);
		return;
	}
	if (group->refuse && group->refuse(ebpf, probe, metric->metric))
		return;
	while (name && *name) {
		size_t len = strcspn(name, " ");
		char word[64];

		snprintf(word, sizeof(word), "%.*s", (int)len, name);
		if (!dn_ebpf_is_attached(&ebpf->objects, word)) {
			struct dn_ebpf_refusal refusal = explain_program(ebpf, probe, name, len);

			dn_probe_refuse(
				probe, metric->metric, refusal.fact, refusal.reason, refusal.hint);
			return;
		}
		name += len + (name[len] == ' ');
	}
	if (ebpf->env->sample_every[group->id] > 1)
		dn_probe_offer(probe, metric->metric, DN_QUALITY_SAMPLED, metric->source,
			dn_probe_printf(probe, "one of %u events is looked at (--sample)",
				ebpf->env->sample_every[group->id]));
	else
		dn_probe_offer(
			probe, metric->metric, metric->quality, metric->source, metric->reason);
}

static void refuse_all(
	struct dn_ebpf *ebpf, struct dn_probe *probe, const struct dn_ebpf_refusal *refusal)
{
	for (unsigned i = 0; i < dn_n_ebpf_groups; i++) {
		const struct dn_ebpf_group *group = dn_ebpf_groups[i];

		for (unsigned m = 0; m < group->n_metrics; m++) {
			if (dn_metric_set_has(&ebpf->env->wanted, group->metric[m].metric))
				dn_probe_refuse(probe, group->metric[m].metric, refusal->fact,
					refusal->reason, refusal->hint);
		}
	}
	probe->fact = refusal->fact;
	probe->reason = refusal->reason;
	probe->hint = refusal->hint;
}

static void offer_all(struct dn_ebpf *ebpf, struct dn_probe *probe)
{
	for (unsigned i = 0; i < dn_n_ebpf_groups; i++) {
		const struct dn_ebpf_group *group = dn_ebpf_groups[i];

		if (!(ebpf->env->groups >> group->id & 1) && group->id != DN_PROBES_LIFECYCLE)
			continue;
		for (unsigned m = 0; m < group->n_metrics; m++)
			offer(ebpf, probe, group, &group->metric[m]);
	}
	for (unsigned metric = 0; metric < dn_metric_count(); metric++) {
		if (probe->offer[metric].fact == DN_FACT_OK)
			probe->fact = DN_FACT_OK;
	}
	if (probe->fact != DN_FACT_OK) {
		probe->fact = DN_FACT_UNSUPPORTED;
		probe->reason = "none of its programs could be attached";
	}
}

/* Life */

static void ebpf_close(struct dn_backend *backend)
{
	struct dn_ebpf *ebpf = (struct dn_ebpf *)backend;

	if (!ebpf)
		return;
	dn_ebpf_pass_release(ebpf);
	dn_ebpf_ring_close(ebpf);
	dn_ebpf_overhead_close(ebpf);
	dn_ebpf_cost_close(ebpf);
	for (unsigned i = 0; i < dn_n_ebpf_groups; i++) {
		if (dn_ebpf_groups[i]->finish)
			dn_ebpf_groups[i]->finish(ebpf);
	}
	if (ebpf->control)
		munmap(ebpf->control, ebpf->page);
	dn_ebpf_objects_close(&ebpf->objects);
	free(ebpf);
}

static int load(struct dn_ebpf *ebpf, struct dn_probe *probe, struct dn_ebpf_refusal *ret)
{
	struct dn_ebpf_objects *objects = &ebpf->objects;
	int r = try_bpf();

	if (r < 0) {
		*ret = dn_ebpf_explain(ebpf->env, probe, "bpf(2)", r);
		return r;
	}
	objects->prepare = prepare;
	objects->reduce = reduce;
	objects->arg = ebpf;
	add_objects(ebpf);
	dn_ebpf_cost_open(ebpf, probe);
	if (ebpf->accounted)
		ebpf->features |= DN_FEATURE_ACCOUNT;
	r = dn_ebpf_objects_load(objects, ebpf->env->sys_fd);
	if (r < 0) {
		bool btf = !objects->btf;

		*ret = dn_ebpf_explain(
			ebpf->env, probe, btf ? "BTF" : "loading the BPF programs", r);
		if (r == -EACCES)
			*ret = (struct dn_ebpf_refusal){DN_FACT_BROKEN,
				"the kernel's verifier refused the BPF programs; --debug tells "
				"more",
				NULL};
		/* bpf(2) itself was allowed. */
		if (r == -EPERM && !btf)
			(void)dn_ebpf_explain_memlock(probe, ret);
		return r;
	}
	dn_ebpf_objects_attach(objects);
	if (!dn_ebpf_is_attached(objects, "dn_fork") &&
		dn_ebpf_explain_lockdown(ebpf->env->sys_fd, ret))
		return -EPERM;
	ebpf->loaded = true;
	return 0;
}

static int ebpf_probe(
	const struct dn_env *env, struct dn_probe *probe, struct dn_backend **ret_backend)
{
	static const struct dn_ebpf_refusal recorded = {
		DN_FACT_UNSUPPORTED, "a recorded tree has no kernel to trace", NULL};
	struct dn_ebpf *ebpf = calloc(1, sizeof(*ebpf));
	struct dn_ebpf_refusal refusal;
	int cpus, r;

	if (!ebpf)
		return -ENOMEM;
	ebpf->base.ops = &dn_backend_ebpf;
	ebpf->env = env;
	ebpf->arena = probe->arena;
	dn_ebpf_objects_init(&ebpf->objects);
	*ret_backend = &ebpf->base;
	if (env->fixture) {
		refuse_all(ebpf, probe, &recorded);
		return 0;
	}
	choose_groups(ebpf);
	if (!ebpf->groups) {
		probe->reason = env->groups
					? "nothing that is measured is of a probe group that is on"
					: "no probe group is on (--probes)";
		return 0;
	}
	r = load(ebpf, probe, &refusal);
	if (ebpf->objects.refusals_len)
		probe->detail = dn_probe_printf(probe, "%s", ebpf->objects.refusals);
	if (r < 0) {
		refuse_all(ebpf, probe, &refusal);
		dn_ebpf_cost_close(ebpf);
		dn_ebpf_objects_close(&ebpf->objects);
		return 0;
	}
	cpus = libbpf_num_possible_cpus();
	ebpf->n_cpus = cpus > 0 ? (unsigned)cpus : 1;
	offer_all(ebpf, probe);
	if (env->n_targets == 0)
		dn_ebpf_objects_close(&ebpf->objects);
	return 0;
}

static int map_control(struct dn_ebpf *ebpf)
{
	int fd = dn_ebpf_map(&ebpf->objects, "process", "dn_control");
	void *at;

	ebpf->page = (size_t)sysconf(_SC_PAGESIZE);
	at = mmap(NULL, ebpf->page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (at == MAP_FAILED)
		return -errno;
	ebpf->control = at;
	ebpf->control->no_children = ebpf->env->no_children;
	for (unsigned i = 0; i < DN_PROBES_N; i++)
		dn_ebpf_set_sampling(ebpf, (enum dn_probe_group)i, ebpf->env->sample_every[i]);
	return 0;
}

static int ebpf_open(
	struct dn_backend *backend, const struct dn_metric_set *assigned, struct dn_core *core)
{
	struct dn_ebpf *ebpf = (struct dn_ebpf *)backend;
	int r;

	if (!ebpf->loaded || ebpf->env->n_targets == 0)
		return -EOPNOTSUPP;
	ebpf->assigned = *assigned;
	ebpf->core = core;
	ebpf->process_source = dn_ebpf_has(ebpf, DN_M_process_started);
	dn_ebpf_pass_reserve(ebpf);
	r = map_control(ebpf);
	if (r == 0)
		r = dn_ebpf_overhead_open(ebpf);
	if (r == 0)
		r = dn_ebpf_ring_open(ebpf);
	dn_ebpf_misses_begin(ebpf);
	/* The process table last: with it the targets are flagged, and counting may begin. */
	for (unsigned i = dn_n_ebpf_groups; i > 0 && r == 0; i--) {
		const struct dn_ebpf_group *group = dn_ebpf_groups[i - 1];

		if (dn_ebpf_on(ebpf, group->id) && group->start)
			r = group->start(ebpf);
	}
	for (unsigned i = 0; i < dn_n_ebpf_groups && r == 0; i++) {
		if (dn_ebpf_on(ebpf, dn_ebpf_groups[i]->id) && dn_ebpf_groups[i]->flagged)
			dn_ebpf_groups[i]->flagged(ebpf);
	}
	return r;
}

static void ebpf_drain(struct dn_backend *backend)
{
	dn_ebpf_ring_drain((struct dn_ebpf *)backend);
}

/* Sampling */

static void add_totals(void *arg, const void *value)
{
	const uint64_t *from = value;
	uint64_t *into = arg;

	for (unsigned i = 0; i < sizeof(struct dn_wire_totals) / sizeof(uint64_t); i++)
		into[i] += from[i];
}

static void add_loss(void *arg, uint32_t key, const void *value)
{
	uint64_t *losses = arg;

	if (key < DN_LOSS_N)
		losses[key] += *(const uint64_t *)value;
}

static void tell_losses(struct dn_ebpf *ebpf)
{
	static const char *const names[DN_LOSS_N] = {
		"ebpf ring buffer", "ebpf task storage", "ebpf process table", "ebpf tables"};

	for (unsigned i = 0; i < DN_LOSS_N; i++) {
		if (ebpf->losses[i] <= ebpf->losses_told[i])
			continue;
		ebpf->core->lost(ebpf->core, names[i], ebpf->losses[i] - ebpf->losses_told[i]);
		if (i == DN_LOSS_TASK) {
			for (unsigned g = 0; g < DN_PROBES_N; g++)
				dn_ebpf_degrade_group(ebpf, (enum dn_probe_group)g,
					DN_QUALITY_LOWER_BOUND,
					"there was no room for some threads: they ran unseen");
		} else if (i == DN_LOSS_MAP) {
			for (unsigned g = DN_PROBES_LATENCY; g < DN_PROBES_N; g++)
				dn_ebpf_degrade_group(ebpf, (enum dn_probe_group)g,
					DN_QUALITY_LOWER_BOUND, "a table in the kernel was full");
		}
		ebpf->losses_told[i] = ebpf->losses[i];
	}
}

/*
 * A process is told to have ended at its last switch, some microseconds after its parent could know
 * (more where a hypervisor took the CPU away meanwhile). The last look waits for it.
 */
#define LAST_SWITCH_TRIES 100
#define LAST_SWITCH_WAIT_US 100

int dn_ebpf_read_totals(struct dn_ebpf *ebpf, bool final)
{
	int fd = dn_ebpf_map(&ebpf->objects, "process", "dn_totals"), r;

	for (unsigned tries = 0;; tries++) {
		memset(&ebpf->totals, 0, sizeof(ebpf->totals));
		r = dn_ebpf_read_percpu(
			ebpf, fd, 0, sizeof(struct dn_wire_totals), add_totals, &ebpf->totals);
		if (r < 0 || !final || ebpf->totals.exits >= ebpf->totals.leaving ||
			tries == LAST_SWITCH_TRIES)
			return r;
		usleep(LAST_SWITCH_WAIT_US);
	}
}

static int read_losses(struct dn_ebpf *ebpf)
{
	memset(ebpf->losses, 0, sizeof(ebpf->losses));
	return dn_ebpf_read_percpu_array(ebpf, dn_ebpf_map(&ebpf->objects, "process", "dn_losses"),
		DN_LOSS_N, sizeof(uint64_t), add_loss, ebpf->losses);
}

/* No record is produced from now on: those on their way are received or lost in a moment. */
static int settle_records(struct dn_ebpf *ebpf)
{
	int r = 0;

	__atomic_store_n(&ebpf->control->ended, 1, __ATOMIC_SEQ_CST);
	for (unsigned tries = 0; tries < LAST_SWITCH_TRIES && r == 0; tries++) {
		r = dn_ebpf_read_totals(ebpf, false);
		dn_ebpf_ring_drain(ebpf);
		if (r == 0)
			r = read_losses(ebpf);
		if (ebpf->totals.events == ebpf->received + ebpf->losses[DN_LOSS_RING])
			break;
		usleep(LAST_SWITCH_WAIT_US);
	}
	return r;
}

static int ebpf_sample(struct dn_backend *backend, struct dn_frame *frame)
{
	struct dn_ebpf *ebpf = (struct dn_ebpf *)backend;
	int r;

	r = dn_ebpf_read_totals(ebpf, frame->final);
	ebpf->alive = ebpf->env->attach || ebpf->totals.exits < ebpf->totals.forks + 1;
	if (r == 0 && ebpf->alive)
		r = dn_ebpf_harvest(ebpf, ebpf->env->per_process || frame->final);
	dn_ebpf_ring_drain(ebpf);
	if (r == 0)
		r = frame->final ? settle_records(ebpf) : read_losses(ebpf);
	if (r < 0)
		return r;
	for (unsigned i = 0; i < dn_n_ebpf_groups; i++) {
		if (dn_ebpf_on(ebpf, dn_ebpf_groups[i]->id) && dn_ebpf_groups[i]->sample)
			dn_ebpf_groups[i]->sample(ebpf, frame);
	}
	tell_losses(ebpf);
	dn_ebpf_misses_tell(ebpf);
	dn_ebpf_overhead_watch(ebpf);
	return 0;
}

const struct dn_backend_ops dn_backend_ebpf = {
	.name = "ebpf",
	.summary = "BPF programs in the kernel: every process, system call and switch of the tree",
	.tier = "ebpf",
	.probe = ebpf_probe,
	.open = ebpf_open,
	.unprivileged = dn_ebpf_unprivileged,
	.drain = ebpf_drain,
	.sample = ebpf_sample,
	.cost = dn_ebpf_cost,
	.close = ebpf_close,
};

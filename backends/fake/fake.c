/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A backend whose answers are written in a script: every success and every failure at will, for
 * tests and for trying out what reads the stream. Never part of a run that did not ask for it.
 * Without a script every metric of the registry has a value: tick times a prime of its own.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include <denet/fs.h>

#include "script.h"
#include "values.h"

extern const struct dn_backend_ops dn_backend_fake;

#define FIRST_PRIME 101

struct fake {
	struct dn_backend backend;
	bool scripted;
	struct dn_fake_script script;
	struct dn_metric_set assigned;
	struct dn_core *core;
	uint64_t seq; /* of the last sample */
	uint64_t prime[DN_M_STATIC_N]; /* without a script */
	struct dn_fake_values values;
};

/* A prime of its own for each row of the registry. */
static void fill_primes(uint64_t *primes, unsigned n_primes)
{
	unsigned found = 0;

	for (uint64_t n = FIRST_PRIME; found < n_primes; n += 2) {
		bool prime = true;

		for (uint64_t d = 3; d * d <= n && prime; d += 2)
			prime = n % d != 0;
		if (prime)
			primes[found++] = n;
	}
}

static int read_script(const char *path, char **ret, size_t *ret_len)
{
	char *text = malloc(DN_FAKE_SCRIPT_MAX);
	ssize_t len = text ? dn_read_file_at(AT_FDCWD, path, text, DN_FAKE_SCRIPT_MAX) : -ENOMEM;

	if (len < 0) {
		free(text);
		return (int)len;
	}
	*ret = text;
	*ret_len = (size_t)len;
	return 0;
}

static void offer_everything(const struct dn_env *env, struct dn_probe *probe)
{
	for (unsigned id = 0; id < DN_M_STATIC_N; id++) {
		if (dn_metric_set_has(&env->wanted, id) &&
			!(dn_metric_info(id)->flags & DN_FLAG_DERIVED))
			dn_probe_offer(probe, id, DN_QUALITY_SIMULATED, "fake",
				"invented by the fake backend");
	}
	probe->fact = DN_FACT_OK;
}

static int fake_probe(
	const struct dn_env *env, struct dn_probe *probe, struct dn_backend **ret_backend)
{
	struct fake *fake = calloc(1, sizeof(*fake));
	char *text = NULL;
	size_t len = 0;
	int r;

	if (!fake)
		return -ENOMEM;
	fake->backend.ops = &dn_backend_fake;
	*ret_backend = &fake->backend;
	if (!env->script) {
		fill_primes(fake->prime, DN_M_STATIC_N);
		offer_everything(env, probe);
		return 0;
	}
	fake->scripted = true;
	probe->fact = DN_FACT_BROKEN;
	r = read_script(env->script, &text, &len);
	if (r < 0) {
		probe->reason = r == -ENOBUFS
					? "fake script: it is larger than 1 MiB"
					: dn_probe_printf(probe, "fake script: %s", strerror(-r));
		return -EINVAL;
	}
	probe->fact = DN_FACT_OK;
	r = dn_fake_script_parse(text, len, env, probe, &fake->script);
	free(text);
	if (r < 0)
		probe->fact = DN_FACT_BROKEN;
	return r;
}

static int fake_open(
	struct dn_backend *backend, const struct dn_metric_set *assigned, struct dn_core *core)
{
	struct fake *fake = dn_container_of(backend, struct fake, backend);

	if (fake->script.open_error < 0)
		return fake->script.open_error;
	fake->assigned = *assigned;
	fake->core = core;
	return 0;
}

static pid_t resolve(struct fake *fake, pid_t pid)
{
	struct dn_process *first = dn_tree_first(fake->core->tree);

	if (pid != DN_FAKE_PID_ROOT)
		return pid;
	for (struct dn_process *p = first; p; p = p->next) {
		if (p->is_target)
			return p->pid;
	}
	return -1;
}

/* Births, names and deaths up to this tick, each once. */
static void apply_lives(struct fake *fake, uint64_t seq)
{
	struct dn_tree *tree = fake->core->tree;

	for (size_t i = 0; i < fake->script.n_actions; i++) {
		struct dn_fake_action *action = &fake->script.action[i];
		uint64_t now = dn_now_ns();
		pid_t pid;

		if (action->type < DN_FAKE_FORK || action->done || action->seq > seq)
			continue;
		action->done = true;
		pid = resolve(fake, action->pid);
		if (action->type == DN_FAKE_EXIT) {
			dn_tree_exit(tree, pid, now);
			continue;
		}
		if (action->type == DN_FAKE_FORK &&
			!dn_tree_fork(tree, pid, resolve(fake, action->ppid), now, true))
			continue;
		if (action->type == DN_FAKE_FORK)
			dn_tree_rename(tree, pid, action->text, strlen(action->text));
		else
			dn_tree_exec(tree, pid, action->text, strlen(action->text), now);
	}
}

static void fake_drain(struct dn_backend *backend)
{
	struct fake *fake = dn_container_of(backend, struct fake, backend);

	apply_lives(fake, fake->seq + 1);
}

static uint64_t invented(const struct fake *fake, unsigned metric, uint64_t seq)
{
	uint64_t value;

	return __builtin_mul_overflow(seq, fake->prime[metric], &value) ? UINT64_MAX : value;
}

/* A target has done all that there is. */
static void fill_process(struct fake *fake, struct dn_process *process, uint64_t seq)
{
	for (unsigned id = 0; id < DN_M_STATIC_N; id++) {
		if (dn_metric_set_has(&fake->assigned, id))
			dn_process_u64(process, id, invented(fake, id, seq));
	}
}

static int sample_everything(struct fake *fake, struct dn_frame *frame)
{
	for (unsigned id = 0; id < DN_M_STATIC_N; id++) {
		const struct dn_metric_info *info = dn_metric_info(id);
		int r = 0;

		if (!dn_metric_set_has(&fake->assigned, id) || dn_fake_is_from_table(id))
			continue;
		if (info->kind == DN_KIND_HISTOGRAM || info->kind == DN_KIND_TABLE)
			r = dn_fake_invent(&fake->values, frame, id, fake->prime[id], frame->seq);
		else if (info->unit == DN_UNIT_RATIO || info->unit == DN_UNIT_PERCENT)
			dn_frame_f64(frame, id,
				(double)frame->seq /
					(double)dn_add_sat(frame->seq, fake->prime[id]));
		else
			dn_frame_u64(frame, id, invented(fake, id, frame->seq));
		if (r < 0)
			return r;
	}
	for (struct dn_process *p = dn_tree_first(fake->core->tree); p; p = p->next) {
		if (p->is_target)
			fill_process(fake, p, frame->seq);
	}
	return 0;
}

/* A target that ends before the next tick is not in the table then. */
static void fake_on_event(struct dn_backend *backend, const struct dn_process_event *event)
{
	struct fake *fake = dn_container_of(backend, struct fake, backend);

	if (!fake->scripted && event->type == DN_PROCESS_ZOMBIE && event->process &&
		event->process->is_target)
		fill_process(fake, event->process, fake->seq + 1);
}

static void process_value(struct fake *fake, const struct dn_fake_action *action)
{
	struct dn_process *process = dn_tree_find(fake->core->tree, resolve(fake, action->pid));
	int slot = dn_process_slot(action->metric);

	if (process && slot >= 0)
		process->value[slot] = action->value;
}

static void tell_event(struct fake *fake, const struct dn_fake_action *action)
{
	const struct dn_process *process =
		action->pid == DN_FAKE_PID_NONE
			? NULL
			: dn_tree_find(fake->core->tree, resolve(fake, action->pid));

	fake->core->event(fake->core, action->event, process, dn_now_ns(), action->text);
}

static int apply(struct fake *fake, struct dn_frame *frame, const struct dn_fake_action *action)
{
	bool assigned = dn_metric_set_has(&fake->assigned, action->metric);

	switch (action->type) {
	case DN_FAKE_VALUE:
		if (assigned)
			frame->value[action->metric] = action->value;
		return 0;
	case DN_FAKE_CELL:
		return assigned ? dn_fake_write(&fake->values, frame, action->metric, action->text,
					  action->column, &action->value)
				: 0;
	case DN_FAKE_PROCESS_VALUE:
		if (assigned)
			process_value(fake, action);
		return 0;
	case DN_FAKE_DEGRADE:
		fake->core->degrade(fake->core, action->metric, action->quality, action->text);
		return 0;
	case DN_FAKE_LOST:
		fake->core->lost(fake->core, "fake", action->n);
		return 0;
	case DN_FAKE_EVENT:
		tell_event(fake, action);
		return 0;
	case DN_FAKE_ERROR:
		return action->error;
	case DN_FAKE_FORK:
	case DN_FAKE_EXEC:
	case DN_FAKE_EXIT:
		return 0;
	}
	return 0;
}

static int fake_sample(struct dn_backend *backend, struct dn_frame *frame)
{
	struct fake *fake = dn_container_of(backend, struct fake, backend);
	uint64_t seq = frame->seq, sample_seq;

	fake->seq = seq;
	if (!fake->scripted)
		return sample_everything(fake, frame);
	apply_lives(fake, seq);
	dn_fake_begin(&fake->values);
	sample_seq = seq < fake->script.last_sample ? seq : fake->script.last_sample;
	for (size_t i = 0; i < fake->script.n_actions; i++) {
		const struct dn_fake_action *action = &fake->script.action[i];
		bool repeats = action->type == DN_FAKE_VALUE || action->type == DN_FAKE_CELL;
		int r;

		if (action->seq != (repeats ? sample_seq : seq))
			continue;
		r = apply(fake, frame, action);
		if (r < 0)
			return r;
	}
	return 0;
}

static void add(uint64_t *sum, uint64_t value)
{
	*sum = dn_add_sat(*sum, value);
}

static void fake_cost(struct dn_backend *backend, struct dn_cost *cost)
{
	const struct dn_cost *own = &dn_container_of(backend, struct fake, backend)->script.cost;

	cost->has_bpf |= own->has_bpf;
	cost->has_bpf_ns |= own->has_bpf_ns;
	cost->bpf_programs += own->bpf_programs;
	cost->bpf_maps += own->bpf_maps;
	add(&cost->bpf_map_bytes, own->bpf_map_bytes);
	add(&cost->bpf_ns, own->bpf_ns);
	add(&cost->bpf_runs, own->bpf_runs);
	add(&cost->load_ns, own->load_ns);
	add(&cost->attach_ns, own->attach_ns);
}

static void fake_close(struct dn_backend *backend)
{
	struct fake *fake;

	if (!backend)
		return;
	fake = dn_container_of(backend, struct fake, backend);
	dn_fake_script_finish(&fake->script);
	dn_fake_values_finish(&fake->values);
	free(fake);
}

const struct dn_backend_ops dn_backend_fake = {
	.name = "fake",
	.summary = "invented values and failures from a script, only with --backend fake or --fake",
	.tier = "fake",
	.probe = fake_probe,
	.open = fake_open,
	.drain = fake_drain,
	.sample = fake_sample,
	.cost = fake_cost,
	.on_event = fake_on_event,
	.close = fake_close,
};

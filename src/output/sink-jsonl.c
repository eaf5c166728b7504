/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stream: a JSON Lines record per header, sample, event and summary. Which metrics the records
 * hold is settled once, at the header (json-layout.h).
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "json-facts.h"
#include "json-layout.h"
#include "json-writer.h"
#include "sinks.h"

struct jsonl {
	struct dn_sink sink;
	struct dn_output *output;
	bool process_events;
	struct dn_json json;
	struct dn_json_layout tree, system, process;
	struct dn_json_layout whole_tree, whole_system; /* with histograms and tables */
};

const char *dn_event_name(enum dn_event_type type)
{
	static const char *const names[] = {
		[DN_EVENT_FORK] = "fork",
		[DN_EVENT_EXEC] = "exec",
		[DN_EVENT_EXIT] = "exit",
		[DN_EVENT_GAP] = "gap",
		[DN_EVENT_BACKEND_LOST] = "backend_lost",
		[DN_EVENT_CPUS_CHANGED] = "cpus_changed",
		[DN_EVENT_TARGET_LOST] = "target_lost",
		[DN_EVENT_BUDGET] = "budget",
		[DN_EVENT_LIMIT] = "limit",
		[DN_EVENT_SECURITY] = "security",
		[DN_EVENT_OOM] = "oom",
	};

	return (unsigned)type < sizeof(names) / sizeof(names[0]) ? names[type] : "unknown";
}

/* Small parts */

static struct jsonl *self_of(struct dn_sink *sink)
{
	return (struct jsonl *)sink;
}

static void begin(struct dn_json *json, const char *kind)
{
	dn_json_reset(json);
	dn_json_object(json);
	dn_json_put_string(json, "kind", kind);
}

static int end(struct jsonl *self)
{
	struct dn_json *json = &self->json;
	int r;

	dn_json_object_end(json);
	dn_json_newline(json);
	r = dn_json_error(json);
	return r < 0 ? r : dn_output_write(self->output, json->data, json->len);
}

static void put_key_null(struct dn_json *json, const char *key)
{
	dn_json_key(json, key);
	dn_json_null(json);
}

static void put_i64(struct dn_json *json, const char *key, int64_t value)
{
	dn_json_key(json, key);
	dn_json_i64(json, value);
}

/* The header */

static int header(struct dn_sink *sink, const struct dn_run *run)
{
	struct jsonl *self = self_of(sink);
	struct dn_json *json = &self->json;
	int r;

	r = dn_json_layout_make(&self->tree, run, DN_LAYOUT_TREE, false);
	if (r == 0)
		r = dn_json_layout_make(&self->system, run, DN_LAYOUT_SYSTEM, false);
	if (r == 0)
		r = dn_json_layout_make(&self->process, run, DN_LAYOUT_PROCESS, false);
	if (r == 0)
		r = dn_json_layout_make(&self->whole_tree, run, DN_LAYOUT_TREE, true);
	if (r == 0)
		r = dn_json_layout_make(&self->whole_system, run, DN_LAYOUT_SYSTEM, true);
	if (r < 0)
		return r;

	begin(json, "header");
	dn_json_put_u64(json, "schema", DN_SCHEMA_VERSION);
	dn_json_put_string(json, "denet", DENET_VERSION);
	dn_json_put_time(json, "time", &run->time);
	dn_json_put_string(json, "mode", run->mode);
	dn_json_key(json, "command");
	if (run->command) {
		dn_json_array(json);
		for (char *const *arg = run->command; *arg; arg++)
			dn_json_string(json, *arg);
		dn_json_array_end(json);
	} else {
		dn_json_null(json);
	}
	dn_json_put_string(json, "cwd", run->cwd);
	if (run->n_targets == 1)
		put_i64(json, "pid", run->targets[0]);
	else
		put_key_null(json, "pid");
	dn_json_key(json, "targets");
	dn_json_array(json);
	for (unsigned i = 0; i < run->n_targets; i++)
		dn_json_i64(json, run->targets[i]);
	dn_json_array_end(json);
	dn_json_put_string(json, "tier", run->tier);
	dn_json_put_u64(json, "interval_ns", run->interval_ns);
	dn_json_put_host(json, run->machine);
	dn_json_put_privileges(json, run->machine);
	dn_json_put_backends(json, run);
	dn_json_put_metric_states(json, run, false);
	return end(self);
}

/* Samples and events */

static void put_frame(struct jsonl *self, const struct dn_frame *frame, bool whole)
{
	dn_json_key(&self->json, "tree");
	dn_json_object(&self->json);
	dn_json_layout_put(&self->json, whole ? &self->whole_tree : &self->tree, frame->value);
	dn_json_object_end(&self->json);
	dn_json_key(&self->json, "system");
	dn_json_object(&self->json);
	dn_json_layout_put(&self->json, whole ? &self->whole_system : &self->system, frame->value);
	dn_json_object_end(&self->json);
}

static void put_process(struct jsonl *self, const struct dn_process *process, bool with_end)
{
	struct dn_json *json = &self->json;

	dn_json_object(json);
	dn_json_key_n(json, "pid", 3);
	dn_json_i64(json, process->pid);
	dn_json_key_n(json, "ppid", 4);
	dn_json_i64(json, process->ppid);
	dn_json_key_n(json, "start_ns", 8);
	dn_json_u64(json, process->start_ns);
	if (with_end && process->alive)
		put_key_null(json, "end_ns");
	else if (with_end)
		dn_json_put_u64(json, "end_ns", process->exit_ns);
	dn_json_put_name(json, process->name);
	dn_json_layout_put(json, &self->process, process->value);
	dn_json_object_end(json);
}

static int sample(struct dn_sink *sink, const struct dn_run *run, const struct dn_frame *frame,
	struct dn_tree *tree)
{
	struct jsonl *self = self_of(sink);
	struct dn_json *json = &self->json;

	begin(json, "sample");
	dn_json_put_u64(json, "seq", frame->seq);
	dn_json_put_u64(json, "t_ns", frame->t_ns);
	dn_json_put_u64(json, "interval_ns", frame->interval_ns);
	if (frame->gap)
		dn_json_put_bool(json, "gap", true);
	put_frame(self, frame, run->detail);
	if (run->per_process) {
		dn_json_key(json, "processes");
		dn_json_array(json);
		for (const struct dn_process *p = dn_tree_first(tree); p; p = p->next)
			put_process(self, p, false);
		dn_json_array_end(json);
	}
	return end(self);
}

static int event(struct dn_sink *sink, const struct dn_run *run, const struct dn_event *ev)
{
	struct jsonl *self = self_of(sink);
	struct dn_json *json = &self->json;
	const struct dn_process *process = ev->process;

	if (!self->process_events && (ev->type == DN_EVENT_FORK || ev->type == DN_EVENT_EXEC ||
					     ev->type == DN_EVENT_EXIT))
		return 0;
	begin(json, "event");
	dn_json_put_u64(json, "t_ns", ev->t_ns);
	dn_json_put_string(json, "event", dn_event_name(ev->type));
	if (process) {
		put_i64(json, "pid", process->pid);
		put_i64(json, "ppid", process->ppid);
		dn_json_put_name(json, process->name);
		if (ev->type == DN_EVENT_EXIT && process->exit_known &&
			WIFEXITED(process->wait_status))
			put_i64(json, "code", WEXITSTATUS(process->wait_status));
		else if (ev->type == DN_EVENT_EXIT && process->exit_known &&
			 WIFSIGNALED(process->wait_status))
			put_i64(json, "signal", WTERMSIG(process->wait_status));
	}
	if (ev->text)
		dn_json_put_string(json, "text", ev->text);
	return end(self);
}

/* The summary */

static void put_exit(struct dn_json *json, const struct dn_summary *summary)
{
	bool killed = WIFSIGNALED(summary->wait_status);
	char name[32];

	dn_json_key(json, "exit");
	if (!summary->has_exit) {
		dn_json_null(json);
		return;
	}
	dn_json_object(json);
	if (killed) {
		put_key_null(json, "code");
		put_i64(json, "signal", WTERMSIG(summary->wait_status));
		dn_json_put_string(json, "signal_name",
			dn_human_signal(WTERMSIG(summary->wait_status), name, sizeof(name)));
	} else {
		put_i64(json, "code", WEXITSTATUS(summary->wait_status));
		put_key_null(json, "signal");
	}
	dn_json_put_bool(json, "core_dumped", killed && WCOREDUMP(summary->wait_status));
	dn_json_object_end(json);
}

static void put_commands(struct dn_json *json, const struct dn_summary *summary)
{
	dn_json_key(json, "commands");
	dn_json_array(json);
	for (unsigned i = 0; i < summary->n_commands; i++) {
		const struct dn_command_total *command = &summary->command[i];

		dn_json_object(json);
		dn_json_put_name(json, command->name);
		dn_json_put_u64(json, "count", command->count);
		if (command->has_cpu)
			dn_json_put_u64(json, "cpu_ns", command->cpu_ns);
		dn_json_put_u64(json, "wall_ns", command->wall_ns);
		if (command->has_rss)
			dn_json_put_u64(json, "peak_rss_bytes", command->peak_rss_bytes);
		dn_json_object_end(json);
	}
	dn_json_array_end(json);
	dn_json_put_u64(json, "commands_other", summary->commands_other);
}

static void put_known(struct dn_json *json, const char *key, bool known, uint64_t value)
{
	if (known)
		dn_json_put_u64(json, key, value);
	else
		put_key_null(json, key);
}

/* Where the run time of programs went, which costs to know. */
static void put_programs(struct dn_json *json, const struct dn_cost *cost)
{
	dn_json_put_u64(json, "bystander_runs", cost->bystander_runs);
	dn_json_key(json, "programs");
	dn_json_object(json);
	for (unsigned i = 0; i < cost->n_programs; i++) {
		dn_json_key(json, cost->program[i].name);
		dn_json_object(json);
		dn_json_put_u64(json, "ns", cost->program[i].ns);
		dn_json_put_u64(json, "runs", cost->program[i].runs);
		dn_json_object_end(json);
	}
	dn_json_object_end(json);
}

/* What denet cost. */
static void put_self(struct dn_json *json, const struct dn_summary *summary)
{
	const struct dn_cost *cost = &summary->cost;

	dn_json_key(json, "self");
	dn_json_object(json);
	dn_json_put_u64(json, "cpu_ns", summary->self_cpu_ns);
	put_known(json, "max_rss_bytes", summary->self_max_rss_bytes, summary->self_max_rss_bytes);
	put_known(json, "bpf_ns", cost->has_bpf_ns, cost->bpf_ns);
	put_known(json, "bpf_runs", cost->has_bpf_ns, cost->bpf_runs);
	put_known(json, "bpf_programs", cost->has_bpf, cost->bpf_programs);
	put_known(json, "bpf_maps", cost->has_bpf, cost->bpf_maps);
	put_known(json, "bpf_map_bytes", cost->has_bpf, cost->bpf_map_bytes);
	put_known(json, "load_ns", cost->has_bpf, cost->load_ns);
	put_known(json, "attach_ns", cost->has_bpf, cost->attach_ns);
	if (cost->has_bpf_ns)
		put_programs(json, cost);
	dn_json_object_end(json);
}

static int summary_record(
	struct dn_sink *sink, const struct dn_run *run, const struct dn_summary *summary)
{
	struct jsonl *self = self_of(sink);
	struct dn_json *json = &self->json;

	begin(json, "summary");
	dn_json_put_u64(json, "seq", summary->frame.seq);
	dn_json_put_u64(json, "t_ns", summary->t_ns);
	dn_json_put_u64(json, "wall_ns", summary->wall_ns);
	dn_json_put_string(json, "ended_by", summary->ended_by);
	put_exit(json, summary);
	dn_json_put_u64(json, "descendants_left", summary->descendants_left);
	put_frame(self, &summary->frame, true);
	put_commands(json, summary);
	dn_json_key(json, "processes");
	dn_json_array(json);
	for (unsigned i = 0; i < summary->n_processes; i++)
		put_process(self, summary->process[i], true);
	dn_json_array_end(json);
	dn_json_put_metric_states(json, run, true);
	dn_json_key(json, "lost");
	dn_json_object(json);
	dn_json_put_u64(json, "events", summary->lost_events);
	dn_json_put_u64(json, "samples", summary->lost_samples);
	if (summary->cost.has_records) {
		dn_json_put_u64(json, "produced", summary->cost.records_produced);
		dn_json_put_u64(json, "received", summary->cost.records_received);
	}
	dn_json_object_end(json);
	put_self(json, summary);
	return end(self);
}

static void close_sink(struct dn_sink *sink)
{
	struct jsonl *self = self_of(sink);

	if (!self)
		return;
	dn_json_finish(&self->json);
	dn_json_layout_finish(&self->tree);
	dn_json_layout_finish(&self->system);
	dn_json_layout_finish(&self->process);
	dn_json_layout_finish(&self->whole_tree);
	dn_json_layout_finish(&self->whole_system);
	free(self);
}

int dn_sink_jsonl_new(struct dn_output *output, bool process_events, struct dn_sink **ret)
{
	static const struct dn_sink_ops ops = {
		.name = "jsonl",
		.header = header,
		.sample = sample,
		.event = event,
		.summary = summary_record,
		.close = close_sink,
	};
	struct jsonl *self = calloc(1, sizeof(*self));

	if (!self)
		return -ENOMEM;
	self->sink.ops = &ops;
	self->output = output;
	self->process_events = process_events;
	dn_json_init(&self->json);
	*ret = &self->sink;
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What is known before anything is measured, as JSON. */
#include <limits.h>
#include <stdio.h>

#include "json-facts.h"

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

/* A number that is unknown below 0. */
static void put_known(struct dn_json *json, const char *key, int64_t value)
{
	if (value < 0)
		put_key_null(json, key);
	else
		put_i64(json, key, value);
}

/* A text that is unknown when empty. */
static void put_word(struct dn_json *json, const char *key, const char *text)
{
	dn_json_put_string(json, key, text && *text ? text : NULL);
}

static void put_optional(struct dn_json *json, const char *key, const char *text)
{
	if (text)
		dn_json_put_string(json, key, text);
}

static void put_cgroup(struct dn_json *json, const struct dn_cgroup_facts *cgroup)
{
	dn_json_key(json, "cgroup");
	dn_json_object(json);
	put_known(json, "version", cgroup->version > 0 ? cgroup->version : -1);
	put_word(json, "path", cgroup->path);
	/* No limit and no knowledge of one are both null: either way there is no number. */
	if (cgroup->has_memory_max && cgroup->memory_max_bytes != UINT64_MAX)
		dn_json_put_u64(json, "memory_max_bytes", cgroup->memory_max_bytes);
	else
		put_key_null(json, "memory_max_bytes");
	if (cgroup->has_cpu_quota && cgroup->cpu_quota_ratio >= 0)
		dn_json_put_f64(json, "cpu_quota_ratio", cgroup->cpu_quota_ratio);
	else
		put_key_null(json, "cpu_quota_ratio");
	if (cgroup->has_pids_max && cgroup->pids_max != UINT64_MAX)
		dn_json_put_u64(json, "pids_max", cgroup->pids_max);
	else
		put_key_null(json, "pids_max");
	dn_json_object_end(json);
}

void dn_json_put_host(struct dn_json *json, const struct dn_machine *machine)
{
	dn_json_key(json, "host");
	dn_json_object(json);
	put_word(json, "hostname", machine->hostname);
	put_word(json, "kernel", machine->kernel);
	put_word(json, "arch", machine->arch);
	put_word(json, "cpu_model", machine->cpu_model);
	put_known(json, "cpus_online", machine->cpus_online > 0 ? machine->cpus_online : -1);
	put_word(json, "affinity", machine->affinity);
	if (machine->memory_bytes)
		dn_json_put_u64(json, "memory_bytes", machine->memory_bytes);
	else
		put_key_null(json, "memory_bytes");
	put_known(json, "numa_nodes", machine->numa_nodes);
	dn_json_key(json, "smt");
	if (machine->smt < 0)
		dn_json_null(json);
	else
		dn_json_bool(json, machine->smt);
	put_word(json, "governor", machine->governor);
	put_word(json, "thp", machine->thp);
	put_word(json, "virtualization", machine->virtualization);
	put_word(json, "container", machine->container);
	put_cgroup(json, &machine->cgroup);
	dn_json_object_end(json);
}

void dn_json_put_privileges(struct dn_json *json, const struct dn_machine *machine)
{
	char unnamed[16];

	dn_json_key(json, "privileges");
	dn_json_object(json);
	dn_json_put_u64(json, "euid", machine->euid);
	dn_json_key(json, "capabilities");
	dn_json_array(json);
	for (unsigned i = 0; i < 64; i++) {
		const char *name = dn_capability_name(i);

		if (!(machine->capabilities >> i & 1))
			continue;
		snprintf(unnamed, sizeof(unnamed), "cap_%u", i);
		dn_json_string(json, name ? name : unnamed);
	}
	dn_json_array_end(json);
	if (machine->perf_event_paranoid == INT_MIN)
		put_key_null(json, "perf_event_paranoid");
	else
		put_i64(json, "perf_event_paranoid", machine->perf_event_paranoid);
	put_known(json, "unprivileged_bpf_disabled", machine->unprivileged_bpf_disabled);
	dn_json_put_bool(json, "btf", machine->btf);
	put_word(json, "lockdown", machine->lockdown);
	dn_json_put_bool(json, "no_new_privs", machine->no_new_privs);
	put_known(json, "seccomp", machine->seccomp);
	put_known(json, "yama_ptrace_scope", machine->yama_ptrace_scope);
	dn_json_object_end(json);
}

void dn_json_put_backends(struct dn_json *json, const struct dn_run *run)
{
	dn_json_key(json, "backends");
	dn_json_array(json);
	for (unsigned i = 0; i < run->n_backends; i++) {
		const struct dn_backend_state *backend = &run->backend[i];
		const char *state = backend->active ? "active" : "idle";

		dn_json_object(json);
		dn_json_put_string(json, "name", backend->name);
		dn_json_put_string(json, "state",
			backend->fact == DN_FACT_OK ? state : dn_fact_name(backend->fact));
		put_optional(json, "reason", backend->reason);
		put_optional(json, "hint", backend->hint);
		dn_json_object_end(json);
	}
	dn_json_array_end(json);
}

void dn_json_put_metric_states(struct dn_json *json, const struct dn_run *run, bool changed_only)
{
	dn_json_key(json, "metrics");
	dn_json_object(json);
	for (unsigned id = 0; id < dn_metric_count(); id++) {
		const struct dn_metric_state *state = &run->metric[id];

		if (!state->wanted || (changed_only && !state->changed))
			continue;
		dn_json_key(json, dn_metric_info(id)->name);
		dn_json_object(json);
		dn_json_put_string(json, "source",
			state->quality == DN_QUALITY_MISSING ? NULL : state->source);
		dn_json_put_string(json, "quality", dn_quality_name(state->quality));
		put_optional(json, "reason", state->reason);
		put_optional(json, "hint", state->hint);
		dn_json_object_end(json);
	}
	dn_json_object_end(json);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What is known before anything is measured, and parts that documents share, as JSON. */
#include <limits.h>
#include <stdio.h>
#include <string.h>

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
		enum dn_metric_kind kind = dn_metric_info(id)->kind;

		if (!state->wanted || (changed_only && !state->changed))
			continue;
		dn_json_key(json, dn_metric_info(id)->name);
		dn_json_object(json);
		dn_json_put_string(json, "source",
			state->quality == DN_QUALITY_MISSING ? NULL : state->source);
		dn_json_put_string(json, "quality", dn_quality_name(state->quality));
		put_optional(json, "reason", state->reason);
		put_optional(json, "hint", state->hint);
		/* A reader that does not know the metric must not take what is in it for others. */
		if (kind == DN_KIND_HISTOGRAM || kind == DN_KIND_TABLE)
			dn_json_put_string(json, "kind", dn_kind_name(kind));
		dn_json_object_end(json);
	}
	dn_json_object_end(json);
}

/* RFC 3339 by hand: gmtime_r() would read the time zone files. */
void dn_json_put_time(struct dn_json *json, const char *key, const struct timespec *time)
{
	int64_t days = time->tv_sec / 86400, seconds = time->tv_sec % 86400;
	int64_t era, year;
	unsigned of_era, of_year, month, year_of_era;
	char text[64];

	if (seconds < 0) {
		seconds += 86400;
		days--;
	}
	/* Days from 0000-03-01, in eras of 400 years: leap days come last and need no cases. */
	days += 719468;
	era = (days >= 0 ? days : days - 146096) / 146097;
	of_era = (unsigned)(days - era * 146097);
	year_of_era = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
	of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
	month = (5 * of_year + 2) / 153;
	year = era * 400 + year_of_era + (month >= 10);
	snprintf(text, sizeof(text), "%04lld-%02u-%02uT%02u:%02u:%02u.%06uZ", (long long)year,
		month < 10 ? month + 3 : month - 9, of_year - (153 * month + 2) / 5 + 1,
		(unsigned)(seconds / 3600), (unsigned)(seconds / 60 % 60), (unsigned)(seconds % 60),
		(unsigned)(time->tv_nsec / 1000));
	dn_json_put_string(json, key, text);
}

/* The raw bytes in hex beside a name that the stream can't hold as it is. */
void dn_json_put_name(struct dn_json *json, const char *name)
{
	static const char digits[] = "0123456789abcdef";
	char hex[2 * DN_PROCESS_NAME_MAX];
	size_t len = strnlen(name, DN_PROCESS_NAME_MAX);

	dn_json_key_n(json, "name", 4);
	dn_json_string_n(json, name, len);
	if (dn_utf8_valid(name, len))
		return;
	for (size_t i = 0; i < len; i++) {
		hex[2 * i] = digits[(unsigned char)name[i] >> 4];
		hex[2 * i + 1] = digits[(unsigned char)name[i] & 15];
	}
	dn_json_key(json, "name_hex");
	dn_json_string_n(json, hex, 2 * len);
}

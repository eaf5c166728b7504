/* SPDX-License-Identifier: Apache-2.0 */
/* The list as one JSON object: docs/bpf.md says what each member means. */
#include <stdio.h>
#include <string.h>

#include "bpf-list.h"
#include "json-facts.h"

static void put_null(struct dn_json *json, const char *key)
{
	dn_json_key(json, key);
	dn_json_null(json);
}

static void put_known(struct dn_json *json, const char *key, bool known, uint64_t value)
{
	if (known)
		dn_json_put_u64(json, key, value);
	else
		put_null(json, key);
}

static void put_type(struct dn_json *json, enum dn_bpf_kind kind, uint32_t type)
{
	char buffer[DN_BPF_TYPE_NAME_MAX];

	dn_json_put_string(json, "type", dn_bpf_type_name(kind, type, buffer));
}

static void put_owners(struct dn_json *json, const struct dn_bpf_owners *owners,
	enum dn_bpf_kind kind, uint32_t id)
{
	static const char *const by[] = {[DN_BPF_BY_ITSELF] = "itself",
		[DN_BPF_BY_LINK] = "link",
		[DN_BPF_BY_PROG] = "program"};
	unsigned n;
	const struct dn_bpf_hold *hold = dn_bpf_owners_of(owners, kind, id, &n);

	dn_json_key(json, "owners");
	dn_json_array(json);
	for (unsigned i = 0; i < n; i++) {
		const struct dn_bpf_holder *holder = &owners->holder[hold[i].holder];

		if (!holder->pid)
			continue;
		dn_json_object(json);
		dn_json_put_u64(json, "pid", (uint64_t)holder->pid);
		dn_json_put_name(json, holder->name);
		dn_json_put_string(json, "by", by[hold[i].by]);
		dn_json_object_end(json);
	}
	dn_json_array_end(json);
	dn_json_key(json, "pinned");
	dn_json_array(json);
	for (unsigned i = 0; i < n; i++) {
		const struct dn_bpf_holder *holder = &owners->holder[hold[i].holder];

		if (holder->pid)
			continue;
		dn_json_object(json);
		dn_json_put_string(json, "path", holder->path);
		dn_json_put_string(json, "by", by[hold[i].by]);
		dn_json_object_end(json);
	}
	dn_json_array_end(json);
}

static void put_target(struct dn_json *json, const struct dn_bpf_link *link)
{
	const char *attach = dn_bpf_attach_name(link->attach_type);

	if (attach || link->attach_type < 0) {
		dn_json_put_string(json, "attach_type", attach);
	} else {
		char text[32];

		snprintf(text, sizeof(text), "type %d", link->attach_type);
		dn_json_put_string(json, "attach_type", text);
	}
	dn_json_put_string(json, "target", link->target[0] ? link->target : NULL);
}

static void put_runs(struct dn_json *json, bool known, uint64_t ns, uint64_t runs, bool has_misses,
	uint64_t misses)
{
	put_known(json, "run_ns", known, ns);
	put_known(json, "runs", known, runs);
	put_known(json, "recursion_misses", has_misses, misses);
}

static void put_prog(struct dn_json *json, const struct dn_bpf_list *list,
	const struct dn_bpf_owners *owners, const struct dn_bpf_prog_entry *entry)
{
	const struct dn_bpf_prog *prog = &entry->info;
	const struct dn_bpf_link *link;
	char tag[2 * sizeof(prog->tag) + 1];

	for (unsigned i = 0; i < sizeof(prog->tag); i++)
		snprintf(tag + 2 * i, 3, "%02x", prog->tag[i]);
	dn_json_object(json);
	dn_json_put_u64(json, "id", prog->id);
	put_type(json, DN_BPF_PROG, prog->type);
	dn_json_put_string(json, "name", prog->name);
	dn_json_put_string(json, "tag", tag);
	dn_json_put_u64(json, "loaded_ns", prog->loaded_ns);
	dn_json_put_u64(json, "loaded_uid", prog->loaded_uid);
	dn_json_put_u64(json, "translated_bytes", prog->xlated_bytes);
	dn_json_put_u64(json, "jited_bytes", prog->jited_bytes);
	put_known(json, "memory_bytes", entry->has_memory, entry->memory_bytes);
	put_known(json, "verified_instructions", prog->has_verified, prog->verified_insns);
	put_runs(json, dn_bpf_has_runs(list, entry), prog->run_ns, prog->runs, prog->has_misses,
		prog->misses);
	if (entry->has_interval) {
		dn_json_key(json, "interval");
		dn_json_object(json);
		put_runs(json, true, entry->interval_ns, entry->interval_runs, prog->has_misses,
			entry->interval_misses);
		dn_json_object_end(json);
	}
	dn_json_key(json, "map_ids");
	dn_json_array(json);
	for (unsigned i = 0; i < prog->n_maps && i < DN_BPF_MAPS_MAX; i++)
		dn_json_u64(json, prog->map_id[i]);
	dn_json_array_end(json);
	dn_json_key(json, "attached");
	dn_json_array(json);
	for (unsigned i = 0; (link = dn_bpf_list_link_of(list, prog->id, i)); i++) {
		dn_json_object(json);
		dn_json_put_u64(json, "link_id", link->id);
		put_type(json, DN_BPF_LINK, link->type);
		put_target(json, link);
		dn_json_object_end(json);
	}
	dn_json_array_end(json);
	put_owners(json, owners, DN_BPF_PROG, prog->id);
	dn_json_object_end(json);
}

static void put_map(struct dn_json *json, const struct dn_bpf_owners *owners,
	const struct dn_bpf_map_entry *entry)
{
	const struct dn_bpf_map *map = &entry->info;

	dn_json_object(json);
	dn_json_put_u64(json, "id", map->id);
	put_type(json, DN_BPF_MAP, map->type);
	dn_json_put_string(json, "name", map->name);
	dn_json_put_u64(json, "key_bytes", map->key_bytes);
	dn_json_put_u64(json, "value_bytes", map->value_bytes);
	dn_json_put_u64(json, "max_entries", map->max_entries);
	dn_json_put_u64(json, "flags", map->flags);
	put_known(json, "memory_bytes", entry->has_memory, entry->memory_bytes);
	if (entry->has_frozen)
		dn_json_put_bool(json, "frozen", entry->frozen);
	else
		put_null(json, "frozen");
	put_owners(json, owners, DN_BPF_MAP, map->id);
	dn_json_object_end(json);
}

static void put_link(
	struct dn_json *json, const struct dn_bpf_owners *owners, const struct dn_bpf_link *link)
{
	dn_json_object(json);
	dn_json_put_u64(json, "id", link->id);
	put_type(json, DN_BPF_LINK, link->type);
	put_target(json, link);
	put_known(json, "prog_id", link->prog_id != 0, link->prog_id);
	put_owners(json, owners, DN_BPF_LINK, link->id);
	dn_json_object_end(json);
}

static void put_totals(struct dn_json *json, const struct dn_bpf_list *list)
{
	struct dn_bpf_totals totals;

	dn_bpf_list_totals(list, &totals);
	dn_json_key(json, "totals");
	dn_json_object(json);
	dn_json_put_u64(json, "programs", list->n[DN_BPF_PROG]);
	dn_json_put_u64(json, "maps", list->n[DN_BPF_MAP]);
	put_known(json, "links", !list->no_links, list->n[DN_BPF_LINK]);
	dn_json_put_u64(json, "program_bytes", totals.prog_bytes);
	dn_json_put_u64(json, "map_bytes", totals.map_bytes);
	put_known(json, "run_ns", totals.has_runs, totals.run_ns);
	put_known(json, "runs", totals.has_runs, totals.runs);
	if (list->interval_ns) {
		dn_json_key(json, "interval");
		dn_json_object(json);
		dn_json_put_u64(json, "run_ns", totals.interval_ns);
		dn_json_put_u64(json, "runs", totals.interval_runs);
		dn_json_put_u64(json, "programs_gone", list->gone);
		dn_json_object_end(json);
	}
	dn_json_put_u64(json, "unreadable",
		(uint64_t)list->unread[DN_BPF_PROG] + list->unread[DN_BPF_MAP] +
			list->unread[DN_BPF_LINK]);
	dn_json_put_bool(json, "complete",
		!list->cut[DN_BPF_PROG] && !list->cut[DN_BPF_MAP] && !list->cut[DN_BPF_LINK]);
	dn_json_object_end(json);
}

static void put_search(struct dn_json *json, const struct dn_bpf_owners *owners)
{
	dn_json_key(json, "search");
	dn_json_object(json);
	dn_json_put_u64(json, "processes", owners->processes);
	dn_json_put_u64(json, "processes_denied", owners->denied);
	dn_json_put_bool(json, "all_namespaces", !owners->outside);
	dn_json_put_bool(json, "complete", dn_bpf_owners_complete(owners));
	dn_json_object_end(json);
}

void dn_bpf_write_json(
	struct dn_json *json, const struct dn_bpf_list *list, const struct dn_bpf_owners *owners)
{
	dn_json_object(json);
	dn_json_put_string(json, "kind", "bpf");
	dn_json_put_string(json, "denet", DENET_VERSION);
	dn_json_put_time(json, "time", &list->time);
	put_known(json, "interval_ns", list->interval_ns != 0, list->interval_ns);
	if (list->stats_on < 0) {
		put_null(json, "statistics_setting");
	} else {
		dn_json_put_bool(json, "statistics_setting", list->stats_on);
	}
	put_totals(json, list);
	put_search(json, owners);
	dn_json_key(json, "programs");
	dn_json_array(json);
	for (unsigned i = 0; i < list->n[DN_BPF_PROG]; i++)
		put_prog(json, list, owners, &list->prog[i]);
	dn_json_array_end(json);
	dn_json_key(json, "maps");
	dn_json_array(json);
	for (unsigned i = 0; i < list->n[DN_BPF_MAP]; i++)
		put_map(json, owners, &list->map[i]);
	dn_json_array_end(json);
	dn_json_key(json, "links");
	if (list->no_links) {
		dn_json_null(json);
	} else {
		dn_json_array(json);
		for (unsigned i = 0; i < list->n[DN_BPF_LINK]; i++)
			put_link(json, owners, &list->link[i]);
		dn_json_array_end(json);
	}
	dn_json_object_end(json);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What was loaded, by name; and what is set before loading. */
#include <stdio.h>
#include <string.h>

#include <bpf/btf.h>
#include <bpf/libbpf.h>

#include "object.h"

/* Questions */

struct bpf_object *dn_ebpf_object(const struct dn_ebpf_objects *objects, const char *name)
{
	for (unsigned i = 0; i < objects->n_objects; i++) {
		if (strcmp(objects->object[i].image->name, name) == 0)
			return objects->object[i].object;
	}
	return NULL;
}

const struct dn_ebpf_program *dn_ebpf_program(
	const struct dn_ebpf_objects *objects, const char *name)
{
	for (unsigned i = 0; i < objects->n_programs; i++) {
		if (strcmp(objects->program[i].name, name) == 0)
			return &objects->program[i];
	}
	return NULL;
}

/*
 * Of a program that is loaded later. An iterator is there if the struct that its programs are given
 * is; where its function lies is not looked for before the command runs.
 */
static bool will_attach(
	const struct dn_ebpf_objects *objects, const struct dn_ebpf_program *program)
{
	static const char iterator[] = "bpf_iter_";
	const size_t len = sizeof(iterator) - 1;
	char context[128];

	if (!program->target)
		return true;
	if (strncmp(program->target, iterator, len) != 0)
		return dn_ebpf_btf_id(objects->btf, program->target) != 0;
	snprintf(context, sizeof(context), "%s_%s", iterator, program->target + len);
	return dn_ebpf_btf_has_struct(objects->btf, context);
}

bool dn_ebpf_is_attached(const struct dn_ebpf_objects *objects, const char *name)
{
	const struct dn_ebpf_program *program = dn_ebpf_program(objects, name);

	if (program && objects->object[program->object].opened)
		return will_attach(objects, program);
	return program && program->link >= 0;
}

int dn_ebpf_map(const struct dn_ebpf_objects *objects, const char *object, const char *map)
{
	struct bpf_object *found = dn_ebpf_object(objects, object);

	return found ? bpf_object__find_map_fd_by_name(found, map) : -1;
}

/* Before loading */

void dn_ebpf_leave_out(struct bpf_object *object, const char *program)
{
	struct bpf_program *found = bpf_object__find_program_by_name(object, program);

	if (found)
		bpf_program__set_autoload(found, false);
}

bool dn_ebpf_set(struct bpf_object *object, const char *name, const void *value, size_t size)
{
	struct bpf_map *map = bpf_object__find_map_by_name(object, ".rodata");
	const struct btf *btf = bpf_object__btf(object);
	int section = btf ? btf__find_by_name_kind(btf, ".rodata", BTF_KIND_DATASEC) : -1;
	const struct btf_type *type = section > 0 ? btf__type_by_id(btf, (uint32_t)section) : NULL;
	size_t room = 0;
	char *data = map ? (char *)bpf_map__initial_value(map, &room) : NULL;

	for (unsigned i = 0; data && type && i < btf_vlen(type); i++) {
		const struct btf_var_secinfo *at = &btf_var_secinfos(type)[i];
		const struct btf_type *var = btf__type_by_id(btf, at->type);

		if (strcmp(btf__name_by_offset(btf, var->name_off), name) != 0)
			continue;
		if (at->size != size || at->offset > room || size > room - at->offset)
			return false;
		memcpy(data + at->offset, value, size);
		return true;
	}
	return false;
}

void dn_ebpf_resize(struct bpf_object *object, const char *map, uint32_t entries)
{
	struct bpf_map *found = bpf_object__find_map_by_name(object, map);

	if (found)
		(void)bpf_map__set_max_entries(found, entries);
}

void dn_ebpf_shrink_maps(struct bpf_object *object, const char *maps)
{
	while (maps && *maps) {
		size_t len = strcspn(maps, " ");
		struct bpf_map *found;
		char name[64];

		snprintf(name, sizeof(name), "%.*s", (int)len, maps);
		found = bpf_object__find_map_by_name(object, name);
		if (found)
			(void)bpf_map__set_max_entries(found, 1);
		maps += len + (maps[len] == ' ');
	}
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <denet/fs.h>

#include "object-internal.h"

/* Sections */

const struct dn_ebpf_target_kind dn_ebpf_target_kinds[DN_EBPF_TARGET_N] = {
	[DN_EBPF_TARGET_TRACEPOINT] = {"dn_tp", BPF_TRACE_RAW_TP},
	[DN_EBPF_TARGET_ITER] = {"dn_iter", BPF_TRACE_ITER},
	[DN_EBPF_TARGET_FENTRY] = {"dn_fentry", BPF_TRACE_FENTRY},
	[DN_EBPF_TARGET_FEXIT] = {"dn_fexit", BPF_TRACE_FEXIT},
};

bool dn_ebpf_target_of(const struct bpf_program *program, enum dn_ebpf_target *ret_kind, char *name,
	size_t size, const char **ret_target)
{
	const char *section = bpf_program__section_name(program), *slash = strchr(section, '/');

	for (unsigned i = 0; slash && i < DN_EBPF_TARGET_N; i++) {
		size_t len = strlen(dn_ebpf_target_kinds[i].section);

		if ((size_t)(slash - section) != len ||
			memcmp(section, dn_ebpf_target_kinds[i].section, len) != 0)
			continue;
		/* "dn_iter/bpf_map_elem/MAP": of one map. */
		snprintf(name, size, "%s%.*s",
			i == DN_EBPF_TARGET_TRACEPOINT ? "btf_trace_"
			: i == DN_EBPF_TARGET_ITER     ? "bpf_iter_"
						       : "",
			(int)strcspn(slash + 1, "/"), slash + 1);
		*ret_kind = (enum dn_ebpf_target)i;
		*ret_target = slash + 1;
		return true;
	}
	return false;
}

/* Opening */

void dn_ebpf_objects_init(struct dn_ebpf_objects *objects)
{
	memset(objects, 0, sizeof(*objects));
	objects->core_btf = -1;
	for (unsigned i = 0; i < DN_EBPF_SHARED_MAX; i++)
		objects->shared[i] = -1;
}

const struct dn_ebpf_image *dn_ebpf_find_image(const char *name, bool hash)
{
	for (unsigned i = 0; i < dn_n_ebpf_images; i++) {
		if (strcmp(dn_ebpf_images[i].name, name) == 0 && dn_ebpf_images[i].hash == hash)
			return &dn_ebpf_images[i];
	}
	return NULL;
}

int dn_ebpf_objects_add(struct dn_ebpf_objects *objects, const char *name)
{
	const struct dn_ebpf_image *image = dn_ebpf_find_image(name, false);

	if (!image || objects->n_objects == DN_EBPF_OBJECTS_MAX)
		return -ENOENT;
	for (unsigned i = 0; i < objects->n_objects; i++) {
		if (objects->object[i].image == image)
			return 0;
	}
	objects->object[objects->n_objects++].image = image;
	return 0;
}

int dn_ebpf_objects_add_late(struct dn_ebpf_objects *objects, const char *name)
{
	unsigned before = objects->n_objects;
	int r = dn_ebpf_objects_add(objects, name);

	if (r == 0 && objects->n_objects > before)
		objects->object[before].late = true;
	return r;
}

struct dn_ebpf_program *dn_ebpf_program_entry(struct dn_ebpf_objects *objects, const char *name)
{
	return (struct dn_ebpf_program *)dn_ebpf_program(objects, name);
}

struct bpf_object *dn_ebpf_open_object(struct dn_ebpf_objects *objects, unsigned index)
{
	const struct dn_ebpf_image *image = objects->object[index].image;
	LIBBPF_OPTS(bpf_object_open_opts, opts, .object_name = image->name,
		.btf_custom_path = objects->core_btf_path);
	struct bpf_object *object = bpf_object__open_mem(image->data, image->size, &opts);
	struct bpf_program *program;

	if (!object)
		objects->object[index].error = -errno;
	/* The programs are known by the names of their functions; the first opening enters them. */
	bpf_object__for_each_program(program, object)
	{
		const char *name = bpf_program__name(program);

		if (!dn_ebpf_program_entry(objects, name) &&
			objects->n_programs < DN_EBPF_PROGRAMS_MAX)
			objects->program[objects->n_programs++] = (struct dn_ebpf_program){
				.name = strdup(name), .object = index, .fd = -1, .link = -1};
	}
	return object;
}

/* Attaching */

static int attach_iterator(
	const struct dn_ebpf_program *entry, struct bpf_object *object, const char *target)
{
	const char *map = strchr(target, '/');
	union bpf_iter_link_info info = {0};
	LIBBPF_OPTS(bpf_link_create_opts, opts);

	if (map) {
		int fd = bpf_object__find_map_fd_by_name(object, map + 1);

		if (fd < 0)
			return fd;
		info.map.map_fd = (uint32_t)fd;
		opts.iter_info = &info;
		opts.iter_info_len = sizeof(info);
	}
	return bpf_link_create(entry->fd, 0, BPF_TRACE_ITER, &opts);
}

static int attach_program(
	struct dn_ebpf_program *entry, struct bpf_object *object, const struct bpf_program *program)
{
	enum dn_ebpf_target kind;
	const char *target;
	char name[128];
	int r;

	if (!dn_ebpf_target_of(program, &kind, name, sizeof(name), &target)) {
		target = strchr(bpf_program__section_name(program), '/');
		if (bpf_program__type(program) != BPF_PROG_TYPE_RAW_TRACEPOINT || !target)
			return 0; /* attached, or run, by its group */
		snprintf(name, sizeof(name), "btf_trace_%s", target + 1); /* as of the others */
		entry->target = strdup(name);
		r = bpf_raw_tracepoint_open(target + 1, entry->fd);
		entry->absent = r == -ENOENT;
		entry->link = r;
		return r < 0 ? r : 0;
	}
	if (kind == DN_EBPF_TARGET_ITER)
		r = attach_iterator(entry, object, target);
	else
		r = bpf_raw_tracepoint_open(NULL, entry->fd);
	if (r >= 0)
		entry->link = r;
	return r < 0 ? r : 0;
}

void dn_ebpf_attach_object(struct dn_ebpf_objects *objects, struct bpf_object *object)
{
	struct bpf_program *program;

	if (!object)
		return;
	bpf_object__for_each_program(program, object)
	{
		struct dn_ebpf_program *entry =
			dn_ebpf_program_entry(objects, bpf_program__name(program));

		if (!entry || !bpf_program__autoload(program))
			continue;
		entry->fd = bpf_program__fd(program);
		entry->error = attach_program(entry, object, program);
	}
}

bool dn_ebpf_objects_pending(const struct dn_ebpf_objects *objects)
{
	for (unsigned i = 0; i < objects->n_objects; i++) {
		if (objects->object[i].opened)
			return true;
	}
	return false;
}

void dn_ebpf_objects_attach(struct dn_ebpf_objects *objects)
{
	uint64_t begun_ns = dn_now_ns();

	/* The process table last: at an exit the others have their say before it is told. */
	for (unsigned i = objects->n_objects; i-- > 0;)
		dn_ebpf_attach_object(objects, objects->object[i].object);
	objects->attach_ns = dn_now_ns() - begun_ns;
}

/* Closing */

void dn_ebpf_forget_programs(struct dn_ebpf_objects *objects)
{
	for (unsigned i = 0; i < objects->n_programs; i++) {
		free((char *)objects->program[i].name);
		free((char *)objects->program[i].target);
	}
	objects->n_programs = 0;
}

void dn_ebpf_close_opened(struct dn_ebpf_objects *objects)
{
	for (unsigned i = 0; i < objects->n_objects; i++) {
		bpf_object__close(objects->object[i].opened);
		objects->object[i].opened = NULL;
	}
}

void dn_ebpf_objects_close(struct dn_ebpf_objects *objects)
{
	for (unsigned i = 0; i < objects->n_programs; i++) {
		if (objects->program[i].link >= 0)
			close(objects->program[i].link);
	}
	dn_ebpf_close_opened(objects);
	for (unsigned i = 0; i < objects->n_objects; i++)
		bpf_object__close(objects->object[i].object);
	for (unsigned i = 0; i < DN_EBPF_SHARED_MAX; i++) {
		if (objects->shared[i] >= 0)
			close(objects->shared[i]);
	}
	if (objects->core_btf >= 0)
		close(objects->core_btf);
	dn_ebpf_btf_free(objects->btf);
	dn_ebpf_forget_programs(objects);
	dn_ebpf_objects_init(objects);
}

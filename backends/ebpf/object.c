/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>

#include <denet/fs.h>

#include "object.h"

/* Made by the first object that has them, used by all. */
static const char *const shared_maps[DN_EBPF_SHARED_MAX] = {"dn_tasks", "dn_control", "dn_losses",
	"dn_totals", "dn_ring", "dn_processes", "dn_sockets", "dn_network", "dn_network_times",
	"dn_socket_owners"};

/* libbpf's hooks have no argument of ours: there is one thread, and one load at a time. */
static struct dn_ebpf_objects *loading;

/* "prog 'NAME': BPF program load failed: ...": the one that the kernel refused. */
static void note_refused(struct dn_ebpf_objects *objects, const char *text)
{
	static const char begin[] = "prog '", end[] = "': BPF program load failed";
	const char *at = strstr(text, end), *name = at ? strstr(text, begin) : NULL;

	if (!name || name > at)
		return;
	name += sizeof(begin) - 1;
	snprintf(objects->refused, sizeof(objects->refused), "%.*s", (int)(at - name), name);
}

/* Of each message the end, which has the verifier's verdict. */
static int keep_log(enum libbpf_print_level level, const char *format, va_list args)
{
	const size_t most = sizeof(loading->log) / 2;
	char *text;
	size_t n, from;

	if (!loading || level > LIBBPF_WARN || vasprintf(&text, format, args) < 0)
		return 0;
	note_refused(loading, text);
	n = strlen(text);
	from = n > most ? n - most : 0;
	if (loading->log_len + (n - from) >= sizeof(loading->log))
		loading->log_len = 0; /* the last words count */
	memcpy(loading->log + loading->log_len, text + from, n - from + 1);
	loading->log_len += n - from;
	free(text);
	return 0;
}

/* Sections */

enum target_kind { TARGET_TRACEPOINT, TARGET_ITER, TARGET_FENTRY, TARGET_FEXIT, TARGET_N };

static const struct {
	const char *section;
	enum bpf_attach_type attach;
} kinds[TARGET_N] = {
	[TARGET_TRACEPOINT] = {"dn_tp", BPF_TRACE_RAW_TP},
	[TARGET_ITER] = {"dn_iter", BPF_TRACE_ITER},
	[TARGET_FENTRY] = {"dn_fentry", BPF_TRACE_FENTRY},
	[TARGET_FEXIT] = {"dn_fexit", BPF_TRACE_FEXIT},
};

/* The kernel's name of the type to attach to; false for a section that is not ours. */
static bool target_of(const struct bpf_program *program, enum target_kind *ret_kind, char *name,
	size_t size, const char **ret_target)
{
	const char *section = bpf_program__section_name(program), *slash = strchr(section, '/');

	for (unsigned i = 0; slash && i < TARGET_N; i++) {
		size_t len = strlen(kinds[i].section);

		if ((size_t)(slash - section) != len || memcmp(section, kinds[i].section, len) != 0)
			continue;
		/* "dn_iter/bpf_map_elem/MAP": of one map. */
		snprintf(name, size, "%s%.*s",
			i == TARGET_TRACEPOINT ? "btf_trace_"
			: i == TARGET_ITER     ? "bpf_iter_"
					       : "",
			(int)strcspn(slash + 1, "/"), slash + 1);
		*ret_kind = (enum target_kind)i;
		*ret_target = slash + 1;
		return true;
	}
	return false;
}

/*
 * libbpf would parse the whole BTF to find the target. The program is of another type until here,
 * and the target's id is known already.
 */
static int prepare_load(struct bpf_program *program, struct bpf_prog_load_opts *opts, long cookie)
{
	enum target_kind kind;
	const char *target;
	char name[128];

	if (!loading || !target_of(program, &kind, name, sizeof(name), &target))
		return -EINVAL;
	opts->attach_btf_id = dn_ebpf_btf_id(loading->btf, name);
	opts->expected_attach_type = kinds[kind].attach;
	return bpf_program__set_type(program, BPF_PROG_TYPE_TRACING);
}

static int register_sections(void)
{
	static bool done;
	LIBBPF_OPTS(libbpf_prog_handler_opts, opts, .prog_prepare_load_fn = prepare_load);

	for (unsigned i = 0; i < TARGET_N && !done; i++) {
		char section[32];
		int r;

		snprintf(section, sizeof(section), "%s+", kinds[i].section);
		r = libbpf_register_prog_handler(
			section, BPF_PROG_TYPE_RAW_TRACEPOINT, kinds[i].attach, &opts);
		if (r < 0)
			return r;
	}
	done = true;
	return 0;
}

/* Opening */

void dn_ebpf_objects_init(struct dn_ebpf_objects *objects)
{
	memset(objects, 0, sizeof(*objects));
	objects->core_btf = -1;
	for (unsigned i = 0; i < DN_EBPF_SHARED_MAX; i++)
		objects->shared[i] = -1;
}

static const struct dn_ebpf_image *find_image(const char *name, bool hash)
{
	for (unsigned i = 0; i < dn_n_ebpf_images; i++) {
		if (strcmp(dn_ebpf_images[i].name, name) == 0 && dn_ebpf_images[i].hash == hash)
			return &dn_ebpf_images[i];
	}
	return NULL;
}

int dn_ebpf_objects_add(struct dn_ebpf_objects *objects, const char *name)
{
	const struct dn_ebpf_image *image = find_image(name, false);

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

static struct dn_ebpf_program *program_by_name(struct dn_ebpf_objects *objects, const char *name)
{
	return (struct dn_ebpf_program *)dn_ebpf_program(objects, name);
}

static struct bpf_object *open_object(struct dn_ebpf_objects *objects, unsigned index)
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

		if (!program_by_name(objects, name) && objects->n_programs < DN_EBPF_PROGRAMS_MAX)
			objects->program[objects->n_programs++] = (struct dn_ebpf_program){
				.name = strdup(name), .object = index, .fd = -1, .link = -1};
	}
	return object;
}

static int want_names(struct dn_ebpf_objects *objects, const struct bpf_object *object)
{
	struct bpf_program *program;
	int r = dn_ebpf_btf_want_structs(objects->btf, bpf_object__btf(object));

	bpf_object__for_each_program(program, object)
	{
		struct dn_ebpf_program *entry =
			program_by_name(objects, bpf_program__name(program));
		enum target_kind kind;
		const char *target;
		char name[128], *kept;

		if (r < 0 || !target_of(program, &kind, name, sizeof(name), &target))
			continue;
		kept = strdup(name); /* lives as long as the BTF; freed with the objects */
		if (!kept)
			return -ENOMEM;
		r = kind == TARGET_TRACEPOINT ? dn_ebpf_btf_want_typedef(objects->btf, kept)
					      : dn_ebpf_btf_want_function(objects->btf, kept);
		if (entry)
			entry->target = kept;
	}
	return r;
}

/* The small BTF lies in memory under a path, since libbpf wants one. */
static int write_core_btf(struct dn_ebpf_objects *objects)
{
	struct btf *btf = NULL;
	uint32_t size;
	const void *data;
	int r = dn_ebpf_btf_extract(objects->btf, &btf);

	if (r < 0)
		return r;
	data = btf__raw_data(btf, &size);
	if (!data)
		r = -ENOMEM;
	else if (ftruncate(objects->core_btf, 0) < 0 ||
		 pwrite(objects->core_btf, data, size, 0) != (ssize_t)size)
		r = -EIO;
	btf__free(btf);
	return r;
}

/* Loading */

static void choose_programs(struct dn_ebpf_objects *objects, struct bpf_object *object)
{
	struct bpf_program *program;

	bpf_object__for_each_program(program, object)
	{
		struct dn_ebpf_program *entry =
			program_by_name(objects, bpf_program__name(program));

		if (!entry)
			continue;
		entry->wanted = bpf_program__autoload(program);
		entry->absent = entry->target && dn_ebpf_btf_id(objects->btf, entry->target) == 0;
		if (entry->absent || entry->error)
			bpf_program__set_autoload(program, false);
	}
}

/* Kernels that need this build warn of tables that allocate while programs run. */
static void allocate_ahead(struct bpf_object *object)
{
	struct bpf_map *map;

	bpf_object__for_each_map(map, object)
	{
		enum bpf_map_type type = bpf_map__type(map);

		if (type != BPF_MAP_TYPE_HASH && type != BPF_MAP_TYPE_PERCPU_HASH)
			continue;
		(void)bpf_map__set_map_flags(
			map, bpf_map__map_flags(map) & ~(__u32)BPF_F_NO_PREALLOC);
		if (bpf_map__max_entries(map) > 16384)
			(void)bpf_map__set_max_entries(map, 16384);
	}
}

static int share_maps(struct dn_ebpf_objects *objects, struct bpf_object *object, bool loaded)
{
	for (unsigned i = 0; i < DN_EBPF_SHARED_MAX; i++) {
		struct bpf_map *map = bpf_object__find_map_by_name(object, shared_maps[i]);
		int r = 0;

		if (!map || !bpf_map__autocreate(map))
			continue;
		if (!loaded && objects->shared[i] >= 0)
			r = bpf_map__reuse_fd(map, objects->shared[i]);
		else if (loaded && objects->shared[i] < 0)
			r = objects->shared[i] = dup(bpf_map__fd(map));
		if (r < 0)
			return r;
	}
	return 0;
}

/* The verifier's verdict stands in its last lines. */
static void keep_refusal(struct dn_ebpf_objects *objects, const char *name)
{
	const size_t most = 400;
	size_t from = objects->log_len > most ? objects->log_len - most : 0;
	size_t room = sizeof(objects->refusals) - objects->refusals_len;
	int n = snprintf(objects->refusals + objects->refusals_len, room, "%s: ...%s; ", name,
		objects->log + from);

	if (n > 0)
		objects->refusals_len += (size_t)n < room ? (size_t)n : room - 1;
}

/* Again and again with one program or feature less, until what is left loads. */
static int load_object(struct dn_ebpf_objects *objects, unsigned index, struct bpf_object *object)
{
	const char *name = objects->object[index].image->name;
	int r = -EINVAL;

	for (unsigned tries = 0; tries < 24; tries++) {
		struct dn_ebpf_program *bad;

		if (!object)
			object = open_object(objects, index);
		if (!object)
			return objects->object[index].error;
		if (objects->prepare)
			objects->prepare(objects->arg, name, object);
		choose_programs(objects, object);
		objects->log_len = 0;
		objects->log[0] = objects->refused[0] = '\0';
		if (objects->hash)
			allocate_ahead(object);
		r = share_maps(objects, object, false);
		if (r == 0)
			r = bpf_object__load(object);
		if (r == 0)
			r = share_maps(objects, object, true);
		if (r == 0) {
			objects->object[index].object = object;
			return 0;
		}
		bad = program_by_name(objects, objects->refused);
		keep_refusal(objects, bad ? bad->name : name);
		bpf_object__close(object);
		object = NULL;
		if (!bad)
			break;
		if (!objects->reduce || !objects->reduce(objects->arg, bad->name))
			bad->error = r;
	}
	return r;
}

static int open_and_walk(struct dn_ebpf_objects *objects)
{
	int r = 0;

	for (unsigned i = 0; i < objects->n_objects && r >= 0; i++) {
		struct bpf_object *object;

		objects->object[i].image =
			find_image(objects->object[i].image->name, objects->hash);
		if (!objects->object[i].image)
			return -ENOENT;
		object = objects->object[i].opened = open_object(objects, i);
		r = object ? want_names(objects, object) : objects->object[i].error;
	}
	if (r >= 0)
		r = dn_ebpf_btf_walk(objects->btf);
	return r < 0 ? r : write_core_btf(objects);
}

static int load_opened(struct dn_ebpf_objects *objects, unsigned index)
{
	struct bpf_object *opened = objects->object[index].opened;

	objects->object[index].opened = NULL;
	objects->object[index].error = load_object(objects, index, opened);
	return objects->object[index].error;
}

static void close_opened(struct dn_ebpf_objects *objects)
{
	for (unsigned i = 0; i < objects->n_objects; i++) {
		bpf_object__close(objects->object[i].opened);
		objects->object[i].opened = NULL;
	}
}

static int load_variant(struct dn_ebpf_objects *objects)
{
	int r = open_and_walk(objects);

	/* Without the first one nobody says who is in the tree. */
	if (r == 0)
		r = load_opened(objects, 0);
	for (unsigned i = 1; i < objects->n_objects && r == 0; i++) {
		if (!objects->object[i].late)
			(void)load_opened(objects, i);
	}
	if (r < 0)
		close_opened(objects);
	return r;
}

static void forget_programs(struct dn_ebpf_objects *objects)
{
	for (unsigned i = 0; i < objects->n_programs; i++) {
		free((char *)objects->program[i].name);
		free((char *)objects->program[i].target);
	}
	objects->n_programs = 0;
}

int dn_ebpf_objects_load(struct dn_ebpf_objects *objects, int sys_fd)
{
	uint64_t begun_ns = dn_now_ns();
	libbpf_print_fn_t print = libbpf_set_print(keep_log);
	int r = register_sections();

	loading = objects;
	if (r == 0)
		objects->core_btf = memfd_create("denet-btf", MFD_CLOEXEC);
	if (r == 0 && objects->core_btf < 0)
		r = -errno;
	snprintf(objects->core_btf_path, sizeof(objects->core_btf_path), "/proc/self/fd/%d",
		objects->core_btf);
	for (unsigned variant = 0; variant < 2 && r == 0; variant++) {
		objects->hash = variant == 1;
		dn_ebpf_btf_free(objects->btf);
		objects->btf = NULL;
		forget_programs(objects);
		r = dn_ebpf_btf_open(sys_fd, &objects->btf);
		if (r == 0)
			r = load_variant(objects);
		/* A kernel that has no task storage for tracing programs: once more without. */
		if (r != -EINVAL || variant == 1)
			break;
		for (unsigned i = 0; i < DN_EBPF_SHARED_MAX; i++) {
			if (objects->shared[i] >= 0)
				close(dn_steal_fd(&objects->shared[i]));
		}
		r = 0;
	}
	loading = NULL;
	libbpf_set_print(print);
	objects->load_ns = dn_now_ns() - begun_ns;
	return r;
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
	enum target_kind kind;
	const char *target;
	char name[128];
	int r;

	if (!target_of(program, &kind, name, sizeof(name), &target)) {
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
	if (kind == TARGET_ITER)
		r = attach_iterator(entry, object, target);
	else
		r = bpf_raw_tracepoint_open(NULL, entry->fd);
	if (r >= 0)
		entry->link = r;
	return r < 0 ? r : 0;
}

static void attach_object(struct dn_ebpf_objects *objects, struct bpf_object *object)
{
	struct bpf_program *program;

	if (!object)
		return;
	bpf_object__for_each_program(program, object)
	{
		struct dn_ebpf_program *entry =
			program_by_name(objects, bpf_program__name(program));

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

int dn_ebpf_objects_load_late(struct dn_ebpf_objects *objects, const char *name)
{
	for (unsigned i = 0; i < objects->n_objects; i++) {
		libbpf_print_fn_t print;

		if (strcmp(objects->object[i].image->name, name) != 0)
			continue;
		if (!objects->object[i].opened)
			return objects->object[i].error;
		loading = objects;
		print = libbpf_set_print(keep_log);
		if (load_opened(objects, i) == 0)
			attach_object(objects, objects->object[i].object);
		libbpf_set_print(print);
		loading = NULL;
		return objects->object[i].error;
	}
	return -ENOENT;
}

void dn_ebpf_objects_attach(struct dn_ebpf_objects *objects)
{
	uint64_t begun_ns = dn_now_ns();

	/* The process table last: at an exit the others have their say before it is told. */
	for (unsigned i = objects->n_objects; i-- > 0;)
		attach_object(objects, objects->object[i].object);
	objects->attach_ns = dn_now_ns() - begun_ns;
}

void dn_ebpf_objects_close(struct dn_ebpf_objects *objects)
{
	for (unsigned i = 0; i < objects->n_programs; i++) {
		if (objects->program[i].link >= 0)
			close(objects->program[i].link);
	}
	close_opened(objects);
	for (unsigned i = 0; i < objects->n_objects; i++)
		bpf_object__close(objects->object[i].object);
	for (unsigned i = 0; i < DN_EBPF_SHARED_MAX; i++) {
		if (objects->shared[i] >= 0)
			close(objects->shared[i]);
	}
	if (objects->core_btf >= 0)
		close(objects->core_btf);
	dn_ebpf_btf_free(objects->btf);
	forget_programs(objects);
	dn_ebpf_objects_init(objects);
}

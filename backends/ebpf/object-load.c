/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loading, for which the command waits: most of it is the kernel's verifier, and that works on as
 * many CPUs as there are threads which load. So objects are loaded side by side. What they share
 * under one lock: the maps that the first one makes and all use, the BTF that is walked on when a
 * function is asked for, and what the groups say before a load.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>

#include <denet/fs.h>

#include "object-internal.h"

#define THREADS_MAX 4

/* Made by the first object that has them, used by all. */
static const char *const shared_maps[DN_EBPF_SHARED_MAX] = {"dn_tasks", "dn_control", "dn_losses",
	"dn_totals", "dn_ring", "dn_processes", "dn_sockets", "dn_network", "dn_network_times",
	"dn_socket_owners"};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t maps_made = PTHREAD_COND_INITIALIZER;

/* What this thread loads: libbpf's hooks have no argument of ours. */
static _Thread_local struct {
	struct dn_ebpf_objects *objects;
	struct bpf_object *object;
	uint32_t makes; /* of the shared maps, a bit each: others wait for them */
	char refused[64]; /* the program that the kernel did not take */
	char log[4096]; /* what libbpf and the verifier said last */
	size_t log_len;
} loading;

/* What libbpf says */

/* "prog 'NAME': BPF program load failed: ...": the one that the kernel refused. */
static void note_refused(const char *text)
{
	static const char begin[] = "prog '", end[] = "': BPF program load failed";
	const char *at = strstr(text, end), *name = at ? strstr(text, begin) : NULL;

	if (!name || name > at)
		return;
	name += sizeof(begin) - 1;
	snprintf(loading.refused, sizeof(loading.refused), "%.*s", (int)(at - name), name);
}

/* Of each message the end, which has the verifier's verdict. */
static int keep_log(enum libbpf_print_level level, const char *format, va_list args)
{
	const size_t most = sizeof(loading.log) / 2;
	char *text;
	size_t n, from;

	if (!loading.objects || level > LIBBPF_WARN || vasprintf(&text, format, args) < 0)
		return 0;
	note_refused(text);
	n = strlen(text);
	from = n > most ? n - most : 0;
	if (loading.log_len + (n - from) >= sizeof(loading.log))
		loading.log_len = 0; /* the last words count */
	memcpy(loading.log + loading.log_len, text + from, n - from + 1);
	loading.log_len += n - from;
	free(text);
	return 0;
}

/* The verifier's verdict stands in its last lines. */
static void keep_refusal(struct dn_ebpf_objects *objects, const char *name)
{
	const size_t most = 400;
	size_t from = loading.log_len > most ? loading.log_len - most : 0;
	size_t room = sizeof(objects->refusals) - objects->refusals_len;
	int n = snprintf(objects->refusals + objects->refusals_len, room, "%s: ...%s; ", name,
		loading.log + from);

	if (n > 0)
		objects->refusals_len += (size_t)n < room ? (size_t)n : room - 1;
}

/* Shared maps; all under the lock */

static uint32_t shared_maps_of(const struct bpf_object *object)
{
	uint32_t maps = 0;

	for (unsigned i = 0; i < DN_EBPF_SHARED_MAX; i++) {
		const struct bpf_map *map = bpf_object__find_map_by_name(object, shared_maps[i]);

		if (map && bpf_map__autocreate(map))
			maps |= 1u << i;
	}
	return maps;
}

static uint32_t made_maps(const struct dn_ebpf_objects *objects)
{
	uint32_t maps = 0;

	for (unsigned i = 0; i < DN_EBPF_SHARED_MAX; i++)
		maps |= objects->shared[i] >= 0 ? 1u << i : 0;
	return maps;
}

/* Waits until none of its maps is being made; it makes those that are not there. */
static int claim_maps(struct dn_ebpf_objects *objects, struct bpf_object *object)
{
	uint32_t maps = shared_maps_of(object), made;

	while (maps & objects->being_made)
		pthread_cond_wait(&maps_made, &lock);
	made = made_maps(objects);
	for (unsigned i = 0; i < DN_EBPF_SHARED_MAX; i++) {
		int r;

		if (!(maps & made & 1u << i))
			continue;
		r = bpf_map__reuse_fd(
			bpf_object__find_map_by_name(object, shared_maps[i]), objects->shared[i]);
		if (r < 0)
			return r;
	}
	loading.makes = maps & ~made;
	objects->being_made |= loading.makes;
	return 0;
}

/* They are there, or will not be there: others need not wait. */
static int release_maps(struct dn_ebpf_objects *objects, struct bpf_object *object, bool made)
{
	int r = 0;

	for (unsigned i = 0; i < DN_EBPF_SHARED_MAX && made && r >= 0; i++) {
		if (loading.makes & 1u << i)
			r = objects->shared[i] = fcntl(
				bpf_map__fd(bpf_object__find_map_by_name(object, shared_maps[i])),
				F_DUPFD_CLOEXEC, 3);
	}
	if (loading.makes) {
		objects->being_made &= ~loading.makes;
		loading.makes = 0;
		pthread_cond_broadcast(&maps_made);
	}
	return r < 0 ? -errno : 0;
}

/* Programs */

/* libbpf made all maps of the object before it comes to its first program. */
static int prepare_raw(struct bpf_program *program, struct bpf_prog_load_opts *opts, long cookie)
{
	int r = 0;

	if (!loading.objects)
		return -EINVAL;
	if (!loading.makes)
		return 0;
	pthread_mutex_lock(&lock);
	r = release_maps(loading.objects, loading.object, true);
	pthread_mutex_unlock(&lock);
	return r;
}

/*
 * libbpf would parse the whole BTF to find the target. The program is of another type until here,
 * and the target's id is known already.
 */
static int prepare_target(struct bpf_program *program, struct bpf_prog_load_opts *opts, long cookie)
{
	enum dn_ebpf_target kind;
	const char *target;
	char name[128];
	int r = prepare_raw(program, opts, cookie);

	if (r < 0 || !dn_ebpf_target_of(program, &kind, name, sizeof(name), &target))
		return r < 0 ? r : -EINVAL;
	pthread_mutex_lock(&lock);
	opts->attach_btf_id = dn_ebpf_btf_id(loading.objects->btf, name);
	pthread_mutex_unlock(&lock);
	opts->expected_attach_type = dn_ebpf_target_kinds[kind].attach;
	return bpf_program__set_type(program, BPF_PROG_TYPE_TRACING);
}

static int register_sections(void)
{
	static bool done;
	LIBBPF_OPTS(libbpf_prog_handler_opts, target, .prog_prepare_load_fn = prepare_target);
	LIBBPF_OPTS(libbpf_prog_handler_opts, raw, .prog_prepare_load_fn = prepare_raw);
	int r = 0;

	if (done)
		return 0;
	for (unsigned i = 0; i < DN_EBPF_TARGET_N && r >= 0; i++) {
		char section[32];

		snprintf(section, sizeof(section), "%s+", dn_ebpf_target_kinds[i].section);
		r = libbpf_register_prog_handler(section, BPF_PROG_TYPE_RAW_TRACEPOINT,
			dn_ebpf_target_kinds[i].attach, &target);
	}
	if (r >= 0)
		r = libbpf_register_prog_handler(DN_EBPF_RAW_SECTION "+",
			BPF_PROG_TYPE_RAW_TRACEPOINT, (enum bpf_attach_type)0, &raw);
	done = r >= 0;
	return r < 0 ? r : 0;
}

static void choose_programs(struct dn_ebpf_objects *objects, struct bpf_object *object)
{
	struct bpf_program *program;

	bpf_object__for_each_program(program, object)
	{
		struct dn_ebpf_program *entry =
			dn_ebpf_program_entry(objects, bpf_program__name(program));

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

/* One object */

/* All that is shared, under the lock. */
static int get_ready(struct dn_ebpf_objects *objects, const char *name, struct bpf_object *object)
{
	int r;

	pthread_mutex_lock(&lock);
	if (objects->prepare)
		objects->prepare(objects->arg, name, object);
	choose_programs(objects, object);
	if (objects->hash)
		allocate_ahead(object);
	r = claim_maps(objects, object);
	pthread_mutex_unlock(&lock);
	loading.object = object;
	loading.log_len = 0;
	loading.log[0] = loading.refused[0] = '\0';
	return r;
}

/* What to do without: a feature or a program. False: there is no other way. */
static bool give_way(struct dn_ebpf_objects *objects, const char *name, int error)
{
	struct dn_ebpf_program *bad;

	pthread_mutex_lock(&lock);
	bad = dn_ebpf_program_entry(objects, loading.refused);
	keep_refusal(objects, bad ? bad->name : name);
	if (bad && (!objects->reduce || !objects->reduce(objects->arg, bad->name)))
		bad->error = error;
	pthread_mutex_unlock(&lock);
	return bad != NULL;
}

/* Again and again with one program or feature less, until what is left loads. */
static int load_object(struct dn_ebpf_objects *objects, unsigned index, struct bpf_object *object)
{
	const char *name = objects->object[index].image->name;
	int r = -EINVAL, released;

	for (unsigned tries = 0; tries < 24; tries++) {
		if (!object)
			object = dn_ebpf_open_object(objects, index);
		if (!object)
			return objects->object[index].error;
		r = get_ready(objects, name, object);
		if (r == 0)
			r = bpf_object__load(object);
		pthread_mutex_lock(&lock);
		released = release_maps(objects, object, r == 0);
		pthread_mutex_unlock(&lock);
		if (r == 0)
			r = released;
		if (r == 0) {
			objects->object[index].object = object;
			return 0;
		}
		bpf_object__close(object);
		object = NULL;
		if (!give_way(objects, name, r))
			break;
	}
	return r;
}

static int load_opened(struct dn_ebpf_objects *objects, unsigned index)
{
	struct bpf_object *opened = objects->object[index].opened;

	objects->object[index].opened = NULL;
	loading.objects = objects;
	objects->object[index].error = load_object(objects, index, opened);
	loading.objects = NULL;
	return objects->object[index].error;
}

/* All objects */

/* Each thread takes the next one. The first comes first, for it makes the maps. */
static void *load_the_next(void *arg)
{
	struct dn_ebpf_objects *objects = arg;

	for (;;) {
		unsigned index = __atomic_fetch_add(&objects->next, 1, __ATOMIC_SEQ_CST);

		if (index >= objects->n_objects ||
			(index > 0 && __atomic_load_n(&objects->first_failed, __ATOMIC_SEQ_CST)))
			return NULL;
		if (objects->object[index].late)
			continue;
		if (load_opened(objects, index) < 0 && index == 0)
			__atomic_store_n(&objects->first_failed, true, __ATOMIC_SEQ_CST);
	}
}

static unsigned count_helpers(const struct dn_ebpf_objects *objects)
{
	unsigned wanted = 0, cpus = 1;
	cpu_set_t set;

	for (unsigned i = 0; i < objects->n_objects; i++)
		wanted += !objects->object[i].late;
	if (sched_getaffinity(0, sizeof(set), &set) == 0)
		cpus = (unsigned)CPU_COUNT(&set);
	if (wanted > cpus)
		wanted = cpus;
	return wanted > THREADS_MAX ? THREADS_MAX - 1 : wanted > 0 ? wanted - 1 : 0;
}

/* This thread takes part, so that all are loaded where there can't be another one. */
static int load_side_by_side(struct dn_ebpf_objects *objects)
{
	unsigned n = count_helpers(objects), started = 0;
	pthread_t helper[THREADS_MAX];

	objects->next = objects->being_made = 0;
	objects->first_failed = false;
	while (started < n && pthread_create(&helper[started], NULL, load_the_next, objects) == 0)
		started++;
	(void)load_the_next(objects);
	while (started > 0)
		pthread_join(helper[--started], NULL);
	/* Without the first one nobody says who is in the tree. */
	return objects->object[0].error;
}

static int want_names(struct dn_ebpf_objects *objects, const struct bpf_object *object)
{
	struct bpf_program *program;
	int r = dn_ebpf_btf_want_structs(objects->btf, bpf_object__btf(object));

	bpf_object__for_each_program(program, object)
	{
		struct dn_ebpf_program *entry =
			dn_ebpf_program_entry(objects, bpf_program__name(program));
		enum dn_ebpf_target kind;
		const char *target;
		char name[128], *kept;

		if (r < 0 || !dn_ebpf_target_of(program, &kind, name, sizeof(name), &target))
			continue;
		kept = strdup(name); /* lives as long as the BTF; freed with the objects */
		if (!kept)
			return -ENOMEM;
		r = kind == DN_EBPF_TARGET_TRACEPOINT
			    ? dn_ebpf_btf_want_typedef(objects->btf, kept)
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

static int open_and_walk(struct dn_ebpf_objects *objects)
{
	int r = 0;

	for (unsigned i = 0; i < objects->n_objects && r >= 0; i++) {
		struct bpf_object *object;

		objects->object[i].image =
			dn_ebpf_find_image(objects->object[i].image->name, objects->hash);
		if (!objects->object[i].image)
			return -ENOENT;
		object = objects->object[i].opened = dn_ebpf_open_object(objects, i);
		r = object ? want_names(objects, object) : objects->object[i].error;
	}
	if (r >= 0)
		r = dn_ebpf_btf_walk(objects->btf);
	return r < 0 ? r : write_core_btf(objects);
}

static int load_variant(struct dn_ebpf_objects *objects)
{
	int r = open_and_walk(objects);

	if (r == 0)
		r = load_side_by_side(objects);
	if (r < 0)
		dn_ebpf_close_opened(objects);
	return r;
}

static void forget_variant(struct dn_ebpf_objects *objects)
{
	for (unsigned i = 0; i < objects->n_objects; i++) {
		bpf_object__close(objects->object[i].object);
		objects->object[i].object = NULL;
		objects->object[i].error = 0;
	}
	for (unsigned i = 0; i < DN_EBPF_SHARED_MAX; i++) {
		if (objects->shared[i] >= 0)
			close(dn_steal_fd(&objects->shared[i]));
	}
	dn_ebpf_btf_free(objects->btf);
	objects->btf = NULL;
	dn_ebpf_forget_programs(objects);
}

int dn_ebpf_objects_load(struct dn_ebpf_objects *objects, int sys_fd)
{
	uint64_t begun_ns = dn_now_ns();
	libbpf_print_fn_t print = libbpf_set_print(keep_log);
	int r = register_sections();

	if (r == 0)
		objects->core_btf = memfd_create("denet-btf", MFD_CLOEXEC);
	if (r == 0 && objects->core_btf < 0)
		r = -errno;
	snprintf(objects->core_btf_path, sizeof(objects->core_btf_path), "/proc/self/fd/%d",
		objects->core_btf);
	for (unsigned variant = 0; variant < 2 && r == 0; variant++) {
		objects->hash = variant == 1;
		r = dn_ebpf_btf_open(sys_fd, &objects->btf);
		if (r == 0)
			r = load_variant(objects);
		/* A kernel that has no task storage for tracing programs: once more without. */
		if (r != -EINVAL || variant == 1)
			break;
		forget_variant(objects);
		r = 0;
	}
	libbpf_set_print(print);
	objects->load_ns = dn_now_ns() - begun_ns;
	return r;
}

int dn_ebpf_objects_load_late(struct dn_ebpf_objects *objects, const char *name)
{
	for (unsigned i = 0; i < objects->n_objects; i++) {
		libbpf_print_fn_t print;

		if (strcmp(objects->object[i].image->name, name) != 0)
			continue;
		if (!objects->object[i].opened)
			return objects->object[i].error;
		print = libbpf_set_print(keep_log);
		if (load_opened(objects, i) == 0)
			dn_ebpf_attach_object(objects, objects->object[i].object);
		libbpf_set_print(print);
		return objects->object[i].error;
	}
	return -ENOENT;
}

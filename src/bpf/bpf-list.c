/* SPDX-License-Identifier: Apache-2.0 */
/* Reads all objects of the machine, and what ran between two such readings. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include <denet/fs.h>

#include "bpf-list.h"

/* Room for one more; NULL when there is none. */
static void *grow(void **array, unsigned *room, unsigned n, size_t size)
{
	if (n == *room) {
		unsigned more = *room ? *room * 2 : 64;
		void *bigger = reallocarray(*array, more, size);

		if (!bigger)
			return NULL;
		*array = bigger;
		*room = more;
	}
	return memset((char *)*array + n * size, 0, size);
}

static int read_prog(struct dn_bpf_list *list, int fd)
{
	struct dn_bpf_prog_entry *entry = grow((void **)&list->prog, &list->room[DN_BPF_PROG],
		list->n[DN_BPF_PROG], sizeof(*entry));
	int r;

	if (!entry)
		return -ENOMEM;
	r = dn_bpf_prog_read(fd, &entry->info);
	/* The same line of fdinfo tells the memory of both kinds. */
	if (r == 0)
		entry->has_memory = dn_bpf_map_bytes(fd, &entry->memory_bytes) == 0;
	return r;
}

static int read_map(struct dn_bpf_list *list, int fd)
{
	struct dn_bpf_map_entry *entry = grow(
		(void **)&list->map, &list->room[DN_BPF_MAP], list->n[DN_BPF_MAP], sizeof(*entry));
	char text[1024];
	uint64_t frozen;
	int r;

	if (!entry)
		return -ENOMEM;
	r = dn_bpf_map_read(fd, &entry->info);
	if (r < 0 || dn_bpf_fdinfo_read(fd, text, sizeof(text)) < 0)
		return r;
	entry->has_memory = dn_bpf_fdinfo_u64(text, "memlock", &entry->memory_bytes);
	entry->has_frozen = dn_bpf_fdinfo_u64(text, "frozen", &frozen);
	entry->frozen = entry->has_frozen && frozen;
	return 0;
}

static int read_link(struct dn_bpf_list *list, int fd, struct dn_bpf_btf *btf)
{
	struct dn_bpf_link *link = grow((void **)&list->link, &list->room[DN_BPF_LINK],
		list->n[DN_BPF_LINK], sizeof(*link));
	int r;

	if (!link)
		return -ENOMEM;
	r = dn_bpf_link_read(fd, link);
	if (r == 0 && btf && link->btf_type && link->target[0] == '\0')
		dn_bpf_btf_name(
			btf, link->btf_object, link->btf_type, link->target, sizeof(link->target));
	return r;
}

/* 0; 1 behind the last; negative errno. */
static int read_next(
	struct dn_bpf_list *list, enum dn_bpf_kind kind, uint32_t *id, struct dn_bpf_btf *btf)
{
	dn_cleanup(dn_closep) int fd = -1;
	int r = dn_bpf_next_id(kind, *id, id);

	if (r < 0)
		return r == -ENOENT ? 1 : r;
	fd = dn_bpf_open(kind, *id);
	if (fd >= 0)
		r = kind == DN_BPF_PROG	 ? read_prog(list, fd)
		    : kind == DN_BPF_MAP ? read_map(list, fd)
					 : read_link(list, fd, btf);
	else
		r = fd;
	if (r == 0)
		list->n[kind]++;
	else if (r != -ENOENT && r != -ENOMEM) /* it may have gone meanwhile */
		list->unread[kind]++;
	return r == -ENOMEM ? r : 0;
}

static int stats_setting(void)
{
	char text[8];

	if (dn_read_file_at(AT_FDCWD, "/proc/sys/kernel/bpf_stats_enabled", text, sizeof(text)) < 1)
		return -1;
	return text[0] == '1' ? 1 : text[0] == '0' ? 0 : -1;
}

static int compare(const void *a, const void *b, void *data)
{
	const struct dn_bpf_link *links = data;
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	if (links[x].prog_id != links[y].prog_id)
		return links[x].prog_id < links[y].prog_id ? -1 : 1;
	return x < y ? -1 : x > y;
}

static int index_links(struct dn_bpf_list *list)
{
	unsigned n = list->n[DN_BPF_LINK];

	list->by_prog = calloc((size_t)n + 1, sizeof(*list->by_prog));
	if (!list->by_prog)
		return -ENOMEM;
	for (unsigned i = 0; i < n; i++)
		list->by_prog[i] = i;
	qsort_r(list->by_prog, n, sizeof(*list->by_prog), compare, list->link);
	return 0;
}

int dn_bpf_list_read(struct dn_bpf_list *ret, struct dn_bpf_btf *btf)
{
	struct dn_bpf_list list = {.stats_on = stats_setting()};

	clock_gettime(CLOCK_REALTIME, &list.time);
	list.t_ns = dn_now_ns();
	for (unsigned kind = 0; kind < DN_BPF_KINDS_N; kind++) {
		uint32_t id = 0;
		int r;

		while ((r = read_next(&list, (enum dn_bpf_kind)kind, &id, btf)) == 0) {
			if (list.n[kind] + list.unread[kind] < DN_BPF_OBJECTS_MAX)
				continue;
			list.cut[kind] = true;
			break;
		}
		if (r == -EINVAL && kind == DN_BPF_LINK) { /* before 5.8 */
			list.no_links = true;
		} else if (r < 0) {
			dn_bpf_list_finish(&list);
			return r;
		}
	}
	if (index_links(&list) < 0) {
		dn_bpf_list_finish(&list);
		return -ENOMEM;
	}
	*ret = list;
	return 0;
}

void dn_bpf_list_finish(struct dn_bpf_list *list)
{
	free(list->prog);
	free(list->map);
	free(list->link);
	free(list->by_prog);
	*list = (struct dn_bpf_list){0};
}

static const struct dn_bpf_prog_entry *find_prog(
	const struct dn_bpf_list *list, const struct dn_bpf_prog *prog)
{
	unsigned low = 0, high = list->n[DN_BPF_PROG];

	while (low < high) {
		unsigned middle = low + (high - low) / 2;
		const struct dn_bpf_prog *other = &list->prog[middle].info;

		if (other->id == prog->id)
			return other->loaded_ns == prog->loaded_ns ? &list->prog[middle] : NULL;
		if (other->id < prog->id)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

void dn_bpf_list_since(struct dn_bpf_list *list, const struct dn_bpf_list *earlier)
{
	unsigned stayed = 0;

	list->interval_ns = dn_sub_sat(list->t_ns, earlier->t_ns);
	for (unsigned i = 0; i < list->n[DN_BPF_PROG]; i++) {
		struct dn_bpf_prog_entry *entry = &list->prog[i];
		const struct dn_bpf_prog_entry *before = find_prog(earlier, &entry->info);
		static const struct dn_bpf_prog_entry none;

		stayed += before != NULL;
		if (!before)
			before = &none; /* it was loaded in between: all it ran, it ran since */
		entry->has_interval = true;
		entry->interval_ns = dn_sub_sat(entry->info.run_ns, before->info.run_ns);
		entry->interval_runs = dn_sub_sat(entry->info.runs, before->info.runs);
		entry->interval_misses = dn_sub_sat(entry->info.misses, before->info.misses);
	}
	list->gone = earlier->n[DN_BPF_PROG] - stayed;
}

bool dn_bpf_list_same(const struct dn_bpf_list *a, const struct dn_bpf_list *b)
{
	for (unsigned kind = 0; kind < DN_BPF_KINDS_N; kind++) {
		if (a->n[kind] != b->n[kind])
			return false;
	}
	for (unsigned i = 0; i < a->n[DN_BPF_PROG]; i++) {
		if (a->prog[i].info.id != b->prog[i].info.id)
			return false;
	}
	for (unsigned i = 0; i < a->n[DN_BPF_MAP]; i++) {
		if (a->map[i].info.id != b->map[i].info.id)
			return false;
	}
	for (unsigned i = 0; i < a->n[DN_BPF_LINK]; i++) {
		if (a->link[i].id != b->link[i].id)
			return false;
	}
	return true;
}

const struct dn_bpf_link *dn_bpf_list_link_of(
	const struct dn_bpf_list *list, uint32_t prog_id, unsigned n)
{
	unsigned low = 0, high = list->n[DN_BPF_LINK];

	while (low < high) {
		unsigned middle = low + (high - low) / 2;

		if (list->link[list->by_prog[middle]].prog_id < prog_id)
			low = middle + 1;
		else
			high = middle;
	}
	if (n >= list->n[DN_BPF_LINK] - low ||
		list->link[list->by_prog[low + n]].prog_id != prog_id)
		return NULL;
	return &list->link[list->by_prog[low + n]];
}

bool dn_bpf_has_runs(const struct dn_bpf_list *list, const struct dn_bpf_prog_entry *entry)
{
	return entry->has_interval || list->stats_on == 1 || entry->info.runs > 0;
}

void dn_bpf_list_totals(const struct dn_bpf_list *list, struct dn_bpf_totals *ret)
{
	struct dn_bpf_totals totals = {.has_runs = list->n[DN_BPF_PROG] == 0};

	for (unsigned i = 0; i < list->n[DN_BPF_PROG]; i++) {
		const struct dn_bpf_prog_entry *entry = &list->prog[i];

		totals.prog_bytes = dn_add_sat(totals.prog_bytes, entry->memory_bytes);
		totals.has_runs |= dn_bpf_has_runs(list, entry);
		totals.run_ns = dn_add_sat(totals.run_ns, entry->info.run_ns);
		totals.runs = dn_add_sat(totals.runs, entry->info.runs);
		totals.interval_ns = dn_add_sat(totals.interval_ns, entry->interval_ns);
		totals.interval_runs = dn_add_sat(totals.interval_runs, entry->interval_runs);
	}
	for (unsigned i = 0; i < list->n[DN_BPF_MAP]; i++)
		totals.map_bytes = dn_add_sat(totals.map_bytes, list->map[i].memory_bytes);
	*ret = totals;
}

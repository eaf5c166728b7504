/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <denet/fs.h>
#include <denet/table.h>

#include "file-path.h"

/* Where the component before the one that ends at end begins. */
static size_t begin_of(const char *path, size_t end)
{
	while (end > 0 && path[end - 1] != '\0')
		end--;
	return end;
}

void dn_ebpf_file_path(const struct dn_wire_path *from, char *path, size_t size)
{
	bool nameless = from->flags & DN_FILE_PATH_NAMELESS;
	bool whole = (nameless || from->flags & DN_FILE_PATH_WHOLE) && from->len <= DN_FILE_PATH;
	size_t len = from->len < DN_FILE_PATH ? from->len : DN_FILE_PATH, n = 0, begin;
	char text[DN_FILE_PATH + 2];

	/* The highest one may have been cut. */
	while (len > 0 && from->path[len - 1] != '\0')
		len--;
	for (; len > 0; len = begin) {
		begin = begin_of(from->path, len - 1);
		if (!nameless)
			text[n++] = '/';
		memcpy(text + n, from->path + begin, len - 1 - begin);
		n += len - 1 - begin;
	}
	if (n == 0)
		text[n++] = '/';
	/* What doesn't fit is left out at the front, as what is not known. */
	if (whole && n < size) {
		memcpy(path, text, n);
		path[n] = '\0';
		return;
	}
	begin = n > size - 4 ? n - (size - 4) : 0;
	memcpy(path, "...", 3);
	memcpy(path + 3, text + begin, n - begin);
	path[3 + n - begin] = '\0';
}

void dn_ebpf_file_list_add(struct dn_ebpf_file_list *list, const struct dn_wire_path *from)
{
	struct dn_ebpf_file_entry *entry;
	char path[DN_TABLE_KEY_MAX];

	if (list->n == list->room) {
		size_t room = list->room ? list->room * 2 : 256;
		void *grown = realloc(list->entry, room * sizeof(*list->entry));

		if (!grown) {
			list->error = -ENOMEM;
			return;
		}
		list->entry = grown;
		list->room = room;
	}
	dn_ebpf_file_path(from, path, sizeof(path));
	entry = &list->entry[list->n];
	*entry = (struct dn_ebpf_file_entry){
		strdup(path), from->count, from->read_bytes, from->write_bytes, from->time_ns};
	if (entry->path)
		list->n++;
	else
		list->error = -ENOMEM;
}

static int by_path(const void *a, const void *b)
{
	const struct dn_ebpf_file_entry *left = a, *right = b;

	return strcmp(left->path, right->path);
}

static uint64_t weight_of(const struct dn_ebpf_file_entry *entry)
{
	return dn_add_sat(dn_add_sat(entry->read_bytes, entry->write_bytes), entry->count);
}

static int by_weight(const void *a, const void *b)
{
	uint64_t x = weight_of(a), y = weight_of(b);

	return x != y ? (x < y ? 1 : -1) : by_path(a, b);
}

void dn_ebpf_file_list_order(struct dn_ebpf_file_list *list)
{
	size_t kept = 0;

	if (list->n < 2)
		return;
	/* A file that was made anew under its name is another inode. */
	qsort(list->entry, list->n, sizeof(*list->entry), by_path);
	for (size_t i = 1; i < list->n; i++) {
		struct dn_ebpf_file_entry *last = &list->entry[kept], *next = &list->entry[i];

		if (strcmp(last->path, next->path) != 0) {
			list->entry[++kept] = *next;
			continue;
		}
		last->count = dn_add_sat(last->count, next->count);
		last->read_bytes = dn_add_sat(last->read_bytes, next->read_bytes);
		last->write_bytes = dn_add_sat(last->write_bytes, next->write_bytes);
		last->time_ns = dn_add_sat(last->time_ns, next->time_ns);
		free(next->path);
	}
	list->n = kept + 1;
	qsort(list->entry, list->n, sizeof(*list->entry), by_weight);
}

void dn_ebpf_file_list_free(struct dn_ebpf_file_list *list)
{
	for (size_t i = 0; i < list->n; i++)
		free(list->entry[i].path);
	free(list->entry);
	*list = (struct dn_ebpf_file_list){0};
}

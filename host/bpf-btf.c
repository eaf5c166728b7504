/* SPDX-License-Identifier: Apache-2.0 */
/* Names of types and functions in BTF, for links that tell only a number. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <denet/bpf.h>
#include <denet/fs.h>

#include "bpf-abi.h"

#define MAGIC 0xeb9fu
#define BLOB_MAX (64u << 20)
#define MODULES_MAX 64

struct header {
	uint16_t magic;
	uint8_t version, flags;
	uint32_t header_len, type_off, type_len, string_off, string_len;
};

struct type {
	uint32_t name, info, size;
};

struct dn_btf_blob {
	const struct dn_btf_blob *base;
	uint32_t first, n; /* ids first .. first + n - 1 are here */
	uint32_t *name; /* by id - first */
	char *string; /* NUL-terminated */
	uint32_t string_len, string_first; /* offsets below string_first are the base's */
};

struct dn_bpf_btf {
	bool tried;
	struct dn_btf_blob *kernel;
	uint32_t kernel_id;
	struct {
		uint32_t id;
		struct dn_btf_blob *blob; /* NULL: could not be had */
	} module[MODULES_MAX];
	unsigned n_modules;
};

/* Bytes behind a type's first three words, by its kind; -1 for a kind that is not known. */
static int64_t tail_size(uint32_t info)
{
	uint32_t kind = info >> 24 & 0x1f, n = info & 0xffff;

	switch (kind) {
	case 1: /* int */
	case 14: /* var */
	case 17: /* decl_tag */
		return 4;
	case 2: /* pointer */
	case 7: /* forward */
	case 8: /* typedef */
	case 9: /* volatile */
	case 10: /* const */
	case 11: /* restrict */
	case 12: /* function */
	case 16: /* float */
	case 18: /* type_tag */
		return 0;
	case 3: /* array */
		return 12;
	case 4: /* struct */
	case 5: /* union */
	case 15: /* section */
	case 19: /* enum64 */
		return (int64_t)n * 12;
	case 6: /* enum */
	case 13: /* prototype */
		return (int64_t)n * 8;
	default:
		return -1;
	}
}

/* Walks the types: counts them, and keeps the names' places where there is room for them. */
static int64_t walk(const unsigned char *types, size_t len, uint32_t *name)
{
	int64_t n = 0;

	for (size_t at = 0; at < len; n++) {
		struct type type;
		int64_t tail;

		if (len - at < sizeof(type))
			return -EINVAL;
		memcpy(&type, types + at, sizeof(type));
		at += sizeof(type);
		tail = tail_size(type.info);
		if (tail < 0 || (uint64_t)tail > len - at)
			return -EINVAL;
		at += (size_t)tail;
		if (name)
			name[n] = type.name;
	}
	return n;
}

void dn_btf_free(struct dn_btf_blob *blob)
{
	if (!blob)
		return;
	free(blob->name);
	free(blob->string);
	free(blob);
}

static bool within(const struct header *header, size_t size, uint32_t off, uint32_t len)
{
	uint64_t from = (uint64_t)header->header_len + off;

	return from <= size && len <= size - from;
}

struct dn_btf_blob *dn_btf_parse(const void *data, size_t size, const struct dn_btf_blob *base)
{
	const unsigned char *bytes = data;
	struct header header;
	struct dn_btf_blob *blob;
	int64_t n;

	if (size < sizeof(header))
		return NULL;
	memcpy(&header, bytes, sizeof(header));
	if (header.magic != MAGIC || header.header_len < sizeof(header) ||
		!within(&header, size, header.type_off, header.type_len) ||
		!within(&header, size, header.string_off, header.string_len))
		return NULL;
	n = walk(bytes + header.header_len + header.type_off, header.type_len, NULL);
	blob = n < 0 ? NULL : calloc(1, sizeof(*blob));
	if (!blob)
		return NULL;
	blob->base = base;
	blob->first = base ? base->first + base->n : 1;
	blob->n = (uint32_t)n;
	blob->string_first = base ? base->string_first + base->string_len : 0;
	blob->string_len = header.string_len;
	blob->name = calloc((size_t)n + 1, sizeof(*blob->name));
	blob->string = malloc((size_t)header.string_len + 1);
	if (!blob->name || !blob->string) {
		dn_btf_free(blob);
		return NULL;
	}
	walk(bytes + header.header_len + header.type_off, header.type_len, blob->name);
	memcpy(blob->string, bytes + header.header_len + header.string_off, header.string_len);
	blob->string[header.string_len] = '\0';
	return blob;
}

const char *dn_btf_type_name(const struct dn_btf_blob *blob, uint32_t type)
{
	uint32_t offset;

	while (blob && type < blob->first)
		blob = blob->base;
	if (!blob || type - blob->first >= blob->n)
		return NULL;
	offset = blob->name[type - blob->first];
	while (blob && offset < blob->string_first)
		blob = blob->base;
	if (!blob || offset - blob->string_first >= blob->string_len)
		return NULL;
	return blob->string[offset - blob->string_first]
		       ? blob->string + offset - blob->string_first
		       : NULL;
}

/* Reads an object by its id; NULL when that is not to be had. */
static struct dn_btf_blob *load(uint32_t id, const struct dn_btf_blob *base, bool *ret_is_kernel)
{
	struct dn_bpf_attr_id attr = {.id = id};
	dn_cleanup(dn_closep) int fd =
		dn_bpf_call(DN_BPF_CMD_BTF_GET_FD_BY_ID, &attr, sizeof(attr));
	char name[64] = "";
	struct dn_bpf_btf_info info = {.name = (uintptr_t)name, .name_len = sizeof(name)};
	struct dn_btf_blob *blob = NULL;
	void *data;

	if (fd < 0 || dn_bpf_info(fd, &info, sizeof(info)) < 0 || info.btf_size > BLOB_MAX)
		return NULL;
	*ret_is_kernel = strcmp(name, "vmlinux") == 0;
	data = malloc(info.btf_size + 1);
	if (data) {
		info.btf = (uintptr_t)data;
		info.name = 0;
		info.name_len = 0;
		if (dn_bpf_info(fd, &info, sizeof(info)) >= 0)
			blob = dn_btf_parse(data, info.btf_size, *ret_is_kernel ? NULL : base);
		free(data);
	}
	return blob;
}

struct dn_bpf_btf *dn_bpf_btf_new(void)
{
	return calloc(1, sizeof(struct dn_bpf_btf));
}

void dn_bpf_btf_free(struct dn_bpf_btf *btf)
{
	if (!btf)
		return;
	for (unsigned i = 0; i < btf->n_modules; i++)
		dn_btf_free(btf->module[i].blob);
	dn_btf_free(btf->kernel);
	free(btf);
}

/* The kernel's own is the first that was ever made. */
static void load_kernel(struct dn_bpf_btf *btf)
{
	bool is_kernel = false;

	btf->tried = true;
	btf->kernel_id = 1;
	btf->kernel = load(btf->kernel_id, NULL, &is_kernel);
	if (btf->kernel && !is_kernel) {
		dn_btf_free(btf->kernel);
		btf->kernel = NULL;
	}
}

static const struct dn_btf_blob *find(struct dn_bpf_btf *btf, uint32_t object)
{
	bool is_kernel = false;

	if (!btf->tried)
		load_kernel(btf);
	if (object == btf->kernel_id)
		return btf->kernel;
	for (unsigned i = 0; i < btf->n_modules; i++) {
		if (btf->module[i].id == object)
			return btf->module[i].blob;
	}
	if (btf->n_modules == MODULES_MAX || !btf->kernel)
		return NULL;
	btf->module[btf->n_modules].id = object;
	btf->module[btf->n_modules].blob = load(object, btf->kernel, &is_kernel);
	return btf->module[btf->n_modules++].blob;
}

void dn_bpf_btf_name(struct dn_bpf_btf *btf, uint32_t object, uint32_t type, char *out, size_t size)
{
	static const char tracepoint[] = "btf_trace_";
	const char *name = dn_btf_type_name(find(btf, object), type);

	if (!name)
		name = "";
	else if (strncmp(name, tracepoint, sizeof(tracepoint) - 1) == 0)
		name += sizeof(tracepoint) - 1;
	snprintf(out, size, "%s", name);
}

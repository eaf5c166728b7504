/* SPDX-License-Identifier: Apache-2.0 */
/* A small BTF with what the programs read, for libbpf to relocate against. */
#include <errno.h>
#include <linux/btf.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/btf.h>

#include "btf-internal.h"

#define DEPTH_MAX 16
#define LOOKS_MAX (1u << 20) /* a kernel needs some hundreds */

struct copy {
	struct dn_ebpf_btf *btf;
	struct btf *out;
	struct {
		uint32_t from, to;
	} * done;
	unsigned n_done, room;
	unsigned
		looks; /* at members of structs without a name: types may form a tree without end */
};

/* typedef void (*btf_trace_NAME)(void *, ...): the first one is not of the event. */
unsigned dn_ebpf_btf_arguments(struct dn_ebpf_btf *btf, const char *name)
{
	const struct btf_type *type = dn_ebpf_btf_type(btf, dn_ebpf_btf_id(btf, name));
	unsigned n;

	if (type && BTF_INFO_KIND(type->info) == BTF_KIND_TYPEDEF)
		type = dn_ebpf_btf_type(btf, type->type);
	if (type && BTF_INFO_KIND(type->info) == BTF_KIND_PTR)
		type = dn_ebpf_btf_type(btf, type->type);
	if (!type || BTF_INFO_KIND(type->info) != BTF_KIND_FUNC_PROTO)
		return 0;
	n = BTF_INFO_VLEN(type->info);
	return n ? n - 1 : 0;
}

static const char *name_at(const struct dn_ebpf_btf *btf, uint32_t offset)
{
	return offset < btf->strings_len ? btf->strings + offset : "";
}

static int remember(struct copy *copy, uint32_t from, int to)
{
	if (to < 0)
		return to;
	if (copy->n_done == copy->room) {
		unsigned room = copy->room ? copy->room * 2 : 64;
		void *grown = realloc(copy->done, room * sizeof(*copy->done));

		if (!grown)
			return -ENOMEM;
		copy->done = grown;
		copy->room = room;
	}
	copy->done[copy->n_done].from = from;
	copy->done[copy->n_done++].to = (uint32_t)to;
	return to;
}

static int copy_type(struct copy *copy, uint32_t id, const char *owner, unsigned depth);

/* An anonymous struct or union counts when something in it is read, under its owner's name. */
static bool holds_read(
	struct copy *copy, const struct btf_type *type, const char *owner, unsigned depth)
{
	struct dn_ebpf_btf *btf = copy->btf;
	const struct btf_member *member;

	if (!type || depth >= DEPTH_MAX ||
		(BTF_INFO_KIND(type->info) != BTF_KIND_STRUCT &&
			BTF_INFO_KIND(type->info) != BTF_KIND_UNION))
		return false;
	member = (const struct btf_member *)(type + 1);
	for (uint32_t i = 0; i < BTF_INFO_VLEN(type->info); i++) {
		const char *name = name_at(btf, member[i].name_off);

		if (copy->looks++ >= LOOKS_MAX)
			return false;
		if (name[0] ? dn_ebpf_btf_is_read(btf, owner, name) ||
					dn_ebpf_btf_is_read(btf, "", name)
			    : holds_read(copy, dn_ebpf_btf_type(btf, member[i].type), owner,
				      depth + 1))
			return true;
	}
	return false;
}

static int copy_composite(struct copy *copy, uint32_t id, const char *owner, unsigned depth)
{
	struct dn_ebpf_btf *btf = copy->btf;
	const struct btf_type *type = dn_ebpf_btf_type(btf, id);
	const struct btf_member *member = (const struct btf_member *)(type + 1);
	const char *name = name_at(btf, type->name_off);
	uint32_t n = BTF_INFO_VLEN(type->info);
	bool bitfields = BTF_INFO_KFLAG(type->info);
	int *types, to, r = 0;

	if (name[0])
		owner = name;
	types = calloc((size_t)n + 1, sizeof(*types));
	if (!types)
		return -ENOMEM;
	for (uint32_t i = 0; i < n && r >= 0; i++) {
		const char *member_name = name_at(btf, member[i].name_off);

		types[i] = -1;
		if (member_name[0] ? !dn_ebpf_btf_is_read(btf, owner, member_name) &&
					     (name[0] || !dn_ebpf_btf_is_read(btf, "", member_name))
				   : !holds_read(copy, dn_ebpf_btf_type(btf, member[i].type), owner,
					     depth))
			continue;
		r = types[i] = copy_type(copy, member[i].type, owner, depth + 1);
	}
	to = r < 0 ? r
		   : (BTF_INFO_KIND(type->info) == BTF_KIND_STRUCT
				     ? btf__add_struct
				     : btf__add_union)(copy->out, name, type->size);
	for (uint32_t i = 0; i < n && to >= 0 && r >= 0; i++) {
		uint32_t offset = member[i].offset;

		if (types[i] < 0)
			continue;
		r = btf__add_field(copy->out, name_at(btf, member[i].name_off), types[i],
			bitfields ? BTF_MEMBER_BIT_OFFSET(offset) : offset,
			bitfields ? BTF_MEMBER_BITFIELD_SIZE(offset) : 0);
	}
	free(types);
	return r < 0 ? r : to;
}

static int copy_enum(struct copy *copy, const struct btf_type *type)
{
	struct dn_ebpf_btf *btf = copy->btf;
	const char *name = name_at(btf, type->name_off);
	const struct btf_enum *value = (const struct btf_enum *)(type + 1);
	int to = btf__add_enum(copy->out, name, type->size), r = 0;

	for (uint32_t i = 0; to >= 0 && r >= 0 && name[0] && i < BTF_INFO_VLEN(type->info); i++) {
		const char *value_name = name_at(btf, value[i].name_off);

		if (dn_ebpf_btf_is_read(btf, name, value_name))
			r = btf__add_enum_value(copy->out, value_name, value[i].val);
	}
	return r < 0 ? r : to;
}

static int copy_array(
	struct copy *copy, const struct btf_type *type, const char *owner, unsigned depth)
{
	const struct btf_array *array = (const struct btf_array *)(type + 1);
	int index = copy_type(copy, array->index_type, owner, depth + 1), element;

	if (index < 0)
		return index;
	element = copy_type(copy, array->type, owner, depth + 1);
	return element < 0 ? element
			   : btf__add_array(copy->out, index, element, (int)array->nelems);
}

/* The new id; 0 (void) for what only pointers lead to. */
static int copy_type(struct copy *copy, uint32_t id, const char *owner, unsigned depth)
{
	const struct btf_type *type = dn_ebpf_btf_type(copy->btf, id);
	uint32_t info;

	if (!type)
		return 0;
	if (depth > DEPTH_MAX)
		return -EINVAL;
	for (unsigned i = 0; i < copy->n_done; i++) {
		if (copy->done[i].from == id)
			return (int)copy->done[i].to;
	}
	switch (BTF_INFO_KIND(type->info)) {
	case BTF_KIND_INT:
		memcpy(&info, type + 1, sizeof(info));
		return remember(copy, id,
			btf__add_int(copy->out, name_at(copy->btf, type->name_off), type->size,
				BTF_INT_ENCODING(info)));
	case BTF_KIND_PTR:
		/* Where it points to is never looked at when an access is relocated. */
		return remember(copy, id, btf__add_ptr(copy->out, 0));
	case BTF_KIND_ARRAY:
		return remember(copy, id, copy_array(copy, type, owner, depth));
	case BTF_KIND_STRUCT:
	case BTF_KIND_UNION:
		return remember(copy, id, copy_composite(copy, id, owner, depth));
	case BTF_KIND_ENUM:
		return remember(copy, id, copy_enum(copy, type));
	case BTF_KIND_TYPEDEF:
	case BTF_KIND_VOLATILE:
	case BTF_KIND_CONST:
	case BTF_KIND_RESTRICT:
	case 18: /* BTF_KIND_TYPE_TAG */
		return copy_type(copy, type->type, owner, depth + 1);
	default:
		return 0;
	}
}

/* Structs that the programs know by a typedef's name have no name of their own. */
static int copy_typedef(struct copy *copy, const struct wanted *wanted)
{
	const struct btf_type *type = dn_ebpf_btf_type(copy->btf, wanted->id);
	const char *name = name_at(copy->btf, type->name_off);
	int to = copy_type(copy, type->type, name, 0);

	return to <= 0 ? to : btf__add_typedef(copy->out, name, to);
}

int dn_ebpf_btf_extract(struct dn_ebpf_btf *btf, struct btf **ret)
{
	struct copy copy = {.btf = btf, .out = btf__new_empty()};
	int r = copy.out ? 0 : -ENOMEM;

	for (unsigned i = 0; i < btf->n_wanted && r >= 0; i++) {
		const struct wanted *wanted = &btf->wanted[i];

		if (!wanted->id)
			continue;
		if (wanted->kind == WANT_STRUCT || wanted->kind == WANT_ENUM)
			r = copy_type(&copy, wanted->id, "", 0);
		else if (wanted->kind == WANT_TYPEDEF && strncmp(wanted->name, "btf_", 4) != 0)
			r = copy_typedef(&copy, wanted);
	}
	free(copy.done);
	if (r < 0) {
		btf__free(copy.out);
		return r;
	}
	*ret = copy.out;
	return 0;
}

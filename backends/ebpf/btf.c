/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <linux/btf.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bpf/btf.h>

#include <denet/fs.h>

#include "btf-internal.h"

#define SIZE_MAX_BTF (64u << 20)

/* Reading */

static int check_header(struct dn_ebpf_btf *btf)
{
	struct btf_header header;
	size_t types_at, strings_at;

	if (btf->size < sizeof(header))
		return -EINVAL;
	memcpy(&header, btf->data, sizeof(header));
	if (header.magic != BTF_MAGIC || header.hdr_len < sizeof(header) ||
		header.hdr_len > btf->size)
		return -EINVAL;
	types_at = (size_t)header.hdr_len + header.type_off;
	strings_at = (size_t)header.hdr_len + header.str_off;
	if (types_at > btf->size || header.type_len > btf->size - types_at || types_at % 4 ||
		strings_at > btf->size || header.str_len > btf->size - strings_at ||
		header.str_len == 0)
		return -EINVAL;
	btf->types = btf->data + types_at;
	btf->types_len = header.type_len;
	btf->strings = (const char *)btf->data + strings_at;
	btf->strings_len = header.str_len;
	/* The last byte ends the last name: no name runs out of the section. */
	return btf->strings[btf->strings_len - 1] == '\0' ? 0 : -EINVAL;
}

int dn_ebpf_btf_from(const void *data, size_t size, struct dn_ebpf_btf **ret)
{
	struct dn_ebpf_btf *btf = calloc(1, sizeof(*btf));
	int r;

	if (!btf)
		return -ENOMEM;
	btf->data = data;
	btf->size = size;
	r = check_header(btf);
	if (r < 0) {
		free(btf);
		return r;
	}
	*ret = btf;
	return 0;
}

/* Kernels before 6.16 can't map it, and hand out a page per read. */
static int read_all(int fd, size_t size, void **ret)
{
	unsigned char *data = malloc(size);
	size_t have = 0;

	if (!data)
		return -ENOMEM;
	while (have < size) {
		ssize_t n = read(fd, data + have, size - have);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			int r = n < 0 ? -errno : -EINVAL;

			free(data);
			return r;
		}
		have += (size_t)n;
	}
	*ret = data;
	return 0;
}

int dn_ebpf_btf_open(int sys_fd, struct dn_ebpf_btf **ret)
{
	int fd = sys_fd < 0 ? -ENOENT : dn_open_at(sys_fd, "kernel/btf/vmlinux", O_RDONLY), r;
	struct stat st;
	void *data;
	bool mapped;

	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size <= 0 ||
		st.st_size > SIZE_MAX_BTF) {
		close(fd);
		return -ENOENT;
	}
	data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
	mapped = data != MAP_FAILED;
	r = mapped ? 0 : read_all(fd, (size_t)st.st_size, &data);
	close(fd);
	if (r < 0)
		return r;
	r = dn_ebpf_btf_from(data, (size_t)st.st_size, ret);
	if (r < 0) {
		if (mapped)
			munmap(data, (size_t)st.st_size);
		else
			free(data);
		return r;
	}
	(*ret)->mapped = mapped;
	(*ret)->owned = !mapped;
	return 0;
}

void dn_ebpf_btf_free(struct dn_ebpf_btf *btf)
{
	if (!btf)
		return;
	if (btf->mapped)
		munmap((void *)btf->data, btf->size);
	if (btf->owned)
		free((void *)btf->data);
	for (unsigned i = 0; i < btf->n_wanted; i++)
		free(btf->wanted[i].name);
	free(btf->at);
	free(btf);
}

/* What is wanted */

/* Of the first three bytes of a name, in one number. */
static unsigned begin_of(uint32_t three)
{
	return (three * UINT32_C(2654435761)) >> 22;
}

_Static_assert(BEGINS == 1u << (32 - 22), "what begin_of() makes");

static uint32_t hash_of(enum want_kind kind, const char *name, size_t len)
{
	uint32_t h = UINT32_C(2166136261) ^ (uint32_t)kind;

	for (size_t i = 0; i < len; i++)
		h = (h ^ (unsigned char)name[i]) * UINT32_C(16777619);
	return h;
}

static struct wanted *find(
	const struct dn_ebpf_btf *btf, enum want_kind kind, const char *name, size_t len)
{
	for (uint32_t h = hash_of(kind, name, len);; h++) {
		uint16_t slot = btf->slot[h % SLOTS];
		const struct wanted *wanted;

		if (!slot)
			return NULL;
		wanted = &btf->wanted[slot - 1];
		if (wanted->kind == kind && wanted->len == len &&
			memcmp(wanted->name, name, len) == 0)
			return (struct wanted *)wanted;
	}
}

/* A name of less than three bytes begins like any other: whatever follows it in memory is read. */
static void note_begin(uint64_t *begins, const char *name, size_t len)
{
	uint32_t three = 0;
	unsigned bit;

	if (len < 3) {
		memset(begins, 0xff, BEGINS / 8);
		return;
	}
	memcpy(&three, name, 3);
	bit = begin_of(three);
	begins[bit / 64] |= UINT64_C(1) << bit % 64;
}

static int want(struct dn_ebpf_btf *btf, enum want_kind kind, const char *name, size_t len)
{
	uint32_t h = hash_of(kind, name, len);
	char *kept;

	if (find(btf, kind, name, len))
		return 0;
	if (btf->n_wanted == WANTED_MAX)
		return -ENOSPC;
	kept = strndup(name, len);
	if (!kept)
		return -ENOMEM;
	btf->wanted[btf->n_wanted] = (struct wanted){.name = kept, .len = len, .kind = kind};
	while (btf->slot[h % SLOTS])
		h++;
	btf->slot[h % SLOTS] = (uint16_t)++btf->n_wanted;
	note_begin(btf->begins[kind], name, len);
	btf->n_missing += kind != WANT_FUNCTION;
	return 0;
}

int dn_ebpf_btf_want_typedef(struct dn_ebpf_btf *btf, const char *name)
{
	return want(btf, WANT_TYPEDEF, name, strlen(name));
}

int dn_ebpf_btf_want_function(struct dn_ebpf_btf *btf, const char *name)
{
	return want(btf, WANT_FUNCTION, name, strlen(name));
}

/* "name___flavour" stands for "name". */
static size_t essential_len(const char *name)
{
	const char *flavour = strstr(name, "___");

	return flavour && flavour != name ? (size_t)(flavour - name) : strlen(name);
}

static uint32_t hash_of_member(const char *owner, size_t len, const char *member)
{
	return hash_of(WANT_STRUCT, owner, len) * 31 ^ hash_of(WANT_ENUM, member, strlen(member));
}

bool dn_ebpf_btf_is_read(const struct dn_ebpf_btf *btf, const char *owner, const char *member)
{
	size_t len = strlen(owner);

	for (uint32_t h = hash_of_member(owner, len, member);; h++) {
		uint16_t slot = btf->member_slot[h % SLOTS];

		if (!slot)
			return false;
		slot--;
		if (btf->member[slot].owner_len == len &&
			memcmp(btf->member[slot].owner, owner, len) == 0 &&
			strcmp(btf->member[slot].name, member) == 0)
			return true;
	}
}

static int want_member(struct dn_ebpf_btf *btf, const char *owner, size_t len, const char *name)
{
	uint32_t h = hash_of_member(owner, len, name);

	if (btf->n_members == MEMBERS_MAX)
		return -ENOSPC;
	for (; btf->member_slot[h % SLOTS]; h++) {
		unsigned known = btf->member_slot[h % SLOTS] - 1u;

		if (btf->member[known].owner_len == len &&
			memcmp(btf->member[known].owner, owner, len) == 0 &&
			strcmp(btf->member[known].name, name) == 0)
			return 0;
	}
	btf->member[btf->n_members].owner = owner;
	btf->member[btf->n_members].owner_len = len;
	btf->member[btf->n_members].name = name;
	btf->member_slot[h % SLOTS] = (uint16_t)++btf->n_members;
	return 0;
}

static int want_members(struct dn_ebpf_btf *btf, const struct btf *local,
	const struct btf_type *type, const char *owner)
{
	size_t len = owner[0] ? essential_len(owner) : 0;
	int r = 0;

	for (unsigned i = 0; i < btf_vlen(type) && r == 0; i++) {
		uint32_t name = btf_is_composite(type) ? btf_members(type)[i].name_off
						       : btf_enum(type)[i].name_off;

		r = want_member(btf, owner, len, btf__name_by_offset(local, name));
	}
	return r;
}

int dn_ebpf_btf_want_structs(struct dn_ebpf_btf *btf, const struct btf *local)
{
	for (uint32_t id = 1; id < btf__type_cnt(local); id++) {
		const struct btf_type *type = btf__type_by_id(local, id);
		const char *name = btf__name_by_offset(local, type->name_off);
		int r = 0;

		/* What both sides share, and what no program reads by name, the kernel does not
		 * have. */
		if (!name || strncmp(name, "dn_", 3) == 0)
			continue;
		if (btf_is_composite(type) && name[0])
			r = want(btf, WANT_STRUCT, name, essential_len(name));
		else if (btf_is_enum(type) && name[0])
			r = want(btf, WANT_ENUM, name, essential_len(name));
		else if (!btf_is_composite(type))
			continue;
		if (r == 0)
			r = want_members(btf, local, type, name);
		if (r < 0)
			return r;
	}
	return 0;
}

/* The walk */

/*
 * By kind: how large a type is (without its head, and for each of what it counts), and as what it
 * may be wanted. A table, for the kinds come in no order that a processor could foresee.
 */
static const struct {
	uint8_t fixed, each, want;
} kinds[32] = {
	[BTF_KIND_INT] = {.fixed = sizeof(uint32_t)},
	[BTF_KIND_ARRAY] = {.fixed = sizeof(struct btf_array)},
	[BTF_KIND_STRUCT] = {.each = sizeof(struct btf_member), .want = WANT_STRUCT},
	[BTF_KIND_UNION] = {.each = sizeof(struct btf_member), .want = WANT_STRUCT},
	[BTF_KIND_ENUM] = {.each = sizeof(struct btf_enum), .want = WANT_ENUM},
	[BTF_KIND_TYPEDEF] = {.want = WANT_TYPEDEF},
	[BTF_KIND_FUNC] = {.want = WANT_FUNCTION},
	[BTF_KIND_FUNC_PROTO] = {.each = sizeof(struct btf_param)},
	[BTF_KIND_VAR] = {.fixed = sizeof(struct btf_var)},
	[BTF_KIND_DATASEC] = {.each = sizeof(struct btf_var_secinfo)},
	[BTF_KIND_DECL_TAG] = {.fixed = sizeof(struct btf_decl_tag)},
	[BTF_KIND_ENUM64] = {.each = sizeof(struct btf_enum64), .want = WANT_ENUM},
};

static size_t size_of(const struct btf_type *type)
{
	uint32_t kind = BTF_INFO_KIND(type->info);

	return sizeof(*type) + kinds[kind].fixed +
	       (size_t)BTF_INFO_VLEN(type->info) * kinds[kind].each;
}

static void look_up(struct dn_ebpf_btf *btf, const struct btf_type *type, uint32_t id)
{
	enum want_kind kind = (enum want_kind)kinds[BTF_INFO_KIND(type->info)].want;
	struct wanted *wanted;
	const char *name;

	if (type->name_off == 0 || type->name_off >= btf->strings_len)
		return;
	name = btf->strings + type->name_off;
	wanted = find(btf, kind, name, strlen(name));
	if (!wanted || wanted->id)
		return;
	wanted->id = id;
	btf->n_missing -= kind != WANT_FUNCTION;
}

/* Without a branch but for who is worth a look: there are 140,000 types, and people wait. */
static bool is_candidate(const struct dn_ebpf_btf *btf, const struct btf_type *type)
{
	/* Names near the end are read from a little before, which may make a candidate too many. */
	uint32_t last = btf->strings_len - 4, at = type->name_off < last ? type->name_off : last;
	uint32_t four;
	unsigned bit;

	if (btf->strings_len < sizeof(four))
		return false; /* none that is wanted has room */
	memcpy(&four, btf->strings + at, sizeof(four));
	bit = begin_of(four & 0xffffff);
	return btf->begins[kinds[BTF_INFO_KIND(type->info)].want][bit / 64] >> bit % 64 & 1;
}

/* One type. 0 behind the last one. */
static int step(struct dn_ebpf_btf *btf)
{
	const struct btf_type *type = (const struct btf_type *)(btf->types + btf->walked);
	uint32_t left = btf->types_len - btf->walked;
	size_t size;

	if (left == 0)
		return 0;
	if (left < sizeof(*type))
		return -EINVAL;
	size = size_of(type);
	if (left < size)
		return -EINVAL;
	if (btf->n_types % STEP == 0)
		btf->at[btf->n_types / STEP] = btf->walked;
	btf->n_types++;
	if (is_candidate(btf, type))
		look_up(btf, type, btf->n_types);
	btf->walked += (uint32_t)size;
	return 1;
}

int dn_ebpf_btf_walk(struct dn_ebpf_btf *btf)
{
	uint32_t room = btf->types_len / sizeof(struct btf_type) / STEP + 1;
	int r = 1;

	if (!btf->at)
		btf->at = malloc(((size_t)room + 1) * sizeof(*btf->at));
	if (!btf->at)
		return -ENOMEM;
	while (btf->n_missing > 0 && r > 0)
		r = step(btf);
	return r < 0 ? r : 0;
}

const struct btf_type *dn_ebpf_btf_type(struct dn_ebpf_btf *btf, uint32_t id)
{
	const unsigned char *at;

	while (btf->n_types < id && step(btf) > 0)
		;
	if (id == 0 || id > btf->n_types)
		return NULL;
	at = btf->types + btf->at[(id - 1) / STEP];
	for (uint32_t i = (id - 1) % STEP; i > 0; i--)
		at += size_of((const struct btf_type *)at);
	return (const struct btf_type *)at;
}

uint32_t dn_ebpf_btf_id(struct dn_ebpf_btf *btf, const char *name)
{
	const struct wanted *wanted = find(btf, WANT_TYPEDEF, name, strlen(name));

	if (wanted)
		return wanted->id;
	wanted = find(btf, WANT_FUNCTION, name, strlen(name));
	while (wanted && !wanted->id && step(btf) > 0)
		;
	return wanted ? wanted->id : 0;
}

bool dn_ebpf_btf_has_struct(const struct dn_ebpf_btf *btf, const char *name)
{
	const struct wanted *wanted = find(btf, WANT_STRUCT, name, strlen(name));

	return wanted && wanted->id;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What the walk over the kernel's BTF (btf.c) hands to the copying of a part of it (btf-extract.c).
 */
#ifndef DENET_EBPF_BTF_INTERNAL_H
#define DENET_EBPF_BTF_INTERNAL_H

#include "btf.h"

#define WANTED_MAX 512
#define MEMBERS_MAX 1024
#define SLOTS 4096 /* a power of two, several times WANTED_MAX and MEMBERS_MAX */

/* Of every 16th type it is kept where it lies: the others are walked to from there. */
#define STEP 16
#define BEGINS 1024 /* a power of two, times 64 */

enum want_kind { WANT_NOTHING, WANT_TYPEDEF, WANT_FUNCTION, WANT_STRUCT, WANT_ENUM, WANT_N };

struct wanted {
	char *name; /* without its ___flavour */
	size_t len;
	enum want_kind kind;
	uint32_t id; /* 0: not found */
};

struct dn_ebpf_btf {
	const unsigned char *data; /* the file */
	size_t size;
	bool mapped, owned;
	const unsigned char *types;
	uint32_t types_len;
	const char *strings;
	uint32_t strings_len;
	uint32_t *at; /* by (type id - 1) / STEP: offset in types */
	uint32_t walked; /* bytes of types */
	uint32_t n_types; /* that were walked; their ids are 1 .. n_types */
	struct wanted wanted[WANTED_MAX];
	unsigned n_wanted;
	unsigned n_missing; /* of the wanted, less functions: not found so far */
	uint16_t slot[SLOTS]; /* by hash of kind and name: 1 + index of wanted */
	/* How wanted names begin: most names are looked at no further. */
	uint64_t begins[WANT_N][BEGINS / 64];
	struct {
		const char *owner; /* "" is for structs without a name */
		size_t owner_len;
		const char *name;
	} member[MEMBERS_MAX]; /* what the programs read */
	unsigned n_members;
	uint16_t member_slot[SLOTS];
};

/* Does some local struct (or enum) of this name have this member? "" is for those without a name.
 */
bool dn_ebpf_btf_is_read(const struct dn_ebpf_btf *btf, const char *owner, const char *member);

/* NULL for an id that is none. Walks on to it. */
const struct btf_type *dn_ebpf_btf_type(struct dn_ebpf_btf *btf, uint32_t id);

#endif

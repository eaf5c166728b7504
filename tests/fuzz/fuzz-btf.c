/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzz harness: the kernel's BTF, walked and copied for programs that read a few structs. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/btf.h>

#include "btf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Short names, so that chance finds them. */
static struct btf *local_btf(void)
{
	struct btf *btf = btf__new_empty();
	int number = btf__add_int(btf, "i", 4, BTF_INT_SIGNED);

	btf__add_typedef(btf, "t", btf__add_struct(btf, "", 4));
	btf__add_struct(btf, "s", 4);
	btf__add_field(btf, "a", number, 0, 0);
	btf__add_field(btf, "b", number, 0, 0);
	btf__add_struct(btf, "s___old", 4);
	btf__add_field(btf, "c", number, 0, 0);
	btf__add_enum(btf, "e", 4);
	btf__add_enum_value(btf, "a", 0);
	return btf;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct btf *local;
	struct dn_ebpf_btf *btf = NULL;
	struct btf *small = NULL;
	void *copy = malloc(size + !size);

	if (!local)
		local = local_btf();
	if (!copy)
		return 0;
	memcpy(copy, data, size);
	if (dn_ebpf_btf_from(copy, size, &btf) == 0) {
		if (dn_ebpf_btf_want_structs(btf, local) < 0 ||
			dn_ebpf_btf_want_typedef(btf, "t") < 0 ||
			dn_ebpf_btf_want_function(btf, "f") < 0)
			abort();
		if (dn_ebpf_btf_walk(btf) == 0 && dn_ebpf_btf_extract(btf, &small) == 0) {
			int id = btf__find_by_name_kind(small, "s", BTF_KIND_STRUCT);

			if (id > 0 && !btf__type_by_id(small, (uint32_t)id))
				abort();
			/* The walk goes on to functions, which may be anywhere. */
			if (dn_ebpf_btf_id(btf, "f") > size)
				abort();
		}
		btf__free(small);
		dn_ebpf_btf_free(btf);
	}
	free(copy);
	return 0;
}

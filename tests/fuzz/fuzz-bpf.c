/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzz harness: BTF and the texts of fdinfo. The first byte chooses. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <denet/bpf.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void btf(const uint8_t *data, size_t size)
{
	struct dn_btf_blob *base = dn_btf_parse(data, size, NULL);
	struct dn_btf_blob *split = base ? dn_btf_parse(data, size, base) : NULL;

	for (uint32_t id = 0; id < 64; id++) {
		const char *name = dn_btf_type_name(split ? split : base, id);

		if (name && strlen(name) >= size)
			abort();
	}
	dn_btf_free(split);
	dn_btf_free(base);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *key;
	uint64_t value;
	char *text;

	if (size < 2)
		return 0;
	if (data[0] % 2 == 0) {
		btf(data + 1, size - 1);
		return 0;
	}
	text = malloc(size);
	if (!text)
		return 0;
	memcpy(text, data + 1, size - 1);
	text[size - 1] = '\0';
	if (dn_bpf_fdinfo_u64(text, "memlock", &value) && !strstr(text, "memlock:"))
		abort();
	if (dn_bpf_fd_kind(text, &key) >= 0 && !strstr(key, "_id"))
		abort();
	free(text);
	return 0;
}

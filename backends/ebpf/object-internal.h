/* SPDX-License-Identifier: Apache-2.0 */
/* Between object.c, which knows and attaches the objects, and object-load.c, which loads them. */
#ifndef DENET_EBPF_OBJECT_INTERNAL_H
#define DENET_EBPF_OBJECT_INTERNAL_H

#include <linux/bpf.h>

#include "object.h"

struct bpf_program;

/* Our own sections, by what their programs are attached to. */
enum dn_ebpf_target {
	DN_EBPF_TARGET_TRACEPOINT,
	DN_EBPF_TARGET_ITER,
	DN_EBPF_TARGET_FENTRY,
	DN_EBPF_TARGET_FEXIT,
	DN_EBPF_TARGET_N
};

struct dn_ebpf_target_kind {
	const char *section;
	enum bpf_attach_type attach;
};
extern const struct dn_ebpf_target_kind dn_ebpf_target_kinds[DN_EBPF_TARGET_N];

/* Raw tracepoints, which are attached to by name. */
#define DN_EBPF_RAW_SECTION "dn_raw"

/* The kernel's name of the type to attach to; false for a section that has none. */
bool dn_ebpf_target_of(const struct bpf_program *program, enum dn_ebpf_target *ret_kind, char *name,
	size_t size, const char **ret_target);
const struct dn_ebpf_image *dn_ebpf_find_image(const char *name, bool hash);
/* NULL, and the object's error. */
struct bpf_object *dn_ebpf_open_object(struct dn_ebpf_objects *objects, unsigned index);
struct dn_ebpf_program *dn_ebpf_program_entry(struct dn_ebpf_objects *objects, const char *name);
void dn_ebpf_attach_object(struct dn_ebpf_objects *objects, struct bpf_object *object);
void dn_ebpf_forget_programs(struct dn_ebpf_objects *objects);
void dn_ebpf_close_opened(struct dn_ebpf_objects *objects);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The BPF objects: opened, relocated against the small BTF, loaded, attached. A program that can't
 * be had here is left out with the reason and the others go on.
 */
#ifndef DENET_EBPF_OBJECT_H
#define DENET_EBPF_OBJECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "btf.h"

struct bpf_object;

/* Made by the build (bpf/embed.py). */
struct dn_ebpf_image {
	const char *name; /* "process", "syscalls", ... */
	bool hash; /* the build for kernels without task storage in tracing programs */
	const unsigned char *data;
	size_t size;
};
extern const struct dn_ebpf_image dn_ebpf_images[];
extern const unsigned dn_n_ebpf_images;

#define DN_EBPF_OBJECTS_MAX 16
#define DN_EBPF_PROGRAMS_MAX 96
#define DN_EBPF_SHARED_MAX 10

/* What became of one program. */
struct dn_ebpf_program {
	const char *name; /* of its function */
	const char *target; /* what it is attached to: a tracepoint, a function */
	unsigned object;
	bool wanted;
	bool absent; /* the kernel does not have the target */
	int error; /* of loading or attaching */
	int fd; /* borrowed from the object */
	int link; /* -1 while it is not attached */
};

struct dn_ebpf_objects {
	struct dn_ebpf_btf *btf;
	bool hash;
	int core_btf; /* memfd with the small BTF; -1 */
	char core_btf_path[32];
	struct {
		const struct dn_ebpf_image *image;
		struct bpf_object *object; /* NULL: could not be had, or not yet */
		struct bpf_object *opened; /* not loaded yet */
		bool late; /* loaded when it is first needed */
		int error;
	} object[DN_EBPF_OBJECTS_MAX];
	unsigned n_objects;
	struct dn_ebpf_program program[DN_EBPF_PROGRAMS_MAX];
	unsigned n_programs;
	int shared[DN_EBPF_SHARED_MAX]; /* maps that all objects share: descriptors */
	/* While threads load. */
	uint32_t being_made; /* of the shared maps, a bit each; under a lock */
	unsigned next; /* the object that is loaded next */
	bool first_failed;
	char refusals[2048]; /* the telling lines for each program that was refused */
	size_t refusals_len;
	uint64_t load_ns, attach_ns;
	/* Asked before each load of an object: sets what must be known then. One thread at a time
	 * calls this and reduce(). */
	void (*prepare)(void *arg, const char *name, struct bpf_object *object);
	/* A program with features was refused: true when it is worth trying again with fewer. */
	bool (*reduce)(void *arg, const char *program);
	void *arg;
};

void dn_ebpf_objects_init(struct dn_ebpf_objects *objects);
/* Adds an object by name; idempotent. -ENOENT when this build has none. */
int dn_ebpf_objects_add(struct dn_ebpf_objects *objects, const char *name);
/* The same, but for dn_ebpf_objects_load_late(): what need not be there before the command starts.
 */
int dn_ebpf_objects_add_late(struct dn_ebpf_objects *objects, const char *name);
/* Loads all; those that fail are told in object[].error and program[].error. Negative errno when
 * nothing works: the first reason. */
int dn_ebpf_objects_load(struct dn_ebpf_objects *objects, int sys_fd);
void dn_ebpf_objects_attach(struct dn_ebpf_objects *objects);
/* Are there late objects that nobody has needed yet? */
bool dn_ebpf_objects_pending(const struct dn_ebpf_objects *objects);
/* Loads and attaches a late object, once; its error at every call. */
int dn_ebpf_objects_load_late(struct dn_ebpf_objects *objects, const char *name);
void dn_ebpf_objects_close(struct dn_ebpf_objects *objects);

struct bpf_object *dn_ebpf_object(const struct dn_ebpf_objects *objects, const char *name);
const struct dn_ebpf_program *dn_ebpf_program(
	const struct dn_ebpf_objects *objects, const char *name);
/* Or will be, as far as the kernel's BTF tells, when it is of a late object. */
bool dn_ebpf_is_attached(const struct dn_ebpf_objects *objects, const char *name);
/* Descriptor of a map, or -1. */
int dn_ebpf_map(const struct dn_ebpf_objects *objects, const char *object, const char *map);

/* For prepare(). */
void dn_ebpf_leave_out(struct bpf_object *object, const char *program);
/* Writes a constant of .rodata; false when the object has none of that name and size. */
bool dn_ebpf_set(struct bpf_object *object, const char *name, const void *value, size_t size);
void dn_ebpf_resize(struct bpf_object *object, const char *map, uint32_t entries);
/*
 * Names, separated by spaces, of maps that no live code uses with the constants as they are: one
 * entry each. They can't be left out: older verifiers also look at functions that nobody calls.
 */
void dn_ebpf_shrink_maps(struct bpf_object *object, const char *maps);

#endif

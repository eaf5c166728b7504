/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this folder share. */
#ifndef DENET_HOST_H
#define DENET_HOST_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include <denet/machine.h>

/* proc_fd is a mounted procfs, so that syscalls and plain paths speak of the same machine as its
 * files. */
bool dn_host_is_live(int proc_fd);

/* One mount of /proc/self/mountinfo, unescaped. */
struct dn_mount {
	char root[1024];
	char point[1024];
	char type[64];
	char super_options[512];
};

/* 0; -EINVAL for what is no line of mountinfo; -ENAMETOOLONG when a field does not fit. The line is
 * changed. */
int dn_mount_parse(char *line, struct dn_mount *ret);
/* Calls visit for every mount until it returns something else than 0, which is returned. Bounded.
 */
int dn_mount_visit(int proc_fd, int (*visit)(const struct dn_mount *mount, void *data), void *data);

/* Fills version, path and limits; what is unknown stays absent. */
void dn_cgroup_read(int proc_fd, struct dn_cgroup_facts *ret);

/*
 * Path of a cgroup inside a mount whose root is root: -EXDEV when it is not below it. *ret points
 * into path.
 */
int dn_cgroup_below(const char *root, const char *path, const char **ret);

/* Fills virtualization and container. cpuinfo, its head; hypervisor: the signature that the CPU
 * gives, or NULL. */
void dn_environment_read(int proc_fd, int sys_fd, const char *cpuinfo, struct dn_machine *ret);

/* The words that stand in brackets in "a [b] c"; "" when there is none or it does not fit. */
void dn_parse_bracketed(const char *text, char *out, size_t size);
/* Reads a small file and cuts it at the first newline; "" when it can't be read or holds more than
 * fits. */
void dn_read_word(int dir_fd, const char *path, char *out, size_t size);

#endif

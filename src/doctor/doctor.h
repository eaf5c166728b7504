/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of `denet doctor` share: cmd-doctor.c wires and prints, doctor-*.c ask the
 * machine. */
#ifndef DENET_DOCTOR_H
#define DENET_DOCTOR_H

#include <stdio.h>

#include <denet/backend.h>
#include <denet/sink.h>

#include "options.h"
#include "plan.h"

/* Worst last. */
enum dn_check_level { DN_CHECK_OK, DN_CHECK_INFO, DN_CHECK_WARN, DN_CHECK_ERROR };

struct dn_check {
	const char *id; /* stable: scripts ask for it */
	enum dn_check_level level;
	char text[256]; /* what was found */
	char lost[256]; /* what can't be measured because of it; "" for nothing */
	char remedy[640]; /* the one smallest change; "" when there is none */
};

#define DN_CHECK_MAX 16

struct dn_doctor {
	struct dn_env env;
	bool procfs; /* proc_fd is a mounted procfs */
	bool live; /* not a recorded machine: system calls speak of the same one */
	struct dn_plan plan;
	struct dn_machine machine;
	struct dn_run run; /* what a run would say in its header */
	char self[1024]; /* path of this binary, quoted for a shell */
	struct dn_check check[DN_CHECK_MAX];
	unsigned n_checks;
};

struct dn_check *dn_doctor_add(struct dn_doctor *doctor, const char *id, enum dn_check_level level,
	const char *format, ...) __attribute__((format(printf, 4, 5)));
void dn_check_lost(struct dn_check *check, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
void dn_check_remedy(struct dn_check *check, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* The smallest way to give this binary one capability: number and name without "cap_", as in
 * "perfmon". */
void dn_check_remedy_capability(
	struct dn_check *check, const struct dn_doctor *doctor, int number, const char *name);
const char *dn_check_level_name(enum dn_check_level level);

/* doctor-checks.c: files, netlink, what the kernel was built with. */
void dn_doctor_check_system(struct dn_doctor *doctor);
/* doctor-perf.c: perf_event_open, by trying and by value. */
void dn_doctor_check_perf(struct dn_doctor *doctor);

/* doctor-probes.c: what becomes of a probe group. */
struct dn_doctor_group {
	const struct dn_probes_info *info;
	unsigned metrics, missing;
	const char *reason, *hint; /* of most that are missing; NULL when none is */
};
void dn_doctor_group(const struct dn_doctor *doctor, unsigned group, struct dn_doctor_group *ret);
/* The metric is of the group and missing. */
bool dn_doctor_group_lacks(const struct dn_doctor *doctor, unsigned group, unsigned id);
/* "works", "in part", "missing" */
const char *dn_doctor_group_state(const struct dn_doctor_group *group);

/* doctor-print.c; columns is the width to wrap at. */
void dn_doctor_print(FILE *out, const struct dn_doctor *doctor, bool color, unsigned columns);
/* 0 or negative errno. */
int dn_doctor_print_json(FILE *out, const struct dn_doctor *doctor);

#endif

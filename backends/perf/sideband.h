/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sideband: one dummy event per CPU whose ring tells of every fork, exec, exit and context
 * switch of the tree, at any privilege. The lossless process table, and the CPU time of processes
 * that no sample ever sees.
 */
#ifndef DENET_PERF_SIDEBAND_H
#define DENET_PERF_SIDEBAND_H

#include "event.h"
#include "lives.h"
#include "pmu.h"
#include "ring.h"
#include "tasks.h"

struct dn_perf_cpu {
	struct dn_source source; /* its fd is the event that owns the ring */
	struct dn_perf_sideband *sideband;
	struct dn_perf_ring ring;
	int *fd; /* by task; -1 where there is none. CPU-wide: one */
	size_t n_fds;
};

struct dn_perf_sideband {
	const struct dn_env *env;
	struct dn_core *core; /* NULL before the start */
	/* Told when the kernel took a process's events away. */
	void (*on_taken)(void *arg, pid_t pid);
	void *on_taken_arg;
	struct dn_perf_cpu *cpu;
	unsigned n_cpus;
	bool cpu_wide; /* attach: the records of the whole machine, filtered by the tree */
	bool format_lost; /* the kernel counts losses per event */
	bool source; /* the tree is ours to tell */
	bool draining;
	uint64_t sweep_ns; /* after a loss: no look at everybody before */
	uint64_t drained_ns; /* what happened up to here is known */
	struct dn_perf_lives *lives;
	uint64_t lost_records; /* from LOST records and broken rings */
	uint64_t lost_told;
	int online_fd; /* kept open: the list of online CPUs */
	char online[256];
};

/* Opens and maps; nothing is recorded yet. 0, or negative errno with *ret filled. */
int dn_perf_sideband_open(struct dn_perf_sideband *sideband, const struct dn_env *env,
	const struct dn_perf_tasks *tasks, struct dn_probe *probe, struct dn_perf_refusal *ret);
/*
 * source: births and deaths go to core->tree. Attach: recording begins, and who runs already is
 * entered. run: it begins with the exec.
 */
int dn_perf_sideband_start(struct dn_perf_sideband *sideband, struct dn_core *core,
	const struct dn_perf_tasks *tasks, bool source);
void dn_perf_sideband_drain(struct dn_perf_sideband *sideband);
/* Losses since the last call. final: asks every event. */
uint64_t dn_perf_sideband_lost(struct dn_perf_sideband *sideband, bool final);
/* True once, when the set of online CPUs differs from the one that has rings. */
bool dn_perf_sideband_cpus_changed(struct dn_perf_sideband *sideband);
uint64_t dn_perf_sideband_blocked(const struct dn_perf_sideband *sideband);
/* Puts switch-derived CPU and blocked time into the live processes. */
void dn_perf_sideband_per_process(struct dn_perf_sideband *sideband);
void dn_perf_sideband_close(struct dn_perf_sideband *sideband);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the parts of this backend share.
 *
 * A probe group (include/denet/probes.def) is a struct dn_ebpf_group: which object or which
 * features of the system call programs it needs, which metrics it then offers, and how they get
 * into a frame. The list of groups is in group.c. Everything is loaded and attached in probe(), so
 * that an offer is what was had and not what is hoped for; nobody is traced before open() flags the
 * targets.
 */
#ifndef DENET_EBPF_EBPF_H
#define DENET_EBPF_EBPF_H

#include <denet/arena.h>
#include <denet/backend.h>
#include <denet/table.h>

#include "object.h"
#include "table.h"
#include "wire.h"

extern const struct dn_backend_ops dn_backend_ebpf;

struct dn_ebpf;

/* A metric that a group can supply. */
struct dn_ebpf_metric {
	unsigned metric;
	enum dn_quality quality;
	const char *source;
	const char *programs; /* names, separated by spaces: all must be attached */
	const char *reason; /* why it is not exact; NULL */
};

struct dn_ebpf_group {
	enum dn_probe_group id;
	const char *object; /* its own object; NULL: none */
	const char *late; /* another one, loaded when it is first needed */
	uint32_t features; /* enum dn_wire_feature of the system call programs */
	bool sampled; /* its programs ask sample_weight() */
	const char *maps; /* names: maps in their object that are small while the group is off */
	const struct dn_ebpf_metric *metric;
	unsigned n_metrics;
	/* All optional. prepare: between opening and loading of each object. */
	void (*prepare)(struct dn_ebpf *ebpf, const char *name, struct bpf_object *object);
	/* After loading, before anything is offered: true when it refused the metric itself. */
	bool (*refuse)(struct dn_ebpf *ebpf, struct dn_probe *probe, unsigned metric);
	/* What belongs to the group and was attached is to be used from now on. 0 or negative
	 * errno: the group's metrics are missing. */
	int (*start)(struct dn_ebpf *ebpf);
	/* What runs in the tree counts from now on. */
	void (*flagged)(struct dn_ebpf *ebpf);
	void (*sample)(struct dn_ebpf *ebpf, struct dn_frame *frame);
	/* A record of the ring, bounds already checked. */
	void (*record)(struct dn_ebpf *ebpf, const struct dn_wire_record *record, size_t size);
	void (*finish)(struct dn_ebpf *ebpf);
};

extern const struct dn_ebpf_group *const dn_ebpf_groups[];
extern const unsigned dn_n_ebpf_groups;
const struct dn_ebpf_group *dn_ebpf_group(enum dn_probe_group id);

#define DN_EBPF_SPARE_MAX 24

struct dn_ebpf {
	struct dn_backend base; /* first */
	const struct dn_env *env;
	struct dn_core *core;
	struct dn_arena *arena;
	struct dn_metric_set assigned;
	struct dn_metric_set degraded;
	struct dn_ebpf_objects objects;
	uint32_t groups; /* that are on and had something to load: a bit each */
	uint32_t features; /* of the system call programs, as loaded */
	bool loaded;
	bool process_source; /* the tree is ours to tell */
	unsigned n_cpus; /* possible ones: per-CPU values have so many */
	size_t page;
	struct dn_wire_control *control; /* mapped */
	struct dn_ebpf_ring *ring;
	struct dn_wire_totals totals; /* summed at this sample */
	uint64_t losses[DN_LOSS_N], losses_told[DN_LOSS_N];
	uint64_t missed[DN_EBPF_PROGRAMS_MAX]; /* events that each program did not see before */
	uint64_t unseen[DN_EBPF_PROGRAMS_MAX]; /* and since, as far as told */
	uint64_t received; /* ring records */
	bool alive; /* somebody may be: of those that ended all is known, and no pass is needed */
	bool still; /* at the last pass nobody had a CPU or was about to */
	uint64_t still_arrivals; /* totals.arrivals before it */
	int spare[DN_EBPF_SPARE_MAX]; /* descriptors for passes */
	unsigned n_spare;
	bool objects_late; /* what is loaded late was tried */
	void *group_data[DN_PROBES_N]; /* private to each group */
	int stats_fd; /* keeps the kernel's BPF statistics on */
	int stats_error; /* why they are not */
	bool accounted; /* they are */
	struct dn_ebpf_overhead *overhead; /* NULL: no budget */
};

/* usage.c, sched.c, syscalls.c, ...: one per group */
extern const struct dn_ebpf_group dn_ebpf_group_hw;
extern const struct dn_ebpf_group dn_ebpf_group_lifecycle, dn_ebpf_group_sched,
	dn_ebpf_group_syscalls, dn_ebpf_group_latency, dn_ebpf_group_signals, dn_ebpf_group_locks,
	dn_ebpf_group_limits, dn_ebpf_group_file, dn_ebpf_group_block, dn_ebpf_group_security,
	dn_ebpf_group_network, dn_ebpf_group_memory;

/* Sums of all CPUs into totals. final: waits a little for those whose last switch is to come. */
int dn_ebpf_read_totals(struct dn_ebpf *ebpf, bool final);
bool dn_ebpf_has(const struct dn_ebpf *ebpf, unsigned metric); /* assigned */
bool dn_ebpf_on(const struct dn_ebpf *ebpf, enum dn_probe_group id);
void dn_ebpf_degrade(
	struct dn_ebpf *ebpf, unsigned metric, enum dn_quality quality, const char *reason);
/* Every assigned metric of a group. */
void dn_ebpf_degrade_group(
	struct dn_ebpf *ebpf, enum dn_probe_group id, enum dn_quality quality, const char *reason);
/* Of so many events of the group one is looked at: 1 all, UINT32_MAX none. Only groups whose
 * programs ask is_sampled_out(). */
void dn_ebpf_set_sampling(struct dn_ebpf *ebpf, enum dn_probe_group id, uint32_t every);

/* misses.c. is_preempted: does this kernel let others preempt programs? begin: what came before is
 * not ours. */
bool dn_ebpf_is_preempted(void);
void dn_ebpf_misses_begin(struct dn_ebpf *ebpf);
void dn_ebpf_misses_tell(struct dn_ebpf *ebpf);
bool dn_ebpf_has_word(const char *words, const char *word); /* words: separated by spaces */

/* cost.c. open: before anything is attached, with the privileges for it; a refusal is told in the
 * probe. run_ns: of a program since it was loaded, as far as statistics were on. */
void dn_ebpf_cost_open(struct dn_ebpf *ebpf, struct dn_probe *probe);
void dn_ebpf_cost_close(struct dn_ebpf *ebpf);
void dn_ebpf_cost(struct dn_backend *backend, struct dn_cost *cost);
uint64_t dn_ebpf_run_ns(const struct dn_ebpf *ebpf, unsigned program, uint64_t *ret_runs);

/* overhead.c: at each sample, what the budget asks for */
int dn_ebpf_overhead_open(struct dn_ebpf *ebpf);
void dn_ebpf_overhead_watch(struct dn_ebpf *ebpf);
void dn_ebpf_overhead_close(struct dn_ebpf *ebpf);

/* syscalls.c: tables that hold counts, which are whole, beside times, which are not. */
void dn_ebpf_degrade_call_tables(struct dn_ebpf *ebpf, enum dn_quality quality, const char *reason);
/* "openat", "i386:open", "syscall_999" */
void dn_ebpf_call_name(unsigned index, char *name, size_t size);

/* tell.c: a record becomes an event, about its process where it is in the tree. */
void dn_ebpf_tell(struct dn_ebpf *ebpf, enum dn_event_type type,
	const struct dn_wire_record *record, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

/* unprivileged.c: see <denet/backend.h> */
int dn_ebpf_unprivileged(struct dn_backend *backend);

/* ring.c */
int dn_ebpf_ring_open(struct dn_ebpf *ebpf);
void dn_ebpf_ring_drain(struct dn_ebpf *ebpf);
void dn_ebpf_ring_close(struct dn_ebpf *ebpf);

/* pass.c: passes over all tasks of the machine. reserve, release: the descriptors for them. */
void dn_ebpf_pass_reserve(struct dn_ebpf *ebpf);
void dn_ebpf_pass_release(struct dn_ebpf *ebpf);
int dn_ebpf_pass(struct dn_ebpf *ebpf, enum dn_wire_pass pass, size_t size,
	void (*each)(struct dn_ebpf *ebpf, const void *entry));
/* Totals that were just read are made those of now, with what live threads used; processes: the
 * sums of each process as well. 0 or negative errno of reading. */
int dn_ebpf_harvest(struct dn_ebpf *ebpf, bool processes);
int dn_ebpf_flag_targets(struct dn_ebpf *ebpf);
int dn_ebpf_flag_running(struct dn_ebpf *ebpf);

/* maps.c: reading. Per-CPU values are handed on one by one; value_size as in the kernel side. */
int dn_ebpf_read_percpu(const struct dn_ebpf *ebpf, int fd, uint32_t key, size_t value_size,
	void (*each)(void *arg, const void *value), void *arg);
/* All entries of a per-CPU array in one call where the kernel can. each: key, one CPU's value. */
int dn_ebpf_read_percpu_array(const struct dn_ebpf *ebpf, int fd, uint32_t entries,
	size_t value_size, void (*each)(void *arg, uint32_t key, const void *value), void *arg);
/* Every entry of a hash. */
int dn_ebpf_read_hash(int fd, size_t key_size, size_t value_size,
	void (*each)(void *arg, const void *key, const void *value), void *arg);
/* The same of a per-CPU hash: each CPU's value of each key. */
int dn_ebpf_read_percpu_hash(const struct dn_ebpf *ebpf, int fd, size_t key_size, size_t value_size,
	void (*each)(void *arg, const void *key, const void *value), void *arg);
/* Adds the kernel's counts to a histogram. */
void dn_ebpf_histogram_add(struct dn_histogram *into, const struct dn_wire_histogram *from);

#endif

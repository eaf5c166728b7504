/* SPDX-License-Identifier: Apache-2.0 */
/* The process table: live members by pid, dead ones folded into bounded totals (top.c). */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <denet/cpu-split.h>
#include <denet/fs.h>

#include "derive.h"
#include "top.h"
#include "tree.h"

#define BUCKETS_MIN 64

struct node {
	struct dn_process process; /* first: backends hold pointers to it */
	bool reaped_by_us;
	uint32_t told; /* a bit per backend that saw its birth */
	uint64_t derived_cpu_ns, derived_t_ns; /* at the last dn_tree_derive() */
	struct dn_cpu_split split; /* what was told of it */
};

struct dn_tree {
	struct dn_tree_listener *listener;
	struct node **buckets;
	size_t n_buckets;
	struct dn_process *first, *last;
	uint64_t t0_ns;
	bool begun;
	uint64_t live, started, exited, lost;
	struct dn_top top;
};

int dn_tree_new(struct dn_tree_listener *listener, struct dn_tree **ret)
{
	struct dn_tree *tree = calloc(1, sizeof(*tree));

	if (!tree)
		return -ENOMEM;
	tree->buckets = calloc(BUCKETS_MIN, sizeof(struct node *));
	if (!tree->buckets) {
		free(tree);
		return -ENOMEM;
	}
	tree->n_buckets = BUCKETS_MIN;
	tree->listener = listener;
	*ret = tree;
	return 0;
}

void dn_tree_free(struct dn_tree *tree)
{
	struct dn_process *next;

	if (!tree)
		return;
	for (struct dn_process *p = tree->first; p; p = next) {
		next = p->next;
		free(p);
	}
	dn_top_finish(&tree->top);
	free(tree->buckets);
	free(tree);
}

void dn_tree_begin(struct dn_tree *tree, uint64_t t0_ns)
{
	tree->t0_ns = t0_ns;
	tree->begun = true;
}

static size_t bucket_of(const struct dn_tree *tree, pid_t pid)
{
	return ((uint32_t)pid * UINT32_C(2654435761) >> 8) & (tree->n_buckets - 1);
}

static void grow(struct dn_tree *tree)
{
	size_t n = tree->n_buckets * 4;
	struct node **buckets = calloc(n, sizeof(*buckets));

	if (!buckets)
		return; /* longer chains, still right */
	free(tree->buckets);
	tree->buckets = buckets;
	tree->n_buckets = n;
	for (struct dn_process *p = tree->first; p; p = p->next) {
		struct node **slot = &tree->buckets[bucket_of(tree, p->pid)];

		p->hash_next = (struct dn_process *)*slot;
		*slot = (struct node *)p;
	}
}

struct dn_process *dn_tree_find(struct dn_tree *tree, pid_t pid)
{
	struct dn_process *p = (struct dn_process *)tree->buckets[bucket_of(tree, pid)];

	while (p && p->pid != pid)
		p = p->hash_next;
	return p;
}

static uint64_t relative(const struct dn_tree *tree, uint64_t t_ns)
{
	return tree->begun ? dn_sub_sat(t_ns, tree->t0_ns) : 0;
}

static void set_name(struct dn_process *process, const char *name, size_t len)
{
	if (len > sizeof(process->name) - 1)
		len = sizeof(process->name) - 1;
	memset(process->name, 0, sizeof(process->name));
	memcpy(process->name, name, len);
}

static struct node *insert(struct dn_tree *tree, pid_t pid, pid_t ppid, uint64_t t_ns)
{
	struct node *node, **slot;
	struct dn_process *p;

	if (tree->live >= DN_TREE_LIVE_MAX) {
		tree->lost++;
		return NULL;
	}
	node = calloc(1, sizeof(*node));
	if (!node) {
		tree->lost++;
		return NULL;
	}
	if (tree->live >= tree->n_buckets * 2)
		grow(tree);
	p = &node->process;
	p->pid = pid;
	p->ppid = ppid;
	p->alive = true;
	p->inherited = !tree->begun;
	p->start_ns = relative(tree, t_ns);
	node->derived_t_ns = t_ns;
	slot = &tree->buckets[bucket_of(tree, pid)];
	p->hash_next = (struct dn_process *)*slot;
	*slot = node;
	p->prev = tree->last;
	if (tree->last)
		tree->last->next = p;
	else
		tree->first = p;
	tree->last = p;
	tree->live++;
	tree->started++;
	return node;
}

static void erase(struct dn_tree *tree, struct dn_process *process)
{
	struct dn_process **at =
		(struct dn_process **)&tree->buckets[bucket_of(tree, process->pid)];

	while (*at != process)
		at = &(*at)->hash_next;
	*at = process->hash_next;
	if (process->prev)
		process->prev->next = process->next;
	else
		tree->first = process->next;
	if (process->next)
		process->next->prev = process->prev;
	else
		tree->last = process->prev;
	tree->live--;
	free(process);
}

struct dn_process *dn_tree_add_target(struct dn_tree *tree, pid_t pid, bool reaped_by_us)
{
	struct dn_process *known = dn_tree_find(tree, pid);
	struct node *node;

	if (known) {
		known->is_target = true;
		return known;
	}
	node = insert(tree, pid, 0, tree->t0_ns);
	if (!node)
		return NULL;
	node->process.is_target = true;
	node->process.child_of_denet = reaped_by_us;
	node->reaped_by_us = reaped_by_us;
	tree->listener->born(tree->listener, &node->process, tree->t0_ns);
	return &node->process;
}

struct dn_process *dn_tree_fork(
	struct dn_tree *tree, pid_t pid, pid_t ppid, uint64_t t_ns, bool force)
{
	struct dn_process *known = dn_tree_find(tree, pid);
	const struct dn_process *parent = dn_tree_find(tree, ppid);
	struct node *node;

	if (known)
		return known;
	if (!parent && !force)
		return NULL;
	node = insert(tree, pid, ppid, t_ns);
	if (!node)
		return NULL;
	/* A fork keeps its parent's name until it execs. */
	if (parent)
		memcpy(node->process.name, parent->name, sizeof(parent->name));
	tree->listener->born(tree->listener, &node->process, t_ns);
	return &node->process;
}

void dn_tree_exec(struct dn_tree *tree, pid_t pid, const char *name, size_t name_len, uint64_t t_ns)
{
	struct dn_process *process = dn_tree_find(tree, pid);

	if (!process)
		return;
	set_name(process, name, name_len);
	tree->listener->exec(tree->listener, process, t_ns);
}

void dn_tree_rename(struct dn_tree *tree, pid_t pid, const char *name, size_t name_len)
{
	struct dn_process *process = dn_tree_find(tree, pid);

	if (process)
		set_name(process, name, name_len);
}

/*
 * Of a process that denet did not reap itself, these are what the last look saw and not what it had
 * at its end: nobody could tell them from final values.
 */
static void forget_last_seen(struct dn_process *process)
{
	static const unsigned metrics[] = {DN_M_cpu_user_ns, DN_M_cpu_system_ns,
		DN_M_cpu_run_delay_ns, DN_M_cpu_voluntary_switches, DN_M_cpu_involuntary_switches,
		DN_M_memory_minor_faults, DN_M_memory_major_faults, DN_M_io_read_bytes,
		DN_M_io_write_bytes, DN_M_io_read_chars, DN_M_io_write_chars, DN_M_io_read_calls,
		DN_M_io_write_calls};

	for (unsigned i = 0; i < sizeof(metrics) / sizeof(metrics[0]); i++)
		dn_process_none(process, metrics[i]);
}

/* Ticks are coarser than the clock that the total is of, rusage begins earlier: the parts are made
 * parts of it. */
static void fit_cpu_split(struct node *node)
{
	struct dn_value *value = node->process.value;
	const struct dn_value *total = &value[dn_process_slot(DN_M_cpu_total_ns)];
	struct dn_value *user = &value[dn_process_slot(DN_M_cpu_user_ns)];
	struct dn_value *system = &value[dn_process_slot(DN_M_cpu_system_ns)];

	if (total->type != DN_VALUE_U64 || user->type != DN_VALUE_U64 ||
		system->type != DN_VALUE_U64)
		return;
	dn_cpu_fit(&node->split, total->u64, &user->u64, &system->u64);
}

static void end(struct dn_tree *tree, struct dn_process *process, uint64_t t_ns)
{
	process->alive = false;
	process->exit_ns = relative(tree, t_ns);
	if (process->exit_ns < process->start_ns)
		process->exit_ns = process->start_ns;
	tree->exited++;
	tree->listener->exited(tree->listener, process, t_ns);
	if (!process->exit_known)
		forget_last_seen(process);
	fit_cpu_split((struct node *)process);
	dn_top_add(&tree->top, process, process->exit_ns);
	erase(tree, process);
}

void dn_tree_exit(struct dn_tree *tree, pid_t pid, uint64_t t_ns)
{
	struct dn_process *process = dn_tree_find(tree, pid);

	/* What denet itself reaps ends with its wait status, in dn_tree_reaped(). */
	if (process && !((struct node *)process)->reaped_by_us)
		end(tree, process, t_ns);
}

void dn_tree_exit_status(struct dn_tree *tree, pid_t pid, int wait_status, uint64_t t_ns)
{
	struct dn_process *process = dn_tree_find(tree, pid);

	if (!process || ((struct node *)process)->reaped_by_us)
		return;
	process->exit_known = true;
	process->wait_status = wait_status;
	end(tree, process, t_ns);
}

void dn_tree_reaped(struct dn_tree *tree, pid_t pid, int wait_status, uint64_t t_ns)
{
	struct dn_process *process = dn_tree_find(tree, pid);

	if (!process)
		return;
	process->exit_known = true;
	process->wait_status = wait_status;
	end(tree, process, t_ns);
}

struct dn_process *dn_tree_first(struct dn_tree *tree)
{
	return tree->first;
}

uint64_t dn_tree_live(const struct dn_tree *tree)
{
	return tree->live;
}

uint64_t dn_tree_started(const struct dn_tree *tree)
{
	return tree->started;
}

uint64_t dn_tree_exited(const struct dn_tree *tree)
{
	return tree->exited;
}

uint64_t dn_tree_lost(const struct dn_tree *tree)
{
	return tree->lost;
}

bool dn_tree_told(struct dn_process *process, unsigned backend)
{
	struct node *node = (struct node *)process;
	bool told = node->told >> backend & 1;

	node->told |= UINT32_C(1) << backend;
	return told;
}

void dn_tree_derive(struct dn_tree *tree, uint64_t now_ns)
{
	int cpu_slot = dn_process_slot(DN_M_cpu_total_ns);
	int usage_slot = dn_process_slot(DN_M_cpu_usage_percent);

	for (struct dn_process *p = tree->first; p; p = p->next) {
		struct node *node = (struct node *)p;
		const struct dn_value *cpu = &p->value[cpu_slot];

		if (cpu->type != DN_VALUE_U64)
			continue;
		fit_cpu_split(node);
		p->value[usage_slot].type = DN_VALUE_F64;
		p->value[usage_slot].f64 =
			dn_derive_percent(dn_sub_sat(cpu->u64, node->derived_cpu_ns),
				dn_sub_sat(now_ns, node->derived_t_ns));
		node->derived_cpu_ns = cpu->u64;
		node->derived_t_ns = now_ns;
	}
}

void dn_tree_summarise(struct dn_tree *tree, uint64_t now_ns, struct dn_summary *summary)
{
	for (struct dn_process *p = tree->first; p; p = p->next)
		dn_top_add(&tree->top, p, relative(tree, now_ns));
	dn_top_report(&tree->top, summary);
}

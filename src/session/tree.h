/* SPDX-License-Identifier: Apache-2.0 */
/* The process table's owner side; <denet/process.h> is what backends may call. */
#ifndef DENET_TREE_H
#define DENET_TREE_H

#include <denet/backend.h>
#include <denet/sink.h>

#define DN_TREE_LIVE_MAX 200000

/* Told of everything that happens; a backend learns it through the session. */
struct dn_tree_listener {
	void (*born)(struct dn_tree_listener *listener, struct dn_process *process, uint64_t t_ns);
	void (*exec)(struct dn_tree_listener *listener, struct dn_process *process, uint64_t t_ns);
	void (*exited)(
		struct dn_tree_listener *listener, struct dn_process *process, uint64_t t_ns);
};

int dn_tree_new(struct dn_tree_listener *listener, struct dn_tree **ret);
void dn_tree_free(struct dn_tree *tree);
/* From here on births are not inherited; times are told relative to it. */
void dn_tree_begin(struct dn_tree *tree, uint64_t t0_ns);
/* A target: the command of a run (reaped_by_us: only dn_tree_reaped() ends it) or a process named
 * to attach. */
struct dn_process *dn_tree_add_target(struct dn_tree *tree, pid_t pid, bool reaped_by_us);
/* denet reaped it: ends it with its wait status. */
void dn_tree_reaped(struct dn_tree *tree, pid_t pid, int wait_status, uint64_t t_ns);
uint64_t dn_tree_lost(const struct dn_tree *tree); /* births that found no room */
/* CPU use of each live process since the last call, into its cpu.usage_percent. */
void dn_tree_derive(struct dn_tree *tree, uint64_t now_ns);
/* Backend index saw the birth; for replaying births to a backend that opens later. */
bool dn_tree_told(struct dn_process *process, unsigned backend);
/* What the summary shows: command totals and the most expensive processes, live ones included.
 * Valid until free. */
void dn_tree_summarise(struct dn_tree *tree, uint64_t now_ns, struct dn_summary *summary);

#endif

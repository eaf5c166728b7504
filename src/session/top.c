/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include <denet/fs.h>

#include "top.h"

#define SLOTS (2 * DN_TOP_COMMANDS)

static uint64_t value_of(const struct dn_process *process, unsigned metric, bool *ret_has)
{
	const struct dn_value *value = &process->value[dn_process_slot(metric)];

	*ret_has = value->type == DN_VALUE_U64;
	return *ret_has ? value->u64 : 0;
}

static struct dn_command_total *slot_of(struct dn_top *top, const char *name)
{
	uint32_t hash = 2166136261u;

	if (!top->command) {
		top->command = calloc(SLOTS, sizeof(*top->command));
		if (!top->command)
			return NULL;
	}
	for (const char *p = name; *p; p++)
		hash = (hash ^ (unsigned char)*p) * 16777619u;
	for (unsigned i = 0; i < SLOTS; i++) {
		struct dn_command_total *slot = &top->command[(hash + i) % SLOTS];

		if (slot->count == 0) {
			if (top->n_commands == DN_TOP_COMMANDS)
				return NULL;
			top->n_commands++;
			memcpy(slot->name, name, strlen(name) + 1);
			return slot;
		}
		if (strcmp(slot->name, name) == 0)
			return slot;
	}
	return NULL;
}

static void add_to_command(struct dn_top *top, const struct dn_process *process, uint64_t end_ns)
{
	struct dn_command_total *slot = slot_of(top, process->name);
	uint64_t cpu, rss;
	bool has_cpu, has_rss;

	if (!slot) {
		top->other++;
		return;
	}
	cpu = value_of(process, DN_M_cpu_total_ns, &has_cpu);
	rss = value_of(process, DN_M_memory_peak_rss_bytes, &has_rss);
	slot->count++;
	slot->wall_ns = dn_add_sat(slot->wall_ns, dn_sub_sat(end_ns, process->start_ns));
	slot->cpu_ns = dn_add_sat(slot->cpu_ns, cpu);
	slot->has_cpu |= has_cpu;
	slot->has_rss |= has_rss;
	if (rss > slot->peak_rss_bytes)
		slot->peak_rss_bytes = rss;
}

static void add_to_processes(struct dn_top *top, const struct dn_process *process)
{
	bool has;
	uint64_t cpu = value_of(process, DN_M_cpu_total_ns, &has);
	unsigned at;

	for (at = top->n_processes; at > 0; at--) {
		if (value_of(&top->process[at - 1], DN_M_cpu_total_ns, &has) >= cpu)
			break;
	}
	if (at >= DN_TOP_PROCESSES)
		return;
	if (top->n_processes < DN_TOP_PROCESSES)
		top->n_processes++;
	memmove(&top->process[at + 1], &top->process[at],
		(top->n_processes - 1 - at) * sizeof(top->process[0]));
	top->process[at] = *process;
	/* A copy outlives what these pointed to. */
	memset(top->process[at].backend, 0, sizeof(top->process[at].backend));
	top->process[at].prev = top->process[at].next = top->process[at].hash_next = NULL;
}

void dn_top_add(struct dn_top *top, const struct dn_process *process, uint64_t end_ns)
{
	add_to_command(top, process, end_ns);
	add_to_processes(top, process);
}

static int by_cpu(const void *a, const void *b)
{
	const struct dn_command_total *x = a, *y = b;

	if (x->cpu_ns != y->cpu_ns)
		return x->cpu_ns < y->cpu_ns ? 1 : -1;
	if (x->count != y->count)
		return x->count < y->count ? 1 : -1;
	return strcmp(x->name, y->name);
}

void dn_top_report(struct dn_top *top, struct dn_summary *summary)
{
	unsigned n = 0;

	if (top->command && !top->sorted) {
		for (unsigned i = 0; i < SLOTS; i++) {
			if (top->command[i].count > 0)
				top->command[n++] = top->command[i];
		}
		qsort(top->command, n, sizeof(*top->command), by_cpu);
		top->sorted = true;
	}
	for (unsigned i = 0; i < top->n_processes; i++)
		top->order[i] = &top->process[i];
	summary->command = top->command;
	summary->n_commands = top->n_commands;
	summary->commands_other = top->other;
	summary->process = top->order;
	summary->n_processes = top->n_processes;
}

void dn_top_finish(struct dn_top *top)
{
	free(top->command);
	top->command = NULL;
}

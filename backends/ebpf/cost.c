/* SPDX-License-Identifier: Apache-2.0 */
/* What the programs and maps of this backend cost, as the kernel accounts it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bpf/libbpf.h>

#include <denet/bpf.h>
#include <denet/fs.h>

#include "ebpf.h"

/* An administrator has them on for the whole machine. */
static bool are_on_anyway(const struct dn_env *env)
{
	char text[8];

	return env->proc_fd >= 0 &&
	       dn_read_file_at(env->proc_fd, "sys/kernel/bpf_stats_enabled", text, sizeof(text)) >
		       0 &&
	       text[0] == '1';
}

void dn_ebpf_cost_open(struct dn_ebpf *ebpf, struct dn_probe *probe)
{
	const struct dn_env *env = ebpf->env;
	int fd;

	ebpf->stats_fd = -1;
	if ((!env->account_bpf && !(env->max_overhead_percent > 0)) || env->n_targets == 0)
		return;
	fd = dn_bpf_stats_enable();
	ebpf->stats_fd = fd;
	ebpf->accounted = fd >= 0 || are_on_anyway(env);
	if (ebpf->accounted)
		return;
	ebpf->stats_error = fd;
	probe->reason = dn_probe_printf(
		probe, "run times of BPF programs: BPF_ENABLE_STATS: %s", strerror(-fd));
	if (fd == -EPERM)
		probe->hint = "the kernel lets only root turn them on";
}

void dn_ebpf_cost_close(struct dn_ebpf *ebpf)
{
	if (ebpf->stats_fd > 0)
		close(ebpf->stats_fd);
	ebpf->stats_fd = -1;
}

uint64_t dn_ebpf_run_ns(const struct dn_ebpf *ebpf, unsigned program, uint64_t *ret_runs)
{
	const struct dn_ebpf_program *p = &ebpf->objects.program[program];
	uint64_t ns, runs;

	*ret_runs = 0;
	if (p->fd < 0 || dn_bpf_prog_cost(p->fd, &ns, &runs) < 0)
		return 0;
	*ret_runs = runs;
	return ns;
}

/* Some are shared by several objects. There are fewer than this by a wide margin. */
struct known_maps {
	uint32_t id[256];
	unsigned n;
};

static bool is_new(struct known_maps *known, uint32_t id)
{
	for (unsigned i = 0; i < known->n; i++) {
		if (known->id[i] == id)
			return false;
	}
	if (known->n < sizeof(known->id) / sizeof(known->id[0]))
		known->id[known->n++] = id;
	return true;
}

static void add_maps(struct bpf_object *object, struct known_maps *known, struct dn_cost *cost)
{
	struct bpf_map *map;

	bpf_object__for_each_map(map, object)
	{
		struct dn_bpf_map info;
		uint64_t bytes;
		int fd = bpf_map__fd(map);

		if (dn_bpf_map_read(fd, &info) < 0 || !is_new(known, info.id))
			continue;
		cost->bpf_maps++;
		if (dn_bpf_map_bytes(fd, &bytes) == 0)
			cost->bpf_map_bytes = dn_add_sat(cost->bpf_map_bytes, bytes);
	}
}

static void add_program(const struct dn_ebpf *ebpf, unsigned index, struct dn_cost *cost)
{
	struct dn_program_cost *program;
	uint64_t runs, ns = dn_ebpf_run_ns(ebpf, index, &runs);

	cost->bpf_ns = dn_add_sat(cost->bpf_ns, ns);
	cost->bpf_runs = dn_add_sat(cost->bpf_runs, runs);
	if (cost->n_programs >= DN_PROGRAM_COSTS_MAX)
		return;
	program = &cost->program[cost->n_programs++];
	snprintf(program->name, sizeof(program->name), "%s", ebpf->objects.program[index].name);
	program->ns = ns;
	program->runs = runs;
}

void dn_ebpf_cost(struct dn_backend *backend, struct dn_cost *cost)
{
	const struct dn_ebpf *ebpf = (const struct dn_ebpf *)backend;
	const struct dn_ebpf_objects *objects = &ebpf->objects;
	struct known_maps known = {.n = 0};

	if (!ebpf->loaded)
		return;
	cost->has_bpf = true;
	if (ebpf->ring) {
		cost->has_records = true;
		cost->records_produced = dn_add_sat(cost->records_produced, ebpf->totals.events);
		cost->records_received = dn_add_sat(cost->records_received, ebpf->received);
	}
	cost->has_bpf_ns |= ebpf->accounted;
	cost->bystander_runs = dn_add_sat(cost->bystander_runs, ebpf->totals.outside);
	for (unsigned i = 0; i < objects->n_programs; i++) {
		if (objects->program[i].fd < 0)
			continue;
		cost->bpf_programs++;
		if (ebpf->accounted)
			add_program(ebpf, i, cost);
	}
	for (unsigned i = 0; i < objects->n_objects; i++) {
		if (objects->object[i].object)
			add_maps(objects->object[i].object, &known, cost);
	}
	cost->load_ns = dn_add_sat(cost->load_ns, objects->load_ns);
	cost->attach_ns = dn_add_sat(cost->attach_ns, objects->attach_ns);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Passes over all tasks of the machine, in the kernel: marking, harvesting, reporting. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include <denet/fs.h>

#include "ebpf.h"

/* More passes than this only a storm of forks needs. */
#define PASSES_MAX 64

/*
 * Other parts of denet hold descriptors per process, up to the limit. What passes need is kept for
 * them: many at first, as they are loaded when the first one is made.
 */
void dn_ebpf_pass_reserve(struct dn_ebpf *ebpf)
{
	unsigned n = ebpf->objects_late ? 1 : DN_EBPF_SPARE_MAX;
	int any = dn_ebpf_map(&ebpf->objects, "process", "dn_totals");

	while (ebpf->n_spare < n) {
		int fd = fcntl(any, F_DUPFD_CLOEXEC, 3);

		if (fd < 0)
			return;
		ebpf->spare[ebpf->n_spare++] = fd;
	}
}

void dn_ebpf_pass_release(struct dn_ebpf *ebpf)
{
	while (ebpf->n_spare > 0)
		close(ebpf->spare[--ebpf->n_spare]);
}

static int create(struct dn_ebpf *ebpf, enum dn_wire_pass pass)
{
	const struct dn_ebpf_program *program;
	int fd, r;

	dn_ebpf_pass_release(ebpf);
	r = dn_ebpf_objects_load_late(&ebpf->objects, "pass");
	ebpf->objects_late = true;
	if (r < 0)
		return r;
	program = dn_ebpf_program(&ebpf->objects, "dn_pass");
	if (!program || program->link < 0)
		return -EOPNOTSUPP;
	ebpf->control->pass = pass;
	ebpf->control->changed = 0;
	fd = bpf_iter_create(program->link);
	return fd < 0 ? -errno : fd;
}

int dn_ebpf_pass(struct dn_ebpf *ebpf, enum dn_wire_pass pass, size_t size,
	void (*each)(struct dn_ebpf *ebpf, const void *entry))
{
	static char buffer[64 * 1024] __attribute__((aligned(8)));
	int fd = create(ebpf, pass), r = 0;
	size_t have = 0;
	ssize_t n;

	if (fd < 0) {
		dn_ebpf_pass_reserve(ebpf);
		return fd;
	}
	for (;;) {
		size_t used = 0;

		n = read(fd, buffer + have, sizeof(buffer) - have);
		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n <= 0)
			break;
		have += (size_t)n;
		for (; have - used >= size; used += size)
			each(ebpf, buffer + used);
		memmove(buffer, buffer + used, have - used);
		have -= used;
	}
	if (n < 0)
		r = -errno;
	close(fd);
	dn_ebpf_pass_reserve(ebpf);
	return r;
}

static void on_ran(struct dn_ebpf *ebpf, const void *entry)
{
	struct dn_process *process =
		dn_tree_find(ebpf->core->tree, (pid_t) * (const uint32_t *)entry);

	ebpf->still = false;
	if (process)
		process->runs++;
}

/*
 * Does nobody on this machine want a CPU but us? A thread that was woken and still waits for one is
 * not blocked any more, and has not been seen to get it.
 */
static bool is_machine_calm(const struct dn_ebpf *ebpf)
{
	char text[128];
	const char *p;
	uint64_t running;

	if (dn_read_file_at(ebpf->env->proc_fd, "loadavg", text, sizeof(text)) <= 0)
		return false;
	p = strchr(text, '/');
	while (p && p > text && p[-1] >= '0' && p[-1] <= '9')
		p--;
	return p && dn_parse_u64(&p, &running) == 0 && running <= 1;
}

/*
 * When nobody was at work at the last pass and nobody got a CPU since, all that has changed is how
 * long the threads are blocked that were blocked then.
 */
static void wait_on(struct dn_ebpf *ebpf)
{
	const struct dn_wire_control *control = ebpf->control;
	struct dn_wire_totals *totals = &ebpf->totals;
	uint64_t now = dn_now_ns();

	for (unsigned i = 0; i < DN_BLOCKED_N; i++) {
		/* Each is smaller than it looks: the sum of what is from then until now. */
		uint64_t more = control->blocked[i] * now - control->blocked_until_ns[i];

		totals->blocked_ns[i] += more;
		totals->usage.value[DN_USAGE_BLOCKED_NS] += more;
	}
}

int dn_ebpf_harvest(struct dn_ebpf *ebpf, bool processes)
{
	uint64_t arrivals = ebpf->totals.arrivals;
	int r;

	if (!processes && ebpf->still && arrivals == ebpf->still_arrivals &&
		is_machine_calm(ebpf)) {
		wait_on(ebpf);
		return 0;
	}
	memset(ebpf->control->blocked, 0, sizeof(ebpf->control->blocked));
	memset(ebpf->control->blocked_until_ns, 0, sizeof(ebpf->control->blocked_until_ns));
	ebpf->still = true;
	ebpf->still_arrivals = arrivals;
	r = dn_ebpf_pass(
		ebpf, processes ? DN_PASS_HARVEST_ALL : DN_PASS_HARVEST, sizeof(uint32_t), on_ran);
	ebpf->still &= r == 0;
	ebpf->core->runs_known = ebpf->process_source && r == 0;
	if (r < 0)
		dn_ebpf_degrade_group(ebpf, DN_PROBES_LIFECYCLE, DN_QUALITY_SAMPLED,
			dn_arena_printf(ebpf->arena,
				"live threads can't be looked at (%s): they count when they end",
				strerror(-r)));
	return dn_ebpf_read_totals(ebpf, false);
}

/* The key of a thread in the kernel's table: a pidfd, or its number where there is no storage. */
static int flag(const struct dn_ebpf *ebpf, pid_t pid, uint32_t flags)
{
	struct dn_task task = {.flags = flags};
	int map = dn_ebpf_map(&ebpf->objects, "process", "dn_tasks"), key = pid, r;

	if (!ebpf->objects.hash) {
		key = (int)syscall(SYS_pidfd_open, pid, 0);
		if (key < 0)
			return -errno;
	}
	r = bpf_map_update_elem(map, &key, &task, BPF_ANY) < 0 ? -errno : 0;
	if (!ebpf->objects.hash)
		close(key);
	return r;
}

int dn_ebpf_flag_targets(struct dn_ebpf *ebpf)
{
	const struct dn_env *env = ebpf->env;
	int r = 0;

	for (unsigned i = 0; i < env->n_targets && r == 0; i++)
		r = flag(ebpf, env->targets[i], env->attach ? 0 : DN_TASK_WAITS_FOR_EXEC);
	return r;
}

/* Until a pass finds nothing new. The fork hook is on already: whoever is born meanwhile inherits.
 */
static int pass_until_still(struct dn_ebpf *ebpf, enum dn_wire_pass pass)
{
	for (unsigned i = 0; i < PASSES_MAX; i++) {
		int r = dn_ebpf_pass(ebpf, pass, sizeof(uint32_t), NULL);

		if (r < 0 || ebpf->control->changed == 0)
			return r;
	}
	return -EAGAIN;
}

int dn_ebpf_flag_running(struct dn_ebpf *ebpf)
{
	int r = pass_until_still(ebpf, DN_PASS_MARK);

	return r < 0 ? r : pass_until_still(ebpf, DN_PASS_ACTIVATE);
}

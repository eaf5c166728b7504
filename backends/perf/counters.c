/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counting events. An event is opened on every task with inherit, so that it counts all that the
 * task starts; the groups are pairs whose ratio is meant. Larger groups would be read more
 * coherently, but a group that needs more counters than the PMU has free at run time (a watchdog or
 * another user holds one) never counts at all, which opening does not tell.
 */
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <denet/fs.h>

#include "counters.h"

/* A fork is over by then, even of a task that waits for the CPU. */
#define READ_TRIES 64

uint64_t dn_perf_scale(uint64_t value, uint64_t enabled, uint64_t running)
{
	unsigned __int128 scaled;

	if (running == 0 || enabled <= running)
		return value;
	scaled = (unsigned __int128)value * enabled / running;
	return scaled > UINT64_MAX ? UINT64_MAX : (uint64_t)scaled;
}

int dn_perf_group_decode(const uint64_t *words, size_t n_words, unsigned members,
	uint64_t *ret_values, uint64_t *ret_enabled, uint64_t *ret_running)
{
	if (n_words < 3 || words[0] != members || n_words - 3 < members)
		return -EBADMSG;
	*ret_enabled = words[1];
	*ret_running = words[2];
	memcpy(ret_values, words + 3, members * sizeof(*words));
	return 0;
}

struct dn_perf_sum dn_perf_combine(const struct dn_perf_slot *const *slot, unsigned n)
{
	struct dn_perf_sum sum = {0};
	uint64_t raw = 0;

	for (unsigned i = 0; i < n; i++)
		sum.failed = sum.failed || slot[i]->n_failed > 0;
	if (n == 1) {
		sum.known = !sum.failed && slot[0]->n_read > slot[0]->n_unscheduled;
		sum.partial = sum.known && slot[0]->n_unscheduled > 0;
		sum.value = slot[0]->scaled;
		sum.enabled_ns = slot[0]->enabled_ns;
		sum.running_ns = slot[0]->running_ns;
		sum.scaled = sum.running_ns < sum.enabled_ns;
		return sum;
	}
	/*
	 * Each PMU is enabled all the time and runs only while the task is on a CPU of its kind.
	 * Together they have run all the time unless they were multiplexed too; a thousandth is the
	 * price of moving between them.
	 */
	for (unsigned i = 0; i < n; i++) {
		raw = dn_add_sat(raw, slot[i]->raw);
		sum.running_ns = dn_add_sat(sum.running_ns, slot[i]->running_ns);
		if (slot[i]->enabled_ns > sum.enabled_ns)
			sum.enabled_ns = slot[i]->enabled_ns;
		sum.known = sum.known || slot[i]->n_read > 0;
	}
	if (sum.failed || (sum.enabled_ns > 0 && sum.running_ns == 0))
		sum.known = false;
	sum.scaled = sum.enabled_ns - sum.enabled_ns / 1024 > sum.running_ns;
	sum.value = sum.scaled ? dn_perf_scale(raw, sum.enabled_ns, sum.running_ns) : raw;
	return sum;
}

void dn_perf_counters_init(struct dn_perf_counters *counters, const struct dn_perf_tasks *tasks,
	bool enable_on_exec, bool threads_only)
{
	memset(counters, 0, sizeof(*counters));
	counters->open = dn_perf_sys_open;
	counters->tasks = tasks;
	counters->enable_on_exec = enable_on_exec;
	counters->threads_only = threads_only;
}

static int open_as(struct dn_perf_counters *counters, const struct dn_perf_spec *spec,
	enum dn_perf_view view, pid_t tid, int leader)
{
	struct perf_event_attr attr = spec->attr;

	attr.size = sizeof(attr);
	attr.read_format =
		PERF_FORMAT_TOTAL_TIME_ENABLED | PERF_FORMAT_TOTAL_TIME_RUNNING | PERF_FORMAT_GROUP;
	attr.inherit = 1;
	attr.inherit_thread = counters->threads_only;
	/* Members follow their leader. */
	attr.disabled = leader < 0;
	attr.enable_on_exec = leader < 0 && counters->enable_on_exec;
	if (view == DN_PERF_VIEW_USER) {
		if (attr.exclude_user)
			return -EACCES;
		attr.exclude_kernel = 1;
		attr.exclude_hv = 1;
	}
	attr.exclude_guest |= counters->exclude_guest && attr.type != PERF_TYPE_SOFTWARE;
	return counters->open(counters->open_arg, &attr, tid, -1, leader);
}

static int open_one(
	struct dn_perf_counters *counters, const struct dn_perf_spec *spec, pid_t tid, int leader)
{
	enum dn_perf_view view = counters->view;
	int r;

	if (view == DN_PERF_VIEW_UNKNOWN)
		view = DN_PERF_VIEW_ALL;
	r = open_as(counters, spec, view, tid, leader);
	if ((r == -EACCES || r == -EPERM) && counters->view == DN_PERF_VIEW_UNKNOWN) {
		view = DN_PERF_VIEW_USER;
		r = open_as(counters, spec, view, tid, leader);
	}
	if ((r == -EINVAL || r == -EOPNOTSUPP) && leader < 0 && !counters->exclude_guest &&
		spec->attr.type != PERF_TYPE_SOFTWARE) {
		/* Some PMUs can't tell guests apart and want to be told that none is meant. */
		counters->exclude_guest = true;
		r = open_as(counters, spec, view, tid, leader);
		counters->exclude_guest = r >= 0;
	}
	if (r >= 0)
		counters->view = view;
	return r;
}

static int *member_fd(const struct dn_perf_group *group, size_t task, unsigned member)
{
	return &group->fd[task * DN_PERF_GROUP_MAX + member];
}

static void close_member(
	const struct dn_perf_counters *counters, struct dn_perf_group *group, unsigned member)
{
	for (size_t i = 0; i < counters->tasks->n; i++) {
		int *fd = member_fd(group, i, member);

		if (*fd >= 0)
			close(*fd);
		*fd = -1;
	}
}

static void close_group(const struct dn_perf_counters *counters, struct dn_perf_group *group)
{
	/* Members first: a member that loses its leader would become one for a moment. */
	for (unsigned m = group->n; m > 0; m--)
		close_member(counters, group, m - 1);
	free(group->fd);
	group->fd = NULL;
	group->closed = true;
}

/* On all tasks. Tasks that have died meanwhile are left out; when all have, that is the answer. */
static int open_member(struct dn_perf_counters *counters, struct dn_perf_group *group,
	unsigned member, const struct dn_perf_spec *spec)
{
	size_t n_open = 0;

	for (size_t i = 0; i < counters->tasks->n; i++) {
		int leader = member ? *member_fd(group, i, 0) : -1;
		int r;

		if (member && leader < 0)
			continue;
		r = open_one(counters, spec, counters->tasks->task[i].tid, leader);
		if (r < 0 && r != -ESRCH) {
			close_member(counters, group, member);
			return r;
		}
		*member_fd(group, i, member) = r < 0 ? -1 : r;
		n_open += r >= 0;
	}
	return n_open ? 0 : -ESRCH;
}

static int group_init(struct dn_perf_counters *counters, struct dn_perf_group *group)
{
	size_t n = counters->tasks->n;

	memset(group, 0, sizeof(*group));
	group->fd = calloc(n ? n : 1, DN_PERF_GROUP_MAX * sizeof(int));
	if (!group->fd)
		return -ENOMEM;
	for (size_t i = 0; i < n * DN_PERF_GROUP_MAX; i++)
		group->fd[i] = -1;
	return 0;
}

int dn_perf_counters_add(
	struct dn_perf_counters *counters, const struct dn_perf_spec *spec, unsigned n)
{
	struct dn_perf_group *group = NULL;
	unsigned first = counters->n_slots;

	if (n > DN_PERF_SLOTS_MAX - counters->n_slots)
		return -ENOSPC;
	for (unsigned i = 0; i < n; i++) {
		struct dn_perf_slot *slot = &counters->slot[counters->n_slots++];

		*slot = (struct dn_perf_slot){.spec = spec[i], .error = -EINVAL};
		if (group && group->n < DN_PERF_GROUP_MAX)
			slot->error = open_member(counters, group, group->n, &spec[i]);
		if (slot->error == -EINVAL || slot->error == -ENOSPC || slot->error == -EAGAIN) {
			/* The first, or it doesn't fit beside the others: a group of its own. */
			struct dn_perf_group *own = &counters->group[counters->n_groups];

			slot->error = group_init(counters, own);
			if (slot->error == 0)
				slot->error = open_member(counters, own, 0, &spec[i]);
			if (slot->error < 0) {
				free(own->fd);
				own->fd = NULL;
				continue;
			}
			counters->n_groups++;
			group = own;
		} else if (slot->error < 0) {
			continue;
		}
		slot->group = (unsigned)(group - counters->group);
		slot->member = group->n;
		group->slot[group->n++] = (unsigned)(slot - counters->slot);
	}
	return (int)first;
}

bool dn_perf_counters_fit(
	struct dn_perf_counters *counters, const struct dn_perf_spec *spec, unsigned n)
{
	int fd[DN_PERF_SLOTS_MAX];
	unsigned n_open = 0;

	if (counters->tasks->n == 0 || n > DN_PERF_SLOTS_MAX)
		return false;
	while (n_open < n) {
		int r = open_one(
			counters, &spec[n_open], counters->tasks->task[0].tid, n_open ? fd[0] : -1);

		if (r < 0)
			break;
		fd[n_open++] = r;
	}
	for (unsigned i = n_open; i > 0; i--)
		close(fd[i - 1]);
	return n_open == n;
}

void dn_perf_counters_undo(struct dn_perf_counters *counters, unsigned first_slot)
{
	while (counters->n_groups > 0 &&
		counters->group[counters->n_groups - 1].slot[0] >= first_slot) {
		struct dn_perf_group *group = &counters->group[--counters->n_groups];

		if (!group->closed)
			close_group(counters, group);
	}
	counters->n_slots = first_slot;
}

void dn_perf_counters_keep(struct dn_perf_counters *counters,
	bool (*keep)(void *arg, const struct dn_perf_spec *spec), void *arg)
{
	for (unsigned g = 0; g < counters->n_groups; g++) {
		struct dn_perf_group *group = &counters->group[g];
		bool kept = false;

		for (unsigned m = 0; m < group->n; m++)
			kept = kept || keep(arg, &counters->slot[group->slot[m]].spec);
		if (!kept && !group->closed) {
			for (unsigned m = 0; m < group->n; m++)
				counters->slot[group->slot[m]].error = -ECANCELED;
			close_group(counters, group);
		}
	}
}

void dn_perf_counters_enable(struct dn_perf_counters *counters)
{
	for (size_t i = 0; i < counters->tasks->n; i++) {
		for (unsigned g = 0; g < counters->n_groups; g++) {
			const struct dn_perf_group *group = &counters->group[g];

			if (!group->closed && *member_fd(group, i, 0) >= 0)
				(void)ioctl(*member_fd(group, i, 0), PERF_EVENT_IOC_ENABLE, 0);
		}
	}
}

/*
 * While a task forks, the group that its child inherits is not whole for a moment, and the kernel
 * answers ECHILD for all of it.
 */
static ssize_t read_words(int fd, uint64_t *words, size_t size)
{
	ssize_t len;

	for (unsigned tries = 0; tries < READ_TRIES; tries++) {
		len = read(fd, words, size);
		if (len >= 0 || (errno != ECHILD && errno != EINTR))
			break;
		(void)sched_yield();
	}
	return len;
}

static void read_group(struct dn_perf_counters *counters, const struct dn_perf_group *group)
{
	for (size_t i = 0; i < counters->tasks->n; i++) {
		uint64_t words[3 + DN_PERF_GROUP_MAX], value[DN_PERF_GROUP_MAX], enabled, running;
		int fd = *member_fd(group, i, 0);
		ssize_t len;

		if (fd < 0)
			continue;
		len = read_words(fd, words, sizeof(words));
		if (len <= 0 || dn_perf_group_decode(words, (size_t)len / sizeof(words[0]),
					group->n, value, &enabled, &running) < 0) {
			for (unsigned m = 0; m < group->n; m++)
				counters->slot[group->slot[m]].n_failed++;
			continue;
		}
		for (unsigned m = 0; m < group->n; m++) {
			struct dn_perf_slot *slot = &counters->slot[group->slot[m]];

			slot->n_read++;
			slot->enabled_ns = dn_add_sat(slot->enabled_ns, enabled);
			slot->running_ns = dn_add_sat(slot->running_ns, running);
			if (running == 0 && enabled > 0) {
				slot->n_unscheduled++;
				continue;
			}
			slot->raw = dn_add_sat(slot->raw, value[m]);
			slot->scaled =
				dn_add_sat(slot->scaled, dn_perf_scale(value[m], enabled, running));
		}
	}
}

void dn_perf_counters_read(struct dn_perf_counters *counters)
{
	for (unsigned i = 0; i < counters->n_slots; i++) {
		struct dn_perf_slot *slot = &counters->slot[i];

		slot->raw = slot->scaled = slot->enabled_ns = slot->running_ns = 0;
		slot->n_read = slot->n_unscheduled = slot->n_failed = 0;
	}
	for (unsigned g = 0; g < counters->n_groups; g++) {
		if (!counters->group[g].closed)
			read_group(counters, &counters->group[g]);
	}
}

void dn_perf_counters_close(struct dn_perf_counters *counters)
{
	for (unsigned g = 0; g < counters->n_groups; g++) {
		if (!counters->group[g].closed)
			close_group(counters, &counters->group[g]);
	}
	counters->n_groups = 0;
	counters->n_slots = 0;
}

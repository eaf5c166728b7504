/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tree's totals at a moment. CPU clocks are read at every sample: they cost a fifth of a
 * microsecond, and who has not run since its files were read needs no reading. Files are read by
 * class, each class in rounds over all members and at a pace that its own cost allows. A counter
 * gets a value in the sample that completes a round; in between it has none, since what was read
 * before is not of this moment.
 */
#include <errno.h>
#include <string.h>
#include <sys/resource.h>

#include <denet/fs.h>

#include "procfs.h"

/* The files may take this much of one sample, statm the same once more. */
#define SLICE_NS UINT64_C(30000000)
#define RESERVED_FDS 64
/* Reclaim changes the memory of a process that sleeps: look at it this often all the same. */
#define MEMORY_AGE_NS UINT64_C(1000000000)

typedef int (*reader)(struct dn_procfs *p, struct dn_procfs_member *m);

static const struct {
	reader read;
	unsigned pace; /* a round may begin when pace times its cost has passed: 1/pace of the time
			  at most */
} classes[DN_PROCFS_CLASS_N] = {
	[DN_PROCFS_CLASS_STAT] = {dn_procfs_read_stat, 500},
	[DN_PROCFS_CLASS_IO] = {dn_procfs_read_io, 500},
	[DN_PROCFS_CLASS_STATUS] = {dn_procfs_read_status, 500},
	[DN_PROCFS_CLASS_SCHED] = {dn_procfs_read_sched, 500},
	[DN_PROCFS_CLASS_FDS] = {dn_procfs_read_fds, 500},
	[DN_PROCFS_CLASS_STATM] = {dn_procfs_read_statm, 25},
};

static bool is_current(struct dn_procfs *p, const struct dn_procfs_member *m,
	enum dn_procfs_class class, uint64_t now_ns)
{
	if (p->env->fixture || !(m->read >> class & 1) || m->seen_ns[class] != m->clock_ns)
		return false;
	if (class == DN_PROCFS_CLASS_STATM || class == DN_PROCFS_CLASS_STATUS)
		return now_ns - m->memory_t_ns[class == DN_PROCFS_CLASS_STATUS] < MEMORY_AGE_NS;
	return true;
}

static void read_class(struct dn_procfs *p, struct dn_procfs_member *m, enum dn_procfs_class class,
	uint64_t now_ns)
{
	uint64_t clock = m->clock_ns, *t_ns;

	if (m->gone || is_current(p, m, class, now_ns))
		return;
	/* Memory that is looked at for its age alone holds nobody else's account. */
	if (!(m->read >> class & 1) || m->seen_ns[class] != clock)
		p->reads++;
	m->read &= ~(1u << class);
	if (classes[class].read(p, m) < 0)
		return;
	m->read |= 1u << class;
	m->seen_ns[class] = clock;
	if (class != DN_PROCFS_CLASS_STATM && class != DN_PROCFS_CLASS_STATUS)
		return;
	t_ns = &m->memory_t_ns[class == DN_PROCFS_CLASS_STATUS];
	/* Those that were found together shall not all come of age in one sample. */
	*t_ns = *t_ns == 0 ? now_ns - (uint64_t)((unsigned)m->pid % 64) * (MEMORY_AGE_NS / 64)
			   : now_ns;
}

/* Does a part of a round; deadline 0: all of it. */
static void go_round(struct dn_procfs *p, enum dn_procfs_class class, uint64_t deadline_ns)
{
	struct dn_procfs_round *round = &p->round[class];
	uint64_t now = dn_now_ns(), begin;
	unsigned n = 0;

	if (!round->going || p->final) {
		if (!p->final && now < round->due_ns)
			return;
		round->going = true;
		round->cursor = p->first;
		round->cost_ns = 0;
	}
	begin = dn_spent_ns();
	while (round->cursor) {
		struct dn_procfs_member *m = round->cursor;

		round->cursor = m->next;
		read_class(p, m, class, now);
		if (deadline_ns != 0 && (++n & 15) == 0 && dn_now_ns() >= deadline_ns)
			break;
	}
	round->cost_ns += dn_spent_ns() - begin;
	if (round->cursor)
		return;
	round->going = false;
	round->done = true;
	round->due_ns =
		dn_add_sat(dn_now_ns(), dn_procfs_mul_sat(round->cost_ns, classes[class].pace));
}

static void go_rounds(struct dn_procfs *p)
{
	uint64_t deadline = p->final ? 0 : dn_add_sat(dn_now_ns(), SLICE_NS);
	unsigned start = p->first_class;

	for (unsigned i = 0; i < DN_PROCFS_CLASS_STATM; i++) {
		unsigned class = p->final ? i : (start + i) % DN_PROCFS_CLASS_STATM;

		if (!(p->classes >> class & 1))
			continue;
		if (deadline != 0 && i > 0 && dn_now_ns() >= deadline) {
			p->first_class = class;
			break;
		}
		go_round(p, class, deadline);
		if (p->round[class].going)
			p->first_class = class;
	}
	if (p->classes >> DN_PROCFS_CLASS_STATM & 1)
		go_round(
			p, DN_PROCFS_CLASS_STATM, p->final ? 0 : dn_add_sat(dn_now_ns(), SLICE_NS));
}

/* Parents of whom a child ended since the last look: what they have reaped is wanted at once. */
static void refresh_parents(struct dn_procfs *p)
{
	for (struct dn_procfs_member *m = p->first; m; m = m->next) {
		if (m->gone)
			continue;
		if (m->dirty && p->classes & 1u << DN_PROCFS_CLASS_STAT)
			read_class(p, m, DN_PROCFS_CLASS_STAT, 0);
		if (m->had_child_exit && !m->sigchld_checked && !p->no_proc && !p->autoreap_told) {
			m->sigchld_checked = true;
			(void)dn_procfs_read_status(p, m);
		}
	}
}

/* Zombies that their parents have reaped by now. */
static void sweep(struct dn_procfs *p)
{
	struct dn_procfs_member *next;

	for (struct dn_procfs_member *m = p->first; m; m = next) {
		next = m->next;
		if (m->process || !m->gone)
			continue;
		if (!dn_procfs_find(p, m->ppid) && !p->env->subreaper)
			dn_procfs_degrade_reaped(p,
				"%d (%.*s) and its parent ended at about the same time: who reaped "
				"it is not known",
				(int)m->pid, (int)m->comm_len, m->comm);
		dn_procfs_remove(p, m);
	}
}

/* Who ran: by whoever sees it anyway, which costs nothing, else by the CPU clocks. */
static void read_clocks(struct dn_procfs *p)
{
	bool known = p->gauges_only && p->core->runs_known;

	for (struct dn_procfs_member *m = p->first; m; m = m->next) {
		if (m->gone)
			continue;
		if (known && m->process)
			m->clock_ns = m->process->runs;
		else
			(void)dn_procfs_read_clock(p, m);
	}
}

/*
 * The clocks come first, to know who ran, and last, to know who was reaped while its parent was
 * read: then it is in the parent's account and must not stand in its own as well. A parent's
 * account that is older than the clocks holds nobody who answers.
 */
static void read_all(struct dn_procfs *p)
{
	for (int i = 0; i < DN_PROCFS_CLASS_N; i++)
		p->round[i].done = false;
	p->vanished = 0;
	p->reads = 0;
	read_clocks(p);
	if (!p->no_proc) {
		refresh_parents(p);
		go_rounds(p);
	}
	if (p->reads > 0)
		read_clocks(p);
	sweep(p);
}

/* What the members are at this moment. */
struct census {
	unsigned live, with_mm, with_vm, with_fds, hidden, io_refused, reapers, switchers, ghosts;
	struct dn_procfs_member *refused, *hidden_one;
	uint64_t threads, fds, rss_bytes, size_bytes, swap_bytes, delay_ns;
	struct dn_procfs_counts counts;
};

static void take_census(struct dn_procfs *p, struct census *c)
{
	memset(c, 0, sizeof(*c));
	for (struct dn_procfs_member *m = p->first; m; m = m->next) {
		if (m->gone)
			continue;
		dn_procfs_add_counts(&c->counts, &m->now);
		c->ghosts += !m->process;
		if (!m->process || m->zombie)
			continue;
		c->live++;
		c->threads = dn_add_sat(c->threads, m->threads);
		c->delay_ns = dn_add_sat(c->delay_ns, dn_sub_sat(m->delay_ns, m->delay_base_ns));
		c->reapers += dn_procfs_reaped_some(m);
		c->switchers += m->threaded || dn_procfs_reaped_some(m);
		if (m->has_mm) {
			c->with_mm++;
			c->rss_bytes = dn_add_sat(c->rss_bytes, m->rss_bytes);
			c->size_bytes = dn_add_sat(c->size_bytes, m->size_bytes);
		}
		if (m->has_vm) {
			c->with_vm++;
			c->swap_bytes = dn_add_sat(c->swap_bytes, m->swap_bytes);
			dn_procfs_keep_peak(p, m);
		}
		if (m->has_fds) {
			c->with_fds++;
			c->fds = dn_add_sat(c->fds, m->fds);
		}
		if (m->io_refused) {
			c->io_refused++;
			c->refused = m;
		}
		if (m->hidden) {
			c->hidden++;
			c->hidden_one = m;
		}
	}
}

static void put(struct dn_procfs *p, struct dn_frame *frame, unsigned metric, uint64_t value)
{
	if (dn_metric_set_has(&p->assigned, metric))
		dn_frame_u64(frame, metric, value);
}

/* Since measuring began. */
static uint64_t sum_of(
	const struct dn_procfs *p, enum dn_procfs_count count, const struct census *c)
{
	uint64_t total = dn_add_sat(
		dn_add_sat(p->reaped.v[count], p->departed.v[count]), c->counts.v[count]);

	return dn_sub_sat(total, p->base.v[count]);
}

/* Never less than what was shown before. */
static void put_total(
	struct dn_procfs *p, struct dn_frame *frame, enum dn_procfs_count count, uint64_t total)
{
	if (total > p->shown.v[count])
		p->shown.v[count] = total;
	put(p, frame, dn_procfs_count_metric(count), p->shown.v[count]);
}

static void put_range(
	struct dn_procfs *p, struct dn_frame *frame, int from, int to, const struct census *c)
{
	for (int i = from; i <= to; i++)
		put_total(p, frame, (enum dn_procfs_count)i, sum_of(p, (enum dn_procfs_count)i, c));
}

/* The time before the command's exec was split by the kernel in the same proportion as the rest. */
static void put_split(struct dn_procfs *p, struct dn_frame *frame, const struct census *c)
{
	uint64_t user = sum_of(p, DN_PROCFS_USER, c), system = sum_of(p, DN_PROCFS_SYSTEM, c);
	double share = user > 0 ? (double)user / ((double)user + (double)system) : 0;
	uint64_t of_user = (uint64_t)((double)p->gate_ns * share);

	put_total(p, frame, DN_PROCFS_USER, dn_sub_sat(user, of_user));
	put_total(p, frame, DN_PROCFS_SYSTEM, dn_sub_sat(system, p->gate_ns - of_user));
}

static bool done(const struct dn_procfs *p, enum dn_procfs_class class)
{
	return p->round[class].done || (p->no_proc && p->final);
}

static void put_io(struct dn_procfs *p, struct dn_frame *frame, const struct census *c)
{
	const struct dn_procfs_member *m = c->refused;

	for (int i = DN_PROCFS_IO; i < DN_PROCFS_COUNT_N; i++) {
		unsigned metric = dn_procfs_count_metric((enum dn_procfs_count)i);

		if (p->io_without_base) {
			dn_procfs_degrade(p, metric, DN_QUALITY_MISSING,
				"/proc/PID/io of a process that ran before measuring began is not "
				"readable for this user");
			continue;
		}
		if (p->own_only_told && sum_of(p, (enum dn_procfs_count)i, c) == 0) {
			dn_procfs_degrade(p, metric, DN_QUALITY_MISSING,
				"it had children before it was looked at: what is its own can't be "
				"told");
			continue;
		}
		if (m && !p->final)
			continue; /* a sum without it would be no measurement; its parent's account
				     will have it */
		if (m)
			dn_procfs_degrade(p, metric, DN_QUALITY_LOWER_BOUND,
				"/proc/%d/io (%.*s) is not readable for this user while it lives",
				(int)m->pid, (int)m->comm_len, m->comm);
		else if (p->final && c->ghosts > 0)
			dn_procfs_degrade(p, metric, DN_QUALITY_LOWER_BOUND,
				"%u processes have ended and wait for their parents to reap them: "
				"theirs is not known yet",
				c->ghosts);
		put_total(p, frame, (enum dn_procfs_count)i, sum_of(p, (enum dn_procfs_count)i, c));
	}
}

static void put_switches(struct dn_procfs *p, struct dn_frame *frame, const struct census *c)
{
	/* Ended threads and reaped children of a live process are shown nowhere: no value rather
	 * than a part. */
	if (!p->final && !p->env->attach && !p->env->no_children && c->switchers > 0)
		return;
	if (p->final && c->live + c->ghosts > 0) {
		for (int i = DN_PROCFS_VOLUNTARY; i <= DN_PROCFS_INVOLUNTARY; i++)
			dn_procfs_degrade(p, dn_procfs_count_metric((enum dn_procfs_count)i),
				DN_QUALITY_LOWER_BOUND,
				"%u processes live on: the kernel does not show what their ended "
				"threads and children did",
				c->live + c->ghosts);
	}
	put_range(p, frame, DN_PROCFS_VOLUNTARY, DN_PROCFS_INVOLUNTARY, c);
}

/* The largest peak that is known to be the command's; false when none is. */
static bool known_peak(struct dn_procfs *p, uint64_t *ret)
{
	uint64_t peak = p->hwm_bytes;

	if (dn_procfs_above_floor(p, p->maxrss_bytes) && p->maxrss_bytes > peak)
		peak = p->maxrss_bytes;
	*ret = peak;
	return peak > 0;
}

static void put_peak(struct dn_procfs *p, struct dn_frame *frame, const struct census *c)
{
	const unsigned metric = DN_M_memory_peak_rss_bytes;
	uint64_t peak;
	bool known = known_peak(p, &peak);

	if (p->final && !known && p->env->attach) {
		dn_procfs_degrade(
			p, metric, DN_QUALITY_MISSING, "no process of the tree shows its VmHWM");
		return;
	}
	if (p->final && !known) {
		dn_procfs_degrade(p, metric, DN_QUALITY_MISSING,
			"ru_maxrss survives exec, and the command stayed below the %llu KiB of "
			"denet's own child",
			(unsigned long long)(p->floor_bytes / 1024));
		return;
	}
	if (!known)
		return;
	if (p->final && !p->env->attach) {
		if (c->reapers > 0)
			dn_procfs_degrade(p, metric, DN_QUALITY_LOWER_BOUND,
				"%u processes live on: the kernel does not show the peaks of the "
				"children they reaped",
				c->reapers);
		else if (p->maxrss_bytes > 0 && !dn_procfs_above_floor(p, p->maxrss_bytes))
			dn_procfs_degrade(p, metric, DN_QUALITY_SAMPLED,
				"ru_maxrss is denet's own child's before exec; the last VmHWM that "
				"a sample saw stands");
	} else if (!p->env->attach && c->reapers > 0) {
		return; /* a child that was reaped may have had more */
	}
	put(p, frame, metric, peak);
}

static void put_memory(struct dn_procfs *p, struct dn_frame *frame, const struct census *c)
{
	enum { ALWAYS = 6 }; /* the others may yet be told when it is reaped */
	static const unsigned sums[] = {DN_M_memory_rss_bytes, DN_M_memory_virtual_bytes,
		DN_M_memory_peak_tree_rss_bytes, DN_M_memory_swap_bytes, DN_M_process_threads,
		DN_M_process_fds, DN_M_memory_peak_rss_bytes, DN_M_memory_minor_faults,
		DN_M_memory_major_faults, DN_M_cpu_user_ns, DN_M_cpu_system_ns,
		DN_M_cpu_run_delay_ns, DN_M_cpu_total_ns};
	/* The last one: but for a recording its CPU clock answers, hidden or not. */
	unsigned n_sums = p->final ? sizeof(sums) / sizeof(sums[0]) - !p->env->fixture : ALWAYS;
	uint64_t peak;

	if (c->hidden > 0) {
		for (unsigned i = 0; i < n_sums; i++)
			dn_procfs_degrade(p, sums[i], DN_QUALITY_LOWER_BOUND,
				"%d lives, but /proc does not show it to this user (hidepid)",
				(int)c->hidden_one->pid);
	}
	if (done(p, DN_PROCFS_CLASS_STATM) && c->with_mm > 0) {
		put(p, frame, DN_M_memory_rss_bytes, c->rss_bytes);
		put(p, frame, DN_M_memory_virtual_bytes, c->size_bytes);
		if (c->rss_bytes > p->peak_tree_bytes)
			p->peak_tree_bytes = c->rss_bytes;
	}
	/* The sum was at least what one of them had. */
	if (known_peak(p, &peak) && !p->env->attach && peak > p->peak_tree_bytes)
		p->peak_tree_bytes = peak;
	if (p->peak_tree_bytes > 0 && (done(p, DN_PROCFS_CLASS_STATM) || p->final))
		put(p, frame, DN_M_memory_peak_tree_rss_bytes, p->peak_tree_bytes);
}

static void put_cpu(struct dn_procfs *p, struct dn_frame *frame, const struct census *c)
{
	if (p->no_proc && !p->final)
		return;
	if (p->env->fixture && !done(p, DN_PROCFS_CLASS_STAT))
		return;
	if (p->final && c->reapers > 0 && !p->env->no_children)
		dn_procfs_degrade(p, DN_M_cpu_total_ns, DN_QUALITY_SAMPLED,
			"%u processes live on: the kernel shows the time of the children they "
			"reaped in ticks",
			c->reapers);
	put_total(p, frame, DN_PROCFS_CPU, sum_of(p, DN_PROCFS_CPU, c));
}

static void put_delay(struct dn_procfs *p, struct dn_frame *frame, const struct census *c)
{
	uint64_t delay = dn_add_sat(p->reaped_delay_ns, c->delay_ns);

	if (delay > p->shown_delay_ns)
		p->shown_delay_ns = delay;
	put(p, frame, DN_M_cpu_run_delay_ns, p->shown_delay_ns);
}

static void set_descriptor_budget(struct dn_procfs *p)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	/* Raised in the meantime, perhaps; but never beyond what EMFILE has shown. */
	p->kept_max = limit.rlim_cur > RESERVED_FDS ? (unsigned)(limit.rlim_cur - RESERVED_FDS) : 0;
	if (limit.rlim_cur > DN_PROCFS_MEMBERS_MAX)
		p->kept_max = DN_PROCFS_MEMBERS_MAX;
}

void dn_procfs_sample_tree(struct dn_procfs *p, struct dn_frame *frame)
{
	struct census c;

	p->final = frame->final;
	set_descriptor_budget(p);
	if (!p->sorted && p->env->attach)
		dn_procfs_sort(p);
	p->sorted = true;
	read_all(p);
	/* A child that was reaped while we read is in neither account: look again. */
	for (int i = 0; p->final && p->vanished > 0 && i < 3; i++)
		read_all(p);
	take_census(p, &c);
	if (p->cpu)
		put_cpu(p, frame, &c);
	if (done(p, DN_PROCFS_CLASS_STAT)) {
		put_split(p, frame, &c);
		put_range(p, frame, DN_PROCFS_MINFLT, DN_PROCFS_MAJFLT, &c);
		if (c.live > 0)
			put(p, frame, DN_M_process_threads, c.threads);
	}
	if (p->io && done(p, DN_PROCFS_CLASS_IO))
		put_io(p, frame, &c);
	if (done(p, DN_PROCFS_CLASS_STATUS)) {
		put_switches(p, frame, &c);
		if (c.with_vm > 0)
			put(p, frame, DN_M_memory_swap_bytes, c.swap_bytes);
		if (p->peak)
			put_peak(p, frame, &c);
	}
	if (done(p, DN_PROCFS_CLASS_SCHED))
		put_delay(p, frame, &c);
	if (done(p, DN_PROCFS_CLASS_FDS) && c.with_fds > 0)
		put(p, frame, DN_M_process_fds, c.fds);
	put_memory(p, frame, &c);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Proportional memory. Reading smaps_rollup holds the target's mmap lock for as long as it walks
 * its pages, so the reads may take 0.5 % of the time that was measured, and the largest processes
 * are read first. A sum is shown when all live processes were read within one round.
 */
#include <errno.h>

#include <denet/fs.h>

#include "procfs.h"

#define NOT_BEFORE_NS UINT64_C(500000000)
#define DUTY 200 /* 1/DUTY of the time */
#define RETRY_NS UINT64_C(10000000000)
/* A first guess for a process that was never read: 16 ns for a page of 4 KiB, and the call. */
#define GUESS_CALL_NS 10000
#define GUESS_BYTES_PER_NS 256

static bool readable(const struct dn_procfs_member *m)
{
	return m->process && !m->gone && !m->zombie && m->has_mm;
}

static struct dn_procfs_member *largest_unread(const struct dn_procfs *p)
{
	struct dn_procfs_member *best = NULL;

	for (struct dn_procfs_member *m = p->first; m; m = m->next) {
		if (readable(m) && m->pss_round != p->pss_state.round &&
			(!best || m->rss_bytes > best->rss_bytes))
			best = m;
	}
	return best;
}

static int read_pss(struct dn_procfs *p, struct dn_procfs_member *m)
{
	ssize_t n = dn_procfs_read_file(p, m, "smaps_rollup");

	m->pss_round = p->pss_state.round;
	m->pss_bytes = 0;
	if (n < 0)
		return (int)n;
	if (n == 0 || dn_procfs_parse_pss(p->scratch->buffer, (size_t)n, &m->pss_bytes) < 0)
		return -ESRCH; /* no memory any more */
	dn_procfs_show_gauge(p, m, DN_M_memory_pss_bytes, m->pss_bytes);
	return 0;
}

static void put_sum(struct dn_procfs *p, struct dn_frame *frame)
{
	uint64_t sum = 0;
	unsigned n = 0;

	for (struct dn_procfs_member *m = p->first; m; m = m->next) {
		if (!readable(m) || m->pss_bytes == 0)
			continue;
		sum = dn_add_sat(sum, m->pss_bytes);
		n++;
	}
	if (n == 0)
		return;
	dn_frame_u64(frame, DN_M_memory_pss_bytes, sum);
	p->pss_state.shown = true;
}

/* True when the round is complete. */
static bool go_on(struct dn_procfs *p, uint64_t elapsed_ns)
{
	for (;;) {
		uint64_t begin = dn_now_ns(), cost, guess;
		struct dn_procfs_member *m = largest_unread(p);
		int r;

		if (!m)
			return true;
		guess = m->pss_cost_ns ? m->pss_cost_ns
				       : GUESS_CALL_NS + m->rss_bytes / GUESS_BYTES_PER_NS;
		if (dn_add_sat(p->pss_state.spent_ns, guess) > elapsed_ns / DUTY)
			return false;
		r = read_pss(p, m);
		cost = dn_now_ns() - begin;
		m->pss_cost_ns = cost;
		p->pss_state.spent_ns += cost;
		if (r == -EACCES || r == -EPERM) {
			/* No sum without it; and not worth the others' while. */
			p->pss_state.refused = true;
			p->pss_state.due_ns = dn_add_sat(dn_now_ns(), RETRY_NS);
			return true;
		}
	}
}

void dn_procfs_sample_pss(struct dn_procfs *p, struct dn_frame *frame, uint64_t now_ns)
{
	/* A recorded process has no lock that reading could hold. */
	uint64_t elapsed = p->env->still ? UINT64_MAX : dn_sub_sat(now_ns, p->core->t0_ns);

	if (!p->pss)
		return;
	if (elapsed >= NOT_BEFORE_NS && p->first && now_ns >= p->pss_state.due_ns) {
		if (!p->pss_state.going) {
			p->pss_state.going = true;
			p->pss_state.refused = false;
			p->pss_state.round++;
		}
		if (go_on(p, elapsed)) {
			p->pss_state.going = false;
			if (!p->pss_state.refused)
				put_sum(p, frame);
		}
	}
	if (!frame->final || p->pss_state.shown)
		return;
	if (p->pss_state.refused)
		dn_procfs_degrade(p, DN_M_memory_pss_bytes, DN_QUALITY_MISSING,
			"smaps_rollup of a process of the tree is not readable for this user");
	else
		dn_procfs_degrade(p, DN_M_memory_pss_bytes, DN_QUALITY_MISSING,
			"the measured time was too short to read it within 0.5 %% of it");
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The members whose files are read: by pid, and in order of birth. */
#include <stdlib.h>

#include <denet/fs.h>

#include "procfs.h"

#define BUCKETS_MIN 64

static size_t bucket_of(const struct dn_procfs *p, pid_t pid)
{
	return ((uint32_t)pid * UINT32_C(2654435761) >> 8) & (p->n_buckets - 1);
}

struct dn_procfs_member *dn_procfs_find(const struct dn_procfs *p, pid_t pid)
{
	struct dn_procfs_member *m;

	if (p->n_buckets == 0)
		return NULL;
	m = p->buckets[bucket_of(p, pid)];
	while (m && m->pid != pid)
		m = m->hash_next;
	return m;
}

static bool resize(struct dn_procfs *p, size_t n)
{
	struct dn_procfs_member **buckets = calloc(n, sizeof(*buckets));

	if (!buckets)
		return false;
	free(p->buckets);
	p->buckets = buckets;
	p->n_buckets = n;
	for (struct dn_procfs_member *m = p->first; m; m = m->next) {
		struct dn_procfs_member **slot = &buckets[bucket_of(p, m->pid)];

		m->hash_next = *slot;
		*slot = m;
	}
	return true;
}

struct dn_procfs_member *dn_procfs_add(
	struct dn_procfs *p, pid_t pid, pid_t ppid, struct dn_process *process)
{
	struct dn_procfs_member *m, **slot;

	if (p->n_members >= DN_PROCFS_MEMBERS_MAX)
		return NULL;
	if (p->n_buckets == 0 && !resize(p, BUCKETS_MIN))
		return NULL;
	if (p->n_members >= p->n_buckets * 2)
		(void)resize(p, p->n_buckets * 4); /* longer chains are slower, still right */
	m = calloc(1, sizeof(*m));
	if (!m)
		return NULL;
	m->pid = pid;
	m->ppid = ppid;
	m->process = process;
	m->fd = -1;
	m->threads = 1;
	slot = &p->buckets[bucket_of(p, pid)];
	m->hash_next = *slot;
	*slot = m;
	m->prev = p->last;
	if (p->last)
		p->last->next = m;
	else
		p->first = m;
	p->last = m;
	p->n_members++;
	return m;
}

static void destroy(struct dn_procfs *p, struct dn_procfs_member *m)
{
	if (m->fd >= 0) {
		close(m->fd);
		p->n_kept--;
	}
	if (!m->process)
		p->n_ghosts--;
	free(m->own_base);
	free(m);
}

void dn_procfs_remove(struct dn_procfs *p, struct dn_procfs_member *m)
{
	struct dn_procfs_member **at = &p->buckets[bucket_of(p, m->pid)];

	while (*at != m)
		at = &(*at)->hash_next;
	*at = m->hash_next;
	for (int i = 0; i < DN_PROCFS_CLASS_N; i++) {
		if (p->round[i].cursor == m)
			p->round[i].cursor = m->next;
	}
	if (m->prev)
		m->prev->next = m->next;
	else
		p->first = m->next;
	if (m->next)
		m->next->prev = m->prev;
	else
		p->last = m->prev;
	p->n_members--;
	destroy(p, m);
}

static int by_start(const void *a, const void *b)
{
	const struct dn_procfs_member *x = *(struct dn_procfs_member *const *)a;
	const struct dn_procfs_member *y = *(struct dn_procfs_member *const *)b;

	if (x->start_ticks != y->start_ticks)
		return x->start_ticks < y->start_ticks ? -1 : 1;
	return x->pid < y->pid ? -1 : x->pid > y->pid;
}

void dn_procfs_sort(struct dn_procfs *p)
{
	struct dn_procfs_member **all;
	size_t n = 0;

	if (p->n_members < 2)
		return;
	all = calloc(p->n_members, sizeof(struct dn_procfs_member *));
	if (!all)
		return;
	for (struct dn_procfs_member *m = p->first; m; m = m->next)
		all[n++] = m;
	qsort(all, n, sizeof(struct dn_procfs_member *), by_start);
	for (size_t i = 0; i < n; i++) {
		all[i]->prev = i > 0 ? all[i - 1] : NULL;
		all[i]->next = i + 1 < n ? all[i + 1] : NULL;
	}
	p->first = all[0];
	p->last = all[n - 1];
	free(all);
}

void dn_procfs_free_members(struct dn_procfs *p)
{
	struct dn_procfs_member *next;

	for (struct dn_procfs_member *m = p->first; m; m = next) {
		next = m->next;
		destroy(p, m);
	}
	free(p->buckets);
	p->first = p->last = NULL;
	p->buckets = NULL;
	p->n_buckets = 0;
	p->n_members = 0;
}

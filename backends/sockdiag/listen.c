/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A destroyed connection no longer says whose it was, but it keeps its local port. Where only the
 * tree listens, only the tree can have accepted it. What was accepted so enters the totals after
 * the second check that finds the tree alone: another listening socket on the same port may come
 * and go between two checks, and the word of its end may be late.
 */
#include <errno.h>
#include <stdlib.h>

#include <denet/fs.h>

#include "endings.h"

/* Checks keep to half a percent of the time that passes. */
#define CHECK_SHARE 200
#define CHECK_MIN_NS UINT64_C(32000000)

static struct dn_port *port_get(struct dn_sockdiag *s, uint16_t number)
{
	struct dn_port *port = dn_map_get(&s->ports, number);

	if (port || number == 0)
		return port;
	port = calloc(1, sizeof(*port));
	if (!port || dn_map_put(&s->ports, number, port, DN_PORT_MAX) < 0) {
		free(port);
		return NULL;
	}
	port->port = number;
	return port;
}

static void take_in(struct dn_sockdiag *s, struct dn_listener *l, struct dn_accepted *accepted)
{
	dn_account_add(s, l->owner, &accepted->traffic);
	s->ours_opened += accepted->opened;
	s->accepted -= accepted->opened;
	*accepted = (struct dn_accepted){0};
}

/* Whose those were is not known after all. */
static void drop(struct dn_sockdiag *s, struct dn_listener *l)
{
	struct dn_port *port = dn_map_get(&s->ports, l->id.idiag_sport);
	uint64_t n = l->fresh.n + l->aged.n, opened = l->fresh.opened + l->aged.opened;

	s->doubts.unknown += n;
	s->theirs_closed += opened;
	s->accepted -= opened;
	if (port)
		port->unknown =
			(uint32_t)(n > UINT32_MAX - port->unknown ? UINT32_MAX : port->unknown + n);
	l->fresh = l->aged = (struct dn_accepted){0};
}

static void die(struct dn_sockdiag *s, struct dn_listener *l)
{
	if (l->dead)
		return;
	l->dead = true;
	l->dead_dump = s->dumps;
	if (dn_map_get(&s->guarded, l->inode) == l)
		dn_map_take(&s->guarded, l->inode);
}

static struct dn_listener *listener_new(
	struct dn_sockdiag *s, struct dn_port *port, const struct dn_tcp *tcp)
{
	struct dn_listener *l = calloc(1, sizeof(*l));

	if (!l || dn_map_put(&s->listeners, dn_tcp_cookie(tcp), l, DN_LISTENER_MAX) < 0) {
		free(l);
		return NULL;
	}
	*l = (struct dn_listener){.cookie = dn_tcp_cookie(tcp),
		.id = tcp->id,
		.family = tcp->family,
		.inode = tcp->inode,
		.uid = tcp->uid,
		.next = port->first};
	port->first = l;
	/* What was accepted meanwhile may have been for this one. */
	for (struct dn_listener *other = l->next; other; other = other->next) {
		if (other->ours && dn_endings_overlap(l, other))
			drop(s, other);
	}
	return l;
}

static void listener_free(struct dn_sockdiag *s, struct dn_listener *l)
{
	struct dn_port *port = dn_map_get(&s->ports, l->id.idiag_sport);
	struct dn_listener **at = port ? &port->first : NULL;

	while (at && *at && *at != l)
		at = &(*at)->next;
	if (at && *at)
		*at = l->next;
	dn_map_take(&s->listeners, l->cookie);
	free(l);
}

static int each_listening(void *arg, const struct dn_tcp *tcp)
{
	struct dn_sockdiag *s = arg;
	struct dn_port *port = port_get(s, tcp->id.idiag_sport);
	struct dn_listener *l = dn_map_get(&s->listeners, dn_tcp_cookie(tcp));
	struct dn_held *held = tcp->inode ? dn_map_get(&s->held, tcp->inode) : NULL;

	if (port && (tcp->inode == 0 || held))
		port->ours = true;
	else if (port)
		port->theirs = true;
	if (port && !l)
		l = listener_new(s, port, tcp);
	if (!l) {
		s->crowded = true;
		return 0;
	}
	l->listing = s->listings;
	if (!held || held->kind != DN_HELD_TCP || l->dead)
		return 0;
	if (!l->ours && dn_map_put(&s->guarded, l->inode, l, DN_LISTENER_MAX) == 0)
		l->ours = true;
	l->owner = held->shared ? NULL : held->holder;
	if (l->owner && dn_holder_of(s, l->owner))
		dn_holder_of(s, l->owner)->ever = true;
	return 0;
}

/* Brings the list of listening sockets up to date. 0 or negative errno. */
static int list(struct dn_sockdiag *s)
{
	struct dn_listener *l;
	struct dn_port *port;
	struct dn_held *held;
	size_t at = 0;
	int r;

	while ((port = dn_map_next(&s->ports, &at)))
		port->ours = port->theirs = false;
	s->listings++;
	s->unlisted = false;
	r = dn_diag_dump(&s->diag, DN_DIAG_LISTENING, each_listening, s);
	if (r < 0)
		return r;
	for (at = 0; (held = dn_map_next(&s->held, &at));)
		held->asked = true;
	for (at = 0; (l = dn_map_next(&s->listeners, &at));) {
		if (l->listing == s->listings)
			continue;
		die(s, l);
		/* One that accepted something is still named by what it accepted. */
		if (!l->used) {
			listener_free(s, l);
			at--;
		}
	}
	return 0;
}

bool dn_listen_unexplained(const struct dn_sockdiag *s, bool again)
{
	const struct dn_held *held;
	size_t at = 0;

	while ((held = dn_map_next(&s->held, &at))) {
		if (held->kind == DN_HELD_TCP && !held->matched && (again || !held->asked) &&
			!dn_map_get(&s->guarded, held->inode))
			return true;
	}
	return false;
}

static bool is_due(const struct dn_sockdiag *s)
{
	const struct dn_listener *l;
	size_t at = 0;

	if (s->unlisted)
		return true;
	if (s->guarded.n == 0 || dn_now_ns() < s->next_check_ns)
		return false;
	if (s->accepted > 0)
		return true;
	while ((l = dn_map_next(&s->guarded, &at))) {
		if (!l->ready)
			return true;
	}
	return false;
}

/* What the check found. True when a socket is found to be the tree's alone that was not before. */
static bool conclude(struct dn_sockdiag *s)
{
	struct dn_listener *l;
	bool news = false;
	size_t at = 0;

	while ((l = dn_map_next(&s->listeners, &at))) {
		const struct dn_held *held = l->dead ? NULL : dn_map_get(&s->held, l->inode);

		if (!l->ours)
			continue;
		l->verified = held && !l->outside && !s->others.blind && !s->crowded;
		if (!l->verified && !l->dead) {
			l->ready = false;
			drop(s, l);
		}
		take_in(s, l, &l->aged);
		l->aged = l->fresh;
		l->fresh = (struct dn_accepted){0};
		news |= l->verified && !l->ready;
	}
	return news;
}

bool dn_listen_check(struct dn_sockdiag *s, bool all)
{
	uint64_t begin = dn_spent_ns(), cost;
	bool complete;

	if (!s->others.active) {
		struct dn_listener *l;
		size_t at = 0;

		/* Children outside the tree would share every socket. */
		if (s->env.no_children || (!all && !is_due(s)) || list(s) < 0 ||
			s->guarded.n == 0 || dn_others_begin(s) < 0)
			return false;
		while ((l = dn_map_next(&s->guarded, &at)))
			l->outside = false;
		s->check_cost_ns = 0;
	}
	complete = dn_others_go_on(s, all);
	cost = dn_sub_sat(dn_spent_ns(), begin);
	s->check_cost_ns += cost;
	s->budget_ns -= (int64_t)cost;
	if (!complete)
		return false;
	s->next_check_ns = dn_now_ns() + CHECK_MIN_NS +
			   dn_sub_sat(s->check_cost_ns * CHECK_SHARE, CHECK_MIN_NS);
	return conclude(s);
}

void dn_listen_ready(struct dn_sockdiag *s)
{
	struct dn_listener *l;
	size_t at = 0;

	while ((l = dn_map_next(&s->guarded, &at))) {
		if (l->verified && !l->ready) {
			l->ready = true;
			l->ready_dump = s->dumps;
		}
	}
}

/* Was it opened while l was known to be the tree's alone? */
static bool is_young(const struct dn_listener *l, const struct dn_seen *seen)
{
	if (l->dead && !(seen && seen->first_dump < l->dead_dump))
		return false;
	return !seen || seen->first_dump > l->ready_dump ||
	       (seen->queued && seen->first_dump == l->ready_dump);
}

static struct dn_listener *acceptor(
	const struct dn_sockdiag *s, const struct dn_tcp *tcp, const struct dn_seen *seen)
{
	const struct dn_port *port = dn_map_get(&s->ports, tcp->id.idiag_sport);
	struct dn_listener *found = NULL;

	for (struct dn_listener *l = port && !s->crowded ? port->first : NULL; l; l = l->next) {
		if (!dn_endings_covers(l->family, &l->id, tcp))
			continue;
		if (!l->ours || !l->ready)
			return NULL;
		if (is_young(l, seen))
			found = l;
	}
	return found;
}

bool dn_listen_accepted(struct dn_sockdiag *s, const struct dn_tcp *tcp, const struct dn_seen *seen)
{
	const struct dn_connection unseen = {.syn = 0};
	struct dn_traffic traffic = {.tx = dn_account_sent(tcp), .retransmits = tcp->retransmits};
	struct dn_listener *l;
	bool known;

	/* Two more than the payload were acknowledged: a SYN of its own, so it was not accepted. */
	if (!tcp->has_info || tcp->id.idiag_dport == 0 || tcp->acked >= traffic.tx + 2)
		return false;
	l = acceptor(s, tcp, seen);
	if (!l)
		return false;
	known = dn_account_received(&unseen, tcp, &traffic.rx);
	if (seen && seen->old) {
		traffic.rx = dn_sub_sat(traffic.rx, seen->base.rx);
		traffic.tx = dn_sub_sat(traffic.tx, seen->base.tx);
		traffic.retransmits = dn_sub_sat(traffic.retransmits, seen->base.retransmits);
	} else {
		l->fresh.opened++;
		s->accepted++;
	}
	l->used = true;
	l->fresh.n++;
	l->fresh.traffic.rx = dn_add_sat(l->fresh.traffic.rx, traffic.rx);
	l->fresh.traffic.tx = dn_add_sat(l->fresh.traffic.tx, traffic.tx);
	l->fresh.traffic.retransmits =
		dn_add_sat(l->fresh.traffic.retransmits, traffic.retransmits);
	dn_endings_add(s, tcp, NULL, l, !known);
	return true;
}

/* The other end is one that a listening socket of the tree accepted. */
static bool is_caller(const struct dn_sockdiag *s, const struct dn_tcp *tcp)
{
	const struct dn_port *port = dn_map_get(&s->ports, tcp->id.idiag_dport);

	if (!port || !dn_endings_is_local(tcp))
		return false;
	for (const struct dn_listener *l = port->first; l; l = l->next) {
		if (l->ours && dn_endings_covers_peer(l->family, &l->id, tcp))
			return true;
	}
	return false;
}

void dn_listen_unknown(struct dn_sockdiag *s, const struct dn_tcp *tcp)
{
	struct dn_port *port;

	if (is_caller(s, tcp)) {
		s->doubts.callers++;
		return;
	}
	s->doubts.unknown++;
	port = port_get(s, tcp->id.idiag_sport);
	if (port && port->unknown < UINT32_MAX)
		port->unknown++;
}

void dn_listen_closed(struct dn_sockdiag *s, const struct dn_tcp *tcp)
{
	struct dn_port *port = port_get(s, tcp->id.idiag_sport);
	struct dn_listener *l = dn_map_get(&s->listeners, dn_tcp_cookie(tcp));

	if (port)
		port->closed = true;
	if (l) {
		die(s, l);
		return;
	}
	/* It may have listened since the last check: what was accepted meanwhile may be its. */
	for (l = port ? port->first : NULL; l; l = l->next) {
		if (l->ours)
			drop(s, l);
	}
}

void dn_listen_exited(struct dn_sockdiag *s, const struct dn_process *process)
{
	struct dn_listener *l;
	size_t at = 0;

	while ((l = dn_map_next(&s->listeners, &at))) {
		if (l->owner == process)
			l->owner = NULL;
	}
}

/*
 * A connection whose local port is one where somebody else listens was accepted by them. Not when
 * the tree may have shared the listening socket: it got one, or had one that is gone by now.
 */
static void release(struct dn_sockdiag *s)
{
	struct dn_port *port;
	size_t at = 0;

	while ((port = dn_map_next(&s->ports, &at))) {
		if (port->theirs && !port->ours && !port->closed)
			s->doubts.unknown = dn_sub_sat(s->doubts.unknown, port->unknown);
	}
}

void dn_listen_settle(struct dn_sockdiag *s, bool alive)
{
	bool may_release = !s->left && (!s->baselined || s->env.attach);
	struct dn_listener *l;
	size_t at = 0;

	if (s->accepted == 0 && (s->doubts.unknown == 0 || !may_release))
		return;
	if (s->accepted > 0 && alive) {
		while ((l = dn_map_next(&s->guarded, &at)))
			l->verified = false;
		(void)dn_scan_round(s, true);
		s->others.active = false;
		(void)dn_listen_check(s, true);
	} else if (list(s) < 0) {
		may_release = false;
	}
	dn_account_drain(s);
	for (at = 0; (l = dn_map_next(&s->listeners, &at));) {
		if (!l->ours)
			continue;
		/* When the tree is dead, what still listens is somebody else's too. */
		if (!l->dead && (!alive || !l->verified))
			drop(s, l);
		take_in(s, l, &l->aged);
		take_in(s, l, &l->fresh);
	}
	if (may_release)
		release(s);
}

void dn_listen_finish(struct dn_sockdiag *s)
{
	struct dn_listener *l;
	size_t at = 0;

	while ((l = dn_map_next(&s->guarded, &at))) {
		dn_map_take(&s->guarded, l->inode);
		at--;
	}
	dn_map_finish(&s->guarded);
	dn_map_finish(&s->listeners);
	dn_map_finish(&s->ports);
	free(s->others.pid);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The books: which connections are ours, what they carried, and what became of the others. The
 * kernel's counters are exact but for one byte: the peer's FIN counts as received.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <denet/fs.h>

#include "endings.h"

/* Age that proves a socket older than the run must exceed the run's by more than the kernel's clock
 * ticks. */
#define AGE_SLACK_MS 200

static void traffic_add(
	struct dn_traffic *to, const struct dn_traffic *now, const struct dn_traffic *base)
{
	to->rx = dn_add_sat(to->rx, dn_sub_sat(now->rx, base->rx));
	to->tx = dn_add_sat(to->tx, dn_sub_sat(now->tx, base->tx));
	to->retransmits =
		dn_add_sat(to->retransmits, dn_sub_sat(now->retransmits, base->retransmits));
}

void dn_account_add(
	struct dn_sockdiag *s, struct dn_process *owner, const struct dn_traffic *traffic)
{
	static const struct dn_traffic zero;

	traffic_add(&s->closed, traffic, &zero);
	if (owner && dn_holder_of(s, owner))
		traffic_add(&dn_holder_of(s, owner)->closed, traffic, &zero);
}

/* The peer's FIN was received. */
static bool state_after_fin(uint8_t state)
{
	return state == DN_TCP_CLOSE_WAIT || state == DN_TCP_LAST_ACK || state == DN_TCP_CLOSING ||
	       state == DN_TCP_TIME_WAIT;
}

uint64_t dn_account_sent(const struct dn_tcp *tcp)
{
	return dn_sub_sat(tcp->sent, tcp->resent);
}

bool dn_account_older(const struct dn_tcp *tcp, uint64_t since_t0_ns)
{
	/* The establishing sets the time of the last sending; before it, and after a reset, there
	 * is none. */
	if (!tcp->has_info || tcp->state == DN_TCP_SYN_SENT || tcp->state == DN_TCP_SYN_RECV ||
		tcp->id.idiag_dport == 0 || (tcp->sent == 0 && tcp->received == 0))
		return false;
	return tcp->last_sent_ms > since_t0_ns / 1000000 + AGE_SLACK_MS;
}

static bool is_older(const struct dn_sockdiag *s, const struct dn_tcp *tcp)
{
	return s->core->t0_ns != 0 &&
	       dn_account_older(tcp, dn_sub_sat(dn_now_ns(), s->core->t0_ns));
}

bool dn_account_received(
	const struct dn_connection *connection, const struct dn_tcp *tcp, uint64_t *ret_rx)
{
	const struct dn_tcp *last = &connection->last;
	uint64_t fin_acked;

	if (tcp->received == 0 || tcp->data_segments_in == 0) {
		*ret_rx = 0;
		return true;
	}
	*ret_rx = tcp->received - 1;
	if (connection->fin_seen)
		return true;
	if (last->has_info && tcp->received == last->received) {
		*ret_rx = tcp->received;
		return true;
	}
	/* One more without a segment that carried data. */
	if (last->has_info && tcp->received == last->received + 1 &&
		tcp->data_segments_in == last->data_segments_in)
		return true;
	/*
	 * One unread, and our own FIN was acknowledged: closing with unread data would have sent a
	 * RST instead of a FIN, so what is unread is the peer's FIN.
	 */
	fin_acked = dn_account_sent(tcp) + (connection->syn == 0 ? 1 : 2);
	if (tcp->rqueue == 1 && tcp->wqueue == 0 && tcp->acked >= fin_acked)
		return true;
	return false;
}

int dn_account_received_by_peer(const struct dn_tcp *tcp, uint64_t peer_sent, uint64_t *ret_rx)
{
	if (peer_sent >= tcp->received)
		*ret_rx = tcp->received;
	else if (peer_sent == tcp->received - 1)
		*ret_rx = peer_sent;
	else
		return 0; /* the other end had its counters cleared */
	return 1;
}

static void connection_free(struct dn_sockdiag *s, struct dn_connection *c)
{
	if (c->prev)
		c->prev->next = c->next;
	else
		s->first = c->next;
	if (c->next)
		c->next->prev = c->prev;
	free(c);
}

/* The counters of a socket start again when it is disconnected and connected once more. */
static void begin_again(struct dn_sockdiag *s, struct dn_connection *c)
{
	struct dn_traffic counted = {0};

	traffic_add(&counted, &c->now, &c->base);
	dn_account_add(s, c->owner, &counted);
	c->now = c->base = (struct dn_traffic){0};
	c->last = (struct dn_tcp){0};
	c->fin_seen = false;
	c->syn = -1;
	s->doubts.reset++;
	s->ours_opened++;
}

static void update(struct dn_sockdiag *s, struct dn_connection *c, const struct dn_tcp *tcp)
{
	uint64_t sent = dn_account_sent(tcp);

	if (c->last.has_info && (tcp->sent < c->last.sent || tcp->received < c->last.received))
		begin_again(s, c);
	c->state = tcp->state;
	c->orphan = tcp->inode == 0;
	c->last = *tcp;
	c->fin_seen |= state_after_fin(tcp->state);
	c->now = (struct dn_traffic){.rx = tcp->received - (c->fin_seen && tcp->received > 0),
		.tx = sent,
		.retransmits = tcp->retransmits};
	if (tcp->state == DN_TCP_ESTABLISHED || tcp->state == DN_TCP_CLOSE_WAIT) {
		/* Our FIN has not been sent: what is acknowledged beyond the payload is our SYN. */
		if (tcp->acked > sent)
			c->syn = 1;
		else if (tcp->acked == sent && tcp->wqueue == 0)
			c->syn = 0;
	}
}

static void refresh_one(struct dn_sockdiag *s, struct dn_connection *c)
{
	struct dn_tcp tcp, again;
	int r = dn_diag_query(&s->diag, c->family, &c->id, &tcp);

	if (r == -ENOENT || (r == 0 && !tcp.has_info)) {
		c->gone = true;
		return;
	}
	if (r < 0)
		return;
	/*
	 * The kernel reads the state first and the counters after it: a FIN in between would be
	 * taken for payload. The second answer's state is younger than the first one's counters.
	 */
	if (tcp.received != c->last.received && !state_after_fin(tcp.state) &&
		dn_diag_query(&s->diag, c->family, &c->id, &again) == 0 && again.has_info &&
		state_after_fin(again.state))
		tcp = again;
	update(s, c, &tcp);
}

void dn_account_refresh(struct dn_sockdiag *s)
{
	for (struct dn_connection *c = s->first; c; c = c->next) {
		if (!c->gone)
			refresh_one(s, c);
	}
}

static int connection_new(
	struct dn_sockdiag *s, const struct dn_tcp *tcp, struct dn_held *held, bool baseline)
{
	struct dn_seen *seen = dn_map_take(&s->seen, dn_tcp_cookie(tcp));
	struct dn_connection *c = calloc(1, sizeof(*c));

	if (!c || dn_map_put(&s->connections, dn_tcp_cookie(tcp), c, DN_CONNECTION_MAX) < 0) {
		free(c);
		free(seen);
		dn_sockdiag_doubt(s, "more connections than can be remembered");
		return -ENOMEM;
	}
	*c = (struct dn_connection){.id = tcp->id,
		.family = tcp->family,
		.syn = -1,
		.owner = held->holder,
		.next = s->first};
	if (s->first)
		s->first->prev = c;
	s->first = c;
	if (c->owner && dn_holder_of(s, c->owner))
		dn_holder_of(s, c->owner)->ever = true;
	held->matched = true;
	c->young = true;
	if (baseline) {
		c->from_now = true;
	} else if (seen && seen->old) {
		c->base = seen->base;
		s->doubts.late += !s->baselined;
	} else if (is_older(s, tcp)) {
		c->from_now = true;
		s->doubts.late++;
	} else {
		s->ours_opened++;
	}
	free(seen);
	return 0;
}

/* No descriptor of the tree leads to it. */
static void note_other(struct dn_sockdiag *s, const struct dn_tcp *tcp, bool baseline)
{
	struct dn_seen *seen = dn_map_get(&s->seen, dn_tcp_cookie(tcp));
	bool unborn = tcp->inode == 0 &&
		      (tcp->state == DN_TCP_ESTABLISHED || tcp->state == DN_TCP_CLOSE_WAIT);

	if (!seen) {
		seen = calloc(1, sizeof(*seen));
		if (!seen || dn_map_put(&s->seen, dn_tcp_cookie(tcp), seen, DN_SEEN_MAX) < 0) {
			free(seen);
			s->crowded = true;
			s->theirs_live++;
			return;
		}
		*seen = (struct dn_seen){.cookie = dn_tcp_cookie(tcp),
			.inode = tcp->inode,
			.round = s->rounds,
			.sequence = s->samples,
			.first_dump = s->dumps,
			.queued = unborn,
			.old = baseline || is_older(s, tcp),
			/* The command has not begun yet: what it did not get is not ours. */
			.stranger = baseline && !s->env.attach && !unborn};
		seen->base = (struct dn_traffic){
			.rx = tcp->received - (state_after_fin(tcp->state) && tcp->received),
			.tx = dn_account_sent(tcp),
			.retransmits = tcp->retransmits};
	}
	seen->dump = s->dumps;
	if (seen->inode != tcp->inode) {
		seen->inode = tcp->inode;
		seen->round = s->rounds;
		seen->sequence = s->samples;
	}
	/*
	 * It had its descriptor during two whole scans that did not find it, with the process table
	 * brought up to date in between: somebody else holds it.
	 */
	if (tcp->inode != 0 && s->rounds >= seen->round + 2 && s->samples > seen->sequence)
		seen->stranger = true;
	if (seen->old)
		return;
	s->theirs_live++;
	if (!seen->stranger && (tcp->inode != 0 || unborn))
		s->undecided++;
	else if (!seen->stranger && (tcp->sent > 0 || tcp->data_segments_in > 0))
		s->orphans++;
}

struct dump {
	struct dn_sockdiag *s;
	bool baseline;
};

static int each_dumped(void *arg, const struct dn_tcp *tcp)
{
	const struct dump *dump = arg;
	struct dn_sockdiag *s = dump->s;
	struct dn_held *held;

	/* Half a handshake has no byte and no cookie that lasts. */
	if (!tcp->has_info || tcp->state == DN_TCP_SYN_RECV || tcp->state == DN_TCP_NEW_SYN_RECV ||
		dn_map_get(&s->connections, dn_tcp_cookie(tcp)))
		return 0;
	held = tcp->inode ? dn_map_get(&s->held, tcp->inode) : NULL;
	if (held && held->kind == DN_HELD_TCP)
		return connection_new(s, tcp, held, dump->baseline);
	note_other(s, tcp, dump->baseline);
	return 0;
}

int dn_account_dump(struct dn_sockdiag *s, bool baseline)
{
	struct dump dump = {.s = s, .baseline = baseline};
	int r;

	s->dumps++;
	s->undecided = s->orphans = s->theirs_live = 0;
	r = dn_diag_dump(&s->diag, DN_DIAG_CONNECTED, each_dumped, &dump);
	/* New ones are in front. Their values are asked for once more: a dump can't tell a FIN that
	 * just came. */
	for (struct dn_connection *c = s->first; c && c->young; c = c->next) {
		c->young = false;
		refresh_one(s, c);
		if (c->from_now)
			c->base = c->now;
	}
	return r;
}

/* The last word of a connection of ours. */
static void close_connection(
	struct dn_sockdiag *s, struct dn_connection *c, const struct dn_tcp *tcp)
{
	struct dn_traffic last = c->now, counted = {0};
	bool known = true;

	if (!tcp->has_info || (tcp->id.idiag_dport == 0 && c->id.idiag_dport != 0)) {
		s->doubts.reset++;
	} else {
		known = dn_account_received(c, tcp, &last.rx);
		if (last.rx < c->now.rx)
			last.rx = c->now.rx;
		last.tx = dn_account_sent(tcp);
		last.retransmits = tcp->retransmits;
	}
	traffic_add(&counted, &last, &c->base);
	dn_account_add(s, c->owner, &counted);
	if (tcp->has_info && tcp->id.idiag_dport != 0)
		dn_endings_add(s, tcp, c->owner, NULL, !known);
}

static void on_destroyed(struct dn_sockdiag *s, const struct dn_tcp *tcp)
{
	struct dn_connection *c = dn_map_take(&s->connections, dn_tcp_cookie(tcp));
	struct dn_seen *seen;
	/*
	 * Closed with SO_LINGER 0 or disconnected, which clears the counters and the peer. A
	 * connect that failed and a socket that listened have no peer either, but both their times
	 * were never set.
	 */
	bool cleared = tcp->id.idiag_dport == 0 && tcp->last_sent_ms != tcp->last_received_ms;
	bool empty = tcp->sent == 0 && tcp->data_segments_in == 0 && tcp->received <= 1 &&
		     tcp->retransmits == 0;
	bool ours;

	if (c) {
		close_connection(s, c, tcp);
		connection_free(s, c);
		return;
	}
	seen = dn_map_take(&s->seen, dn_tcp_cookie(tcp));
	ours = !cleared && !(seen && seen->stranger) && dn_listen_accepted(s, tcp, seen);
	if (!ours && (s->connections.n > 0 || s->endings.n > 0 || s->guarded.n > 0))
		dn_endings_add(s, tcp, NULL, NULL, false);
	if (seen && seen->dump == s->dumps && !seen->old && s->theirs_live > 0)
		s->theirs_live--;
	if (ours) {
		free(seen);
		return;
	}
	if (tcp->id.idiag_dport == 0 && tcp->wqueue == 0 && !cleared && empty) {
		/* One that listened or was never used: it opened nothing. */
		dn_listen_closed(s, tcp);
	} else if (!(seen && seen->old && seen->stranger) && !is_older(s, tcp)) {
		s->theirs_closed++;
		if (!(seen && seen->stranger) && (!empty || cleared))
			dn_listen_unknown(s, tcp);
	}
	free(seen);
}

uint64_t dn_account_drain(struct dn_sockdiag *s)
{
	for (uint64_t n = 0;; n++) {
		struct dn_tcp tcp;
		uint64_t lost = 0;
		int r = dn_diag_event(&s->diag, &tcp, &lost);

		if (r == -ENOBUFS) {
			s->doubts.lost = dn_add_sat(s->doubts.lost, lost);
			s->core->lost(s->core, "sock_diag", lost);
			continue;
		}
		if (r <= 0)
			return n;
		on_destroyed(s, &tcp);
	}
}

struct dn_traffic dn_account_total(const struct dn_sockdiag *s)
{
	struct dn_traffic total = s->closed;

	for (const struct dn_connection *c = s->first; c; c = c->next)
		traffic_add(&total, &c->now, &c->base);
	return total;
}

void dn_account_processes(struct dn_sockdiag *s, struct dn_process *one)
{
	const struct dn_holder *asked = one ? dn_holder_of(s, one) : NULL;

	for (struct dn_connection *c = asked && !asked->ever ? NULL : s->first; c; c = c->next) {
		struct dn_holder *holder = c->owner ? dn_holder_of(s, c->owner) : NULL;

		if (holder)
			traffic_add(&holder->live, &c->now, &c->base);
	}
	for (struct dn_process *p = one ? one : dn_tree_first(s->core->tree); p;
		p = one ? NULL : p->next) {
		struct dn_holder *holder = dn_holder_of(s, p);

		if (!holder || holder->round == 0)
			continue;
		if (dn_metric_set_has(&s->assigned, DN_M_network_rx_bytes))
			dn_process_u64(p, DN_M_network_rx_bytes,
				dn_add_sat(holder->closed.rx, holder->live.rx));
		if (dn_metric_set_has(&s->assigned, DN_M_network_tx_bytes))
			dn_process_u64(p, DN_M_network_tx_bytes,
				dn_add_sat(holder->closed.tx, holder->live.tx));
	}
	for (struct dn_connection *c = asked && !asked->ever ? NULL : s->first; c; c = c->next) {
		if (c->owner && dn_holder_of(s, c->owner))
			dn_holder_of(s, c->owner)->live = (struct dn_traffic){0};
	}
}

void dn_account_exited(struct dn_sockdiag *s, struct dn_process *process)
{
	const struct dn_holder *holder = dn_holder_of(s, process);

	if (!holder || !holder->ever)
		return;
	for (struct dn_connection *c = s->first; c; c = c->next) {
		if (c->owner == process)
			c->owner = NULL;
	}
	dn_endings_exited(s, process);
	dn_listen_exited(s, process);
}

void dn_account_finish(struct dn_sockdiag *s)
{
	dn_map_finish(&s->connections);
	s->first = NULL;
	dn_map_finish(&s->seen);
	dn_map_finish(&s->endings);
	dn_listen_finish(s);
}

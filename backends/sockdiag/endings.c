/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The last byte that a destroyed socket received may be the peer's FIN. Where the peer is on this
 * machine, what it sent decides; elsewhere a TIME_WAIT that is still waiting for the FIN does, else
 * it stays a doubt.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <arpa/inet.h>

#include <denet/fs.h>

#include "endings.h"

struct endpoint {
	uint32_t address[4];
	uint16_t port;
};

static struct endpoint endpoint_of(uint8_t family, const uint32_t address[4], uint16_t port)
{
	struct endpoint end = {.port = port};

	if (family == AF_INET6) {
		memcpy(end.address, address, sizeof(end.address));
	} else {
		end.address[2] = htonl(0xffff);
		end.address[3] = address[0];
	}
	return end;
}

static struct endpoint source(const struct dn_tcp *tcp)
{
	return endpoint_of(tcp->family, tcp->id.idiag_src, tcp->id.idiag_sport);
}

static struct endpoint destination(const struct dn_tcp *tcp)
{
	return endpoint_of(tcp->family, tcp->id.idiag_dst, tcp->id.idiag_dport);
}

static bool same(const struct endpoint *a, const struct endpoint *b)
{
	return a->port == b->port && memcmp(a->address, b->address, sizeof(a->address)) == 0;
}

bool dn_endings_are_peers(const struct dn_tcp *a, const struct dn_tcp *b)
{
	struct endpoint from_a = source(a), to_a = destination(a), from_b = source(b),
			to_b = destination(b);

	return same(&from_a, &to_b) && same(&to_a, &from_b);
}

/* An IPv4 wildcard takes IPv4 only; an IPv6 one may take both. */
static bool covers(
	uint8_t family, const struct inet_diag_sockid *listener, const struct endpoint *end)
{
	static const uint32_t any[4];
	struct endpoint own = endpoint_of(family, listener->idiag_src, listener->idiag_sport);

	if (own.port != end->port)
		return false;
	if (family == AF_INET6 && memcmp(own.address, any, sizeof(any)) == 0)
		return true;
	if (family == AF_INET && own.address[3] == 0)
		return end->address[0] == 0 && end->address[1] == 0 &&
		       end->address[2] == htonl(0xffff);
	return same(&own, end);
}

bool dn_endings_covers(
	uint8_t family, const struct inet_diag_sockid *listener, const struct dn_tcp *tcp)
{
	struct endpoint end = source(tcp);

	return covers(family, listener, &end);
}

bool dn_endings_covers_peer(
	uint8_t family, const struct inet_diag_sockid *listener, const struct dn_tcp *tcp)
{
	struct endpoint end = destination(tcp);

	return covers(family, listener, &end);
}

bool dn_endings_overlap(const struct dn_listener *a, const struct dn_listener *b)
{
	struct endpoint at_a = endpoint_of(a->family, a->id.idiag_src, a->id.idiag_sport);
	struct endpoint at_b = endpoint_of(b->family, b->id.idiag_src, b->id.idiag_sport);

	return covers(a->family, &a->id, &at_b) || covers(b->family, &b->id, &at_a);
}

static uint64_t mix(const struct endpoint *end)
{
	uint64_t hash = end->port;

	for (unsigned i = 0; i < 4; i++)
		hash = (hash ^ end->address[i]) * UINT64_C(0x100000001b3);
	return hash ^ hash >> 29;
}

uint64_t dn_endings_key(const struct dn_tcp *tcp)
{
	struct endpoint from = source(tcp), to = destination(tcp);

	return mix(&from) + mix(&to);
}

/* Only then is there another end in this namespace. */
bool dn_endings_is_local(const struct dn_tcp *tcp)
{
	struct endpoint from = source(tcp), to = destination(tcp);

	if (memcmp(from.address, to.address, sizeof(from.address)) == 0)
		return true;
	return to.address[0] == 0 && to.address[1] == 0 && to.address[2] == htonl(0xffff) &&
	       ntohl(to.address[3]) >> 24 == 127;
}

static void resolve(struct dn_sockdiag *s, struct dn_ending *ending, uint64_t peer_sent)
{
	uint64_t rx;

	if (!ending->waiting || !dn_account_received_by_peer(&ending->tcp, peer_sent, &rx))
		return;
	ending->waiting = false;
	if (rx < ending->tcp.received)
		return; /* the lower value was right */
	if (ending->listener)
		ending->listener->fresh.traffic.rx =
			dn_add_sat(ending->listener->fresh.traffic.rx, 1);
	else
		dn_account_add(s, ending->owner, &(struct dn_traffic){.rx = 1});
}

static int query_either(
	struct dn_sockdiag *s, const struct dn_tcp *tcp, bool other_end, struct dn_tcp *ret)
{
	struct inet_diag_sockid id = tcp->id;

	id.idiag_cookie[0] = id.idiag_cookie[1] = INET_DIAG_NOCOOKIE;
	if (other_end) {
		id.idiag_sport = tcp->id.idiag_dport;
		id.idiag_dport = tcp->id.idiag_sport;
		memcpy(id.idiag_src, tcp->id.idiag_dst, sizeof(id.idiag_src));
		memcpy(id.idiag_dst, tcp->id.idiag_src, sizeof(id.idiag_dst));
	}
	return dn_diag_query(&s->diag, tcp->family, &id, ret);
}

/* The other end, if the kernel still has it. */
static void ask_peer(struct dn_sockdiag *s, struct dn_ending *ending)
{
	struct dn_tcp peer;

	if (query_either(s, &ending->tcp, true, &peer) == 0 && peer.has_info &&
		dn_endings_are_peers(&ending->tcp, &peer))
		resolve(s, ending, dn_account_sent(&peer));
}

static void ask_remains(struct dn_sockdiag *s, struct dn_ending *ending)
{
	struct dn_tcp rest;

	/* What stands in for the socket still waits for the FIN: the socket itself did not see it.
	 */
	if (query_either(s, &ending->tcp, false, &rest) == 0 && !rest.has_info &&
		rest.state == DN_TCP_FIN_WAIT2)
		resolve(s, ending, UINT64_MAX);
}

static void make_room(struct dn_sockdiag *s)
{
	struct dn_ending *ending;
	size_t at = 0;

	while ((ending = dn_map_next(&s->endings, &at))) {
		if (ending->waiting)
			continue;
		dn_map_take(&s->endings, dn_endings_key(&ending->tcp));
		free(ending);
		at--;
	}
}

/* False when there is no room. */
static bool keep(struct dn_sockdiag *s, const struct dn_ending *ending)
{
	struct dn_ending *copy = malloc(sizeof(*copy));

	if (s->endings.n >= DN_ENDING_MAX)
		make_room(s);
	if (!copy)
		return false;
	*copy = *ending;
	if (dn_map_put(&s->endings, dn_endings_key(&ending->tcp), copy, DN_ENDING_MAX) < 0) {
		free(copy);
		return false;
	}
	return true;
}

void dn_endings_add(struct dn_sockdiag *s, const struct dn_tcp *tcp, struct dn_process *owner,
	struct dn_listener *listener, bool waiting)
{
	struct dn_ending ending = {
		.tcp = *tcp, .owner = owner, .listener = listener, .waiting = waiting};
	struct dn_ending *other;

	if (!tcp->has_info || tcp->id.idiag_dport == 0)
		return;
	if (!dn_endings_is_local(tcp)) {
		if (waiting)
			ask_remains(s, &ending);
		s->doubts.last_fin += ending.waiting;
		return;
	}
	other = dn_map_take(&s->endings, dn_endings_key(tcp));
	if (other && dn_endings_are_peers(&other->tcp, tcp)) {
		resolve(s, other, dn_account_sent(tcp));
		resolve(s, &ending, dn_account_sent(&other->tcp));
		s->doubts.last_fin += other->waiting + ending.waiting;
		free(other);
		return;
	}
	if (other) {
		/* The same addresses and ports again. */
		s->doubts.last_fin += other->waiting;
		free(other);
	}
	if (waiting)
		ask_peer(s, &ending);
	if (!keep(s, &ending))
		s->doubts.last_fin += ending.waiting;
}

void dn_endings_exited(struct dn_sockdiag *s, const struct dn_process *process)
{
	struct dn_ending *ending;
	size_t at = 0;

	while ((ending = dn_map_next(&s->endings, &at))) {
		if (ending->owner == process)
			ending->owner = NULL;
	}
}

void dn_endings_settle(struct dn_sockdiag *s)
{
	struct dn_ending *ending;
	size_t at = 0;

	while ((ending = dn_map_next(&s->endings, &at))) {
		if (ending->waiting)
			ask_peer(s, ending);
		s->doubts.last_fin += ending->waiting;
		ending->waiting = false;
	}
}

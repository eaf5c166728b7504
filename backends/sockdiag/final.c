/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The end of the books. When the root is dead its sockets are closed, and the kernel's last word on
 * them is on its way: it is sent from a work queue. What then is still open to doubt is said with
 * its number.
 */
#include <stdio.h>

#include <denet/fs.h>

#include "endings.h"

/* Last words take well below a millisecond; a loaded machine may need some. */
#define LAST_WORDS_NS UINT64_C(20000000)
#define SILENCE_MS 2

static bool is_held(const struct dn_sockdiag *s, const struct dn_connection *c)
{
	return c->last.inode != 0 && dn_map_get(&s->held, c->last.inode) != NULL;
}

/* Connections of the namespace that began with the run and of which nothing was heard. */
static uint64_t missing(const struct dn_sockdiag *s)
{
	uint64_t opened = dn_sub_sat(s->snmp.opens, s->snmp_base.opens);

	if (!s->has_snmp)
		return 0;
	return dn_sub_sat(opened, s->ours_opened + s->accepted + s->theirs_closed + s->theirs_live);
}

static bool expects_words(const struct dn_sockdiag *s)
{
	if (missing(s) > 0)
		return true;
	for (const struct dn_connection *c = s->first; c; c = c->next) {
		if (c->gone && !is_held(s, c))
			return true;
	}
	return false;
}

/* Until everybody has spoken; at least until nobody spoke for a moment. */
static void hear_last_words(struct dn_sockdiag *s)
{
	uint64_t end = dn_now_ns() + LAST_WORDS_NS, now;
	bool silent = false;

	while ((expects_words(s) || !silent) && (now = dn_now_ns()) < end) {
		uint64_t closed = s->theirs_closed;
		size_t live = s->connections.n;

		dn_diag_wait(&s->diag, SILENCE_MS);
		dn_account_drain(s);
		silent = closed == s->theirs_closed && live == s->connections.n;
	}
}

/* Connections that may have been ours. */
static uint64_t unknown(const struct dn_sockdiag *s)
{
	uint64_t n = dn_add_sat(
		s->doubts.unknown + s->doubts.callers, dn_add_sat(s->orphans, missing(s)));
	uint64_t most = dn_sub_sat(dn_sub_sat(s->snmp.opens, s->snmp_base.opens), s->ours_opened);

	return s->has_snmp && n > most ? most : n;
}

static const char *plural(uint64_t n)
{
	return n == 1 ? "" : "s";
}

static void say(struct dn_sockdiag *s)
{
	const struct dn_doubts *d = &s->doubts;
	uint64_t n = unknown(s), callers = d->callers < n ? d->callers : n, silent = d->silent;
	char reason[200];

	if (n > callers) {
		snprintf(reason, sizeof(reason),
			"%llu TCP connection%s of this network namespace closed before the owner "
			"was seen",
			(unsigned long long)n, plural(n));
		dn_sockdiag_doubt(s, reason);
	} else if (n > 0) {
		/* The tree's ends are counted; the calling ends may be the tree's too. */
		snprintf(reason, sizeof(reason),
			"%llu TCP connection%s from this machine to the measured processes closed "
			"before the owner of the calling end was seen",
			(unsigned long long)n, plural(n));
		dn_sockdiag_doubt(s, reason);
	}
	if (d->lost > 0) {
		snprintf(reason, sizeof(reason), "%llu event%s of closed sockets lost",
			(unsigned long long)d->lost, d->lost == 1 ? " was" : "s were");
		dn_sockdiag_doubt(s, reason);
	}
	if (d->reset > 0) {
		snprintf(reason, sizeof(reason),
			"%llu connection%s reset by the owner, which clears the kernel's counters",
			(unsigned long long)d->reset, d->reset == 1 ? " was" : "s were");
		dn_sockdiag_doubt(s, reason);
	}
	for (const struct dn_connection *c = s->first; c; c = c->next)
		silent += c->gone;
	if (silent > 0) {
		snprintf(reason, sizeof(reason),
			"%llu connection%s ended without a last word of the kernel",
			(unsigned long long)silent, plural(silent));
		dn_sockdiag_doubt(s, reason);
	}
	if (d->late > 0 ||
		(s->has_snmp && s->ours_opened > dn_sub_sat(s->snmp.opens, s->snmp_base.opens)))
		dn_sockdiag_doubt(s, "a connection from before was handed to the tree");
	if (d->last_fin > 0 && dn_metric_set_has(&s->assigned, DN_M_network_rx_bytes)) {
		snprintf(reason, sizeof(reason),
			"of %llu closed connection%s the last byte may have been the end-of-stream "
			"mark: at most %llu "
			"byte%s more",
			(unsigned long long)d->last_fin, plural(d->last_fin),
			(unsigned long long)d->last_fin, plural(d->last_fin));
		s->core->degrade(s->core, DN_M_network_rx_bytes, DN_QUALITY_LOWER_BOUND, reason);
	}
}

void dn_final_settle(struct dn_sockdiag *s)
{
	bool alive = dn_tree_live(s->core->tree) > 0, changed;

	dn_account_drain(s);
	dn_sockdiag_read_snmp(s);
	changed = !s->has_snmp || s->snmp.opens != s->snmp_base.opens;
	/* Two looks: what the first dump had with a descriptor, and the second scan does not find,
	 * is not ours. */
	for (unsigned i = 0; i < 2; i++) {
		if (alive &&
			(changed || s->in_round || s->snmp.datagrams != s->snmp_scanned.datagrams))
			(void)dn_scan_round(s, true);
		if (!s->news && (!changed || dn_sub_sat(s->snmp.opens, s->snmp_base.opens) ==
						     s->ours_opened))
			break;
		dn_sockdiag_dump(s, false);
		if (!alive || s->undecided == 0)
			break;
	}
	dn_account_refresh(s);
	if (s->connections.n > 0 || s->accepted > 0 || missing(s) > 0 ||
		(changed && unknown(s) == 0 &&
			dn_sub_sat(s->snmp.opens, s->snmp_base.opens) > s->ours_opened))
		hear_last_words(s);
	dn_endings_settle(s);
	dn_listen_settle(s, alive);
	say(s);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TCP traffic of the measured tree without privileges. Nothing is asked while nothing happens: a
 * look at two small files tells whether anybody in the network namespace has opened a connection;
 * only then are descriptors and sockets looked at, on a budget of 1 % of a CPU.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>

#include <denet/fs.h>

#include "sockdiag.h"

#define LOOK_MIN_NS UINT64_C(2000000)
#define LOOK_MAX_NS UINT64_C(32000000)
#define BUDGET_FIRST_NS 10000000
/* To see that nobody else holds the listening sockets of an attached tree: 50 us a process. */
#define CHECK_FIRST_NS 100000000
#define BUDGET_MAX_NS 20000000
#define BUDGET_SHARE 100
/* What is left in the budget is spread: a burst of connections does not use it up at its beginning.
 */
#define SPREAD_SHARE 8
#define DRAIN_GOAL 64
#define DRAIN_MIN_NS UINT64_C(1000000)
/* A scan for what opens no connection: a socket that was handed over, UDP over IPv6. */
#define FULL_NS UINT64_C(1000000000)
#define FULL_SHARE 1000
#define RETRY_MIN_NS UINT64_C(2000000)
#define RETRY_MAX_NS UINT64_C(512000000)

static const unsigned metrics[] = {DN_M_network_rx_bytes, DN_M_network_tx_bytes,
	DN_M_network_retransmits, DN_M_network_sockets};
#define N_METRICS (sizeof(metrics) / sizeof(metrics[0]))

void dn_sockdiag_doubt(struct dn_sockdiag *s, const char *reason)
{
	for (unsigned i = 0; i < N_METRICS; i++) {
		if (metrics[i] != DN_M_network_sockets &&
			dn_metric_set_has(&s->assigned, metrics[i]))
			s->core->degrade(s->core, metrics[i], DN_QUALITY_LOWER_BOUND, reason);
	}
}

static void refuse(const struct dn_env *env, struct dn_probe *probe, enum dn_fact fact,
	const char *reason, const char *hint)
{
	probe->fact = fact;
	probe->reason = reason;
	probe->hint = hint;
	for (unsigned i = 0; i < N_METRICS; i++) {
		if (dn_metric_set_has(&env->wanted, metrics[i]))
			dn_probe_refuse(probe, metrics[i], fact, reason, hint);
	}
}

static void offer(const struct dn_env *env, struct dn_probe *probe)
{
	probe->fact = DN_FACT_OK;
	for (unsigned i = 0; i < N_METRICS; i++) {
		if (!dn_metric_set_has(&env->wanted, metrics[i]))
			continue;
		if (metrics[i] == DN_M_network_sockets) {
			dn_probe_offer(probe, metrics[i], DN_QUALITY_SAMPLED, "sock_diag",
				"seen at moments only");
			continue;
		}
		dn_probe_offer(probe, metrics[i], DN_QUALITY_EXACT, "sock_diag", NULL);
		probe->offer[metrics[i]].if_lossy =
			"processes may be missed, and their connections with them";
	}
}

static const char *hint_for(int r)
{
	switch (-r) {
	case EPERM:
	case EACCES:
		return "allow netlink sockets: the seccomp profile of the container, "
		       "RestrictAddressFamilies= of the "
		       "service";
	case EAFNOSUPPORT:
	case EPROTONOSUPPORT:
		return "a kernel with CONFIG_INET_DIAG, and a sandbox that allows AF_NETLINK";
	case ENOENT:
	case EOPNOTSUPP:
		return "modprobe tcp_diag";
	case EMFILE:
	case ENFILE:
		return "raise the limit of open files (ulimit -n)";
	default:
		return NULL;
	}
}

static int sockdiag_probe(
	const struct dn_env *env, struct dn_probe *probe, struct dn_backend **ret_backend)
{
	struct dn_sockdiag *s = calloc(1, sizeof(*s));
	bool wanted = false;
	int r;

	if (!s)
		return -ENOMEM;
	s->env = *env;
	s->timer.fd = s->snmp_fd = s->sockstat_fd = -1;
	s->diag.event_fd = s->diag.query_fd = -1;
	*ret_backend = &s->base;
	for (unsigned i = 0; i < N_METRICS; i++)
		wanted |= dn_metric_set_has(&env->wanted, metrics[i]);
	if (!wanted) {
		probe->fact = DN_FACT_UNTRIED;
		return 0;
	}
	if (env->fixture) {
		refuse(env, probe, DN_FACT_UNSUPPORTED, "a recorded /proc has no sockets", NULL);
		return 0;
	}
	r = dn_diag_open(&s->diag);
	if (r == 0)
		r = dn_diag_try(&s->diag);
	if (r < 0)
		refuse(env, probe, dn_fact_from_errno(r),
			dn_probe_printf(probe, "NETLINK_SOCK_DIAG: %s", strerror(-r)), hint_for(r));
	else
		offer(env, probe);
	return 0;
}

void dn_sockdiag_read_snmp(struct dn_sockdiag *s)
{
	char text[8192];
	/* The kernel makes the whole text anew for every read, also for one that would only find
	 * the end. */
	ssize_t n = s->snmp_fd >= 0 ? pread(s->snmp_fd, text, sizeof(text) - 1, 0) : -1;

	text[n > 0 ? n : 0] = '\0';
	s->has_snmp = n > 0 && dn_snmp_parse(text, &s->snmp) == 0;
}

void dn_sockdiag_dump(struct dn_sockdiag *s, bool baseline)
{
	uint64_t begin = dn_spent_ns();
	struct dn_snmp before = s->snmp;
	int r = dn_account_dump(s, baseline);

	if (r < 0)
		s->broken = r;
	s->snmp_dumped = before;
	s->unlisted |= s->news && dn_listen_unexplained(s, false);
	s->news = false;
	s->budget_ns -= (int64_t)(dn_spent_ns() - begin);
}

/*
 * Last words that a listening socket of ours causes are its traffic: they are not on the budget, or
 * a busy one would leave nothing for looking.
 */
static void drain(struct dn_sockdiag *s)
{
	uint64_t begin = dn_spent_ns(), now = dn_now_ns(), n = dn_account_drain(s);

	/* The smallest usual queue takes a few hundred. */
	s->drain_within_ns =
		n > DRAIN_GOAL ? dn_sub_sat(now, s->drained_ns) / n * DRAIN_GOAL : LOOK_MAX_NS;
	if (s->drain_within_ns > LOOK_MAX_NS)
		s->drain_within_ns = LOOK_MAX_NS;
	if (s->drain_within_ns < DRAIN_MIN_NS)
		s->drain_within_ns = DRAIN_MIN_NS;
	s->drained_ns = now;
	if (s->guarded.n == 0)
		s->budget_ns -= (int64_t)dn_sub_sat(dn_spent_ns(), begin);
}

static void arm(struct dn_sockdiag *s, uint64_t ns)
{
	struct itimerspec when = {.it_value.tv_sec = (time_t)(ns / 1000000000),
		.it_value.tv_nsec = (long)(ns % 1000000000)};

	if (s->timer.fd >= 0)
		(void)timerfd_settime(s->timer.fd, 0, &when, NULL);
}

/* The next look, on the budget. */
static void arm_look(struct dn_sockdiag *s, uint64_t now, uint64_t ns)
{
	uint64_t paid_ns = s->budget_ns < 0 ? (uint64_t)-s->budget_ns * BUDGET_SHARE : 0;

	/* Not at once when all is paid for: each look would cost the next one's, for ever. */
	if (ns < paid_ns)
		ns = paid_ns;
	s->next_look_ns = now + ns;
	/* What a listening socket of ours accepts may close faster than the queue holds. */
	arm(s, s->guarded.n > 0 && s->drain_within_ns < ns ? s->drain_within_ns : ns);
}

static void refill(struct dn_sockdiag *s, uint64_t now)
{
	uint64_t earned = dn_sub_sat(now, s->refilled_ns) / BUDGET_SHARE;

	s->refilled_ns = now;
	s->budget_ns += (int64_t)(earned < BUDGET_MAX_NS ? earned : BUDGET_MAX_NS);
	if (s->budget_ns > BUDGET_MAX_NS)
		s->budget_ns = BUDGET_MAX_NS;
}

/* False: no socket of the namespace was opened or closed since the last look. */
static bool sockets_changed(struct dn_sockdiag *s)
{
	char text[sizeof(s->sockstat)];
	ssize_t n;

	if (s->sockstat_fd == -1) {
		s->sockstat_fd = dn_open_at(s->env.proc_fd, "self/net/sockstat", O_RDONLY);
		if (s->sockstat_fd < 0)
			s->sockstat_fd = -2;
	}
	if (s->sockstat_fd < 0)
		return true;
	n = pread(s->sockstat_fd, text, sizeof(text) - 1, 0);
	if (n <= 0)
		return true;
	text[n] = '\0';
	if (strcmp(text, s->sockstat) == 0)
		return false;
	if (dn_sockstat_parse(text, &s->made) < 0)
		s->made = 0;
	/* The first look finds what was there, later ones what came. */
	if (s->sockstat[0] == '\0' || s->made < s->made_scanned)
		s->made_scanned = s->made;
	memcpy(s->sockstat, text, (size_t)n + 1);
	return true;
}

static void check_listening(struct dn_sockdiag *s)
{
	if (!dn_listen_check(s, false))
		return;
	dn_sockdiag_dump(s, false);
	dn_listen_ready(s);
}

/* Scans and dumps as far as there is reason to and the budget goes. */
static void look(struct dn_sockdiag *s, uint64_t now, bool changed)
{
	bool retry = s->undecided > 0 && now >= s->retry_ns, full = now >= s->next_full_ns;
	bool made = s->made > s->made_scanned && now >= s->next_made_ns;
	bool check = s->unlisted || (s->accepted > 0 && now >= s->next_check_ns);

	/* First, or the dumps of a busy namespace would leave nothing for it. */
	if (s->others.active) {
		check_listening(s);
		if (s->others.active || s->budget_ns < 0)
			return;
	}
	if (!changed && !retry && !s->in_round && !full && !made && !check)
		return;
	/* A connection is the work of a process that may have been born since the last sample. */
	if (!s->in_round && s->core->drain) {
		uint64_t begin = dn_spent_ns();

		s->core->drain(s->core);
		s->budget_ns -= (int64_t)dn_sub_sat(dn_spent_ns(), begin);
	}
	if (!dn_scan_round(s, false))
		return;
	s->next_full_ns = now + FULL_NS + dn_sub_sat(s->round_cost_ns * FULL_SHARE, FULL_NS);
	s->next_made_ns =
		now + LOOK_MAX_NS + dn_sub_sat(s->round_cost_ns * FULL_SHARE, LOOK_MAX_NS);
	if (full || made)
		s->unlisted |= dn_listen_unexplained(s, true);
	if (s->news || retry || !s->has_snmp || s->snmp.opens != s->snmp_dumped.opens) {
		bool opened = s->snmp.opens != s->snmp_dumped.opens;

		s->retry_step_ns =
			opened || s->retry_step_ns == 0 ? RETRY_MIN_NS : s->retry_step_ns * 2;
		if (s->retry_step_ns > RETRY_MAX_NS)
			s->retry_step_ns = RETRY_MAX_NS;
		s->retry_ns = now + s->retry_step_ns;
		dn_sockdiag_dump(s, false);
	}
	check_listening(s);
}

static void poll_namespace(struct dn_sockdiag *s)
{
	uint64_t now = dn_now_ns(), begin, cost, next;
	int64_t before;
	bool changed;

	refill(s, now);
	if (s->guarded.n > 0 || s->budget_ns >= 0)
		drain(s);
	if (s->budget_ns < 0 || (s->guarded.n > 0 && now < s->next_look_ns)) {
		arm_look(s, now, dn_sub_sat(s->next_look_ns, now));
		return;
	}
	now = dn_now_ns();
	begin = dn_spent_ns();
	if (s->fresh)
		dn_scan_namespaces(s);
	changed = sockets_changed(s);
	if (changed)
		dn_sockdiag_read_snmp(s);
	changed = (s->has_snmp ? s->snmp.opens != s->snmp_scanned.opens : changed) ||
		  (!s->datagrams_said && s->snmp.datagrams != s->snmp_scanned.datagrams);
	s->quiet_ns = changed ? LOOK_MIN_NS : s->quiet_ns + s->quiet_ns / 2;
	if (s->quiet_ns > LOOK_MAX_NS)
		s->quiet_ns = LOOK_MAX_NS;
	before = s->budget_ns;
	look(s, now, changed);
	/* The scan and the dump have paid for themselves; the rest of this look has not. */
	cost = dn_sub_sat(dn_spent_ns(), begin);
	s->budget_ns -= (int64_t)dn_sub_sat(cost, (uint64_t)(before - s->budget_ns));
	next = s->quiet_ns > cost * SPREAD_SHARE ? s->quiet_ns : cost * SPREAD_SHARE;
	arm_look(s, now, next);
}

static int on_timer(struct dn_source *source, uint32_t events)
{
	struct dn_sockdiag *s = dn_container_of(source, struct dn_sockdiag, timer);
	uint64_t expirations;

	/* The look sets the timer anew, which clears what could not be read. */
	if (read(source->fd, &expirations, sizeof(expirations)) < 0 && errno == EAGAIN)
		return 0;
	poll_namespace(s);
	return 0;
}

static int sockdiag_open(
	struct dn_backend *backend, const struct dn_metric_set *assigned, struct dn_core *core)
{
	struct dn_sockdiag *s = dn_sockdiag_of(backend);

	s->assigned = *assigned;
	s->core = core;
	s->snmp_fd = dn_open_at(s->env.proc_fd, "self/net/snmp", O_RDONLY);
	dn_sockdiag_read_snmp(s);
	s->snmp_base = s->snmp_scanned = s->snmp_dumped = s->snmp;
	s->budget_ns = BUDGET_FIRST_NS;
	s->quiet_ns = LOOK_MIN_NS;
	s->refilled_ns = dn_now_ns();
	s->next_full_ns = s->refilled_ns + FULL_NS;
	if (s->env.attach || dn_scan_inherits_sockets(s)) {
		bool alone;

		(void)dn_scan_round(s, true);
		s->unlisted = s->news;
		s->budget_ns = CHECK_FIRST_NS;
		alone = dn_listen_check(s, false);
		dn_sockdiag_dump(s, true);
		s->baselined = true;
		if (alone)
			dn_listen_ready(s);
		s->budget_ns = BUDGET_FIRST_NS;
	}
	return s->broken;
}

static void sockdiag_started(struct dn_backend *backend)
{
	struct dn_sockdiag *s = dn_sockdiag_of(backend);

	s->timer.dispatch = on_timer;
	s->timer.fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	/* Without it the samples still look, and say what they missed. */
	if (s->timer.fd >= 0 && dn_loop_add(s->core->loop, &s->timer, EPOLLIN) == 0)
		arm(s, LOOK_MIN_NS);
}

static uint64_t held_connections(const struct dn_sockdiag *s)
{
	uint64_t n = 0;

	for (const struct dn_connection *c = s->first; c; c = c->next)
		n += !c->gone && !c->orphan && c->state != DN_TCP_CLOSE;
	return n;
}

/* A counter never falls, whatever a later word made of an earlier one. */
static void put(struct dn_sockdiag *s, struct dn_frame *frame, unsigned metric, uint64_t value,
	uint64_t *reported)
{
	if (value > *reported)
		*reported = value;
	if (dn_metric_set_has(&s->assigned, metric))
		dn_frame_u64(frame, metric, *reported);
}

static int sockdiag_sample(struct dn_backend *backend, struct dn_frame *frame)
{
	struct dn_sockdiag *s = dn_sockdiag_of(backend);
	uint64_t begin;
	struct dn_traffic total;

	s->samples++;
	refill(s, dn_now_ns());
	drain(s);
	begin = dn_spent_ns();
	if (!frame->final && s->timer.fd < 0)
		poll_namespace(s);
	if (frame->final)
		dn_final_settle(s);
	else if (s->budget_ns >= 0)
		dn_account_refresh(s);
	if (s->broken < 0)
		return s->broken;
	s->budget_ns -= (int64_t)(dn_spent_ns() - begin);
	total = dn_account_total(s);
	put(s, frame, DN_M_network_rx_bytes, total.rx, &s->reported.rx);
	put(s, frame, DN_M_network_tx_bytes, total.tx, &s->reported.tx);
	put(s, frame, DN_M_network_retransmits, total.retransmits, &s->reported.retransmits);
	if (dn_metric_set_has(&s->assigned, DN_M_network_sockets))
		dn_frame_u64(frame, DN_M_network_sockets, held_connections(s));
	if (s->env.per_process || frame->final)
		dn_account_processes(s, NULL);
	return 0;
}

static void sockdiag_on_event(struct dn_backend *backend, const struct dn_process_event *event)
{
	struct dn_sockdiag *s = dn_sockdiag_of(backend);
	struct dn_holder *holder = event->process ? dn_holder_of(s, event->process) : NULL;

	switch (event->type) {
	case DN_PROCESS_BORN:
	case DN_PROCESS_EXEC:
		if (holder)
			holder->placed = false;
		s->fresh = true;
		/* A new program connects early or never. */
		if (event->type == DN_PROCESS_EXEC && s->quiet_ns > LOOK_MIN_NS &&
			s->budget_ns > 0) {
			s->quiet_ns = LOOK_MIN_NS;
			s->next_look_ns = 0;
			arm(s, LOOK_MIN_NS);
		}
		break;
	case DN_PROCESS_ZOMBIE:
		if (holder)
			holder->silent = true;
		break;
	case DN_PROCESS_EXITED:
		if (holder && holder->ever)
			dn_account_drain(s);
		if (holder)
			dn_account_processes(s, event->process);
		dn_account_exited(s, event->process);
		dn_scan_exited(s, event->process);
		break;
	default:
		break;
	}
}

static void sockdiag_close(struct dn_backend *backend)
{
	struct dn_sockdiag *s = dn_sockdiag_of(backend);

	if (!s)
		return;
	if (s->core) {
		for (struct dn_process *p = dn_tree_first(s->core->tree); p; p = p->next)
			dn_scan_exited(s, p);
		dn_loop_remove(s->core->loop, &s->timer);
	}
	dn_account_finish(s);
	dn_map_finish(&s->held);
	dn_diag_close(&s->diag);
	if (s->timer.fd >= 0)
		close(s->timer.fd);
	if (s->snmp_fd >= 0)
		close(s->snmp_fd);
	if (s->sockstat_fd >= 0)
		close(s->sockstat_fd);
	free(s);
}

const struct dn_backend_ops dn_backend_sockdiag = {
	.name = "sockdiag",
	.summary = "TCP traffic of the tree by sock_diag and its events of closed sockets",
	.tier = "procfs",
	.probe = sockdiag_probe,
	.open = sockdiag_open,
	.started = sockdiag_started,
	.sample = sockdiag_sample,
	.on_event = sockdiag_on_event,
	.close = sockdiag_close,
};

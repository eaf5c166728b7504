/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The instance, shared by the files of this backend: scan.c finds who holds which socket, account.c
 * keeps the books of connections, endings.c settles their last byte, final.c says what the books
 * can't know, listen.c tells by the listening socket whose a connection was that nobody saw alive,
 * others.c looks who else holds that socket, sockdiag.c paces all of it.
 */
#ifndef DENET_SOCKDIAG_SOCKDIAG_H
#define DENET_SOCKDIAG_SOCKDIAG_H

#include <denet/backend.h>

#include "diag.h"
#include "map.h"

/* Bounds: of live connections, of sockets that are remembered as not ours, of descriptors that are
 * remembered. */
#define DN_CONNECTION_MAX 65536
#define DN_SEEN_MAX 65536
#define DN_HELD_MAX 262144
/* Ends of loopback connections that wait for the other end. */
#define DN_ENDING_MAX 4096
#define DN_PORT_MAX 65536
#define DN_LISTENER_MAX 4096

struct dn_traffic {
	uint64_t rx, tx, retransmits;
};

/* A connection that a process of the tree holds or held, until the kernel has destroyed it. */
struct dn_connection {
	struct inet_diag_sockid id;
	uint8_t family;
	uint8_t state;
	bool orphan; /* no descriptor is left, the kernel finishes it */
	bool gone; /* the kernel does not find it any more: its last word is on its way */
	bool fin_seen; /* the peer's FIN is in last.received */
	bool young; /* found by the dump that is under way */
	bool from_now; /* what it has carried so far does not count */
	int8_t syn; /* bytes_acked includes our SYN: 1, 0, or -1 when not known */
	struct dn_tcp last;
	struct dn_traffic now, base;
	struct dn_process *owner; /* who held it first; NULL when that is unknown or dead */
	struct dn_connection *prev, *next;
};

/* A socket that a descriptor of the tree leads to, by inode. */
struct dn_held {
	uint32_t inode;
	uint32_t round; /* the last that found it */
	enum { DN_HELD_TCP, DN_HELD_OTHER } kind;
	struct dn_process *holder;
	bool matched; /* TCP: its connection is known */
	bool asked; /* it was there when it was last asked who listens */
	bool shared; /* several processes of the tree held it */
};

/* Connections that a listening socket accepted and nobody saw alive. */
struct dn_accepted {
	struct dn_traffic traffic;
	uint64_t n;
	uint64_t opened; /* of them since measuring began */
};

/* A listening socket. What it accepted is ours when nobody but the tree holds it. */
struct dn_listener {
	uint64_t cookie;
	struct inet_diag_sockid id;
	uint8_t family;
	uint32_t inode, uid;
	uint32_t listing; /* the last list of listening sockets that had it */
	bool ours; /* the tree holds or held it */
	bool outside; /* and so may somebody else, by the check that is under way */
	bool verified; /* the last check found nobody else */
	bool ready; /* and then all connections were listed: younger ones are ours */
	bool dead;
	bool used; /* it accepted something */
	uint32_t ready_dump, dead_dump;
	struct dn_process *owner; /* the one process that holds it */
	/* Not in the totals yet: closed since the last check, and before. */
	struct dn_accepted fresh, aged;
	struct dn_listener *next; /* on the same port */
};

/* A local port of connections that may have been ours. */
struct dn_port {
	uint16_t port; /* network byte order */
	uint32_t unknown;
	bool closed; /* somebody listened there and ended */
	bool ours, theirs; /* who listens there at the end */
	struct dn_listener *first;
};

/* A TCP socket of the namespace that no descriptor of the tree leads to. */
struct dn_seen {
	uint64_t cookie;
	uint32_t inode;
	uint32_t round; /* complete rounds when it was first seen with that inode */
	uint64_t sequence; /* samples then */
	bool old; /* was there before measuring began: base is what it had carried by then */
	bool stranger; /* known not to be ours */
	bool queued; /* nobody had accepted it when it was first seen */
	uint32_t first_dump, dump; /* the first and the last that had it */
	struct dn_traffic base;
};

/* The last word of one end of a connection on this machine. */
struct dn_ending {
	struct dn_tcp tcp;
	struct dn_process *owner;
	struct dn_listener *listener; /* that accepted it, when that is how it became ours */
	bool waiting; /* whether received includes the peer's FIN depends on the other end */
};

/* process->backend[index], made when the process is first looked at. */
struct dn_holder {
	uint32_t round; /* the last that scanned it */
	bool silent; /* a zombie, another namespace, or unreadable: no further look */
	bool placed; /* its network namespace is ours */
	uint32_t sockets; /* descriptors in dn_sockdiag.held that name it */
	bool ever; /* some connection was or is its */
	struct dn_traffic closed, live;
};

/* Why totals are lower bounds; said once, at the end, with the number. */
struct dn_doubts {
	uint64_t unknown; /* closed connections that may have been ours */
	uint64_t callers; /* those whose other end a listening socket of ours accepted */
	uint64_t reset; /* ours, closed with SO_LINGER 0 or disconnected: the kernel had cleared its
			   counters */
	uint64_t silent; /* ours, ended without a last word */
	uint64_t last_fin; /* ours, of which it is not known if the last byte was the peer's FIN */
	uint64_t lost; /* events */
	uint64_t late; /* ours, that were there before and of which the past is not known */
};

/* The processes outside the tree, while it is looked what they hold. */
struct dn_others {
	uint64_t start; /* of the tree's first process, in ticks; 0: not known */
	int32_t *pid;
	size_t n, at;
	bool active;
	bool blind; /* some may be hidden */
};

struct dn_sockdiag {
	struct dn_backend base;
	struct dn_env env;
	struct dn_metric_set assigned;
	struct dn_core *core;
	struct dn_diag diag;
	bool opened;

	/* pace */
	struct dn_source timer;
	uint64_t quiet_ns; /* time to the next look while nothing happens */
	uint64_t refilled_ns; /* when the budget was last filled */
	int64_t budget_ns; /* what may be spent; below 0 it must recover first */
	uint64_t next_full_ns; /* a scan is due even when nothing was opened */
	uint64_t retry_ns; /* the same while there are sockets of which it is not known whose they
			      are */
	uint64_t retry_step_ns;
	uint64_t samples;
	uint64_t round_cost_ns; /* of the round under way, then of the last one */

	/* what the namespace says */
	int snmp_fd;
	int sockstat_fd; /* -1: not opened yet; -2: there is none */
	char sockstat[512]; /* its text; while it stays the same nothing was opened or closed */
	uint64_t made, made_scanned; /* TCP sockets that exist, connected or not */
	uint64_t next_made_ns; /* a scan is due when there are more */
	uint64_t next_look_ns; /* until then last words are heard, no more */
	uint64_t drained_ns, drain_within_ns; /* when they were heard last, and must be again */
	bool has_snmp;
	struct dn_snmp snmp_base, snmp, snmp_scanned, snmp_dumped, snmp_round;

	/* scanning */
	char own_ns[64];
	uint32_t round; /* begun; 0: none yet */
	uint32_t rounds; /* complete */
	bool in_round;
	bool fresh; /* processes were born or executed something: look at their namespace */
	bool datagrams_said;
	struct dn_map held;

	/* books */
	struct dn_map connections; /* by cookie */
	struct dn_connection *first;
	struct dn_map seen; /* by cookie */
	struct dn_map endings; /* by hash of both ends */
	struct dn_map ports;
	struct dn_map listeners; /* by cookie */
	struct dn_map guarded; /* those of ours that live, by inode */
	struct dn_others others;
	uint32_t listings;
	uint64_t next_check_ns, check_cost_ns;
	uint64_t accepted; /* connections in dn_listener.fresh and .aged, opened since measuring
			      began */
	bool unlisted; /* descriptors that may be listening sockets, nobody asked yet */
	bool crowded; /* more listening sockets or connections of others than can be remembered */
	bool left; /* the tree held a socket for a while that was no connection: perhaps it listened
		    */
	struct dn_traffic closed;
	struct dn_doubts doubts;
	uint64_t ours_opened; /* connections of ours that were established since measuring began */
	uint64_t theirs_closed; /* other destroyed sockets since then, whoever's they were */
	uint32_t dumps;
	unsigned undecided; /* sockets in the last dump that may be ours or not */
	unsigned orphans; /* those without a descriptor, which will never be known */
	unsigned theirs_live; /* sockets in the last dump, opened since measuring began, that are
				 not known to be ours */
	bool baselined; /* all that was there before measuring began is in seen */
	bool news; /* TCP descriptors that no dump has explained yet */
	struct dn_traffic reported;
	int broken; /* negative errno: the kernel does not answer */
};

static inline struct dn_sockdiag *dn_sockdiag_of(struct dn_backend *backend)
{
	return (struct dn_sockdiag *)(void *)backend;
}

static inline struct dn_holder *dn_holder_of(
	const struct dn_sockdiag *s, const struct dn_process *process)
{
	return process->backend[s->base.index];
}

/* Degrades rx, tx and retransmits. */
void dn_sockdiag_doubt(struct dn_sockdiag *s, const char *reason);

/* scan.c */
/* Goes on with the round that is under way or begins one; true when it is complete. all: without
 * regard to cost. */
bool dn_scan_round(struct dn_sockdiag *s, bool all);
/* Namespaces of processes that are new or executed something. */
void dn_scan_namespaces(struct dn_sockdiag *s);
void dn_scan_exited(struct dn_sockdiag *s, struct dn_process *process);
/* The entries of a directory that is open, without those that begin with a dot. 0 or negative
 * errno, also that of each. */
int dn_scan_entries(int fd, int (*each)(void *arg, int dir_fd, const char *name), void *arg);
/* The command got a socket from denet's caller. */
bool dn_scan_inherits_sockets(const struct dn_sockdiag *s);

/* account.c */
/* Looks at all sockets of the namespace; baseline: what they have carried so far does not count. */
int dn_account_dump(struct dn_sockdiag *s, bool baseline);
/* Destroyed sockets that wait in the queue: how many. */
uint64_t dn_account_drain(struct dn_sockdiag *s);
/* Asks for the present values of live connections. */
void dn_account_refresh(struct dn_sockdiag *s);
struct dn_traffic dn_account_total(const struct dn_sockdiag *s);
/* Writes the values of processes that were looked at; one: of this one only. */
void dn_account_processes(struct dn_sockdiag *s, struct dn_process *one);
/* Nothing points to the process any more. */
void dn_account_exited(struct dn_sockdiag *s, struct dn_process *process);
void dn_account_finish(struct dn_sockdiag *s);
/*
 * Payload that a destroyed socket received, by what is known of it alone. False: *ret_rx is the
 * lower of two values that are 1 apart. connection may be without a last sight (last.has_info
 * false).
 */
bool dn_account_received(
	const struct dn_connection *connection, const struct dn_tcp *tcp, uint64_t *ret_rx);
/* The same by what the other end sent. 1: *ret_rx is right; 0: it can't tell. */
int dn_account_received_by_peer(const struct dn_tcp *tcp, uint64_t peer_sent, uint64_t *ret_rx);
/* Established before measuring began, beyond doubt. */
bool dn_account_older(const struct dn_tcp *tcp, uint64_t since_t0_ns);

/* Adds to the totals and to the process. */
void dn_account_add(
	struct dn_sockdiag *s, struct dn_process *owner, const struct dn_traffic *traffic);

/* listen.c */
/*
 * Who listens, and who else holds that? Goes on with the check that is under way or begins one when
 * there is reason to; true when it is complete and a dump is due, after which dn_listen_ready() is.
 * all: without regard to cost.
 */
bool dn_listen_check(struct dn_sockdiag *s, bool all);
void dn_listen_ready(struct dn_sockdiag *s);
/* A destroyed connection that nobody knows; true when a listening socket of ours accepted it. */
bool dn_listen_accepted(
	struct dn_sockdiag *s, const struct dn_tcp *tcp, const struct dn_seen *seen);
/* A destroyed connection that may be ours. */
void dn_listen_unknown(struct dn_sockdiag *s, const struct dn_tcp *tcp);
/* A destroyed socket that was no connection. */
void dn_listen_closed(struct dn_sockdiag *s, const struct dn_tcp *tcp);
void dn_listen_exited(struct dn_sockdiag *s, const struct dn_process *process);
/* Some descriptor may be a listening socket. again: also if it was none when it was asked for. */
bool dn_listen_unexplained(const struct dn_sockdiag *s, bool again);
/* The last check: what was accepted is added to the totals or to the doubts. alive: the tree is. */
void dn_listen_settle(struct dn_sockdiag *s, bool alive);
void dn_listen_finish(struct dn_sockdiag *s);

/* others.c */
/* 0 or negative errno. */
int dn_others_begin(struct dn_sockdiag *s);
/* Marks the guarded sockets that may be held outside the tree. True when all processes were looked
 * at. */
bool dn_others_go_on(struct dn_sockdiag *s, bool all);

/* sockdiag.c */
void dn_sockdiag_read_snmp(struct dn_sockdiag *s);
/* A dump, on the budget. */
void dn_sockdiag_dump(struct dn_sockdiag *s, bool baseline);

/* final.c */
/* The last look: everybody's last words, then what they leave open. */
void dn_final_settle(struct dn_sockdiag *s);

#endif

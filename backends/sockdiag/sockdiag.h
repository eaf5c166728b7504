/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The instance, shared by the files of this backend: scan.c finds who holds which socket, account.c
 * keeps the books of connections, endings.c settles their last byte, final.c says what the books
 * can't know, sockdiag.c paces all of it.
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
};

/* A local port of connections that may have been ours. */
struct dn_port {
	uint16_t port; /* network byte order */
	uint32_t unknown;
	bool closed; /* somebody listened there and ended */
	bool ours, theirs; /* who listens there at the end */
};

/* A TCP socket of the namespace that no descriptor of the tree leads to. */
struct dn_seen {
	uint64_t cookie;
	uint32_t inode;
	uint32_t round; /* complete rounds when it was first seen with that inode */
	uint64_t sequence; /* samples then */
	bool old; /* was there before measuring began: base is what it had carried by then */
	bool stranger; /* known not to be ours */
	uint32_t dump; /* the last that had it */
	struct dn_traffic base;
};

/* The last word of one end of a connection on this machine. */
struct dn_ending {
	struct dn_tcp tcp;
	struct dn_process *owner;
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
	uint64_t reset; /* ours, closed with SO_LINGER 0 or disconnected: the kernel had cleared its
			   counters */
	uint64_t silent; /* ours, ended without a last word */
	uint64_t last_fin; /* ours, of which it is not known if the last byte was the peer's FIN */
	uint64_t lost; /* events */
	uint64_t late; /* ours, that were there before and of which the past is not known */
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
/* The command got a socket from denet's caller. */
bool dn_scan_inherits_sockets(const struct dn_sockdiag *s);

/* account.c */
/* Looks at all sockets of the namespace; baseline: what they have carried so far does not count. */
int dn_account_dump(struct dn_sockdiag *s, bool baseline);
/* Destroyed sockets that wait in the queue. */
void dn_account_drain(struct dn_sockdiag *s);
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

/* sockdiag.c */
void dn_sockdiag_read_snmp(struct dn_sockdiag *s);
/* A dump, on the budget. */
void dn_sockdiag_dump(struct dn_sockdiag *s, bool baseline);

/* final.c */
/* The last look: everybody's last words, then what they leave open. */
void dn_final_settle(struct dn_sockdiag *s);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* clang-format off */
/*
 * The script of the fake backend: one line is one statement, words are separated by blanks, "..."
 * holds blanks and the escapes \" \\ \n \t \xNN, # begins a comment.
 *
 *   offer METRIC QUALITY SOURCE [REASON]  the metric can be had
 *   refuse METRIC FACT REASON [HINT]      it can't: unsupported, denied, broken
 *   probe FACT REASON [HINT]              the backend as a whole; refuses all that is not offered
 *   open-error ERROR                      open fails: EIO, ENOMEM, ...
 *   sample SEQ METRIC=VALUE...            values of tick SEQ; ticks behind the last such line repeat
 *                                         it. Of a histogram: 101x3,1009x7 (value x times), or none
 *   row SEQ METRIC KEY [COLUMN=VALUE...]  a row of a table, at tick SEQ and behind it as above; a
 *                                         value with an x is a histogram
 *   other SEQ METRIC N                    events of the table's keys that found no room
 *   process SEQ PID METRIC=VALUE...       values of one process
 *   sample-error SEQ ERROR                sampling fails at tick SEQ
 *   degrade SEQ METRIC QUALITY REASON     the metric gets worse at tick SEQ
 *   lost SEQ N                            N events are lost
 *   event SEQ TYPE PID TEXT               TYPE is budget, limit, security or oom
 *   fork SEQ PID PPID NAME                a process that nobody ever started is born
 *   exec SEQ PID NAME
 *   exit SEQ PID
 *   cost [NAME=N...]                      BPF is used; NAME is a member of struct dn_cost
 *
 * PID and PPID may be "root", the first target; the PID of an event may be "none".
 */
/* clang-format on */
#ifndef DENET_FAKE_SCRIPT_H
#define DENET_FAKE_SCRIPT_H

#include <denet/backend.h>
#include <denet/table.h>

#define DN_FAKE_SCRIPT_MAX (1024 * 1024)
#define DN_FAKE_ACTION_MAX 65536
#define DN_FAKE_PID_ROOT 0
#define DN_FAKE_PID_NONE (-1)
#define DN_FAKE_HISTOGRAM_MAX 1024

enum dn_fake_type {
	DN_FAKE_VALUE,
	DN_FAKE_CELL,
	DN_FAKE_PROCESS_VALUE,
	DN_FAKE_ERROR,
	DN_FAKE_DEGRADE,
	DN_FAKE_LOST,
	DN_FAKE_EVENT,
	DN_FAKE_FORK,
	DN_FAKE_EXEC,
	DN_FAKE_EXIT,
};

struct dn_fake_action {
	enum dn_fake_type type;
	uint64_t seq;
	bool done;
	unsigned metric;
	enum dn_quality quality;
	struct dn_value value;
	uint64_t n;
	int error; /* negative errno */
	pid_t pid, ppid;
	enum dn_event_type event;
	const char *text; /* owned by the probe; of a CELL its row's key, NULL: of no row */
	const char *column;
};

struct dn_fake_script {
	struct dn_fake_action *action;
	size_t n_actions, room;
	uint64_t last_sample; /* the highest SEQ of a sample, row or other line */
	int open_error;
	struct dn_cost cost;
	struct dn_histogram **histogram; /* that values point to */
	unsigned n_histograms;
};

/*
 * Reads a script from text and puts its offers into the probe. 0; -EINVAL with the line in
 * probe->reason; -ENOMEM. The script holds what was read so far and is to be finished in any case.
 */
int dn_fake_script_parse(const char *text, size_t len, const struct dn_env *env,
	struct dn_probe *probe, struct dn_fake_script *script);
void dn_fake_script_finish(struct dn_fake_script *script);
bool dn_fake_is_from_table(unsigned metric); /* the core reads it from the process table */

#endif

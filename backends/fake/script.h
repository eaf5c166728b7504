/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The script of the fake backend: one line is one statement, words are separated by blanks, "..."
 * holds blanks and the escapes \" \\ \n \t \xNN, # begins a comment.
 *
 *   offer METRIC QUALITY SOURCE [REASON]      the metric can be had
 *   refuse METRIC FACT REASON [HINT]          it can't: unsupported, denied, broken
 *   probe FACT REASON [HINT]                  the backend as a whole; refuses all that is not
 * offered open-error ERROR                          open fails: EIO, ENOMEM, ... sample SEQ
 * METRIC=VALUE...                values of tick SEQ; ticks behind the last such line repeat it
 *   process SEQ PID METRIC=VALUE...           the same for one process
 *   sample-error SEQ ERROR                    sampling fails at tick SEQ
 *   degrade SEQ METRIC QUALITY REASON         the metric gets worse at tick SEQ
 *   lost SEQ N                                N events are lost
 *   fork SEQ PID PPID NAME                    a process that nobody ever started is born
 *   exec SEQ PID NAME
 *   exit SEQ PID
 *
 * PID and PPID may be "root", the first target.
 */
#ifndef DENET_FAKE_SCRIPT_H
#define DENET_FAKE_SCRIPT_H

#include <denet/backend.h>

#define DN_FAKE_SCRIPT_MAX (1024 * 1024)
#define DN_FAKE_ACTION_MAX 65536
#define DN_FAKE_PID_ROOT 0

enum dn_fake_type {
	DN_FAKE_VALUE,
	DN_FAKE_PROCESS_VALUE,
	DN_FAKE_ERROR,
	DN_FAKE_DEGRADE,
	DN_FAKE_LOST,
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
	const char *text; /* owned by the probe */
};

struct dn_fake_script {
	struct dn_fake_action *action;
	size_t n_actions, room;
	uint64_t last_sample; /* the highest SEQ of a sample line */
	int open_error;
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

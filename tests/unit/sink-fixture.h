/* SPDX-License-Identifier: Apache-2.0 */
/* An invented run for the tests of the sinks, and what they wrote of it. */
#ifndef DENET_SINK_FIXTURE_H
#define DENET_SINK_FIXTURE_H

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>

#include "json-writer.h"
#include "sinks.h"

#define MS UINT64_C(1000000)
#define NS_PER_S UINT64_C(1000000000)

/* The run that the tests are about; every test begins with a fresh one. */
static struct dn_machine machine;
static struct dn_run run;
static struct dn_frame frame;
static struct dn_summary summary;
static const pid_t target = 4243;
static struct dn_output output;
static struct dn_sink *sink;
static char text[65536];

static inline void want(unsigned id, enum dn_quality quality, const char *source)
{
	run.metric[id] =
		(struct dn_metric_state){.wanted = true, .quality = quality, .source = source};
}

static inline void miss(unsigned id, const char *reason, const char *hint)
{
	want(id, DN_QUALITY_MISSING, NULL);
	run.metric[id].reason = reason;
	run.metric[id].hint = hint;
}

static inline void set(unsigned id, uint64_t value)
{
	if (!run.metric[id].wanted)
		want(id, DN_QUALITY_EXACT, "rusage");
	dn_frame_u64(&frame, id, value);
}

static inline int set_up(void **state)
{
	static char *command[] = {"make", "-j2", NULL};

	memset(&frame, 0, sizeof(frame));
	memset(&summary, 0, sizeof(summary));
	machine = (struct dn_machine){.numa_nodes = -1,
		.smt = -1,
		.perf_event_paranoid = INT_MIN,
		.unprivileged_bpf_disabled = -1,
		.seccomp = -1,
		.yama_ptrace_scope = -1,
		.euid = 1009};
	run = (struct dn_run){.time = {1767323045, 678901999},
		.mode = "run",
		.command = command,
		.cwd = "/src",
		.targets = &target,
		.n_targets = 1,
		.tier = "procfs",
		.interval_ns = 100 * MS,
		.machine = &machine};
	frame.seq = 7;
	frame.t_ns = 700000001;
	frame.interval_ns = 100000007;
	dn_output_from_fd(memfd_create("stream", MFD_CLOEXEC), "the stream", &output);
	output.owned = true;
	sink = NULL;
	return output.fd >= 0 ? 0 : -1;
}

static inline int tear_down(void **state)
{
	if (sink)
		sink->ops->close(sink);
	dn_output_close(&output);
	dn_metric_reset();
	return 0;
}

/* What was written since the last look. */
static inline const char *written(void)
{
	ssize_t n = pread(output.fd, text, sizeof(text) - 1, 0);

	assert_true(n >= 0 && (size_t)n < sizeof(text) - 1);
	text[n] = '\0';
	assert_true(dn_utf8_valid(text, (size_t)n));
	assert_int_equal(ftruncate(output.fd, 0), 0);
	assert_int_equal(lseek(output.fd, 0, SEEK_SET), 0);
	return text;
}

static inline void assert_has(const char *where, const char *what)
{
	if (!strstr(where, what))
		fail_msg("no \"%s\" in: %s", what, where);
}

static inline void assert_has_not(const char *where, const char *what)
{
	if (strstr(where, what))
		fail_msg("\"%s\" is in: %s", what, where);
}

#define prepared(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

#endif

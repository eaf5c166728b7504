/* SPDX-License-Identifier: Apache-2.0 */
/* perf_event_open: the call, and what its refusals mean. */
#ifndef DENET_PERF_EVENT_H
#define DENET_PERF_EVENT_H

#include <linux/perf_event.h>
#include <sys/types.h>

#include <denet/backend.h>

/* The call, replaceable in tests. A descriptor or negative errno. */
typedef int dn_perf_open_fn(
	void *arg, const struct perf_event_attr *attr, pid_t tid, int cpu, int group_fd);
int dn_perf_sys_open(
	void *arg, const struct perf_event_attr *attr, pid_t tid, int cpu, int group_fd);

struct dn_perf_refusal {
	enum dn_fact fact;
	const char *reason;
	const char *hint;
};

/* what: "perf task-clock". r: what the most modest form of the call answered. */
struct dn_perf_refusal dn_perf_explain(
	struct dn_probe *probe, const struct dn_env *env, const char *what, int r);
/* "setcap cap_perfmon+ep <our binary>" */
const char *dn_perf_hint_capability(struct dn_probe *probe, const struct dn_env *env);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* perf_event_open: the call, and what its refusals mean. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <denet/fs.h>

#include "event.h"

int dn_perf_sys_open(
	void *arg, const struct perf_event_attr *attr, pid_t tid, int cpu, int group_fd)
{
	long fd = syscall(
		SYS_perf_event_open, attr, tid, cpu, group_fd, (unsigned long)PERF_FLAG_FD_CLOEXEC);

	return fd < 0 ? -errno : (int)fd;
}

const char *dn_perf_hint_capability(struct dn_probe *probe, const struct dn_env *env)
{
	char path[512];
	ssize_t len =
		env->proc_fd >= 0 ? readlinkat(env->proc_fd, "self/exe", path, sizeof(path)) : -1;

	if (len <= 0 || (size_t)len >= sizeof(path))
		return "setcap cap_perfmon+ep on the denet binary";
	return dn_probe_printf(probe, "setcap cap_perfmon+ep %.*s", (int)len, path);
}

/* For the text of a refusal only: what works is found by trying. INT64_MIN when it can't be read.
 */
static int64_t paranoid_level(const struct dn_env *env)
{
	char text[32];
	const char *p = text;
	int64_t level;

	if (env->proc_fd < 0 ||
		dn_read_file_at(
			env->proc_fd, "sys/kernel/perf_event_paranoid", text, sizeof(text)) <= 0 ||
		dn_parse_i64(&p, &level) < 0)
		return INT64_MIN;
	return level;
}

static struct dn_perf_refusal explain_denied(
	struct dn_probe *probe, const struct dn_env *env, const char *what, int r)
{
	struct dn_perf_refusal refusal = {.fact = DN_FACT_DENIED};
	int64_t level = paranoid_level(env);

	if (r == -ENOSYS) {
		/* The sysctl is only there when the kernel has perf: somebody hides the call from
		 * us. */
		refusal.reason = dn_probe_printf(probe,
			"%s: ENOSYS although the kernel has perf, a seccomp filter hides it", what);
		refusal.hint = "allow perf_event_open in the container's seccomp profile";
	} else if (level != INT64_MIN && level <= 2 && !env->attach) {
		/* Up to 2 the kernel lets everybody count user mode of their own processes. */
		refusal.reason = dn_probe_printf(probe,
			"%s: %s although perf_event_paranoid is %lld, a seccomp filter or security "
			"module "
			"forbids it",
			what, r == -EPERM ? "EPERM" : "EACCES", (long long)level);
		refusal.hint = "container: --cap-add PERFMON, or allow perf_event_open in its "
			       "seccomp profile";
	} else if (env->attach && level != INT64_MIN && level <= 2) {
		refusal.reason =
			dn_probe_printf(probe, "%s: %s, the process is another user's or protected",
				what, r == -EPERM ? "EPERM" : "EACCES");
		refusal.hint = dn_perf_hint_capability(probe, env);
	} else {
		refusal.reason =
			level == INT64_MIN
				? dn_probe_printf(
					  probe, "%s: %s", what, r == -EPERM ? "EPERM" : "EACCES")
				: dn_probe_printf(probe,
					  "%s: %s, perf_event_paranoid %lld refuses unprivileged "
					  "use",
					  what, r == -EPERM ? "EPERM" : "EACCES", (long long)level);
		refusal.hint = dn_perf_hint_capability(probe, env);
	}
	return refusal;
}

struct dn_perf_refusal dn_perf_explain(
	struct dn_probe *probe, const struct dn_env *env, const char *what, int r)
{
	struct dn_perf_refusal refusal = {.fact = dn_fact_from_errno(r)};

	switch (r) {
	case -EACCES:
	case -EPERM:
		return explain_denied(probe, env, what, r);
	case -ENOSYS:
		if (paranoid_level(env) != INT64_MIN)
			return explain_denied(probe, env, what, r);
		refusal.reason =
			dn_probe_printf(probe, "%s: ENOSYS, this kernel has no perf events", what);
		break;
	case -EMFILE:
		refusal.reason = dn_probe_printf(probe, "%s: too many open files", what);
		refusal.hint = "raise the limit of open files: ulimit -n";
		break;
	case -ESRCH:
		refusal.reason = dn_probe_printf(probe, "%s: the process is gone", what);
		break;
	default:
		refusal.reason = dn_probe_printf(
			probe, "%s: perf_event_open: %s", what, strerrorname_np(-r) ?: "?");
		break;
	}
	return refusal;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <denet/fs.h>

#include "refusal.h"

#define CAP_SYS_ADMIN 21
#define CAP_PERFMON 38
#define CAP_BPF 39

#define HINT_CAPABILITIES                                                                          \
	"setcap cap_bpf,cap_perfmon+ep on the denet binary; in a container --cap-add BPF "         \
	"--cap-add "                                                                               \
	"PERFMON"

#define HINT_SECCOMP "allow bpf in the container's seccomp profile"

/* Our effective capabilities; false when they can't be read. */
static bool capabilities(const struct dn_env *env, uint64_t *ret)
{
	char text[4096], *at;

	if (env->proc_fd < 0 ||
		dn_read_file_at(env->proc_fd, "self/status", text, sizeof(text)) <= 0)
		return false;
	at = strstr(text, "\nCapEff:");
	if (!at)
		return false;
	*ret = strtoull(at + strlen("\nCapEff:"), NULL, 16);
	return true;
}

static bool is_in_user_namespace(const struct dn_env *env)
{
	char text[128];
	const char *p = text;
	uint64_t inside, outside, n;

	if (env->proc_fd < 0 ||
		dn_read_file_at(env->proc_fd, "self/uid_map", text, sizeof(text)) <= 0)
		return false;
	p += strspn(p, " ");
	if (dn_parse_u64(&p, &inside) < 0)
		return false;
	p += strspn(p, " ");
	if (dn_parse_u64(&p, &outside) < 0)
		return false;
	p += strspn(p, " ");
	return dn_parse_u64(&p, &n) == 0 && (inside || outside || n != UINT32_MAX);
}

static bool kernel_has_bpf(const struct dn_env *env)
{
	char text[8];

	return env->proc_fd >= 0 &&
	       dn_read_file_at(env->proc_fd, "sys/kernel/unprivileged_bpf_disabled", text,
		       sizeof(text)) > 0;
}

static struct dn_ebpf_refusal explain_not_allowed(
	const struct dn_env *env, struct dn_probe *probe, const char *what, int r)
{
	struct dn_ebpf_refusal refusal = {DN_FACT_DENIED, NULL, HINT_CAPABILITIES};
	const char *error = r == -EPERM ? "EPERM" : "EACCES";
	bool bpf = false, perfmon = false;
	uint64_t held;

	if (!capabilities(env, &held)) {
		refusal.reason = dn_probe_printf(probe, "%s: %s", what, error);
		return refusal;
	}
	bpf = held >> CAP_BPF & 1 || held >> CAP_SYS_ADMIN & 1;
	perfmon = held >> CAP_PERFMON & 1 || held >> CAP_SYS_ADMIN & 1;
	if (!bpf || !perfmon) {
		refusal.reason = dn_probe_printf(probe, "%s: %s, %s missing", what, error,
			bpf	  ? "CAP_PERFMON is"
			: perfmon ? "CAP_BPF is"
				  : "CAP_BPF and CAP_PERFMON are");
	} else if (is_in_user_namespace(env)) {
		refusal.reason = dn_probe_printf(probe,
			"%s: %s, the capabilities hold in this user namespace only", what, error);
		refusal.hint = "run denet outside of the user namespace";
	} else {
		refusal.reason = dn_probe_printf(probe,
			"%s: %s although CAP_BPF and CAP_PERFMON are there, a seccomp filter or "
			"security module forbids it",
			what, error);
		refusal.hint = HINT_SECCOMP;
	}
	return refusal;
}

struct dn_ebpf_refusal dn_ebpf_explain(
	const struct dn_env *env, struct dn_probe *probe, const char *what, int r)
{
	struct dn_ebpf_refusal refusal = {.fact = dn_fact_from_errno(r)};

	if (r == -ENOENT && strcmp(what, "BTF") == 0) {
		refusal.reason = "this kernel has no BTF (/sys/kernel/btf/vmlinux)";
		refusal.hint = "a kernel with CONFIG_DEBUG_INFO_BTF";
	} else if (r == -EPERM || r == -EACCES) {
		refusal = explain_not_allowed(env, probe, what, r);
	} else if (r == -ENOSYS && kernel_has_bpf(env)) {
		refusal.fact = DN_FACT_DENIED;
		refusal.reason = dn_probe_printf(probe,
			"%s: ENOSYS although the kernel has BPF, a seccomp filter hides it", what);
		refusal.hint = HINT_SECCOMP;
	} else if (r == -ENOSYS) {
		refusal.reason = dn_probe_printf(probe, "%s: ENOSYS, this kernel has no BPF", what);
	} else {
		refusal.reason = dn_probe_printf(probe, "%s: %s", what, strerror(-r));
	}
	return refusal;
}

/* Before 5.11 maps are charged to RLIMIT_MEMLOCK, and what is beyond it is refused with EPERM. */
bool dn_ebpf_explain_memlock(struct dn_probe *probe, struct dn_ebpf_refusal *ret)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_MEMLOCK, &limit) < 0 || limit.rlim_cur == RLIM_INFINITY)
		return false;
	*ret = (struct dn_ebpf_refusal){DN_FACT_DENIED,
		dn_probe_printf(probe,
			"creating the BPF maps: Operation not permitted; RLIMIT_MEMLOCK is %llu "
			"KiB, to which this kernel charges them",
			(unsigned long long)limit.rlim_cur / 1024),
		"ulimit -l unlimited; in a unit LimitMEMLOCK=infinity"};
	return true;
}

/* Where the kernel is locked down this far, programs that read its memory get EINVAL. */
bool dn_ebpf_explain_lockdown(int sys_fd, struct dn_ebpf_refusal *ret)
{
	char text[128];

	if (dn_read_file_at(sys_fd, "kernel/security/lockdown", text, sizeof(text)) < 0 ||
		!strstr(text, "[confidentiality]"))
		return false;
	*ret = (struct dn_ebpf_refusal){DN_FACT_UNSUPPORTED,
		"the kernel is locked down (confidentiality): BPF programs may not read its memory",
		NULL};
	return true;
}

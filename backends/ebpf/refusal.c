/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>
#include <sys/resource.h>

#include <denet/fs.h>

#include "refusal.h"

#define HINT_CAPABILITIES                                                                          \
	"setcap cap_bpf,cap_perfmon+ep on the denet binary; in a container --cap-add BPF "         \
	"--cap-add "                                                                               \
	"PERFMON"

struct dn_ebpf_refusal dn_ebpf_explain(struct dn_probe *probe, const char *what, int r)
{
	struct dn_ebpf_refusal refusal = {.fact = dn_fact_from_errno(r)};

	if (r == -ENOENT && strcmp(what, "BTF") == 0) {
		refusal.reason = "this kernel has no BTF (/sys/kernel/btf/vmlinux)";
		refusal.hint = "a kernel with CONFIG_DEBUG_INFO_BTF";
		return refusal;
	}
	refusal.reason = dn_probe_printf(probe, "%s: %s", what, strerror(-r));
	if (r == -EPERM || r == -EACCES)
		refusal.hint = HINT_CAPABILITIES;
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

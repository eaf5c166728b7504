/* SPDX-License-Identifier: Apache-2.0 */
/* In builds without libbpf or clang: every metric of the tier is missing, and says why. */
#include <errno.h>
#include <stdlib.h>

#include <denet/backend.h>

extern const struct dn_backend_ops dn_backend_ebpf;

static int absent_probe(
	const struct dn_env *env, struct dn_probe *probe, struct dn_backend **ret_backend)
{
	struct dn_backend *backend = calloc(1, sizeof(*backend));

	if (!backend)
		return -ENOMEM;
	backend->ops = &dn_backend_ebpf;
	*ret_backend = backend;
	probe->fact = DN_FACT_UNSUPPORTED;
	probe->reason = env->fixture ? "a recorded tree has no kernel to trace"
				     : "this denet was built without eBPF";
	probe->hint = env->fixture ? NULL : "build it where clang and libbpf are installed";
	for (unsigned metric = 0; metric < DN_M_STATIC_N; metric++) {
		if (dn_metric_group(dn_metric_info(metric)) != DN_PROBES_NONE &&
			dn_metric_set_has(&env->wanted, metric))
			dn_probe_refuse(probe, metric, probe->fact, probe->reason, probe->hint);
	}
	return 0;
}

static int absent_open(
	struct dn_backend *backend, const struct dn_metric_set *assigned, struct dn_core *core)
{
	return -EOPNOTSUPP;
}

static int absent_sample(struct dn_backend *backend, struct dn_frame *frame)
{
	return -EOPNOTSUPP;
}

static void absent_close(struct dn_backend *backend)
{
	free(backend);
}

const struct dn_backend_ops dn_backend_ebpf = {
	.name = "ebpf",
	.summary = "BPF programs in the kernel; this build has none",
	.tier = "ebpf",
	.probe = absent_probe,
	.open = absent_open,
	.sample = absent_sample,
	.close = absent_close,
};

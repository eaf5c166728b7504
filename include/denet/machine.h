/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Facts of the machine and of our privileges on it, for the stream's header and for hints. Read
 * once, cheaply, relative to directory descriptors. What could not be determined is absent (NULL,
 * -1 or has_ false), never guessed.
 */
#ifndef DENET_MACHINE_H
#define DENET_MACHINE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct dn_cgroup_facts {
	int version; /* 1, 2; 0 unknown */
	char path[512]; /* in the hierarchy; v1: of the memory controller, else of the first that is
			   found */
	/*
	 * The tightest limit on the way up to the root of what is visible. Not limited: has_ true,
	 * value UINT64_MAX or quota < 0. Unknown: has_ false.
	 */
	bool has_memory_max;
	uint64_t memory_max_bytes;
	bool has_cpu_quota;
	double cpu_quota_ratio; /* CPUs: 1.5 is one and a half */
	bool has_pids_max;
	uint64_t pids_max;
};

struct dn_machine {
	char hostname[256];
	char kernel[256]; /* uname release */
	char arch[64];
	char cpu_model[256];
	int cpus_online;
	char affinity[256]; /* "0-7,9" */
	uint64_t memory_bytes; /* 0 unknown */
	int numa_nodes; /* -1 unknown */
	int smt; /* 0, 1; -1 unknown */
	char governor[64]; /* of the CPUs, "mixed" when they differ; "" when there is none */
	char thp[32]; /* the chosen word: "always", "madvise", "never"; "" unknown */
	char virtualization[64]; /* "kvm", "xen", ...; "none"; "" unknown */
	char container[64]; /* "docker", "podman", "lxc", "kubernetes", ...; "" none seen */
	struct dn_cgroup_facts cgroup;

	/* privileges */
	uid_t euid;
	uint64_t capabilities; /* effective, a bit each */
	int perf_event_paranoid; /* INT_MIN unknown */
	int unprivileged_bpf_disabled; /* -1 unknown */
	bool btf; /* /sys/kernel/btf/vmlinux is readable and not empty */
	char lockdown[32]; /* "none", "integrity", "confidentiality"; "" unknown */
	bool no_new_privs;
	int seccomp; /* 0 off, 1 strict, 2 filter; -1 unknown */
	int yama_ptrace_scope; /* -1 when there is no Yama */
};

/* Never fails: what can't be read stays unknown. sys_fd may be -1. */
void dn_machine_read(int proc_fd, int sys_fd, struct dn_machine *ret);

/* Name of capability number n ("cap_bpf"), or NULL. */
const char *dn_capability_name(unsigned n);

/* The most memory that this process ever had resident since its exec; 0 unknown. */
uint64_t dn_machine_own_peak(int proc_fd);

/* How long the hypervisor let CPUs of this machine wait since boot, all together; 0 unknown. */
uint64_t dn_machine_stolen_ns(int proc_fd);

/* Gives up every capability for good, where the build has libcap-ng; false when some are kept. */
bool dn_privileges_drop(void);

/*
 * What a run needs until its end are few capabilities: those to read /proc of other users'
 * processes and to hand signals on. lower takes all others out of the effective set, where raise
 * puts them back; give_up parts with them for good. 0 or negative errno; -EALREADY: there are no
 * others.
 */
struct dn_capabilities {
	uint64_t effective, permitted, inheritable;
};
int dn_capabilities_lower(struct dn_capabilities *ret_before);
int dn_capabilities_raise(const struct dn_capabilities *before);
int dn_capabilities_give_up(void);

/* The parsers, apart for tests and fuzzing. All take NUL-terminated text and never fail harder than
 * "unknown". */
void dn_machine_parse_cpuinfo(const char *text, char *model, size_t size);
/* Counts CPUs in a list like "0-3,8"; -EINVAL. */
int dn_machine_parse_cpu_list(const char *text);

/*
 * /proc/PID/cgroup. Fills version and path: v2 when the unified line is the only one or holds the
 * controllers, as on hybrid systems v1's memory or cpu path otherwise. controller NULL: as said;
 * else the v1 path of that controller, -ENOENT when there is none.
 */
int dn_cgroup_parse(
	const char *text, const char *controller, int *ret_version, char *path, size_t size);
/* cgroup v2 "max 100000" / "50000 100000" -> CPUs; unlimited: negative. 0 or -EINVAL. */
int dn_cgroup_parse_cpu_max(const char *text, double *ret_ratio);
/*
 * Where the cgroup's files are: directory descriptors for the cgroup of pid (0: self) in the given
 * v1 controllers (NULL: v2), all in one look at mountinfo, so that a container's view works;
 * negative errno for those that are not there. The mounts of a recorded machine are looked for
 * beside its proc.
 */
void dn_cgroup_open(
	int proc_fd, pid_t pid, const char *const *controllers, unsigned n, int *ret_fds);

#endif

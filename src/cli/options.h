/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command line. One table (options.def) makes the parser, the help texts, the man pages' option
 * lists and the shell completions.
 */
#ifndef DENET_OPTIONS_H
#define DENET_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <denet/log.h>
#include <denet/metric.h>

enum dn_command {
	DN_COMMAND_NONE,
	DN_COMMAND_RUN,
	DN_COMMAND_ATTACH,
	DN_COMMAND_STATS,
	DN_COMMAND_DOCTOR,
	DN_COMMAND_METRICS,
	DN_COMMAND_BPF,
	DN_COMMAND_HELP,
	DN_COMMAND_VERSION,
};

enum dn_color { DN_COLOR_AUTO, DN_COLOR_ALWAYS, DN_COLOR_NEVER };
enum dn_format { DN_FORMAT_AUTO, DN_FORMAT_JSON, DN_FORMAT_CSV };

struct dn_options {
	enum dn_command command;
	const char *help_topic; /* help: the subcommand asked about, or NULL */

	/* run and attach */
	bool json;
	const char *out;
	enum dn_format format;
	uint64_t interval_ns; /* default 100 ms */
	uint64_t max_interval_ns; /* default 1000 ms; equals interval_ns when only --interval was
				     given */
	uint64_t duration_ns; /* 0: none */
	const char *backend; /* "auto", "procfs", "perf", "ebpf", "fake" */
	const char *events;
	const char *metrics; /* --metrics LIST: names or prefixes ("cpu", "memory.rss_bytes"); NULL:
				all */
	const char *probes; /* --probes LIST, and what it comes to: */
	uint32_t groups; /* probe groups that are on, a bit per enum dn_probe_group: by default, by
			    --probes, by --metrics and --paths that need them */
	uint32_t groups_denied; /* those that --probes took away */
	const char *sample; /* --sample LIST, and what it comes to: */
	uint32_t sample_every[DN_PROBES_N]; /* of so many events one is looked at; 0: all */
	double max_overhead_percent; /* 100 is one busy core; 0: no budget */
	unsigned paths; /* so many files are told by path */
	bool detail;
	bool account;
	bool per_process;
	bool process_events;
	bool no_children;
	bool no_subreaper;
	bool wait_tree;
	bool live;
	bool quiet;
	bool debug;
	enum dn_color color;
	const char *proc_root; /* --proc DIR, default "/proc" */
	const char *sys_root; /* --sys DIR, default "/sys" */
	const char *fake_script; /* --fake FILE */

	/* run */
	char **argv; /* the command, NULL-terminated */

	/* attach */
	pid_t *pids; /* owned by the options */
	unsigned n_pids;
	const char *name;
	const char *cmdline;
	const char *cgroup;

	/* stats */
	const char *file; /* "-": stdin */
	bool lenient;

	/* metrics */
	bool markdown;
	bool schema; /* --schema: the JSON Schema */

	/* bpf */
	uint64_t watch_ns; /* --watch; 0: once */
};

/*
 * Parses argv. 0; -EINVAL with one line in why (the caller prints it and exits with 125 for run, 2
 * otherwise). On -EINVAL command tells as far as it was understood. Strings point into argv.
 */
int dn_options_parse(int argc, char **argv, struct dn_options *ret, struct dn_why *why);
void dn_options_finish(struct dn_options *options);

/*
 * --metrics LIST to a set; dynamic metrics are always in. Without a list: all rows but those of
 * probe groups that are not in *groups. What the list names in full, and a prefix that only rows of
 * groups have, switches its groups on in *groups, unless they are denied. -EINVAL with the nearest
 * name, or the group, in why.
 */
int dn_options_metric_set(const char *list, uint32_t *groups, uint32_t denied,
	struct dn_metric_set *ret, struct dn_why *why);
/* The probe groups that are part of every run. */
uint32_t dn_options_default_groups(void);
/* --probes LIST over the default groups. -EINVAL with the nearest name in why. */
int dn_options_probes(
	const char *list, uint32_t *ret_groups, uint32_t *ret_denied, struct dn_why *why);
/* --sample LIST; every has DN_PROBES_N members, of which those that are named are set. As above. */
int dn_options_sample(const char *list, uint32_t *every, struct dn_why *why);

/* The candidate nearest to word, or NULL when none is near. candidates ends with NULL. */
const char *dn_nearest(const char *word, const char *const *candidates);

/* Help on stdout; topic NULL for the overview. -ENOENT for a topic that is none. */
int dn_help_print(const char *topic);

#endif

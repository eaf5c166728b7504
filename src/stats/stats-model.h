/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A recorded stream as totals, peaks and percentiles, in memory that does not grow with the stream.
 * Takes bytes in pieces of any size; knows denet's own records and those of the older tool of the
 * same name.
 */
#ifndef DENET_STATS_MODEL_H
#define DENET_STATS_MODEL_H

#include <denet/log.h>

#include "stats-lines.h"
#include "stats-scan.h"
#include "stats-series.h"

#define DN_STATS_SERIES_MAX 256
#define DN_STATS_PATHS_MAX 512
#define DN_STATS_EVENTS_MAX 16
#define DN_STATS_OLDER_MAX 48
#define DN_STATS_COMMAND_SIZE 4096

enum dn_stats_format { DN_STATS_UNKNOWN, DN_STATS_OURS, DN_STATS_OLDER };

/* Scalars at fixed places of the records. */
enum dn_stats_field {
	DN_STATS_KIND,
	DN_STATS_SCHEMA,
	DN_STATS_VERSION,
	DN_STATS_TIME,
	DN_STATS_MODE,
	DN_STATS_COMMAND,
	DN_STATS_PID,
	DN_STATS_TIER,
	DN_STATS_HOST, /* the older tool's: a name, where ours has an object */
	DN_STATS_KERNEL,
	DN_STATS_HOSTNAME,
	DN_STATS_HOST_KERNEL,
	DN_STATS_ARCH,
	DN_STATS_CPU_MODEL,
	DN_STATS_CPUS,
	DN_STATS_SEQ,
	DN_STATS_T,
	DN_STATS_WALL,
	DN_STATS_ENDED_BY,
	DN_STATS_EXIT_CODE,
	DN_STATS_EXIT_SIGNAL,
	DN_STATS_EXIT_SIGNAL_NAME,
	DN_STATS_EXIT_CORE,
	DN_STATS_LOST_EVENTS,
	DN_STATS_LOST_SAMPLES,
	DN_STATS_SELF_CPU,
	DN_STATS_SELF_RSS,
	DN_STATS_LEFT,
	DN_STATS_EVENT,
	DN_STATS_TS_MS,
	DN_STATS_AGGREGATED_TS_MS,
	DN_STATS_T0_MS,
	DN_STATS_TOTAL_TIME,
	DN_STATS_FIELDS,
};

struct dn_stats_event {
	char name[32];
	uint64_t count;
};

/* A number that a summary may lack. */
struct dn_stats_count {
	bool known;
	uint64_t value;
};

/* One run: from a header to the next. */
struct dn_stats_run {
	enum dn_stats_format format;
	bool has_header, has_summary;
	uint64_t schema;
	char version[32], time[48], mode[16], tier[16];
	char hostname[128], kernel[128], arch[32], cpu_model[128];
	struct dn_stats_count cpus, pid;
	char command[DN_STATS_COMMAND_SIZE]; /* arguments, each ended by a NUL */
	size_t command_len;
	bool command_cut;

	uint64_t samples;
	uint64_t t_ns; /* of the last sample or summary */
	uint64_t first_ms; /* older tool: of the first sample */
	bool has_first_ms;
	uint64_t wall_ns; /* by the summary, else of the last sample */
	uint64_t last_seq;
	bool has_seq;
	uint64_t gaps, gap_missing,
		gap_line; /* holes in seq, the samples in them, where the first is */
	uint64_t disorder; /* samples whose seq or time went back */
	struct dn_stats_count exit_code, lost_events, lost_samples, self_cpu_ns, self_rss_bytes,
		left;
	struct dn_stats_count exit_signal;
	char exit_signal_name[24];
	char ended_by[24];
	bool core_dumped;
	struct dn_stats_event event[DN_STATS_EVENTS_MAX];
	unsigned n_events;
	uint64_t events_other; /* of more kinds than that */
};

struct dn_stats {
	struct dn_stats_run run;
	uint64_t runs;
	struct dn_series series[DN_STATS_SERIES_MAX];
	unsigned n_series;
	bool too_many; /* metrics */
	uint64_t lines, bytes;
	uint64_t unknown; /* valid records of a kind that says nothing to us */
	uint64_t odd; /* values of a type that their place does not have */
	bool lenient;
	uint64_t bad; /* lines that were skipped */
	uint64_t bad_line, bad_offset; /* the first of them */
	bool torn; /* the last line is cut off */
	uint64_t torn_line, torn_offset, torn_bytes;

	/* private */
	struct dn_scan *scan;
	struct dn_stats_record *record; /* the line in work */
	struct dn_lines input;
	struct dn_stats_path {
		char name[128];
		uint8_t scope; /* enum dn_metric_scope, or 2: a path of the older tool */
	} path[DN_STATS_PATHS_MAX];
	int16_t path_series[DN_STATS_PATHS_MAX]; /* 1 + index in series[], 0: not looked up, -1: it
						    has none */
	unsigned n_paths;
	int16_t older[DN_STATS_OLDER_MAX]; /* rows of the older tool's fields: 1 + index in
					      series[], 0: not looked up */
};

int dn_stats_new(bool lenient, struct dn_stats **ret);
void dn_stats_free(struct dn_stats *stats);
/* Room for the next bytes; -ENOMEM. */
int dn_stats_space(struct dn_stats *stats, char **ret, size_t *ret_size);
/*
 * n bytes were put there. -EBADMSG: a line is no record (and not lenient); -EPROTONOSUPPORT: a
 * schema from the future. *why names line and byte offset.
 */
int dn_stats_commit(struct dn_stats *stats, size_t n, struct dn_why *why);
/* The input is at its end. As above; -ENODATA when it had no record of either tool. */
int dn_stats_end(struct dn_stats *stats, struct dn_why *why);

/* The index of the series of that name, made when it is new; -1 when there are too many or the name
 * is too long. */
int dn_stats_series(struct dn_stats *stats, const char *name);

#endif

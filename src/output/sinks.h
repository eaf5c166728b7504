/* SPDX-License-Identifier: Apache-2.0 */
/* The sinks that exist. Each takes a pointer to an output that outlives it. 0 or negative errno. */
#ifndef DENET_SINKS_H
#define DENET_SINKS_H

#include <denet/sink.h>

#include "output.h"

int dn_sink_jsonl_new(struct dn_output *output, bool process_events, struct dn_sink **ret);
int dn_sink_csv_new(struct dn_output *output, struct dn_sink **ret);
/* The end summary for people. columns 0: not a terminal, no limit of width but 100. */
int dn_sink_summary_new(
	struct dn_output *output, bool color, unsigned columns, struct dn_sink **ret);
/* What the summary and the status line show: without a stream nothing else is measured. */
void dn_sink_summary_metrics(struct dn_metric_set *ret);
/* One status line that is rewritten in place; only for a terminal. */
int dn_sink_live_new(struct dn_output *output, bool color, unsigned columns, struct dn_sink **ret);

/* Numbers for people; each writes a NUL-terminated string that fits and returns it. */
const char *dn_human_duration(
	uint64_t ns, char *out, size_t size); /* "31.4 ms", "2.05 s", "3 min 07 s", "1 h 02 min" */
const char *dn_human_bytes(uint64_t bytes, char *out, size_t size); /* "512 B", "1.4 MiB" */
const char *dn_human_count(
	uint64_t count, char *out, size_t size); /* "12,345", "1.23 G" above ten million */
const char *dn_human_percent(double percent, char *out, size_t size);
const char *dn_human_signal(
	int signal, char *out, size_t size); /* "SIGSEGV", "SIGRTMIN+3", "signal 77" */

/*
 * One CSV cell of text: quoted when it must be, and guarded against spreadsheets that would run it
 * as a formula. Returns the length; at most 2 * strlen(text) + 3, and never more than size. Not
 * NUL-terminated.
 */
size_t dn_csv_text(const char *text, char *out, size_t size);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A frame: the values of one moment. Absence is a statement, zero is a measurement: a metric
 * without a value in a frame has none at this moment, and nothing turns that into 0.
 */
#ifndef DENET_FRAME_H
#define DENET_FRAME_H

#include <denet/metric.h>

enum dn_value_type {
	DN_VALUE_NONE = 0,
	DN_VALUE_U64,
	DN_VALUE_F64,
	DN_VALUE_HISTOGRAM,
	DN_VALUE_TABLE,
};

struct dn_histogram; /* table.h */
struct dn_table;

struct dn_value {
	enum dn_value_type type;
	union {
		uint64_t u64;
		double f64;
		const struct dn_histogram *histogram;
		const struct dn_table *table;
	};
};

struct dn_frame {
	uint64_t seq; /* from 1 */
	uint64_t t_ns; /* since measuring began, CLOCK_MONOTONIC */
	uint64_t interval_ns; /* since the frame before; the true time, late ticks included */
	bool final; /* the last frame: the root is a zombie, or measuring is about to end */
	bool gap; /* the machine slept or denet was stopped in this interval */
	struct dn_value value[DN_METRIC_MAX];
};

/* Counters are those since measuring began: the backend subtracts what was there before. */
static inline void dn_frame_u64(struct dn_frame *frame, unsigned id, uint64_t value)
{
	frame->value[id].type = DN_VALUE_U64;
	frame->value[id].u64 = value;
}

static inline void dn_frame_f64(struct dn_frame *frame, unsigned id, double value)
{
	frame->value[id].type = DN_VALUE_F64;
	frame->value[id].f64 = value;
}

/* What they point to is the backend's, and stays as it is until its next sample. */
static inline void dn_frame_histogram(
	struct dn_frame *frame, unsigned id, const struct dn_histogram *histogram)
{
	frame->value[id].type = DN_VALUE_HISTOGRAM;
	frame->value[id].histogram = histogram;
}

static inline void dn_frame_table(struct dn_frame *frame, unsigned id, const struct dn_table *table)
{
	frame->value[id].type = DN_VALUE_TABLE;
	frame->value[id].table = table;
}

static inline bool dn_frame_has(const struct dn_frame *frame, unsigned id)
{
	return frame->value[id].type != DN_VALUE_NONE;
}

#endif

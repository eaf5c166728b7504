/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One metric over time in constant memory: last, least, largest, sum and a log-linear histogram for
 * percentiles. Every value weighs as much as the time it stands for, because sampling intervals
 * grow during a run.
 */
#ifndef DENET_STATS_SERIES_H
#define DENET_STATS_SERIES_H

#include <stdbool.h>
#include <stdint.h>

#include <denet/metric.h>

#define DN_HIST_SUB_BITS 6 /* 64 buckets between powers of two: within 0.8 % */
#define DN_HIST_SUB (1u << DN_HIST_SUB_BITS)
#define DN_HIST_OCTAVES 96
#define DN_HIST_FIRST_EXPONENT (-20) /* what is smaller counts as 2^-20 */

struct dn_hist {
	uint64_t zero, total; /* weights */
	double min, max, sum; /* sum of value times weight */
	uint64_t *page[DN_HIST_OCTAVES];
};

void dn_hist_add(struct dn_hist *hist, double value, uint64_t weight);
/* share: 0 to 1. 0 when nothing was added. integers: all values were, so a narrow bucket holds but
 * one. */
double dn_hist_quantile(const struct dn_hist *hist, double share, bool integers);
double dn_hist_mean(const struct dn_hist *hist);
void dn_hist_finish(struct dn_hist *hist);

enum dn_series_shape {
	DN_SERIES_GAUGE,
	DN_SERIES_COUNTER, /* cumulative since t 0; never falls */
	DN_SERIES_LIVE_SUM, /* cumulative, but summed over what lives: it may fall, and only its
			       peak is known */
	DN_SERIES_SPAN, /* cumulative since some earlier time: the growth since the first value
			   counts */
	DN_SERIES_DELTA, /* each value is what was added since the one before */
	DN_SERIES_HISTOGRAM, /* a distribution: its last state is kept */
	DN_SERIES_TABLE, /* counters by key: nothing of it is kept */
};

/* The numbers of a histogram that are kept, in the stream's words. */
enum dn_distribution_field {
	DN_DISTRIBUTION_COUNT,
	DN_DISTRIBUTION_SUM,
	DN_DISTRIBUTION_MIN,
	DN_DISTRIBUTION_MAX,
	DN_DISTRIBUTION_P50,
	DN_DISTRIBUTION_P95,
	DN_DISTRIBUTION_P99,
	DN_DISTRIBUTION_N,
};
const char *dn_distribution_field_name(unsigned field);

struct dn_series_value {
	bool real;
	union {
		uint64_t u64;
		double f64;
	};
};

struct dn_series {
	/* What was seen; used for every value, so it stands together. */
	enum dn_series_shape shape;
	uint64_t n; /* values */
	uint64_t t_ns; /* of the last one */
	struct dn_series_value last;
	struct dn_series_value total; /* not of gauges */
	struct dn_series_value min, max; /* of gauges */
	bool real; /* a gauge's value had a point */
	struct dn_hist hist; /* gauges: values; the others: rates per second */
	uint64_t fell; /* times that a counter fell */
	uint64_t distribution[DN_DISTRIBUTION_N];
	uint8_t distribution_known; /* a bit per field */

	/* What the stream says of it. */
	enum dn_quality quality;
	bool declared; /* by the stream, or by what is known of the older tool */
	bool shaped; /* shape, unit and scope are settled */
	bool has_unit;
	enum dn_metric_unit unit;
	enum dn_metric_scope scope;
	char name[128];
	char source[48];
	char reason[200];
	char hint[200];
};

/* weight_ns: the time that a gauge's value stands for. */
void dn_series_add(
	struct dn_series *series, struct dn_series_value value, uint64_t t_ns, uint64_t weight_ns);
/* A value that stands for no time of its own: the summary repeats the last sample's. */
void dn_series_final(struct dn_series *series, struct dn_series_value value, uint64_t t_ns);
/* A number of a histogram; known false: it is null. */
void dn_series_distribution(struct dn_series *series, unsigned field, bool known, uint64_t value);
/* Forgets what was seen, and keeps name and shape. */
void dn_series_reset(struct dn_series *series);
/* The value, or rate, that was not exceeded in that share of the time. */
double dn_series_quantile(const struct dn_series *series, double share);
/* Gauges: mean value; the others: mean rate per second. */
double dn_series_mean(const struct dn_series *series);

static inline struct dn_series_value dn_series_u64(uint64_t value)
{
	return (struct dn_series_value){.u64 = value};
}

static inline struct dn_series_value dn_series_f64(double value)
{
	return (struct dn_series_value){.real = true, .f64 = value};
}

static inline double dn_series_double(struct dn_series_value value)
{
	return value.real ? value.f64 : (double)value.u64;
}

static inline bool dn_series_is_zero(struct dn_series_value value)
{
	return value.real ? value.f64 == 0 : value.u64 == 0;
}

#endif

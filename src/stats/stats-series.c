/* SPDX-License-Identifier: Apache-2.0 */
/* Accumulating one metric: integers exactly, rates and percentiles in a bounded histogram. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <denet/fs.h>

#include "stats-series.h"

void dn_hist_add(struct dn_hist *hist, double value, uint64_t weight)
{
	uint64_t bits, *page;
	int octave;

	if (hist->total == 0 || value < hist->min)
		hist->min = value;
	if (hist->total == 0 || value > hist->max)
		hist->max = value;
	hist->sum += value * (double)weight;
	hist->total = dn_add_sat(hist->total, weight);
	if (value <= 0) {
		hist->zero = dn_add_sat(hist->zero, weight);
		return;
	}
	/* The exponent picks the page, the highest bits of the mantissa the bucket. */
	memcpy(&bits, &value, sizeof(bits));
	octave = (int)(bits >> 52) - 1023 - DN_HIST_FIRST_EXPONENT;
	bits = bits >> (52 - DN_HIST_SUB_BITS) & (DN_HIST_SUB - 1);
	if (octave < 0)
		octave = 0, bits = 0;
	else if (octave >= DN_HIST_OCTAVES)
		octave = DN_HIST_OCTAVES - 1, bits = DN_HIST_SUB - 1;
	page = hist->page[octave];
	if (__builtin_expect(!page, 0)) {
		page = hist->page[octave] = calloc(DN_HIST_SUB, sizeof(*page));
		if (!page) {
			/* Without memory the percentiles leave this value out; all else stays
			 * right. */
			hist->total = dn_sub_sat(hist->total, weight);
			return;
		}
	}
	page[bits] = dn_add_sat(page[bits], weight);
}

/* The middle of a bucket, or the integer in it when there is room for only one. */
static double bucket_value(int exponent, unsigned i, bool integers)
{
	double low = ldexp(1 + (double)i / DN_HIST_SUB, exponent),
	       width = ldexp(1.0 / DN_HIST_SUB, exponent);

	return integers && width <= 1 ? ceil(low) : low + width / 2;
}

double dn_hist_quantile(const struct dn_hist *hist, double share, bool integers)
{
	double want = share * (double)hist->total, seen = (double)hist->zero, value;

	if (hist->total == 0)
		return 0;
	if (seen >= want && hist->zero)
		return hist->min;
	for (int octave = 0; octave < DN_HIST_OCTAVES; octave++) {
		if (!hist->page[octave])
			continue;
		for (unsigned i = 0; i < DN_HIST_SUB; i++) {
			if (hist->page[octave][i] == 0)
				continue;
			seen += (double)hist->page[octave][i];
			if (seen < want)
				continue;
			value = bucket_value(octave + DN_HIST_FIRST_EXPONENT, i, integers);
			/* Never beyond what was seen. */
			return value < hist->min   ? hist->min
			       : value > hist->max ? hist->max
						   : value;
		}
	}
	return hist->max;
}

double dn_hist_mean(const struct dn_hist *hist)
{
	return hist->total ? hist->sum / (double)hist->total : 0;
}

void dn_hist_finish(struct dn_hist *hist)
{
	for (int i = 0; i < DN_HIST_OCTAVES; i++)
		free(hist->page[i]);
	memset(hist, 0, sizeof(*hist));
}

static bool less(struct dn_series_value a, struct dn_series_value b)
{
	if (!a.real && !b.real)
		return a.u64 < b.u64;
	return dn_series_double(a) < dn_series_double(b);
}

static struct dn_series_value plus(struct dn_series_value a, struct dn_series_value b)
{
	if (!a.real && !b.real)
		return dn_series_u64(dn_add_sat(a.u64, b.u64));
	return dn_series_f64(dn_series_double(a) + dn_series_double(b));
}

static struct dn_series_value minus(struct dn_series_value a, struct dn_series_value b)
{
	if (!a.real && !b.real)
		return dn_series_u64(dn_sub_sat(a.u64, b.u64));
	return dn_series_f64(dn_series_double(a) - dn_series_double(b));
}

static void add_rate(
	struct dn_series *series, struct dn_series_value grown, uint64_t from_ns, uint64_t to_ns)
{
	double dt;

	if (to_ns <= from_ns)
		return;
	dt = (double)(to_ns - from_ns);
	dn_hist_add(&series->hist,
		dn_series_is_zero(grown) ? 0 : dn_series_double(grown) * 1e9 / dt, to_ns - from_ns);
}

/* What the shape makes of a value for the total, and the rate that led to it. */
static void add_counter(struct dn_series *series, struct dn_series_value value, uint64_t t_ns)
{
	bool first = series->n == 0, fell = less(value, series->last);

	switch (series->shape) {
	case DN_SERIES_GAUGE:
	case DN_SERIES_HISTOGRAM:
	case DN_SERIES_TABLE:
		break;
	case DN_SERIES_COUNTER:
		/* The first value has grown since t 0. */
		if (fell)
			series->fell++;
		else
			add_rate(series, minus(value, series->last), series->t_ns, t_ns);
		if (first || less(series->total, value))
			series->total = value;
		break;
	case DN_SERIES_LIVE_SUM:
		if (!first && !fell)
			add_rate(series, minus(value, series->last), series->t_ns, t_ns);
		if (first || less(series->total, value))
			series->total = value;
		break;
	case DN_SERIES_SPAN:
		if (fell) {
			series->fell++;
			break;
		}
		if (!first) {
			struct dn_series_value grown = minus(value, series->last);

			add_rate(series, grown, series->t_ns, t_ns);
			series->total = plus(series->total, grown);
		}
		break;
	case DN_SERIES_DELTA:
		if (!first)
			add_rate(series, value, series->t_ns, t_ns);
		series->total = plus(series->total, value);
		break;
	}
}

static void note(struct dn_series *series, struct dn_series_value value, uint64_t t_ns)
{
	if (series->shape == DN_SERIES_GAUGE) {
		if (series->n == 0 || less(value, series->min))
			series->min = value;
		if (series->n == 0 || less(series->max, value))
			series->max = value;
		series->real |= value.real;
	}
	series->last = value;
	if (t_ns > series->t_ns)
		series->t_ns = t_ns;
	series->n++;
}

/* What nearly all values are: an integer counter that has not fallen, later than before. */
static inline bool add_plain(struct dn_series *series, struct dn_series_value value, uint64_t t_ns)
{
	uint64_t grown, dt;

	if (series->shape != DN_SERIES_COUNTER || value.real || series->last.real ||
		series->total.real || value.u64 < series->last.u64 || t_ns <= series->t_ns ||
		series->fell)
		return false;
	grown = value.u64 - series->last.u64;
	dt = t_ns - series->t_ns;
	dn_hist_add(&series->hist, grown ? (double)grown * 1e9 / (double)dt : 0, dt);
	series->last = series->total = value;
	series->t_ns = t_ns;
	series->n++;
	return true;
}

void dn_series_add(
	struct dn_series *series, struct dn_series_value value, uint64_t t_ns, uint64_t weight_ns)
{
	if (add_plain(series, value, t_ns))
		return;
	if (series->shape == DN_SERIES_GAUGE)
		dn_hist_add(&series->hist, dn_series_double(value), weight_ns ? weight_ns : 1);
	else
		add_counter(series, value, t_ns);
	note(series, value, t_ns);
}

void dn_series_final(struct dn_series *series, struct dn_series_value value, uint64_t t_ns)
{
	if (series->shape != DN_SERIES_GAUGE)
		add_counter(series, value, t_ns);
	note(series, value, t_ns);
}

const char *dn_distribution_field_name(unsigned field)
{
	static const char *const names[DN_DISTRIBUTION_N] = {
		"count", "sum", "min", "max", "p50", "p95", "p99"};

	return field < DN_DISTRIBUTION_N ? names[field] : "";
}

void dn_series_distribution(struct dn_series *series, unsigned field, bool known, uint64_t value)
{
	series->distribution[field] = known ? value : 0;
	if (known)
		series->distribution_known |= (uint8_t)(1u << field);
	else
		series->distribution_known &= (uint8_t) ~(1u << field);
	series->n += known && field == DN_DISTRIBUTION_COUNT;
}

double dn_series_quantile(const struct dn_series *series, double share)
{
	return dn_hist_quantile(
		&series->hist, share, series->shape == DN_SERIES_GAUGE && !series->real);
}

void dn_series_reset(struct dn_series *series)
{
	dn_hist_finish(&series->hist);
	series->source[0] = series->reason[0] = series->hint[0] = '\0';
	series->quality = DN_QUALITY_EXACT;
	series->declared = series->real = false;
	series->n = series->t_ns = series->fell = 0;
	series->distribution_known = 0;
	series->last = series->min = series->max = series->total = dn_series_u64(0);
}

double dn_series_mean(const struct dn_series *series)
{
	if (series->shape == DN_SERIES_COUNTER)
		return series->t_ns ? dn_series_double(series->total) * 1e9 / (double)series->t_ns
				    : 0;
	return dn_hist_mean(&series->hist);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers as people read them: three digits that matter and a unit. Rounded in integers, no locale.
 */
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "sinks.h"

#define NS_PER_S UINT64_C(1000000000)
#define MINUTE (60 * NS_PER_S)
#define HOUR (60 * MINUTE)

/* value / unit, rounded to so many decimals, as an integer of the last decimal. */
static uint64_t scaled(uint64_t value, uint64_t unit, unsigned decimals)
{
	unsigned __int128 v = value;

	for (unsigned i = 0; i < decimals; i++)
		v *= 10;
	return (uint64_t)((v + unit / 2) / unit);
}

/* Three significant digits of value / unit; false when that rounds to limit or more. */
static bool print_fixed(uint64_t value, uint64_t unit, unsigned limit, unsigned decimals,
	const char *suffix, char *out, size_t size)
{
	for (uint64_t power = decimals == 2 ? 100 : 10; decimals > 0; decimals--, power /= 10) {
		uint64_t v = scaled(value, unit, decimals);

		if (v >= limit * power)
			return false;
		if (v >= 1000)
			continue;
		snprintf(out, size, "%u.%0*u %s", (unsigned)(v / power), (int)decimals,
			(unsigned)(v % power), suffix);
		return true;
	}
	if (scaled(value, unit, 0) >= limit)
		return false;
	snprintf(out, size, "%u %s", (unsigned)scaled(value, unit, 0), suffix);
	return true;
}

/* Two units, the small one so many in the big one. */
static const char *print_pair(uint64_t small, unsigned per_big, const char *big_name,
	const char *small_name, char *out, size_t size)
{
	snprintf(out, size, "%llu %s %02u %s", (unsigned long long)(small / per_big), big_name,
		(unsigned)(small % per_big), small_name);
	return out;
}

const char *dn_human_duration(uint64_t ns, char *out, size_t size)
{

	if (ns < 1000) {
		snprintf(out, size, "%u ns", (unsigned)ns);
		return out;
	}
	if (ns < 1000000 && print_fixed(ns, 1000, 1000, 2, "us", out, size))
		return out;
	if (ns < NS_PER_S && print_fixed(ns, 1000000, 1000, 2, "ms", out, size))
		return out;
	if (ns < MINUTE && print_fixed(ns, NS_PER_S, 60, 2, "s", out, size))
		return out;
	if (scaled(ns, NS_PER_S, 0) < 3600)
		return print_pair(scaled(ns, NS_PER_S, 0), 60, "min", "s", out, size);
	if (scaled(ns, MINUTE, 0) < 1440)
		return print_pair(scaled(ns, MINUTE, 0), 60, "h", "min", out, size);
	return print_pair(scaled(ns, HOUR, 0), 24, "d", "h", out, size);
}

const char *dn_human_bytes(uint64_t bytes, char *out, size_t size)
{
	static const char *const units[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};

	if (bytes < 1024) {
		snprintf(out, size, "%u B", (unsigned)bytes);
		return out;
	}
	for (unsigned i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (print_fixed(bytes, UINT64_C(1) << 10 * (i + 1), 1024, 1, units[i], out, size))
			return out;
	}
	return out;
}

const char *dn_human_count(uint64_t count, char *out, size_t size)
{
	static const char *const units[] = {"M", "G", "T", "P", "E"};
	uint64_t unit = 1000000;

	if (count < 1000)
		snprintf(out, size, "%u", (unsigned)count);
	else if (count < 1000000)
		snprintf(out, size, "%u,%03u", (unsigned)(count / 1000), (unsigned)(count % 1000));
	else if (count <= 10000000)
		snprintf(out, size, "%u,%03u,%03u", (unsigned)(count / 1000000),
			(unsigned)(count / 1000 % 1000), (unsigned)(count % 1000));
	else
		for (unsigned i = 0; i < sizeof(units) / sizeof(units[0]); i++, unit *= 1000) {
			if (print_fixed(count, unit, 1000, 2, units[i], out, size))
				break;
		}
	return out;
}

const char *dn_human_percent(double percent, char *out, size_t size)
{
	if (!isfinite(percent) || percent < 0)
		snprintf(out, size, "-");
	else if (percent > 0 && percent < 0.05)
		snprintf(out, size, "<0.1 %%");
	else if (percent >= 1e12)
		snprintf(out, size, ">1e12 %%");
	else {
		uint64_t tenths = (uint64_t)(percent * 10 + 0.5);

		if (tenths < 1000)
			snprintf(out, size, "%u.%u %%", (unsigned)(tenths / 10),
				(unsigned)(tenths % 10));
		else
			snprintf(out, size, "%llu %%", (unsigned long long)(percent + 0.5));
	}
	return out;
}

const char *dn_human_signal(int signal, char *out, size_t size)
{
	const char *name = sigabbrev_np(signal);

	if (name)
		snprintf(out, size, "SIG%s", name);
	else if (signal == SIGRTMIN)
		snprintf(out, size, "SIGRTMIN");
	else if (signal > SIGRTMIN && signal <= SIGRTMAX)
		snprintf(out, size, "SIGRTMIN+%d", signal - SIGRTMIN);
	else
		snprintf(out, size, "signal %d", signal);
	return out;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of names on the command line: metrics, probe groups, and how often these are looked at. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <denet/fs.h>

#include "options.h"

#define SAMPLE_MAX 1000000
#define ALL_GROUPS (((UINT32_C(1) << DN_PROBES_N) - 1) & ~(UINT32_C(1) << DN_PROBES_NONE))

_Static_assert(DN_PROBES_N < 32, "a bit per group");

/* Rows that only exist once a run has begun. */
static bool is_dynamic(const char *word, size_t len)
{
	static const char *const families[] = {"hw.event", "hw.cpu_core", "hw.cpu_atom"};

	for (unsigned i = 0; i < sizeof(families) / sizeof(families[0]); i++) {
		size_t n = strlen(families[i]);

		if (len >= n && memcmp(word, families[i], n) == 0 && (len == n || word[n] == '.'))
			return true;
	}
	return false;
}

/* A whole name, or some of its first segments. */
static bool names(const char *word, size_t len, const char *metric)
{
	return strncmp(metric, word, len) == 0 && (metric[len] == '\0' || metric[len] == '.');
}

static int unknown_metric(const char *word, size_t len, struct dn_why *why)
{
	const char *candidates[DN_METRIC_MAX + 1], *near = NULL;
	char text[65], shown[96];
	unsigned n = 0;

	for (unsigned id = 0; id < dn_metric_count(); id++)
		candidates[n++] = dn_metric_info(id)->name;
	candidates[n] = NULL;
	if (len < sizeof(text)) {
		memcpy(text, word, len);
		text[len] = '\0';
		near = dn_nearest(text, candidates);
	}
	dn_text_safe(word, len, 40, shown, sizeof(shown));
	if (near)
		dn_why_set(why, "unknown metric '%s'; did you mean '%s'? See 'denet metrics'",
			shown, near);
	else
		dn_why_set(why, "unknown metric '%s'; see 'denet metrics'", shown);
	why->hint[0] = '\0';
	return -EINVAL;
}

/* The probe groups of the rows that word matches, and whether rows without a group do too. */
static uint32_t groups_of(const char *word, size_t len, bool *ret_whole, bool *ret_free)
{
	uint32_t groups = 0;

	*ret_whole = *ret_free = false;
	for (unsigned id = 0; id < DN_M_STATIC_N; id++) {
		const struct dn_metric_info *info = dn_metric_info(id);
		unsigned group = dn_metric_group(info);

		if (!names(word, len, info->name))
			continue;
		*ret_whole |= info->name[len] == '\0';
		*ret_free |= group == DN_PROBES_NONE;
		groups |= UINT32_C(1) << group;
	}
	return groups & ~(UINT32_C(1) << DN_PROBES_NONE);
}

/* What one word of the list switches on. */
static int add_groups(
	const char *word, size_t len, uint32_t *groups, uint32_t denied, struct dn_why *why)
{
	bool whole, without;
	uint32_t needed = groups_of(word, len, &whole, &without);
	unsigned group = DN_PROBES_NONE;
	char shown[96];

	if (needed == 0 || (without && !whole))
		return 0;
	*groups |= needed & ~denied;
	if (needed & ~denied)
		return 0;
	while (!(needed >> group & 1))
		group++;
	dn_text_safe(word, len, 40, shown, sizeof(shown));
	dn_why_set(why, "metric '%s' needs the probe group '%s', which --probes takes away", shown,
		dn_probes_info(group)->name);
	why->hint[0] = '\0';
	return -EINVAL;
}

static int check_metric_word(
	const char *word, size_t len, uint32_t *groups, uint32_t denied, struct dn_why *why)
{
	bool whole, without;

	if (len == 0) {
		dn_why_set(why, "the list of metrics has an empty name; see 'denet metrics'");
		why->hint[0] = '\0';
		return -EINVAL;
	}
	if (groups_of(word, len, &whole, &without) == 0 && !without && !is_dynamic(word, len))
		return unknown_metric(word, len, why);
	return add_groups(word, len, groups, denied, why);
}

int dn_options_metric_set(const char *list, uint32_t *groups, uint32_t denied,
	struct dn_metric_set *ret, struct dn_why *why)
{
	struct dn_metric_set set = {0};
	uint32_t on = *groups;
	size_t len;

	for (const char *word = list; word; word = word[len] == ',' ? word + len + 1 : NULL) {
		int r;

		len = strcspn(word, ",");
		r = check_metric_word(word, len, &on, denied, why);
		if (r < 0)
			return r;
	}
	for (unsigned id = 0; id < DN_METRIC_MAX; id++) {
		const struct dn_metric_info *info = id < DN_M_STATIC_N ? dn_metric_info(id) : NULL;
		unsigned group = info ? dn_metric_group(info) : DN_PROBES_NONE;
		bool named = !list || !info;

		for (const char *word = list; word && !named;
			word = word[len] == ',' ? word + len + 1 : NULL) {
			len = strcspn(word, ",");
			named = names(word, len, info->name);
		}
		if (named && (group == DN_PROBES_NONE || on >> group & 1))
			dn_metric_set_add(&set, id);
	}
	*groups = on;
	*ret = set;
	return 0;
}

/* Probe groups */

uint32_t dn_options_default_groups(void)
{
	uint32_t groups = 0;

	for (unsigned group = DN_PROBES_NONE + 1; group < DN_PROBES_N; group++) {
		if (dn_probes_info(group)->on)
			groups |= UINT32_C(1) << group;
	}
	return groups;
}

static int unknown_group(const char *word, size_t len, struct dn_why *why)
{
	const char *candidates[DN_PROBES_N + 2], *near = NULL;
	char text[65], shown[96], all[256] = "";
	size_t used = 0;
	unsigned n = 0;

	for (unsigned group = DN_PROBES_NONE + 1; group < DN_PROBES_N; group++) {
		candidates[n] = dn_probes_info(group)->name;
		used += (size_t)snprintf(all + used, used < sizeof(all) ? sizeof(all) - used : 0,
			"%s%s", n ? ", " : "", candidates[n]);
		n++;
	}
	candidates[n++] = "all";
	candidates[n++] = "none";
	candidates[n] = NULL;
	if (len < sizeof(text)) {
		memcpy(text, word, len);
		text[len] = '\0';
		near = dn_nearest(text, candidates);
	}
	dn_text_safe(word, len, 40, shown, sizeof(shown));
	if (near)
		dn_why_set(why, "unknown probe group '%s'; did you mean '%s'?", shown, near);
	else
		dn_why_set(why, "unknown probe group '%s'; there are %s", shown, all);
	why->hint[0] = '\0';
	return -EINVAL;
}

/* The bits that a word stands for; 0 when it is none. */
static uint32_t bits_of(const char *word, size_t len, bool with_all)
{
	if (with_all && len == 3 && memcmp(word, "all", 3) == 0)
		return ALL_GROUPS;
	for (unsigned group = DN_PROBES_NONE + 1; group < DN_PROBES_N; group++) {
		const char *name = dn_probes_info(group)->name;

		if (strlen(name) == len && memcmp(name, word, len) == 0)
			return UINT32_C(1) << group;
	}
	return 0;
}

int dn_options_probes(
	const char *list, uint32_t *ret_groups, uint32_t *ret_denied, struct dn_why *why)
{
	uint32_t groups = dn_options_default_groups(), denied = 0;
	size_t len;

	for (const char *word = list; word; word = word[len] == ',' ? word + len + 1 : NULL) {
		bool off = *word == '-';
		uint32_t bits;

		word += off;
		len = strcspn(word, ",");
		bits = bits_of(word, len, true);
		if (!off && len == 4 && memcmp(word, "none", 4) == 0) {
			off = true;
			bits = ALL_GROUPS;
		}
		if (bits == 0)
			return unknown_group(word, len, why);
		groups = off ? groups & ~bits : groups | bits;
		denied = off ? denied | bits : denied & ~bits;
	}
	*ret_groups = groups;
	*ret_denied = denied;
	return 0;
}

int dn_options_sample(const char *list, uint32_t *every, struct dn_why *why)
{
	size_t len;

	for (const char *word = list; word; word = word[len] == ',' ? word + len + 1 : NULL) {
		size_t name_len = strcspn(word, "=,");
		uint32_t bit = bits_of(word, name_len, false);
		const char *p = word + name_len;
		uint64_t n = 0;

		len = strcspn(word, ",");
		if (bit == 0)
			return unknown_group(word, name_len, why);
		if (strncmp(p, "=1/", 3) == 0)
			p += 3;
		if (p == word + name_len || dn_parse_u64(&p, &n) < 0 || p != word + len || n < 1 ||
			n > SAMPLE_MAX) {
			char shown[96];

			dn_text_safe(word, len, 40, shown, sizeof(shown));
			dn_why_set(why, "--sample takes GROUP=1/N with N from 1 to %u, not '%s'",
				SAMPLE_MAX, shown);
			why->hint[0] = '\0';
			return -EINVAL;
		}
		every[__builtin_ctz(bit)] = (uint32_t)n;
	}
	return 0;
}

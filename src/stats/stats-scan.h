/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A validating JSON scanner for recorded streams: one line at a time, one pass, no tree. It learns
 * the keys that it meets and where each is followed by which, so that in records of one kind a key
 * costs one comparison; what nobody wants is skipped, but checked all the same.
 */
#ifndef DENET_STATS_SCAN_H
#define DENET_STATS_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Readable bytes behind a line: its end ('\n') and what the word-wise comparisons may touch. */
#define DN_SCAN_PAD 64
#define DN_SCAN_DEPTH_MAX 64
#define DN_SCAN_KEY_MAX 200
#define DN_SCAN_NODES_MAX 4096
#define DN_SCAN_SLOTS_MAX 1024

enum dn_scan_type {
	DN_SCAN_NULL,
	DN_SCAN_BOOL,
	DN_SCAN_U64,
	DN_SCAN_NEGATIVE, /* an integer below zero; f64 has it, rounded when it must be */
	DN_SCAN_F64,
	DN_SCAN_HUGE, /* a number beyond what a double can hold */
	DN_SCAN_STRING,
	DN_SCAN_ARRAY,
};

struct dn_scan_value {
	uint32_t tag; /* what classify() said of the key */
	uint8_t type;
	uint64_t line; /* private: which line set it */
	union {
		bool boolean;
		uint64_t u64;
		double f64;
		struct {
			const char *text; /* the raw JSON, quotes or brackets included; lives as
					     long as the line */
			size_t len;
		};
	};
};

/* What to do with the value of a key; 0 skips it. */
enum dn_scan_want {
	DN_SCAN_KEEP = 1 << 0, /* scalars are kept */
	DN_SCAN_ENTER = 1 << 1, /* objects are entered */
	DN_SCAN_KEEP_ARRAY = 1 << 2, /* arrays are kept as raw text */
};

/*
 * Asked once for every key of an object that is entered; the outermost object has the tag 0.
 * Returns dn_scan_want flags and the key's own tag. key is decoded and not NUL-terminated.
 */
typedef unsigned (*dn_scan_classify)(
	void *user, uint32_t parent_tag, const char *key, size_t len, uint32_t *ret_tag);

struct dn_scan;
int dn_scan_new(dn_scan_classify classify, void *user, struct dn_scan **ret);
void dn_scan_free(struct dn_scan *scan);

/*
 * Scans line[0..len), which holds no newline; line[len] is '\n' and DN_SCAN_PAD bytes behind that
 * may be read. 0: valid JSON, and *ret_object says whether it is an object. -EBADMSG: not JSON;
 * *ret_reason says why and *ret_at where.
 */
int dn_scan_line(struct dn_scan *scan, const char *line, size_t len, bool *ret_object,
	const char **ret_reason, size_t *ret_at);

/* The values that the last line had, each place once (of repeated keys the last). */
size_t dn_scan_count(const struct dn_scan *scan);
const struct dn_scan_value *dn_scan_value(const struct dn_scan *scan, size_t i);

/*
 * Decodes a raw JSON string, quotes included, into out (NUL-terminated, cut to size between
 * characters; a NUL in the string becomes U+FFFD, as half surrogates do). Returns the length.
 */
size_t dn_scan_decode(const char *raw, size_t len, char *out, size_t size);
/* value is there, and a string without escapes that says word. */
bool dn_scan_is(const struct dn_scan_value *value, const char *word);
/* Decodes value if it is there and a string; else out stays as it is. */
void dn_scan_copy(const struct dn_scan_value *value, char *out, size_t size);
/* The next string of a raw array; *pos starts at 0. False at the end or at what is no string. */
bool dn_scan_next_string(
	const char *raw, size_t len, size_t *pos, const char **ret, size_t *ret_len);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A streaming JSON writer into a growing buffer: commas and nesting by itself, no tree in memory.
 * Output is always valid UTF-8 and one line: bytes that are not UTF-8 become U+FFFD, controls,
 * quote, backslash, U+2028 and U+2029 are escaped. Out of memory is sticky: check dn_json_error()
 * once at the end.
 */
#ifndef DENET_JSON_WRITER_H
#define DENET_JSON_WRITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DN_JSON_DEPTH_MAX 32

struct dn_json {
	char *data;
	size_t len, size;
	unsigned depth;
	bool error;
	bool need_comma[DN_JSON_DEPTH_MAX];
	bool after_key;
};

void dn_json_init(struct dn_json *json); /* no allocation yet */
void dn_json_finish(struct dn_json *json);
void dn_json_reset(struct dn_json *json); /* keeps the buffer */
int dn_json_error(
	const struct dn_json *json); /* 0, -ENOMEM, -EINVAL for nesting too deep or unbalanced */

void dn_json_object(struct dn_json *json);
void dn_json_object_end(struct dn_json *json);
void dn_json_array(struct dn_json *json);
void dn_json_array_end(struct dn_json *json);
void dn_json_key(struct dn_json *json, const char *key); /* NUL-terminated; escaped like a value */
void dn_json_key_n(struct dn_json *json, const char *key, size_t len);
void dn_json_u64(struct dn_json *json, uint64_t value);
void dn_json_i64(struct dn_json *json, int64_t value);
void dn_json_f64(struct dn_json *json,
	double value); /* shortest of up to 6 decimals; NaN and infinities become null */
void dn_json_bool(struct dn_json *json, bool value);
void dn_json_null(struct dn_json *json);
void dn_json_string(
	struct dn_json *json, const char *bytes); /* NUL-terminated; NULL becomes null */
void dn_json_string_n(struct dn_json *json, const char *bytes, size_t len);
/* key and value in one call */
void dn_json_put_u64(struct dn_json *json, const char *key, uint64_t value);
void dn_json_put_f64(struct dn_json *json, const char *key, double value);
void dn_json_put_bool(struct dn_json *json, const char *key, bool value);
void dn_json_put_string(struct dn_json *json, const char *key, const char *bytes);
void dn_json_newline(struct dn_json *json); /* ends a record; the next may follow */

/*
 * For callers that have rendered a part themselves: room for n bytes at data + len, to be written
 * at once and added to len by the caller; what is written must be valid at that place, commas
 * included. NULL after an error.
 */
char *dn_json_room(struct dn_json *json, size_t n);

/* Numbers as the stream spells them, not NUL-terminated; return the length. f64: 0 for NaN and
 * infinities. */
#define DN_FORMAT_U64_MAX 20
#define DN_FORMAT_F64_MAX 320
size_t dn_format_u64(uint64_t value, char *out);
size_t dn_format_f64(double value, char *out);

/* The bytes are valid UTF-8, so that writing them as a string loses nothing. */
bool dn_utf8_valid(const char *bytes, size_t len);

#endif

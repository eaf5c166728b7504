/* SPDX-License-Identifier: Apache-2.0 */
/* The JSON scanner: learned keys, values in one pass, everything else skipped but checked. */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <denet/fs.h>

#include "stats-decode.h"
#include "stats-scan.h"

#define HASH_SIZE 8192 /* a power of two, twice DN_SCAN_NODES_MAX */
#define ONES UINT64_C(0x0101010101010101)
#define HIGHS UINT64_C(0x8080808080808080)

/*
 * A key at its place. Nodes are never freed: their number is bounded, and keys that are not wanted
 * may use only half of the places, so that no flood of foreign keys keeps a known one out.
 */
struct node {
	char near[24]; /* the key, when it fits: one cache line less to fetch */
	char *key; /* raw, with quotes and colon, padded with zeros to a multiple of 8 */
	uint32_t len; /* without the padding */
	uint32_t hash; /* of the raw key and the parent */
	uint32_t parent;
	uint32_t first; /* predicted first key of this object, 0: none */
	uint32_t next; /* predicted key behind this one */
	uint32_t tag;
	uint32_t slot; /* 1 + index in value[], 0: none yet */
	uint8_t want;
};

struct dn_scan {
	dn_scan_classify classify;
	void *user;
	const char *end; /* of the line in work */
	const char *at; /* where it went wrong */
	const char *reason;
	uint64_t line;
	uint32_t n_nodes, n_unwanted;
	uint32_t n_values;
	uint32_t n_touched;
	uint32_t touched[DN_SCAN_SLOTS_MAX];
	struct dn_scan_value value[DN_SCAN_SLOTS_MAX];
	uint16_t table[HASH_SIZE];
	struct node node[DN_SCAN_NODES_MAX]; /* 0 is the outermost object */
};

static inline uint64_t load_le(const char *p)
{
	uint64_t word;

	memcpy(&word, p, sizeof(word));
	return le64toh(word);
}

static const char *fail(struct dn_scan *scan, const char *p, const char *reason)
{
	scan->at = p;
	scan->reason = reason;
	return NULL;
}

static inline const char *skip_space(const char *p)
{
	while (*p == ' ' || *p == '\t' || *p == '\r')
		p++;
	return p;
}

/* The length of the UTF-8 character at p, which is no ASCII; 0 when it is none. The line's end is
 * ASCII. */
static unsigned utf8_len(const unsigned char *p)
{
	if (p[0] >= 0xc2 && p[0] <= 0xdf)
		return (p[1] & 0xc0) == 0x80 ? 2 : 0;
	if ((p[0] & 0xf0) == 0xe0) {
		if ((p[1] & 0xc0) != 0x80 || (p[2] & 0xc0) != 0x80)
			return 0;
		if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f))
			return 0;
		return 3;
	}
	if (p[0] >= 0xf0 && p[0] <= 0xf4) {
		if ((p[1] & 0xc0) != 0x80 || (p[2] & 0xc0) != 0x80 || (p[3] & 0xc0) != 0x80)
			return 0;
		if ((p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
			return 0;
		return 4;
	}
	return 0;
}

static bool is_hex(char c)
{
	return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'f');
}

/* What is no plain ASCII in a string: an escape, a UTF-8 character. Returns behind it. */
static const char *odd_char(struct dn_scan *scan, const char *p)
{
	unsigned n;

	if (*p == '\\') {
		if (strchr("\"\\/bfnrt", p[1]) && p[1])
			return p + 2;
		if (p[1] != 'u')
			return fail(scan, p, "unknown escape in a string");
		for (unsigned i = 2; i < 6; i++) {
			if (!is_hex(p[i]))
				return fail(scan, p, "bad \\u escape in a string");
		}
		return p + 6;
	}
	if ((unsigned char)*p < 0x20)
		return p == scan->end ? fail(scan, p, "a string without its end")
				      : fail(scan, p, "a control character in a string");
	n = utf8_len((const unsigned char *)p);
	if (n == 0)
		return fail(scan, p, "not UTF-8");
	return p + n;
}

/* p is behind the opening quote; returns behind the closing one. */
static inline const char *skip_string(struct dn_scan *scan, const char *p)
{
	for (;;) {
		uint64_t w = load_le(p), quote = w ^ ONES * '"', back = w ^ ONES * '\\', stop;

		/* Bytes that end the run of plain characters; above the lowest such byte the bits
		 * may lie. */
		stop = ((quote - ONES) & ~quote) | ((back - ONES) & ~back) |
		       ((w - ONES * 0x20) & ~w) | w;
		stop &= HIGHS;
		if (stop == 0) {
			p += 8;
			/* The line's newline stops the run, so p never gets far behind the end. */
			continue;
		}
		p += (unsigned)__builtin_ctzll(stop) / 8;
		if (*p == '"')
			return p + 1;
		p = odd_char(scan, p);
		if (!p)
			return NULL;
	}
}

static inline const char *skip_digits(const char *p)
{
	while ((unsigned char)(*p - '0') < 10)
		p++;
	return p;
}

/* A number that nobody wants: only its grammar matters. */
static inline const char *skip_number(struct dn_scan *scan, const char *p)
{
	const char *digits;

	if (*p == '-')
		p++;
	digits = p;
	p = skip_digits(p);
	if (p == digits)
		return fail(scan, p, "a number without digits");
	if (*digits == '0' && p - digits > 1)
		return fail(scan, digits, "a number with a leading zero");
	if (*p == '.') {
		digits = ++p;
		p = skip_digits(p);
		if (p == digits)
			return fail(scan, p, "a number without digits behind its point");
	}
	if ((*p | 0x20) == 'e') {
		p++;
		if (*p == '+' || *p == '-')
			p++;
		digits = p;
		p = skip_digits(p);
		if (p == digits)
			return fail(scan, p, "a number without digits in its exponent");
	}
	return p;
}

static const char *literal(struct dn_scan *scan, const char *p)
{
	static const char *const word[] = {"true", "false", "null"};

	for (unsigned i = 0; i < 3; i++) {
		size_t n = strlen(word[i]);

		if ((size_t)(scan->end - p) >= n && memcmp(p, word[i], n) == 0)
			return p + n;
	}
	return fail(scan, p, p == scan->end ? "the line ends in mid-record" : "not a JSON value");
}

/* One key and its colon inside something that is skipped. */
static inline const char *skip_key(struct dn_scan *scan, const char *p)
{
	if (*p != '"')
		return fail(scan, p,
			p == scan->end ? "the line ends in mid-record" : "a key is missing");
	p = skip_string(scan, p + 1);
	if (!p)
		return NULL;
	p = skip_space(p);
	if (*p != ':')
		return fail(scan, p, "no ':' behind a key");
	return skip_space(p + 1);
}

/* Skips any value. depth: objects and arrays around it. The kinds of the open ones are bits, the
 * innermost lowest. */
static const char *skip_value(struct dn_scan *scan, const char *p, unsigned depth)
{
	uint64_t objects = 0;
	unsigned open = 0;

	for (;;) {
		/* A value begins here. */
		if (*p == '"') {
			p = skip_string(scan, p + 1);
		} else if (*p == '{' || *p == '[') {
			bool object = *p == '{';

			if (depth + open >= DN_SCAN_DEPTH_MAX)
				return fail(scan, p, "nested deeper than 64");
			open++;
			objects = objects << 1 | object;
			p = skip_space(p + 1);
			if (*p != (object ? '}' : ']')) {
				if (object)
					p = skip_key(scan, p);
				if (!p)
					return NULL;
				continue;
			}
		} else if (*p == '-' || (unsigned char)(*p - '0') < 10) {
			p = skip_number(scan, p);
		} else {
			p = literal(scan, p);
		}
		if (!p)
			return NULL;
		/* A value has ended, or an empty one stands before its closing bracket. */
		for (;;) {
			if (open == 0)
				return p;
			p = skip_space(p);
			if (*p == ',') {
				p = skip_space(p + 1);
				if (objects & 1)
					p = skip_key(scan, p);
				if (!p)
					return NULL;
				break;
			}
			if (*p != (objects & 1 ? '}' : ']'))
				return fail(scan, p,
					p == scan->end ? "the line ends in mid-record"
						       : "neither ',' nor a closing bracket");
			p++;
			objects >>= 1;
			open--;
		}
	}
}

static uint32_t hash_of(uint32_t parent, const char *raw, size_t len)
{
	uint32_t h = 2166136261u ^ parent * 0x9e3779b9u;

	for (size_t i = 0; i < len; i++)
		h = (h ^ (unsigned char)raw[i]) * 16777619u;
	return h ^ h >> 15;
}

/* Adds the key raw[0..len), quotes included; 0 when there is no place for it or it is not worth
 * one. */
static uint32_t learn(struct dn_scan *scan, uint32_t parent, const char *raw, size_t len,
	uint32_t hash, uint32_t place)
{
	char decoded[DN_SCAN_KEY_MAX + 8];
	struct node *node;
	uint32_t tag = 0;
	unsigned want;
	size_t n;

	if (len > DN_SCAN_KEY_MAX || scan->n_nodes == DN_SCAN_NODES_MAX)
		return 0;
	n = dn_scan_decode(raw, len, decoded, sizeof(decoded));
	want = scan->classify(scan->user, scan->node[parent].tag, decoded, n, &tag);
	if (!want && scan->n_unwanted >= DN_SCAN_NODES_MAX / 2)
		return 0;
	node = &scan->node[scan->n_nodes];
	node->key = len < sizeof(node->near) ? node->near : calloc(1, (len + 1 + 7) / 8 * 8);
	if (!node->key)
		return 0;
	memcpy(node->key, raw, len);
	node->key[len] = ':';
	node->len = (uint32_t)len + 1;
	node->hash = hash;
	node->parent = parent;
	node->tag = tag;
	node->want = (uint8_t)want;
	scan->n_unwanted += want == 0;
	scan->table[place] = (uint16_t)scan->n_nodes;
	return scan->n_nodes++;
}

static uint32_t look_up(struct dn_scan *scan, uint32_t parent, const char *raw, size_t len)
{
	uint32_t hash = hash_of(parent, raw, len), i;

	for (i = hash % HASH_SIZE; scan->table[i]; i = (i + 1) % HASH_SIZE) {
		const struct node *node = &scan->node[scan->table[i]];

		if (node->hash == hash && node->parent == parent && node->len == len + 1 &&
			memcmp(node->key, raw, len) == 0)
			return scan->table[i];
	}
	return learn(scan, parent, raw, len, hash, i);
}

/* Key bytes are compared in words; the padding behind the line makes that safe. */
static inline bool key_is(const struct node *node, const char *p)
{
	uint32_t i = 0;

	for (; i + 8 <= node->len; i += 8) {
		uint64_t a, b;

		memcpy(&a, node->key + i, 8);
		memcpy(&b, p + i, 8);
		if (a != b)
			return false;
	}
	if (i < node->len) {
		unsigned drop = 8 * (8 - (node->len - i));

		return (load_le(node->key + i) ^ load_le(p + i)) << drop == 0;
	}
	return true;
}

/*
 * The key at p in object parent, the key before it being previous (0: this is the first). Moves
 * behind the colon and the space there. *ret is 0 for a key that has no node.
 */
static inline const char *scan_key(
	struct dn_scan *scan, const char *p, uint32_t parent, uint32_t previous, uint32_t *ret)
{
	uint32_t *guess = previous ? &scan->node[previous].next : &scan->node[parent].first;
	const char *raw = p;

	if (*guess && key_is(&scan->node[*guess], p)) {
		*ret = *guess;
		return skip_space(p + scan->node[*guess].len);
	}
	if (*p != '"')
		return fail(scan, p,
			p == scan->end ? "the line ends in mid-record" : "a key is missing");
	p = skip_string(scan, p + 1);
	if (!p)
		return NULL;
	*ret = look_up(scan, parent, raw, (size_t)(p - raw));
	if (*ret)
		*guess = *ret;
	p = skip_space(p);
	if (*p != ':')
		return fail(scan, p,
			p == scan->end ? "the line ends in mid-record" : "no ':' behind a key");
	return skip_space(p + 1);
}

/* The place for a node's value in this line; NULL when there are too many. */
static inline struct dn_scan_value *take(struct dn_scan *scan, struct node *node)
{
	struct dn_scan_value *value;

	if (!node->slot) {
		if (scan->n_values == DN_SCAN_SLOTS_MAX)
			return NULL;
		node->slot = ++scan->n_values;
		scan->value[node->slot - 1].tag = node->tag;
	}
	value = &scan->value[node->slot - 1];
	if (value->line != scan->line) {
		value->line = scan->line;
		scan->touched[scan->n_touched++] = node->slot - 1;
	}
	return value;
}

static inline const char *keep_number(
	struct dn_scan *scan, struct dn_scan_value *value, const char *p)
{
	const char *start = p;

	/* Nearly every number is a short plain integer. */
	if ((unsigned char)(*p - '1') < 9 && dn_number_short(&p, &value->u64)) {
		value->type = DN_SCAN_U64;
		return p;
	}
	p = skip_number(scan, start);
	if (p)
		value->type = dn_number_parse(start, (size_t)(p - start), &value->u64, &value->f64);
	return p;
}

static const char *keep_value(
	struct dn_scan *scan, struct node *node, const char *p, unsigned depth)
{
	struct dn_scan_value *value = NULL;
	const char *start = p;

	if (*p == '[' ? node->want & DN_SCAN_KEEP_ARRAY : *p != '{' && node->want & DN_SCAN_KEEP)
		value = take(scan, node);
	if (!value)
		return skip_value(scan, p, depth);
	if (*p == '-' || (unsigned char)(*p - '0') < 10)
		return keep_number(scan, value, p);
	p = skip_value(scan, p, depth);
	if (!p)
		return NULL;
	if (*start == '"' || *start == '[') {
		value->type = *start == '"' ? DN_SCAN_STRING : DN_SCAN_ARRAY;
		value->text = start;
		value->len = (size_t)(p - start);
	} else if (*start == 'n') {
		value->type = DN_SCAN_NULL;
	} else {
		value->type = DN_SCAN_BOOL;
		value->boolean = *start == 't';
	}
	return p;
}

/* An object whose keys matter; p is behind its opening brace. Returns behind the closing one. */
static const char *scan_object(struct dn_scan *scan, const char *p, uint32_t parent, unsigned depth)
{
	uint32_t previous = 0, id;

	p = skip_space(p);
	if (*p == '}')
		return p + 1;
	for (;;) {
		p = scan_key(scan, p, parent, previous, &id);
		if (!p)
			return NULL;
		if (!id)
			p = skip_value(scan, p, depth);
		else if (*p == '{' && scan->node[id].want & DN_SCAN_ENTER &&
			 depth < DN_SCAN_DEPTH_MAX)
			p = scan_object(scan, p + 1, id, depth + 1);
		else
			p = keep_value(scan, &scan->node[id], p, depth);
		if (!p)
			return NULL;
		if (id)
			previous = id;
		p = skip_space(p);
		if (*p == ',') {
			p = skip_space(p + 1);
			continue;
		}
		if (*p == '}')
			return p + 1;
		return fail(scan, p,
			p == scan->end ? "the line ends in mid-record"
				       : "neither ',' nor '}' behind a value");
	}
}

int dn_scan_line(struct dn_scan *scan, const char *line, size_t len, bool *ret_object,
	const char **ret_reason, size_t *ret_at)
{
	const char *p = skip_space(line);
	bool object = *p == '{';

	scan->end = line + len;
	scan->line++;
	scan->n_touched = 0;
	p = object ? scan_object(scan, p + 1, 0, 1) : skip_value(scan, p, 0);
	if (p) {
		p = skip_space(p);
		if (p != scan->end)
			p = fail(scan, p, "something behind the record's end");
	}
	if (!p) {
		scan->n_touched = 0;
		*ret_reason = scan->reason;
		*ret_at = (size_t)(scan->at - line);
		return -EBADMSG;
	}
	*ret_object = object;
	return 0;
}

size_t dn_scan_count(const struct dn_scan *scan)
{
	return scan->n_touched;
}

const struct dn_scan_value *dn_scan_value(const struct dn_scan *scan, size_t i)
{
	return &scan->value[scan->touched[i]];
}

int dn_scan_new(dn_scan_classify classify, void *user, struct dn_scan **ret)
{
	struct dn_scan *scan = calloc(1, sizeof(*scan));

	if (!scan)
		return -ENOMEM;
	scan->classify = classify;
	scan->user = user;
	scan->n_nodes = 1;
	*ret = scan;
	return 0;
}

void dn_scan_free(struct dn_scan *scan)
{
	if (!scan)
		return;
	for (uint32_t i = 1; i < scan->n_nodes; i++)
		if (scan->node[i].key != scan->node[i].near)
			free(scan->node[i].key);
	free(scan);
}

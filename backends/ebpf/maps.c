/* SPDX-License-Identifier: Apache-2.0 */
/* Reading maps: in one call where the kernel can, key by key where not. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/bpf.h>

#include <denet/fs.h>

#include "ebpf.h"

#define BATCH 256
#define BATCH_BYTES ((size_t)1 << 20)

static size_t round8(size_t size)
{
	return (size + 7) & ~(size_t)7;
}

int dn_ebpf_read_percpu(const struct dn_ebpf *ebpf, int fd, uint32_t key, size_t value_size,
	void (*each)(void *arg, const void *value), void *arg)
{
	size_t stride = round8(value_size);
	char *values = calloc(ebpf->n_cpus, stride);
	int r = 0;

	if (!values)
		return -ENOMEM;
	if (bpf_map_lookup_elem(fd, &key, values) < 0)
		r = -errno;
	for (unsigned cpu = 0; r == 0 && cpu < ebpf->n_cpus; cpu++)
		each(arg, values + cpu * stride);
	free(values);
	return r;
}

int dn_ebpf_read_percpu_array(const struct dn_ebpf *ebpf, int fd, uint32_t entries,
	size_t value_size, void (*each)(void *arg, uint32_t key, const void *value), void *arg)
{
	size_t stride = round8(value_size), row = stride * ebpf->n_cpus;
	size_t fit = row < BATCH_BYTES ? BATCH_BYTES / row : 1;
	uint32_t most = fit < BATCH ? (uint32_t)fit : BATCH,
		 batch = entries < most ? entries : most;
	char *values = malloc(row * batch);
	uint32_t next = 0, in, *keys;
	bool whole = true; /* until the kernel says that it can't */
	int r = 0;

	keys = malloc(batch * sizeof(*keys));
	if (!values || !keys)
		r = -ENOMEM;
	for (uint32_t from = 0; r == 0 && from < entries;) {
		uint32_t n = entries - from < batch ? entries - from : batch;

		in = next;
		if (whole &&
			bpf_map_lookup_batch(fd, from ? &in : NULL, &next, keys, values, &n, NULL) <
				0 &&
			(errno != ENOENT || n == 0)) {
			whole = false;
			if (from)
				r = -errno;
			continue;
		}
		for (uint32_t i = 0; !whole && r == 0 && i < n; i++) {
			keys[i] = from + i;
			if (bpf_map_lookup_elem(fd, &keys[i], values + i * row) < 0)
				r = -errno;
		}
		for (uint32_t i = 0; r == 0 && i < n; i++) {
			for (unsigned cpu = 0; cpu < ebpf->n_cpus; cpu++)
				each(arg, keys[i], values + i * row + cpu * stride);
		}
		from += n;
	}
	free(values);
	free(keys);
	return r;
}

/* Walks by key: what is deleted or made meanwhile may be seen or not, nothing else twice. */
static int read_keys(int fd, size_t key_size, size_t row,
	int (*each)(void *arg, const void *key, const char *values), void *arg)
{
	char *key = calloc(2, key_size), *values = malloc(row), *next;
	bool first = true;
	int r = key && values ? 0 : -ENOMEM;

	next = key ? key + key_size : NULL;
	/* A key that is deleted under the walk starts it again: a bound, not a promise. */
	for (unsigned steps = 0; r == 0 && steps < 1u << 20; steps++) {
		if (bpf_map_get_next_key(fd, first ? NULL : key, next) < 0)
			break;
		first = false;
		memcpy(key, next, key_size);
		if (bpf_map_lookup_elem(fd, key, values) == 0)
			r = each(arg, key, values);
	}
	free(key);
	free(values);
	return r;
}

struct hash_walk {
	void (*each)(void *arg, const void *key, const void *value);
	void *arg;
	unsigned n_values;
	size_t stride;
};

static int hand_on(void *arg, const void *key, const char *values)
{
	const struct hash_walk *walk = arg;

	for (unsigned i = 0; i < walk->n_values; i++)
		walk->each(walk->arg, key, values + i * walk->stride);
	return 0;
}

/* A batch holds whole buckets: -ENOSPC asks for more room. */
static int read_batches(int fd, size_t key_size, size_t row, const struct hash_walk *walk)
{
	uint32_t batch = BATCH, n, cursor[16] = {0}, next[16] = {0};
	char *keys = NULL, *values = NULL;
	bool first = true;
	int r = 0;

	for (;;) {
		char *more_keys = realloc(keys, key_size * batch);
		char *more_values = more_keys ? realloc(values, row * batch) : NULL;

		keys = more_keys ? more_keys : keys;
		values = more_values ? more_values : values;
		if (!more_keys || !more_values) {
			r = -ENOMEM;
			break;
		}
		n = batch;
		r = bpf_map_lookup_batch(fd, first ? NULL : cursor, next, keys, values, &n, NULL) <
				    0
			    ? -errno
			    : 0;
		if (r == -ENOSPC && batch < 1u << 20) {
			batch *= 4;
			continue;
		}
		if (r < 0 && r != -ENOENT) {
			if (!first)
				r = -EIO; /* half of it was handed on */
			break;
		}
		for (uint32_t i = 0; i < n; i++)
			(void)hand_on((void *)walk, keys + i * key_size, values + i * row);
		if (r == -ENOENT) {
			r = 0;
			break;
		}
		first = false;
		memcpy(cursor, next, sizeof(cursor));
	}
	free(keys);
	free(values);
	return r;
}

static int read_hash(int fd, size_t key_size, const struct hash_walk *walk)
{
	size_t row = walk->stride * walk->n_values;
	int r = key_size <= sizeof(uint32_t) * 16 ? read_batches(fd, key_size, row, walk) : -EINVAL;

	if (r == -EINVAL || r == -EOPNOTSUPP || r == -524)
		r = read_keys(fd, key_size, row, hand_on, (void *)walk);
	return r;
}

int dn_ebpf_read_hash(int fd, size_t key_size, size_t value_size,
	void (*each)(void *arg, const void *key, const void *value), void *arg)
{
	struct hash_walk walk = {each, arg, 1, value_size};

	return read_hash(fd, key_size, &walk);
}

int dn_ebpf_read_percpu_hash(const struct dn_ebpf *ebpf, int fd, size_t key_size, size_t value_size,
	void (*each)(void *arg, const void *key, const void *value), void *arg)
{
	struct hash_walk walk = {each, arg, ebpf->n_cpus, round8(value_size)};

	return read_hash(fd, key_size, &walk);
}

void dn_ebpf_histogram_add(struct dn_histogram *into, const struct dn_wire_histogram *from)
{
	uint64_t count = 0;

	for (unsigned i = 0; i < DN_WIRE_BUCKETS; i++) {
		into->bucket[i] += from->bucket[i];
		count += from->bucket[i];
	}
	if (!count)
		return;
	if (!into->count || ~from->min_inverse < into->min)
		into->min = ~from->min_inverse;
	if (!into->count || from->max > into->max)
		into->max = from->max;
	into->count += count;
	into->sum = dn_add_sat(into->sum, from->sum);
}

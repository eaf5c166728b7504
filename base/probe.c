/* SPDX-License-Identifier: Apache-2.0 */
/* Answers of a backend's probe, and the arena that owns their strings. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <denet/arena.h>
#include <denet/backend.h>

struct chunk {
	struct chunk *next;
	char text[];
};

struct dn_arena {
	struct chunk *first;
};

struct dn_arena *dn_arena_new(void)
{
	return calloc(1, sizeof(struct dn_arena));
}

void dn_arena_free(struct dn_arena *arena)
{
	if (!arena)
		return;
	while (arena->first) {
		struct chunk *next = arena->first->next;

		free(arena->first);
		arena->first = next;
	}
	free(arena);
}

static const char *arena_vprintf(struct dn_arena *arena, const char *format, va_list args)
{
	char text[1024];
	struct chunk *chunk;
	size_t len;

	if (vsnprintf(text, sizeof(text), format, args) < 0)
		return "cannot be said";
	len = strlen(text);
	chunk = arena ? malloc(sizeof(*chunk) + len + 1) : NULL;
	if (!chunk)
		return "out of memory";
	memcpy(chunk->text, text, len + 1);
	chunk->next = arena->first;
	arena->first = chunk;
	return chunk->text;
}

const char *dn_arena_printf(struct dn_arena *arena, const char *format, ...)
{
	const char *text;
	va_list args;

	va_start(args, format);
	text = arena_vprintf(arena, format, args);
	va_end(args);
	return text;
}

const char *dn_probe_printf(struct dn_probe *probe, const char *format, ...)
{
	const char *text;
	va_list args;

	va_start(args, format);
	text = arena_vprintf(probe->arena, format, args);
	va_end(args);
	return text;
}

void dn_probe_offer(struct dn_probe *probe, unsigned metric, enum dn_quality quality,
	const char *source, const char *reason)
{
	if (metric >= DN_METRIC_MAX)
		return;
	probe->offer[metric] = (struct dn_offer){
		.fact = DN_FACT_OK, .quality = quality, .source = source, .reason = reason};
}

void dn_probe_refuse(struct dn_probe *probe, unsigned metric, enum dn_fact fact, const char *reason,
	const char *hint)
{
	if (metric >= DN_METRIC_MAX)
		return;
	probe->offer[metric] = (struct dn_offer){
		.fact = fact, .quality = DN_QUALITY_MISSING, .reason = reason, .hint = hint};
}

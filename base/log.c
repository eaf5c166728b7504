/* SPDX-License-Identifier: Apache-2.0 */
/* Messages on stderr, one line and one write() each, safe for a terminal. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <denet/log.h>

static bool quiet, debug;

void dn_log_set(bool set_quiet, bool set_debug)
{
	quiet = set_quiet;
	debug = set_debug;
}

static void say(const char *format, va_list args)
{
	char raw[1024], line[3 * sizeof(raw) + 16];
	size_t len;
	ssize_t n;
	int r;

	r = vsnprintf(raw, sizeof(raw), format, args);
	if (r < 0)
		return;
	memcpy(line, "denet: ", 7);
	len = 7 + dn_text_safe(raw, strlen(raw), 0, line + 7, sizeof(line) - 8);
	line[len++] = '\n';
	/* stderr may be gone; there is nobody left to tell. */
	n = write(STDERR_FILENO, line, len);
	(void)n;
}

void dn_error(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	say(format, args);
	va_end(args);
}

void dn_warn(const char *format, ...)
{
	va_list args;

	if (quiet)
		return;
	va_start(args, format);
	say(format, args);
	va_end(args);
}

void dn_debug(const char *format, ...)
{
	va_list args;

	if (!debug)
		return;
	va_start(args, format);
	say(format, args);
	va_end(args);
}

void dn_why_set(struct dn_why *why, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(why->text, sizeof(why->text), format, args);
	va_end(args);
}

void dn_why_hint(struct dn_why *why, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(why->hint, sizeof(why->hint), format, args);
	va_end(args);
}

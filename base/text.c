/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes of outside origin made safe for one terminal line. */
#include <stdint.h>
#include <string.h>

#include <denet/log.h>

/* Decodes one code point strictly; returns its length, or 0 when the bytes are not UTF-8. */
static size_t decode(const unsigned char *p, size_t left, uint32_t *ret)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	uint32_t c = p[0];
	size_t n;

	if (c < 0x80)
		n = 1;
	else if (c >= 0xc2 && c <= 0xdf)
		n = 2, c &= 0x1f;
	else if (c >= 0xe0 && c <= 0xef)
		n = 3, c &= 0x0f;
	else if (c >= 0xf0 && c <= 0xf4)
		n = 4, c &= 0x07;
	else
		return 0;
	if (n > left)
		return 0;
	for (size_t i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (p[i] & 0x3f);
	}
	if (c < least[n] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
		return 0;
	*ret = c;
	return n;
}

static bool is_unsafe(uint32_t c)
{
	return c < 0x20 || (c >= 0x7f && c <= 0x9f) || /* C0, DEL, C1 */
	       c == 0x061c || (c >= 0x200b && c <= 0x200f) ||
	       (c >= 0x2028 && c <= 0x202e) || /* zero width, bidi */
	       (c >= 0x2060 && c <= 0x2069) || c == 0xfeff || c == 0x00ad || c == 0x034f ||
	       c == 0x180e || (c >= 0xe000 && c <= 0xf8ff) || c >= 0xf0000 || /* private use */
	       (c >= 0xe0000 && c <= 0xe0fff) || (c >= 0xfff0 && c <= 0xfffb) ||
	       (c & 0xfffe) == 0xfffe;
}

/* Columns of a code point: wide East Asian and emoji take two, combining marks none. */
static size_t columns_of(uint32_t c)
{
	if ((c >= 0x300 && c <= 0x36f) || (c >= 0x1ab0 && c <= 0x1aff) ||
		(c >= 0x20d0 && c <= 0x20ff) || (c >= 0xfe00 && c <= 0xfe0f) ||
		(c >= 0xfe20 && c <= 0xfe2f))
		return 0;
	if ((c >= 0x1100 && c <= 0x115f) || (c >= 0x2e80 && c <= 0xa4cf) ||
		(c >= 0xac00 && c <= 0xd7a3) || (c >= 0xf900 && c <= 0xfaff) ||
		(c >= 0xfe30 && c <= 0xfe6f) || (c >= 0xff00 && c <= 0xff60) ||
		(c >= 0xffe0 && c <= 0xffe6) || (c >= 0x1f300 && c <= 0x1faff) ||
		(c >= 0x20000 && c <= 0x3fffd))
		return 2;
	return 1;
}

size_t dn_text_safe(const char *bytes, size_t len, size_t max_columns, char *out, size_t size)
{
	const unsigned char *p = (const unsigned char *)bytes;
	size_t used = 0, columns = 0, cut_len = 0;

	if (size == 0)
		return 0;
	for (size_t i = 0; i < len;) {
		uint32_t c;
		size_t n = decode(p + i, len - i, &c), width;
		const void *src = p + i;

		if (n == 0 || is_unsafe(c)) {
			n = n ? n : 1;
			src = "?";
			width = 1;
		} else {
			width = columns_of(c);
		}
		if (max_columns && columns + width > max_columns) {
			/* Back to where three columns are left for the dots. */
			used = cut_len;
			for (unsigned dots = 0; dots < 3 && dots < max_columns && used < size - 1;
				dots++)
				out[used++] = '.';
			break;
		}
		if (used + (src == (const void *)(p + i) ? n : 1) > size - 1)
			break;
		if (src == (const void *)(p + i)) {
			memcpy(out + used, src, n);
			used += n;
		} else {
			out[used++] = '?';
		}
		columns += width;
		if (max_columns >= 3 && columns <= max_columns - 3)
			cut_len = used;
		i += n;
	}
	out[used] = '\0';
	return used;
}

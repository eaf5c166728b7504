/* SPDX-License-Identifier: Apache-2.0 */
/*
 * badcomm N [HOLD=0]: takes the hostile name number N, as comm and as argv[0], stays for HOLD ms
 * and burns 7 ms. Truth: the name in hex.
 */
#include <sys/prctl.h>

#include "workload.h"

static const struct {
	const char *bytes;
	size_t len;
} names[] = {
#define NAME(s)                                                                                    \
	{                                                                                          \
		s, sizeof(s) - 1                                                                   \
	}
	NAME(") R 1 1 1 0"),
	NAME("a)b (c) d"),
	NAME("a\nb\nc"),
	NAME("\033[31m\033]0;x\007"),
	NAME("\xff\xfe\xc0\xaf"),
	NAME("\xe2\x82"),
	NAME("\"},{\"pid\":1"),
	NAME("<script>x</scri"),
	NAME("a\\b\"c"),
	NAME("\001\177\302\205\233x"),
	NAME(""),
	NAME("=cmd|' /C'!A0"),
	NAME("a\342\200\256b"),
	NAME("\t\r\v\f"),
	NAME("exactly15bytes_"),
	NAME("emoji__12345\xf0\x9f\x98"),
};

int main(int argc, char **argv)
{
	uint64_t n = argument(argc, argv, 1, 0), hold_ns = argument(argc, argv, 2, 0) * MS;
	char hex[64] = "";

	if (n >= sizeof(names) / sizeof(*names))
		return 98;
	if (argc < 4) {
		char *const args[] = {
			(char *)names[n].bytes, argv[1], argc > 2 ? argv[2] : "0", "renamed", NULL};

		execv("/proc/self/exe", args);
		die("execv");
	}
	if (prctl(PR_SET_NAME, names[n].bytes, 0, 0, 0) < 0)
		die("prctl");
	nap(hold_ns);
	burn(CLOCK_PROCESS_CPUTIME_ID, 7 * MS);
	for (size_t i = 0; i < names[n].len; i++)
		snprintf(hex + 2 * i, 3, "%02x", (unsigned char)names[n].bytes[i]);
	emit("{\"processes\":1,\"name_hex\":\"%s\"}", hex);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* write N FILE: N bytes in write() calls of 64 KiB, no fsync. Truth: bytes and calls. */
#include "workload.h"

int main(int argc, char **argv)
{
	static char data[65536];
	uint64_t n = argument(argc, argv, 1, 1000000), left = n, calls = 0;
	int fd = open(
		argc > 2 ? argv[2] : "/dev/null", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	if (fd < 0)
		die("open");
	memset(data, 'w', sizeof(data));
	while (left > 0) {
		size_t len = left < sizeof(data) ? (size_t)left : sizeof(data);

		if (write(fd, data, len) != (ssize_t)len)
			die("write");
		left -= len;
		calls++;
	}
	emit("{\"processes\":1,\"write_chars\":%llu,\"write_calls\":%llu}", (unsigned long long)n,
		(unsigned long long)calls);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* joincg FILE CMD...: writes its pid into FILE (a cgroup's cgroup.procs) and becomes the command:
 * nothing before it is charged. */
#include "workload.h"

int main(int argc, char **argv)
{
	char text[32];
	int fd, len;

	if (argc < 3)
		return 98;
	fd = open(argv[1], O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		die(argv[1]);
	len = snprintf(text, sizeof(text), "%d", (int)getpid());
	write_all(fd, text, (size_t)len);
	close(fd);
	execv(argv[2], argv + 2);
	die(argv[2]);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Keeps descriptors 0 to 2 occupied. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "stdio-guard.h"

static unsigned closed;

void dn_stdio_guard(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
		if (fcntl(fd, F_GETFD) >= 0 || errno != EBADF)
			continue;
		closed |= 1u << fd;
		/*
		 * The lowest free number is fd itself. Opened the wrong way round, so that what is
		 * written to a closed stdout fails instead of vanishing. Where there is no /dev,
		 * any folder does.
		 */
		if (open("/dev/null", (fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) | O_CLOEXEC) < 0)
			(void)!open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	}
}

unsigned dn_stdio_was_closed(void)
{
	return closed;
}

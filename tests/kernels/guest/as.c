/* SPDX-License-Identifier: Apache-2.0 */
/* as UID CMD [ARG...]: as this user and group, without further groups, capabilities or ways back.
 */
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	gid_t id = argc > 2 ? (gid_t)strtoul(argv[1], NULL, 10) : 0;

	if (argc < 3)
		return 98;
	if (id != 0 &&
		(setgroups(0, NULL) < 0 || setresgid(id, id, id) < 0 || setresuid(id, id, id) < 0 ||
			prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)) {
		perror("as");
		return 99;
	}
	execvp(argv[2], argv + 2);
	perror(argv[2]);
	return 127;
}

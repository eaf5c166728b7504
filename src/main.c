/* SPDX-License-Identifier: Apache-2.0 */
/* Where denet begins: descriptors, privileges, options, then one of the subcommands. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

#include "commands.h"
#include "stdio-guard.h"

/* A set-id denet would let its caller measure, and read the command lines of, what is not his. */
static bool is_setid(void)
{
	return getauxval(AT_SECURE) && (geteuid() != getuid() || getegid() != getgid());
}

/* What could not be printed must not look like success. */
static int finish_stdout(int status)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return status;
	dn_error("writing to stdout: %s", strerror(errno));
	return status ? status : DN_EXIT_ERROR;
}

int main(int argc, char **argv)
{
	struct dn_options options;
	struct dn_why why = {0};
	int status;

	dn_stdio_guard();
	if (is_setid()) {
		dn_error("refusing to run set-user-ID or set-group-ID; remove the bit with chmod "
			 "ug-s, "
			 "capabilities are set with setcap");
		return DN_EXIT_FAILED;
	}
	if (dn_options_parse(argc, argv, &options, &why) < 0) {
		dn_error("%s", why.text);
		return options.command == DN_COMMAND_RUN ? DN_EXIT_FAILED : DN_EXIT_USAGE;
	}
	dn_log_set(options.quiet, options.debug);
	switch (options.command) {
	case DN_COMMAND_RUN:
		status = dn_cmd_run(&options);
		break;
	case DN_COMMAND_ATTACH:
		status = dn_cmd_attach(&options);
		break;
	case DN_COMMAND_STATS:
		status = finish_stdout(dn_cmd_stats(&options));
		break;
	case DN_COMMAND_DOCTOR:
		status = finish_stdout(dn_cmd_doctor(&options));
		break;
	case DN_COMMAND_BPF:
		status = finish_stdout(dn_cmd_bpf(&options));
		break;
	case DN_COMMAND_METRICS:
		status = finish_stdout(dn_cmd_metrics(&options));
		break;
	case DN_COMMAND_VERSION:
		puts("denet " DENET_VERSION);
		status = finish_stdout(0);
		break;
	default:
		status = finish_stdout(dn_cmd_help(&options));
		break;
	}
	dn_options_finish(&options);
	return status;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* denet help, and --help of every subcommand. */
#include "commands.h"

int dn_cmd_help(const struct dn_options *options)
{
	if (dn_help_print(options->help_topic) < 0) {
		dn_error("there is no help about '%s'; see 'denet help'", options->help_topic);
		return DN_EXIT_USAGE;
	}
	return 0;
}

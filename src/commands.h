/* SPDX-License-Identifier: Apache-2.0 */
/* One function per subcommand, in cmd-*.c: gets parsed options, returns the exit status. */
#ifndef DENET_COMMANDS_H
#define DENET_COMMANDS_H

#include "options.h"

#define DN_EXIT_FAILED 125 /* denet itself failed (run) */
#define DN_EXIT_NOT_EXECUTABLE 126
#define DN_EXIT_NOT_FOUND 127
#define DN_EXIT_ERROR 1 /* the other subcommands */
#define DN_EXIT_USAGE 2

int dn_cmd_run(const struct dn_options *options);
int dn_cmd_attach(const struct dn_options *options);
int dn_cmd_stats(const struct dn_options *options);
int dn_cmd_doctor(const struct dn_options *options);
int dn_cmd_bpf(const struct dn_options *options);
int dn_cmd_metrics(const struct dn_options *options);
int dn_cmd_help(const struct dn_options *options);

#endif

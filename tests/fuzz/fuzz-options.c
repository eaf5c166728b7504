/* SPDX-License-Identifier: Apache-2.0 */
/* The command line: words that are separated by newlines, as hostile as they like. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <denet/metric.h>

#include "option-table.h"

#define WORDS_MAX 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int truth)
{
	if (!truth)
		abort();
}

/* What the rest of the program relies on. */
static void check(const struct dn_options *options)
{
	require(options->interval_ns >= 1000000 && options->interval_ns <= 3600000000000);
	require(options->max_interval_ns >= options->interval_ns);
	require(options->max_interval_ns <= 3600000000000);
	require(options->proc_root && *options->proc_root && options->sys_root && options->backend);
	require(options->color <= DN_COLOR_NEVER && options->format <= DN_FORMAT_CSV);
	if (options->command == DN_COMMAND_RUN)
		require(options->argv && options->argv[0]);
	if (options->command == DN_COMMAND_ATTACH)
		require((options->n_pids > 0) + !!options->name + !!options->cmdline +
				!!options->cgroup ==
			1);
	if (options->command == DN_COMMAND_STATS)
		require(options->file && *options->file);
	if (options->help_topic)
		require(dn_command_by_name(options->help_topic) != NULL);
	for (unsigned i = 0; i < options->n_pids; i++)
		require(options->pids[i] > 0 && options->pids[i] <= 4194304);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char program[] = "denet";
	char *argv[WORDS_MAX + 2] = {program};
	struct dn_options options;
	struct dn_metric_set set;
	uint32_t groups = dn_options_default_groups();
	struct dn_why why = {0};
	char *text = malloc(size + 1);
	int argc = 1;

	if (!text)
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	for (char *word = text; word && argc <= WORDS_MAX;) {
		char *end = strchr(word, '\n');

		if (end)
			*end = '\0';
		argv[argc++] = word;
		word = end ? end + 1 : NULL;
	}
	argv[argc] = NULL;
	if (dn_options_parse(argc, argv, &options, &why) == 0)
		check(&options);
	else
		require(why.text[0] && !strchr(why.text, '\n') && !strchr(why.text, '\033'));
	dn_options_finish(&options);
	if (argc > 1)
		(void)dn_options_metric_set(argv[argc - 1], &groups, 0, &set, &why);
	free(text);
	return 0;
}

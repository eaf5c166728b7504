/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes what is derived from the option table and is not part of the program: the option lists of
 * the man pages and the completions. Run by regenerate.py; not installed.
 */
#include <stdio.h>
#include <string.h>

#include <denet/metric.h>

#include "option-table.h"

static bool takes_value(const struct dn_option *row)
{
	return row->arg != NULL && row->kind != DN_OPTION_WATCH;
}

/* The first row of this name: before the subcommand any command's option is right. */
static bool is_first_of_name(unsigned index)
{
	for (unsigned i = 0; i < index; i++) {
		if (strcmp(dn_option_rows[i].name, dn_option_rows[index].name) == 0)
			return false;
	}
	return true;
}

/* Of command; with NONE each name of the whole table once. */
static bool is_of(unsigned index, enum dn_command command)
{
	if (command == DN_COMMAND_NONE)
		return is_first_of_name(index);
	return dn_option_rows[index].commands & 1u << command;
}

static void write_values(const char *values, const char *separator)
{
	const char *word;
	size_t len;

	for (unsigned n = 0; (word = dn_option_value(values, n, &len)); n++)
		printf("%s%.*s", n ? separator : "", (int)len, word);
}

/* Names and their first segments, each once. */
static void write_metrics(const char *separator)
{
	const char *before = "";

	for (unsigned id = 0; id < DN_M_STATIC_N; id++) {
		const char *name = dn_metric_info(id)->name;
		size_t len = strcspn(name, ".");

		if (strncmp(before, name, len) != 0 || before[len] != '.')
			printf("%s%.*s", id ? separator : "", (int)len, name);
		printf("%s%s", separator, name);
		before = name;
	}
}

static void write_escaped(const char *text, const char *special, const char *escape)
{
	for (; *text; text++) {
		if (strchr(special, *text))
			fputs(escape, stdout);
		putchar(*text);
	}
}

static void write_probes(const char *separator, bool with_minus)
{
	printf("all%snone", separator);
	for (unsigned group = DN_PROBES_NONE + 1; group < DN_PROBES_N; group++) {
		const char *name = dn_probes_info(group)->name;

		printf("%s%s", separator, name);
		if (with_minus)
			printf("%s-%s", separator, name);
	}
}

/* man: scdoc */

static void man_text(const char *text)
{
	write_escaped(text, "\\*_", "\\");
}

static void man_option(const struct dn_option *row)
{
	if (row->letter)
		printf("*-%c*, ", row->letter);
	printf("*--%s*", row->name);
	if (row->arg)
		printf(" _%s_", row->arg);
	printf("\n\t");
	man_text(row->help);
	if (row->values) {
		putchar(' ');
		write_values(row->values, ", ");
	}
	putchar('.');
	if (row->fallback)
		printf(" Default: %s.", row->fallback);
	if (row->more) {
		putchar(' ');
		man_text(row->more);
	}
	printf("\n\n");
	for (unsigned group = DN_PROBES_NONE + 1;
		row->kind == DN_OPTION_PROBES && group < DN_PROBES_N; group++) {
		const struct dn_probes_info *info = dn_probes_info(group);

		printf("\t*%s*%s\n\t\t", info->name, info->on ? " (on by default)" : "");
		man_text(info->help);
		printf("\n\n");
	}
}

static int write_man(const char *name)
{
	const struct dn_command_info *info = dn_command_by_name(name);
	unsigned bit = info ? 1u << info->command : 1u << DN_COMMAND_NONE;

	if (!info && strcmp(name, "denet") != 0)
		return 1;
	for (unsigned group = 0; group < DN_GROUP_N; group++) {
		for (unsigned i = 0; i < dn_n_option_rows; i++) {
			if (dn_option_rows[i].group == group && dn_option_rows[i].commands & bit)
				man_option(&dn_option_rows[i]);
		}
	}
	return 0;
}

/* bash */

static void bash_options(enum dn_command command)
{
	const char *space = "";

	for (unsigned i = 0; i < dn_n_option_rows; i++) {
		if (!is_of(i, command))
			continue;
		printf("%s--%s", space, dn_option_rows[i].name);
		space = " ";
		if (dn_option_rows[i].letter)
			printf(" -%c", dn_option_rows[i].letter);
	}
}

static void bash_pattern(const struct dn_option *row)
{
	if (row->letter)
		printf("-%c|", row->letter);
	printf("--%s", row->name);
}

static void bash_value(const struct dn_option *row)
{
	printf("\t");
	bash_pattern(row);
	printf(") ");
	switch (row->kind) {
	case DN_OPTION_CHOICE:
	case DN_OPTION_WORD:
		printf("COMPREPLY=($(compgen -W '");
		write_values(row->values, " ");
		printf("' -- \"$2\")) ;;\n");
		break;
	case DN_OPTION_METRICS:
		printf("_denet_list \"$2\" '");
		write_metrics(" ");
		printf("' ;;\n");
		break;
	case DN_OPTION_PROBES:
		printf("_denet_list \"$2\" '");
		write_probes(" ", true);
		printf("' ;;\n");
		break;
	case DN_OPTION_DIR:
		printf("compopt -o filenames; COMPREPLY=($(compgen -d -- \"$2\")) ;;\n");
		break;
	case DN_OPTION_FILE:
		printf("compopt -o filenames; COMPREPLY=($(compgen -f -- \"$2\")) ;;\n");
		break;
	default:
		printf("COMPREPLY=() ;;\n");
		break;
	}
}

static void bash_tables(void)
{
	const char *between = "";

	printf("# Options whose next word is a value.\n_denet_takes_value()\n{\n\tcase $1 in\n\t");
	for (unsigned i = 0; i < dn_n_option_rows; i++) {
		if (!takes_value(&dn_option_rows[i]) || !is_first_of_name(i))
			continue;
		fputs(between, stdout);
		bash_pattern(&dn_option_rows[i]);
		between = "|";
	}
	printf(") return 0 ;;\n\tesac\n\treturn 1\n}\n\n");

	printf("# Completes the last word of a list $1 by the words $2.\n"
	       "_denet_list()\n{\n"
	       "\tlocal head='' word=$1\n"
	       "\t[[ $word == *,* ]] && head=${word%%,*},\n"
	       "\tcompopt -o nospace\n"
	       "\tCOMPREPLY=($(compgen -P \"$head\" -W \"$2\" -- \"${word##*,}\"))\n}\n\n");

	printf("_denet_value()\n{\n\tcase $1 in\n");
	for (unsigned i = 0; i < dn_n_option_rows; i++) {
		if (takes_value(&dn_option_rows[i]) && is_first_of_name(i))
			bash_value(&dn_option_rows[i]);
	}
	printf("\tesac\n}\n\n");

	printf("_denet_options()\n{\n\tcase $1 in\n");
	for (unsigned i = 0; i < dn_n_command_rows; i++) {
		printf("\t%s) echo '", dn_command_rows[i].name);
		bash_options(dn_command_rows[i].command);
		printf("' ;;\n");
	}
	printf("\t*) echo '");
	bash_options(DN_COMMAND_NONE);
	printf("' ;;\n\tesac\n}\n\n");
}

static void write_commands(const char *separator)
{
	for (unsigned i = 0; i < dn_n_command_rows; i++)
		printf("%s%s", i ? separator : "", dn_command_rows[i].name);
}

static void write_bash(void)
{
	printf("# bash completion for denet, made from its option table; do not edit.\n"
	       "# shellcheck shell=bash disable=SC2207\n\n");
	bash_tables();
	fputs("_denet()\n{\n"
	      "\tlocal cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}\n"
	      "\tlocal command='' word i\n\n"
	      "\t# The shell takes --name=value for three words.\n"
	      "\tif [[ $cur == '=' ]]; then\n"
	      "\t\tcur=''\n"
	      "\telif [[ $prev == '=' ]]; then\n"
	      "\t\tprev=${COMP_WORDS[COMP_CWORD - 2]}\n"
	      "\tfi\n"
	      "\tfor ((i = 1; i < COMP_CWORD; i++)); do\n"
	      "\t\tword=${COMP_WORDS[i]}\n"
	      "\t\tif _denet_takes_value \"$word\"; then\n"
	      "\t\t\t[[ ${COMP_WORDS[i + 1]} == '=' ]] && ((i++))\n"
	      "\t\t\t((i++))\n"
	      "\t\telif [[ $word == -- && $command == run ]]; then\n"
	      "\t\t\t_denet_command $((i + 1))\n"
	      "\t\t\treturn\n"
	      "\t\telif [[ $word != -* && $command == run ]]; then\n"
	      "\t\t\t_denet_command \"$i\"\n"
	      "\t\t\treturn\n"
	      "\t\telif [[ $word != -* && -z $command ]]; then\n"
	      "\t\t\tcommand=$word\n"
	      "\t\tfi\n"
	      "\tdone\n"
	      "\tif _denet_takes_value \"$prev\"; then\n"
	      "\t\t_denet_value \"$prev\" \"$cur\"\n"
	      "\t\treturn\n"
	      "\tfi\n"
	      "\tif [[ $cur == -* ]]; then\n"
	      "\t\tCOMPREPLY=($(compgen -W \"$(_denet_options \"$command\")\" -- \"$cur\"))\n"
	      "\t\treturn\n"
	      "\tfi\n"
	      "\tcase $command in\n"
	      "\trun) _denet_command \"$COMP_CWORD\" ;;\n"
	      "\tstats) compopt -o filenames; COMPREPLY=($(compgen -f -- \"$cur\")) ;;\n"
	      "\tattach) COMPREPLY=($(compgen -W \"$(cd /proc && echo [0-9]*)\" -- \"$cur\")) ;;\n"
	      "\t'' | help) COMPREPLY=($(compgen -W '",
		stdout);
	write_commands(" ");
	fputs("' -- \"$cur\")) ;;\n"
	      "\tesac\n}\n\n"
	      "# The measured command begins at word $1.\n"
	      "_denet_command()\n{\n"
	      "\tif declare -F _comp_command_offset >/dev/null; then\n"
	      "\t\t_comp_command_offset \"$1\"\n"
	      "\telif declare -F _command_offset >/dev/null; then\n"
	      "\t\t_command_offset \"$1\"\n"
	      "\telif (($1 == COMP_CWORD)); then\n"
	      "\t\tCOMPREPLY=($(compgen -c -- \"${COMP_WORDS[COMP_CWORD]}\"))\n"
	      "\telse\n"
	      "\t\tcompopt -o filenames\n"
	      "\t\tCOMPREPLY=($(compgen -f -- \"${COMP_WORDS[COMP_CWORD]}\"))\n"
	      "\tfi\n}\n\n"
	      "complete -F _denet denet\n",
		stdout);
}

/* zsh */

static void zsh_text(const char *text)
{
	for (; *text; text++) {
		if (*text == '\'')
			fputs("'\\'", stdout);
		else if (strchr("[]:\\", *text))
			putchar('\\');
		putchar(*text);
	}
}

static void zsh_option(const struct dn_option *row)
{
	/* Attached values of one letter, words and = of a long name. */
	if (row->letter)
		printf("    '(-%c --%s)'{-%c%s,--%s%s}'[", row->letter, row->name, row->letter,
			row->arg ? "+" : "", row->name, row->arg ? "=" : "");
	else
		printf("    '--%s%s[", row->name, row->arg ? "=" : "");
	zsh_text(row->help);
	putchar(']');
	if (row->arg) {
		/* With a second colon it may be left out. */
		printf(row->kind == DN_OPTION_WATCH ? "::%s:" : ":%s:", row->arg);
		switch (row->kind) {
		case DN_OPTION_CHOICE:
		case DN_OPTION_WORD:
			putchar('(');
			write_values(row->values, " ");
			putchar(')');
			break;
		case DN_OPTION_METRICS:
			fputs("_denet_metrics", stdout);
			break;
		case DN_OPTION_PROBES:
			fputs("_denet_probes", stdout);
			break;
		case DN_OPTION_FILE:
			fputs("_files", stdout);
			break;
		case DN_OPTION_DIR:
			fputs("_files -/", stdout);
			break;
		default:
			break;
		}
	}
	printf("'\n");
}

static void zsh_array(const char *name, enum dn_command command)
{
	printf("  %s=(\n", name);
	for (unsigned i = 0; i < dn_n_option_rows; i++) {
		if (is_of(i, command))
			zsh_option(&dn_option_rows[i]);
	}
	printf("  )\n");
}

static void write_zsh(void)
{
	printf("#compdef denet\n# Made from the option table of denet; do not edit.\n\n"
	       "_denet_metrics() {\n  _values -s , metric ");
	write_metrics(" ");
	printf("\n}\n\n_denet_probes() {\n  _values -s , 'probe group' ");
	write_probes(" ", true);
	printf("\n}\n\n_denet_commands() {\n  local -a commands\n  commands=(\n");
	for (unsigned i = 0; i < dn_n_command_rows; i++) {
		printf("    '%s:", dn_command_rows[i].name);
		zsh_text(dn_command_rows[i].summary);
		printf("'\n");
	}
	printf("  )\n  _describe -t commands 'subcommand' commands\n}\n\n"
	       "_denet() {\n  local curcontext=$curcontext state line ret=1\n  local -a options\n"
	       "  typeset -A opt_args\n\n");
	zsh_array("options", DN_COMMAND_NONE);
	printf("  _arguments -C -s -S -A '-*' $options '1: :_denet_commands' '*:: :->command' && "
	       "ret=0\n"
	       "  [[ $state == command ]] || return ret\n"
	       "  curcontext=\"${curcontext%%:*:*}:denet-$words[1]:\"\n"
	       "  case $words[1] in\n");
	for (unsigned i = 0; i < dn_n_command_rows; i++) {
		printf("  %s)\n", dn_command_rows[i].name);
		zsh_array("options", dn_command_rows[i].command);
		printf("  _arguments -s -S ");
		switch (dn_command_rows[i].command) {
		case DN_COMMAND_RUN:
			printf("-A '-*' $options '(-)1:command: _command_names -e' "
			       "'*::arguments:_normal' && ret=0 ;;\n");
			break;
		case DN_COMMAND_ATTACH:
			printf("$options '*:process:_pids' && ret=0 ;;\n");
			break;
		case DN_COMMAND_STATS:
			printf("$options '1:stream:_files' && ret=0 ;;\n");
			break;
		case DN_COMMAND_HELP:
			printf("$options '1: :_denet_commands' && ret=0 ;;\n");
			break;
		default:
			printf("$options && ret=0 ;;\n");
			break;
		}
	}
	printf("  esac\n  return ret\n}\n\n_denet \"$@\"\n");
}

/* fish */

static void fish_option(const struct dn_option *row)
{
	printf("complete -c denet -n '__denet_takes");
	for (unsigned i = 0; i < dn_n_command_rows; i++) {
		if (row->commands & 1u << dn_command_rows[i].command)
			printf(" %s", dn_command_rows[i].name);
	}
	printf("' -l %s", row->name);
	if (row->letter)
		printf(" -s %c", row->letter);
	switch (row->kind) {
	case DN_OPTION_FLAG:
	case DN_OPTION_WATCH:
	case DN_OPTION_HELP:
	case DN_OPTION_VERSION:
		break;
	case DN_OPTION_CHOICE:
	case DN_OPTION_WORD:
		printf(" -xa '");
		write_values(row->values, " ");
		printf("'");
		break;
	case DN_OPTION_METRICS:
		printf(" -xa '(__fish_complete_list , __denet_metrics)'");
		break;
	case DN_OPTION_PROBES:
		printf(" -xa '(__fish_complete_list , __denet_probes)'");
		break;
	case DN_OPTION_FILE:
		printf(" -rF");
		break;
	case DN_OPTION_DIR:
		printf(" -xa '(__fish_complete_directories)'");
		break;
	default:
		printf(" -x");
		break;
	}
	printf(" -d '");
	write_escaped(row->help, "'\\", "\\");
	printf("'\n");
}

/* What the measured command of denet run is, and whether an option can still be one of denet. */
static void fish_functions(void)
{
	printf("# The words of the measured command so far.\n"
	       "function __denet_command_words\n"
	       "    set -l words (commandline -opc)\n"
	       "    set -l subcommand\n"
	       "    set -e words[1]\n"
	       "    while set -q words[1]\n"
	       "        switch $words[1]\n"
	       "            case");
	for (unsigned i = 0; i < dn_n_option_rows; i++) {
		if (!takes_value(&dn_option_rows[i]) || !is_first_of_name(i))
			continue;
		printf(" --%s", dn_option_rows[i].name);
		if (dn_option_rows[i].letter)
			printf(" -%c", dn_option_rows[i].letter);
	}
	printf("\n"
	       "                set -q words[2]; and set -e words[1]\n"
	       "            case '-*'\n"
	       "            case '*'\n"
	       "                if test \"$subcommand\" = run\n"
	       "                    printf '%%s\\n' $words\n"
	       "                    return\n"
	       "                end\n"
	       "                set subcommand $words[1]\n"
	       "        end\n"
	       "        set -e words[1]\n"
	       "    end\n"
	       "end\n\n"
	       "function __denet_command\n"
	       "    set -l words (__denet_command_words)\n"
	       "    set -l word (commandline -ct)\n"
	       "    test (count $words) -eq 0; and string match -q -- '-*' $word; and return\n"
	       "    complete -C (string join ' ' -- (string escape -- $words) $word)\n"
	       "end\n\n"
	       "# True before the subcommand, and behind each of those named.\n"
	       "function __denet_takes\n"
	       "    test (count (__denet_command_words)) -eq 0; or return 1\n"
	       "    __fish_use_subcommand; or __fish_seen_subcommand_from $argv\n"
	       "end\n\n");
}

static void write_fish(void)
{
	printf("# fish completion for denet, made from its option table; do not edit.\n\n");
	fish_functions();
	printf("function __denet_metrics\n"
	       "    printf '%%s\\n' ");
	write_metrics(" ");
	printf("\nend\n\nfunction __denet_probes\n"
	       "    printf '%%s\\n' ");
	write_probes(" ", true);
	printf("\nend\n\ncomplete -c denet -f\n");
	for (unsigned i = 0; i < dn_n_command_rows; i++) {
		printf("complete -c denet -n __fish_use_subcommand -a %s -d '",
			dn_command_rows[i].name);
		write_escaped(dn_command_rows[i].summary, "'\\", "\\");
		printf("'\n");
	}
	printf("complete -c denet -n '__fish_seen_subcommand_from run' "
	       "-xa '(__denet_command)'\n"
	       "complete -c denet -n '__fish_seen_subcommand_from attach' "
	       "-xa '(__fish_complete_pids)'\n"
	       "complete -c denet -n '__fish_seen_subcommand_from stats' -F\n"
	       "complete -c denet -n '__fish_seen_subcommand_from help' -xa '");
	write_commands(" ");
	printf("'\n");
	for (unsigned i = 0; i < dn_n_option_rows; i++)
		fish_option(&dn_option_rows[i]);
}

int main(int argc, char **argv)
{
	int r = 0;

	if (argc == 3 && strcmp(argv[1], "man") == 0)
		r = write_man(argv[2]);
	else if (argc == 2 && strcmp(argv[1], "bash") == 0)
		write_bash();
	else if (argc == 2 && strcmp(argv[1], "zsh") == 0)
		write_zsh();
	else if (argc == 2 && strcmp(argv[1], "fish") == 0)
		write_fish();
	else
		r = 1;
	if (r)
		fputs("usage: generate man denet|SUBCOMMAND | bash | zsh | fish\n", stderr);
	else if (fflush(stdout) != 0)
		r = 1;
	return r;
}

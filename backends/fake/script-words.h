/* SPDX-License-Identifier: Apache-2.0 */
/* The words of the fake backend's script: each of these takes the next one of the line, or puts
 * what is wrong with it into probe->reason and returns -EINVAL. */
#ifndef DENET_FAKE_SCRIPT_WORDS_H
#define DENET_FAKE_SCRIPT_WORDS_H

#include "script.h"

#define DN_FAKE_WORD_MAX 512

struct dn_fake_parser {
	const char *p, *end; /* of the line */
	unsigned line;
	const struct dn_env *env;
	struct dn_probe *probe;
	struct dn_fake_script *script;
	char word[DN_FAKE_WORD_MAX];
};

/* What is wrong, and the word that is. Always -EINVAL. */
int dn_fake_bad(struct dn_fake_parser *parser, const char *what, const char *word);
/* Next word into parser->word: 1, 0 at the end of the line, -EINVAL. */
int dn_fake_next_word(struct dn_fake_parser *parser);
int dn_fake_need_word(struct dn_fake_parser *parser, const char *what);
int dn_fake_end_of_line(struct dn_fake_parser *parser);
/* A text that lives as long as the probe; NULL when it is optional and not there. */
int dn_fake_take_text(
	struct dn_fake_parser *parser, const char *what, bool optional, const char **ret);
int dn_fake_metric_of(struct dn_fake_parser *parser, const char *name, unsigned *ret);
int dn_fake_take_metric(struct dn_fake_parser *parser, unsigned *ret);
int dn_fake_take_quality(struct dn_fake_parser *parser, enum dn_quality *ret);
int dn_fake_take_refusal(struct dn_fake_parser *parser, enum dn_fact *ret);
int dn_fake_take_error(struct dn_fake_parser *parser, int *ret);
int dn_fake_take_u64(
	struct dn_fake_parser *parser, const char *what, uint64_t min, uint64_t max, uint64_t *ret);
/* event: it may be "none". */
int dn_fake_take_pid(struct dn_fake_parser *parser, const char *what, bool event, pid_t *ret);

#endif

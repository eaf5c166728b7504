/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events that no program saw. The kernel runs no program on top of itself on one CPU: what an
 * interrupt brings while it runs is not seen, and where programs can be preempted (Linux 7),
 * nothing of what other threads do on that CPU until the preempted one goes on. The kernel counts
 * it, of the whole machine, for it happens before a program could ask who it is. Hooks without
 * which all of a process would be missing have a second program there, NAME_again.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include <bpf/bpf.h>

#include <denet/fs.h>

#include "ebpf.h"

/* The one thing that is asked of the version: no name in the kernel's BTF tells it. */
bool dn_ebpf_is_preempted(void)
{
	struct utsname name;

	return uname(&name) == 0 && strtoul(name.release, NULL, 10) >= 7;
}

static uint64_t misses_of(const struct dn_ebpf_program *program)
{
	struct bpf_prog_info info = {0};
	uint32_t len = sizeof(info);

	/* 0 before 5.12, which does not count them. */
	if (program->link < 0 || program->fd < 0 ||
		bpf_obj_get_info_by_fd(program->fd, &info, &len) < 0)
		return 0;
	return info.recursion_misses;
}

bool dn_ebpf_has_word(const char *words, const char *word)
{
	size_t len = strlen(word);

	while (words && *words) {
		size_t n = strcspn(words, " ");

		if (n == len && memcmp(words, word, len) == 0)
			return true;
		words += n + (words[n] == ' ');
	}
	return false;
}

static void degrade(struct dn_ebpf *ebpf, const char *program)
{
	for (unsigned i = 0; i < dn_n_ebpf_groups; i++) {
		const struct dn_ebpf_group *group = dn_ebpf_groups[i];

		for (unsigned m = 0; dn_ebpf_on(ebpf, group->id) && m < group->n_metrics; m++) {
			if (dn_ebpf_has_word(group->metric[m].programs, program))
				dn_ebpf_degrade(ebpf, group->metric[m].metric,
					DN_QUALITY_LOWER_BOUND,
					"some events came while the program that counts them was "
					"at work on the same CPU: the kernel leaves them out");
		}
	}
}

void dn_ebpf_misses_begin(struct dn_ebpf *ebpf)
{
	for (unsigned i = 0; i < ebpf->objects.n_programs; i++)
		ebpf->missed[i] = misses_of(&ebpf->objects.program[i]);
}

/* That no program has: a hook that there is twice lacks at most what both did not see. */
static uint64_t unseen_by(const struct dn_ebpf *ebpf, const uint64_t *missed, unsigned i)
{
	static const char suffix[] = "_again";
	const struct dn_ebpf_program *program = &ebpf->objects.program[i], *again;
	size_t len = strlen(program->name), end = sizeof(suffix) - 1;
	char name[64];
	unsigned j;

	if (len > end && strcmp(program->name + len - end, suffix) == 0)
		return 0; /* its first one tells */
	snprintf(name, sizeof(name), "%s%s", program->name, suffix);
	again = dn_ebpf_program(&ebpf->objects, name);
	if (!again || again->link < 0)
		return missed[i];
	j = (unsigned)(again - ebpf->objects.program);
	return missed[i] < missed[j] ? missed[i] : missed[j];
}

void dn_ebpf_misses_tell(struct dn_ebpf *ebpf)
{
	uint64_t missed[DN_EBPF_PROGRAMS_MAX], more = 0;

	for (unsigned i = 0; i < ebpf->objects.n_programs; i++)
		missed[i] = dn_sub_sat(misses_of(&ebpf->objects.program[i]), ebpf->missed[i]);
	for (unsigned i = 0; i < ebpf->objects.n_programs; i++) {
		uint64_t unseen = missed[i];

		if (unseen > ebpf->unseen[i])
			unseen = unseen_by(ebpf, missed, i);
		if (unseen <= ebpf->unseen[i])
			continue;
		more += unseen - ebpf->unseen[i];
		ebpf->unseen[i] = unseen;
		degrade(ebpf, ebpf->objects.program[i].name);
	}
	if (more)
		ebpf->core->lost(ebpf->core, "ebpf programs at work", more);
}

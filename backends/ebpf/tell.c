/* SPDX-License-Identifier: Apache-2.0 */
/* Records of the ring that become events of the stream. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <denet/log.h>

#include "ebpf.h"

void dn_ebpf_tell(struct dn_ebpf *ebpf, enum dn_event_type type,
	const struct dn_wire_record *record, const char *format, ...)
{
	const struct dn_process *process = dn_tree_find(ebpf->core->tree, (pid_t)record->pid);
	char text[512];
	size_t len = 0;
	va_list args;

	/* Nobody to point at: the text says who it was. */
	if (!process) {
		len = dn_text_safe(
			record->comm, strnlen(record->comm, sizeof(record->comm)), 0, text, 128);
		len += (size_t)snprintf(
			text + len, sizeof(text) - len, "[%u]: ", (unsigned)record->pid);
	}
	va_start(args, format);
	vsnprintf(text + len, sizeof(text) - len, format, args);
	va_end(args);
	len = strlen(text);
	if (record->value > 1)
		snprintf(text + len, sizeof(text) - len, " (%u times since it was last told)",
			(unsigned)record->value);
	ebpf->core->event(ebpf->core, type, process, record->t_ns, text);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzz harness: what the kernel (or somebody in its place) says of sockets. The first byte chooses
 * the parser. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "sockdiag/message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void messages(const uint8_t *data, size_t size)
{
	enum dn_message_kind kind;

	do {
		struct dn_tcp tcp;
		uint32_t seq;
		size_t before = size;
		int error = 0;

		kind = dn_message_next(&data, &size, &seq, &tcp, &error);
		if (kind != DN_MESSAGE_END && size >= before)
			abort(); /* stands still */
		if (kind == DN_MESSAGE_ERROR && error >= 0)
			abort();
		if (kind == DN_MESSAGE_TCP && !tcp.has_info && tcp.sent != 0)
			abort();
	} while (kind != DN_MESSAGE_END);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct dn_snmp snmp;
	uint32_t inode;
	char *text;

	if (size == 0)
		return 0;
	text = malloc(size);
	if (!text)
		return 0;
	memcpy(text, data + 1, size - 1);
	text[size - 1] = '\0';
	switch (data[0] % 3) {
	case 0:
		/* A copy of its own, so that every byte too far is seen. */
		messages((const uint8_t *)text, size - 1);
		break;
	case 1:
		(void)dn_snmp_parse(text, &snmp);
		break;
	default:
		(void)dn_socket_inode(text, size - 1, &inode);
		break;
	}
	free(text);
	return 0;
}

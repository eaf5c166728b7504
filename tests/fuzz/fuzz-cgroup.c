/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzz harness: the texts of the machine's facts. The first byte chooses the parser, the rest is
 * its text. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <denet/machine.h>

#include "host.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const controllers[] = {NULL, "memory", "cpu", "name=systemd", "*"};
	static struct dn_mount mount;
	char out[64];
	const char *below;
	double ratio;
	int version;
	char *text;

	if (size < 2)
		return 0;
	text = malloc(size);
	if (!text)
		return 0;
	memcpy(text, data + 1, size - 1);
	text[size - 1] = '\0';
	switch (data[0] % 6) {
	case 0:
		for (size_t i = 0; i < sizeof(controllers) / sizeof(controllers[0]); i++) {
			if (dn_cgroup_parse(text, controllers[i], &version, out, sizeof(out)) ==
					0 &&
				(out[0] != '/' || (version != 1 && version != 2)))
				abort();
		}
		break;
	case 1:
		if (dn_cgroup_parse_cpu_max(text, &ratio) == 0 && ratio != ratio)
			abort();
		break;
	case 2:
		if (dn_mount_parse(text, &mount) == 0 &&
			dn_cgroup_below(mount.root, mount.point, &below) == 0 &&
			strncmp(below, "../", 3) == 0)
			abort();
		break;
	case 3:
		dn_machine_parse_cpuinfo(text, out, sizeof(out));
		if (!memchr(out, '\0', sizeof(out)))
			abort();
		break;
	case 4:
		if (dn_machine_parse_cpu_list(text) > 65536)
			abort();
		break;
	default:
		dn_parse_bracketed(text, out, sizeof(out));
		if (strchr(out, ']'))
			abort();
		break;
	}
	free(text);
	return 0;
}

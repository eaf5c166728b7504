/* SPDX-License-Identifier: Apache-2.0 */
/* filecaps FILE: what setcap cap_bpf,cap_perfmon+ep does, which is an extended attribute. */
#include <endian.h>
#include <linux/capability.h>
#include <stdio.h>
#include <sys/xattr.h>

int main(int argc, char **argv)
{
	struct vfs_cap_data data = {
		.magic_etc = htole32(VFS_CAP_REVISION_2 | VFS_CAP_FLAGS_EFFECTIVE)};

	data.data[CAP_BPF / 32].permitted |= htole32(1u << CAP_BPF % 32);
	data.data[CAP_PERFMON / 32].permitted |= htole32(1u << CAP_PERFMON % 32);
	if (argc < 2 || setxattr(argv[1], "security.capability", &data, sizeof(data), 0) < 0) {
		perror("filecaps");
		return 1;
	}
	return 0;
}

# SPDX-License-Identifier: Apache-2.0
"""Runs at build time: object files to a C source that holds them.  embed.py OUTPUT FILE...

process.hash.stripped.o is the object "process" in its variant "hash".
"""
import pathlib
import sys

output, *objects = map(pathlib.Path, sys.argv[1:])
lines = ["/* made by bpf/embed.py */", '#include "object.h"']
rows = []
for n, path in enumerate(objects):
    data = path.read_bytes()
    lines.append(f"static const unsigned char image_{n}[] __attribute__((aligned(8))) = {{")
    lines += [",".join(map(str, data[at:at + 32])) + "," for at in range(0, len(data), 32)]
    lines.append("};")
    name, variant = path.name.split(".")[:2]
    rows.append(f'\t{{"{name}", {int(variant == "hash")}, image_{n}, sizeof(image_{n})}},')
lines += ["const struct dn_ebpf_image dn_ebpf_images[] = {", *rows, "};", f"const unsigned dn_n_ebpf_images = {len(objects)};"]
output.write_text("\n".join(lines) + "\n")

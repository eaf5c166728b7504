#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the files that are made from the registry and the option table, or checks that they are up to date.

regenerate.py [--check] DENET GENERATE
    DENET     the built program
    GENERATE  the built docs/generate
"""

import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGES = ["denet", "denet-run", "denet-attach", "denet-stats", "denet-doctor", "denet-metrics", "denet-bpf"]
REGION = re.compile(r"(?<=; options: made from the option table, do not edit\n).*?(?=; options end\n)", re.DOTALL)


def output(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def main():
    arguments = sys.argv[1:]
    check = arguments[:1] == ["--check"]
    if check:
        arguments.pop(0)
    if len(arguments) != 2:
        sys.exit(__doc__)
    denet, generate = arguments
    wanted = {
        "docs/metrics.md": output(denet, "metrics", "--markdown"),
        "docs/schema.json": output(denet, "metrics", "--schema"),
        "completions/denet.bash": output(generate, "bash"),
        "completions/_denet": output(generate, "zsh"),
        "completions/denet.fish": output(generate, "fish"),
    }
    for page in PAGES:
        path = f"docs/man/{page}.1.scd"
        options = output(generate, "man", page.removeprefix("denet-"))
        text, n = REGION.subn(lambda _: "\n" + options, (ROOT / path).read_text())
        if n != 1:
            sys.exit(f"{path}: expected one region of options, found {n}")
        wanted[path] = text
    stale = [path for path, text in wanted.items() if not (ROOT / path).exists() or (ROOT / path).read_text() != text]
    for path in stale:
        if check:
            print(f"{path} is out of date: run docs/regenerate.py DENET GENERATE", file=sys.stderr)
        else:
            (ROOT / path).write_text(wanted[path])
            print(f"wrote {path}")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())

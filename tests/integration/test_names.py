# SPDX-License-Identifier: Apache-2.0
"""Names are bytes that somebody else chose: no sink lets them change what it says."""
import csv
import io
import json
import os
import pathlib
import re
import subprocess

import pytest
from conftest import wait_until

COUNT = 16
# What a terminal or a person could be misled by: C0 but newline, DEL, C1, bidi and zero-width controls, as UTF-8 or raw.
DANGEROUS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069\u061c\ufeff\ue000-\uf8ff]")


def bad_names(denet, n):
    return ["sh", "-c", f"{denet.workload('badcomm')} {n}; true"]


def assert_safe(data):
    text = data.decode("utf-8", "strict")
    assert not DANGEROUS.search(text), ascii(DANGEROUS.search(text).group())


@pytest.mark.parametrize("n", range(COUNT))
def test_in_the_stream(denet, n):
    result = denet.run([denet.workload("badcomm"), str(n), "60"], ["--per-process", "--process-events", "-i", "10"])
    assert result.rc == 0
    raw = bytes.fromhex(result.truth["name_hex"])[:15]
    shown = raw.decode("utf-8", "replace")
    rows = [p for s in result.samples for p in s["processes"]] + result.summary["processes"]
    rows = [row for row in rows if row["name"] != "badcomm"]
    names = [row["name"] for row in rows]
    assert shown in names or any(row.get("name_hex") == raw.hex() for row in rows), (shown, set(names))
    for row in rows:
        if "\ufffd" in row["name"]:
            assert bytes.fromhex(row["name_hex"])


@pytest.mark.parametrize("n", range(COUNT))
def test_in_the_summary_for_people(denet, n):
    result = denet.call("run", "--", *bad_names(denet, n))
    assert result.rc == 0
    assert_safe(result.stderr)


@pytest.mark.parametrize("n", range(COUNT))
def test_in_csv(denet, n):
    path = denet.path("x.csv")
    assert denet.call("run", "-q", "-i", "10", "-o", path, "--", *bad_names(denet, n)).rc == 0
    data = pathlib.Path(path).read_bytes()
    assert_safe(data.replace(b"\r", b""))
    rows = list(csv.reader(io.StringIO(data.decode())))
    assert len({len(row) for row in rows}) == 1
    assert not any(cell[:1] in "=+-@" and cell for row in rows for cell in row)


@pytest.mark.parametrize("n", range(COUNT))
def test_in_stats(denet, n):
    path = denet.path("names.jsonl")
    assert denet.call("run", "-q", "-o", path, "--", denet.workload("badcomm"), str(n), "20").rc == 0
    result = denet.call("stats", path)
    assert result.rc == 0
    assert_safe(result.stdout + result.stderr)
    json.loads(denet.call("stats", path, "--json").stdout)


@pytest.mark.parametrize("n", range(COUNT))
def test_attach_to_it(denet, background, n):
    process = background([denet.workload("badcomm"), str(n), "1500"])
    wait_until(lambda: pathlib.Path(f"/proc/{process.pid}/comm").read_bytes() not in (b"badcomm\n", b"python3\n", b"pytest\n"))
    attached = denet.attach_start([str(process.pid)], ["-i", "20"])
    result = denet.finish(attached, attached.out)
    assert result.rc == 0
    assert_safe(result.stderr)
    assert result.value("cpu.total_ns") >= 7e6 * 0.99


@pytest.mark.parametrize("name", [b"new\nline", b"\x1b[31mred", b"\xff\xfe", b") R 1 1", b"\xe2\x80\xaebidi", b"quote\"back\\slash", b"tab\there", b"=cmd"], ids=range(8))
def test_paths_and_arguments(denet, name):
    """Executable, argument and current folder with such a name."""
    folder = os.path.join(os.fsencode(denet.folder), b"dir-" + name)
    os.mkdir(folder)
    program = os.path.join(folder, name)
    with open(denet.workload("badcomm"), "rb") as source, open(program, "wb") as copy:
        copy.write(source.read())
    os.chmod(program, 0o755)
    out = denet.path("paths.jsonl")
    process = denet.popen([os.fsencode(denet.program), b"run", b"-o", os.fsencode(out), b"--", program, b"8", b"0", name], cwd=folder)
    result = denet.finish(process, out)
    assert result.rc == 0
    assert_safe(result.stderr)
    assert result.header["command"][0] == program.decode("utf-8", "replace")
    assert result.header["cwd"] == folder.decode("utf-8", "replace")
    missing = denet.finish(denet.popen([os.fsencode(denet.program), b"run", b"--", program + b"-not"], cwd=folder))
    assert missing.rc == 127
    assert_safe(missing.stderr)
    unwritable = denet.finish(denet.popen([os.fsencode(denet.program), b"run", b"-o", program + b"/x", b"--", b"true"], cwd=folder))
    assert unwritable.rc == 125
    assert_safe(unwritable.stderr)


def test_a_thread_name(denet):
    script = "import threading, ctypes\ndef f():\n ctypes.CDLL(None).prctl(15, b'a\\n\\x1b[1m', 0, 0, 0)\n[0 for _ in range(3000000)]\nt = threading.Thread(target=f); t.start(); t.join()"
    result = denet.run(["/usr/bin/python3", "-c", script], ["--per-process", "-i", "10"])
    assert result.rc == 0
    assert_safe(result.stderr)


def test_strict_readers_take_it(denet):
    """jq and a strict parser read all names in one stream."""
    script = "; ".join(f"{denet.workload('badcomm')} {n} >/dev/null" for n in range(COUNT))
    out = denet.path("all.jsonl")
    assert denet.call("run", "-q", "--process-events", "-o", out, "--", "sh", "-c", script).rc == 0
    jq = subprocess.run(["jq", "-e", "-c", ".kind"], stdin=open(out, "rb"), capture_output=True)
    assert jq.returncode == 0, jq.stderr
    assert len(jq.stdout.split()) == pathlib.Path(out).read_bytes().count(b"\n")

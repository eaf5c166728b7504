# SPDX-License-Identifier: Apache-2.0
"""Recorded machines: what denet makes of them is the same bytes on every machine.

GOLDEN_UPDATE=1 writes what is expected anew; read the difference before you commit it.
"""
import difflib
import json
import os
import pathlib
import re
import shutil

import pytest

from conftest import ROOT, leaves

pytestmark = pytest.mark.short

FIXTURES = ROOT / "tests" / "fixtures"
GOLDEN = ROOT / "tests" / "golden"
# Others' files: git keeps no mode that would refuse them.
UNREADABLE = {"hidden": ["proc/313/io", "proc/313/smaps_rollup", "proc/313/fd", "proc/317"]}
CASES = {  # name: machine, arguments
    "tree": ("tree", ["211", "--per-process"]),
    "own": ("tree", ["223", "--no-children", "--per-process"]),
    "container": ("container", ["--cgroup", "/app"]),
    "hidden": ("hidden", ["311", "--per-process"]),
    "old": ("hidden", ["331", "--per-process"]),
}
# Of the denet that looks and the moment it does so.
OF_NOW = [
    (rb'("denet|"time|"cwd)":"(?:[^"\\]|\\.)*"', rb'\1":"-"'),
    (rb'("self":\{"cpu_ns"):\d+', rb"\1:1"),
]


@pytest.fixture
def machine(denet):
    """Copies a recorded machine to where everybody may read it, but for what is meant to be unreadable."""
    locked = []

    def copy(name):
        folder = pathlib.Path(denet.path("machine"))
        shutil.copytree(FIXTURES / f"machine-{name}", folder, symlinks=True)
        for path in [folder, *folder.rglob("*")]:
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() else 0o644)
        for path in UNREADABLE.get(name, []):
            locked.append((folder / path, (folder / path).stat().st_mode))
            (folder / path).chmod(0)
        return folder

    yield copy
    for path, mode in locked:
        path.chmod(mode)


def look(denet, folder, arguments, suffix="jsonl", prefix=()):
    """One look, as nobody; the result, and what was written."""
    out = denet.path(f"look.{suffix}")
    options = ["--proc", str(folder / "proc"), "--sys", str(folder / "sys")]
    argv = [*prefix, *denet.argv(options, arguments, out, nobody=True, sub="attach")]
    result = denet.finish(denet.popen(argv, no_leaks=bool(prefix)), out if suffix == "jsonl" else None)
    assert result.rc == 0, result.stderr
    return result, pathlib.Path(out).read_bytes()


def without_now(data):
    for pattern, replacement in OF_NOW:
        data = re.sub(pattern, replacement, data)
    return data


def readable(data, suffix):
    if suffix == "csv":
        return [" ".join(row).strip() for row in zip(*(line.split(",") for line in data.decode().splitlines()))]
    return [line for record in data.splitlines() for line in json.dumps(json.loads(record), indent=1).splitlines()]


@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
@pytest.mark.parametrize("case", CASES)
def test_stream(denet, machine, case, suffix):
    name, arguments = CASES[case]
    if suffix == "csv":
        arguments = [argument for argument in arguments if argument != "--per-process"]
    _, data = look(denet, machine(name), arguments, suffix)
    data = without_now(data)
    golden = GOLDEN / f"{case}.{suffix}"
    if os.environ.get("GOLDEN_UPDATE") == "1":
        golden.parent.mkdir(exist_ok=True)
        golden.write_bytes(data)
    expected = golden.read_bytes()
    if data != expected:
        diff = difflib.unified_diff(readable(expected, suffix), readable(data, suffix), f"golden/{golden.name}", "now", n=3, lineterm="")
        pytest.fail("\n".join(list(diff)[:80]) or "the same values in other bytes")


def test_no_golden_file_without_a_test():
    assert {path.name for path in GOLDEN.iterdir()} == {f"{case}.{suffix}" for case in CASES for suffix in ("jsonl", "csv")}


# The same sums by another reader, written from proc(5): a golden file that was updated with a wrong number is found here.

class Recorded:
    def __init__(self, folder, pid):
        self.folder = folder / "proc" / str(pid)
        stat = (self.folder / "stat").read_bytes().rpartition(b") ")[2].split()
        self.stat = {n: stat[n - 3] if n == 3 else int(stat[n - 3]) for n in range(3, 25)}
        self.live = self.stat[3] != b"Z"

    def lines(self, name):
        pairs = (line.split(b":", 1) for line in (self.folder / name).read_bytes().split(b"\n") if b":" in line)
        return {key.decode("utf-8", "replace"): int(value.split()[0]) for key, value in pairs if value.split()[:1] and value.split()[0].isdigit()}

    def tasks(self, name):
        return [path / name for path in sorted((self.folder / "task").iterdir()) if (path / name).exists()]

    def switches(self, key):
        return sum(int(re.search(rb"^%s:\t(\d+)" % key, path.read_bytes(), re.M)[1]) for path in self.tasks("status"))


def truth(folder, pids):
    all_of = [Recorded(folder, pid) for pid in pids]
    live = [p for p in all_of if p.live]
    expected = {
        "cpu.user_ns": sum(p.stat[14] + p.stat[16] for p in all_of) * 10**7,
        "cpu.system_ns": sum(p.stat[15] + p.stat[17] for p in all_of) * 10**7,
        "memory.minor_faults": sum(p.stat[10] + p.stat[11] for p in all_of),
        "memory.major_faults": sum(p.stat[12] + p.stat[13] for p in all_of),
        "cpu.voluntary_switches": sum(p.switches(b"voluntary_ctxt_switches") for p in all_of),
        "cpu.involuntary_switches": sum(p.switches(b"nonvoluntary_ctxt_switches") for p in all_of),
        "memory.rss_bytes": sum(p.stat[24] for p in live) * 4096,
        "memory.virtual_bytes": sum(p.stat[23] for p in live),
        "memory.swap_bytes": sum(p.lines("status")["VmSwap"] for p in live) * 1024,
        "memory.peak_rss_bytes": max(p.lines("status")["VmHWM"] for p in live) * 1024,
        "process.threads": sum(p.stat[20] for p in live),
        "process.fds": sum(len(list((p.folder / "fd").iterdir())) for p in live),
        "process.count": len(live),
    }
    expected["cpu.total_ns"] = expected["cpu.user_ns"] + expected["cpu.system_ns"]
    if (all_of[0].folder / "io").exists():
        expected["memory.pss_bytes"] = sum(p.lines("smaps_rollup")["Pss"] for p in live) * 1024
        expected["cpu.run_delay_ns"] = sum(int(path.read_text().split()[1]) for p in all_of for path in p.tasks("schedstat"))
        for metric, key in (("read_chars", "rchar"), ("write_chars", "wchar"), ("read_calls", "syscr"), ("write_calls", "syscw"),
                            ("read_bytes", "read_bytes"), ("write_bytes", "write_bytes"), ("cancelled_write_bytes", "cancelled_write_bytes")):
            expected[f"io.{metric}"] = sum(p.lines("io")[key] for p in live)
    return expected


@pytest.mark.parametrize("name, pid, pids", [
    ("tree", 211, [211, 223, 227, 229, 233, 257, 263]),
    ("container", 1, [1, 7, 11]),
    ("hidden", 331, [331, 337, 347]),
])
def test_sums_are_those_of_the_files(denet, machine, name, pid, pids):
    folder = machine(name)
    result, _ = look(denet, folder, [str(pid)])
    expected = truth(folder, pids)
    got = leaves(result.summary["tree"])
    assert {metric: got.get(metric) for metric in expected} == expected
    missing = {metric for metric in expected if metric not in got}
    assert not missing


def test_names_reach_the_stream_whole(denet, machine):
    folder = machine("tree")
    result, _ = look(denet, folder, ["211", "--per-process"])
    comm = {pid: (folder / "proc" / str(pid) / "stat").read_bytes().partition(b" (")[2].rpartition(b") ")[0] for pid in (211, 223, 227, 233, 257, 263)}
    names = {p["pid"]: bytes.fromhex(p["name_hex"]) if "name_hex" in p else p["name"].encode() for p in result.samples[0]["processes"]}
    assert names == comm


def test_a_recording_stands_still(denet, machine):
    """One sample, no time, and nothing of the machine that looks."""
    result, _ = look(denet, machine("container"), ["1", "--duration", "100", "-i", "1"])
    assert [record["kind"] for record in result.stream.records] == ["header", "sample", "summary"]
    assert result.summary["ended_by"] == "fixture" and result.summary["wall_ns"] == 0
    assert result.quality("cpu.usage_percent") == "missing"
    assert result.summary["self"]["max_rss_bytes"] is None, "the recorded denet's memory is not this one's"


def test_targets_are_looked_for_in_the_recording(denet, machine):
    for name, arguments, targets in [("container", ["--cmdline", "^nginx: worker"], [7, 11]), ("container", ["--name", "nginx"], [1, 7, 11]),
                                     ("container", ["--cgroup", "app"], [1, 7, 11]), ("tree", ["--name", "a\nb\nc"], [223])]:
        result, _ = look(denet, machine(name), arguments)
        assert result.header["targets"] == targets, arguments


@pytest.mark.parametrize("pid, message", [("2", b"kernel thread"), ("229", b"has ended already"), ("251", b"no process 251"), ("239", b"no process 239")])
def test_targets_that_are_none(denet, machine, pid, message):
    folder = machine("tree")
    result = denet.attach([pid], ["--proc", folder / "proc"])
    assert result.rc == 1 and message in result.stderr, result.stderr


def test_a_recorded_process_with_the_pid_of_denet(denet, machine):
    folder = machine("tree")
    out = denet.path("same.jsonl")
    script = 'mv "$1/211" "$1/$$" && mv "$1/$$/task/211" "$1/$$/task/$$" && sed -i "s/^Tgid:.*/Tgid:\\t$$/" "$1/$$/status" && exec "$2" attach --proc "$1" -o "$3" $$'
    result = denet.finish(denet.popen(["sh", "-c", script, "sh", folder / "proc", denet.program, out]), out)
    assert result.rc == 0, result.stderr
    assert result.value("cpu.total_ns") == 7670000000 and result.value("process.started") == 8


def test_only_files_are_asked(denet, machine):
    folder = machine("tree")
    calls = denet.path("calls")
    calls_about_others = "pidfd_open,timerfd_create,clock_gettime,perf_event_open,bpf,socket,ptrace,kill,tgkill,wait4,waitid"
    trace = ["strace", "-f", "-o", calls, "-e", f"trace={calls_about_others},open,openat"]
    look(denet, folder, ["211"], prefix=trace)
    lines = [line for line in pathlib.Path(calls).read_text("utf-8", "replace").splitlines() if "(" in line]
    # What comes before is of setpriv and of the loader.
    lines = lines[next(i for i, line in enumerate(lines) if f'"{folder}/proc"' in line):]
    assert any('"211/stat"' in line for line in lines)
    assert not [line for line in lines if not re.search(r" open(at)?\(|clock_gettime\(CLOCK_(MONOTONIC|REALTIME|BOOTTIME|THREAD_CPUTIME_ID)\b", line)]
    assert not [line for line in lines if '"/proc' in line or '"/sys' in line]


@pytest.mark.parametrize("tier", ["procfs", "auto"])
def test_a_process_without_its_children_has_a_name(denet, tier):
    for options in ([], ["-i", "10"]):
        result = denet.run(["burn", "101"], ["--no-children", "--backend", tier, *options])
        assert [command["name"] for command in result.summary["commands"]] == ["burn"]


def test_an_unreaped_zombie_is_one_process(denet, background):
    """Its parent's list of children has it until it is reaped, and the parent runs on: it is not born again at each look."""
    parent = background(["/usr/bin/python3", "-c",
                         "import os, sys\nif os.fork() == 0: os._exit(0)\nos.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)\nprint(flush=True)\nwhile True: pass"])
    parent.stdout.readline()
    result = denet.attach([str(parent.pid)], ["--backend", "procfs", "-i", "7", "-d", "1"])
    assert result.rc == 0, result.stderr
    assert len(result.samples) > 3
    assert result.value("process.started") == 2 and result.value("process.exited") == 1

# SPDX-License-Identifier: Apache-2.0
"""While denet stands still the kernel goes on counting. What has no room to be told of is counted as lost."""
import os
import pathlib
import signal
import time

import ebpf
import pytest
from conftest import wait_until

RECORDS = ["process.started", "process.exited", "process.count", "process.exits", "process.lifetime"]


@pytest.fixture(autouse=True)
def tier(denet):
    ebpf.needs_metric(denet, "process.exits", [])


def start(denet, command, options=()):
    out = denet.path("stream.jsonl")
    process = denet.popen(denet.argv(options, command, out, False))
    wait_until(lambda: process.poll() is not None or (os.path.exists(out) and b"\n" in pathlib.Path(out).read_bytes()))
    return process, out


def stopped(pid):
    return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "T"


def stop(process):
    os.kill(process.pid, signal.SIGSTOP)
    wait_until(lambda: stopped(process.pid))


def test_no_call_is_lost(denet):
    process, out = start(denet, ["sysloop", "10000019"])
    stop(process)
    time.sleep(3)  # for so long it stands still, in the middle of the loop
    os.kill(process.pid, signal.SIGCONT)
    result = denet.finish(process, out)
    assert ebpf.column(result, "syscall.by_name", "count")["getppid"] == result.truth["getppid"] == 10000019
    assert result.quality("syscall.count") == result.quality("syscall.by_name") == "exact"
    assert result.summary["lost"]["events"] == 0 and result.summary["lost"]["produced"] == result.summary["lost"]["received"]


def storm(denet, processes):
    """A command that forks so many while denet stands still, then keeps seven sleepers until it is told to end."""
    go, over, end = denet.path("go"), denet.path("over"), denet.path("end")
    for path in (go, over, end):
        os.mkfifo(path)
    sleepers = "for i in 1 2 3 4 5 6 7; do sleep 1009 & pids=\"$pids $!\"; done"
    script = f"read x < {go}; {denet.workload('forkstorm')} {processes} 0 3 > /dev/null; {sleepers}; echo > {over}; read x < {end}; kill $pids; wait"
    process, out = start(denet, ["sh", "-c", script], ["-i", "50"])
    stop(process)
    for path, text in ((go, "x\n"), (over, None)):
        with open(path, "w" if text else "r") as file:
            file.write(text) if text else file.read()
    os.kill(process.pid, signal.SIGCONT)
    before = len(pathlib.Path(out).read_bytes().splitlines())
    wait_until(lambda: len(pathlib.Path(out).read_bytes().splitlines()) > before + 3)
    with open(end, "w") as file:
        file.write("x\n")
    return denet.finish(process, out)


def test_a_full_ring(denet):
    result = storm(denet, 9001)
    lost = result.summary["lost"]
    # The shell, the storm and its processes, the sleepers: a birth and an end each but the first's birth; and the execs.
    processes = 9001 + 9
    assert lost["produced"] >= processes * 2 - 1 + 9
    assert lost["produced"] - lost["received"] == lost["events"] > 0
    for name in RECORDS:
        assert result.quality(name) == "lower_bound", (name, result.state(name))
        assert "lost" in result.state(name)["reason"]
    started = result.value("process.started")
    assert started == result.value("process.exited") and 9 <= started <= processes
    # The table of processes is right again: the shell and its sleepers, no ghosts.
    assert 8 in [sample["tree"]["process"]["count"] for sample in result.stream.samples]
    assert result.summary["descendants_left"] == 0
    # What the kernel added up itself has lost nothing.
    assert result.quality("syscall.count") == "exact" and result.quality("cpu.total_ns") == "exact"
    assert result.value("process.execs") == 9


def test_a_ring_with_room(denet):
    result = storm(denet, 103)
    lost = result.summary["lost"]
    assert lost["events"] == 0 and lost["produced"] == lost["received"] >= 103 * 2
    assert result.value("process.started") == result.value("process.exited") == 103 + 9
    assert result.quality("process.started") == result.quality("process.exits") == "exact"

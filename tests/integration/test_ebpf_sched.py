# SPDX-License-Identifier: Apache-2.0
"""Where the time of threads goes: on a CPU, waiting for one, blocked by kind; and how long calls take.

On a busy machine a thread may be preempted before it blocks, for longer than it wanted to sleep: then it waited for a CPU and was not blocked. So
what a workload slept is at least what was blocked, and at most that and the waits for a CPU.
"""
import os
import pathlib
import subprocess
import time

import ebpf
import pytest

WAITS, ASKED = 29, 11000000
KINDS = ("futex", "sleep", "disk", "network", "pipe", "other")


@pytest.fixture(scope="module")
def tier(session_denet):
    ebpf.needs_metric(session_denet, "sched.blocked_by_kind", [])


def blocked(result):
    return {kind: result.value(f"sched.blocked.{kind}_ns") for kind in KINDS}


def check_times(result):
    """What holds of every run: each moment of a thread's life is in one sum."""
    assert result.quality("cpu.blocked_ns") == result.quality("sched.blocked_by_kind") == "exact"
    kinds, table = blocked(result), result.value("sched.blocked_by_kind")
    assert {kind: row["time_ns"] for kind, row in table.items()} == {kind: ns for kind, ns in kinds.items() if kind in table}
    assert all(ns == 0 for kind, ns in kinds.items() if kind not in table)
    for kind, row in table.items():
        assert row["count"] == row["latency"]["count"], kind
        # What a pass added of a wait that lasted is the sum's only; the histogram has whole waits.
        assert abs(row["latency"]["sum"] - row["time_ns"]) <= 1e6 + 0.001 * row["time_ns"], (kind, row)
    total, delay = result.value("cpu.blocked_ns"), result.value("cpu.run_delay_ns")
    waits = result.value("sched.run_delay")
    # From giving up the CPU until running again: blocked, and after it waiting for a CPU.
    assert sum(kinds.values()) - 1e6 <= total <= sum(kinds.values()) + delay + 1e6, (kinds, total, delay)
    assert waits["sum"] <= delay + 1e6 and waits["max"] <= delay
    switches = result.value("cpu.voluntary_switches") + result.value("cpu.involuntary_switches")
    assert waits["count"] <= switches
    on_cpu, cpu = result.value("sched.on_cpu_ns"), result.value("cpu.total_ns")
    # The kernel's sum of a thread that is woken on an idle CPU begins some microseconds before it has that.
    assert on_cpu >= 0.9 * cpu - 5e6 - 10e3 * switches, (on_cpu, cpu, switches)
    return kinds, table, delay


def test_blocked_by_kind(tier, denet):
    result = denet.run(["latencies", str(WAITS), str(ASKED // 1000000)])
    kinds, table, delay = check_times(result)
    calls = result.truth["calls"]
    busy = result.value("cpu.total_ns") + delay
    for name, said in calls.items():
        kind = said["kind"]
        # nanosleep: the child of read's pair sleeps as often; its sleeps are the waits of read.
        most = said["sum_ns"] + (calls["read"]["sum_ns"] if kind == "sleep" else 0)
        least = said["count"] * ASKED * (2 if kind == "sleep" else 1)
        if kind == "pipe":
            # The child waits whenever the parent does something else.
            most += busy + result.summary["wall_ns"] - sum(other["sum_ns"] for other in calls.values())
        assert least - busy <= kinds[kind] <= most, (name, kinds, said, busy)
        assert 0 < table[kind]["count"]
        if kind in ("network", "futex"):
            assert said["count"] - result.value("cpu.involuntary_switches") <= table[kind]["count"] <= said["count"]
            assert table[kind]["latency"]["max"] <= said["max_ns"]
    assert kinds["disk"] <= busy + 5e6 and kinds["other"] <= busy + calls["read"]["sum_ns"]


def test_wall_time_of_one_thread(tier, denet):
    """On a CPU, waiting for it, blocked: together its life."""
    result = denet.run(["sleeps", "101", "3000"])
    kinds, table, delay = check_times(result)
    assert 101 - result.value("cpu.involuntary_switches") <= table["sleep"]["count"] <= 101
    life = result.value("process.lifetime")["sum"]
    # The exec and the switch to it are before the sums begin.
    assert 0.95 * life - 30e6 <= result.value("sched.on_cpu_ns") + delay + sum(kinds.values()) <= life * 1.01 + 1e6


def test_futex_waits(tier, denet):
    result = denet.run(["futexes", "13", "11"])
    kinds, table, delay = check_times(result)
    busy = result.value("cpu.total_ns") + delay
    assert 2 * 13 * 11e6 - busy <= kinds["futex"] <= result.summary["wall_ns"] * 2
    assert table["futex"]["count"] <= 2 * 13


def test_network_and_pipes(tier, denet):
    """Both ends of a connection wait for each other: in sockets, and in a pipe for the answer."""
    result = denet.run(["sockbytes", "503", "97"])
    kinds, table, _ = check_times(result)
    assert table["network"]["count"] > 0 and kinds["network"] > 0
    result = denet.run(["pingpong", "1009"])
    kinds, table, _ = check_times(result)
    assert table["pipe"]["count"] > 0 and sum(kinds.values()) - kinds["pipe"] - kinds["other"] <= 0.5 * kinds["pipe"] + 5e6


def test_disk(tier, denet):
    path = pathlib.Path(os.environ.get("DENET_DISK", denet.folder)) / "blocks"
    path.write_bytes(os.urandom(211 * 4096))
    try:
        fd = os.open(path, os.O_RDWR)
        os.fsync(fd)
        os.close(fd)
        result = denet.run(["blockio", str(path), "211"])
    finally:
        path.unlink()
    if result.rc != 0:
        filesystem = subprocess.run(["stat", "-f", "-c", "%T", str(denet.folder)], capture_output=True, text=True, check=True).stdout.strip()
        pytest.skip(f"no O_DIRECT on {filesystem}")
    kinds, table, _ = check_times(result)
    truth = result.truth
    assert truth["reads"] == 211
    # A request may be done before the thread gives up the CPU; what starting the program read is before the first of them.
    waits, before = table["disk"], result.value("cpu.voluntary_switches") - truth["voluntary"]
    assert truth["voluntary"] <= waits["count"] <= truth["voluntary"] + before
    assert kinds["disk"] <= truth["read_ns"] + result.summary["wall_ns"] - truth["read_ns"]
    assert truth["voluntary"] and (before or kinds["disk"] <= truth["read_ns"])


# Open intervals


def attached_for_a_while(denet, background, options=()):
    """A tree that sleeps, attached to: (result, shortest and longest time that denet can have looked)."""
    process = background([denet.workload("hold"), "3", "2"])
    pid = __import__("json").loads(process.stdout.readline())["pid"]
    begun = time.monotonic_ns()
    attached = denet.attach_start([str(pid)], ["-i", "100", "-d", "1", *options])
    surely = time.monotonic_ns()
    result = denet.finish(attached, attached.out)
    return result, result.summary["wall_ns"], time.monotonic_ns() - begun, surely


def test_attached_to_sleepers(tier, denet, background):
    """Six threads sleep since before denet came: blocked they are since it looks, and until it looks away."""
    result, wall, longest, _ = attached_for_a_while(denet, background)
    assert wall >= 1e9
    kinds = blocked(result)
    # One thread and three children read pipes, two threads wait at a barrier.
    for kind, threads in (("pipe", 4), ("futex", 2)):
        assert threads * wall * 0.99 - 5e6 <= kinds[kind] <= threads * longest, (kind, kinds, wall, longest)
    total = result.value("cpu.blocked_ns")
    assert total == sum(kinds.values()) and 6 * wall * 0.99 - 30e6 <= total <= 6 * longest
    series = [value for value in result.series("cpu.blocked_ns") if value is not None]
    times = [sample["t_ns"] for sample in result.samples]
    assert len(series) >= 5 and all(a < b for a, b in zip(series, series[1:])), "an interval that is open grows in each sample"
    assert all(value <= 6 * (t + longest - wall) for value, t in zip(series, times))
    assert result.value("cpu.total_ns") < 20e6 and result.value("process.count") == 4


def test_a_wait_that_has_not_ended(tier, denet):
    """Measuring ends in the middle of it."""
    result = denet.run(["sh", "-c", "exec 1>&- 2>&-; sleep 3"], ["-d", "1", "-i", "100"])
    assert result.summary["ended_by"] == "duration"
    kinds = blocked(result)
    late = result.value("cpu.run_delay_ns") + result.value("cpu.total_ns")
    # The shell waits for its child, and that sleeps.
    assert result.summary["wall_ns"] * 0.9 - late - 50e6 <= kinds["sleep"] <= result.summary["wall_ns"] + 5e6, (kinds, late)
    assert result.value("cpu.blocked_ns") >= sum(kinds.values()) - 1e6


# Latency


def test_latency_of_calls(tier, denet):
    """Percentiles are within a bucket of those that the program saw around its calls."""
    result = denet.run(["latencies", str(WAITS), str(ASKED // 1000000)], ["--probes", "latency"])
    assert result.quality("syscall.latency") == "exact", result.state("syscall.latency")
    rows, delay = result.value("syscall.by_name"), result.value("cpu.run_delay_ns")
    busy = result.value("cpu.total_ns") + delay
    for name, said in result.truth["calls"].items():
        row, latency = rows[name], rows[name]["latency"]
        if name == "read":
            # The loader reads too, and the child, which waits for one byte less than a wait.
            waits = sum(n for upper, n in latency["buckets"] if upper >= said["min_ns"])
            assert waits >= said["count"] // 2 and latency["max"] <= max(said["max_ns"], result.summary["wall_ns"])
            assert said["sum_ns"] - busy <= row["time_ns"]
            continue
        assert (row["count"], row["errors"], latency["count"]) == (said["count"], said["errors"], said["count"]), name
        assert row["time_ns"] == latency["sum"]
        assert said["sum_ns"] - busy <= row["time_ns"] <= said["sum_ns"], name
        assert ASKED <= latency["min"] <= said["min_ns"] and latency["max"] <= said["max_ns"], name
        for percentile in ("p50", "p95", "p99"):
            assert ASKED <= latency[percentile] <= said[f"{percentile}_ns"] * 1.125, (name, percentile, latency, said)
    assert sum(row["time_ns"] for row in rows.values()) == result.value("syscall.time_ns") == result.value("syscall.latency")["sum"]
    assert sum(row["time_ns"] for row in result.value("syscall.by_category").values()) == result.value("syscall.time_ns")
    returned = sum(row["latency"]["count"] for row in rows.values() if "latency" in row)
    assert result.value("syscall.latency")["count"] == returned <= result.value("syscall.count")


def test_latency_of_many_short_calls(tier, denet):
    """Their time is part of the loop's wall time, and each is in the histogram."""
    result = denet.run(["sysloop", "100003", "2"], ["--probes", "latency"])
    row = result.value("syscall.by_name")["getppid"]
    assert row["count"] == row["latency"]["count"] == 200006
    assert 0 < row["time_ns"] == row["latency"]["sum"] <= 2 * result.truth["wall_ns"]

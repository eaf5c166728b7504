# SPDX-License-Identifier: Apache-2.0
"""Tracing what runs already, and the options of tracing.

The workload attached makes a known number of calls after its standard input ends, by threads and processes that were there before and by new ones.
"""
import json
import pathlib
import signal
import subprocess

import ebpf
import pytest
from conftest import wait_until

CALLS = 1009


@pytest.fixture(scope="module")
def tier(session_denet):
    ebpf.needs_metric(session_denet, "syscall.by_name", [])


def start(denet, background, *arguments):
    process = background([denet.workload("attached"), *map(str, arguments)])
    return process, str(json.loads(process.stdout.readline())["pid"])


def release(process):
    process.stdin.close()
    truth = json.loads(process.stdout.readline())
    assert process.wait(timeout=60) == 0
    return truth


def count(result, name):
    row = result.value("syscall.by_name").get(name)
    return row["count"] if row else 0


# Attach


@pytest.mark.parametrize("threads, children", [(3, 2), (0, 3), (5, 0), (29, 23)])
def test_calls_of_a_tree_that_slept(tier, denet, background, threads, children):
    """Nothing of before is counted, nothing of after is missed or counted twice."""
    process, pid = start(denet, background, threads, children, CALLS)
    attached = denet.attach_start([pid])
    truth = release(process)
    result = denet.finish(attached, attached.out)
    assert result.rc == 0 and result.summary["ended_by"] == "target"
    assert result.value("syscall.by_name")["getppid"] == {"count": truth["getppid"], "errors": 0}
    assert truth["getppid"] == 2 * CALLS * (threads + children)
    assert result.quality("syscall.by_name") == "exact"
    # One write more by main, and what it wrote is the line of the truth.
    line = len(json.dumps(truth, separators=(",", ":"))) + 1
    assert result.value("io.write_calls") == truth["write_calls"] + 1 == count(result, "write")
    assert result.value("io.write_chars") == truth["write_chars"] + line
    assert result.value("process.threads_started") == truth["threads_started"] == threads
    assert result.value("process.started") == 1 + 2 * children
    assert result.value("process.exits") == {"0": {"count": 1 + 2 * children}}
    assert result.value("process.lifetime")["count"] == 1 + 2 * children
    assert result.value("process.execs") == 0 and result.summary["lost"]["events"] == 0
    assert result.value("cpu.total_ns") < 5e9


def test_a_tree_that_is_busy_meanwhile(tier, denet, background):
    """Threads call, processes and threads are born and end while denet looks who is there."""
    for _ in range(5):
        process, pid = start(denet, background, 5, 3, CALLS, "busy")
        attached = denet.attach_start([pid])
        truth = release(process)
        result = denet.finish(attached, attached.out)
        assert count(result, "getppid") == truth["getppid"] == 2 * 8 * CALLS
        assert result.value("io.write_calls") == truth["write_calls"] + 1
        assert count(result, "getuid") > 0
        exits = result.value("process.exits")
        assert set(exits) == {"0"} and exits["0"]["count"] == result.value("process.exited") == result.value("process.started")
        assert result.value("process.count") == 0 and result.summary["lost"]["events"] == 0


def test_a_tree_that_does_nothing(tier, denet, background):
    """All counters are 0 until something happens, whatever there was before."""
    process, pid = start(denet, background, 3, 2, CALLS)
    result = denet.attach([pid], ["-d", "0.3", "-i", "50"])
    assert result.rc == 0
    for name in ("syscall.count", "syscall.errors", "io.read_chars", "io.write_chars", "io.read_calls", "memory.minor_faults", "memory.major_faults",
                 "cpu.total_ns", "cpu.voluntary_switches", "cpu.involuntary_switches", "process.execs", "process.threads_started", "process.exited"):
        assert result.value(name) == 0, (name, result.value(name))
        assert result.quality(name) == "exact", result.state(name)
    assert result.value("syscall.by_name") == result.value("process.exits") == {}
    assert result.value("process.count") == result.value("process.started") == 3
    assert release(process)["getppid"] == 2 * 5 * CALLS


def test_memory_of_who_ran(tier, denet, background):
    """Files are only read of processes that had a CPU; whoever did has its memory in the next sample."""
    script = "import sys; print(1, flush=True); sys.stdin.readline(); block = b'x' * (97 << 20); print(2, flush=True); sys.stdin.readline()"
    sleepers = [background(["/usr/bin/python3", "-c", script], stdin=subprocess.PIPE) for _ in range(3)]
    for sleeper in sleepers:
        sleeper.stdout.readline()
    result = denet.attach_start([str(sleeper.pid) for sleeper in sleepers], ["-i", "20"])
    samples = 0

    def rss():
        nonlocal samples
        lines = [line for line in pathlib.Path(result.out).read_bytes().split(b"\n")[:-1] if b'"kind":"sample"' in line]
        samples = len(lines)
        return [value for value in (json.loads(line)["tree"]["memory"].get("rss_bytes") for line in lines) if value is not None]

    wait_until(lambda: len(rss()) > 5)
    before = rss()[-1]
    sleepers[1].stdin.write(b"\n")
    sleepers[1].stdin.flush()
    sleepers[1].stdout.readline()
    seen = len(rss())
    wait_until(lambda: len(rss()) > seen + 3)
    # Two samples may have been on their way when it said that it is done. All are looked at once a second in any case.
    assert rss()[seen + 2] >= before + (96 << 20), rss()
    for sleeper in sleepers:
        sleeper.stdin.close()
    assert denet.finish(result, result.out).rc == 0


def test_two_at_once(tier, denet, background):
    """Each counts for itself."""
    process, pid = start(denet, background, 3, 2, CALLS)
    both = [denet.attach_start([pid]) for _ in range(2)]
    truth = release(process)
    for attached in both:
        result = denet.finish(attached, attached.out)
        assert count(result, "getppid") == truth["getppid"]
        assert result.value("process.started") == 5


def test_several_targets(tier, denet, background):
    trees = [start(denet, background, n, n, CALLS) for n in (1, 2, 3)]
    attached = denet.attach_start([pid for _, pid in trees[:2]])
    truths = [release(process) for process, _ in trees]
    result = denet.finish(attached, attached.out)
    assert count(result, "getppid") == truths[0]["getppid"] + truths[1]["getppid"]
    assert result.value("process.started") == (1 + 2 * 1) + (1 + 2 * 2)


def test_no_children_of_a_running_process(tier, denet, background):
    """Its threads, old and new ones, but no process of those that it had or makes."""
    process, pid = start(denet, background, 3, 2, CALLS)
    attached = denet.attach_start([pid], ["--no-children"])
    truth = release(process)
    result = denet.finish(attached, attached.out)
    assert count(result, "getppid") == 2 * 3 * CALLS < truth["getppid"]
    assert result.value("io.write_calls") == 2 * 3 + 1
    assert result.value("process.threads_started") == 3


def test_no_children_of_a_command(tier, denet):
    result = denet.run(["attached", "3", "2", str(CALLS)], ["--no-children"])
    # Threads make the known calls before and after the handshake, and once more as new ones.
    assert count(result, "getppid") == 3 * 3 * CALLS
    assert result.value("process.threads_started") == 6


def test_the_whole_command(tier, denet):
    result = denet.run(["attached", "3", "2", str(CALLS)])
    assert count(result, "getppid") == 3 * 5 * CALLS
    assert result.value("process.started") == 5


def test_detached_in_the_middle(tier, denet, background):
    """Measuring ends while the tree is busy: it goes on and notices nothing."""
    process, pid = start(denet, background, 3, 2, CALLS, "busy")
    attached = denet.attach_start([pid], ["-i", "50"])
    wait_until(lambda: open(attached.out, "rb").read().count(b'"kind":"sample"') >= 3)
    attached.send_signal(signal.SIGINT)
    result = denet.finish(attached, attached.out)
    assert result.rc == 0 and result.summary["ended_by"] == "signal"
    assert count(result, "getuid") > 0 == count(result, "getppid")
    assert release(process)["getppid"] == 2 * 5 * CALLS


# Options


def test_sampled_counts(tier, denet):
    """One call in sixteen is looked at: 8 standard deviations of that lottery are 3.1 % of a million calls."""
    n, every = 1000003, 16
    result = denet.run(["sysloop", str(n)], ["--probes", "latency", "--sample", f"syscalls=1/{every},latency=1/{every}"])
    sigma = (n * (every - 1)) ** 0.5
    for name in ("syscall.count", "syscall.errors", "syscall.by_name", "syscall.by_category", "syscall.time_ns", "syscall.latency"):
        state = result.state(name)
        assert state["quality"] == "sampled" and "one of 16" in state["reason"], (name, state)
    assert result.quality("process.exits") == result.quality("sched.blocked_by_kind") == "exact"
    row = result.value("syscall.by_name")["getppid"]
    for seen in (row["count"], row["latency"]["count"]):
        assert seen % every == 0 and abs(seen - n) <= 8 * sigma, (seen, sigma)
    assert row["count"] != n, "nothing was left out"
    assert row["latency"]["sum"] == row["time_ns"] <= 2 * result.truth["wall_ns"]


def test_sampling_of_one_group_leaves_the_others_exact(tier, denet):
    n = 500009
    result = denet.run(["sysloop", str(n)], ["--probes", "latency", "--sample", "latency=1/64"])
    row = result.value("syscall.by_name")["getppid"]
    assert row["count"] == n and result.quality("syscall.by_name") != "missing"
    assert abs(row["latency"]["count"] - n) <= 8 * (n * 63) ** 0.5
    assert result.quality("syscall.latency") == "sampled" and result.quality("syscall.count") == "exact"


def test_every_event_is_no_sampling(tier, denet):
    result = denet.run(["sysloop", "10007"], ["--sample", "syscalls=1/1"])
    assert count(result, "getppid") == 10007 and result.quality("syscall.by_name") == "exact"


def test_no_probes(tier, denet):
    """Everything of the eBPF tier is missing, and the others do what they can."""
    result = denet.run(["forkexec", "11"], ["--probes", "none"])
    for name in ("syscall.count", "syscall.by_name", "sched.blocked_by_kind", "process.exits", "process.lifetime", "process.execs"):
        assert name not in result.header["metrics"] or result.quality(name) == "missing", name
        assert result.value(name) is None
    assert result.value("process.started") == result.truth["processes"] and result.header["tier"] != "ebpf"
    assert result.value("cpu.total_ns") > 0


@pytest.mark.parametrize("options, absent, present", [
    ("-syscalls", ["syscall.count", "syscall.by_name"], ["sched.blocked_by_kind", "process.exits"]),
    ("-sched", ["sched.blocked_by_kind", "sched.on_cpu_ns"], ["syscall.by_name", "process.exits"]),
    ("none,syscalls", ["sched.blocked_by_kind", "process.exits"], ["syscall.by_name", "syscall.by_category"]),
    ("none,lifecycle", ["sched.blocked_by_kind", "syscall.by_name"], ["process.exits", "process.lifetime"])])
def test_less_probes(tier, denet, options, absent, present):
    result = denet.run(["forkexec", "23"], ["--probes", options])
    for name in absent:
        assert name not in result.header["metrics"] and result.value(name) is None, name
    for name in present:
        assert result.quality(name) == "exact" and result.value(name), name
    assert result.value("process.started") == result.truth["processes"]


def test_detail_in_every_sample(tier, denet):
    """Tables and histograms grow: no row shrinks or vanishes, and the last one is the summary's."""
    script = f"for i in 1 2 3 4 5; do {denet.workload('sysloop')} 100003; {denet.workload('latencies')} 3 7; done"
    result = denet.run(["sh", "-c", script], ["--detail", "-i", "20", "--probes", "latency"])
    tables = ("syscall.by_name", "syscall.by_category", "sched.blocked_by_kind", "process.exits")
    histograms = ("process.lifetime", "sched.run_delay", "syscall.latency")
    seen = {}

    def grows(path, now):
        before = seen.get(path)
        seen[path] = now
        if before is None:
            return
        if isinstance(before, dict) and "buckets" in before:
            buckets = dict(map(tuple, now["buckets"]))
            assert all(buckets.get(upper, 0) >= n for upper, n in before["buckets"]), path
            assert now["count"] >= before["count"] and now["sum"] >= before["sum"], path
            if before["count"]:
                assert now["min"] <= before["min"] and now["max"] >= before["max"], path
        else:
            assert now >= before, (path, before, now)

    def table(name, value):
        assert set(value) >= seen.setdefault(name, set()), name
        seen[name] |= set(value)
        for key, row in value.items():
            for column, cell in row.items():
                grows((name, key, column), cell)

    for name in tables:
        series = [*result.series(name), result.value(name)]
        assert None not in series and len(series) >= 5, name
        for value in series:
            table(name, value)
    for name in histograms:
        for value in [*result.series(name), result.value(name)]:
            grows(name, value)
    assert 0 <= count(result, "getppid") - 5 * 100003 <= 3, "a shell may ask for its parent too"
    without = denet.run(["sleeps", "101", "1000"], ["-i", "20"])
    assert without.series("syscall.by_name") and set(map(str, without.series("syscall.by_name"))) == {"None"}

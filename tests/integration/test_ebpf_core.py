# SPDX-License-Identifier: Apache-2.0
"""Lives and usage: no birth, exec or end is missed, and what each process used is what the kernel told its parent.

The truth of a command is what wait4() gave the program that started it (the workload spawner): it and the BPF programs read the same counters of
the kernel, at different moments.
"""
import json
import os
import pathlib
import subprocess

import ebpf
import pytest
from conftest import Stolen, wait_until


@pytest.fixture(scope="module")
def tier(session_denet):
    ebpf.needs_metric(session_denet, "process.exits", [])


EXACT = ["process.started", "process.exited", "process.execs", "process.threads_started", "process.exits", "process.lifetime", "cpu.total_ns",
         "cpu.run_delay_ns", "cpu.voluntary_switches", "cpu.involuntary_switches", "cpu.migrations", "memory.minor_faults", "memory.major_faults",
         "io.read_chars", "io.write_chars", "io.read_calls", "io.write_calls", "io.read_bytes", "io.write_bytes"]


def measure(denet, command, options=(), rc=0):
    result = denet.run(command, options)
    assert result.rc == rc, result.stderr[-800:]
    for name in EXACT:
        state = result.state(name)
        assert state["quality"] == "exact" and ("tp_btf" in state["source"] or "task" in state["source"]), (name, state)
    return result


def ends(result):
    return {key: row["count"] for key, row in result.summary["tree"]["process"]["exits"].items()}


def check_lives(result, processes, execs, threads=0):
    """processes with the command; execs without its own."""
    ended = ends(result)
    assert result.value("process.started") == result.value("process.exited") == processes
    assert sum(ended.values()) == result.value("process.lifetime")["count"] == processes, ended
    assert result.value("process.execs") == execs + 1
    assert result.value("process.threads_started") == threads
    assert result.value("process.count") == 0
    assert result.value("process.lifetime")["max"] <= result.summary["wall_ns"]
    assert result.summary["lost"]["events"] == 0


def close_to_own_clock(result):
    """The command's own clock ran before it was let through the gate, and not on its last steps."""
    truth = result.truth["cpu_ns"]
    assert truth - 2e6 <= result.value("cpu.total_ns") <= truth * 1.01 + 5e6, truth


def test_5003_forks_execs_and_ends(tier, denet):
    result = measure(denet, ["forkexec", "5003"])
    truth = result.truth
    check_lives(result, truth["processes"], truth["execs"])
    expected = {**truth["ends"], "0": truth["ends"]["0"] + 1}  # the command's own end
    assert ends(result) == expected
    assert {"SIGKILL", "SIGTERM", "SIGSEGV", "SIGABRT"} < set(expected) and sum(expected.values()) == 5004
    # One after the other: together they did not live longer than the command.
    lifetime = result.value("process.lifetime")
    assert lifetime["sum"] - lifetime["max"] <= lifetime["max"]


@pytest.mark.parametrize("script, expected", [
    ("exit 255", {"255": 1}), ("kill -KILL $$", {"SIGKILL": 1}), ("(exit 128); (exit 0); (kill -HUP $BASHPID); (kill -40 $BASHPID); exit 9",
                                                                  {"128": 1, "0": 1, "SIGHUP": 1, "signal_40": 1, "9": 1})])
def test_ends_by_code_and_signal(tier, denet, script, expected):
    result = denet.run(["bash", "-c", script])
    assert ends(result) == expected


def test_a_thread_that_executes(tier, denet):
    """It takes the leader's pid; the process is the same."""
    result = measure(denet, ["threadexec", "23"])
    truth = result.truth
    check_lives(result, 1, truth["execs"], truth["threads_started"])
    assert truth["cpu_ns"] >= 3 * 23e6
    close_to_own_clock(result)
    rows = result.summary["processes"]
    assert [row["pid"] for row in rows] == [truth["pid"]]
    # The last steps of a thread that the exec killed may come after the end of the process.
    assert result.value("cpu.total_ns") - 3 * 1e6 <= rows[0]["cpu"]["total_ns"] <= result.value("cpu.total_ns")


def test_a_leader_that_ends_first(tier, denet):
    result = measure(denet, ["leaderexit", "5", "23"])
    truth = result.truth
    check_lives(result, 1, 0, truth["threads_started"])
    assert ends(result) == {"0": 1}
    close_to_own_clock(result)
    assert result.value("process.lifetime")["sum"] >= truth["after_leader_ns"]


@pytest.mark.parametrize("processes, threads", [("499", "11"), ("1009", "1")])
def test_threads_that_end_at_once(tier, denet, processes, threads):
    """Several may find that none of them is left; the process ends once, and nothing was missed."""
    result = measure(denet, ["together", processes, threads])
    truth = result.truth
    check_lives(result, truth["processes"], 0, truth["threads_started"])
    assert ends(result) == {"0": truth["processes"]}
    for name in ("process.exits", "process.lifetime", "process.count", "memory.peak_rss_bytes"):
        assert result.quality(name) in ("exact", "sampled"), result.state(name)


def test_a_daemon(tier, denet):
    result = measure(denet, ["daemon", "101"])
    check_lives(result, 3, 0)
    assert result.truth["cpu_ns"] <= result.value("cpu.total_ns") <= result.truth["cpu_ns"] * 1.01 + 9e6


def test_orphans_that_nobody_of_the_tree_waits_for(tier, denet):
    result = measure(denet, ["iochild", "53", "1000003", "o"], ["--wait-tree"])
    check_lives(result, 1 + 2 * 53, 0)
    assert result.value("io.write_chars") == result.truth["write_chars"] + len(result.stdout)
    assert result.value("io.write_calls") == result.truth["write_calls"] + 1


def test_children_that_the_kernel_reaps(tier, denet):
    """Nobody gets their usage: only who is there at their end has it."""
    with Stolen() as stolen:
        result = measure(denet, ["autoreap", "211"])
    truth = result.truth
    check_lives(result, truth["processes"], 0)
    assert result.value("io.write_chars") == truth["write_chars"] + len(result.stdout)
    assert truth["cpu_ns"] <= result.value("cpu.total_ns") <= truth["cpu_ns"] * 1.01 + 211 * 200e3 + 5e6 + stolen.ns, stolen.ns


# Usage


def row_of(result, name):
    return next(row for row in result.summary["processes"] if row["name"] == name)


def spawn(denet, command):
    """Measures spawner and the command; what wait4 said of the command, and the tree's values less spawner's own."""
    result = measure(denet, ["spawner", *denet.resolve(command)])
    own = row_of(result, "spawner")
    leaves = {"cpu.total_ns": own["cpu"]["total_ns"], **{f"cpu.{k}": own["cpu"][k] for k in ("voluntary_switches", "involuntary_switches")},
              "memory.minor_faults": own["memory"]["minor_faults"], **{f"io.{k}": v for k, v in own["io"].items()}}
    return result, json.loads(result.stdout.splitlines()[-1]), {name: result.value(name) - value for name, value in leaves.items()}


def check_usage(truth, value, processes):
    """Equal to what wait4 said; but a process still runs for a while after its parent may know that it ended."""
    assert truth["status"] == 0
    for name in ("read_chars", "write_chars", "read_calls", "write_calls"):
        assert value[f"io.{name}"] == truth[name], name
    assert value["memory.minor_faults"] == truth["minor_faults"]
    assert 0 <= value["cpu.voluntary_switches"] - truth["voluntary"] <= processes
    # wait4 has microseconds; the last steps of an exit are some tens of them.
    assert -1000 <= value["cpu.total_ns"] - truth["cpu_us"] * 1000 <= truth["cpu_us"] * 10 + processes * 100e3, (value, truth)


@pytest.mark.parametrize("command, processes", [
    (["faults", "4099"], 1), (["faults", "4099", "k"], 1), (["write", "10000019", "/dev/null"], 1), (["sleeps", "1009", "200"], 1), (["burn", "307"], 1),
    (["threads", "4", "53"], 5), (["forkstorm", "211", "1"], 212), (["execstorm", "101", "1"], 102), (["pingpong", "1009"], 2)],
                         ids=lambda value: " ".join(value) if isinstance(value, list) else "")
def test_usage_is_what_wait4_says(tier, denet, command, processes):
    _, truth, value = spawn(denet, command)
    check_usage(truth, value, processes)


def test_cpu_of_2000_processes_of_2_ms(tier, denet):
    result, truth, value = spawn(denet, ["forkstorm", "2000", "2"])
    assert result.value("process.started") == 2002
    assert truth["cpu_us"] >= 2000 * 2000
    assert 0.99 * truth["cpu_us"] * 1000 <= value["cpu.total_ns"] <= 1.01 * truth["cpu_us"] * 1000
    check_usage(truth, value, 2001)


def test_switches(tier, denet):
    result = measure(denet, ["pingpong", "5003"])
    assert result.value("cpu.voluntary_switches") >= result.truth["voluntary"]
    result = measure(denet, ["sleeps", "1009", "200"])
    assert result.truth["voluntary"] <= result.value("cpu.voluntary_switches") <= result.truth["voluntary"] + 3  # the exit, a page to be read
    assert result.truth["involuntary"] <= result.value("cpu.involuntary_switches")


def test_each_process_has_its_own(tier, denet):
    """The rows of the summary are what each program says of itself, and add up to the tree."""
    burn, faults, loop, write = (denet.workload(name) for name in ("burn", "faults", "sysloop", "write"))
    result = measure(denet, ["sh", "-c", f"{burn} 53; {faults} 1009; {loop} 10007; {write} 1000003 /dev/null; true"])
    said = {name: json.loads(line) for name, line in zip(("faults", "sysloop", "write"), result.stdout.splitlines())}
    lines = {name: len(line) + 1 for name, line in zip(said, result.stdout.splitlines())}
    assert 53e6 <= row_of(result, "burn")["cpu"]["total_ns"] <= 53e6 * 1.01 + 5e6
    # Its own count is from before its end, and has the faults before its exec.
    assert said["faults"]["minor_faults"] <= row_of(result, "faults")["memory"]["minor_faults"] <= said["faults"]["own_minor_faults"] + 30
    assert said["sysloop"]["getppid"] <= row_of(result, "sysloop")["syscall"]["count"] <= said["sysloop"]["getppid"] + 100
    assert row_of(result, "write")["io"]["write_chars"] == 1000003 + lines["write"]
    assert row_of(result, "write")["io"]["write_calls"] == said["write"]["write_calls"] + 1
    rows = result.summary["processes"]
    assert len(rows) == 5
    for name in ("cpu.total_ns", "cpu.run_delay_ns", "cpu.voluntary_switches", "cpu.involuntary_switches", "cpu.blocked_ns", "memory.minor_faults",
                 "io.read_chars", "io.write_chars", "io.read_calls", "io.write_calls", "syscall.count", "syscall.errors", "sched.on_cpu_ns"):
        group, _, leaf = name.partition(".")
        assert sum(row[group][leaf] for row in rows) == result.value(name), name


def test_live_processes_in_each_sample(tier, denet):
    """What a live process used so far never falls, is never more than the tree's, and is its end's at the end."""
    result = measure(denet, ["threads", "3", "211"], ["--per-process", "-i", "20"])
    last = {}
    for sample in result.samples:
        rows = sample.get("processes", [])
        for name in ("cpu.total_ns", "syscall.count", "sched.on_cpu_ns", "memory.minor_faults"):
            group, _, leaf = name.partition(".")
            for row in rows:
                value = row[group].get(leaf)
                if value is not None:
                    assert last.get((row["pid"], name), 0) <= value <= sample["tree"][group][leaf], (name, sample["seq"])
                    last[row["pid"], name] = value
    seen = [value for (_, name), value in last.items() if name == "cpu.total_ns"]
    assert seen and 0 < max(seen) <= result.value("cpu.total_ns")
    close_to_own_clock(result)


def test_run_delay_is_the_zombies_schedstat(tier, denet):
    """Three burners on one CPU: how long each waited stands in /proc while it is a zombie."""
    script = """
import os, time
cpu = min(os.sched_getaffinity(0))
os.sched_setaffinity(0, {cpu})
pids = [os.spawnv(os.P_NOWAIT, "%s", ["burn", "151"]) for _ in range(3)]
for pid in pids:
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
delays = {pid: int(open(f"/proc/{pid}/schedstat").read().split()[1]) for pid in pids}
for pid in pids:
    os.waitpid(pid, 0)
print(__import__("json").dumps(delays), flush=True)
""" % denet.workload("burn")
    result = measure(denet, ["/usr/bin/python3", "-c", script])
    rows = {str(row["pid"]): row["cpu"]["run_delay_ns"] for row in result.summary["processes"]}
    assert len(result.truth) == 3
    for pid, delay in result.truth.items():
        # It may wait once more for the CPU on its last steps.
        assert 50e6 < delay <= rows[pid] <= delay * 1.25 + 50e6, (rows, result.truth)
    assert result.value("cpu.run_delay_ns") >= sum(result.truth.values())


def test_events_of_each_process(tier, denet):
    """Each birth, exec and end once, in this order, with its parent and its pid."""
    result = measure(denet, ["forkexec", "53"], ["--process-events"])
    lives = {}
    for event in result.events:
        if event["event"] in ("fork", "exec", "exit"):
            lives.setdefault(event["pid"], []).append(event["event"])
    root = result.header["pid"]
    children = {pid: life for pid, life in lives.items() if pid != root}
    assert len(children) == 53 and set(map(tuple, children.values())) == {("fork", "exec", "exit")}
    assert all(event["ppid"] == root for event in result.events if event["event"] == "fork" and event["pid"] != root)


def test_what_lives_is_counted_in_between(tier, denet, background):
    """Processes and threads that have not ended are in the samples: as many as there are."""
    out = denet.path("hold.jsonl")
    process = denet.popen(denet.argv(["-i", "20"], ["hold", "3", "2"], out), stdin=subprocess.PIPE)
    wait_until(lambda: os.path.exists(out) and b'"count":4,"threads":6,' in pathlib.Path(out).read_bytes())
    result = denet.finish(process, out)
    assert result.rc == 0 and max(result.series("process.count")) == 4
    check_lives(result, 4, 0, 2)

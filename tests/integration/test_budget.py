# SPDX-License-Identifier: Apache-2.0
"""What tracing costs: what is told of it, and that --max-overhead is kept by steps that are told, with counts that stay honest."""
import json
import pathlib
import re

import pytest
from conftest import IS_ROOT, leaves, needs_root, strict_json, wait_until

SETTING = pathlib.Path("/proc/sys/kernel/bpf_stats_enabled")
CALLS = 20000003


@pytest.fixture(scope="module")
def tier(session_denet):
    """Skips where this machine or user has no eBPF tier, or may not have statistics; says why."""
    if not IS_ROOT:
        pytest.skip("needs root")
    state = session_denet.run(["tiny"]).state("syscall.by_name")
    if state["quality"] == "missing":
        pytest.skip(f"no eBPF tier: {state.get('reason')}")


def rows_of(result, name="syscall"):
    return result.summary["tree"]["syscall"]["by_name"]


def budget_events(result):
    return [event for event in result.events if event["event"] == "budget"]


def test_a_storm_above_the_budget(denet, tier):
    result = denet.run(["sysloop", str(CALLS)], ["--probes", "latency", "--max-overhead", "0.5", "-i", "60"])
    assert result.rc == 0, result.stderr
    truth = result.truth["getppid"]
    texts = [event["text"] for event in budget_events(result)]
    steps = [text for text in texts if not text.startswith("nothing is left")]
    assert steps, texts
    for text in texts:
        used, bpf = map(float, re.search(r"tracing took ([\d.]+) % of a CPU \(([\d.]+) % in BPF programs\), --max-overhead is 0.5 %$", text).groups())
        assert used > 0.5 and bpf <= used + 0.02, text
    # The times cost most; each group goes its way from rarer to off, and once off it stays.
    ladder = ["looks at one event in 10", "looks at one event in 100", "is switched off"]
    for group in ("latency", "syscalls"):
        assert [text.split(":")[0].partition(" ")[2] for text in steps if text.startswith(group)] == ladder, texts
    assert steps[0].startswith("latency ")
    for name in ("syscall.count", "syscall.errors", "syscall.by_name", "syscall.time_ns", "syscall.latency"):
        assert result.quality(name) == "lower_bound", (name, result.state(name))
        assert "--max-overhead" in result.state(name)["reason"]
    counted = rows_of(result)["getppid"]["count"]
    assert 0 < counted < truth, "it was switched off on the way"
    # The time of the calls that were sampled stands for all up to then, and is less than what the loop took.
    assert 0 < rows_of(result)["getppid"]["time_ns"] < result.truth["wall_ns"]
    # What the budget does not touch is whole.
    assert result.quality("process.started") == "exact" and result.value("process.started") == 1
    own = result.summary["self"]
    assert own["bpf_runs"] > 0 and own["bpf_ns"] > own["bpf_runs"]


def test_a_budget_that_is_kept_changes_nothing(denet, tier):
    result = denet.run(["sysloop", str(100003)], ["--probes", "latency", "--max-overhead", "100", "-i", "60"])
    assert result.rc == 0 and budget_events(result) == []
    assert result.quality("syscall.by_name") == "exact" and result.quality("syscall.latency") == "exact"
    assert rows_of(result)["getppid"]["count"] == result.truth["getppid"]
    assert rows_of(result)["getppid"]["latency"]["count"] == result.truth["getppid"]


MIX = """
import os, signal, threading, time
end, lock = time.monotonic() + 3, threading.Lock()
signal.signal(signal.SIGUSR1, lambda *a: None)
def work():
    while time.monotonic() < end:
        for _ in range(200):
            with lock:
                os.getppid()
            os.stat("/")
        os.kill(os.getpid(), signal.SIGUSR1)
threads = [threading.Thread(target=work) for _ in range(2)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
"""


def test_each_step_is_told_by_each_metric_that_it_touches(denet, tier, registry):
    result = denet.run(["/usr/bin/python3", "-c", MIX], ["--probes", "all", "--max-overhead", "0.2", "-i", "60"])
    assert result.rc == 0, result.stderr
    last = {}
    for event in budget_events(result):
        group, _, step = event["text"].split(":")[0].partition(" ")
        if group == "nothing":
            continue
        assert last.get(group) != "is switched off", f"{group} was off already"
        last[group] = step
    assert last
    had = {name for name, state in result.header["metrics"].items() if state["quality"] != "missing"}
    for name, row in registry.items():
        state = result.state(name)
        if name not in had:
            continue
        if last.get(row["group"]) == "is switched off":
            assert state["quality"] in ("lower_bound", "missing"), (name, state)
        elif row["group"] in last:
            assert state["quality"] in ("sampled", "lower_bound", "missing"), (name, state)
        elif row["group"] not in ("syscalls", None):  # its tables have the times of another group
            assert "--max-overhead" not in state.get("reason", ""), (name, state)


@pytest.mark.parametrize("every", [2, 16])
def test_sampled_latency_stands_for_all(denet, tier, every):
    """One call in so many is timed and stands for so many; counts stay exact."""
    result = denet.run(["sysloop", str(1000003)], ["--probes", "latency", "--sample", f"latency=1/{every}"])
    row, truth = rows_of(result)["getppid"], result.truth["getppid"]
    assert result.quality("syscall.count") == "exact" and row["count"] == truth
    for name in ("syscall.time_ns", "syscall.latency", "syscall.by_name", "syscall.by_category"):
        assert result.quality(name) == "sampled", (name, result.state(name))
        assert f"one event in {every}" in result.state(name)["reason"] or f"one of {every} events" in result.state(name)["reason"] or f"one call in {every}" in result.state(name)["reason"]
    # A binomial of n truths at p = 1 / every has a deviation of sqrt(n (1 - p) / p) after weighting: eight of them never happen.
    deviation = (truth * (every - 1)) ** 0.5
    assert abs(row["latency"]["count"] - truth) < 8 * deviation
    assert row["latency"]["count"] % every == 0
    assert 0 < row["time_ns"] < 2 * result.truth["wall_ns"]


def test_account_is_the_same_as_denet_bpf(denet, tier, background):
    """Programs, maps and memory as somebody else sees them while it runs; runs at least those that must have been."""
    out = denet.path("account.jsonl")
    process = denet.popen(denet.argv(["--account", "--metrics", "syscall,process"], ["sh", "-c", "echo; read x; exec \"$0\" 100003", denet.workload("sysloop")], out),
                          stdin=-1)
    assert process.stdout.readline() == b"\n"
    document = strict_json(denet.call("bpf", "--json").stdout.strip())
    mine = {kind: [row for row in document[kind] if any(owner["pid"] == process.pid for owner in row["owners"])] for kind in ("programs", "maps")}
    assert mine["programs"] and mine["maps"]
    process.stdin.write(b"\n")
    process.stdin.flush()
    result = denet.finish(process, out)
    own = result.summary["self"]
    counted = rows_of(result)["getppid"]["count"]
    assert counted >= result.truth["getppid"] == 100003, "the shell asks for its parent too"
    assert own["bpf_programs"] >= len(mine["programs"])
    assert own["bpf_maps"] >= len(mine["maps"])
    assert own["bpf_map_bytes"] >= sum(row["memory_bytes"] for row in mine["maps"]) > 0
    assert own["bpf_runs"] >= counted and own["bpf_ns"] > own["bpf_runs"]
    assert own["load_ns"] > 0 and own["attach_ns"] > 0
    programs = own["programs"]
    assert sum(row["runs"] for row in programs.values()) == own["bpf_runs"] and sum(row["ns"] for row in programs.values()) == own["bpf_ns"]
    assert programs["dn_sys_exit"]["runs"] >= counted
    # The hook runs for each call of the machine; who is not of the tree is a bystander.
    calls = sum(row["count"] for name, row in rows_of(result).items() if name not in ("exit", "exit_group"))
    assert 0 <= programs["dn_sys_exit"]["runs"] - calls <= own["bystander_runs"] <= own["bpf_runs"] - calls + 10


def test_what_bystanders_pay_is_told(denet, tier, background):
    """A process outside that makes so many calls: as many runs, and as many switches that are none of ours."""
    out = denet.path("bystanders.jsonl")
    process = denet.popen(denet.argv(["--account", "--metrics", "syscall"], ["sh", "-c", "echo; read x"], out), stdin=-1)
    assert process.stdout.readline() == b"\n"
    outside = background([denet.workload("sysloop"), "500009"])
    assert outside.wait(timeout=60) == 0
    process.stdin.close()
    process.stdin = None
    own = denet.finish(process, out).summary["self"]
    assert 500009 <= own["bystander_runs"] <= own["bpf_runs"]
    assert own["programs"]["dn_sys_exit"]["runs"] - own["bystander_runs"] < 10000


def test_without_account_no_run_time_is_told(denet, tier):
    own = denet.run(["tiny"]).summary["self"]
    assert own["bpf_programs"] > 0 and own["bpf_map_bytes"] > 0
    assert ("programs" in own) == ("bystander_runs" in own) == (own["bpf_ns"] is not None)
    if SETTING.read_text().strip() == "0":
        assert own["bpf_ns"] is None and own["bpf_runs"] is None


def test_statistics_end_with_denet(denet, tier, background):
    if SETTING.read_text().strip() == "1":
        pytest.skip("an administrator has them on")
    holder = background([denet.workload("bpfobjects")])
    number = json.loads(holder.stdout.readline())["filter"]
    assert denet.run(["sysloop", str(1009)], ["--account"]).rc == 0

    def is_off():
        before = runs(denet, number)
        holder.stdin.write(b"run 1\n")
        holder.stdin.flush()
        assert holder.stdout.readline() == b"done\n"
        return runs(denet, number) == before

    wait_until(is_off)


def runs(denet, number):
    document = strict_json(denet.call("bpf", "--json").stdout.strip())
    return next(row["runs"] for row in document["programs"] if row["id"] == number) or 0


@needs_root
def test_without_ebpf_a_budget_costs_nothing(denet):
    result = denet.run(["sysloop", str(1009)], ["--max-overhead", "1", "--account"], nobody=True)
    assert result.rc == 0 and budget_events(result) == []
    assert result.summary["self"]["bpf_ns"] is None
    assert set(leaves(result.summary["tree"])) & {"syscall.count"} == set()


def test_statistics_refused(denet, tier):
    """With CAP_BPF and CAP_PERFMON alone there are programs, but no statistics: the stream says so, and nothing is switched off."""
    capabilities = "-all,+bpf,+perfmon"
    prefix = ["setpriv", f"--inh-caps={capabilities}", f"--bounding-set={capabilities}"]
    result = denet.run(["sysloop", str(300007)], ["--account", "--max-overhead", "1", "-i", "20"], prefix=prefix)
    backend = result.backend("ebpf")
    if backend["state"] not in ("active", "idle"):
        pytest.skip(f"no eBPF tier with CAP_BPF and CAP_PERFMON: {backend.get('reason')}")
    assert "BPF_ENABLE_STATS" in backend["reason"], backend
    assert result.summary["self"]["bpf_ns"] is None
    texts = [event["text"] for event in budget_events(result)]
    assert len(texts) == 1 and "can't be measured" in texts[0]
    assert rows_of(result)["getppid"]["count"] == result.truth["getppid"] and result.quality("syscall.by_name") == "exact"

# SPDX-License-Identifier: Apache-2.0
"""Once all is loaded denet goes on with few capabilities; the command keeps all of its own."""
import json
import os
import pathlib
import re
import subprocess

import ebpf
import pytest
from conftest import exact_but_for_theft, needs_root, wait_until

KEPT = {1: "dac_override", 2: "dac_read_search", 5: "kill", 19: "sys_ptrace"}
MASK = sum(1 << number for number in KEPT)
pytestmark = needs_root


@pytest.fixture(scope="module")
def tier(session_denet):
    ebpf.needs_metric(session_denet, "syscall.by_name", [])


def capabilities(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return {name: int(value, 16) for name, value in re.findall(r"Cap(Inh|Prm|Eff|Bnd|Amb):\s*(\w+)", status)}


def given_up(pid):
    now = capabilities(pid)
    return not now["Prm"] & ~MASK and not now["Eff"] & ~MASK and not now["Inh"]


def run_hold(denet, options, **kwargs):
    """denet with a command that stands still, in its hands; what the command said of itself."""
    out = denet.path("stream.jsonl")
    process = denet.popen(denet.argv(options, ["hold", "2", "1", "11"], out), stdin=subprocess.PIPE, **kwargs)
    process.out = out
    return process, json.loads(process.stdout.readline())


@pytest.mark.parametrize("options", [[], ["--probes", "all", "--detail"], ["--backend", "perf"], ["--backend", "procfs"], ["--probes", "network"],
                                     ["--account", "--max-overhead", "50"]], ids=" ".join)
def test_denet_gives_up_and_the_command_does_not(tier, denet, options):
    own = capabilities("self")
    assert own["Eff"] & ~MASK, "these tests can't tell: there is nothing to give up"
    process, said = run_hold(denet, ["-i", "20", *options])
    wait_until(lambda: given_up(process.pid))
    now = capabilities(process.pid)
    assert now["Eff"] == now["Prm"] == own["Prm"] & MASK
    for pid in (said["pid"], *said["children"]):
        # It was forked before.
        assert {name: capabilities(pid)[name] for name in ("Prm", "Eff", "Bnd")} == {name: own[name] for name in ("Prm", "Eff", "Bnd")}
    samples = pathlib.Path(process.out).read_bytes().count(b'"kind":"sample"')
    wait_until(lambda: pathlib.Path(process.out).read_bytes().count(b'"kind":"sample"') >= samples + 5)
    process.stdin.close()
    process.stdin = None
    result = denet.finish(process, process.out)
    assert result.rc == 0, result.stderr
    # What it can do is what it could: nothing was lost on the way.
    assert [event for event in result.events if event["event"] not in ("fork", "exec", "exit")] == []
    assert result.value("process.started") == 3 and result.value("process.exited") == 3
    if not options or "procfs" not in options:
        assert exact_but_for_theft(result, "cpu.total_ns") and result.value("cpu.total_ns") >= 3 * 11e6, result.state("cpu.total_ns")
    if "--backend" not in options:
        for name in ("syscall.by_name", "sched.blocked_by_kind", "process.exits"):
            assert result.quality(name) == "exact", result.state(name)
        assert result.value("process.exits") == {"0": {"count": 3}}


def test_attached(tier, denet, background):
    hold = background([denet.workload("hold"), "2", "1", "11"])
    pid = json.loads(hold.stdout.readline())["pid"]
    attached = denet.attach_start([str(pid)], ["-i", "20"])
    wait_until(lambda: given_up(attached.pid))
    assert capabilities(pid) == capabilities("self")
    hold.stdin.close()
    assert hold.wait(timeout=60) == 0
    result = denet.finish(attached, attached.out)
    assert result.rc == 0 and result.value("process.exits") == {"0": {"count": 3}}
    assert result.quality("syscall.by_name") == "exact" and result.value("syscall.count") > 0


def test_processes_of_other_users_are_still_read_and_signalled(tier, denet):
    """What /proc has of them takes a capability, and so does a signal to them."""
    script = "import os, signal, sys; os.setgid(65534); os.setuid(65534); print(1, flush=True); signal.pause()"
    out = denet.path("stream.jsonl")
    process = denet.popen(denet.argv(["-i", "20", "--per-process"], ["/usr/bin/python3", "-c", script], out))
    process.stdout.readline()
    wait_until(lambda: given_up(process.pid))

    def memory_is_read():
        last = [line for line in pathlib.Path(out).read_bytes().split(b"\n")[:-1] if b'"kind":"sample"' in line][-1:]
        return last and (json.loads(last[0])["tree"]["memory"].get("pss_bytes") or 0) > 0

    wait_until(memory_is_read)
    process.terminate()
    result = denet.finish(process, out)
    assert result.rc == -15 and result.summary["exit"]["signal_name"] == "SIGTERM", result.summary["exit"]
    assert result.value("process.exits") == {"SIGTERM": {"count": 1}}


def test_two_capabilities_are_enough_and_are_given_up(tier, denet):
    """With those that tracing takes and no others, as setcap gives them; then with none."""
    both = "cap_bpf,cap_perfmon"
    prefix = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", f"--inh-caps=-all,+{both.replace(',', ',+').replace('cap_', '')}",
              f"--ambient-caps=-all,+{both.replace(',', ',+').replace('cap_', '')}", f"--bounding-set=-all,+{both.replace(',', ',+').replace('cap_', '')}"]
    out = denet.path("stream.jsonl")
    argv = [*prefix, *denet.argv(["-i", "20"], ["hold", "1", "1", "11"], out)]
    process = denet.popen(argv, stdin=subprocess.PIPE)
    said = json.loads(process.stdout.readline())
    wait_until(lambda: given_up(process.pid))
    now = capabilities(process.pid)
    assert now["Prm"] == now["Eff"] == now["Amb"] == 0
    assert capabilities(said["pid"])["Prm"] == 1 << 39 | 1 << 38, "the command has what its caller had"
    process.stdin.close()
    process.stdin = None
    result = denet.finish(process, out)
    assert result.rc == 0 and result.quality("syscall.by_name") == "exact"
    assert result.value("process.exits") == {"0": {"count": 2}}


def test_debug_tells(tier, denet):
    result = denet.run(["sleeps", "101", "3000"], ["--debug", "-i", "20"])
    assert b"capabilities are given up, but for those to read /proc and to signal" in result.stderr, os.fsdecode(result.stderr)[-600:]

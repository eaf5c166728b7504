# SPDX-License-Identifier: Apache-2.0
"""What people read of the eBPF tier: an order for it that can't be kept, --debug, doctor's groups."""
import errno
import json
import os
import pathlib
import re

import ebpf
import pytest
from conftest import NOBODY, needs_root, wait_until

GRANT = "setcap cap_bpf,cap_perfmon+ep on the denet binary; in a container --cap-add BPF --cap-add PERFMON"
DENIED = f"denet: the ebpf tier supplies nothing here: bpf(2): EPERM, CAP_BPF and CAP_PERFMON are missing; {GRANT}\n"


@pytest.fixture(autouse=True)
def tier(denet):
    ebpf.needs_metric(denet, "process.exits", [])


def forced(denet, prefix=(), options=(), ran=None):
    """denet run --backend ebpf of a command that leaves a file: (status, stderr, whether it ran)."""
    ran = denet.path("ran")
    result = denet.finish(denet.popen([*prefix, str(denet.program), "run", "--backend", "ebpf", *options, "--", "touch", ran]))
    assert result.stdout == b""
    return result.rc, result.stderr.decode(), os.path.exists(ran)


# Forced


def test_forced_where_it_works(denet):
    result = denet.run(["tiny", "7"], ["--backend", "ebpf"])
    assert result.rc == 7 and result.stderr == b"" and result.header["tier"] == "ebpf"
    assert result.backend("ebpf") == {"name": "ebpf", "state": "active"}
    # A tier includes those below it.
    assert result.backend("procfs")["state"] == "active"


@needs_root
def test_forced_without_privileges(denet):
    """One line: what was asked, what the kernel said, the smallest change. Nothing is run in its stead."""
    assert forced(denet, NOBODY) == (125, DENIED, False)
    attach = denet.call("attach", "--backend", "ebpf", str(os.getpid()), nobody=True)
    assert (attach.rc, attach.stderr.decode()) == (1, DENIED)


@pytest.mark.parametrize("error, said, hint", [
    (errno.EPERM, "EPERM although CAP_BPF and CAP_PERFMON are there, a seccomp filter or security module forbids it", "container's seccomp profile"),
    (errno.ENOSYS, "ENOSYS although the kernel has BPF, a seccomp filter hides it", "container's seccomp profile")])
def test_forced_behind_a_filter(denet, error, said, hint):
    rc, stderr, ran = forced(denet, [denet.workload("denysys"), str(error), "bpf"])
    assert rc == 125 and not ran and stderr.count("\n") == 1
    assert f"the ebpf tier supplies nothing here: bpf(2): {said}" in stderr and hint in stderr


def test_forced_without_a_group(denet):
    said = "denet: the ebpf tier supplies nothing here: no probe group is on (--probes)\n"
    assert forced(denet, options=["--probes", "none"]) == (125, said, False)


def test_not_forced_without_a_group(denet):
    """Then it is no failure, and the header has the reason."""
    result = denet.run(["tiny"], ["--probes", "none"])
    assert result.rc == 0 and result.stderr == b"" and result.header["tier"] != "ebpf"
    assert result.backend("ebpf")["reason"] == "no probe group is on (--probes)"
    result = denet.run(["tiny"], ["--probes", "none,latency", "--metrics", "memory", "--no-children"])
    assert result.backend("ebpf")["reason"] == "nothing that is measured is of a probe group that is on"


@pytest.mark.parametrize("options, said", [
    (["--probes", "sched,bogus"], "unknown probe group 'bogus'; there are lifecycle, syscalls, sched, latency"), (["--sample", "latency=1/0"], "--sample"),
    (["--sample", "bogus=1/3"], "unknown probe group 'bogus'"), (["--backend", "epbf"], "ebpf")], ids=str)
def test_mistyped(denet, options, said):
    result = denet.finish(denet.popen([str(denet.program), "run", *options, "--", "touch", denet.path("ran")]))
    text = result.stderr.decode()
    assert result.rc == 125 and text.startswith("denet: ") and said in text and text.count("\n") <= 2, text
    assert not list(pathlib.Path(denet.folder).glob("*-ran"))


# --debug


def test_debug_says_what_was_refused(denet):
    """Per program what the kernel's verifier said, on stderr and nowhere else; without it not a word."""
    options = ["--probes", "all"]
    plain, debug = denet.run(["tiny"], options), denet.run(["tiny"], [*options, "--debug"])
    assert plain.rc == debug.rc == 0 and plain.stderr == plain.stdout == debug.stdout == b""
    refused = set()
    for result in (plain, debug):
        states = [result.state(name) for name in result.header["metrics"]]
        refused |= {m.group(1) for state in states if (m := re.search(r"the kernel refused the program (\w+)", state.get("reason") or ""))}
    text = debug.stderr.decode()
    for program in refused:
        assert re.search(rf"^denet: backend ebpf: .*\b{program}\b", text, re.MULTILINE), (program, text[-500:])
    assert refused or "backend ebpf" not in text


def test_debug_of_a_denied_tier_is_no_failure(denet):
    result = denet.run(["tiny", "3"], ["--debug"], nobody=True)
    assert result.rc == 3 and result.header["tier"] != "ebpf"
    assert all(line.startswith(b"denet: ") for line in result.stderr.splitlines())


# doctor


def groups_of(text):
    """The lines of each group: {name: (state, default, [further lines])}."""
    part = text.split("Probe groups (* on by default)\n")[1].split("\n\n")[0]
    groups = {}
    for line in part.splitlines():
        head = re.match(r"  (works|in part|missing) +(\w+)(\*?): (.*)$", line)
        if head:
            lines = []
            groups[head.group(2)] = head.group(1), bool(head.group(3)), lines
        else:
            lines.append(line.strip())
    return groups


def test_doctor_where_it_works(denet, registry):
    result = denet.call("doctor")
    groups = groups_of(result.stdout.decode())
    assert result.rc == 0 and set(groups) == {row["group"] for row in registry.values() if row["group"]}
    assert {name for name, (_, default, _) in groups.items() if default} == {"lifecycle", "syscalls", "sched"}
    for name in ("lifecycle", "syscalls", "sched", "latency"):
        state, _, lines = groups[name]
        assert state == "works" and not any(line.startswith(("why:", "fix:", "without:")) for line in lines), (name, lines)
    for name, (state, _, lines) in groups.items():
        why = [line for line in lines if line.startswith("why:")]
        assert bool(why) == (state != "works"), (name, lines)
        assert any(line.startswith("without:") for line in lines) == (state == "in part"), (name, lines)


@needs_root
def test_doctor_where_it_is_denied(denet):
    """The reason and what would help once, not thirteen times; nothing wider than the page."""
    text = denet.call("doctor", nobody=True).stdout.decode()
    groups = groups_of(text)
    assert {state for state, _, _ in groups.values()} == {"missing"}
    told = [" ".join(lines) for _, _, lines in groups.values()]
    assert f"why: bpf(2): EPERM, CAP_BPF and CAP_PERFMON are missing fix: {GRANT}" in told[0]
    assert all(lines.endswith("why: as above") for lines in told[1:]), told
    assert max(map(len, text.splitlines())) <= 100


@needs_root
def test_doctor_leaves_nothing_behind(denet, background):
    """It loads programs to find out: afterwards none is there that nobody holds, and none is pinned."""

    def orphans():
        programs = json.loads(denet.call("bpf", "--json").stdout)["programs"]
        return [p for p in programs if p["name"].startswith("dn_") and (not p["owners"] or p["pinned"])]

    held = background([denet.program, "run", "-q", "-o", denet.path("held.jsonl"), "--", denet.workload("hold")])
    held.stdout.readline()
    programs = json.loads(denet.call("bpf", "--json").stdout)["programs"]
    assert [p for p in programs if p["name"] == "dn_fork" and held.pid in [owner["pid"] for owner in p["owners"]]], "programs in use are seen"
    assert denet.call("doctor").rc == 0
    held.stdin.close()
    assert held.wait(timeout=60) == 0
    wait_until(lambda: not orphans())

# SPDX-License-Identifier: Apache-2.0
"""What the eBPF tier needs is not there, or the world is odd: the command runs, on the lower tier where it must be, and the
header and doctor say why and what would help."""
import errno
import json
import os
import pathlib
import signal
import subprocess

import ebpf
import pytest
from conftest import IS_ROOT, NOBODY, Stream, needs_root, not_sanitized, wait_until

CALLS = 10007
NOBODY_WITH = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--inh-caps", "+bpf,+perfmon", "--ambient-caps", "+bpf,+perfmon"]


@pytest.fixture(autouse=True)
def tier(denet):
    ebpf.needs_metric(denet, "process.exits", [])


def shell(prefix, script):
    return [*prefix, "sh", "-c", f'{script}; exec "$@"', "sh"]


def capsh(*capabilities):
    return ["capsh", f"--drop={','.join(capabilities)}", "--", "-c", 'exec "$@"', "sh"]


def seccomp(denet, error, call):
    return [denet.workload("denysys"), str(error), call]


# Without what it needs

LOWER = {
    "nobody": (lambda denet: NOBODY, "denied", "CAP_BPF and CAP_PERFMON are missing", "setcap cap_bpf,cap_perfmon+ep"),
    "without CAP_BPF": (lambda denet: capsh("cap_bpf", "cap_sys_admin"), "denied", "CAP_BPF is missing", "--cap-add BPF"),
    "without CAP_PERFMON": (lambda denet: capsh("cap_perfmon", "cap_sys_admin"), "denied", "CAP_PERFMON is missing", "--cap-add PERFMON"),
    "user namespace": (lambda denet: ["unshare", "-r"], "denied", "user namespace", "outside"),
    "bpf is EPERM": (lambda denet: seccomp(denet, errno.EPERM, "bpf"), "denied", "seccomp", "allow bpf"),
    "bpf is ENOSYS": (lambda denet: seccomp(denet, errno.ENOSYS, "bpf"), "denied", "seccomp", "allow bpf"),
    "no BTF": (lambda denet: shell(["unshare", "-m"], "mount --bind /dev/null /sys/kernel/btf/vmlinux"), "unsupported", "no BTF", "CONFIG_DEBUG_INFO_BTF"),
}


@needs_root
@pytest.mark.parametrize("name", LOWER)
def test_lower_tier(denet, name):
    prefix, state, reason, hint = LOWER[name]
    out = denet.path("stream.jsonl")
    pathlib.Path(denet.folder).chmod(0o777)
    result = denet.run(["sh", "-c", f"{denet.workload('sysloop')} {CALLS} > /dev/null; exit 7"], prefix=prefix(denet))
    assert result.rc == 7 and result.summary["exit"]["code"] == 7, result.stderr
    assert result.header["tier"] in ("perf", "procfs")
    backend = result.backend("ebpf")
    assert backend["state"] == state and reason in backend["reason"] and hint in backend["hint"], backend
    for metric in ("syscall.count", "sched.run_delay", "process.execs"):
        found = result.state(metric)
        assert found["quality"] == "missing" and found["reason"] == backend["reason"] and found["hint"] == backend["hint"], found
        assert result.value(metric) is None
    assert result.value("cpu.total_ns") > 0 and result.value("process.started") == 2, out
    doctor = denet.finish(denet.popen([*prefix(denet), str(denet.program), "doctor", "--json"]))
    told = next(row for row in json.loads(doctor.stdout)["backends"] if row["name"] == "ebpf")
    assert told["reason"] == backend["reason"] and told["hint"] == backend["hint"], told


@needs_root
def test_forced_tier_says_the_same(denet):
    result = denet.finish(denet.popen([*NOBODY, str(denet.program), "run", "--backend", "ebpf", "--", "touch", denet.path("ran")]))
    assert result.rc == 125 and not os.path.exists(denet.path("ran"))
    assert b"CAP_BPF and CAP_PERFMON are missing" in result.stderr and b"setcap cap_bpf,cap_perfmon+ep" in result.stderr


# Without what it does not need

SAME = {
    "root": lambda denet: [],
    "nobody with two capabilities": lambda denet: NOBODY_WITH,
    "no tracefs": lambda denet: shell(["unshare", "-m"], "umount -a -t tracefs,debugfs 2> /dev/null; mount -t tmpfs none /sys/kernel/debug"),
    "no perf_event_open": lambda denet: seccomp(denet, errno.EPERM, "perf_event_open"),
    "no locked memory": lambda denet: shell([], "ulimit -l 0"),
    "pid namespace": lambda denet: ["unshare", "-p", "--fork", "--mount-proc"],
}


@needs_root
@pytest.mark.parametrize("name", SAME)
def test_same_tier(denet, name):
    pathlib.Path(denet.folder).chmod(0o777)
    result = denet.run(["sysloop", str(CALLS), "3"], prefix=SAME[name](denet))
    assert result.rc == 0 and result.header["tier"] == "ebpf", (result.header["backends"], result.stderr)
    assert ebpf.column(result, "syscall.by_name", "count")["getppid"] == 3 * CALLS
    assert result.value("process.threads_started") == 2 and result.value("process.started") == 1
    for metric in ("syscall.count", "process.started", "cpu.total_ns", "process.exits"):
        assert result.quality(metric) == "exact", result.state(metric)


@needs_root
def test_processes_of_a_pid_namespace(denet):
    """Its numbers are those that denet sees in there, and each process has its end."""
    result = denet.run(["pidstorm", "503"], ["--process-events"], prefix=["unshare", "-p", "--fork", "--mount-proc"])
    forked = [event["pid"] for event in result.stream.events if event["event"] == "fork"]
    assert forked == result.truth["pids"]
    assert sorted(event["pid"] for event in result.stream.events if event["event"] == "exit") == sorted([*forked, result.header["pid"]])


# Odd processes

def test_a_thread_that_executes(denet):
    result = denet.run(["threadexec", "23"])
    assert (result.value("process.started"), result.value("process.exited")) == (1, 1)
    assert result.value("process.execs") == 2 and result.value("process.threads_started") == 3
    assert ebpf.column(result, "process.exits", "count") == {"0": 1}
    assert result.value("cpu.total_ns") >= 3 * 23e6 and result.quality("cpu.total_ns") == "exact"


def test_a_leader_that_ends_first(denet):
    result = denet.run(["leaderexit"])
    assert (result.value("process.started"), result.value("process.exited")) == (1, 1)
    assert result.value("process.threads_started") == result.truth["threads_started"]
    # Its own clock has what it took before its exec, in a copy of denet.
    assert result.value("cpu.total_ns") >= 0.99 * result.truth["cpu_ns"]
    lifetime = result.value("process.lifetime")
    assert lifetime["count"] == 1 and result.truth["after_leader_ns"] <= lifetime["max"] <= result.summary["wall_ns"]


def test_attach_to_an_ancestor(denet):
    """denet is in the tree that it measures: it counts itself, and what it does because of that comes to an end."""
    out = denet.path("own.jsonl")
    script = f"{denet.program} attach -q -o {out} -i 50 -d 0.5 $$ & wait $!; {denet.workload('sysloop')} 7"
    result = denet.finish(denet.popen(["sh", "-c", script]), out)
    assert result.rc == 0, result.stderr
    assert result.summary["ended_by"] == "duration" and result.header["tier"] == "ebpf"
    assert result.value("process.started") == 2 and result.value("process.count") == 2
    assert 0 < result.value("cpu.total_ns") < 2 * result.summary["wall_ns"]
    assert result.summary["lost"]["produced"] == result.summary["lost"]["received"] < 100


@not_sanitized
def test_ten_thousand_processes(denet):
    """All of them are found, and what they do afterwards is counted."""
    process = denet.popen([denet.workload("crowd"), "10000"], stdin=subprocess.PIPE)
    try:
        assert process.stdout.readline()
        attached = denet.attach_start([str(process.pid)])
        process.stdin.close()
        process.stdin = None
        result = denet.finish(attached, attached.out)
        assert result.rc == 0, result.stderr
        assert result.value("process.started") == result.value("process.exited") == 10001
        # All end at once; the ring has room for some thousand ends that denet has not looked at.
        told, lost = ebpf.column(result, "process.exits", "count")["0"], result.summary["lost"]
        assert told + lost["events"] == 10001 == lost["produced"] and told == lost["received"]
        assert result.quality("process.exits") == ("lower_bound" if lost["events"] else "exact")
        assert result.quality("cpu.total_ns") == "exact", result.state("cpu.total_ns")
    finally:
        process.kill()
        process.communicate()


def test_a_storm_while_it_attaches(denet):
    """From some birth on every process is told, once, with its end; who lived when denet came is in the table."""
    pids = [1, 1]
    while len(set(pids)) < len(pids):  # others of this machine may use up numbers, so that one comes a second time
        with open(denet.path("pids"), "w+") as said:
            storm = subprocess.Popen([denet.workload("pidstorm"), "20011"], stdout=said)
            result = denet.attach([str(storm.pid)], ["--process-events"])
            storm.wait()
            said.seek(0)
            pids = json.load(said)["pids"]
    assert result.rc == 0, result.stderr
    assert result.summary["lost"]["events"] == 0
    born = [event["pid"] for event in result.stream.events if event["event"] == "fork"]
    ended = [event["pid"] for event in result.stream.events if event["event"] == "exit"]
    assert born and len(set(born)) == len(born) and len(set(ended)) == len(ended)
    # Up to the moment in which counting begins a process is told as born, or is there already.
    first = max(map(pids.index, born[:16]))
    before = set(pids[:first])
    assert [pid for pid in born if pid not in before] == pids[first:], "a birth was missed"
    known = set(ended) - set(born) - {storm.pid}
    assert known <= before and len(known) <= 64, "an end without a birth"
    assert set(born) | known | {storm.pid} == set(ended)
    assert result.value("process.started") == result.value("process.exited") == len(ended)
    assert result.quality("process.started") == "exact"


@needs_root
@pytest.mark.skipif(not IS_ROOT, reason="lists the programs of the machine")
def test_killed_denet_leaves_nothing(denet):
    def own():
        listed = json.loads(denet.call("bpf", "--json").stdout)
        return [program["id"] for program in listed["programs"]]

    before = set(own())
    out = denet.path("killed.jsonl")
    process = denet.popen(denet.argv([], ["sleep", "1009"], out))
    wait_until(lambda: os.path.exists(out) and b"\n" in pathlib.Path(out).read_bytes())
    during = set(own()) - before
    child = int(pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[0])
    assert len(during) >= 4
    process.kill()
    process.wait()
    os.kill(child, signal.SIGKILL)  # it holds the pipes
    process.communicate()
    wait_until(lambda: not during & set(own()))
    assert Stream(pathlib.Path(out).read_bytes(), denet.checker, False).header["tier"] == "ebpf"

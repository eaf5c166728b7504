# SPDX-License-Identifier: Apache-2.0
"""System calls and their errors by name are what strace -f counts, call by call.

Where what a program calls depends on timing, strace and denet watch the same run: strace traces denet and with it the command, whose calls are
then picked from the log (straced.py). Both count the command's own execve and the exit calls that never return. strace counts
nothing else: the gate's recvfrom and the attempts of execvp are denet's, and the log begins for us at the execve that succeeded.
A call in which its thread was killed counts for both, but only the kernel knows its result; a thread that was killed as it entered a call may be
one call short in strace's log (straced.Calls.cut): programs without such threads have to be equal.
"""
import os
import pathlib
import subprocess

import ebpf
import pytest
import straced
from conftest import ROOT, without_leak_check


@pytest.fixture(scope="module")
def tier(session_denet):
    ebpf.needs_metric(session_denet, "syscall.by_name", [])


def by_name(result):
    """{name: (count, errors)}."""
    rows = result.summary["tree"]["syscall"]["by_name"]
    return {name: (row["count"], row["errors"]) for name, row in rows.items()}


def compare(result, calls):
    assert result.rc == 0, result.stderr[-800:]
    assert result.quality("syscall.by_name") == "exact", result.state("syscall.by_name")
    rows = by_name(result)
    counted = {name: count for name, (count, _) in rows.items()}
    unseen = {name: counted.get(name, 0) - calls.count[name] for name in {*counted, *calls.count}}
    assert all(n >= 0 for n in unseen.values()) and sum(unseen.values()) <= calls.cut, (difference(counted, calls.count), calls.cut)
    errors = {name: count for name, (_, count) in rows.items()}
    for name, count in errors.items():
        most = calls.errors[name] + calls.unknown[name] + unseen[name]
        assert calls.errors[name] <= count <= most, (name, count, calls.errors[name], most)
    assert result.value("syscall.count") == sum(counted.values())
    assert result.value("syscall.errors") == sum(errors.values())


def difference(counted, truth):
    return {name: (counted.get(name, 0), truth.get(name, 0)) for name in set(counted) | set(truth) if counted.get(name, 0) != truth.get(name, 0)}


def same_run(denet, command, options=(), **kwargs):
    """Under strace, denet and its command: (result, what strace saw of the command)."""
    log = denet.path("strace.log")
    result = denet.run(command, options, prefix=[*straced.STRACE, "-o", log], **kwargs)
    return result, straced.calls_below_denet(log)


def check_same_run(denet, command, **kwargs):
    result, calls = same_run(denet, command, **kwargs)
    compare(result, calls)
    return result, calls


def strace_alone(denet, command, **kwargs):
    log = denet.path("strace.log")
    subprocess.run([*straced.STRACE, "-o", log, *denet.resolve(command)], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                   stderr=subprocess.PIPE, cwd=denet.folder, env=without_leak_check(), **kwargs)
    return straced.calls_of(log)


def test_known_program_twenty_times(tier, denet):
    """Every run the same calls, each of them: those of the program's start as strace has them, the others as the program says."""
    calls = strace_alone(denet, ["syscalls", "1009"])
    for _ in range(20):
        result = denet.run(["syscalls", "1009"])
        truth = result.truth["calls"]
        beyond = [truth.pop("syscall_9973"), truth.pop("syscall_-1")]
        truth["syscall_other"] = {key: sum(said[key] for said in beyond) for key in ("count", "errors")}
        for name, said in truth.items():
            assert by_name(result)[name] == (said["count"], said["errors"]), name
        compare(result, calls)


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="int 0x80 is of x86")
def test_calls_of_the_32_bit_abi(tier, denet):
    probe = subprocess.run([denet.workload("syscalls"), "1", "compat"], capture_output=True)
    if probe.returncode < 0:
        pytest.skip("this kernel has no 32-bit calls")
    result = denet.run(["syscalls", "503", "compat"])
    rows, truth = by_name(result), result.truth["calls"]
    for name in ("i386:getppid", "i386:dup", "getppid", "dup"):
        assert rows[name] == (truth[name]["count"], truth[name]["errors"]), name
    assert truth["i386:getppid"] == {"count": 503, "errors": 0}


def test_threads(tier, denet):
    """Four threads of the same process at once: none of their calls is lost."""
    for _ in range(5):
        result = denet.run(["sysloop", "100003", "4"])
        assert by_name(result)["getppid"] == (result.truth["getppid"], 0) == (400012, 0)


@pytest.mark.parametrize("command", [["forkexec", "53"], ["threadexec", "3"], ["leaderexit", "5", "3"], ["signaler", "7"], ["latencies", "3", "5"],
                                     ["futexes", "5", "3"], ["connects"], ["limiter"], ["capper"]], ids=lambda c: c[0])
def test_workloads(tier, denet, command):
    check_same_run(denet, command)


def test_find(tier, denet):
    result, calls = check_same_run(denet, ["/usr/bin/find", "/usr", "-name", "*.h"])
    assert calls.count["newfstatat"] > 1000 and calls.count["getdents64"] > 1000
    again = denet.run(["/usr/bin/find", "/usr", "-name", "*.h"])
    compare(again, calls)


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """A small repository: twenty-three commits to eleven files."""
    folder = tmp_path_factory.mktemp("repository")
    env = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null", "GIT_AUTHOR_NAME": "nobody", "GIT_AUTHOR_EMAIL": "nobody@invalid",
           "GIT_COMMITTER_NAME": "nobody", "GIT_COMMITTER_EMAIL": "nobody@invalid"}
    subprocess.run(["git", "init", "-q", folder], check=True, env=env)
    for i in range(23):
        (folder / f"file{i % 11}").write_text("line\n" * (i + 1))
        subprocess.run(["git", "add", "."], check=True, cwd=folder, env=env)
        subprocess.run(["git", "commit", "-q", "-m", f"change {i}"], check=True, cwd=folder, env=env)
    return folder


def test_git_log(tier, denet, repository):
    result, calls = check_same_run(denet, ["/usr/bin/git", "-C", repository, "log", "--stat"])
    assert result.stdout.count(b"\ncommit ") == 22
    assert calls.count["openat"] > 23


def test_python(tier, denet):
    """An interpreter, and a program of many files."""
    _, calls = check_same_run(denet, ["/usr/bin/python3", "-c", "import json, asyncio"])
    assert calls.count["openat"] > 50


def test_many_forks(tier, denet):
    result, calls = check_same_run(denet, ["/bin/sh", "-c", "i=0; while [ $i -lt 503 ]; do (exit 3) ; i=$((i+1)); done"])
    births = sum(calls.count[name] for name in straced.BIRTHS)
    assert births == 503
    assert result.value("process.started") == 504


def test_make(tier, denet):
    """A real parallel build: what it calls depends on timing, so both watch the same one."""
    out = pathlib.Path(denet.path("out"))
    programs = ["burn", "hold", "tcp", "threads", "syscalls", "tiny", "write"]
    _, calls = check_same_run(denet, ["/usr/bin/make", "-s", "-j2", "-C", ROOT / "tests" / "workloads", f"OUT={out}", *(out / name for name in programs)])
    assert all((out / name).exists() for name in programs)
    assert calls.count["execve"] - calls.errors["execve"] > 4 * len(programs)


def test_sum_of_processes(tier, denet):
    """Per process the calls add up to the tree's."""
    result = denet.run(["/bin/sh", "-c", f"for i in 1 2 3; do {denet.workload('sysloop')} 1009; done"])
    assert by_name(result)["getppid"][0] >= 3 * 1009
    categories = result.summary["tree"]["syscall"]["by_category"]
    assert sum(row["count"] for row in categories.values()) == result.value("syscall.count")
    assert sum(row["errors"] for row in categories.values()) == result.value("syscall.errors")

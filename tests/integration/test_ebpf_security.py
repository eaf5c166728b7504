# SPDX-License-Identifier: Apache-2.0
"""The group security: what a program without capabilities asked for and was refused, and calls that change what a process may do."""
import os
import shutil
import subprocess

import ebpf
import pytest
from conftest import NOBODY

OPTIONS = ["--probes", "security"]


@pytest.fixture(autouse=True)
def tier(denet):
    ebpf.needs_metric(denet, "security.calls", OPTIONS)


def events(result):
    return [event for event in result.events if event["event"] == "security"]


def capabilities(denet):
    state = denet.run(["tiny"], OPTIONS).state("security.capability_checks")
    if state["quality"] == "missing":
        pytest.skip(f"security.capability_checks: {state['reason']}")


def test_calls_and_their_errors(denet):
    result = denet.run(["capper", "7"], OPTIONS)
    calls = {name: said["count"] for name, said in result.truth["calls"].items()}
    rows = ebpf.table(result, "security.by_call")
    for name in ("chroot", "sethostname", "mount", "clock_settime", "reboot"):
        assert rows[name] == {"count": calls[name], "errors": calls[name]} and calls[name] == 7, (name, rows)
    # Root becomes nobody by one that works.
    assert rows["setresuid"]["errors"] == 7 and rows["setresuid"]["count"] == 7 + (os.geteuid() == 0)
    assert "socket" not in rows and "setpriority" not in rows
    assert result.value("security.calls") == sum(row["count"] for row in rows.values())


def test_denials(denet):
    """Between two runs that differ by seven calls of each kind, each asks seven times more; mount and sethostname ask for the same."""
    capabilities(denet)
    few, many = (denet.run(["capper", n], OPTIONS) for n in ("5", "12"))
    more = {}
    for name in {said["capability"] for said in many.truth["calls"].values()}:
        asked = sum(7 for said in many.truth["calls"].values() if said["capability"] == name)
        rows = [ebpf.table(result, "security.by_capability")[f"cap_{name}"] for result in (few, many)]
        assert rows[1]["denials"] - rows[0]["denials"] == asked, (name, rows)
        assert rows[1]["checks"] - rows[0]["checks"] == asked, (name, rows)
        more[name] = asked
    assert many.value("security.capability_denials") - few.value("security.capability_denials") == sum(more.values()) == 56
    rows = ebpf.table(many, "security.by_capability")
    assert many.value("security.capability_denials") == sum(row["denials"] for row in rows.values())
    assert many.value("security.capability_checks") == sum(row["checks"] for row in rows.values())


def test_records_of_refusals(denet):
    """Who, which call, with what, and what it lacked; a few of each, whatever the number."""
    capabilities(denet)
    result = denet.run(["capper", "1009"], OPTIONS)
    texts = [event["text"] for event in events(result)]
    for text in ("chroot() = EPERM, cap_sys_chroot denied", "mount(flags 0x0) = EPERM, cap_sys_admin denied", "setresuid(0, 0, 0) = EPERM, cap_setuid denied",
                 "socket = EPERM, cap_net_raw denied", "setpriority = EACCES, cap_sys_nice denied"):
        assert text in texts, (text, texts)
    assert all(event["name"] == "capper" for event in events(result))
    assert len(texts) <= 4 * 16 * (result.summary["wall_ns"] // 10**9 + 2)


def test_a_file_that_nobody_may_read(denet, tmp_path):
    capabilities(denet)
    secret = tmp_path / "secret"
    secret.write_text("secret\n")
    secret.chmod(0o600)
    os.chown(secret, 0, 0)
    result = denet.run([*NOBODY, "/bin/cat", secret], OPTIONS)
    assert result.rc == 1
    texts = [event["text"] for event in events(result) if event["text"].startswith("openat = EACCES")]
    assert texts == ["openat = EACCES, cap_dac_override denied, cap_dac_read_search denied"], [event["text"] for event in events(result)]
    assert b"secret" not in b"".join(event["text"].encode() for event in events(result))


def test_namespaces_only(denet):
    """clone and unshare count when they make namespaces."""
    assert "clone" not in ebpf.table(denet.run(["forkexec", "13"], OPTIONS), "security.by_call")
    if subprocess.run(["unshare", "--mount", "--uts", "true"], capture_output=True).returncode:
        pytest.skip("no namespaces here")
    result = denet.run(["/usr/bin/unshare", "--mount", "--uts", "/bin/true"], OPTIONS)
    assert ebpf.table(result, "security.by_call")["unshare"] == {"count": 1, "errors": 0}
    assert "unshare(flags 0x4020000) = 0" in [event["text"] for event in events(result)]


CLONE3 = """
import ctypes, os
libc = ctypes.CDLL(None)
for flags in (0, 0x04000000, 0x04000000):  # CLONE_NEWUTS
    args = (ctypes.c_uint64 * 8)(flags, 0, 0, 0, 17)
    pid = libc.syscall(435, args, 64)
    if pid == 0:
        os._exit(0)
    assert pid > 0
    os.waitpid(pid, 0)
"""


def test_clone3(denet):
    """Its flags are read where they are."""
    result = denet.run(["/usr/bin/python3", "-S", "-c", CLONE3], OPTIONS)
    if result.rc:
        pytest.skip("no clone3 with namespaces here")
    assert ebpf.table(result, "security.by_call")["clone3"] == {"count": 2, "errors": 0}
    assert any(event["text"].startswith("clone3(flags 0x4000000) = ") for event in events(result))


PRCTL = """
import ctypes
libc = ctypes.CDLL(None)
for _ in range(11):
    assert libc.prctl(38, 1, 0, 0, 0) == 0   # PR_SET_NO_NEW_PRIVS
    assert libc.prctl(39, 0, 0, 0, 0) == 1   # PR_GET_NO_NEW_PRIVS
    assert libc.prctl(15, b"other", 0, 0, 0) == 0   # PR_SET_NAME
    libc.personality(0xffffffff)
    libc.personality(0)
    libc.personality(0)
"""


def test_what_only_asks_is_none(denet):
    result = denet.run(["/usr/bin/python3", "-S", "-c", PRCTL], OPTIONS)
    assert result.rc == 0, result.stderr[-500:]
    rows = ebpf.table(result, "security.by_call")
    assert rows == {"prctl": {"count": 11, "errors": 0}, "personality": {"count": 22, "errors": 0}}, rows


def test_a_tracer(denet):
    """Many calls of one name: all counted, few told."""
    if not shutil.which("strace"):
        pytest.skip("no strace")
    log = denet.path("strace.log")
    result = denet.run(["/usr/bin/strace", "-o", log, denet.workload("sysloop"), "2003"], OPTIONS)
    row = ebpf.table(result, "security.by_call")["ptrace"]
    assert row["count"] > 4006, row
    told = [event for event in events(result) if event["text"].startswith("ptrace(request ")]
    assert 3 <= len(told) <= 4 * (result.summary["wall_ns"] // 10**9 + 2)

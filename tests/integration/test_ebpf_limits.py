# SPDX-License-Identifier: Apache-2.0
"""The group limits: failures by errno and call are what the program ran into; records are few, numbers complete."""
import ebpf
import pytest

OPTIONS = ["--probes", "limits"]


@pytest.fixture(autouse=True)
def tier(denet):
    ebpf.needs_metric(denet, "limit.hits", OPTIONS)


def limits(result):
    return [event for event in result.events if event["event"] == "limit"]


def test_by_call(denet):
    """Each limit seven times, and what looks like one and is none: the empty pipe's EAGAIN, all calls that work."""
    result = denet.run(["limiter", "7"], OPTIONS)
    truth = result.truth
    assert truth["empty_reads"] == 7 and truth["hits"] >= 35
    assert ebpf.column(result, "limit.by_call", "count") == {key: n for key, n in truth["by_call"].items() if n}
    assert result.value("limit.hits") == truth["hits"] and result.quality("limit.hits") == "exact"


def test_records(denet):
    """The first of each kind are told as they happen, with who and what."""
    result = denet.run(["limiter", "1009"], OPTIONS)
    assert ebpf.column(result, "limit.by_call", "count") == {key: n for key, n in result.truth["by_call"].items() if n}
    told = limits(result)
    for key in ebpf.table(result, "limit.by_call"):
        errno, call = key.split(":")
        some = [event for event in told if event["text"].startswith(f"{call}: {errno}, ")]
        assert some and all(event["name"] == "limiter" for event in some), (key, told)
    assert len(told) >= 3 * len(ebpf.table(result, "limit.by_call"))


STORM = """
import os, resource
resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))
for _ in range(100003):
    try:
        os.open(b"/dev/null", 0)
        raise SystemExit(1)
    except OSError as e:
        pass
"""


def test_a_storm_floods_nothing(denet):
    result = denet.run(["/usr/bin/python3", "-S", "-c", STORM], OPTIONS)
    assert result.rc == 0, result.stderr[-500:]
    assert ebpf.column(result, "limit.by_call", "count")["EMFILE:openat"] == 100003
    told = limits(result)
    assert 3 <= len(told) <= 4 * (result.summary["wall_ns"] // 10**9 + 2), len(told)
    assert result.summary["lost"]["events"] == 0
    # A record says for how many it stands that were not told.
    later = [event for event in told if "times since" in event["text"]]
    assert bool(later) == (len(told) > 3)


BRK = """
import ctypes, os, resource
libc = ctypes.CDLL(None)
libc.syscall.restype = ctypes.c_long
brk = 12 if os.uname().machine == "x86_64" else 214
end = libc.syscall(brk, 0)
resource.setrlimit(resource.RLIMIT_DATA, (1 << 24, 1 << 24))
for _ in range(13):
    assert libc.syscall(brk, ctypes.c_long(end + (1 << 30))) == end
"""


def test_brk_fails_without_an_error(denet):
    result = denet.run(["/usr/bin/python3", "-S", "-c", BRK], OPTIONS)
    assert result.rc == 0, result.stderr[-500:]
    assert ebpf.column(result, "limit.by_call", "count")["ENOMEM:brk"] >= 13


OTHERS = """
import ctypes, errno, mmap, os
libc = ctypes.CDLL(None, use_errno=True)
hole = libc.mmap
hole.restype = ctypes.c_void_p
at = hole(None, 8192, 0, 0x22, -1, 0)
assert libc.munmap(ctypes.c_void_p(at), 8192) == 0
for _ in range(7):
    assert libc.madvise(ctypes.c_void_p(at), 8192, 0) == -1 and ctypes.get_errno() == errno.ENOMEM
try:
    os.execv("/bin/true", ["true"] * 5000000)
except OSError as e:
    assert e.errno == errno.E2BIG
"""


def test_what_an_error_means_depends_on_the_call(denet):
    """madvise of what is not mapped is no limit; an argument list that is too long is one."""
    result = denet.run(["/usr/bin/python3", "-S", "-c", OTHERS], OPTIONS)
    assert result.rc == 0, result.stderr[-500:]
    assert ebpf.column(result, "limit.by_call", "count") == {"E2BIG:execve": 1}

# SPDX-License-Identifier: Apache-2.0
"""The group locks: futex waits are what the programs saw themselves, contended locks of the kernel what perf counts beside."""
import shutil
import subprocess

import ebpf
import pytest

OPTIONS = ["--probes", "locks"]


@pytest.fixture(autouse=True)
def tier(denet):
    ebpf.needs_metric(denet, "lock.futex_waits", OPTIONS)


def near(result, value, truth):
    """The program's own time begins before the call and ends after it: within 2 %, but for what others had the CPU in between."""
    return truth * 0.98 - result.value("cpu.run_delay_ns") <= value <= truth


def check_words(result, words):
    rows = result.summary["tree"]["lock"]["by_address"]
    for name, word in words.items():
        row = rows.get(f"{result.truth['pid']}:{word['address']}")
        if not word["waits"]:
            assert row is None, name
            continue
        assert row["waits"] == word["waits"] and near(result, row["time_ns"], word["sum_ns"]), (name, row, word)
        if "max_ns" in word:
            assert near(result, row["max_ns"], word["max_ns"]), (name, row, word)
    assert len(rows) == sum(1 for word in words.values() if word["waits"])


def test_waits(denet):
    """Timed out and woken calls waited; those that return EAGAIN did not."""
    result = denet.run(["futexes", "53", "7"], OPTIONS)
    truth = result.truth
    assert result.value("lock.futex_waits") == truth["waits"] >= 100 and near(result, result.value("lock.futex_wait_ns"), truth["wait_ns"])
    assert result.quality("lock.futex_waits") == result.quality("lock.futex_wait_ns") == "exact"
    check_words(result, truth["words"])
    histogram = result.value("lock.futex_wait")
    assert (histogram["count"], histogram["sum"]) == (truth["waits"], result.value("lock.futex_wait_ns"))
    assert histogram["max"] == max(row["max_ns"] for row in result.summary["tree"]["lock"]["by_address"].values())


def test_kinds(denet):
    """Every call that waits; a wait that a stop interrupts is two calls, the second one restart_syscall."""
    result = denet.run(["futexkinds", "5", "11"], OPTIONS)
    words = result.truth["words"]
    assert words["stopped"]["waits"] == 2 and words["bitset"]["waits"] == words["pi"]["waits"] == 5
    check_words(result, words)
    assert result.value("lock.futex_waits") == sum(word["waits"] for word in words.values())


def test_more_addresses_than_rows(denet):
    """What is not told by address is counted as other."""
    program = """
import ctypes, struct
libc = ctypes.CDLL(None)
words = (ctypes.c_uint32 * 4099)()
base = ctypes.addressof(words)
short = struct.pack("qq", 0, 1000)
for i in range(4099):
    assert libc.syscall(202 if struct.calcsize("P") == 8 and __import__("os").uname().machine == "x86_64" else 98,
                        ctypes.c_void_p(base + 4 * i), 128, 0, short) == -1
"""
    result = denet.run(["/usr/bin/python3", "-c", program], OPTIONS)
    assert result.rc == 0, result.stderr[-500:]
    lock = result.summary["tree"]["lock"]
    assert lock["futex_waits"] >= 4099 and len(lock["by_address"]) == 128
    assert lock["by_address_other"] + sum(row["waits"] for row in lock["by_address"].values()) == lock["futex_waits"]
    assert result.quality("lock.futex_waits") == "exact"


def test_sampled(denet):
    result = denet.run(["futexes", "503", "1"], [*OPTIONS, "--sample", "locks=1/3"])
    assert result.quality("lock.futex_waits") == "sampled" and result.value("lock.futex_waits") % 3 == 0
    assert 0.7 * result.truth["waits"] < result.value("lock.futex_waits") < 1.3 * result.truth["waits"]


def test_kernel_locks(denet):
    """The same events, counted by perf around the program: waits for the address space's lock, which no interrupt takes."""
    if not shutil.which("perf"):
        pytest.skip("no perf")
    if denet.run(["tiny"], OPTIONS).quality("lock.kernel_contentions") == "missing":
        pytest.skip("this kernel has no contention_begin")
    log = denet.path("perf.csv")
    perf = ["perf", "stat", "-x,", "-o", log, "-e", "lock:contention_begin", "--filter", "flags == 4", "-e", "lock:contention_begin",
            "--filter", "flags == 2", "-e", "lock:contention_begin", "--"]
    if subprocess.run([*perf, "true"], capture_output=True).returncode:
        pytest.skip("perf has no tracepoints here")
    result = denet.run([*perf, denet.workload("contend"), "4", "1009"], OPTIONS)
    with open(log) as file:
        write, read, everything = [int(line.split(",")[0]) for line in file if "contention" in line]
    lock = result.summary["tree"]["lock"]
    rows = lock["by_type"]
    assert write > 0 and abs(rows["rwsem_write"]["waits"] - write) <= 2, (rows, write)  # perf itself may have waited
    assert abs(rows.get("rwsem_read", {"waits": 0})["waits"] - read) <= 2, (rows, read)
    assert lock["kernel_contentions"] == sum(row["waits"] for row in rows.values()) <= everything * 1.01 + 4  # denet also has perf's own start and end
    assert 0 < lock["kernel_wait_ns"] <= sum(row["time_ns"] for row in rows.values())
    for row in rows.values():
        assert row["latency"]["count"] == row["waits"] and row["latency"]["sum"] == row["time_ns"]


def test_attached(denet, background):
    """A wait that began before denet looked has no beginning: those after it count."""
    target = background([denet.workload("futexes"), "101", "11"])
    result = denet.attach([str(target.pid)], [*OPTIONS, "--duration", "0.6"])
    waits = result.value("lock.futex_waits")
    assert 10 < waits < 202
    assert result.value("lock.futex_wait_ns") < 620_000_000

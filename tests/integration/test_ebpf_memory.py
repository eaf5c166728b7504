# SPDX-License-Identifier: Apache-2.0
"""The group memory: faults as the kernel counts them itself, bytes as strace and the programs have them, reclaim as perf does."""
import os
import pathlib
import re
import shutil
import subprocess

import ebpf
import pytest
from conftest import SANITIZED, needs_root

OPTIONS = ["--probes", "memory"]
PAGE = os.sysconf("SC_PAGESIZE")


@pytest.fixture(autouse=True)
def tier(denet):
    ebpf.needs_metric(denet, "memory.mmap_bytes", OPTIONS)


def need(result, metric):
    state = result.state(metric)
    if state["quality"] == "missing":
        pytest.skip(f"{metric}: {state['reason']}")


@pytest.mark.parametrize("inside", [False, True], ids=["user", "kernel"])
def test_faults(denet, inside):
    """As many as pages were touched, by the program or by the kernel for it; all of them what getrusage counts too."""
    result = denet.run(["faults", "10007", *(["k"] if inside else [])], OPTIONS)
    need(result, "memory.faults_user")
    user, kernel = result.value("memory.faults_user"), result.value("memory.faults_kernel")
    one, other = (kernel, user) if inside else (user, kernel)
    assert 10007 <= one <= 10007 + 200 and other < 200, (user, kernel)
    counted = result.value("memory.minor_faults") + result.value("memory.major_faults")
    # Faults that the kernel makes without a trap, as for the arguments of exec, are only in its own count; some traps serve no page.
    assert abs(user + kernel - counted) <= 30, (user, kernel, counted)
    # Its own count has those from before its exec, in a copy of denet.
    assert result.truth["own_minor_faults"] - (130 if SANITIZED else 30) <= user + kernel
    assert result.quality("memory.faults_user") == "exact"


def test_fault_latency(denet):
    result = denet.run(["faults", "5003"], OPTIONS)
    need(result, "memory.fault_latency")
    histogram = result.value("memory.fault_latency")
    counted = result.value("memory.minor_faults") + result.value("memory.major_faults")
    assert abs(histogram["count"] - counted) <= 30 and histogram["count"] >= 5003
    assert result.value("memory.major_fault_latency")["count"] <= histogram["count"]


def pages(text):
    return -(-int(text, 0) // PAGE) * PAGE


def strace_bytes(denet, command):
    """What mmap mapped and munmap unmapped, and by how much brk raised the heap."""
    log = denet.path("strace.log")
    subprocess.run(["strace", "-e", "trace=mmap,munmap,brk,mremap", "-o", log, *denet.resolve(command)], check=True, capture_output=True, cwd=denet.folder)
    mapped = unmapped = raised = end = 0
    for line in pathlib.Path(log).read_text().splitlines():
        call = re.match(r"(\w+)\((.*)\)\s+= (0x[0-9a-f]+|0)$", line)
        if not call:
            continue
        name, arguments, value = call.group(1), call.group(2).split(", "), int(call.group(3), 16)
        if name == "mmap":
            mapped += pages(arguments[1])
        elif name == "munmap":
            unmapped += pages(arguments[1])
        elif name == "mremap":
            grown = pages(arguments[2]) - pages(arguments[1])
            mapped, unmapped = mapped + max(grown, 0), unmapped + max(-grown, 0)
        else:
            raised += max(value - end, 0) if end else 0
            end = value
    return mapped, unmapped, raised


@pytest.mark.skipif(not shutil.which("strace"), reason="no strace")
def test_mappings(denet):
    """Its own calls, and those of its start as strace has them; the mapping that fails does not count."""
    result = denet.run(["mapper", "11"], OPTIONS)
    mapped, unmapped, raised = strace_bytes(denet, ["mapper", "11"])
    assert result.value("memory.mmap_bytes") == mapped > result.truth["mmap_bytes"]
    assert result.value("memory.munmap_bytes") == unmapped >= result.truth["munmap_bytes"]
    assert result.value("memory.brk_bytes") == raised >= result.truth["brk_bytes"]


def test_what_more_calls_map(denet):
    few, many = (denet.run(["mapper", n], OPTIONS) for n in ("11", "101"))
    for name, said in (("memory.mmap_bytes", "mmap_bytes"), ("memory.munmap_bytes", "munmap_bytes")):
        assert many.value(name) - few.value(name) == many.truth[said] - few.truth[said] > 0, name


def test_shared_memory(denet):
    """A memfd, a file of /dev/shm and a System V segment, when they are sized."""
    result = denet.run(["mapper", "5"], OPTIONS)
    truth = result.truth
    assert result.value("memory.shared_bytes") == truth["memfd_bytes"] + truth["shm_file_bytes"] + truth["segment_bytes"]


GROWS = """
import ctypes, mmap, os, tempfile
fd = os.memfd_create("x")
os.ftruncate(fd, 8192)
os.ftruncate(fd, 4096)
os.ftruncate(fd, 20480)
os.posix_fallocate(fd, 0, 28672)
with tempfile.NamedTemporaryFile(dir=".") as file:
    os.ftruncate(file.fileno(), 1 << 20)
libc = ctypes.CDLL(None)
ids = [libc.shmget(0x5eed, 12288, 0o1600) for _ in range(3)]
libc.shmctl(ids[0], 0, None)
assert min(ids) >= 0 and len(set(ids)) == 1
m = mmap.mmap(-1, 4096)
m.resize(40960)
m.resize(4096)
"""


def test_growth_counts_once(denet):
    """A file by how much it grew, a segment when it is made, a mapping that mremap grows by the difference. Other files are no shared memory."""
    result = denet.run(["/usr/bin/python3", "-S", "-c", GROWS], OPTIONS)
    if b"resize" in result.stderr:
        pytest.skip("no mremap in this python")
    assert result.rc == 0, result.stderr[-500:]
    assert result.value("memory.shared_bytes") == 8192 + (20480 - 4096) + (28672 - 20480) + 12288


def test_allocations(denet):
    """A descriptor is an object of a cache; more of them are that many more objects, and as many fewer when they are closed."""
    few, many = (denet.run(["syscalls", n], OPTIONS) for n in ("101", "2003"))
    need(many, "memory.kmem_cache_calls")
    for name in ("memory.kmem_cache_calls", "memory.kmem_cache_bytes", "memory.kmem_cache_frees"):
        assert many.value(name) > few.value(name) > 0, name
    for name in ("memory.kmalloc_calls", "memory.kmalloc_bytes", "memory.kfree_calls"):
        assert many.value(name) > 0, name
    assert many.value("memory.kmalloc_bytes") >= 8 * many.value("memory.kmalloc_calls")


@pytest.mark.skipif(not shutil.which("perf"), reason="no perf")
def test_allocations_are_those_that_perf_counts(denet):
    """In the same run, of the same program: what denet has more is perf's own, which is the same whatever it runs; less by those of interrupts."""
    log = denet.path("perf.csv")
    perf = ["/usr/bin/env", "perf", "stat", "-x,", "-o", log, "-e", "kmem:kmalloc", "-e", "kmem:kmem_cache_alloc", "--"]
    if subprocess.run([*perf, "true"], capture_output=True).returncode:
        pytest.skip("perf has no tracepoints here")

    def both(*command):
        result = denet.run([*perf, *command], OPTIONS)
        need(result, "memory.kmem_cache_calls")
        counted = [int(line.split(",")[0]) for line in pathlib.Path(log).read_text().splitlines() if "kmem:" in line]
        return [(result.value(name), n) for name, n in zip(("memory.kmalloc_calls", "memory.kmem_cache_calls"), counted)]

    for (own, nothing), (ours, theirs) in zip(both("true"), both(denet.workload("forkexec"), "101")):
        assert theirs > 1000 and abs((ours - theirs) - (own - nothing)) <= 0.1 * theirs, (own, nothing, ours, theirs)


@pytest.fixture
def small_group():
    """A memory cgroup of 24 MiB without swap."""
    base = pathlib.Path("/sys/fs/cgroup/memory")
    if not (base / "memory.limit_in_bytes").exists():
        pytest.skip("no memory cgroup (v1) here")
    group = base / f"denet-test-{os.getpid()}"
    try:
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text(str(24 << 20))
    except OSError as error:
        pytest.skip(f"no memory cgroup of our own: {error}")
    yield group
    group.rmdir()


@needs_root
def test_reclaim(denet, small_group, tmp_path):
    """A file larger than the limit is written: threads of the tree have to make room themselves."""
    file = tmp_path / "large"
    dd = ["/usr/bin/dd", "if=/dev/zero", f"of={file}", "bs=1M", "count=96", "conv=fsync"]
    result = denet.run(["joincg", small_group / "cgroup.procs", *dd], OPTIONS)
    assert result.rc == 0, result.stderr[-500:]
    file.unlink()
    assert result.value("memory.reclaims") > 0
    assert 0 < result.value("memory.reclaim_ns") <= result.summary["wall_ns"]
    assert denet.run(["tiny"], OPTIONS).value("memory.reclaims") == 0


HOG = "import os\nkeep = []\nfor i in range(97):\n    keep.append(bytearray(os.urandom(1 << 20)))\n"


@needs_root
def test_oom(denet, small_group):
    """The kernel kills who is over the limit; the shell above lives and sees it."""
    shell = f"echo $$ > {small_group}/cgroup.procs; /usr/bin/python3 -S -c '{HOG}'; echo $? >&2; echo $$ > /sys/fs/cgroup/memory/cgroup.procs"
    result = denet.run(["/bin/sh", "-c", shell], OPTIONS)
    assert b"137" in result.stderr, result.stderr[-500:]
    assert result.value("memory.oom_kills") == 1
    events = [event for event in result.events if event["event"] == "oom"]
    assert len(events) == 1 and events[0]["name"].startswith("python3") and "lack of memory" in events[0]["text"], events


def test_a_kill_is_no_oom(denet):
    result = denet.run(["/bin/sh", "-c", "sleep 60 & kill -9 $!; wait"], OPTIONS)
    assert result.value("memory.oom_kills") == 0 and not [event for event in result.events if event["event"] == "oom"]


def test_sampled(denet):
    result = denet.run(["faults", "100003"], [*OPTIONS, "--sample", "memory=1/10"])
    need(result, "memory.faults_user")
    assert result.quality("memory.faults_user") == "sampled"
    assert 0.9 * 100003 < result.value("memory.faults_user") < 1.1 * 100003 and result.value("memory.faults_user") % 10 == 0

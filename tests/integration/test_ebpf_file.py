# SPDX-License-Identifier: Apache-2.0
"""Operations on files: what the program says it did, what strace says that real programs did."""
import collections
import os
import pathlib
import re
import subprocess

import pytest
from conftest import without_leak_check
from ebpf import column, needs_metric, table

FILE = ["--probes", "file"]
OPERATIONS = {
    "read": "read readv pread64 preadv preadv2", "write": "write writev pwrite64 pwritev pwritev2", "open": "open openat openat2 creat",
    "stat": "newfstatat stat lstat fstat statx", "close": "close", "getdents": "getdents64", "access": "access faccessat faccessat2",
    "readlink": "readlink readlinkat", "seek": "lseek", "sendfile": "sendfile", "copy_file_range": "copy_file_range", "splice": "splice",
    "truncate": "truncate ftruncate", "fadvise": "fadvise64 readahead", "fallocate": "fallocate", "unlink": "unlink unlinkat", "rename": "rename renameat renameat2",
    "mkdir": "mkdir mkdirat", "chmod": "chmod fchmod fchmodat fchmodat2", "chown": "chown fchown lchown fchownat", "utime": "utimensat utimes utime",
    "statfs": "statfs fstatfs", "fsync": "fsync", "fdatasync": "fdatasync", "lock": "flock", "link": "link linkat", "symlink": "symlink symlinkat",
    "rmdir": "rmdir", "xattr": "getxattr lgetxattr fgetxattr setxattr lsetxattr fsetxattr listxattr llistxattr flistxattr",
}
OPERATION = {name: operation for operation, names in OPERATIONS.items() for name in names.split()}
BY_NAME = {"open", "access", "readlink", "unlink", "rename", "mkdir", "link", "symlink", "rmdir"}
CALL = re.compile(r"(?:\d+ +)?(\w+)\((.*)\) += (-?\d+|\?)(<[^ ]*>)?")


@pytest.fixture(scope="module")
def tier(session_denet):
    needs_metric(session_denet, "file.by_operation", FILE)


@pytest.fixture
def folders(denet):
    """Two folders of two filesystems, where this machine has them."""
    other = pathlib.Path("/dev/shm") / f"denet-test-{os.getpid()}"
    other.mkdir(exist_ok=True)
    here = pathlib.Path(denet.path("files"))
    here.mkdir()
    yield str(here), str(other)
    subprocess.run(["rm", "-rf", other], check=True)


def filesystem(path):
    """The type of the filesystem that a path is on, as the kernel lists mounts."""
    device = os.stat(path).st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines():
        mount, _, rest = line.partition(" - ")
        if mount.split()[2] == wanted:
            return rest.split()[0]
    pytest.fail(f"nothing is mounted at {path}")


def operations(result):
    return {key: (row["count"], row["errors"], row["bytes"]) for key, row in table(result, "file.by_operation").items()}


def rounds(denet, folders, n, options=FILE):
    result = denet.run(["files", *folders, str(n)], options)
    assert result.rc == 0, result.stderr
    return result


def check_sums(result):
    """What is told in several ways agrees."""
    rows = table(result, "file.by_operation")
    latency = result.value("file.latency")
    assert latency["count"] == sum(row["count"] for row in rows.values())
    assert latency["sum"] == sum(row["time_ns"] for row in rows.values())
    for row in rows.values():
        assert row["latency"]["count"] == row["count"] and row["latency"]["sum"] == row["time_ns"]
    for which in ("read_bytes", "write_bytes"):
        assert sum(column(result, "file.by_filesystem", which).values()) == result.value(f"file.{which}")


def test_known_operations(tier, denet, folders):
    """The difference of two runs is what the rounds did; nothing but files is in it."""
    without, result = rounds(denet, folders, 0), rounds(denet, folders, 3)
    start, truth = operations(without), result.truth["operations"]
    for name, (count, errors, moved) in truth.items():
        before = start.get(name, (0, 0, 0))
        assert operations(result)[name] == (before[0] + count, before[1] + errors, before[2] + moved), name
    assert set(operations(result)) == set(start) | set(truth)
    for which in ("read_bytes", "write_bytes"):
        assert result.value(f"file.{which}") - without.value(f"file.{which}") == sum(result.truth[which])
    for metric in ("file.by_operation", "file.by_filesystem", "file.read_bytes", "file.write_bytes", "file.latency"):
        assert result.quality(metric) == "exact", result.state(metric)
    check_sums(result)


def test_filesystems(tier, denet, folders):
    types = [filesystem(folder) for folder in folders]
    without, result = rounds(denet, folders, 0), rounds(denet, folders, 3)
    for which in ("read_bytes", "write_bytes"):
        had, have = column(without, "file.by_filesystem", which), column(result, "file.by_filesystem", which)
        expected = collections.Counter()
        for kind, moved in zip(types, result.truth[which]):
            expected[kind] += moved
        for kind, moved in expected.items():
            assert have[kind] - had.get(kind, 0) == moved, (which, kind)


def test_paths(tier, denet, folders):
    result = rounds(denet, folders, 3, ["--paths", "3"])
    rows = table(result, "file.by_path")
    first, second = f"{folders[0]}/data", f"{folders[1]}/data"
    assert len(rows) == 3 and {first, second} < set(rows), rows
    inside = result.truth["read_bytes"][0], result.truth["write_bytes"][0]
    assert (rows[first]["read_bytes"], rows[first]["write_bytes"]) == (inside[0], inside[1] - 3 * 3 * 67)  # the rest went to the copy
    assert (rows[second]["read_bytes"], rows[second]["write_bytes"]) == (result.truth["read_bytes"][1], result.truth["write_bytes"][1])
    everything = rounds(denet, folders, 3, ["--paths", "1000"])
    rows = table(everything, "file.by_path")
    assert everything.quality("file.by_path") == "exact"
    assert sum(row["read_bytes"] for row in rows.values()) == everything.value("file.read_bytes")
    assert sum(row["write_bytes"] for row in rows.values()) == everything.value("file.write_bytes")
    assert "file.by_path_other" not in str(everything.summary) and result.summary["tree"]["file"]["by_path_other"] > 0
    shown = sum(row["count"] for key, row in table(result, "file.by_path").items())
    assert shown + result.summary["tree"]["file"]["by_path_other"] == sum(row["count"] for row in rows.values())


def test_paths_are_only_told_when_asked_for(tier, denet, folders):
    state = rounds(denet, folders, 1).state("file.by_path")
    assert state["quality"] == "missing" and state["hint"] == "--paths N"


@pytest.mark.parametrize("name", ["plain", "new\nline", "\xff\xfe".encode("latin-1"), "d" * 255, "a" * 200 + "/" + "b" * 200, "/".join("x" * 30)],
                         ids=["plain", "newline", "no-utf8", "longest", "too-long", "too-deep"])
def test_hostile_paths(tier, denet, name):
    name = name if isinstance(name, bytes) else name.encode()
    path = os.fsencode(denet.folder) + b"/" + name
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(b"x" * 100003)
    result = denet.run(["/bin/cat", os.fsdecode(path)], ["--paths", "1"])
    rows = table(result, "file.by_path")
    (key, row), = rows.items()
    assert row["read_bytes"] == 100003
    if name == b"plain":
        assert key == os.fsdecode(path)
    elif name[:1] in (b"d", b"a") or b"/x/" in name:
        assert key.startswith("...") and path.endswith(key.removeprefix("...").encode()), key


def test_more_files_than_the_table_holds(tier, denet):
    """Files that gave way to others are in none of the rows, and it says so."""
    folder = pathlib.Path(denet.path("many"))
    folder.mkdir()
    for i in range(20011):
        (folder / str(i)).touch()
    result = denet.run(["/usr/bin/find", str(folder), "-type", "f", "-exec", "/bin/cat", "{}", "+"], ["--paths", "5"])
    assert result.rc == 0
    state = result.state("file.by_path")
    assert state["quality"] == "lower_bound" and "table in the kernel" in state["reason"], state
    assert result.quality("file.by_operation") == "exact"
    assert table(result, "file.by_operation")["open"]["count"] > 20011
    assert result.summary["tree"]["file"]["by_path_other"] > 20011


def of_strace(log):
    """{operation: [calls, errors, bytes]} of a log of strace -f -yy: by descriptors that are files, and by names."""
    calls = collections.defaultdict(lambda: [0, 0, 0])
    pending = {}
    for line in pathlib.Path(log).read_text(errors="replace").splitlines():
        pid = line.split(" ", 1)[0]
        if line.endswith("<unfinished ...>"):
            pending[pid] = line.removesuffix(" <unfinished ...>")
            continue
        resumed = re.match(r"\d+ +<\.\.\. \w+ resumed>(.*)", line)
        if resumed:
            line = pending.pop(pid) + resumed.group(1)
        call = CALL.match(line)
        operation = call and OPERATION.get(call.group(1))
        if not operation:
            continue
        arguments, result, made = call.group(2), int(call.group(3)), call.group(4)
        files = [made] if call.group(1) in ("open", "openat", "creat") and result >= 0 else re.findall(r"(?:^|, )\d+(<[^,]*>)", arguments)
        by_name = operation in BY_NAME and result < 0 or operation in BY_NAME - {"open"} or \
            re.match(r"(AT_FDCWD\S*, )?\"", arguments) or re.match(r"\d+<[^,]*>, \"[^\"]", arguments) and "AT_EMPTY_PATH" not in arguments and operation == "stat"
        if not by_name and not any(re.match(r"<(/|anon_inode:\[memfd)", file) and not re.search(r"<(char|block) ", file) for file in files):
            continue
        of = calls[operation]
        of[0] += 1
        of[1] += result < 0
        of[2] += max(result, 0) if operation in ("read", "write", "sendfile", "copy_file_range", "splice") else 0
    return {name: tuple(of) for name, of in calls.items()}


@pytest.mark.parametrize("command", [["/usr/bin/find", "/usr/include", "-name", "*.h"], ["/bin/cp", "-r", "/usr/include/linux", "copy"],
                                     ["/bin/tar", "cf", "a.tar", "/usr/include/linux"], ["/usr/bin/python3", "-c", "import json"], ["/usr/bin/du", "-s", "/usr/lib"],
                                     ["/bin/sh", "-c", "for i in 1 2 3 4 5 6 7; do cat /etc/passwd | wc -l; done"]],
                         ids=["find", "cp", "tar", "python", "du", "sh"])
def test_real_programs(tier, denet, command):
    """The same program run by denet and by strace does the same."""
    warm = pathlib.Path(denet.path("cwd-0"))
    warm.mkdir()
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=warm, check=True)
    log, folder = denet.path("log"), pathlib.Path(denet.path("cwd-1"))
    folder.mkdir()
    subprocess.run(["strace", "-f", "-yy", "-e", "signal=none", "-o", log, *command], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                   stderr=subprocess.PIPE, cwd=folder, env=without_leak_check())
    folder = pathlib.Path(denet.path("cwd-2"))
    folder.mkdir()
    result = denet.run(command, FILE, cwd=folder)
    truth, counted = of_strace(log), operations(result)
    assert counted == truth, {name: (counted.get(name), truth.get(name)) for name in set(counted) | set(truth) if counted.get(name) != truth.get(name)}
    check_sums(result)
    assert result.value("file.read_bytes") == sum(truth.get(name, (0, 0, 0))[2] for name in ("read", "sendfile", "copy_file_range"))
    assert result.value("file.write_bytes") == sum(truth.get(name, (0, 0, 0))[2] for name in ("write", "copy_file_range"))


def test_sampling(tier, denet, folders):
    """One of so many is looked at and stands for them; it says so."""
    result = denet.run(["files", *folders, "499"], [*FILE, "--sample", "file=1/7"])
    state = result.state("file.by_operation")
    assert state["quality"] == "sampled" and "one of 7" in state["reason"]
    written = operations(result)["write"]
    assert written[0] % 7 == 0 and 0.8 < written[0] / result.truth["operations"]["write"][0] < 1.25


def test_io_uring_makes_it_a_lower_bound(tier, denet):
    probe = subprocess.run(["/usr/bin/python3", "-c", URING], capture_output=True, text=True)
    if probe.returncode == 77:
        pytest.skip(f"no io_uring: {probe.stdout.strip()}")
    assert probe.returncode == 0, probe.stderr
    result = denet.run(["/usr/bin/python3", "-c", URING], FILE)
    for metric in ("file.read_bytes", "file.write_bytes", "file.by_operation"):
        state = result.state(metric)
        assert state["quality"] == "lower_bound" and "io_uring" in state["reason"], (metric, state)


# One IORING_OP_NOP that is submitted: 425 and 426 are the numbers of every architecture.
URING = """
import ctypes, os, mmap, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
params = ctypes.create_string_buffer(120)
fd = libc.syscall(425, 4, params)
if fd < 0:
    print(os.strerror(ctypes.get_errno()))
    sys.exit(77)
array = struct.unpack_from("I", params.raw, 40 + 24)[0]
ring = mmap.mmap(fd, array + 4 * 4, offset=0)
entries = mmap.mmap(fd, 4 * 64, offset=0x10000000)
tail = struct.unpack_from("I", params.raw, 40 + 4)[0]
ring[tail:tail + 4] = struct.pack("I", 1)
n = libc.syscall(426, fd, 1, 0, 0, None, 0)
assert n == 1, os.strerror(ctypes.get_errno())
"""

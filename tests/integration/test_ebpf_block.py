# SPDX-License-Identifier: Apache-2.0
"""Requests to block devices: a loop device that nobody else uses, read and written past the page cache."""
import os
import pathlib
import re
import subprocess

import pytest
from conftest import wait_until
from ebpf import needs_metric, table

BLOCK = ["--probes", "block"]


@pytest.fixture(scope="module")
def device(session_denet, tmp_path_factory):
    needs_metric(session_denet, "block.requests", BLOCK)
    image = tmp_path_factory.mktemp("block") / "image"
    with open(image, "wb") as file:
        file.truncate(64 << 20)
    made = subprocess.run(["losetup", "-f", "--show", image], capture_output=True, text=True)
    if made.returncode:
        pytest.skip(f"no loop device: {made.stderr.strip()}")
    device = made.stdout.strip()
    yield device
    subprocess.run(["losetup", "-d", device], check=True)


def of_device(result, device):
    return table(result, "block.by_device").get(os.path.basename(device))


def assert_reads(result, device, count):
    """A request that ends in an interrupt, on top of another that ends, is left out by the kernel: then the count says so."""
    row, state = of_device(result, device), result.state("block.requests")
    assert row["reads"] == count if state["quality"] == "exact" else count - 5 <= row["reads"] < count, (row, state, result.summary["lost"])


@pytest.mark.parametrize("count,size", [(101, 4096), (13, 65536), (7, 512)])
def test_reads_are_as_dd_says(denet, device, count, size):
    result = denet.run(["/bin/dd", f"if={device}", "of=/dev/null", f"bs={size}", f"count={count}", "iflag=direct"], BLOCK)
    copied = int(re.search(rb"(\d+) bytes", result.stderr).group(1))
    assert copied == count * size
    row = of_device(result, device)
    assert (row["reads"], row["read_bytes"], row["writes"], row["write_bytes"], row["errors"]) == (count, copied, 0, 0, 0)
    assert row["latency"]["count"] == count and row["latency"]["sum"] == row["time_ns"]
    assert result.value("block.requests") == sum(r["reads"] + r["writes"] + r["other"] for r in table(result, "block.by_device").values())
    assert result.quality("block.requests") == "exact", result.state("block.requests")


def test_writes_are_as_dd_says(denet, device):
    result = denet.run(["/bin/dd", "if=/dev/zero", f"of={device}", "bs=4096", "count=103", "oflag=direct"], BLOCK)
    row = of_device(result, device)
    assert (row["writes"], row["write_bytes"], row["reads"]) == (103, 103 * 4096, 0)
    assert result.value("block.write_bytes") >= 103 * 4096


def test_reads_and_writes_of_a_program(denet, device):
    result = denet.run(["blockio", device, "97", "4096", "write"], BLOCK)
    truth, row = result.truth, of_device(result, device)
    assert (row["reads"], row["read_bytes"], row["writes"], row["write_bytes"]) == tuple(
        truth[key] for key in ("reads", "read_bytes", "writes", "write_bytes"))
    assert 0 < row["time_ns"] <= truth["read_ns"] + truth["write_ns"]


MERGED = """
import ctypes, mmap, os, struct, sys
libc, (SETUP, SUBMIT, GETEVENTS) = ctypes.CDLL(None, use_errno=True), {"x86_64": (206, 209, 208), "aarch64": (0, 2, 4)}[os.uname().machine]
fd, batch, pages = os.open(sys.argv[1], os.O_WRONLY | os.O_DIRECT), int(sys.argv[2]), 8
context = ctypes.c_ulong()
assert libc.syscall(SETUP, pages, ctypes.byref(context)) == 0
memory = mmap.mmap(-1, pages * 4096)
start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
for i in range(batch):
    # pwrite of one page each, one behind the other: struct iocb
    blocks = [ctypes.create_string_buffer(struct.pack("<QIIHhIQQqQII", 0, 0, 0, 1, 0, fd, start + page * 4096, 4096, (i * pages + page) * 4096, 0, 0, 0), 64) for page in range(pages)]
    pointers = (ctypes.c_void_p * pages)(*map(ctypes.addressof, blocks))
    assert libc.syscall(SUBMIT, context, pages, pointers) == pages
    assert libc.syscall(GETEVENTS, context, pages, pages, ctypes.create_string_buffer(32 * pages), None) == pages
"""


def test_requests_that_were_merged_are_one(denet, device):
    """What is submitted together and lies together becomes one request, as the device's own statistics say."""
    statistics = pathlib.Path(f"/sys/block/{os.path.basename(device)}/stat")
    before = [int(word) for word in statistics.read_text().split()]
    result = denet.run(["/usr/bin/python3", "-c", MERGED, device, "13"], BLOCK)
    assert result.rc == 0, result.stderr
    writes, merged, sectors = (int(word) - old for word, old in list(zip(statistics.read_text().split(), before))[4:7])
    assert sectors * 512 == 13 * 8 * 4096 and merged > 0, (writes, merged, sectors)
    row = of_device(result, device)
    assert (row["writes"], row["write_bytes"], row["errors"]) == (writes, sectors * 512, 0), (row, merged)
    assert row["latency"]["count"] == writes


def test_others_are_not_counted(denet, device, background):
    other = background(["/bin/sh", "-c", f"while :; do dd if={device} of=/dev/null bs=4096 count=1009 iflag=direct; done"], stderr=subprocess.DEVNULL)
    busy = pathlib.Path(f"/sys/block/{os.path.basename(device)}/stat")
    before = int(busy.read_text().split()[0])
    wait_until(lambda: int(busy.read_text().split()[0]) > before + 1009)
    result = denet.run(["blockio", device, "1009", "4096"], BLOCK)
    assert other.poll() is None
    assert_reads(result, device, 1009)


@pytest.mark.parametrize("scheduler", ["mq-deadline", "bfq", "kyber"])
def test_queued_requests_are_of_who_queued_them(denet, device, background, scheduler):
    """With a scheduler the requests of several wait together, and any of them hands on what is there."""
    queue = pathlib.Path(f"/sys/block/{os.path.basename(device)}/queue")
    file = queue / "scheduler"
    if scheduler not in file.read_text():
        pytest.skip(f"no scheduler {scheduler} here")
    file.write_text(scheduler)
    (queue / "nomerges").write_text("2")  # else what waits may become part of another's request
    try:
        for _ in range(3):
            background(["/bin/sh", "-c", f"while :; do dd if={device} of=/dev/null bs=4096 count=1009 iflag=direct; done"], stderr=subprocess.DEVNULL)
        result = denet.run(["blockio", device, "1009", "4096"], BLOCK)
    finally:
        file.write_text("none")
        (queue / "nomerges").write_text("0")
    assert_reads(result, device, 1009)
    waited = result.value("block.queue")
    assert waited["count"] <= 1009 and (scheduler == "kyber" or waited["count"] == 1009)

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


def test_others_are_not_counted(denet, device, background):
    other = background(["/bin/sh", "-c", f"while :; do dd if={device} of=/dev/null bs=4096 count=1009 iflag=direct; done"], stderr=subprocess.DEVNULL)
    busy = pathlib.Path(f"/sys/block/{os.path.basename(device)}/stat")
    before = int(busy.read_text().split()[0])
    wait_until(lambda: int(busy.read_text().split()[0]) > before + 1009)
    result = denet.run(["blockio", device, "1009", "4096"], BLOCK)
    assert other.poll() is None
    assert of_device(result, device)["reads"] == 1009


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
    assert of_device(result, device)["reads"] == 1009
    waited = result.value("block.queue")
    assert waited["count"] <= 1009 and (scheduler == "kyber" or waited["count"] == 1009)

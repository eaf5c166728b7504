# SPDX-License-Identifier: Apache-2.0
"""The group hw. Where there is a PMU its numbers are held against perf's own; where there is none it says so, and nothing is 0.

Multiplexing, held counters and CPUs of two kinds are proven on the synthetic PMU (tests/kernels/pmu.py)."""
import errno
import json

import ebpf
import pytest

OPTIONS = ["--probes", "hw"]
KINDS = ["cycles", "instructions", "cache_references", "cache_misses", "branches", "branch_misses"]


@pytest.fixture(autouse=True)
def tier(denet):
    ebpf.needs_metric(denet, "process.exits", OPTIONS)


def has_pmu(result):
    return result.quality("hw.cycles") != "missing"


def test_no_pmu_is_no_zero(denet):
    result = denet.run(["forkstorm", "7", "3"], OPTIONS)
    if has_pmu(result):
        pytest.skip("this machine has a PMU")
    for name in [*KINDS, "by_process", "running_ratio", "ipc"]:
        state = result.state(f"hw.{name}")
        assert state["quality"] == "missing" and state["source"] is None and result.value(f"hw.{name}") is None
        assert state["reason"].startswith("perf_event_open: ") and state["hint"], state
    assert "hw" not in result.summary["tree"]
    assert all(all(value is None for value in process.get("hw", {}).values()) for process in result.summary["processes"])


def test_no_perf_at_all(denet):
    """A seccomp filter that denies the call is another answer than a machine without a PMU."""
    result = denet.run(["tiny"], OPTIONS, prefix=[denet.workload("denysys"), str(errno.EPERM), "perf_event_open"])
    state = result.state("hw.by_process")
    assert state["quality"] == "missing" and "EPERM" in state["reason"] and "seccomp" in state["hint"], state
    assert result.stream.header["tier"] == "ebpf"


def test_by_process(denet):
    result = denet.run(["forkstorm", "13", "23", "2"], OPTIONS)
    if not has_pmu(result):
        pytest.skip(f"no PMU: {result.state('hw.cycles')['reason']}")
    rows = result.value("hw.by_process")
    assert len(rows) == result.truth["processes"] and all(name.startswith("forkstorm[") for name in rows)
    for kind in KINDS:
        if result.quality(f"hw.{kind}") == "exact":
            assert sum(row[kind] for row in rows.values()) == result.value(f"hw.{kind}")
    without = denet.run(["forkstorm", "13", "23", "2"], ["--probes", "-hw"])
    assert result.value("hw.instructions") == pytest.approx(without.value("hw.instructions"), rel=0.2)


def test_doctor_tells(denet):
    result = denet.call("doctor", "--json")
    state = json.loads(result.stdout)["metrics"]["hw.by_process"]
    assert state.get("source") or (state["reason"] and state["hint"]), state

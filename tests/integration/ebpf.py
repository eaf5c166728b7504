# SPDX-License-Identifier: Apache-2.0
"""What the tests of the eBPF tier's probe groups share."""
import pytest


def needs_metric(denet, metric, options):
    """Skips where this machine or user has no eBPF tier; a tier without the metric is a failure of the tier."""
    result = denet.run(["tiny"], options)
    state = result.state("syscall.by_name")
    if state["quality"] == "missing":
        pytest.skip(f"no eBPF tier: {state.get('reason')}")
    assert result.quality(metric) != "missing", result.state(metric)


def table(result, name):
    """A table of the summary: {key: {column: value}}."""
    return result.value(name) or {}


def column(result, name, which):
    """One column of a table of the summary: {key: value}."""
    return {key: row[which] for key, row in table(result, name).items()}

# SPDX-License-Identifier: Apache-2.0
"""Runs last: a metric that no test ever produced is not tested."""


def test_every_metric_was_produced(denet, registry):
    assert sorted(set(registry) - denet.checker.produced) == []

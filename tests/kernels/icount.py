# SPDX-License-Identifier: Apache-2.0
"""The arm64 guest whose emulator counts instructions: two loops that differ by a million rounds differ by two million."""
from checks import SET_UP, Run, evaluate

ROUNDS, PER_ROUND = 1_000_000, 2


def plan_lines():
    """User mode only, for the kernel's share depends on its timers."""
    return [*SET_UP, "put /proc/sys/kernel/perf_event_paranoid 2",
            *(f"run loop-{n} nobody denet run -q -o stream -- loop {n}" for n in range(4)),
            "run loop-again nobody denet run -q -o stream -- loop 1"]


def check_slot(results, laws, slot):
    runs = {name: Run(results.case(f"loop-{name}"), laws) for name in ("0", "1", "2", "3", "again")}
    for name, run in runs.items():
        yield f"loop {name} keeps the laws", run.problem
    yield from ((name.lstrip("/"), why) for name, why in evaluate("", check_cases(runs)))


def check_cases(runs):
    def count(run):
        value = run.value("hw.instructions")
        if value is None:
            raise ValueError(f"hw.instructions: {run.state('hw.instructions')}")
        return value

    def differ(above, below):
        found = count(above) - count(below)
        return None if found == ROUNDS * PER_ROUND else f"{count(above)} less {count(below)} is {found}, expected {ROUNDS * PER_ROUND}"

    for n in range(1, 4):
        above, below = runs[str(n)], runs[str(n - 1)]
        yield f"instructions of {n} and {n - 1} million rounds", above, lambda above=above, below=below: differ(above, below)
    again, first = runs["again"], runs["1"]
    yield "instructions of the same loop again", again, lambda: None if count(again) == count(first) else f"{count(first)}, then {count(again)}"
    yield "instructions are exact", first, lambda: None if first.quality("hw.instructions") == "exact" else f"{first.state('hw.instructions')}"

# SPDX-License-Identifier: Apache-2.0
"""The arm64 guest, whose emulator counts instructions: two loops that differ by a million rounds differ by two million."""
import ebpf
from checks import SET_UP, Run, evaluate, present

ROUNDS, PER_ROUND = 1_000_000, 2
# Of another architecture: the programs load, and calls are known by their names there.
EBPF = {"calls": "syscalls 1009", "lives": "forkexec 23"}


def plan_lines():
    """User mode only, for the kernel's share depends on its timers; and at the same addresses, for how strings are aligned
    decides over an instruction or two of the C library's start."""
    return [*SET_UP, *(f"run ebpf-{name} root denet run -q -o stream -- {command}" for name, command in EBPF.items()), "put /proc/sys/kernel/perf_event_paranoid 2",
            "put /proc/sys/kernel/randomize_va_space 0",
            *(f"run loop-{n} nobody denet run -q -o stream -- loop {n}" for n in range(4)),
            "run loop-again nobody denet run -q -o stream -- loop 1"]


def check_slot(results, laws, slot):
    runs = {name: Run(results.case(f"loop-{name}"), laws) for name in ("0", "1", "2", "3", "again")}
    for name, run in runs.items():
        yield f"loop {name} keeps the laws", run.problem
    yield from ((name.lstrip("/"), why) for name, why in evaluate("", check_cases(runs)))
    traced = {name: Run(results.case(f"ebpf-{name}"), laws) for name in EBPF}
    for name, run in traced.items():
        yield f"ebpf {name} keeps the laws", run.problem
    yield from evaluate("ebpf", check_traced(traced["calls"], traced["lives"]))


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


def check_traced(calls, lives):
    yield "tier", calls, lambda: None if calls.stream.header["tier"] == "ebpf" else f"{calls.stream.header['backends']}"
    yield "calls are counted", calls, lambda: present(calls, "syscall.count", calls.truth["count"], "exact")
    yield "calls by name", calls, lambda: ebpf.known_calls(calls)
    yield "ends by code and signal", lives, lambda: ebpf.ends(lives)
    yield "executions", lives, lambda: present(lives, "process.execs", lives.truth["execs"] + 1, "exact")

# SPDX-License-Identifier: Apache-2.0
"""What the runs in a guest must have found. Every check yields (name, None or why it failed)."""
import importlib.util
import json
import sys

from packages import ROOT, Unavailable

sys.dont_write_bytecode = True


def load_laws(denet):
    """The laws of the integration tests: schema, order, absence, counters that never fall."""
    try:
        spec = importlib.util.spec_from_file_location("conftest", ROOT / "tests" / "conftest.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    except ImportError as error:
        raise Unavailable(f"streams can't be checked: {error}")
    rows = json.loads(denet("metrics", "--json"))
    rows = rows["metrics"] if isinstance(rows, dict) else rows
    schema = json.loads((ROOT / "docs" / "schema.json").read_text())
    return module.Checker(schema, {row["name"]: row for row in rows}), module.Stream


class Run:
    """One case, its stream parsed and held to the laws."""

    def __init__(self, case, laws):
        self.case, self.name, self.problem, self.stream = case, case.name, None, None
        checker, stream = laws
        if not case.stream:
            self.problem = f"no stream; exit status {case.status}, it said: {case.err.decode('utf-8', 'replace').strip()[-300:]!r}"
            return
        try:
            self.stream = stream(case.stream, checker)
        except (AssertionError, ValueError, KeyError) as error:
            self.problem = f"{type(error).__name__}: {str(error)[:400]}"

    @property
    def truth(self):
        """What workload and helper said of themselves."""
        said = {}
        for line in self.case.out.decode("utf-8", "replace").splitlines():
            if line.startswith("{"):
                said.update(json.loads(line))
        return said

    def value(self, name):
        return self.stream.value(name)

    def state(self, name):
        return self.stream.state(name)

    def quality(self, name):
        return self.stream.state(name)["quality"]


def stands(run, name, low, high=None):
    """None when the value is as good as its quality says; low and high bound the truth."""
    high = low if high is None else high
    state, value = run.state(name), run.value(name)
    quality = state["quality"]
    if quality == "missing":
        if value is not None:
            return f"{name} is missing and has the value {value}"
        return None if state.get("reason") else f"{name} is missing without a reason"
    if value is None:
        return f"{name} has no value, but is {quality}"
    if value > high or (value < low and quality != "lower_bound"):
        return f"{name} is {value} ({quality}, {state['source']}), the truth is {low}" + (f" to {high}" if high != low else "")
    return None


def first(*answers):
    """The first complaint."""
    return next((answer for answer in answers if answer), None)


def has(run, name, *qualities):
    quality = run.quality(name)
    return None if quality in qualities else f"{name} is {quality}: {run.state(name).get('reason')}"


def present(run, name, least, *qualities):
    """Of such a quality, and, even as a lower bound, no less than least."""
    value = run.value(name)
    return has(run, name, *qualities) or (None if value is not None and value >= least else f"{name} is {value}, at least {least} was expected")


def ratio(run, above, below, expected, share):
    top, bottom = run.value(above), run.value(below)
    if not top or not bottom:
        return f"{above} is {top}, {below} is {bottom}"
    return None if abs(top / bottom / expected - 1) <= share else f"{above} / {below} is {top / bottom:.5f}, expected {expected}"


# What every guest begins with.
SET_UP = ["module inet_diag", "module tcp_diag"]

# The kernel's two clocks of a task start and end at different places of a context switch; emulated, what lies between is long, and
# longer where the emulator itself has to wait for a CPU: that comes on top.
CPU_SHARE, CPU_SLACK = 0.1, 5_000_000
CPU_ABOVE, CPU_SLACK_ABOVE = 0.3, 50_000_000


def cpu_time(run, truth):
    return stands(run, "cpu.total_ns", truth * (1 - CPU_SHARE) - CPU_SLACK, truth * (1 + CPU_ABOVE) + CPU_SLACK_ABOVE)


def check_backends(run):
    for backend in run.stream.header["backends"]:
        if backend["state"] not in ("active", "idle") and not backend.get("reason"):
            return f"{backend} has no reason"
        if backend["state"] == "denied" and not backend.get("hint"):
            return f"{backend} has no hint"
    return None


def table(run):
    """What the header promises, a line of text for each row of matrix.json."""
    header = run.stream.header
    rows = {"tier": header["tier"]}
    for backend in header["backends"]:
        rows[f"backend {backend['name']}"] = "; ".join(backend[key] for key in ("state", "reason", "hint") if backend.get(key))
    for name, state in header["metrics"].items():
        rows[name] = f"{state['quality']}, {state['source']}" if state["source"] else state["quality"]
    return rows


def evaluate(label, checks):
    for name, run, check in checks:
        if run.problem:
            yield f"{label}/{name}", "its stream is not good"
            continue
        try:
            yield f"{label}/{name}", check()
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            yield f"{label}/{name}", f"{type(error).__name__}: {error}"


def is_json(data):
    try:
        return bool(json.loads(data))
    except ValueError:
        return False

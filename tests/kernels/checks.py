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


def close(run, name, truth, share, slack=0):
    return stands(run, name, truth * (1 - share) - slack, truth * (1 + share) + slack)


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


# The kernel's two clocks of a task start and end at different places of a context switch; emulated, what lies between is long.
CPU_SHARE, CPU_SLACK = 0.05, 5_000_000

# The environments of a guest without a PMU

ENVIRONMENTS = [
    ("root", 0, []),
    ("nobody", 65534, []),
    ("nobody-2", 65534, ["put /proc/sys/kernel/perf_event_paranoid 2"]),
]
COMMANDS = {
    "exit": "sh -c 'exit 7'",
    "signal": "sh -c 'kill -SEGV $$'",
    "storm": "rusage forkstorm 103 3 2",
    "write": "write 1234577 /tmp/written",
    "daemon": "daemon 97 20",
    "autoreap": "autoreap 31 3",
    "threads": "rusage threads 3 97",
    "spike": "spike 61 40",
    "tcp": "tcp 1234577 200",
    "sleeps": "sleeps 211 100",
    "faults": "faults 4099 k",
}


def plan_lines():
    """Without the kernel's sock_diag modules first, then with them."""
    lines = [f"run bare-{name} {uid} denet run -q -o stream -- tcp 1234577 200" for name, uid in (("root", 0), ("nobody", 65534))]
    lines += ["module inet_diag", "module tcp_diag"]
    for label, uid, setup in ENVIRONMENTS:
        lines += setup + ["rm -f /tmp/written"]
        lines += [f"run {label}-{name} {uid} denet run -q -o stream -- {command}" for name, command in COMMANDS.items()]
        lines.append(f"run {label}-doctor {uid} denet doctor --json")
    return lines


def check_cases(run_of, best):
    """All checks of one environment; run_of(name) gives a Run. best: what can be exact is."""
    exact = ("exact",) if best else ("exact", "lower_bound")
    run = run_of("exit")
    yield "exit status", run, lambda: None if run.case.status == 7 and run.stream.summary["exit"]["code"] == 7 else f"{run.case.status}"
    died = run_of("signal")
    yield "signal", died, lambda: None if died.case.status == 139 and died.stream.summary["exit"]["signal"] else f"{died.case.status}, {died.stream.summary['exit']}"
    storm = run_of("storm")
    yield "storm processes", storm, lambda: stands(storm, "process.started", storm.truth["processes"] + 1)
    yield "storm processes ended", storm, lambda: stands(storm, "process.exited", storm.truth["processes"] + 1)
    yield "storm cpu", storm, lambda: close(storm, "cpu.total_ns", storm.truth["rusage_cpu_ns"], CPU_SHARE, CPU_SLACK)
    yield "storm cpu is there", storm, lambda: present(storm, "cpu.total_ns", storm.truth["rusage_cpu_ns"] * 0.98, *exact)
    written = run_of("write")
    yield "write bytes", written, lambda: stands(written, "io.write_chars", 1234577 + len(written.case.out))
    yield "write calls", written, lambda: stands(written, "io.write_calls", written.truth["write_calls"] + 1)
    yield "write bytes are there", written, lambda: present(written, "io.write_chars", 1234577, *exact)
    daemon = run_of("daemon")
    yield "daemon cpu", daemon, lambda: stands(daemon, "cpu.total_ns", int(daemon.truth["grandchild_cpu_ns"] * 0.99), daemon.truth["cpu_ns"] * 2)
    reaped = run_of("autoreap")
    yield "autoreap cpu", reaped, lambda: stands(reaped, "cpu.total_ns", int(reaped.truth["cpu_ns"] * 0.99), reaped.truth["cpu_ns"] * 2)
    yield "autoreap processes", reaped, lambda: stands(reaped, "process.started", reaped.truth["processes"])
    threads = run_of("threads")
    yield "threads cpu", threads, lambda: close(threads, "cpu.total_ns", threads.truth["rusage_cpu_ns"], CPU_SHARE, CPU_SLACK)
    spike = run_of("spike")
    yield "spike peak", spike, lambda: stands(spike, "memory.peak_rss_bytes", 60 << 20, 66 << 20)
    yield "spike peak is there", spike, lambda: present(spike, "memory.peak_rss_bytes", 60 << 20, "sampled", *exact)
    tcp = run_of("tcp")
    yield "tcp sent", tcp, lambda: stands(tcp, "network.tx_bytes", tcp.truth["tx_bytes"])
    yield "tcp received", tcp, lambda: stands(tcp, "network.rx_bytes", tcp.truth["rx_bytes"])
    sleeps = run_of("sleeps")
    yield "sleeps switches", sleeps, lambda: stands(sleeps, "cpu.voluntary_switches", sleeps.truth["voluntary"], sleeps.truth["voluntary"] + 16)
    faults = run_of("faults")
    yield "faults in the kernel", faults, lambda: stands(faults, "memory.minor_faults", faults.truth["minor_faults"], faults.truth["own_minor_faults"] + 64)
    yield "no counter without a PMU", storm, lambda: check_no_pmu(storm)
    yield "backends say why", storm, lambda: check_backends(storm)


def check_no_pmu(run):
    for name in ("hw.cycles", "hw.instructions", "hw.cache_misses", "hw.branch_misses"):
        state = run.state(name)
        if state["quality"] != "missing" or not state.get("reason") or run.value(name) is not None:
            return f"{name}: {state}, value {run.value(name)}"
    return None


def check_backends(run):
    for backend in run.stream.header["backends"]:
        if backend["state"] not in ("active", "idle") and not backend.get("reason"):
            return f"{backend} has no reason"
        if backend["state"] == "denied" and not backend.get("hint"):
            return f"{backend} has no hint"
    return None


def check_tier(label, run):
    """Debian's kernels refuse all of perf to others at their default of 3, and grant user mode at 2."""
    tier, wanted = run.stream.header["tier"], "procfs" if label == "nobody" else "perf"
    if tier != wanted:
        return f"tier {tier}, expected {wanted}"
    if label == "nobody" and run.stream.backend("perf")["state"] != "denied":
        return f"{run.stream.backend('perf')}"
    if label == "nobody-2" and run.quality("cpu.migrations") != "missing":
        return f"migrations are {run.state('cpu.migrations')}, perf would count 0"
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


def check_slot(results, laws):
    """Yields (name, why) for a guest without a PMU, and the tables last."""
    tables = {}
    for name in ("root", "nobody"):
        bare = Run(results.case(f"bare-{name}"), laws)
        yield f"bare/{name} keeps the laws", bare.problem
        checks = [(f"{name} {way}", bare, lambda way=way, bare=bare: stands(bare, f"network.{way}_bytes", bare.truth[f"{way}_bytes"])) for way in ("tx", "rx")]
        yield from evaluate("bare", checks)
        if not bare.problem:
            tables[f"bare-{name}"] = table(bare)
    for label, _, _ in ENVIRONMENTS:
        runs = {}

        def run_of(name, label=label, runs=runs):
            return runs.setdefault(name, Run(results.case(f"{label}-{name}"), laws))

        for name in COMMANDS:
            yield f"{label}/{name} keeps the laws", run_of(name).problem
            status = {"exit": 7, "signal": 139}.get(name, 0)
            yield f"{label}/{name} ends with {status}", None if run_of(name).case.status == status else f"{run_of(name).case.status}"
        yield from evaluate(label, check_cases(run_of, label != "nobody"))
        storm = run_of("storm")
        if not storm.problem:
            yield f"{label}/tier", check_tier(label, storm)
            tables[label] = table(storm)
        doctor = results.case(f"{label}-doctor")
        yield f"{label}/doctor", None if doctor.status == 0 and is_json(doctor.out) else f"{doctor.status}: {doctor.err[-200:]!r}"
    yield "tables", tables


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

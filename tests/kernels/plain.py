# SPDX-License-Identifier: Apache-2.0
"""A guest without a PMU: the same commands in every tier, then what only the eBPF tier has, then what is left without this or that."""
import typing

import ebpf
from checks import SET_UP, Run, check_backends, cpu_time, evaluate, is_json, present, stands, table

# The environments of a guest without a PMU: label, who, what is done before, options, the tier, what can be exact is, and which commands.

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
PARANOID_2 = ["put /proc/sys/kernel/perf_event_paranoid 2"]


class Environment(typing.NamedTuple):
    label: str
    who: str
    tier: str
    before: list = []
    options: str = ""
    best: bool = True
    commands: dict = COMMANDS


ENVIRONMENTS = [
    Environment("root", "root", "ebpf"),
    Environment("perf", "root", "perf", options="--backend perf"),
    Environment("nobody", "nobody", "procfs", best=False),
    Environment("nobody-2", "nobody", "perf", before=PARANOID_2),
]


def plan_lines(arch="amd64"):
    """Without the kernel's sock_diag modules first, then with them."""
    lines = [f"run bare-{name} {name} denet run -q -o stream -- tcp 1234577 200" for name in ("root", "nobody")]
    lines += SET_UP
    for env in ENVIRONMENTS:
        lines += env.before + ["rm -f /tmp/written"]
        lines += [f"run {env.label}-{name} {env.who} denet run -q -o stream {env.options} -- {command}" for name, command in env.commands.items()]
        lines.append(f"run {env.label}-doctor {env.who} denet doctor --json")
    lines.append("put /proc/sys/kernel/perf_event_paranoid 3")
    return lines + ebpf.plan_lines(arch) + ebpf.lacking_lines()


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
    yield "storm cpu", storm, lambda: cpu_time(storm, storm.truth["rusage_cpu_ns"])
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
    yield "threads cpu", threads, lambda: cpu_time(threads, threads.truth["rusage_cpu_ns"])
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


def check_tier(env, run):
    """Debian's kernels refuse all of perf to others at their default of 3, and grant user mode at 2."""
    if run.stream.header["tier"] != env.tier:
        return f"tier {run.stream.header['tier']}, expected {env.tier}: {run.stream.backend('ebpf')}"
    if env.label == "nobody" and run.stream.backend("perf")["state"] != "denied":
        return f"{run.stream.backend('perf')}"
    if env.label == "nobody-2" and run.quality("cpu.migrations") != "missing":
        return f"migrations are {run.state('cpu.migrations')}, perf would count 0"
    return None


def check_environment(env, results, laws, tables):
    runs = {name: Run(results.case(f"{env.label}-{name}"), laws) for name in env.commands}
    for name, run in runs.items():
        yield f"{env.label}/{name} keeps the laws", run.problem
        status = {"exit": 7, "signal": 139}.get(name, 0)
        yield f"{env.label}/{name} ends with {status}", None if run.case.status == status else f"{run.case.status}"
    yield from evaluate(env.label, check_cases(runs.__getitem__, env.best))
    storm = runs["storm"]
    if not storm.problem:
        yield f"{env.label}/tier", check_tier(env, storm)
        tables[env.label] = table(storm)
    doctor = results.case(f"{env.label}-doctor")
    yield f"{env.label}/doctor", None if doctor.status == 0 and is_json(doctor.out) else f"{doctor.status}: {doctor.err[-200:]!r}"


def check_ebpf(results, laws, tables, arch):
    runs = {name: Run(results.case(f"ebpf-{name}"), laws) for name in ebpf.cases(arch)}
    for name, run in runs.items():
        yield f"ebpf/{name} keeps the laws", run.problem
        yield f"ebpf/{name} ends with 0", None if run.case.status == 0 else f"{run.case.status}: {run.case.err[-200:]!r}"
    yield from evaluate("ebpf", ebpf.check_cases(runs.__getitem__, arch))
    if not runs["everything"].problem:
        tables["everything"] = table(runs["everything"])


def check_lacking(results, laws, tables, slot):
    for name, (*_, left, _) in ebpf.LACKING.items():
        left = left if isinstance(left, str) else left.get(slot, "ebpf")
        run = Run(results.case(f"lacking-{name}"), laws)
        yield f"lacking/{name} keeps the laws", run.problem
        yield from evaluate("lacking", ebpf.check_lacking(name, run, left))
        doctor = results.case(f"lacking-{name}-doctor")
        yield f"lacking/{name}: doctor", None if doctor.status == 0 and is_json(doctor.out) else f"{doctor.status}: {doctor.err[-200:]!r}"
        if not run.problem:
            tables[f"lacking-{name}"] = ebpf.short_table(run)


def check_slot(results, laws, slot, arch="amd64"):
    """Yields (name, why) for a guest without a PMU, and the tables last."""
    tables = {}
    for name in ("root", "nobody"):
        bare = Run(results.case(f"bare-{name}"), laws)
        yield f"bare/{name} keeps the laws", bare.problem
        checks = [(f"{name} {way}", bare, lambda way=way, bare=bare: stands(bare, f"network.{way}_bytes", bare.truth[f"{way}_bytes"])) for way in ("tx", "rx")]
        yield from evaluate("bare", checks)
        if not bare.problem:
            tables[f"bare-{name}"] = table(bare)
    for env in ENVIRONMENTS:
        yield from check_environment(env, results, laws, tables)
    yield from check_ebpf(results, laws, tables, arch)
    yield from check_lacking(results, laws, tables, slot)
    yield "tables", tables

# SPDX-License-Identifier: Apache-2.0
"""The guest with the synthetic PMU of fakepmu/: every ratio and every share of time is known in advance."""
from checks import SET_UP, Run, cpu_time, evaluate, first, has, ratio, stands

RATIOS = [
    ("hw.instructions", "hw.cycles", 0.8),
    ("hw.cache_misses", "hw.cache_references", 0.2),
    ("hw.branch_misses", "hw.branches", 0.05),
    ("hw.cache_references", "hw.cycles", 0.02),
    ("hw.branches", "hw.cycles", 0.16),
]
EXTRA_RATIOS = [
    ("hw.stalled_cycles_frontend", "hw.cycles", 0.1),
    ("hw.stalled_cycles_backend", "hw.stalled_cycles_frontend", 2),
    ("hw.l1d_misses", "hw.l1d_loads", 0.05),
    ("hw.llc_misses", "hw.llc_loads", 0.2),
    ("hw.dtlb_misses", "hw.dtlb_loads", 0.0025),
]
DERIVED = [("hw.ipc", 0.8), ("hw.cache_miss_ratio", 0.2), ("hw.branch_miss_ratio", 0.05)]
BASIC = sorted({name for row in RATIOS for name in row[:2]})
EXTRA = sorted({name for row in EXTRA_RATIOS for name in row[:2]} - set(BASIC))
PARAMETERS = "/sys/module/fakepmu/parameters"
EVENTS = "r3c,rc0,cpu/event=0x3c/,cpu/instructions/"
LONG = "rusage threads 2 397"
STORM = "rusage forkstorm 61 7 2"
PAIR = "hw.cycles,hw.instructions,hw.ipc,hw.running_ratio,cpu.total_ns"


def plan_lines():
    def set_up(ncounters=16, held=0, dead=0):
        return [f"put {PARAMETERS}/ncounters {ncounters}", f"put {PARAMETERS}/held {held}", f"put {PARAMETERS}/dead {dead}"]

    def denet(name, command=STORM, options="", who="root"):
        return f"run {name} {who} denet run -q -o stream {options} -- {command}"

    def pinned(name, cpus):
        return f"run {name} root taskset {cpus} denet run -q -o stream -- {STORM}"

    return [
        *SET_UP,
        "module fakepmu ncounters=16",
        denet("process", options="--probes hw"),
        "run process-attach root sh -c 'burn 4000 & denet attach -q -o stream -d 0.9 --probes hw $!; status=$?; wait; exit $status'",
        denet("enough"), denet("threads", "rusage threads 3 149"), denet("daemon", "daemon 97 20"),
        "run attach root sh -c 'burn 5000 & denet attach -q -o stream -d 3 $!; status=$?; wait; exit $status'",
        *set_up(4), denet("process-turns", LONG, "--probes hw"), denet("turns"), denet("long", LONG), denet("pair", options=f"--metrics {PAIR}"), denet("events", LONG, options=f"-e {EVENTS}"),
        *set_up(1), denet("single", LONG),
        *set_up(16, held=14), denet("squeezed", LONG),
        *set_up(16, held=16), denet("held"), denet("process-held", options="--probes hw"),
        *set_up(16, dead=1), denet("dead"), denet("process-dead", options="--probes hw"),
        *set_up(16),
        denet("nobody-3", who="nobody"),
        "put /proc/sys/kernel/perf_event_paranoid 2", denet("nobody-2", who="nobody"),
        "put /proc/sys/kernel/perf_event_paranoid 1", denet("nobody-1", who="nobody"),
        "rmmod fakepmu", "module fakepmu ncounters=16 hybrid=1",
        denet("hybrid"), denet("process-hybrid", options="--probes hw"), pinned("core", 1), pinned("atom", 2),
    ]


def all_have(run, names, *qualities):
    return first(*(has(run, name, *qualities) for name in names))


def ratios(run, rows, share):
    return first(*(ratio(run, above, below, expected, share) for above, below, expected in rows))


def derived(run, share):
    for name, expected in DERIVED:
        value = run.value(name)
        if value is None or abs(value / expected - 1) > share:
            return f"{name} is {value}, expected {expected}"
    return None


def per_cpu_time(run, factor, share):
    """Cycles follow the CPU time, that of the children included. They end before the kernel takes a task's events apart, which
    is its CPU time too: what the workload's clocks saw is the lower limit."""
    total = run.value("cpu.total_ns")
    least = run.truth.get("cpu_ns", total)
    return first(cpu_time(run, run.truth.get("rusage_cpu_ns", total)),
                 stands(run, "hw.cycles", least * factor * (1 - share), total * factor * (1 + share)))


def share_of_time(run, low, high):
    value = run.value("hw.running_ratio")
    return None if value is not None and low <= value <= high else f"hw.running_ratio is {value}, expected {low} to {high}"


def never_zero(run, names):
    for name in names:
        if run.quality(name) != "missing" or run.value(name) is not None or not run.state(name).get("reason"):
            return f"{name} is {run.value(name)}: {run.state(name)}"
    return None


def user_view(run):
    for name in BASIC:
        if "user mode only" not in run.state(name)["source"] or not run.state(name).get("reason"):
            return f"{name}: {run.state(name)}"
    return None


def events(run):
    """Named events: all at the rate of cycles or of instructions, and taking turns with the others."""
    cycles, instructions = run.value("hw.cycles"), run.value("hw.instructions")
    found = {name: state for name, state in run.stream.header["metrics"].items() if name.startswith("hw.event.")}
    if len(found) != 4:
        return f"{sorted(found)}"
    for name in found:
        value = run.value(name)
        wanted = instructions if "c0" in name or "instructions" in name else cycles
        if value is None or abs(value / wanted - 1) > 0.02:
            return f"{name} is {value}, expected {wanted}"
        if run.quality(name) != "scaled":
            return f"{name} is {run.quality(name)}"
    return None


def hybrid(run, core, atom):
    """Each PMU by itself, and both together."""
    names = [name for name in run.stream.header["metrics"] if name.endswith(".cycles") and name != "hw.cycles"]
    if sorted(names) != ["hw.cpu_atom.cycles", "hw.cpu_core.cycles"]:
        return f"{names}"
    values = [run.value("hw.cpu_core.cycles"), run.value("hw.cpu_atom.cycles")]
    for value, expected in zip(values, (core, atom)):
        if bool(value) != expected:
            return f"core and atom counted {values}"
    total = sum(value or 0 for value in values)
    return None if abs(total / run.value("hw.cycles") - 1) <= 0.001 else f"{values} are not {run.value('hw.cycles')}"


def by_process(run, rows):
    """A row per process, each with the ratios of the whole, and together the whole. The counters are read one after the other,
    and the emulator may stand still in between: a row can be milliseconds off, and the next one is then off the other way."""
    found = run.value("hw.by_process")
    if not found or len(found) < rows:
        return f"hw.by_process has {len(found or {})} rows, expected {rows}"
    for name, row in found.items():
        for above, below, expected in RATIOS:
            top, bottom = (row[metric.split(".")[1]] for metric in (above, below))
            if abs(top - bottom * expected) > 10_000_000 * 3 * expected and row["cycles"] < 500_000_000:
                return f"{name}: {above} over {below} is {top} / {bottom}, expected {expected}"
    for metric in BASIC:
        total, whole = sum(row[metric.split(".")[1]] for row in found.values()), run.value(metric)
        if abs(total - whole) > whole * 0.002:
            return f"the processes have {total} of {metric}, the tree {whole}"
    return None


def by_bpf(run):
    for name in BASIC:
        if run.state(name)["source"] != "perf event array at sched_switch":
            return f"{name} is from {run.state(name)}"
    return None


def own_cycles(run):
    """Each process has the cycles of its own CPU time; the command's begin at its exec, which the emulator makes long."""
    for process in run.stream.summary["processes"]:
        cycles, cpu_ns = process["hw"]["cycles"], process["cpu"]["total_ns"]
        least_ns = 0 if process["pid"] == run.stream.header["pid"] else cpu_ns * 0.9 - 10_000_000
        if not 3 * least_ns <= cycles <= 3 * (cpu_ns * 1.1 + 10_000_000):
            return f"{process['name']}[{process['pid']}]: {cycles} cycles in {cpu_ns} ns"
    return None


def check_by_process(run_of):
    """The counters that BPF programs read, for each process."""
    whole, attach, turns, held, dead, mixed = (run_of(f"process{name}") for name in ("", "-attach", "-turns", "-held", "-dead", "-hybrid"))
    yield "process: by BPF and exact", whole, lambda: first(by_bpf(whole), all_have(whole, [*BASIC, "hw.by_process"], "exact"))
    yield "process: totals", whole, lambda: first(ratios(whole, RATIOS, 0.01), per_cpu_time(whole, 3, 0.05), share_of_time(whole, 1, 1))
    yield "process: each of them", whole, lambda: first(by_process(whole, whole.truth["processes"] + 1), own_cycles(whole))
    yield "process: the others are perf's", whole, lambda: all_have(whole, EXTRA, "exact")
    yield "process-attach: what runs without a switch", attach, lambda: first(per_cpu_time(attach, 3, 0.05), by_process(attach, 1))
    yield "process-turns: scaled", turns, lambda: all_have(turns, [*BASIC, "hw.by_process"], "scaled")
    yield "process-turns: scaled right", turns, lambda: first(ratios(turns, RATIOS, 0.02), per_cpu_time(turns, 3, 0.05), share_of_time(turns, 0.5, 0.75))
    yield "process-held: never on the PMU is missing", held, lambda: never_zero(held, [*BASIC, "hw.by_process"])
    yield "process-dead: opens and does not count is missing", dead, lambda: never_zero(dead, ["hw.cache_references", "hw.cache_misses"])
    yield "process-dead: the others count", dead, lambda: ratio(dead, "hw.instructions", "hw.cycles", 0.8, 0.01)
    yield "process-hybrid: CPUs of both kinds", mixed, lambda: first(all_have(mixed, BASIC, "exact"), ratios(mixed, RATIOS, 0.01), by_process(mixed, mixed.truth["processes"] + 1))


def check_cases(run_of):
    yield from check_by_process(run_of)
    enough, threads, turns, pair = (run_of(name) for name in ("enough", "threads", "turns", "pair"))
    yield "enough: exact", enough, lambda: all_have(enough, BASIC + EXTRA, "exact")
    yield "enough: ratios", enough, lambda: ratios(enough, RATIOS + EXTRA_RATIOS, 0.01)
    yield "enough: derived", enough, lambda: derived(enough, 0.02)
    yield "enough: cycles are 3 per ns of all children", enough, lambda: per_cpu_time(enough, 3, 0.05)
    yield "enough: always on the PMU", enough, lambda: share_of_time(enough, 1, 1)
    yield "threads: cycles are 3 per ns of all threads", threads, lambda: per_cpu_time(threads, 3, 0.05)
    yield "threads: ratios", threads, lambda: ratios(threads, RATIOS, 0.01)
    daemon, attach = run_of("daemon"), run_of("attach")
    yield "daemon: the grandchild is counted", daemon, lambda: stands(daemon, "hw.cycles", daemon.truth["grandchild_cpu_ns"] * 2.97, 2**63)
    yield "attach: ratios", attach, lambda: first(ratios(attach, RATIOS[:3], 0.01), ratios(attach, RATIOS, 0.1))
    yield "attach: cycles are 3 per ns", attach, lambda: per_cpu_time(attach, 3, 0.1)
    yield "turns: the six basic events are scaled", turns, lambda: all_have(turns, BASIC, "scaled")
    yield "turns: ratios", turns, lambda: ratios(turns, RATIOS, 0.02)
    yield "turns: cycles", turns, lambda: per_cpu_time(turns, 3, 0.05)
    yield "turns: two of three pairs at a time", turns, lambda: share_of_time(turns, 0.5, 0.75)
    yield "turns: the others are not had at this price", turns, lambda: never_zero(turns, EXTRA)
    lasting = run_of("long")
    yield "long: ratios", lasting, lambda: ratios(lasting, RATIOS, 0.02)
    yield "long: cycles", lasting, lambda: per_cpu_time(lasting, 3, 0.05)
    yield "pair: two events fit and are exact", pair, lambda: first(all_have(pair, ["hw.cycles", "hw.instructions"], "exact"), share_of_time(pair, 1, 1))
    yield "pair: ratio", pair, lambda: ratio(pair, "hw.instructions", "hw.cycles", 0.8, 0.01)
    named, single, squeezed = run_of("events"), run_of("single"), run_of("squeezed")
    yield "events: counted and scaled", named, lambda: events(named)
    yield "events: basic ones too", named, lambda: first(all_have(named, BASIC, "scaled"), ratios(named, RATIOS, 0.02), share_of_time(named, 0.2, 0.6))
    yield "single: no group fits, each event alone", single, lambda: first(all_have(single, BASIC, "scaled"), ratios(single, RATIOS, 0.01), per_cpu_time(single, 3, 0.05))
    yield "single: a sixth of the time", single, lambda: share_of_time(single, 0.08, 0.25)
    yield "squeezed: scaled", squeezed, lambda: all_have(squeezed, BASIC + EXTRA, "scaled")
    yield "squeezed: ratios", squeezed, lambda: ratios(squeezed, RATIOS + EXTRA_RATIOS, 0.02)
    held, dead = run_of("held"), run_of("dead")
    yield "held: never on the PMU is missing", held, lambda: never_zero(held, BASIC + EXTRA)
    yield "dead: opens and does not count is missing", dead, lambda: never_zero(dead, ["hw.cache_references", "hw.cache_misses"])
    yield "dead: the others count", dead, lambda: first(all_have(dead, ["hw.cycles", "hw.branches"], "exact"), ratio(dead, "hw.instructions", "hw.cycles", 0.8, 0.01))
    three, two, one = (run_of(f"nobody-{level}") for level in (3, 2, 1))
    yield "nobody at 3: refused", three, lambda: first(never_zero(three, BASIC), None if three.stream.header["tier"] == "procfs" else "a perf tier")
    yield "nobody at 2: user mode, and says so", two, lambda: user_view(two)
    yield "nobody at 2: the user's half", two, lambda: first(per_cpu_time(two, 1.5, 0.05), ratios(two, RATIOS, 0.01))
    yield "nobody at 1: all of it", one, lambda: first(per_cpu_time(one, 3, 0.05), ratios(one, RATIOS, 0.01))
    for name, core, atom in (("hybrid", True, True), ("core", True, False), ("atom", False, True)):
        run = run_of(name)
        yield f"{name}: per PMU", run, lambda run=run, core=core, atom=atom: hybrid(run, core, atom)
        yield f"{name}: ratio", run, lambda run=run: ratio(run, "hw.instructions", "hw.cycles", 0.8, 0.01)
    core, atom = run_of("core"), run_of("atom")
    yield "core: cycles", core, lambda: per_cpu_time(core, 3, 0.05)
    yield "atom: cycles", atom, lambda: per_cpu_time(atom, 1.5, 0.05)


def scaled_exactly_when(run):
    """The law of this slot: a count is scaled exactly when something took turns."""
    seen = [value for value in [*run.stream.series("hw.running_ratio"), run.value("hw.running_ratio")] if value is not None]
    if not seen:
        return None
    taken = min(seen)
    scaled = [name for name in BASIC if run.quality(name) == "scaled"]
    if taken < 1 and not scaled and run.value("hw.cycles") is not None:
        return f"hw.running_ratio is {taken}, and nothing is scaled"
    return f"hw.running_ratio is 1, but {scaled} are scaled" if taken == 1 and scaled else None


def check_slot(results, laws, slot):
    names = [line.split()[1] for line in plan_lines() if line.startswith("run ")]
    runs = {name: Run(results.case(name), laws) for name in names}
    for name, run in runs.items():
        yield f"{name} keeps the laws", run.problem
        yield f"{name} ends with 0", None if run.case.status == 0 else f"{run.case.status}: {run.case.err[-200:]!r}"
        if not run.problem:
            yield f"{name} is scaled exactly when it took turns", scaled_exactly_when(run)
    for name, why in evaluate("", check_cases(runs.__getitem__)):
        yield name.lstrip("/"), why

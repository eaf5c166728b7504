# SPDX-License-Identifier: Apache-2.0
"""The eBPF tier in a guest: each probe group against what a workload says of itself, and what is left where something is lacking."""
from checks import CPU_SHARE, check_backends, cpu_time, first, stands, table

WAIT_MS, WAITS = 11, 7
FUTEX_MS = 7
# Blocked and in-call times end before the workload reads its clock again; an emulated machine is slow in between.
FUTEX_SHARE = 0.8
SLACK_BYTES = 4 << 20

# Name: options and command, as root.
CASES = {
    "calls": ("", "syscalls 1009"),
    "compat": ("", "syscalls 211 compat"),
    "loop": ("", "sysloop 20011 4"),
    "lives": ("", "forkexec 53"),
    "leader": ("", "leaderexit 3 23"),
    "together": ("", "together 53 11"),
    "exec": ("", "threadexec 23"),
    "waits": ("--probes latency", f"latencies {WAITS} {WAIT_MS}"),
    "futexes": ("--probes locks", f"futexes 13 {FUTEX_MS}"),
    "files": ("--probes file", "write 1234577 /tmp/files"),
    "blocks": ("--probes block", "blockio /dev/vda 101 4096 write"),
    "bytes": ("--probes network", "sockbytes 251 997"),
    "connects": ("--probes network", "connects 101 53 7"),
    "maps": ("--probes memory", "mapper 11"),
    "touches": ("--probes memory", "faults 4099"),
    "signals": ("--probes signals", "signaler 17"),
    "limits": ("--probes limits", "limiter 7"),
    "security": ("--probes security", "capper 5"),
    "everything": ("--probes all", "rusage forkstorm 61 3 2"),
}
X86_ONLY = {"compat"}

# What these kernels all have: a reason why it is missing would not do.
MEASURED = {
    "calls": ["syscall.count", "syscall.errors", "syscall.by_name"], "compat": ["syscall.by_name"], "loop": ["syscall.by_name"],
    "lives": ["process.execs", "process.exits", "process.lifetime"], "leader": ["process.threads_started"],
    "together": ["process.exits", "process.threads_started"], "exec": ["process.execs"],
    "waits": ["sched.blocked.sleep_ns", "sched.blocked.pipe_ns", "sched.blocked.network_ns", "sched.blocked.futex_ns", "syscall.latency"],
    "futexes": ["lock.futex_waits", "lock.futex_wait_ns", "lock.by_address"], "files": ["file.write_bytes", "file.by_operation"],
    "blocks": ["block.requests", "block.read_bytes", "block.by_device"], "bytes": ["network.by_protocol"],
    "connects": ["network.connects", "network.accepts", "network.failures", "network.connect_latency"],
    "maps": ["memory.mmap_bytes", "memory.munmap_bytes", "memory.brk_bytes", "memory.shared_bytes"],
    "touches": ["memory.faults_user", "memory.fault_latency"], "signals": ["signal.by_number"], "limits": ["limit.hits", "limit.by_call"],
    "security": ["security.capability_denials", "security.by_capability"], "everything": ["cpu.total_ns", "process.started"],
}

LEFT = "rusage forkstorm 31 3 2"
# What is lacking: who, what is done before, what comes before denet, which tier is left (where it is not ebpf), what is undone.
LACKING = {
    "no-tracefs": ("root", ["umount /sys/kernel/tracing"], "denet", "ebpf", ["mount -t tracefs t /sys/kernel/tracing"]),
    "no-btf": ("root", ["mount --bind /dev/null /sys/kernel/btf/vmlinux"], "denet", "perf", ["umount /sys/kernel/btf/vmlinux"]),
    "stripped": ("stripped", [], "denet", "procfs", []),
    # Before 5.11 BPF maps are charged to RLIMIT_MEMLOCK.
    "memlock": ("capable", ["ulimit -l 64"], "denet", {"5.10": "procfs"}, ["ulimit -l unlimited"]),
    "capable": ("capable", [], "denet", "ebpf", []),
    "filecaps": ("user", ["cp /bin/denet /tmp/denet", "filecaps /tmp/denet"], "/tmp/denet", "ebpf", ["rm /tmp/denet"]),
    "no-bpf-call": ("root", [], "denysys 1 bpf denet", "perf", []),
    "no-perf-call": ("root", [], "denysys 1 perf_event_open denet", "ebpf", []),
    "no-calls": ("root", [], "denysys 1 bpf,perf_event_open denet", "procfs", []),
    "integrity": ("root", ["put /sys/kernel/security/lockdown integrity"], "denet", "ebpf", []),
    # There is no way back from this one.
    "confidentiality": ("root", ["put /sys/kernel/security/lockdown confidentiality"], "denet", "perf", []),
}


def cases(arch):
    return {name: case for name, case in CASES.items() if arch == "amd64" or name not in X86_ONLY}


def plan_lines(arch):
    return ["module virtio_pci", "module virtio_blk",
            *(f"run ebpf-{name} root denet run -q -o stream {options} -- {command}" for name, (options, command) in cases(arch).items())]


def lacking_lines():
    lines = ["mount -t securityfs s /sys/kernel/security"]
    for name, (who, before, denet, _, after) in LACKING.items():
        lines += [*before, f"run lacking-{name} {who} {denet} run -q -o stream -- {LEFT}", f"run lacking-{name}-doctor {who} {denet} doctor --json", *after]
    return lines


# Tables and distributions


def cells(run, name, wanted):
    """None when the table's rows are as good as its quality says. wanted: {row: {column: value or (low, high)}}."""
    state = run.state(name)
    rows = run.value(name)
    if state["quality"] == "missing":
        if rows is not None:
            return f"{name} is missing and has a value"
        return None if state.get("reason") else f"{name} is missing without a reason"
    for key, columns in wanted.items():
        for column, bounds in columns.items():
            low, high = bounds if isinstance(bounds, tuple) else (bounds, bounds)
            found = (rows or {}).get(key, {}).get(column, 0)
            if found > high or (found < low and state["quality"] != "lower_bound"):
                return f"{name}[{key}].{column} is {found} ({state['quality']}), the truth is {low}" + (f" to {high}" if high != low else "")
    return None


def counted(run, name, low, high=None):
    """How many a distribution holds."""
    state, value = run.state(name), run.value(name)
    high = low if high is None else high
    if state["quality"] == "missing":
        return None if value is None and state.get("reason") else f"{name}: {state}, {value}"
    found = (value or {}).get("count")
    if found is None or found > high or (found < low and state["quality"] != "lower_bound"):
        return f"{name} holds {found} ({state['quality']}), the truth is {low} to {high}"
    return None


def known_calls(run):
    """The workload's calls by name; those beyond every table are in a row of their own."""
    truth = run.truth["calls"]
    beyond = [truth.pop(name) for name in ("syscall_9973", "syscall_-1") if name in truth]
    truth["syscall_other"] = {column: sum(said[column] for said in beyond) for column in ("count", "errors")}
    return first(cells(run, "syscall.by_name", truth), stands(run, "syscall.count", run.truth["count"], run.truth["count"] + 400),
                 stands(run, "syscall.errors", run.truth["errors"], run.truth["errors"] + 100))


def ends(run):
    wanted = dict(run.truth["ends"])
    wanted["0"] = wanted.get("0", 0) + 1  # the workload's own
    return cells(run, "process.exits", {key: {"count": count} for key, count in wanted.items()})


def blocked(run):
    calls, asked = run.truth["calls"], WAITS * WAIT_MS * 1_000_000
    # What is blocked begins after the call and its timer do. The writer of the pipe sleeps, and waits for its turn, at a pipe too.
    bounds = {"sleep": (asked * 2, calls["nanosleep"]["sum_ns"] + calls["read"]["sum_ns"]), "network": (asked, calls["ppoll"]["sum_ns"]),
              "pipe": (asked, calls["read"]["sum_ns"] * 2), "futex": (asked, calls["futex"]["sum_ns"])}
    busy = run.value("cpu.total_ns") + run.value("cpu.run_delay_ns")
    return first(*(stands(run, f"sched.blocked.{kind}_ns", low - busy, high) for kind, (low, high) in bounds.items()))


def call_times(run):
    asked, calls = WAITS * WAIT_MS * 1_000_000, run.truth["calls"]
    return cells(run, "syscall.by_name", {name: {"count": WAITS, "errors": calls[name]["errors"], "time_ns": (asked, calls[name]["sum_ns"])} for name in ("nanosleep", "ppoll", "futex")})


def call_latency(run):
    rows = run.value("syscall.by_name")
    if run.quality("syscall.latency") == "missing":
        return None if run.state("syscall.latency").get("reason") else "missing without a reason"
    latency = rows["nanosleep"]["latency"]
    asked, longest = WAIT_MS * 1_000_000, run.truth["calls"]["nanosleep"]["max_ns"]
    if latency["count"] != WAITS or not asked * 0.875 <= latency["p50"] <= longest * 1.125:
        return f"nanosleep: {latency}"
    return None


def addresses(run):
    rows = {}
    for word in run.truth["words"].values():
        if word["waits"]:
            rows[f"{run.truth['pid']}:{word['address']}"] = {"waits": word["waits"], "time_ns": (int(word["sum_ns"] * FUTEX_SHARE), word["sum_ns"])}
    return cells(run, "lock.by_address", rows)


def devices(run):
    state, rows = run.state("block.by_device"), run.value("block.by_device")
    if state["quality"] == "missing":
        return None if rows is None and state.get("reason") else f"{state}"
    for column in ("reads", "writes", "read_bytes", "write_bytes"):
        found = sum(row.get(column, 0) for row in rows.values())
        if found != run.truth[column]:
            return f"block.by_device: {column} are {found}, the truth is {run.truth[column]}"
    return None


def protocols(run):
    said = run.truth["protocols"]
    columns = ("rx_bytes", "tx_bytes", "rx_calls", "tx_calls")
    rows = {"tcp": said["tcp"], "udp": said["udp"], "unix": {column: said["unix_stream"][column] + said["unix_dgram"][column] for column in columns}}
    return cells(run, "network.by_protocol", rows)


def mapped(run):
    truth = run.truth
    return first(*(stands(run, f"memory.{name}_bytes", truth[f"{name}_bytes"], truth[f"{name}_bytes"] + SLACK_BYTES) for name in ("mmap", "munmap", "brk")),
                 stands(run, "memory.shared_bytes", truth["memfd_bytes"] + truth["shm_file_bytes"] + truth["segment_bytes"]))


def signals(run):
    rows = {}
    for name, said in run.truth["signals"].items():
        if name != "SIGRT":
            rows[name] = {"delivered": said["delivered"], "ignored": said["ignored"]}
    return cells(run, "signal.by_number", rows)


def limits(run):
    return first(stands(run, "limit.hits", run.truth["hits"]), cells(run, "limit.by_call", {key: {"count": count} for key, count in run.truth["by_call"].items()}))


def refusals(run):
    wanted = {}
    for said in run.truth["calls"].values():
        wanted[said["capability"]] = wanted.get(said["capability"], 0) + said["count"]
    found = run.value("security.by_capability") or {}
    rows = {key: {"denials": (count, count + 20)} for key, count in wanted.items()}
    known = {key.lower().removeprefix("cap_"): key for key in found}
    return first(stands(run, "security.capability_denials", run.truth["denials"], run.truth["denials"] + 40),
                 cells(run, "security.by_capability", {known.get(key, key): columns for key, columns in rows.items()}))


def measured(run, names):
    return first(*(f"{name} is missing: {run.state(name).get('reason')}" for name in names if run.quality(name) == "missing"))


def check_cases(run_of, arch):
    for name in cases(arch):
        run = run_of(name)
        yield f"{name} is measured", run, lambda run=run, name=name: measured(run, MEASURED[name])
    if "compat" in cases(arch):
        compat = run_of("compat")
        yield "calls of the 32-bit ABI", compat, lambda: known_calls(compat)
    calls, loop, lives, leader, together, executed = (run_of(name) for name in ("calls", "loop", "lives", "leader", "together", "exec"))
    yield "calls by name", calls, lambda: known_calls(calls)
    yield "calls of threads", loop, lambda: cells(loop, "syscall.by_name", {"getppid": {"count": loop.truth["getppid"], "errors": 0}})
    yield "execs", lives, lambda: stands(lives, "process.execs", lives.truth["execs"] + 1)
    yield "ends by code and signal", lives, lambda: ends(lives)
    yield "lifetimes", lives, lambda: counted(lives, "process.lifetime", lives.truth["processes"])
    yield "lives", lives, lambda: first(stands(lives, "process.started", lives.truth["processes"]), stands(lives, "process.exited", lives.truth["processes"]))
    yield "threads outlive their leader", leader, lambda: first(stands(leader, "process.threads_started", 3), stands(leader, "cpu.total_ns", leader.truth["cpu_ns"] * (1 - CPU_SHARE), leader.truth["cpu_ns"] * 1.5))
    yield "threads that end at once are one end", together, lambda: first(
        ends(together), stands(together, "process.exited", together.truth["processes"]), stands(together, "process.threads_started", together.truth["threads_started"]))
    yield "a thread executes", executed, lambda: first(stands(executed, "process.threads_started", 3), stands(executed, "process.execs", executed.truth["execs"] + 1))
    waits, futexes = run_of("waits"), run_of("futexes")
    yield "blocked by kind", waits, lambda: blocked(waits)
    yield "time in calls", waits, lambda: call_times(waits)
    yield "latency of calls", waits, lambda: call_latency(waits)
    yield "futex waits", futexes, lambda: stands(futexes, "lock.futex_waits", futexes.truth["waits"])
    yield "futex time", futexes, lambda: stands(futexes, "lock.futex_wait_ns", futexes.truth["wait_ns"] * FUTEX_SHARE, futexes.truth["wait_ns"])
    yield "futexes by address", futexes, lambda: addresses(futexes)
    files, blocks = run_of("files"), run_of("blocks")
    yield "bytes to files", files, lambda: stands(files, "file.write_bytes", 1234577 + len(files.case.out))
    yield "writes to files", files, lambda: cells(files, "file.by_operation", {"write": {"count": files.truth["write_calls"] + 1}})
    yield "block requests", blocks, lambda: stands(blocks, "block.requests", blocks.truth["reads"] + blocks.truth["writes"])
    yield "block bytes", blocks, lambda: first(stands(blocks, "block.read_bytes", blocks.truth["read_bytes"]), stands(blocks, "block.write_bytes", blocks.truth["write_bytes"]))
    yield "block devices", blocks, lambda: devices(blocks)
    sent, connects = run_of("bytes"), run_of("connects")
    yield "bytes by protocol", sent, lambda: protocols(sent)
    yield "connections", connects, lambda: first(stands(connects, "network.connects", connects.truth["connects"]), stands(connects, "network.accepts", connects.truth["accepts"]))
    yield "refused connections", connects, lambda: cells(connects, "network.failures", {"ECONNREFUSED": {"count": connects.truth["refused"]}})
    yield "connect latency", connects, lambda: counted(connects, "network.connect_latency", connects.truth["connects"])
    maps, touches = run_of("maps"), run_of("touches")
    yield "mappings", maps, lambda: mapped(maps)
    yield "user faults", touches, lambda: stands(touches, "memory.faults_user", touches.truth["minor_faults"], touches.truth["own_minor_faults"] + 256)
    yield "fault latency", touches, lambda: counted(touches, "memory.fault_latency", touches.truth["minor_faults"], touches.truth["own_minor_faults"] + 1024)
    signalled, limited, secured = run_of("signals"), run_of("limits"), run_of("security")
    yield "signals by number", signalled, lambda: signals(signalled)
    yield "limits", limited, lambda: limits(limited)
    yield "capabilities refused", secured, lambda: refusals(secured)
    everything = run_of("everything")
    yield "everything: processes", everything, lambda: stands(everything, "process.started", everything.truth["processes"] + 1)
    yield "everything: cpu", everything, lambda: cpu_time(everything, everything.truth["rusage_cpu_ns"])


def check_lacking(name, run, left):
    """What is left measures as well as it can, and the header says what is lacking and what would help."""
    yield f"{name}: processes", run, lambda: stands(run, "process.started", run.truth["processes"] + 1)
    yield f"{name}: cpu", run, lambda: cpu_time(run, run.truth["rusage_cpu_ns"])
    yield f"{name}: tier", run, lambda: None if run.stream.header["tier"] == left else f"{run.stream.header['tier']}, expected {left}: {run.stream.backend('ebpf')}"
    yield f"{name}: why", run, lambda: check_backends(run)


def short_table(run):
    return {row: text for row, text in table(run).items() if row == "tier" or row.startswith("backend ")}

#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Measures denet beside its peers, interleaved, and prints ratios as Markdown (docs/benchmarks.md is made from it).

Absolute times belong to the machine that ran this; the ratios are what is compared with the targets. A peer that is
not installed is left out and named.
"""
import argparse
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
DENET = os.environ.get("DENET", os.path.join(ROOT, "build", "src", "denet"))
LOADS = os.environ.get("WORKLOADS", os.path.join(ROOT, "tests", "workloads", "out"))
missing = []


def tool(name, path=None):
    found = path if path and os.access(path, os.X_OK) else shutil.which(name)
    if not found and name not in missing:
        missing.append(name)
    return found


def timer(work, rounds, pause_ms, commands):
    binary = os.path.join(work, "spawn-timer")
    if not os.path.exists(binary):
        subprocess.run(["cc", "-O2", "-D_GNU_SOURCE", "-o", binary, os.path.join(HERE, "spawn-timer.c")], check=True)
    args = [binary, str(rounds), str(pause_ms)]
    for i, (name, argv) in enumerate(commands):
        args += ([] if i == 0 else ["::"]) + [name] + argv
    out = subprocess.run(args, check=True, capture_output=True, text=True).stdout
    return {row["name"]: row for row in map(json.loads, out.splitlines())}


def table(head, rows):
    print("| " + " | ".join(head) + " |")
    print("|" + "---|" * len(head))
    for row in rows:
        print("| " + " | ".join(str(cell) for cell in row) + " |")
    print()


def us(ns):
    return f"{ns / 1000:,.0f}"


def with_tool(commands, name, argv, label=None, path=None):
    found = tool(name, path)
    if found:
        commands.append((label or name, [found] + argv))


def launch(work, quick):
    print("## Launch cost: wrapping /bin/true, spawn to reap\n")
    commands = [("/bin/true alone", ["/bin/true"]),
                ("denet run, procfs tier", [DENET, "run", "--backend", "procfs", "--", "/bin/true"]),
                ("denet run --json, procfs tier", [DENET, "run", "--backend", "procfs", "--json", "--", "/bin/true"]),
                ("denet run, perf tier", [DENET, "run", "--backend", "perf", "--", "/bin/true"]),
                ("denet run --json, perf tier", [DENET, "run", "--backend", "perf", "--json", "--", "/bin/true"])]
    with_tool(commands, "time", ["/bin/true"], "GNU time", "/usr/bin/time")
    with_tool(commands, "timeout", ["5", "/bin/true"])
    with_tool(commands, "perf", ["stat", "--", "/bin/true"], "perf stat")
    with_tool(commands, "perf", ["stat", "-e", "task-clock", "--", "/bin/true"], "perf stat -e task-clock")
    with_tool(commands, "strace", ["-c", "-f", "/bin/true"], "strace -c -f")
    got = timer(work, 40 if quick else 200, 0, commands)
    base, gnu = got["/bin/true alone"], got.get("GNU time")
    perf = got.get("perf stat")
    table(["command", "min µs", "median µs", "over true, median µs", "x GNU time", "x perf stat", "peak RSS KiB"],
          [[name, us(r["min"]), us(r["median"]), us(r["median"] - base["median"]),
            f"{r['median'] / gnu['median']:.2f}" if gnu else "-", f"{r['median'] / perf['median']:.2f}" if perf else "-",
            r["rss_kib"]] for name, r in got.items()])
    print("Cold: 1.5 s of pause before each, so that no perf event is alive and the kernel's static key is off.\n")
    cold = timer(work, 3 if quick else 9, 1500, commands[:5:2][:1] + [commands[1], commands[3]] +
                 [c for c in commands if c[0] == "perf stat"])
    table(["command", "min µs", "median µs"], [[n, us(r["min"]), us(r["median"])] for n, r in cold.items()])


def hyperfine(work, quick):
    if not tool("hyperfine"):
        return
    print("## hyperfine -N, for reference: what it says of a wrapped command\n")
    out = os.path.join(work, "hyperfine.json")
    subprocess.run(["hyperfine", "-N", "--warmup", "3", "--runs", "20" if quick else "100", "--export-json", out, "/bin/true",
                    f"{DENET} run --backend procfs -q -- /bin/true"], check=True, capture_output=True)
    table(["command", "mean µs", "min µs"],
          [[r["command"].replace(DENET, "denet"), f"{r['mean'] * 1e6:,.0f}", f"{r['min'] * 1e6:,.0f}"]
           for r in json.load(open(out))["results"]])


def slowdown(work, quick):
    print("## What the command pays: wall time under each tool, x of the bare command\n")
    load = lambda *a: [os.path.join(LOADS, a[0])] + [str(x) for x in a[1:]]
    rows = []
    for title, argv in (("forkstorm 500 1", load("forkstorm", 500, 1)), ("execstorm 200 1", load("execstorm", 200, 1)),
                        ("pingpong 50000", load("pingpong", 50000)), ("sleeps 2000 0", load("sleeps", 2000, 0)),
                        ("mixed 100000", load("mixed", 100000))):
        commands = [("bare", argv), ("denet procfs", [DENET, "run", "--backend", "procfs", "-o", "/dev/null", "--"] + argv),
                    ("denet perf", [DENET, "run", "--backend", "perf", "-o", "/dev/null", "--"] + argv)]
        with_tool(commands, "perf", ["stat", "-o", "/dev/null", "--"] + argv, "perf stat")
        if "pingpong" not in title and "mixed" not in title:
            with_tool(commands, "strace", ["-c", "-f", "-o", "/dev/null"] + argv, "strace -c -f")
        got = timer(work, 3 if quick else 7, 0, commands)
        bare = got["bare"]["min"]
        rows.append([title, f"{bare / 1e6:,.1f}"] + [f"{got[n]['min'] / bare:.2f}" if n in got else "-"
                                                  for n in ("denet procfs", "denet perf", "perf stat", "strace -c -f")])
    table(["workload", "bare ms (min)", "denet procfs", "denet perf", "perf stat", "strace -c -f"], rows)


def spent(work, argv):
    """CPU seconds and peak RSS (KiB) of a tool that watches for some seconds, and its exit status."""
    row = timer(work, 1, 0, [("tool", argv)])["tool"]
    return row["cpu"] / 1e9, row["rss_kib"], row["status"]


PSUTIL = ("import psutil,time,sys\np=psutil.Process(int(sys.argv[1]))\nend=time.monotonic()+float(sys.argv[2])\n"
          "while time.monotonic()<end:\n for q in [p]+p.children(recursive=True):\n  try:\n   with q.oneshot(): q.cpu_times();q.memory_info();q.io_counters()\n"
          "  except psutil.Error: pass\n time.sleep(0.1)\n")


def tree_of(n):
    """A parent with n sleeping children, ready when it says so."""
    proc = subprocess.Popen([sys.executable, "-c", "import os,sys,signal,time\nn=int(sys.argv[1])\nfor i in range(n):\n"
                             " if os.fork()==0: signal.pause()\nprint('ready',flush=True)\nsignal.pause()\n", str(n)],
                            stdout=subprocess.PIPE, text=True, start_new_session=True)
    proc.stdout.readline()
    return proc


BY_EBPF = "cpu.total_ns,cpu.run_delay_ns,cpu.blocked_ns,cpu.voluntary_switches,process.count,process.started,process.exited,memory.minor_faults,io.read_chars,syscall.count"


def sampler(work, quick):
    print("## Sampler cost: watching a tree of sleeping processes, percent of one core (start cost taken off) and peak RSS\n")
    seconds = 4
    head = ["processes", "tool", "CPU %", "CPU ms a sample", "peak RSS MiB"]
    rows = []
    for n in (10, 100, 1000, 10000):
        if quick and n > 1000:
            continue
        proc = tree_of(n)
        pid = str(proc.pid)
        attach = [DENET, "attach", "-i", "100", "-o", "/dev/null"]
        tools = [("denet procfs 10 Hz", attach + ["--backend", "procfs", "-d"], [pid], 10),
                 ("denet auto 10 Hz", attach + ["-d"], [pid], 10),
                 ("denet 10 Hz, what eBPF supplies", attach + ["-q", "--metrics", BY_EBPF, "-d"], [pid], 10),
                 ("denet --per-process 10 Hz", attach + ["--per-process", "--backend", "procfs", "-d"], [pid], 10)]
        for name, before, after, hz in tools:
            low, _, s0 = spent(work, before + ["0.05"] + after)
            cpu, rss, s1 = spent(work, before + [str(seconds)] + after)
            note = "" if s0 == 0 and s1 == 0 else f" (exit {s0}/{s1})"
            rows.append([n, name + note, f"{max(0.0, cpu - low) / seconds * 100:.2f}",
                         f"{max(0.0, cpu - low) / seconds / hz * 1000:.2f}", f"{rss / 1024:.1f}"])
        if tool("pidstat"):
            cpu, rss, _ = spent(work, ["pidstat", "-u", "-r", "-d", "1", str(seconds)])
            low, _, _ = spent(work, ["pidstat", "-V"])
            rows.append([n, "pidstat -urd 1 Hz, all", f"{(cpu - low) / seconds * 100:.2f}", f"{(cpu - low) / seconds * 1000:.2f}", f"{rss / 1024:.1f}"])
        if tool("top"):
            cpu, rss, _ = spent(work, ["top", "-b", "-d", "0.1", "-n", str(seconds * 10)])
            rows.append([n, "top -b 10 Hz, all", f"{cpu / seconds * 100:.2f}", f"{cpu / seconds / 10 * 1000:.2f}", f"{rss / 1024:.1f}"])
        if subprocess.run(["/usr/bin/python3", "-c", "import psutil"], capture_output=True).returncode == 0:
            low, _, _ = spent(work, ["/usr/bin/python3", "-c", PSUTIL, pid, "0"])
            cpu, rss, _ = spent(work, ["/usr/bin/python3", "-c", PSUTIL, pid, str(seconds)])
            rows.append([n, "psutil, pause of 0.1 s", f"{max(0.0, cpu - low) / seconds * 100:.2f}", "-", f"{rss / 1024:.1f}"])
        elif "python3-psutil" not in missing:
            missing.append("python3-psutil")
        if n == 10000 and tool("ps"):
            cpu, rss, _ = spent(work, ["ps", "-e"])
            rows.append([n, "ps -e, once", "-", f"{cpu * 1000:.0f}", f"{rss / 1024:.1f}"])
        os.killpg(proc.pid, signal.SIGKILL)
        proc.wait()
    table(head, rows)


def stats(work, quick):
    print("## denet stats against jq\n")
    path = os.path.join(work, "stream.json")
    size = 40 if quick else 200
    subprocess.run(["/usr/bin/python3", os.path.join(ROOT, "tests", "make-stream.py"), "--bytes", str(size << 20)], check=True, stdout=open(path, "wb"))
    commands = [("denet stats", [DENET, "stats", path]), ("wc -l", ["wc", "-l", path])]
    with_tool(commands, "jq", ["-c", ".tree.cpu.total_ns", path], "jq -c .tree.cpu.total_ns")
    got = timer(work, 3, 0, commands)
    mine = got["denet stats"]["median"]
    size = os.path.getsize(path)
    table(["command", "MB/s", "x as long as denet stats", "peak RSS MiB"],
          [[n, f"{size / r['median'] * 1000:,.0f}", f"{r['median'] / mine:.1f}", f"{r['rss_kib'] / 1024:.1f}"] for n, r in got.items()])
    os.unlink(path)


class Watcher:
    """A tool that looks at the whole machine while something else runs."""

    def __init__(self, argv):
        self.argv = argv

    def __enter__(self):
        self.process = subprocess.Popen(self.argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        time.sleep(1.5)

    def __exit__(self, *unused):
        os.killpg(self.process.pid, signal.SIGINT)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def beside(argv, what):
    """The operation's cost in a process that the tool does not watch, while the tool runs."""
    with Watcher(argv):
        return float(subprocess.run(what, capture_output=True, text=True, check=True).stdout)


COUNT = "tracepoint:raw_syscalls:sys_exit { @[args->id] = count(); }"
LATENCY = ("tracepoint:raw_syscalls:sys_enter { @s[tid] = nsecs; } "
           "tracepoint:raw_syscalls:sys_exit /@s[tid]/ { @[args->id] = hist(nsecs - @s[tid]); delete(@s[tid]); }")


def traced(work, quick):
    print("## Tracing: whole programs, x of the bare program (wall time, the start of the tool included; smallest of interleaved rounds)\n")
    run = lambda *a: [DENET, "run", "-q", "-o", "/dev/null", *a, "--"]
    load = lambda *a: [os.path.join(LOADS, a[0]), *map(str, a[1:])]
    loads = [("dd bs=1, 1,000,000 bytes", ["dd", "if=/dev/zero", "of=/dev/null", "bs=1", "count=1000000", "status=none"]),
             ("150,000 round trips over two pipes", load("pingpong", 150000)), ("5,000 forks", load("forkstorm", 5000, 0, 2))]
    wraps = [("bare", []), ("denet, default probes", run()), ("denet --probes latency", run("--probes", "latency")), ("denet --probes all", run("--probes", "all"))]
    watchers = [("beside denet, default probes", run() + ["sleep", "600"]), ("beside denet --probes latency", run("--probes", "latency") + ["sleep", "600"])]
    if tool("perf"):
        wraps += [("perf stat -e raw_syscalls:sys_enter", ["perf", "stat", "-x,", "-o", "/dev/null", "-e", "raw_syscalls:sys_enter", "--"]),
                  ("perf trace -s", ["perf", "trace", "-s", "-o", "/dev/null", "--"])]
    if tool("strace"):
        wraps.append(("strace -c -f", ["strace", "-c", "-f", "-o", "/dev/null"]))
    if tool("bpftrace"):
        watchers += [("bpftrace, count by name", ["bpftrace", "-e", COUNT]), ("bpftrace, latency", ["bpftrace", "-e", LATENCY])]
    if os.access("/usr/sbin/syscount", os.X_OK):
        watchers += [("syscount", ["/usr/sbin/syscount"]), ("syscount -L", ["/usr/sbin/syscount", "-L"])]
    walls = {}

    def once(label, title, argv):
        begun = time.monotonic()
        if subprocess.run(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0:
            walls.setdefault((label, title), []).append(time.monotonic() - begun)

    slow = ("strace -c -f", "perf trace -s")
    for round_number in range(2 if quick else 6):
        for label, wrap in wraps:
            if label in slow and round_number > 1:
                continue
            for title, argv in loads:
                once(label, title, [*wrap, *argv])
        for label, argv in watchers:
            with Watcher(argv):
                for title, what in loads:
                    once(label, title, what)
    rows = []
    for label, _ in wraps + watchers:
        row = [label]
        for title, _ in loads:
            got = walls.get((label, title))
            row.append(f"{min(got) / min(walls['bare', title]):.2f} x" if got and label != "bare" else f"{min(got) * 1000:,.0f} ms" if got else "-")
        rows.append(row)
    table(["", *(title for title, _ in loads)], rows)
    detach(work, quick)


def detach(work, quick):
    """From the last line of the stream to the end of denet: programs taken off, maps freed, the process gone."""
    print("End: from the summary's line to the end of the process, ms\n")
    rows, pipe = [], os.path.join(work, "pipe")
    os.mkfifo(pipe)
    for label, options in (("denet, procfs tier", ["--backend", "procfs"]), ("denet, perf tier", ["--backend", "perf"]), ("denet, default probes", []),
                           ("denet --probes latency", ["--probes", "latency"]), ("denet --probes all", ["--probes", "all"])):
        got = []
        for _ in range(5 if quick else 25):
            process = subprocess.Popen([DENET, "run", "-q", "-o", pipe, *options, "--", "/bin/true"])
            with open(pipe) as stream:
                for line in stream:
                    if '"kind":"summary"' in line[:40]:
                        seen = time.monotonic()
                process.wait()
                got.append((time.monotonic() - seen) * 1000)
        rows.append([label, f"{min(got):.1f}", f"{sorted(got)[len(got) // 2]:.1f}"])
    table(["", "min", "median"], rows)


def chunks_binary(work):
    binary = os.path.join(work, "chunks")
    if not os.path.exists(binary):
        subprocess.run(["cc", "-O2", "-D_GNU_SOURCE", "-o", binary, os.path.join(HERE, "chunks.c")], check=True)
    return binary


class LoopDevice:
    """A block device in memory; None where there can be none."""

    def __init__(self, work):
        self.path = os.path.join("/dev/shm", os.path.basename(work) + ".img")

    def __enter__(self):
        with open(self.path, "wb") as file:
            file.truncate(1 << 20)
        done = subprocess.run(["losetup", "-f", "--show", self.path], capture_output=True, text=True)
        self.device = done.stdout.strip() if done.returncode == 0 else None
        return self.device

    def __exit__(self, *unused):
        if self.device:
            subprocess.run(["losetup", "-d", self.device], check=True)
        os.unlink(self.path)


def groups(work, quick):
    print("## Probe groups: ns on top of the same program (smallest of many chunks and rounds)\n")
    binary = chunks_binary(work)
    only = lambda *names: ["--probes", ",".join(name if name in names else "-" + name for name in dict.fromkeys(("syscalls", "sched", *names)))]
    wraps = [("lifecycle", "", only()), ("sched", "lifecycle", only("sched")), ("syscalls", "lifecycle", only("syscalls")),
             ("latency", "syscalls", only("syscalls", "latency")), ("block", "lifecycle", only("block"))]
    with LoopDevice(work) as device:
        kinds = [("a call", ["getppid", "3000"]), ("two switches", ["switch", "1000"]), ("fork, exit and wait", ["fork", "150"])]
        kinds += [("a request to a loop device", ["block", "50", device])] if device else []
        got = {}

        def measure(label, wrap):
            for title, arguments in kinds:
                done = subprocess.run([*wrap, binary, *arguments], capture_output=True, text=True)
                if done.returncode == 0:
                    got[label, title] = min(got.get((label, title), 1e12), float(done.stdout))

        for _ in range(5 if quick else 15):
            measure("", [])
            for label, _, options in wraps:
                run = [DENET, "run", "-q", "-o", "/dev/null", *options, "--"]
                measure(label, run)
                with Watcher([*run, "sleep", "60"]):
                    measure(label + "*", [])
    rows = [["bare", *(f"{got['', title]:,.0f}" for title, _ in kinds)]]
    for label, base, _ in wraps:
        over = f" (over {base})" if base else ""
        for mark, whose in (("", ""), ("*", ", in a process outside")):
            below = base + mark if base else ""
            rows.append([label + over + whose, *(f"{got.get((label + mark, title), float('nan')) - got[below, title]:,.0f}" for title, _ in kinds)])
    table(["ns", *(title for title, _ in kinds)], rows)


def tracing(work, quick):
    print("## Tracing: ns per operation (smallest of many chunks, best of the rounds), x of the bare program\n")
    binary = chunks_binary(work)
    run = lambda *a: [DENET, "run", "-q", "-o", "/dev/null", *a, "--"]
    wraps = [("bare", []), ("denet, perf tier", run("--backend", "perf")), ("denet, default probes", run()),
             ("denet --probes latency", run("--probes", "latency")), ("denet --probes latency --sample latency=1/16", run("--probes", "latency", "--sample", "latency=1/16")),
             ("denet --probes all", run("--probes", "all"))]
    if tool("perf"):
        wraps.append(("perf stat -e raw_syscalls:sys_enter", ["perf", "stat", "-x,", "-o", "/dev/null", "-e", "raw_syscalls:sys_enter", "--"]))
    if tool("strace"):
        wraps.append(("strace -c -f", ["strace", "-c", "-f", "-o", "/dev/null"]))
    watchers = []
    if tool("bpftrace"):
        watchers += [("bpftrace, count by name", ["bpftrace", "-e", COUNT]), ("bpftrace, latency", ["bpftrace", "-e", LATENCY])]
    if os.access("/usr/sbin/syscount", os.X_OK):
        watchers += [("syscount", ["/usr/sbin/syscount"]), ("syscount -L", ["/usr/sbin/syscount", "-L"])]
    watchers += [("bystander of denet, default probes", run() + ["sleep", "60"]),
                 ("bystander of denet --probes latency", run("--probes", "latency") + ["sleep", "60"])]
    best, kinds = {}, (("getppid", "getppid"), ("read + write of 1 byte (dd bs=1)", "dd"), ("write + read of a pipe", "pair"))
    for _ in range(2 if quick else 5):
        for label, wrap in wraps:
            for _, kind in kinds:
                chunks = "40" if label.startswith("strace") else "3000"
                done = subprocess.run([*wrap, binary, kind, chunks], capture_output=True, text=True)
                if done.returncode == 0:
                    best[label, kind] = min(best.get((label, kind), 1e12), float(done.stdout))
        for label, argv in watchers:
            for _, kind in kinds[:1]:
                best[label, kind] = min(best.get((label, kind), 1e12), beside(argv, [binary, kind, "3000"]))
    rows = []
    for label, _ in wraps + watchers:
        rows.append([label] + [f"{best[label, kind]:,.0f} ({best[label, kind] / best['bare', kind]:.2f} x)" if (label, kind) in best else "-" for _, kind in kinds])
    table(["", *(title for title, _ in kinds)], rows)
    print("Start: what a run of the eBPF tier adds before the command begins, ms\n")
    times = []
    for groups in ("", "latency", "all"):
        got = []
        for _ in range(5 if quick else 25):
            out = os.path.join(work, "start.json")
            subprocess.run([DENET, "run", "-q", "-o", out, *(["--probes", groups] if groups else []), "--", "/bin/true"], check=True)
            last = json.loads(open(out).read().splitlines()[-1])["self"]
            if last.get("load_ns") is not None:
                got.append(((last["load_ns"] + last["attach_ns"]) / 1e6, last["bpf_programs"]))
        if got:
            times.append([f"denet --probes {groups}" if groups else "denet, default probes", got[0][1], f"{min(got)[0]:.1f}", f"{sorted(got)[len(got) // 2][0]:.1f}"])
    if tool("bpftrace"):
        got = timer(work, 3, 0, [("bpftrace", ["bpftrace", "-e", "BEGIN { exit(); }"])])["bpftrace"]
        times.append(["bpftrace -e 'BEGIN { exit(); }', whole", 1, f"{got['min'] / 1e6:.1f}", f"{got['median'] / 1e6:.1f}"])
    table(["", "programs", "min", "median"], times)


SECTIONS = {"launch": launch, "hyperfine": hyperfine, "slowdown": slowdown, "sampler": sampler, "stats": stats, "tracing": tracing, "groups": groups, "traced": traced}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds, no 10,000 processes")
    parser.add_argument("section", nargs="*", help="of: " + " ".join(SECTIONS))
    options = parser.parse_args()
    unknown = [s for s in options.section if s not in SECTIONS]
    if unknown:
        parser.error("no section " + unknown[0])
    print(f"Linux {os.uname().release}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}.\n")
    with tempfile.TemporaryDirectory(prefix="denet-bench-") as work:
        for name in options.section or SECTIONS:
            SECTIONS[name](work, options.quick)
    if missing:
        print("Not installed, so left out: " + ", ".join(missing) + ".")


if __name__ == "__main__":
    main()

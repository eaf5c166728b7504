# SPDX-License-Identifier: Apache-2.0
"""Whatever fails around it: the command goes on, its status is the command's, and the stream says what is true."""
import errno
import json
import os
import pathlib
import random
import resource
import signal
import subprocess

import pytest
from conftest import IS_ROOT, NOBODY, SANITIZED, Stream, needs_root, not_sanitized, wait_until, without_leak_check


def shell(denet, script, prefix=(), **kwargs):
    return denet.finish(denet.popen([*prefix, "sh", "-c", script], **kwargs))


# Outputs

@pytest.mark.parametrize("options", ["--json", "-o /dev/full", "-o fd:1"])
def test_a_full_device_is_told_once(denet, options):
    target = "" if "/dev/full" in options else ">/dev/full"
    result = shell(denet, f"{denet.program} run {options} -q -i 20 -- sh -c '{denet.workload('burn')} 211; exit 7' {target}")
    assert result.rc == 7
    assert result.stderr.count(b"No space left") == 1, result.stderr


@pytest.mark.parametrize("options", ["--json", "-o -"])
def test_closed_stdout(denet, options):
    marker = denet.path("marker")
    result = shell(denet, f"{denet.program} run {options} -- sh -c 'echo ran > {marker}; exit 7' >&-")
    assert result.rc in (7, 125)
    assert os.path.exists(marker) == (result.rc == 7)
    assert len(result.stderr) > 0


def test_reader_goes_away(denet):
    """denet run --json CMD | head -1: the command runs to its end, its status stays, nobody complains for long."""
    marker = denet.path("marker")
    result = denet.finish(denet.popen(["bash", "-c", f"{denet.program} run -q --json -i 5 -- sh -c '{denet.workload('ticker')} {marker} 100; exit 7' | head -1 >/dev/null; echo ${{PIPESTATUS[0]}}"]))
    assert result.stdout.strip() == b"7", result.stderr
    assert "done" in pathlib.Path(marker).read_text()
    assert len(result.stderr.splitlines()) <= 1


def test_reader_of_stderr_goes_away(denet):
    result = denet.finish(denet.popen(["bash", "-c", f"{denet.program} run -- sh -c 'exit 7' 2> >(true) >/dev/null; echo $?"]))
    assert result.stdout.strip() == b"7"


@needs_root
def test_disk_fills_up_in_mid_run(denet):
    """What stands in the file stays valid, one message, and the command never notices."""
    marker = denet.path("marker")
    script = f"mount -t tmpfs -o size=64k none /mnt && {denet.program} run -q --per-process -i 2 -o /mnt/out.jsonl -- sh -c '{denet.workload('ticker')} {marker} 400; exit 7'; echo $?; cat /mnt/out.jsonl > {denet.folder}/filled"
    result = shell(denet, script, ["unshare", "-m"])
    assert result.stdout.strip() == b"7", result.stderr
    assert result.stderr.count(b"No space left") == 1, result.stderr
    lines = (denet.folder / "filled").read_bytes().split(b"\n")
    assert len(lines) > 3
    for line in lines[:-1]:
        json.loads(line)


@needs_root
def test_disk_that_gets_room_again(denet):
    """The line that was cut is ended or cut off before the next one, so that the file is valid again."""
    marker = denet.path("marker")
    script = f"""mount -t tmpfs -o size=4m none /mnt; head -c 4150000 /dev/zero > /mnt/ballast
{denet.program} run -q --per-process -i 2 -o /mnt/out.jsonl -- sh -c '{denet.workload('ticker')} {marker} 300; rm /mnt/ballast; {denet.workload('ticker')} {marker} 200'; cp /mnt/out.jsonl {denet.folder}/refilled"""
    result = shell(denet, script, ["unshare", "-m"])
    assert result.rc == 0
    lines = (denet.folder / "refilled").read_bytes().split(b"\n")
    assert lines.pop() == b""
    records = [json.loads(line) for line in lines]
    assert records[-1]["kind"] == "summary"


def test_file_size_limit(denet):
    result = shell(denet, f"exec {denet.program} run -q --per-process -i 2 -o big.jsonl -- sh -c '{denet.workload('burn')} 211; exit 7'", ["prlimit", "--fsize=20000"])
    assert result.rc == 7, result.stderr
    assert result.stderr.count(b"File too large") == 1


def test_missing_folder_runs_nothing(denet):
    result = denet.call("run", "-o", str(denet.folder / "no" / "folder.jsonl"), "--", "touch", str(denet.folder / "ran"))
    assert result.rc == 125 and b"folder.jsonl" in result.stderr
    assert not (denet.folder / "ran").exists()


def test_out_to_a_descriptor(denet):
    path = denet.path("fd.jsonl")
    result = shell(denet, f"{denet.program} run -q -o fd:7 -- echo hello 7>{path}")
    assert result.stdout == b"hello\n"
    Stream(pathlib.Path(path).read_bytes(), denet.checker)


def test_out_to_a_pipe_to_jq(denet):
    result = denet.finish(denet.popen(["bash", "-c", f"{denet.program} run -q --json -i 10 -- {denet.workload('burn')} 53 | jq -r .kind | sort | uniq -c"]))
    assert b"1 header" in result.stdout and b"1 summary" in result.stdout


def test_what_stood_in_the_file_is_gone(denet):
    path = pathlib.Path(denet.path("old.jsonl"))
    path.write_text("old\n" * 10000)
    assert denet.call("run", "-q", "-o", str(path), "--", "true").rc == 0
    Stream(path.read_bytes(), denet.checker)


# Descriptors and memory

@pytest.mark.parametrize("limit", [4, 5, 6, 7, 8, 10, 13, 16, 20, 24, 32, 48, 64])
def test_few_descriptors(denet, limit):
    """Either it works with what it has, or it says so and runs nothing; never wrong numbers, never a hang."""
    path = pathlib.Path(denet.path("few.jsonl"))
    marker = pathlib.Path(denet.path("marker"))
    result = denet.finish(denet.popen(["prlimit", f"--nofile={limit}", denet.program, "run", "-q", "-o", str(path), "--", "sh", "-c", f"{denet.workload('forkstorm')} 53 1; echo > {marker}; exit 7"]))
    if result.rc == 7:
        stream = Stream(path.read_bytes(), denet.checker)
        assert stream.quality("cpu.total_ns") in ("missing", "lower_bound") or stream.value("cpu.total_ns") >= 53e6
        if stream.quality("process.started") == "exact":
            assert stream.value("process.started") == 55
        assert marker.exists()
    else:
        assert result.rc in (125, 127) and result.stderr, (result.rc, result.stderr)
        assert not marker.exists()


def test_many_processes_and_few_descriptors(denet):
    path = pathlib.Path(denet.path("few.jsonl"))
    script = f"for i in $(seq 53); do {denet.workload('burn')} 11 & done; wait"
    result = denet.finish(denet.popen(["prlimit", "--nofile=32", denet.program, "run", "-q", "-i", "10", "-o", str(path), "--", "sh", "-c", script]))
    assert result.rc == 0
    stream = Stream(path.read_bytes(), denet.checker)
    assert stream.quality("cpu.total_ns") == "lower_bound" or stream.value("cpu.total_ns") >= 0.99 * 53 * 11e6


def test_fork_bomb_is_bounded(denet):
    """At most 200 processes at once, thousands in all; denet's memory stays small and it gets through."""
    prefix = ["prlimit", "--nproc=200"] + (NOBODY if IS_ROOT else [])
    result = denet.run(["bomb", "700"], prefix=prefix)
    assert result.rc == 0, result.stderr
    assert result.summary["self"]["max_rss_bytes"] < 64 << 20 or SANITIZED
    assert result.value("process.started") >= result.value("process.exited") >= 0


def test_megabyte_command_line(denet):
    argument = "x" * 100000
    result = denet.run(["sh", "-c", "printf %s \"$*\" | wc -c", "sh", *[argument] * 10])
    assert result.rc == 0 and result.stdout.strip() == b"1000009"
    assert result.header["command"][0] == "sh"


def test_process_with_a_megabyte_command_line_is_attached(denet, background):
    process = background([denet.workload("hold"), "0", "0", "0", *["y" * 100000] * 10])
    process.stdout.readline()
    attached = denet.attach_start([str(process.pid)])
    process.stdin.close()
    assert denet.finish(attached, attached.out).rc == 0


# Death and standstill of denet

def test_kill_9_at_random_points(denet):
    """The command lives on each time, and the stream has at most one torn line, its last."""
    generator = random.Random(211)
    for i in range(50):
        marker, out = denet.path("marker"), denet.path("killed.jsonl")
        process = denet.popen(denet.argv(["-i", "1", "--per-process"], ["ticker", marker, "30"], out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            process.wait(generator.random() * 0.06)
        except subprocess.TimeoutExpired:
            pass
        process.kill()
        process.wait()
        data = pathlib.Path(out).read_bytes() if os.path.exists(out) else b""
        for line in data.split(b"\n")[:-1]:
            json.loads(line)
        if b'"sample"' in data or os.path.exists(marker):
            wait_until(lambda: "done" in pathlib.Path(marker).read_text())


def test_killed_before_the_command_started_leaves_none_behind(denet):
    """The gate opens by denet's word only: when denet dies before, the command must not run half-measured for ever."""
    for n in range(1, 6):
        marker = denet.path("marker")
        subprocess.run(["strace", "-f", "-o", "/dev/null", "-e", f"inject=epoll_create1:signal=KILL:when={n}", str(denet.program), "run", "-q", "--", "sh", "-c", f"echo > {marker}"], timeout=60, env=without_leak_check())
        assert not subprocess.run(["pgrep", "-f", marker], capture_output=True).stdout


def test_stopped_denet_makes_one_gap(denet):
    """Many intervals pass while it stands; the next sample has the true time between and says gap."""
    out = denet.path("stopped.jsonl")
    marker = pathlib.Path(denet.path("marker"))
    process = denet.popen(denet.argv(["-i", "20"], ["ticker", str(marker), "1700"], out))
    lines = lambda path: path.read_bytes().count(b"\n") if path.exists() else 0
    wait_until(lambda: lines(pathlib.Path(out)) >= 4)
    process.send_signal(signal.SIGSTOP)
    before = lines(marker)
    wait_until(lambda: lines(marker) >= before + 900)
    process.send_signal(signal.SIGCONT)
    result = denet.finish(process, out)
    assert result.rc == 0
    longest = max(result.samples, key=lambda s: s["interval_ns"])
    assert longest["interval_ns"] >= 800e6
    assert longest.get("gap") is True or any(e["event"] == "gap" for e in result.events)
    assert result.summary["lost"]["samples"] >= 3


def test_command_that_ends_while_denet_is_stopped(denet):
    """A tick is due when denet goes on, and finds that all has ended."""
    out, marker = denet.path("stream.jsonl"), pathlib.Path(denet.path("marker"))
    process = denet.popen(denet.argv(["-q", "-i", "20"], ["ticker", str(marker), "100003"], out))
    wait_until(lambda: marker.exists() and pathlib.Path(out).exists() and pathlib.Path(out).read_bytes().count(b"\n") >= 3)
    process.send_signal(signal.SIGSTOP)
    before = marker.read_bytes().count(b"\n")
    wait_until(lambda: marker.read_bytes().count(b"\n") >= before + 100)
    child = int(pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[0])
    os.kill(child, signal.SIGKILL)
    wait_until(lambda: pathlib.Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0] == "Z")
    process.send_signal(signal.SIGCONT)
    result = denet.finish(process, out)
    assert result.rc == -signal.SIGKILL and result.stderr == b"", (result.rc, result.stderr)


def test_stopped_command_is_measured_all_the_same(denet):
    out = denet.path("stream.jsonl")
    process = denet.popen(denet.argv(["-i", "20"], ["sh", "-c", f"{denet.workload('burn')} 53; kill -STOP $$; {denet.workload('burn')} 59"], out), start_new_session=True)
    def stopped():
        try:
            state = pathlib.Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0]
            child = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            return child and "T" in (state, pathlib.Path(f"/proc/{child[0]}/stat").read_text().rpartition(")")[2].split()[0])
        except FileNotFoundError:
            return False
    wait_until(stopped)
    child = int(pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[0])
    os.kill(process.pid, signal.SIGCONT)
    wait_until(lambda: pathlib.Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] != "T")
    os.kill(child, signal.SIGCONT)
    result = denet.finish(process, out)
    assert result.rc == 0 and result.value("cpu.total_ns") >= 112e6 * 0.99


@pytest.mark.parametrize("call", ["read", "write", "epoll_wait", "epoll_pwait", "wait4", "waitid", "openat"])
def test_interrupted_calls(denet, call):
    """Every seventh call of a kind is interrupted: nothing changes."""
    out = denet.path("eintr.jsonl")
    process = denet.popen(["strace", "-o", "/dev/null", "-e", f"trace={call}", "-e", f"inject={call}:error=EINTR:when=15+7", *denet.argv(["-q", "-i", "20"], ["sh", "-c", f"{denet.workload('burn')} 101; exit 7"], out)])
    result = denet.finish(process, out)
    assert result.rc == 7, result.stderr
    assert result.value("cpu.total_ns") >= 100e6


@pytest.mark.parametrize("call", ["timerfd_create", "signalfd4", "epoll_create1", "pidfd_open", "perf_event_open", "socket", "clone3"])
@pytest.mark.parametrize("error", [errno.EPERM, errno.ENOSYS])
def test_refused_system_calls(denet, call, error):
    """As a container's filter refuses them: the command runs and keeps its status, or nothing runs and it says why."""
    marker = denet.path("marker")
    result = denet.run(["sh", "-c", f"echo > {marker}; exit 7"], prefix=[denet.workload("denysys"), str(int(error)), call], complete=False)
    if result.rc == 7:
        assert result.summary["exit"]["code"] == 7
        if call == "perf_event_open":
            assert result.backend("perf")["state"] in ("denied", "unsupported") and result.backend("perf")["reason"]
            assert result.value("cpu.total_ns") > 0
    else:
        assert result.rc == 125 and result.stderr and not os.path.exists(marker)


# The world around

@pytest.mark.parametrize("call", ["openat", "pread64", "read"])
@pytest.mark.parametrize("error", ["ENOENT", "ESRCH", "EACCES", "EIO", "ENOMEM"])
def test_proc_files_that_fail(denet, call, error):
    """Half of all openings or readings fail once it runs: no number is invented, none falls, the status stays."""
    out = denet.path("fail.jsonl")
    argv = denet.argv(["-q", "-i", "5"], ["sh", "-c", f"{denet.workload('burn')} 53; exit 7"], out)
    process = denet.popen(["strace", "-o", "/dev/null", "-e", f"trace={call}", "-e", f"inject={call}:error={error}:when=40+2", *argv])
    result = denet.finish(process, out, complete=False)
    assert result.rc == 7 or (result.rc == 125 and result.stderr), (result.rc, result.stderr)
    if result.rc == 7 and result.quality("cpu.total_ns") == "exact":
        assert result.value("cpu.total_ns") >= 53e6


@needs_root
@pytest.mark.parametrize("hidepid", ["1", "2"])
def test_hidepid(denet, hidepid):
    """Our own processes are visible still; those of others are told from those that do not exist."""
    out = denet.path("hide.jsonl")
    run = " ".join(denet.argv(["-q"], ["forkstorm", "53", "1"], out, nobody=True))
    result = shell(denet, f"mount -t proc -o hidepid={hidepid} proc /proc && {run} && {' '.join(NOBODY)} {denet.program} attach 1", ["unshare", "-m"])
    assert result.rc == 1, result.stderr
    stream = Stream(pathlib.Path(out).read_bytes(), denet.checker)
    assert stream.value("cpu.total_ns") >= 53e6 or stream.quality("cpu.total_ns") == "lower_bound"
    message = result.stderr.decode().lower()
    assert "hidepid" in message or "not visible" in message or "permi" in message, message


@needs_root
@pytest.mark.parametrize("mount", ["mount -t tmpfs none /proc", "mount -t tmpfs none /proc; mount -t tmpfs none /sys", "mount -t proc -o subset=pid proc /proc", "mount -t tmpfs none /sys"])
def test_no_proc_or_sys(denet, mount):
    """The command runs and keeps its status; what can't be known is missing, with a reason."""
    if SANITIZED and "none /proc" in mount:
        pytest.skip("sanitizers need /proc")
    out = denet.path("noproc.jsonl")
    result = shell(denet, f"{mount}; {denet.program} run -q -o {out} -- {denet.workload('tiny')} 7", ["unshare", "-m"], no_leaks=True)
    assert result.rc == 7, result.stderr
    stream = Stream(pathlib.Path(out).read_bytes(), denet.checker)
    assert stream.summary["exit"]["code"] == 7
    assert stream.value("memory.rss_bytes") in (None, 0) or "proc;" not in mount
    assert (stream.value("cpu.total_ns") or 0) > 0, "rusage is always there"


@needs_root
def test_another_pid_namespace(denet):
    out = denet.path("pidns.jsonl")
    result = shell(denet, f"{denet.program} run -q -o {out} -- sh -c '{denet.workload('forkstorm')} 101 1'", ["unshare", "-fp", "--mount-proc"])
    assert result.rc == 0, result.stderr
    stream = Stream(pathlib.Path(out).read_bytes(), denet.checker)
    assert stream.value("cpu.total_ns") >= 101e6
    if stream.quality("process.started") == "exact":
        assert stream.value("process.started") == 103


@needs_root
def test_a_command_that_makes_a_pid_namespace(denet):
    result = denet.run(["unshare", "-fp", "--mount-proc", denet.workload("forkstorm"), "101", "1"])
    assert result.rc == 0
    assert result.quality("cpu.total_ns") == "lower_bound" or result.value("cpu.total_ns") >= 101e6
    if result.quality("process.started") == "exact":
        assert result.value("process.started") == 103


@needs_root
def test_time_namespace(denet):
    out = denet.path("timens.jsonl")
    result = shell(denet, f"{denet.program} run -q -i 20 -o {out} -- {denet.workload('burn')} 101", ["unshare", "-T", "--boottime", "864000", "--monotonic", "86400", "-f"])
    assert result.rc == 0, result.stderr
    stream = Stream(pathlib.Path(out).read_bytes(), denet.checker)
    assert 0 < stream.summary["wall_ns"] < 60e9
    assert not any(s.get("gap") for s in stream.samples)


def test_wall_clock_that_stands_still_elsewhere(denet):
    """Deltas come from the monotonic clock; the header's time is the wall's."""
    result = denet.run(["burn", "53"])
    assert abs(result.summary["wall_ns"] - result.summary["t_ns"]) < 1e9
    assert result.header["time"].startswith("20") and result.header["time"].endswith("Z")


@needs_root
def test_setuid_command(denet):
    program = denet.folder / "setuid-burn"
    program.write_bytes(pathlib.Path(denet.workload("burn")).read_bytes())
    program.chmod(0o4755)
    prefix = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    result = denet.run([str(program), "211"], prefix=prefix)
    assert result.rc == 0
    assert result.value("cpu.total_ns") >= 0.99 * 211e6 or result.quality("cpu.total_ns") == "lower_bound"
    identity = subprocess.run([*prefix, str(denet.program), "run", "-q", "--", "sh", "-c", "cat /proc/self/status"], capture_output=True)
    assert b"NoNewPrivs:\t0" in identity.stdout


@needs_root
@pytest.mark.parametrize("paranoid", [-1, 1, 3])
def test_other_paranoid_levels(denet, paranoid):
    """Whatever is granted, what is reported is right: never a counter that was open but did not count."""
    path = pathlib.Path("/proc/sys/kernel/perf_event_paranoid")
    old = path.read_text()
    try:
        path.write_text(str(paranoid))
        result = denet.run(["sleeps", "211", "200"], nobody=True)
    finally:
        path.write_text(old)
    name = "cpu.voluntary_switches"
    assert result.truth["voluntary"] <= result.value(name) <= result.truth["voluntary"] + 5, result.state(name)
    assert result.value("cpu.migrations") is None or result.quality("cpu.migrations") != "missing"


@not_sanitized
def test_resource_limits_of_the_command_bind_denet_not(denet):
    """ulimit -t and -v are inherited by denet as well; it must get by or say so."""
    result = shell(denet, f"ulimit -v 2000000; exec {denet.program} run -q -- sh -c 'exit 7'")
    assert result.rc == 7, result.stderr


def test_own_cost_is_told(denet):
    """denet's own account agrees with the kernel's, as its parent sees it."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    result = denet.run(["sleeps", "503", "1000"], ["-i", "10"])
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1e9
    # What comes after the summary can't be told: the freeing, and with a sanitizer the search for leaks (20 ms).
    end = 40e6 if SANITIZED else 5e6
    assert result.summary["self"]["cpu_ns"] + result.value("cpu.total_ns") <= used * 1.02 + 2e6
    assert result.summary["self"]["cpu_ns"] + result.value("cpu.total_ns") >= used * 0.9 - end


@not_sanitized
def test_own_memory_is_not_the_callers(denet):
    """ru_maxrss is inherited through fork and exec: a caller of 200 MiB must not appear as denet's own memory."""
    script = f"import subprocess, sys\ndata = b'x' * (200 << 20)\nsys.exit(subprocess.call(sys.argv[1:], close_fds=True, start_new_session=False, preexec_fn=lambda: None))"
    out = denet.path("stream.jsonl")
    result = denet.finish(denet.popen(["/usr/bin/python3", "-c", script, *denet.argv([], ["tiny"], out)]), out)
    assert result.summary["self"]["max_rss_bytes"] < 32 << 20
    # A command smaller than denet's own child before the exec has no peak that could be told.
    assert (result.value("memory.peak_rss_bytes") or 0) < 32 << 20

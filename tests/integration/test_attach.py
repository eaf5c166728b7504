# SPDX-License-Identifier: Apache-2.0
"""denet attach: what runs already is measured, and never touched."""
import json
import os
import pathlib
import re
import signal
import subprocess
import time

import pytest
from conftest import NOBODY, Stolen, needs_root, wait_until

ANY_USER = [pytest.param(False, id="root", marks=needs_root), pytest.param(True, id="nobody")]


def hold(denet, background, *arguments, nobody=False, **kwargs):
    """A still tree; returns the process and what it said of itself."""
    process = background([*(NOBODY if nobody else []), denet.workload("hold"), *map(str, arguments)], **kwargs)
    said = json.loads(process.stdout.readline())
    return process, said["pid"], said["children"]


def release(process):
    """Lets it burn and end; returns the truth."""
    process.stdin.close()
    truth = json.loads(process.stdout.readline())
    process.wait(timeout=60)
    return truth


@pytest.mark.parametrize("tier", ["auto", "perf", "procfs"])
@pytest.mark.parametrize("nobody", ANY_USER)
def test_threads_and_children_that_ran_before(denet, background, tier, nobody):
    process, pid, children = hold(denet, background, 3, 2, 101, nobody=nobody)
    with Stolen() as stolen:
        attached = denet.attach_start([str(pid)], ["--backend", tier], nobody)
        truth = release(process)
        result = denet.finish(attached, attached.out)
    assert result.rc == 0, result.stderr
    assert result.summary["ended_by"] == "target"
    value, quality = result.value("cpu.total_ns"), result.quality("cpu.total_ns")
    said = (value, truth, result.state("cpu.total_ns"), stolen.ns)
    assert value <= truth["burned_ns"] * 1.02 + 10e6 + stolen.unless(quality == "exact"), said
    if quality == "exact":
        assert value >= 0.99 * truth["burned_ns"], said
    else:
        # Read while they live: what is lost is at most what all CPUs did in the last interval.
        assert value >= 0.99 * truth["burned_ns"] - 100e6 * os.cpu_count(), said
    assert truth["signals"] == 0, "the target was signalled"
    assert max(v for v in result.series("process.count") if v is not None) == 1 + len(children)
    threads = [v for v in result.series("process.threads") if v]
    assert not threads or max(threads) == 3 + len(children)


@pytest.mark.parametrize("nobody", ANY_USER)
def test_what_was_before_is_not_counted(denet, background, nobody):
    """Counters begin at 0 when measuring begins, also those that the kernel counts since birth."""
    process, pid, _ = hold(denet, background, 1, 1, 11, nobody=nobody)
    attached = denet.attach_start([str(pid)], ["-i", "50"], nobody)
    wait_until(lambda: pathlib.Path(attached.out).read_bytes().count(b'"kind":"sample"') >= 2)
    attached.send_signal(signal.SIGINT)
    result = denet.finish(attached, attached.out)
    assert result.value("cpu.total_ns") in (None, 0) or result.value("cpu.total_ns") < 3e6
    for name in ("memory.minor_faults", "io.write_chars", "io.read_chars", "cpu.voluntary_switches"):
        assert result.value(name) in (None, 0) or result.value(name) < 20, (name, result.value(name))
    assert release(process)["signals"] == 0


def test_children_born_later(denet, background):
    process = background(["sh", "-c", f"read x; {denet.workload('forkstorm')} 53 3; {denet.workload('burn')} 101"])
    attached = denet.attach_start([str(process.pid)])
    process.stdin.close()
    process.wait()
    result = denet.finish(attached, attached.out)
    value, quality = result.value("cpu.total_ns"), result.quality("cpu.total_ns")
    assert quality == "lower_bound" or value >= 0.99 * (53 * 3e6 + 101e6), result.state("cpu.total_ns")
    assert result.value("process.started") >= 2
    if result.quality("process.started") == "exact":
        assert result.value("process.started") == 1 + 54 + 1


def test_control_c_ends_it_with_a_summary(denet, background):
    process, pid, _ = hold(denet, background)
    attached = denet.attach_start([str(pid)])
    attached.send_signal(signal.SIGINT)
    result = denet.finish(attached, attached.out)
    assert result.rc == 0 and result.summary["ended_by"] == "signal"
    assert process.poll() is None
    assert release(process)["signals"] == 0


def test_control_c_ends_it_with_a_summary_for_people(denet, background):
    """Without a stream there is nothing to see that it has begun: the interrupt is given until it ends."""
    process, pid, _ = hold(denet, background)
    attached = denet.popen([str(denet.program), "attach", str(pid)])
    caught = lambda: int(re.search(r"SigCgt:\s*(\w+)", pathlib.Path(f"/proc/{attached.pid}/status").read_text()).group(1), 16) \
        | int(re.search(r"SigBlk:\s*(\w+)", pathlib.Path(f"/proc/{attached.pid}/status").read_text()).group(1), 16)
    wait_until(lambda: caught() >> (signal.SIGINT - 1) & 1)
    attached.send_signal(signal.SIGINT)
    result = denet.finish(attached)
    assert result.rc == 0 and len(result.stderr.splitlines()) > 3
    assert release(process)["signals"] == 0


@pytest.mark.parametrize("signo", [signal.SIGTERM, signal.SIGHUP])
def test_other_signals_end_it_too(denet, background, signo):
    process, pid, _ = hold(denet, background)
    attached = denet.attach_start([str(pid)])
    attached.send_signal(signo)
    result = denet.finish(attached, attached.out)
    assert result.summary["ended_by"] == "signal"
    assert release(process)["signals"] == 0


def test_duration_ends_it(denet, background):
    process, pid, _ = hold(denet, background)
    result = denet.attach([str(pid)], ["-d", "0.2"])
    assert result.rc == 0 and result.summary["ended_by"] == "duration"
    assert result.summary["exit"] is None
    assert release(process)["signals"] == 0


def test_killed_denet_leaves_the_target_alone(denet, background):
    process, pid, _ = hold(denet, background, 1, 1, 1)
    attached = denet.attach_start([str(pid)])
    attached.kill()
    denet.finish(attached, attached.out, complete=False)
    assert release(process)["signals"] == 0


def test_two_at_once_agree(denet, background):
    process, pid, _ = hold(denet, background, 2, 2, 53)
    with Stolen() as stolen:
        first, second = denet.attach_start([str(pid)]), denet.attach_start([str(pid)])
        truth = release(process)
        results = [denet.finish(p, p.out) for p in (first, second)]
    for result in results:
        assert result.rc == 0
        is_exact = result.quality("cpu.total_ns") == "exact"
        assert not is_exact or result.value("cpu.total_ns") >= 0.99 * truth["burned_ns"]
        assert result.value("cpu.total_ns") <= 1.02 * truth["burned_ns"] + 10e6 + stolen.unless(is_exact)


def test_several_pids(denet, background):
    a, a_pid, _ = hold(denet, background, 0, 0, 31)
    b, b_pid, _ = hold(denet, background, 0, 0, 47)
    with Stolen() as stolen:
        attached = denet.attach_start([str(a_pid), str(b_pid)])
        truth = release(a)["burned_ns"] + release(b)["burned_ns"]
        result = denet.finish(attached, attached.out)
    assert result.header["targets"] == [a_pid, b_pid] and result.header["pid"] is None
    assert result.value("cpu.total_ns") <= 1.02 * truth + 5e6 + stolen.unless(result.quality("cpu.total_ns") == "exact"), result.state("cpu.total_ns")
    assert result.quality("cpu.total_ns") == "lower_bound" or result.value("cpu.total_ns") >= 0.98 * truth - 5e6, result.state("cpu.total_ns")


def named_hold(denet, background, name):
    program = denet.folder / name
    program.write_bytes(pathlib.Path(denet.workload("hold")).read_bytes())
    program.chmod(0o755)
    process = background([str(program), "0", "0", "23", ])
    return process, json.loads(process.stdout.readline())["pid"]


def test_by_name(denet, background):
    a, a_pid = named_hold(denet, background, "denet-name-a")
    b, b_pid = named_hold(denet, background, "denet-name-b")
    attached = denet.attach_start(["--name", "denet-name-a"])
    release(a)
    result = denet.finish(attached, attached.out)
    assert result.header["targets"] == [a_pid]
    release(b)


def test_by_command_line(denet, background):
    a, a_pid = named_hold(denet, background, "denet-cmd-a")
    attached = denet.attach_start(["--cmdline", "denet-cmd-[a-c] 0 0 2[0-9]$"])
    release(a)
    assert denet.finish(attached, attached.out).header["targets"] == [a_pid]


@needs_root
def test_by_cgroup(denet, background, cpu_group):
    assert cpu_group, "no cpuacct hierarchy"
    process, pid, children = hold(denet, background, 2)
    for member in (pid, *children):
        (cpu_group / "cgroup.procs").write_text(str(member))
    attached = denet.attach_start(["--cgroup", str(cpu_group)])
    release(process)
    result = denet.finish(attached, attached.out)
    assert set(result.header["targets"]) == {pid, *children}


def test_a_bad_regular_expression(denet):
    result = denet.call("attach", "--cmdline", "(unclosed")
    assert result.rc == 2 and result.stderr.startswith(b"denet: ")


@pytest.mark.parametrize("arguments", [["--name", "no-such-name-xyz"], ["--cmdline", "no-such-[c]ommand-line"], ["--cgroup", "/no/such/group"]])
def test_nobody_there(denet, arguments):
    result = denet.call("attach", *arguments)
    assert result.rc == 1 and result.stderr.count(b"\n") <= 2 and result.stderr.startswith(b"denet: ")


@pytest.mark.parametrize("argument, code", [("0", 2), ("-1", 2), ("2147483648", 2), ("12abc", 2), ("99999999999999999999", 2), ("", 2), ("+5", 2), ("4194303", 1)])
def test_bad_process_ids(denet, argument, code):
    result = denet.call("attach", argument)
    assert result.rc == code, result.stderr
    assert result.stderr.startswith(b"denet: ") and len(result.stderr.splitlines()) <= 2


def test_a_process_that_is_gone(denet):
    process = subprocess.Popen(["true"])
    process.wait()
    result = denet.call("attach", str(process.pid))
    assert result.rc == 1 and str(process.pid).encode() in result.stderr


def test_a_zombie(denet):
    process = subprocess.Popen(["true"])
    wait_until(lambda: re.search(r"\) Z ", pathlib.Path(f"/proc/{process.pid}/stat").read_text()))
    result = denet.call("attach", str(process.pid))
    process.wait()
    assert result.rc == 1 and result.stderr.startswith(b"denet: ")


def test_a_kernel_thread(denet):
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if (entry / "stat").read_text().rpartition(")")[2].split()[1] == "2":
                break
        except OSError:
            continue
    else:
        pytest.fail("no kernel thread in sight")
    result = denet.call("attach", entry.name)
    assert result.rc == 1 and b"kernel" in result.stderr


def test_a_thread_id(denet, background):
    process, pid, _ = hold(denet, background, 0, 1)
    tid = next(t for t in os.listdir(f"/proc/{pid}/task") if t != str(pid))
    result = denet.call("attach", tid)
    assert result.rc == 1 and str(pid).encode() in result.stderr, "says which process it belongs to"
    release(process)


def test_itself_is_refused(denet):
    result = denet.finish(denet.popen(["sh", "-c", f"exec {denet.program} attach $$"]))
    assert result.rc == 1 and result.stderr.startswith(b"denet: ")


@needs_root
def test_a_process_of_another_user(denet, background):
    """Not ours: what everybody may read is measured, the rest is missing with its reason."""
    process, pid, _ = hold(denet, background, 0, 1, 53)
    attached = denet.attach_start([str(pid)], nobody=True)
    truth = release(process)
    result = denet.finish(attached, attached.out)
    assert result.rc in (0, 1)
    if result.rc == 1:
        assert result.stderr.count(b"\n") <= 2
        return
    for name in ("io.write_chars", "memory.pss_bytes"):
        assert result.quality(name) == "missing" and result.state(name)["reason"], (name, result.state(name))
    assert result.quality("cpu.total_ns") == "lower_bound" or result.value("cpu.total_ns") >= 0.95 * truth["burned_ns"]


def test_a_non_dumpable_target(denet, background):
    process = background([*(NOBODY if os.geteuid() == 0 else []), denet.workload("nd"), "101", "1500"], stdout=subprocess.PIPE)
    wait_until(lambda: pathlib.Path(f"/proc/{process.pid}/comm").read_text() == "nd\n")
    attached = denet.attach_start([str(process.pid)], nobody=True)
    result = denet.finish(attached, attached.out)
    assert result.rc == 0
    for name in ("memory.pss_bytes", "io.read_chars"):
        assert result.quality(name) == "missing" or 0 not in [v for v in result.series(name) if v is not None][1:]


def test_a_target_that_execs_keeps_its_identity(denet, background):
    process = background(["sh", "-c", f"read x; exec {denet.workload('burn')} 101"])
    attached = denet.attach_start([str(process.pid)])
    process.stdin.close()
    process.wait()
    result = denet.finish(attached, attached.out)
    assert result.value("cpu.total_ns") >= 0.99 * 101e6 or result.quality("cpu.total_ns") == "lower_bound"


@needs_root
def test_a_reused_pid_is_not_the_target(denet):
    """The number is given to another process within one tick: measuring ends, and nothing of the other is counted."""
    script = f"""
import os, pathlib, subprocess, sys
hold = subprocess.Popen(["{denet.workload('hold')}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
hold.stdout.readline()
denet = subprocess.Popen(["{denet.program}", "attach", "-q", "-i", "1000", "-o", "reuse.jsonl", str(hold.pid)])
while not os.path.exists("reuse.jsonl") or b"\\n" not in open("reuse.jsonl", "rb").read():
    os.sched_yield()
hold.stdin.close()
hold.wait()
for _ in range(100):
    pathlib.Path("/proc/sys/kernel/ns_last_pid").write_text(str(hold.pid - 1))
    other = subprocess.Popen(["{denet.workload('burn')}", "53"])
    other.wait()
    if other.pid == hold.pid:
        break
else:
    sys.exit(77)
sys.exit(denet.wait())
"""
    process = subprocess.run(["unshare", "-fpm", "--mount-proc", "/usr/bin/python3", "-c", script], cwd=denet.folder, capture_output=True, timeout=120)
    assert process.returncode == 0, process.stderr
    from conftest import Stream
    stream = Stream((denet.folder / "reuse.jsonl").read_bytes(), denet.checker)
    assert stream.summary["ended_by"] == "target"
    assert (stream.value("cpu.total_ns") or 0) < 20e6


def test_looks_at_sockets_are_rare_where_nothing_happens(denet, background):
    """Also when looking at many processes has used up what these looks may cost."""
    crowd = background([denet.workload("crowd"), "1000"])
    pid = json.loads(crowd.stdout.readline())["pid"]
    attached = denet.attach_start([str(pid)], ["-i", "1000", "--backend", "procfs"])
    status = pathlib.Path(f"/proc/{attached.pid}/status")

    def sleeps():
        return int(re.search(r"^voluntary_ctxt_switches:\s*(\d+)", status.read_text(), re.M).group(1))

    time.sleep(1)
    before = sleeps()
    time.sleep(1.5)
    # One each 32 ms, a sample each second.
    assert sleeps() - before < 150
    attached.send_signal(signal.SIGINT)
    assert denet.finish(attached, attached.out).rc in (0, 130)

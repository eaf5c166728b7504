# SPDX-License-Identifier: Apache-2.0
"""The probe group signals: what was sent to the tree, by whom, and what its processes took."""
import os
import pathlib
import signal
import sys

import ebpf
import pytest
from conftest import wait_until

OPTIONS = ["--probes", "signals"]


@pytest.fixture(scope="module")
def tier(session_denet):
    ebpf.needs_metric(session_denet, "signal.by_number", OPTIONS)


def by_number(result):
    """{name: (generated, delivered, ignored)}, whatever was merged or lost checked to be part of what was generated."""
    rows = result.summary["tree"]["signal"]["by_number"]
    assert result.value("signal.generated") == sum(row["generated"] for row in rows.values())
    assert result.value("signal.delivered") == sum(row["delivered"] for row in rows.values())
    for row in rows.values():
        assert row["ignored"] + row["merged"] + row["lost"] <= row["generated"], rows
    return {name: (row["generated"], row["delivered"], row["ignored"]) for name, row in rows.items()}


def by_sender(result):
    return {name: row["count"] for name, row in result.summary["tree"]["signal"]["by_sender"].items()}


def python(denet, script):
    result = denet.run([sys.executable, "-c", script], OPTIONS)
    assert result.quality("signal.by_number") == "exact"
    return result


def test_known_quantities(tier, denet):
    result = denet.run(["signaler", "19"], OPTIONS)
    truth = result.truth["signals"]
    real_time = truth.pop("SIGRT")
    truth["SIGRTMIN"] = real_time
    assert real_time["number"] == signal.SIGRTMIN
    assert by_number(result) == {name: (row["sent"], row["delivered"], row["ignored"]) for name, row in truth.items()}
    rows = result.summary["tree"]["signal"]["by_number"]
    assert rows["SIGTERM"]["merged"] == 2, rows  # of three that came while it was blocked
    assert rows["SIGRTMIN"]["merged"] == 0, rows
    for name in ("generated", "delivered", "by_number", "by_sender"):
        assert result.quality(f"signal.{name}") == "exact"


def test_senders(tier, denet):
    result = denet.run(["signaler", "7"], OPTIONS)
    pid = result.header["pid"]
    truth = result.truth["signals"]
    expected = {f"signaler[{pid}]:{'SIGRTMIN' if name == 'SIGRT' else name}": row["sent"] for name, row in truth.items() if name != "SIGCHLD"}
    expected["kernel:SIGCHLD"] = truth["SIGCHLD"]["sent"]
    assert by_sender(result) == expected


def test_from_outside_to_a_running_process(tier, denet, background):
    process = background([denet.workload("hold"), "2", "3"])
    wait_until(lambda: process.stdout.readline())
    attached = denet.attach_start([str(process.pid)], OPTIONS)
    caught = 0
    for _ in range(13):
        process.send_signal(signal.SIGUSR1)
        caught += 1
        # One that is pending already would swallow the next.
        wait_until(lambda: not pending(process.pid))
    attached.send_signal(signal.SIGINT)
    result = denet.finish(attached, attached.out)
    comm = pathlib.Path("/proc/self/comm").read_text().strip()
    assert by_number(result) == {"SIGUSR1": (13, 13, 0)}
    assert by_sender(result) == {f"{comm}[{os.getpid()}]:SIGUSR1": 13}


def pending(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return any(int(line.split()[1], 16) for line in status.splitlines() if line.startswith(("SigPnd:", "ShdPnd:")))


@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM", "SIGSEGV", "SIGRTMIN"])
def test_a_deadly_signal_is_taken_once_whatever_the_threads(tier, denet, name):
    script = f"""
import os, resource, signal, sys, threading
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
pid = os.fork()
if pid == 0:
    stop = threading.Barrier(8)
    for _ in range(7):
        threading.Thread(target=lambda: (stop.wait(), signal.pause())).start()
    stop.wait()
    os.kill(os.getpid(), signal.{name})
    signal.pause()
assert os.WTERMSIG(os.waitpid(pid, 0)[1]) == signal.{name}
"""
    result = python(denet, script)
    assert result.rc == 0, result.stderr
    assert by_number(result) == {name: (1, 1, 0), "SIGCHLD": (1, 0, 1)}


def test_the_end_of_a_program_with_threads_is_no_signal(tier, denet):
    script = """
import os, signal, threading
ready = threading.Barrier(6)
for _ in range(5):
    threading.Thread(target=lambda: (ready.wait(), signal.pause())).start()
ready.wait()
os._exit(3)
"""
    result = python(denet, script)
    assert result.rc == 3
    assert by_number(result) == {}


def test_waited_for_is_not_delivered(tier, denet):
    script = """
import os, signal
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
for _ in range(11):
    os.kill(os.getpid(), signal.SIGUSR1)
    assert signal.sigwait([signal.SIGUSR1]) == signal.SIGUSR1
"""
    assert by_number(python(denet, script)) == {"SIGUSR1": (11, 0, 0)}


def test_the_kernel_as_the_sender(tier, denet):
    """Of a SIGPIPE the kernel says that the writer sent it to itself (si_code SI_USER)."""
    script = """
import os, signal
signal.signal(signal.SIGALRM, lambda *_: None)
for _ in range(3):
    signal.setitimer(signal.ITIMER_REAL, 0.001)
    signal.pause()
signal.signal(signal.SIGPIPE, lambda *_: None)
r, w = os.pipe()
os.close(r)
for _ in range(5):
    try:
        os.write(w, b"x")
    except BrokenPipeError:
        pass
"""
    result = python(denet, script)
    assert by_number(result) == {"SIGALRM": (3, 3, 0), "SIGPIPE": (5, 5, 0)}
    assert by_sender(result) == {"kernel:SIGALRM": 3, f"{pathlib.Path(sys.executable).name[:15]}[{result.header['pid']}]:SIGPIPE": 5}


def test_off_when_not_asked_for(tier, denet):
    result = denet.run(["signaler", "3"])
    assert result.value("signal.generated") is None
    assert result.quality("signal.generated") == "missing"

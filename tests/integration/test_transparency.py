# SPDX-License-Identifier: Apache-2.0
"""The measured command can't tell that it is measured."""
import os
import resource
import signal
import subprocess

import pytest
from conftest import NOBODY, SANITIZED, Stream, needs_root
from terminal import Terminal

pytestmark = pytest.mark.short


# A program that the shell starts does not lead its session; denet in its place would, and the command then not.
FROM_A_SHELL = ["sh", "-c", '"$@"; exit $?', "sh"]


def settled(lines, denet):
    """What may differ by nature: the shell's own variable, and the number of a session's scheduling group."""
    return [line for line in lines if not line.startswith(("env _=", "SigPnd", "ShdPnd", "/proc/self/autogroup"))]


def compare(denet, options=(), prefix=(), sub="run", **kwargs):
    dump = denet.workload("dumpself")
    without = subprocess.run([*prefix, dump, "an argument"], capture_output=True, cwd=denet.folder, timeout=60, **kwargs)
    argv = [*prefix, str(denet.program), "run", "-q", *options, "--", dump, "an argument"]
    with_denet = subprocess.run(argv, capture_output=True, cwd=denet.folder, timeout=60, **kwargs)
    a = settled(without.stdout.decode("utf-8", "surrogateescape").splitlines(), denet)
    b = settled(with_denet.stdout.decode("utf-8", "surrogateescape").splitlines(), denet)
    assert without.returncode == with_denet.returncode == 0, with_denet.stderr
    assert len(a) > 50
    assert a == b, "\n".join(sorted(set(a) ^ set(b)))


@pytest.mark.parametrize("tier", ["auto", "perf", "procfs"])
def test_nothing_differs(denet, tier):
    compare(denet, ["--backend", tier], stdin=subprocess.DEVNULL)


@pytest.mark.parametrize("tier", ["auto", "procfs"])
def test_nothing_differs_with_a_stream_to_a_file(denet, tier):
    compare(denet, ["--backend", tier, "-o", denet.path("x.jsonl"), "-i", "20"], stdin=subprocess.DEVNULL)


@needs_root
def test_nothing_differs_without_privileges(denet):
    compare(denet, prefix=NOBODY, stdin=subprocess.DEVNULL)


def test_nothing_differs_in_a_session_of_its_own(denet):
    compare(denet, prefix=["setsid", "-w", *FROM_A_SHELL], stdin=subprocess.DEVNULL)


def odd_state():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1, signal.SIGWINCH, signal.SIGRTMIN + 3, signal.SIGCHLD, signal.SIGTERM})
    os.umask(0o137)
    os.nice(3)
    resource.setrlimit(resource.RLIMIT_NOFILE, (211, 307))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_STACK, (4 << 20, resource.RLIM_INFINITY))


def test_nothing_differs_in_an_odd_state(denet):
    """Ignored and blocked signals, umask, nice, limits: handed on as they came."""
    compare(denet, stdin=subprocess.DEVNULL, preexec_fn=odd_state)


def test_nothing_differs_when_sigchld_is_ignored(denet):
    compare(denet, stdin=subprocess.DEVNULL, preexec_fn=lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN))


def test_nothing_differs_under_prefixes(denet):
    compare(denet, prefix=["taskset", "-c", str(min(os.sched_getaffinity(0)))], stdin=subprocess.DEVNULL)
    compare(denet, prefix=["setarch", "-R"], stdin=subprocess.DEVNULL)
    compare(denet, prefix=["chrt", "-b", "0"], stdin=subprocess.DEVNULL)


def test_descriptors_that_the_caller_left_open_stay(denet):
    fds = [os.open("/dev/null", os.O_RDONLY) for _ in range(5)]
    try:
        compare(denet, stdin=subprocess.DEVNULL, pass_fds=[fds[1], fds[3]])
    finally:
        for fd in fds:
            os.close(fd)


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2)])
def test_closed_standard_descriptors_stay_closed(denet, closed):
    """And no file of denet's takes their place."""
    redirect = " ".join(f"{fd}{'<' if fd == 0 else '>'}&-" for fd in closed)
    seen = []
    for launcher in ("", f"{denet.program} run -q -o {denet.path('s.jsonl')} -- "):
        listing = denet.path("fds")
        subprocess.run(["sh", "-c", f"exec {launcher}sh -c 'ls /proc/$$/fd > {listing}' {redirect}"], stdin=subprocess.DEVNULL,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60)
        seen.append(open(listing).read().split())
    assert seen[0] == seen[1]


def test_stream_to_a_descriptor_does_not_leak(denet):
    with open(denet.path("stream"), "wb") as file:
        result = denet.call("run", "-q", "-o", f"fd:{file.fileno()}", "--", "ls", "/proc/self/fd", pass_fds=[file.fileno()])
        count = len(result.stdout.split())
    without = len(subprocess.run(["ls", "/proc/self/fd"], capture_output=True, stdin=subprocess.DEVNULL).stdout.split())
    assert count == without


def test_environment_is_handed_on_byte_by_byte(denet):
    compare(denet, stdin=subprocess.DEVNULL, env={b"A": b"\xff\xfe", b"PATH": os.environb[b"PATH"]})


def test_standard_input_is_the_commands(denet):
    data = os.urandom(3000017)
    process = subprocess.run([denet.program, "run", "-q", "--", "cat"], input=data, capture_output=True, timeout=60)
    assert process.stdout == data


@pytest.mark.parametrize("options", [[], ["--json", "-o", "/dev/null"], ["-i", "10"]])
def test_nothing_differs_on_a_terminal(denet, options):
    dump = denet.workload("dumpself")
    seen = []
    for launcher in ([], [str(denet.program), "run", "-q", *options, "--"]):
        with Terminal([*FROM_A_SHELL, *launcher, dump], cwd=denet.folder) as terminal:
            assert terminal.wait() == 0
            seen.append(settled(terminal.text().replace("\r", "").splitlines(), denet))
    strip = lambda lines: [line for line in lines if not line.startswith("fd ") or "/dev/pts" not in line]
    assert strip(seen[0]) == strip(seen[1]), set(seen[0]) ^ set(seen[1])


def test_denet_under_denet_under_denet(denet):
    dump = denet.workload("dumpself")
    nest = [str(denet.program), "run", "-q", "--"]
    without = subprocess.run([dump], capture_output=True, stdin=subprocess.DEVNULL, cwd=denet.folder)
    nested = subprocess.run([*nest, *nest, *nest, dump], capture_output=True, stdin=subprocess.DEVNULL, cwd=denet.folder, timeout=60)
    assert settled(nested.stdout.decode().splitlines(), denet) == settled(without.stdout.decode().splitlines(), denet)


def test_nested_streams_agree(denet):
    inner = denet.path("inner.jsonl")
    result = denet.run([str(denet.program), "run", "-o", inner, "--", denet.workload("forkstorm"), "101", "1"])
    assert result.rc == 0
    inside = Stream(open(inner, "rb").read(), denet.checker)
    assert result.value("cpu.total_ns") >= inside.value("cpu.total_ns") * 0.99
    # A sanitizer starts a process of its own to look for leaks.
    assert result.value("process.started") - inside.value("process.started") == 1 or SANITIZED

# SPDX-License-Identifier: Apache-2.0
"""Exit status and signals: the caller of denet sees what the caller of the command would."""
import os
import pathlib
import signal
import stat
import subprocess

import pytest
from conftest import needs_root, wait_until

pytestmark = pytest.mark.short
SIGNALS = [s for s in range(1, 32) if s not in (signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU)]
IGNORED_BY_DEFAULT = (signal.SIGCHLD, signal.SIGCONT, signal.SIGURG, signal.SIGWINCH)


@pytest.mark.parametrize("code", [0, 1, 2, 32, 64, 124, 125, 126, 127, 128, 137, 254, 255])
def test_exit_code_is_the_commands(denet, code):
    result = denet.run(["tiny", str(code)])
    assert result.rc == code
    assert result.summary["exit"] == {"code": code, "signal": None, "core_dumped": False}


def test_every_exit_code(denet):
    for code in range(256):
        process = subprocess.run([denet.program, "run", "-q", "--backend", "procfs", "--", denet.workload("tiny"), str(code)], stderr=subprocess.DEVNULL)
        assert process.returncode == code


@pytest.mark.parametrize("signo", SIGNALS)
def test_death_by_signal_is_the_commands(denet, signo):
    script = f"import os, resource; resource.setrlimit(resource.RLIMIT_CORE, (0, 0)); os.kill(os.getpid(), {int(signo)})"
    result = denet.run(["/usr/bin/python3", "-S", "-c", "import signal\nfor s in (signal.SIGINT, signal.SIGPIPE, signal.SIGXFSZ): signal.signal(s, signal.SIG_DFL)\n" + script])
    expected = 0 if signo in IGNORED_BY_DEFAULT else -signo
    assert result.rc == expected
    assert result.summary["exit"]["code"] == (0 if expected == 0 else None)
    said = result.summary["exit"]["signal"]
    assert said in ((None,) if expected == 0 else (int(signo), signal.Signals(signo).name, signal.Signals(signo).name[3:]))


def test_segv_as_the_shell_sees_it(denet):
    script = "kill -SEGV $$"
    with_denet = subprocess.run(["sh", "-c", f"{denet.program} run -q -- sh -c '{script}'; echo $?"], capture_output=True, text=True)
    without = subprocess.run(["sh", "-c", f"sh -c '{script}'; echo $?"], capture_output=True, text=True)
    assert with_denet.stdout == without.stdout == "139\n"


def test_death_by_signal_leaves_no_core_of_denet(denet):
    core = pathlib.Path("/proc/sys/kernel/core_pattern").read_text().strip()
    before = set(os.listdir(denet.folder))
    denet.run(["sh", "-c", "ulimit -c 0; kill -ABRT $$"], prefix=["prlimit", "--core=unlimited"])
    after = {name for name in os.listdir(denet.folder) if not name.endswith(".jsonl")}
    assert after <= before, f"core_pattern {core}: {after - before}"


def make_commands(folder):
    text = folder / "not-executable"
    text.write_text("#!/bin/sh\n")
    text.chmod(0o644)
    binary = folder / "no-format"
    binary.write_bytes(b"\x7fELFnot a program\n\0")
    binary.chmod(0o755)
    loop = folder / "loop"
    loop.symlink_to("loop")
    script = folder / "no-interpreter"
    script.write_text("#!/nonexistent/interpreter\n")
    script.chmod(0o755)


@pytest.mark.parametrize("command, code", [
    (["/nonexistent/command"], 127), (["nonexistent-command-of-denet"], 127), (["./not-executable"], 126), (["."], 126), (["/etc"], 126),
    (["./no-format"], None), (["./loop"], 126), (["./no-interpreter"], 127), (["/etc/passwd/x"], 126), ([""], 127)])
def test_what_cannot_be_executed(denet, command, code):
    make_commands(denet.folder)
    result = denet.call("run", "--", *command)
    env = subprocess.run(["env", *command], cwd=denet.folder, capture_output=True) if command != [""] else None
    if env:
        assert result.rc == env.returncode, result.stderr
    if code:
        assert result.rc == code, result.stderr
        said = result.stderr.decode()
        assert said.count("\n") == 1 and said.startswith("denet: "), said


def test_too_long_an_argument(denet):
    """E2BIG: found by the command's own execve, answered as every other failure to execute."""
    script = f"import os\ntry:\n os.execv('/bin/true', ['true', 'a' * 140000])\nexcept OSError as e:\n os._exit(e.errno)"
    assert denet.call("run", "-q", "--", "/usr/bin/python3", "-c", script).rc == 7


def test_script_without_interpreter_line(denet):
    script = denet.folder / "script"
    script.write_text("exit 7\n")
    script.chmod(0o755)
    without = subprocess.run(["env", str(script)], capture_output=True).returncode
    assert denet.call("run", "-q", "--", str(script)).rc == without


@pytest.mark.parametrize("signo", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGWINCH, signal.SIGQUIT])
def test_signal_to_denet_alone_is_forwarded_once(denet, signo):
    log = pathlib.Path(denet.path("signals"))
    out = denet.path("stream.jsonl")
    process = denet.popen(denet.argv([], ["signals", str(log)], out), start_new_session=True)
    wait_until(lambda: log.exists() and log.read_text().startswith("ready") or process.poll() is not None)
    process.send_signal(signo)
    name = signal.Signals(signo).name[3:]
    wait_until(lambda: name in log.read_text())
    os.kill(int(log.read_text().split()[1]), signal.SIGUSR2)
    result = denet.finish(process, out)
    assert log.read_text().splitlines()[1:] == [name, "USR2"]
    assert result.rc == 0


def test_denet_ends_only_with_its_command(denet):
    """TERM is the command's affair: it may ignore it, and denet stays."""
    log = pathlib.Path(denet.path("signals"))
    out = denet.path("stream.jsonl")
    process = denet.popen(denet.argv([], ["signals", str(log)], out), start_new_session=True)
    wait_until(lambda: log.exists() and "ready" in log.read_text())
    for _ in range(3):
        seen = log.read_text().count("TERM")
        process.send_signal(signal.SIGTERM)
        wait_until(lambda: log.read_text().count("TERM") == seen + 1)
        assert process.poll() is None
    os.kill(int(log.read_text().split()[1]), signal.SIGKILL)
    assert denet.finish(process, out).rc == -signal.SIGKILL


def test_summary_for_people_goes_to_stderr_only(denet):
    result = denet.call("run", "--", "echo", "out")
    assert result.stdout == b"out\n"
    assert b"\x1b" not in result.stderr and len(result.stderr.splitlines()) > 3
    assert all(len(line) <= 100 for line in result.stderr.decode().splitlines())


def test_quiet_says_nothing(denet):
    result = denet.call("run", "-q", "--", "echo", "out")
    assert (result.stdout, result.stderr) == (b"out\n", b"")


def test_json_gives_stdout_to_the_stream_and_the_commands_output_to_stderr(denet):
    result = denet.json(["sh", "-c", "echo to-stdout; echo to-stderr >&2"])
    assert result.summary["exit"]["code"] == 0
    assert b"to-stdout\n" in result.stderr and b"to-stderr\n" in result.stderr


def test_out_touches_neither_stream(denet):
    result = denet.run(["sh", "-c", "echo to-stdout; echo to-stderr >&2"], ["-q"])
    assert (result.stdout, result.stderr) == (b"to-stdout\n", b"to-stderr\n")


def test_options_before_the_subcommand(denet):
    process = denet.call("--json", "run", "--", "true")
    assert process.stdout.startswith(b'{"kind":"header"')


@pytest.mark.parametrize("arguments, near", [
    (["run", "--intervall", "5", "--", "true"], b"--interval"), (["run", "--jsno", "--", "true"], b"--json"),
    (["runn", "true"], b"run"), (["run", "--metrics", "cpu.totl_ns", "--", "true"], b"cpu.total_ns")])
def test_a_mistyped_word_is_answered_by_the_nearest(denet, arguments, near):
    result = denet.call(*arguments)
    assert result.rc in (2, 125)
    assert near in result.stderr


@pytest.mark.parametrize("arguments", [
    ["run"], ["run", "--"], ["run", "-i", "0", "--", "touch", "ran"], ["run", "-i", "x", "--", "touch", "ran"], ["run", "-i", "-5", "--", "touch", "ran"],
    ["run", "-d", "1e9", "--", "touch", "ran"], ["run", "--backend", "magic", "--", "touch", "ran"], ["run", "--color", "blue", "--", "touch", "ran"],
    ["run", "-o", "/nonexistent/x", "--", "touch", "ran"], ["run", "-o", "/", "--", "touch", "ran"],
    ["run", "-o", "fd:99", "--", "touch", "ran"], ["run", "-o", "fd:x", "--", "touch", "ran"]])
def test_a_bad_command_line_runs_nothing(denet, arguments):
    result = denet.call(*arguments)
    assert result.rc == 125, result.stderr
    assert result.stderr.startswith(b"denet: ")
    assert not (denet.folder / "ran").exists()


@pytest.mark.parametrize("arguments", [[], ["attach"], ["stats"], ["frobnicate"], ["attach", "12abc"], ["stats", "--nope", "x"], ["metrics", "x"]])
def test_usage_errors_of_the_others_are_2(denet, arguments):
    result = denet.call(*arguments)
    assert result.rc == 2, result.stderr
    assert result.stdout == b"" and result.stderr


@pytest.mark.parametrize("arguments", [["--help"], ["help"], ["help", "run"], ["run", "--help"], ["help", "attach"], ["help", "stats"], ["help", "doctor"], ["help", "metrics"]])
def test_help_fits_a_screen(denet, arguments):
    result = denet.call(*arguments)
    assert result.rc == 0 and result.stderr == b""
    lines = result.stdout.decode().splitlines()
    assert 3 < len(lines) <= 50 and all(len(line) <= 100 for line in lines)


def test_version(denet):
    result = denet.call("--version")
    assert result.rc == 0 and result.stdout == b"denet 0.1.0\n"


def test_help_into_a_full_disk_is_an_error(denet):
    with open("/dev/full", "wb") as full:
        process = subprocess.run([denet.program, "help"], stdout=full, stderr=subprocess.PIPE)
    assert process.returncode == 1 and process.stderr


def test_descendants_left_are_counted_and_not_killed(denet):
    marker = denet.path("marker")
    result = denet.run(["sh", "-c", f"setsid {denet.workload('ticker')} {marker} 300 & sleep 0.05; true"])
    assert result.summary["descendants_left"] >= 1
    wait_until(lambda: "done" in pathlib.Path(marker).read_text())


def test_wait_tree_waits_for_orphans(denet):
    marker = denet.path("marker")
    result = denet.run(["sh", "-c", f"{denet.workload('ticker')} {marker} 211 & exit 3"], ["--wait-tree"])
    assert result.rc == 3
    assert "done" in pathlib.Path(marker).read_text()
    assert result.summary["descendants_left"] == 0


def test_duration_ends_measuring_and_leaves_the_command_alone(denet):
    marker = denet.path("marker")
    result = denet.run(["ticker", marker, "1000"], ["-d", "0.2"])
    assert result.rc == 0
    assert "done" in pathlib.Path(marker).read_text(), "denet stays until its command is done, so that the exit status is the command's"
    assert result.summary["wall_ns"] < 900000000


def test_the_first_instruction_is_counted_and_the_last_too(denet):
    result = denet.run(["tiny"])
    assert result.value("process.started") == 1 and result.value("process.exited") == 1
    assert result.value("memory.minor_faults") > 0 and result.value("cpu.total_ns") > 0


@needs_root
def test_the_stream_file_is_private(denet):
    old = os.umask(0)
    try:
        result = denet.run(["tiny"])
    finally:
        os.umask(old)
    path = next(denet.folder.glob("*-stream.jsonl"))
    assert result.rc == 0 and stat.S_IMODE(path.stat().st_mode) & 0o077 == 0

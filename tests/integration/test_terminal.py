# SPDX-License-Identifier: Apache-2.0
"""On a terminal everything is as without denet: each test runs both ways and expects the same."""
import json
import os
import pathlib
import signal

import pytest
from conftest import Stream, wait_until
from terminal import Terminal, state_of

pytestmark = pytest.mark.short
WAYS = ["without", "with"]


@pytest.fixture(params=WAYS)
def launch(request, denet):
    """The prefix of a command line: nothing, or denet."""
    denet.way = request.param
    denet.out = denet.path("tty.jsonl")
    return [] if request.param == "without" else [str(denet.program), "run", "-q", "-o", denet.out, "--"]


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return [int(child) for child in file.read().split()]


def test_read_and_echo(denet, launch):
    with Terminal([*launch, "sh", "-c", "read x; echo \"got:$x:\""]) as terminal:
        terminal.send("a line\n")
        terminal.expect("got:a line:")
        assert terminal.wait() == 0


def test_control_c_ends_the_command(denet, launch):
    with Terminal([*launch, "sh", "-c", "echo ready; while :; do read x; done"]) as terminal:
        terminal.expect("ready")
        terminal.send(b"\x03")
        assert terminal.wait() == -signal.SIGINT
    if launch:
        assert Stream(pathlib.Path(denet.out).read_bytes(), denet.checker).summary["exit"]["code"] is None


def test_control_backslash_ends_the_command(denet, launch):
    with Terminal([*launch, "sh", "-c", "ulimit -c 0; echo ready; while :; do read x; done"], cwd=denet.folder) as terminal:
        terminal.expect("ready")
        terminal.send(b"\x1c")
        assert terminal.wait() == -signal.SIGQUIT


def test_control_c_is_seen_once(denet, launch):
    """The kernel gives it to the whole group; denet must not give it again."""
    log = pathlib.Path(denet.path("signals"))
    with Terminal([*launch, denet.workload("signals"), str(log)]) as terminal:
        wait_until(lambda: log.exists() and "ready" in log.read_text())
        for n in range(1, 4):
            terminal.send(b"\x03")
            wait_until(lambda: log.read_text().count("INT") >= n)
        os.kill(int(log.read_text().split()[1]), signal.SIGUSR2)
        assert terminal.wait() == 0
    assert log.read_text().splitlines()[1:] == ["INT", "INT", "INT", "USR2"]


def test_a_handler_decides_about_control_c(denet, launch):
    with Terminal([*launch, "sh", "-c", "trap 'echo caught; exit 5' INT; echo ready; while :; do read x; done"]) as terminal:
        terminal.expect("ready")
        terminal.send(b"\x03")
        terminal.expect("caught")
        assert terminal.wait() == 5


def test_stop_and_resume_by_the_shell(denet, launch):
    with Terminal(["bash", "--norc", "-i"], env={"PS1": "PROMPT "}) as terminal:
        terminal.expect("PROMPT ")
        command = " ".join([*launch, "sh", "-c", "'echo rea\"\"dy; read x; echo \"got:$x:\"'"])
        terminal.send(command + "\n")
        terminal.expect("ready")
        terminal.send(b"\x1a")
        terminal.expect("Stopped")
        terminal.expect("PROMPT ")
        shell = terminal.pid
        wait_until(lambda: all(state_of(child) == "T" for child in children(shell)))
        for child in children(shell):
            wait_until(lambda: all(state_of(grandchild) == "T" for grandchild in children(child)))
        terminal.send("fg\n")
        terminal.expect("\n")
        wait_until(lambda: terminal.foreground() != shell)
        terminal.send("still here\n")
        terminal.expect("got:still here:")
        terminal.expect("PROMPT ")
        terminal.send("echo status-$?\n")
        terminal.expect("status-0")
        terminal.send("exit\n")
        terminal.wait()
    if launch:
        Stream(pathlib.Path(denet.out).read_bytes(), denet.checker)


def test_stopped_by_itself_and_resumed(denet, launch):
    """A command that stops itself (SIGSTOP) stops denet too, so that the shell takes the terminal back."""
    with Terminal(["bash", "--norc", "-i"], env={"PS1": "PROMPT "}) as terminal:
        terminal.expect("PROMPT ")
        terminal.send(" ".join([*launch, "sh", "-c", "'kill -STOP $$; echo af\"\"ter'"]) + "\n")
        terminal.expect("Stopped")
        terminal.expect("PROMPT ")
        terminal.send("fg\n")
        terminal.expect("after")
        terminal.expect("PROMPT ")
        terminal.send("exit\n")
        terminal.wait()


def test_background_and_wait(denet, launch):
    with Terminal(["bash", "--norc", "-i"], env={"PS1": "PROMPT "}) as terminal:
        terminal.expect("PROMPT ")
        terminal.send(" ".join([*launch, "sh", "-c", "'exit 9'"]) + " &\n")
        terminal.expect("PROMPT ")
        terminal.send("wait $!; echo status-$?\n")
        terminal.expect("status-9")
        terminal.send("exit\n")
        terminal.wait()


def test_background_reader_is_stopped(denet, launch):
    """SIGTTIN: a background job that reads from the terminal stops, and fg gives it the terminal."""
    with Terminal(["bash", "--norc", "-i"], env={"PS1": "PROMPT "}) as terminal:
        terminal.expect("PROMPT ")
        terminal.send(" ".join([*launch, "sh", "-c", "'read x; echo \"got:$x:\"'"]) + " &\n")
        terminal.expect("PROMPT ")
        shell = terminal.pid
        wait_until(lambda: children(shell) and all(state_of(child) == "T" for child in children(shell)))
        terminal.send("fg\n")
        wait_until(lambda: terminal.foreground() != shell)
        terminal.send("a line\n")
        terminal.expect("got:a line:")
        terminal.expect("PROMPT ")
        terminal.send("exit\n")
        terminal.wait()


def test_job_control_inside(denet, launch):
    """denet run -- bash -i: jobs, ^Z, fg and bg of the inner shell."""
    with Terminal([*launch, "bash", "--norc", "-i"], env={"PS1": "INNER "}) as terminal:
        assert b"no job control" not in terminal.expect("INNER ")
        shell = terminal.foreground()
        terminal.send("cat\n")
        terminal.expect("cat\r\n")
        wait_until(lambda: terminal.foreground() != shell)
        terminal.send("echoed\n")
        terminal.expect("echoed\r\nechoed")
        terminal.send(b"\x1a")
        terminal.expect("Stopped")
        terminal.expect("INNER ")
        terminal.send("jobs\n")
        terminal.expect("Stopped")
        terminal.expect("INNER ")
        terminal.send("fg\n")
        terminal.expect("cat\r\n")
        wait_until(lambda: terminal.foreground() != shell)
        terminal.send("again\n")
        terminal.expect("again\r\nagain")
        terminal.send(b"\x03")
        terminal.expect("INNER ")
        terminal.send("sleep 1000 & kill %1; wait %1; echo status-$?\n")
        terminal.expect("status-143")
        terminal.send("exit 4\n")
        assert terminal.wait() == 4


def test_full_screen_program(denet, launch):
    with Terminal([*launch, denet.workload("fullscreen")], rows=31, columns=97) as terminal:
        before = None
        terminal.expect("\x1b[?1049h")
        terminal.expect("SIZE 31 97")
        before = terminal.modes()
        terminal.send("x")
        terminal.expect("KEY 78")
        terminal.send(b"\x03")
        terminal.expect("KEY 03")
        terminal.send(b"\x1a")
        terminal.expect("KEY 1a")
        terminal.resize(37, 89)
        terminal.expect("SIZE 37 89")
        assert terminal.modes() == before, "the terminal's modes are the program's"
        terminal.send("q")
        terminal.expect("\x1b[?1049l")
        assert terminal.wait() == 0


@pytest.mark.parametrize("ending", ["exit 0", "kill -TERM $$", "kill -SEGV $$"])
def test_terminal_modes_are_untouched(denet, ending):
    with Terminal(["bash", "--norc", "-c", f"stty -a | sed s/^/A:/; {denet.program} run -- sh -c 'ulimit -c 0; {ending}'; stty -a | sed s/^/B:/"]) as terminal:
        terminal.wait()
        lines = terminal.text().replace("\r", "").splitlines()
    assert [line[2:] for line in lines if line.startswith("A:")] == [line[2:] for line in lines if line.startswith("B:")] != []


def test_summary_is_coloured_on_a_terminal_only(denet):
    for options, coloured in (([], True), (["--color", "never"], False)):
        with Terminal([str(denet.program), "run", *options, "--", "true"], env={"NO_COLOR": ""}) as terminal:
            assert terminal.wait() == 0
            assert ("\x1b[" in terminal.text()) == coloured
    with Terminal([str(denet.program), "run", "--", "true"], env={"NO_COLOR": "1"}) as terminal:
        assert terminal.wait() == 0
        assert "\x1b[" not in terminal.text()


def test_summary_fits_the_terminal(denet):
    with Terminal([str(denet.program), "run", "--color", "never", "--", denet.workload("forkstorm"), "11", "3"], rows=24, columns=80) as terminal:
        assert terminal.wait() == 0
        lines = terminal.text().replace("\r", "").splitlines()
    assert len(lines) <= 25 and all(len(line) <= 80 for line in lines), "\n".join(lines)


def test_live_line_only_on_a_terminal(denet):
    with Terminal([str(denet.program), "run", "--live", "-i", "20", "--", denet.workload("burn"), "307"]) as terminal:
        assert terminal.wait() == 0
        assert "\r" in terminal.text().replace("\r\n", "") or "\x1b[" in terminal.text()
    result = denet.call("run", "--live", "-i", "20", "--", denet.workload("burn"), "101")
    assert b"\r" not in result.stderr and b"\x1b" not in result.stderr


def test_hangup_ends_the_command(denet, launch):
    """The terminal window is closed: the command gets its hangup, and denet ends with it."""
    log = pathlib.Path(denet.path("signals"))
    with Terminal([*launch, denet.workload("signals"), str(log)]) as terminal:
        wait_until(lambda: log.exists() and "ready" in log.read_text())
        os.kill(terminal.pid, signal.SIGHUP)
        wait_until(lambda: "HUP" in log.read_text())
        os.kill(int(log.read_text().split()[1]), signal.SIGUSR2)
        assert terminal.wait() == 0
    assert log.read_text().count("HUP") == 1


def test_json_on_a_terminal_is_one_line_per_record(denet):
    with Terminal([str(denet.program), "run", "--json", "--", "true"], columns=200) as terminal:
        assert terminal.wait() == 0
        records = [json.loads(line) for line in terminal.text().splitlines() if line.startswith("{")]
    assert records[0]["kind"] == "header" and records[-1]["kind"] == "summary"

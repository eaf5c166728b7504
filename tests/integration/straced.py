# SPDX-License-Identifier: Apache-2.0
"""The system calls of a tree as strace saw them: the log of strace -f, read call by call."""
import collections
import re

# raw: every argument and result is a number, so that nothing in a line but the call looks like a call.
STRACE = ["strace", "-f", "-e", "raw=all", "-e", "signal=none"]

BIRTHS = {"clone", "clone3", "fork", "vfork"}
LINE = re.compile(r"(\d+) +(.*)$")
CALL = re.compile(r"(\w+)\(")
RESUMED = re.compile(r"<\.\.\. (\w+) resumed>")
RESULT = re.compile(r"= (?:(\?)|(0x[0-9a-f]+|-?\d+))(?: (E[A-Z0-9]+)\b)?[^=]*$")
UNKNOWN = re.compile(r"syscall_(0x[0-9a-f]+)$")
TABLE = 576  # numbers from here on are one row for denet


class Calls:
    """By name: calls, errors, and calls that ended with their thread, of which strace knows no result.

    cut: threads that were killed and not seen in a call. strace is not told of a call whose thread dies before its stop at the entry is
    collected, so each may have made one call more, which the kernel counts.
    """

    def __init__(self):
        self.count, self.errors, self.unknown = collections.Counter(), collections.Counter(), collections.Counter()
        self.cut = 0

    def add(self, name, error=False, unknown=False):
        if name is None:
            self.cut += 1
            return
        number = UNKNOWN.match(name)
        if number:
            number = int(number.group(1), 16)
            name = f"syscall_{number}" if number < TABLE else "syscall_other"
        self.count[name] += 1
        self.errors[name] += error
        self.unknown[name] += unknown


class Event:
    """A call that ended, or one that never did; without a name: a thread that was killed outside of any."""

    def __init__(self, pid, name, value=None, error=False, unknown=False):
        self.pid, self.name, self.value, self.error, self.unknown = pid, name, value, error, unknown


def events(lines):
    pending = {}  # a call that has begun: pid -> name
    ended = set()  # threads whose last call told their end
    for text in lines:
        line = LINE.match(text)
        if not line:
            continue
        pid, rest = int(line.group(1)), line.group(2)
        if rest.startswith("+++"):
            # An exec by a thread takes the leader's pid: what the leader was in ended with it, the exec goes on under that pid.
            other = re.search(r"superseded by execve in pid (\d+)", rest)
            if pid in pending:
                yield Event(pid, pending.pop(pid), unknown=True)
            elif pid not in ended:
                yield Event(pid, None)
            if other and int(other.group(1)) in pending:
                pending[pid] = pending.pop(int(other.group(1)))
            continue
        resumed = RESUMED.match(rest)
        name = resumed.group(1) if resumed else None
        if resumed:
            pending.pop(pid, None)
        else:
            call = CALL.match(rest)
            if not call:
                continue
            name = call.group(1)
            if rest.endswith("<unfinished ...>"):
                pending[pid] = name
                continue
        result = RESULT.search(rest)
        assert result, text
        value = int(result.group(2), 0) if result.group(2) else None
        # "?" without an error: exit and exit_group, which don't return, and calls of threads that were killed in them.
        final = result.group(1) and not result.group(3)
        if final:
            ended.add(pid)
        yield Event(pid, name, value, bool(result.group(3)), bool(final and name not in ("exit", "exit_group")))
    for pid, name in pending.items():
        yield Event(pid, name, unknown=True)


def calls_below_denet(path):
    """The calls of what denet, traced from its start, measured: the command from its own execve on, and all its descendants."""
    with open(path, errors="replace") as file:
        log = list(events(file))
    denet = log[0].pid
    root = next(event.pid for event in log if event.name == "execve" and event.value == 0 and event.pid != denet)
    tree, children = {root}, collections.defaultdict(set)
    for event in log:
        if event.name in BIRTHS and event.value:
            children[event.pid].add(event.value)
    unvisited = [root]
    while unvisited:
        new = children[unvisited.pop()] - tree
        tree |= new
        unvisited += new
    calls, begun = Calls(), False
    for event in log:
        if event.pid == root and event.name == "execve" and event.value == 0:
            begun = True
        if event.pid in tree and (begun or event.pid != root):
            calls.add(event.name, event.error, event.unknown)
    return calls


def calls_of(path):
    """The calls of everything that strace started, its first execve included."""
    calls = Calls()
    with open(path, errors="replace") as file:
        for event in events(file):
            calls.add(event.name, event.error, event.unknown)
    return calls

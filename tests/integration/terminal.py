# SPDX-License-Identifier: Apache-2.0
"""A pseudo-terminal with a program on it, as a terminal window has it: its own session, the pty as controlling terminal."""
import fcntl
import os
import pty
import select
import signal
import struct
import termios
import time


class Terminal:
    def __init__(self, argv, rows=24, columns=80, env=None, cwd=None):
        self.seen = b""
        self.status = None
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            try:
                for signo in (signal.SIGPIPE, signal.SIGINT, signal.SIGQUIT, signal.SIGTSTP):
                    signal.signal(signo, signal.SIG_DFL)
                fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
                if cwd:
                    os.chdir(cwd)
                os.closerange(3, 256)
                os.execvpe(argv[0], [os.fspath(a) for a in argv], {**os.environ, "TERM": "xterm", "PS1": "$ ", **(env or {})})
            finally:
                os._exit(127)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.status is None:
            try:
                os.killpg(self.pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                pass
            try:
                os.kill(self.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        os.close(self.fd)
        if self.status is None:
            os.waitpid(self.pid, 0)

    def pump(self, seconds=0.0):
        ready, _, _ = select.select([self.fd], [], [], seconds)
        if not ready:
            return True
        try:
            data = os.read(self.fd, 65536)
        except OSError:
            return False
        self.seen += data
        return bool(data)

    def send(self, data):
        os.write(self.fd, data if isinstance(data, bytes) else data.encode())

    def expect(self, text, seconds=30):
        """Waits until text appears behind what was expected before; returns what came up to it."""
        text = text if isinstance(text, bytes) else text.encode()
        end = time.monotonic() + seconds
        while text not in self.seen:
            alive = self.pump(0.05)
            assert alive or text in self.seen, f"ended without {text!r}: {self.seen[-2000:]!r}"
            assert time.monotonic() < end, f"no {text!r} in {self.seen[-2000:]!r}"
        before, _, self.seen = self.seen.partition(text)
        return before

    def resize(self, rows, columns):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def modes(self):
        return termios.tcgetattr(self.fd)[:4]

    def foreground(self):
        return os.tcgetpgrp(self.fd)

    def text(self):
        return self.seen.decode("utf-8", "surrogateescape")

    def wait(self, seconds=30):
        """Reads until the program has ended; its exit code, or the negative number of the signal that ended it."""
        end = time.monotonic() + seconds
        while self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = status
                break
            self.pump(0.02)
            assert time.monotonic() < end, f"did not end: {self.seen[-2000:]!r}"
        while select.select([self.fd], [], [], 0)[0] and self.pump():
            pass
        return os.waitstatus_to_exitcode(self.status)


def state_of(pid):
    with open(f"/proc/{pid}/stat", "rb") as file:
        return file.read().rpartition(b")")[2].split()[0].decode()

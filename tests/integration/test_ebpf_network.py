# SPDX-License-Identifier: Apache-2.0
"""The probe group network: bytes, calls, connections and failures are what the programs themselves say."""
import os
import pathlib
import signal
import socket
import struct
import sys

import ebpf
import pytest
from conftest import wait_until

OPTIONS = ["--probes", "network"]
NONE = {"rx_bytes": 0, "tx_bytes": 0, "rx_calls": 0, "tx_calls": 0}


@pytest.fixture(scope="module")
def tier(session_denet):
    ebpf.needs_metric(session_denet, "network.by_protocol", OPTIONS)


def network(result):
    return result.summary["tree"]["network"]


def counts(result, table):
    return {key: row["count"] for key, row in network(result)[table].items()}


def python(denet, script, *arguments, options=(), **kwargs):
    """Runs a script, which prints what it did as JSON."""
    result = denet.run([sys.executable, "-c", script, *arguments], [*OPTIONS, *options], **kwargs)
    assert result.rc == 0, result.stderr[-2000:]
    return result


def test_connections_accepted_and_refused(tier, denet):
    result = denet.run(["connects", "50", "20", "7"], OPTIONS)
    assert result.truth == {"processes": 1, "connects": 50, "accepts": 50, "refused": 20, "empty_accepts": 7}
    assert result.value("network.connects") == 50
    assert result.value("network.accepts") == 50
    assert result.value("network.resets") == 0
    assert counts(result, "failures") == {"ECONNREFUSED": 20}
    latency = network(result)["connect_latency"]
    assert latency["count"] == 50 and 0 < latency["min"] and latency["sum"] < result.summary["wall_ns"]
    assert network(result)["by_protocol"] == {}
    assert network(result)["rtt"]["count"] == 100, "both ends of each connection"
    for name in ("connects", "accepts", "failures", "connect_latency", "resets", "by_protocol", "rx_bytes", "tx_bytes"):
        assert result.quality(f"network.{name}") == "exact", result.state(f"network.{name}")


def test_bytes_and_calls_by_protocol(tier, denet):
    result = denet.run(["sockbytes", "503", "997"], OPTIONS)
    truth = result.truth["protocols"]
    unix = {key: truth["unix_stream"][key] + truth["unix_dgram"][key] for key in NONE}
    assert network(result)["by_protocol"] == {"tcp": truth["tcp"], "udp": truth["udp"], "unix": unix}
    assert result.value("network.rx_bytes") == truth["tcp"]["rx_bytes"]
    assert result.value("network.tx_bytes") == truth["tcp"]["tx_bytes"]
    assert result.value("network.retransmits") == 0
    assert network(result)["unix_latency"]["count"] == 2 * 503
    assert counts(result, "failures") == {}


def test_bytes_of_large_messages(tier, denet):
    """Streams that are handed over in parts."""
    result = denet.run(["sockbytes", "101", "30011"], OPTIONS)
    truth = result.truth["protocols"]
    assert network(result)["by_protocol"]["tcp"] == truth["tcp"]
    assert network(result)["by_protocol"]["udp"] == truth["udp"]
    assert result.value("network.rx_bytes") == 101 * 30011


def test_bytes_of_each_process(tier, denet):
    script = """
import os, socket
listener = socket.create_server(("127.0.0.1", 0))
pids = []
for i in range(1, 4):
    pid = os.fork()
    if pid == 0:
        with socket.create_connection(listener.getsockname()) as out:
            out.sendall(b"x" * 1009 * i)
            assert len(out.recv(100, socket.MSG_WAITALL)) == 100
        os._exit(0)
    end, _ = listener.accept()
    assert len(end.recv(1009 * i, socket.MSG_WAITALL)) == 1009 * i
    end.sendall(b"y" * 100)
    os.waitpid(pid, 0)
    end.close()
"""
    result = python(denet, script)
    assert result.value("network.tx_bytes") == result.value("network.rx_bytes") == 6 * 1009 + 300
    top = {p["pid"]: p["network"] for p in result.summary["processes"] if "network" in p}
    root = top.pop(result.header["pid"])
    assert root == {"rx_bytes": 6 * 1009, "tx_bytes": 300}
    assert sorted((p["rx_bytes"], p["tx_bytes"]) for p in top.values()) == [(100, 1009), (100, 2018), (100, 3027)]


SPECIAL = """
import array, ctypes, json, os, socket, struct, tempfile
libc = ctypes.CDLL(None, use_errno=True)
class Vector(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("len", ctypes.c_size_t)]
class Message(ctypes.Structure):
    _fields_ = [("name", ctypes.c_void_p), ("namelen", ctypes.c_uint), ("iov", ctypes.POINTER(Vector)), ("iovlen", ctypes.c_size_t),
                ("control", ctypes.c_void_p), ("controllen", ctypes.c_size_t), ("flags", ctypes.c_int), ("hole", ctypes.c_int), ("bytes", ctypes.c_uint)]
assert ctypes.sizeof(Message) == 64
def messages(sizes):
    made = (Message * len(sizes))()
    for message, size in zip(made, sizes):
        message.iov = ctypes.pointer(Vector(ctypes.addressof(ctypes.create_string_buffer(max(size, 1))), size))
        message.iovlen = 1
    made.keep = [ctypes.create_string_buffer(max(sizes) + 1) for _ in sizes]
    for message, room in zip(made, made.keep):
        message.iov.contents.base = ctypes.addressof(room)
    return made
def tcp():
    listener = socket.create_server(("127.0.0.1", 0))
    out = socket.create_connection(listener.getsockname())
    end, _ = listener.accept()
    listener.close()
    return out, end
def emit(**truth):
    print(json.dumps(truth), flush=True)
"""


def test_many_messages_in_one_call(tier, denet):
    script = SPECIAL + """
receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
receiver.bind(("127.0.0.1", 0))
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sender.connect(receiver.getsockname())
sizes = [7 * i + 1 for i in range(101)]
sent = messages(sizes)
done = 0
got = 0
while done < len(sizes):
    n = libc.sendmmsg(sender.fileno(), ctypes.byref(sent, done * 64), 53, 0) if len(sizes) - done >= 53 else \\
        libc.sendmmsg(sender.fileno(), ctypes.byref(sent, done * 64), len(sizes) - done, 0)
    assert n > 0
    done += n
    room = messages([2000] * 60)
    n = libc.recvmmsg(receiver.fileno(), room, 60, socket.MSG_DONTWAIT, None)
    assert n > 0
    got += n
assert got == done == 101
assert libc.recvmmsg(receiver.fileno(), messages([2000]), 1, socket.MSG_DONTWAIT, None) == -1
emit(bytes=sum(sizes), calls=2)
"""
    result = python(denet, script)
    truth = result.truth
    assert network(result)["by_protocol"] == {"udp": {"rx_bytes": truth["bytes"], "tx_bytes": truth["bytes"], "rx_calls": 2, "tx_calls": 2}}
    assert counts(result, "failures") == {}
    assert result.quality("network.by_protocol") == "exact"


def test_what_is_only_looked_at_does_not_count(tier, denet):
    script = SPECIAL + """
out, end = tcp()
out.sendall(b"x" * 1000)
for _ in range(5):
    assert len(end.recv(1000, socket.MSG_PEEK | socket.MSG_WAITALL)) == 1000
    assert len(end.recvmsg(1000, 0, socket.MSG_PEEK)[0]) == 1000
assert len(end.recv(1000, socket.MSG_WAITALL)) == 1000
end.setblocking(False)
for _ in range(3):
    try:
        end.recv(1)
    except BlockingIOError:
        pass
out.close()
end.setblocking(True)
assert end.recv(1) == b""
"""
    result = python(denet, script)
    assert network(result)["by_protocol"] == {"tcp": {"rx_bytes": 1000, "tx_bytes": 1000, "rx_calls": 2, "tx_calls": 1}}
    assert counts(result, "failures") == {}
    assert result.value("network.rx_bytes") == 1000, "the end of the stream is no byte"


def test_files_sent_and_pipes_spliced(tier, denet):
    script = SPECIAL + """
out, end = tcp()
with tempfile.TemporaryFile() as file:
    file.write(b"x" * 5003)
    file.flush()
    sent = 0
    while sent < 5003:
        sent += os.sendfile(out.fileno(), file.fileno(), sent, 5003 - sent)
r, w = os.pipe()
moved = 0
while moved < 5003:
    n = libc.splice(end.fileno(), None, w, None, 5003 - moved, 0)
    assert n > 0
    assert len(os.read(r, n)) == n
    moved += n
os.write(w, b"y" * 701)
assert libc.splice(r, None, out.fileno(), None, 701, 0) == 701
assert os.readv(end.fileno(), [bytearray(300), bytearray(401)]) == 701
assert os.writev(out.fileno(), [b"a" * 11, b"b" * 13]) == 24
assert len(end.recvmsg(100)[0]) == 24
with tempfile.TemporaryFile() as file:
    file.write(b"no socket")
left, right = socket.socketpair()
left.sendmsg([b"c" * 17, b"d" * 19])
assert len(os.read(right.fileno(), 100)) == 36
"""
    result = python(denet, script)
    by = network(result)["by_protocol"]
    assert set(by) == {"tcp", "unix"}
    assert by["tcp"]["rx_bytes"] == by["tcp"]["tx_bytes"] == 5003 + 701 + 24
    assert by["unix"] == {"rx_bytes": 36, "tx_bytes": 36, "rx_calls": 1, "tx_calls": 1}
    assert result.value("network.rx_bytes") == result.value("network.tx_bytes") == 5003 + 701 + 24


def test_refused_without_waiting_is_told_once(tier, denet):
    """Whether the program asks for the error, connects again, or never looks."""
    script = SPECIAL + """
import select
closed = socket.socket()
closed.bind(("127.0.0.1", 0))
def begin():
    out = socket.socket()
    out.setblocking(False)
    assert out.connect_ex(closed.getsockname()) == 115
    select.select([], [out], [])
    return out
for _ in range(7):
    assert begin().getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 111
for _ in range(5):
    assert begin().connect_ex(closed.getsockname()) == 111
for _ in range(3):
    begin().close()
for _ in range(2):
    assert socket.socket().connect_ex(closed.getsockname()) == 111
"""
    result = python(denet, script)
    assert counts(result, "failures") == {"ECONNREFUSED": 17}
    assert result.value("network.connects") == 0
    assert result.value("network.resets") == 0, "refused is not reset"


def test_established_without_waiting(tier, denet):
    script = SPECIAL + """
import select
listener = socket.create_server(("::1", 0), family=socket.AF_INET6)
for _ in range(13):
    out = socket.socket(socket.AF_INET6)
    out.setblocking(False)
    assert out.connect_ex(listener.getsockname()) in (0, 115)
    select.select([], [out], [])
    assert out.connect_ex(listener.getsockname()) in (0, 106)
    end, _ = listener.accept()
    end.close()
    out.close()
"""
    result = python(denet, script)
    assert result.value("network.connects") == 13 and result.value("network.accepts") == 13
    assert network(result)["connect_latency"]["count"] == 13
    assert set(counts(result, "failures")) <= {"EISCONN"}


def test_other_failures(tier, denet):
    script = SPECIAL + """
def fails(call, error):
    try:
        call()
    except OSError as e:
        assert e.errno == error, e
    else:
        raise AssertionError("no error")
for _ in range(3):
    fails(lambda: socket.socket(socket.AF_UNIX).connect("/nonexistent/socket"), 2)
left, right = socket.socketpair()
right.close()
for _ in range(5):
    fails(lambda: left.send(b"x"), 32)
datagram = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
fails(lambda: datagram.send(b"x"), 89)
out, end = tcp()
end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
end.close()
fails(lambda: out.recv(1), 104)
r, w = os.pipe()
os.close(r)
fails(lambda: os.write(w, b"no socket"), 32)
"""
    result = python(denet, script)
    assert counts(result, "failures") == {"ENOENT": 3, "EPIPE": 5, "EDESTADDRREQ": 1, "ECONNRESET": 1}


def test_resets(tier, denet):
    """Each is sent by one end and received by the other."""
    script = SPECIAL + """
for _ in range(7):
    out, end = tcp()
    out.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    out.sendall(b"x" * 31)
    assert len(end.recv(31, socket.MSG_WAITALL)) == 31
    out.close()
    end.close()
for _ in range(5):
    out, end = tcp()
    out.sendall(b"x" * 17)
    end.recv(1, socket.MSG_PEEK)
    end.close()
    out.close()
"""
    result = python(denet, script)
    assert result.value("network.resets") == 2 * 12
    assert result.value("network.tx_bytes") == result.value("network.rx_bytes") == 7 * 31 + 5 * 17


def test_retransmits_are_those_of_the_kernel(tier, denet):
    """Segments are thrown away by a socket filter of the receiver until some were sent again."""
    script = SPECIAL + """
import time
def info(sock):
    data = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
    return struct.unpack_from("I", data, 100)[0]
out, end = tcp()
drop = ctypes.create_string_buffer(struct.pack("HBBI", 6, 0, 0, 0))
end.setsockopt(socket.SOL_SOCKET, 26, struct.pack("HxxxxxxP", 1, ctypes.addressof(drop)))
out.sendall(b"x" * 997)
while info(out) < 3:
    time.sleep(0.01)
end.setsockopt(socket.SOL_SOCKET, 27, 0)
assert len(end.recv(997, socket.MSG_WAITALL)) == 997
end.send(b"y")
out.recv(1)
emit(retransmits=info(out) + info(end))
out.close()
end.close()
"""
    result = python(denet, script)
    assert result.truth["retransmits"] >= 3
    assert result.value("network.retransmits") == result.truth["retransmits"]
    assert result.value("network.tx_bytes") == 998, "each byte once"
    assert result.value("network.rx_bytes") == 998


def test_how_long_messages_wait(tier, denet):
    """Each is there for 5 ms and more before anybody takes it: the receiver sleeps after it was told so."""
    script = SPECIAL + """
import time
for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET):
    left, right = socket.socketpair(socket.AF_UNIX, kind)
    told, tell = os.pipe()
    if os.fork() == 0:
        for _ in range(13):
            os.read(told, 1)
            time.sleep(0.005)
            assert len(right.recv(100)) == 37
            os.write(right.fileno(), b"done")
        os._exit(0)
    for _ in range(13):
        left.send(b"x" * 37)
        os.write(tell, b"!")
        left.recv(100)
    os.wait()
"""
    result = python(denet, script)
    latency = network(result)["unix_latency"]
    assert latency["count"] == 2 * 3 * 13
    waited = sum(n for upper, n in latency["buckets"] if upper >= 5_000_000)
    assert waited >= 3 * 13, latency
    assert latency["max"] < result.summary["wall_ns"]
    assert result.quality("network.unix_latency") == "sampled"


def echo_server(denet, background):
    """A server with a connection that has carried 100 bytes each way, and the listening address."""
    script = """
import os, socket, sys
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
first = listener.accept()[0]
first.sendall(first.recv(100, socket.MSG_WAITALL))
print("there", flush=True)
while True:
    want = sys.stdin.readline().split()
    if not want:
        break
    end = first if want[0] == "first" else listener.accept()[0]
    end.sendall(end.recv(int(want[1]), socket.MSG_WAITALL))
    print("done", flush=True)
    if want[0] != "first":
        end.close()
"""
    server = background([sys.executable, "-c", script], text=True)
    client = socket.create_connection(("127.0.0.1", int(server.stdout.readline())))
    client.sendall(b"x" * 100)
    assert len(client.recv(100, socket.MSG_WAITALL)) == 100
    assert server.stdout.readline() == "there\n"
    return server, client


def ask(server, sock, want, n):
    server.stdin.write(f"{want} {n}\n")
    server.stdin.flush()
    sock.sendall(b"z" * n)
    assert len(sock.recv(n, socket.MSG_WAITALL)) == n
    assert server.stdout.readline() == "done\n"


def test_a_server_that_runs_already(tier, denet, background):
    """Its old connection counts from now on, and new ones however short; the clients are not measured."""
    server, client = echo_server(denet, background)
    attached = denet.attach_start([str(server.pid)], OPTIONS)
    for i in range(5):
        ask(server, client, "first", 1009)
    for i in range(23):
        with socket.create_connection(client.getpeername()) as short:
            ask(server, short, "next", 503)
    attached.send_signal(signal.SIGINT)
    result = denet.finish(attached, attached.out)
    total = 5 * 1009 + 23 * 503
    assert result.value("network.rx_bytes") == result.value("network.tx_bytes") == total
    assert result.quality("network.rx_bytes") == result.quality("network.tx_bytes") == "exact", result.state("network.rx_bytes")
    assert result.value("network.accepts") == 23 and result.value("network.connects") == 0
    assert network(result)["by_protocol"]["tcp"]["rx_bytes"] == total
    assert network(result)["by_protocol"]["tcp"]["tx_bytes"] == total
    assert result.value("network.sockets") == 1


def test_a_connection_that_the_command_inherits(tier, denet):
    listener = socket.create_server(("127.0.0.1", 0))
    out = socket.create_connection(listener.getsockname())
    end, _ = listener.accept()
    out.sendall(b"x" * 1000)
    assert len(end.recv(1000, socket.MSG_WAITALL)) == 1000
    script = "import os; os.write(0, b'r'); n = sum(iter(lambda: len(os.read(0, 4096)), 0)); print(n)"
    path = denet.path("stream.jsonl")
    process = denet.popen(denet.argv(OPTIONS, [sys.executable, "-c", script], path), stdin=end)
    end.close()
    assert out.recv(1) == b"r"
    out.sendall(b"y" * 701)
    out.shutdown(socket.SHUT_WR)
    result = denet.finish(process, path)
    assert result.stdout == b"701\n"
    assert (result.value("network.rx_bytes"), result.value("network.tx_bytes")) == (701, 1)
    assert result.quality("network.rx_bytes") == "exact", result.state("network.rx_bytes")


def test_a_connection_that_is_handed_over(tier, denet, background):
    """What it had carried before is not known: a lower bound, and not more than the truth."""
    path = denet.path("handed.sock")
    script = """
import socket, sys
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
print("ready", flush=True)
giver = listener.accept()[0]
_, fds, _, _ = socket.recv_fds(giver, 1, 1)
end = socket.socket(fileno=fds[0])
total = 0
while data := end.recv(4096):
    end.sendall(data)
"""
    taker = background([sys.executable, "-c", script, path], text=True)
    assert taker.stdout.readline() == "ready\n"
    attached = denet.attach_start([str(taker.pid)], OPTIONS)
    listener = socket.create_server(("127.0.0.1", 0))
    out = socket.create_connection(listener.getsockname())
    end, _ = listener.accept()
    out.sendall(b"x" * 500)
    assert len(end.recv(500, socket.MSG_WAITALL)) == 500
    giver = socket.socket(socket.AF_UNIX)
    giver.connect(path)
    socket.send_fds(giver, [b"!"], [end.fileno()])
    end.close()
    for _ in range(11):
        out.sendall(b"y" * 101)
        assert len(out.recv(101, socket.MSG_WAITALL)) == 101
    out.close()
    taker.wait()
    result = denet.finish(attached, attached.out)
    assert 10 * 101 <= result.value("network.rx_bytes") <= 11 * 101
    assert 10 * 101 <= result.value("network.tx_bytes") <= 11 * 101
    assert result.quality("network.rx_bytes") == "lower_bound"
    assert network(result)["by_protocol"]["tcp"] == {"rx_bytes": 1111, "tx_bytes": 1111, "rx_calls": 12, "tx_calls": 11}


def test_what_goes_through_io_uring_is_not_claimed(tier, denet):
    script = """
import ctypes
libc = ctypes.CDLL(None)
libc.syscall(425, 1, ctypes.create_string_buffer(120))
"""
    result = python(denet, script)
    assert result.quality("network.by_protocol") == "lower_bound"
    assert "io_uring" in result.state("network.by_protocol")["reason"]


def test_while_it_runs(tier, denet):
    """Counters of live connections are in the samples, and never fall."""
    script = SPECIAL + """
import sys
out, end = tcp()
for line in sys.stdin:
    out.sendall(b"x" * 101)
    end.recv(101, socket.MSG_WAITALL)
"""
    path = denet.path("stream.jsonl")
    options = [*OPTIONS, "-i", "20", "--detail", "--per-process"]
    process = denet.popen(denet.argv(options, [sys.executable, "-c", script], path), stdin=-1)

    def shown(total):
        text = pathlib.Path(path).read_bytes() if os.path.exists(path) else b""
        return process.poll() is not None or b'"rx_bytes":%d,' % total in text

    for i in range(1, 6):
        process.stdin.write(b"\n")
        process.stdin.flush()
        wait_until(lambda: shown(i * 101))
    result = denet.finish(process, path)
    series = [v for v in result.series("network.rx_bytes") if v is not None]
    assert series == sorted(series) and set(series) >= {i * 101 for i in range(1, 5)}
    assert result.value("network.rx_bytes") == 5 * 101
    assert 2 in result.series("network.sockets")
    own = [p["network"]["rx_bytes"] for s in result.samples for p in s["processes"] if "network" in p]
    assert own == sorted(own) and own[-1] == 5 * 101


def test_off_when_not_asked_for(tier, denet):
    result = denet.run(["connects", "3", "2", "1"])
    assert result.quality("network.connects") == "missing"
    assert result.state("network.rx_bytes")["source"] == "sock_diag"

# SPDX-License-Identifier: Apache-2.0
"""denet bpf: a program, a map and a link that are known are found, with their owner, their memory and their runs."""
import json
import os
import pathlib
import re
import signal
import subprocess

import pytest
from conftest import IS_ROOT, needs_root, strict_json, wait_until
from terminal import Terminal

SETTING = pathlib.Path("/proc/sys/kernel/bpf_stats_enabled")
RUNS = 1009


def can_load():
    """Whether this kernel lets root load programs at all (it does not under qemu-user)."""
    return IS_ROOT and subprocess.run(["bpftool", "prog", "list"], capture_output=True).returncode == 0


needs_bpf = pytest.mark.skipif(not can_load(), reason="needs root and a kernel that lets it list BPF programs")


class Holder:
    """The workload that holds known objects."""

    def __init__(self, background, denet, *arguments):
        self.process = background([denet.workload("bpfobjects"), *arguments])
        self.ids = json.loads(self.process.stdout.readline())

    def tell(self, line):
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == b"done\n"


def listing(denet, *arguments):
    result = denet.call("bpf", "--json", *arguments)
    assert result.rc == 0, result.stderr
    lines = result.stdout.split(b"\n")
    assert lines.pop() == b"" and len(lines) == 1
    return strict_json(lines[0])


def of(rows, number):
    found = [row for row in rows if row["id"] == number]
    assert len(found) == 1
    return found[0]


@needs_bpf
def test_known_objects_and_their_owner(denet, background):
    holder = Holder(background, denet, "dn-holder")
    ids, document = holder.ids, listing(denet)
    owner = {"pid": ids["pid"], "name": "dn-holder", "by": "itself"}
    program = of(document["programs"], ids["filter"])
    assert (program["type"], program["name"], program["map_ids"], program["loaded_uid"]) == ("socket_filter", "dn_known", [ids["map"]], os.geteuid())
    assert program["translated_bytes"] == 32 and program["memory_bytes"] >= 4096 and re.fullmatch("[0-9a-f]{16}", program["tag"])
    assert program["attached"] == [] and program["owners"] == [owner] and program["pinned"] == []
    uptime_ns = float(pathlib.Path("/proc/uptime").read_text().split()[0]) * 1e9
    assert 0 < program["loaded_ns"] <= uptime_ns + 1e9
    tracing = of(document["programs"], ids["tracing"])
    assert tracing["attached"] == [{"link_id": ids["link"], "type": "raw_tracepoint", "attach_type": None, "target": "sched_process_exec"}]
    table = of(document["maps"], ids["map"])
    assert (table["type"], table["name"], table["key_bytes"], table["value_bytes"], table["max_entries"]) == ("array", "dn_known_map", 4, 8192, ids["entries"])
    assert 8192 * ids["entries"] <= table["memory_bytes"] < 2 * 8192 * ids["entries"]
    assert table["frozen"] is False and table["owners"] == [owner]
    link = of(document["links"], ids["link"])
    assert (link["type"], link["prog_id"], link["target"], link["owners"]) == ("raw_tracepoint", ids["tracing"], "sched_process_exec", [owner])
    totals = document["totals"]
    assert (totals["programs"], totals["maps"], totals["links"]) == tuple(len(document[kind]) for kind in ("programs", "maps", "links"))
    assert totals["map_bytes"] == sum(row["memory_bytes"] for row in document["maps"])


@needs_bpf
def test_the_same_as_bpftool(denet, background):
    Holder(background, denet)
    document = listing(denet)
    for kind, rows in (("prog", document["programs"]), ("map", document["maps"]), ("link", document["links"])):
        theirs = json.loads(subprocess.run(["bpftool", "-j", kind, "list"], capture_output=True, check=True).stdout)
        common = {row["id"] for row in theirs} & {row["id"] for row in rows}
        assert common
        for row in theirs:
            if row["id"] not in common or kind == "link":
                continue
            mine = of(rows, row["id"])
            # What a map that allocates as it fills holds is another's business, and may have changed between the two looks.
            if kind == "prog" or not row["flags"] & 1:
                assert mine["memory_bytes"] == row["bytes_memlock"], (mine, row)
            assert mine["type"] == row["type"]
            if kind == "prog":
                assert (mine["tag"], mine["jited_bytes"], mine["translated_bytes"]) == (row["tag"], row["bytes_jited"], row["bytes_xlated"])


@needs_bpf
def test_a_map_is_its_programs_and_a_program_its_links(denet, background):
    holder = Holder(background, denet)
    holder.tell("link")
    holder.tell("drop")
    ids, document = holder.ids, listing(denet)
    assert ids["filter"] not in [row["id"] for row in document["programs"]]
    assert [(o["pid"], o["by"]) for o in of(document["programs"], ids["tracing"])["owners"]] == [(ids["pid"], "link")]
    assert [(o["pid"], o["by"]) for o in of(document["maps"], ids["map"])["owners"]] == [(ids["pid"], "program")]


@needs_bpf
def test_what_is_pinned_outlives_its_owner(denet, background):
    """In a mount namespace of the test's own, so that nothing is left behind."""
    inside = "mount -t bpf none /sys/fs/bpf && { echo pin /sys/fs/bpf; } | \"$1\" >ids && exec \"$2\" bpf --json"
    result = denet.finish(denet.popen(["unshare", "-m", "sh", "-ec", inside, "sh", denet.workload("bpfobjects"), str(denet.program)]))
    assert result.rc == 0, result.stderr
    ids, document = json.loads((denet.folder / "ids").read_text().splitlines()[0]), strict_json(result.stdout.strip())
    program = of(document["programs"], ids["filter"])
    assert program["owners"] == [] and program["pinned"] == [{"path": "/sys/fs/bpf/filter", "by": "itself"}]
    assert of(document["maps"], ids["map"])["pinned"] == [{"path": "/sys/fs/bpf/filter", "by": "program"}]


def is_measured(denet, holder):
    """Whether a run is counted just now."""
    before = of(listing(denet)["programs"], holder.ids["filter"])["runs"] or 0
    holder.tell("run 1")
    return (of(listing(denet)["programs"], holder.ids["filter"])["runs"] or 0) > before


def is_off(denet, holder):
    """Off again, as far as it depends on denet: an administrator may have them on for good."""
    return SETTING.read_text().strip() == "1" or not is_measured(denet, holder)


class Watch:
    def __init__(self, denet, *arguments):
        self.process = denet.popen([str(denet.program), "bpf", *arguments])

    def object(self):
        return strict_json(self.process.stdout.readline().rstrip(b"\n"))

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        stdout, stderr = self.process.communicate(timeout=60)
        assert b"AddressSanitizer" not in stderr
        return stdout, stderr, self.process.returncode


@needs_bpf
def test_watch_counts_runs(denet, background):
    holder = Holder(background, denet)
    number = holder.ids["filter"]
    watch = Watch(denet, "--json", "--watch", "50")
    first = watch.object()
    assert first["interval_ns"] > 0
    before = of(first["programs"], number)
    assert before["interval"]["runs"] == 0 and before["runs"] == 0, "statistics are on: 0 is a measurement"
    for _ in range(3):
        holder.tell(f"run {RUNS}")
    seen, ns, total = 0, 0, before["runs"]
    while total - before["runs"] < 3 * RUNS:
        document = watch.object()
        program = of(document["programs"], number)
        seen, ns, total = seen + program["interval"]["runs"], ns + program["interval"]["run_ns"], program["runs"]
        assert document["totals"]["interval"]["runs"] >= program["interval"]["runs"]
    assert total - before["runs"] == seen == 3 * RUNS
    assert ns == program["run_ns"] - before["run_ns"] > 0
    stdout, stderr, status = watch.end()
    assert status == 0 and stderr == b""
    assert all(strict_json(line) for line in stdout.splitlines())
    wait_until(lambda: is_off(denet, holder))


@needs_bpf
def test_without_statistics_nothing_is_0(denet, background):
    holder = Holder(background, denet)
    wait_until(lambda: is_off(denet, holder))
    if SETTING.read_text().strip() == "1":
        return

    def unmeasured():
        """Somebody else may have statistics on for a while."""
        fresh = Holder(background, denet)
        fresh.tell(f"run {RUNS}")
        program = of(listing(denet)["programs"], fresh.ids["filter"])
        return program["runs"] is None and program["run_ns"] is None

    wait_until(unmeasured)
    result = denet.call("bpf")
    assert result.rc == 0 and b"they are off now" in result.stdout


@needs_bpf
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_watch_ends_by_signals(denet, number):
    watch = Watch(denet, "--json", "--watch", "20")
    watch.object()
    watch.process.send_signal(number)
    stdout, stderr = watch.process.communicate(timeout=60)
    assert (watch.process.returncode, stderr) == (0, b"")
    assert stdout == b"" or stdout.endswith(b"\n")


@needs_bpf
def test_watch_ends_with_its_reader(denet, background):
    """At once, though the interval is an hour: statistics don't stay on for nobody."""
    holder = Holder(background, denet)
    for arguments in (["--watch", "3600000"], ["--json", "--watch", "10"]):
        watch = Watch(denet, *arguments)
        wait_until(lambda: is_measured(denet, holder))
        watch.process.stdout.close()
        assert watch.process.wait(timeout=60) == 0
        assert watch.process.stderr.read() == b""
        wait_until(lambda: is_off(denet, holder))


@needs_bpf
def test_watch_that_is_killed_leaves_statistics_off(denet, background):
    holder = Holder(background, denet)
    watch = Watch(denet, "--watch", "3600000")
    wait_until(lambda: is_measured(denet, holder))
    watch.process.kill()
    watch.process.communicate(timeout=60)
    wait_until(lambda: is_off(denet, holder))


@needs_bpf
def test_a_reader_that_reads_nothing_is_no_prison(denet, background):
    """The pipe is full and denet waits in it: a signal still ends it."""
    holder = Holder(background, denet)
    watch = Watch(denet, "--json", "--watch", "1")
    wait_until(lambda: watch.process.poll() is not None or is_measured(denet, holder))
    assert watch.process.poll() is None, (watch.process.returncode, watch.process.stderr.read()[-2000:])
    # It waits in ppoll() without a time limit: for room in the pipe, not for the next interval.
    wait_until(lambda: pathlib.Path(f"/proc/{watch.process.pid}/syscall").read_text().split()[3:4] == ["0x0"])
    watch.process.terminate()
    assert watch.process.wait(timeout=60) == 0
    watch.process.stdout.close()


@needs_bpf
def test_once_into_a_closed_pipe(denet):
    reader, writer = os.pipe()
    os.close(reader)
    process = denet.popen([str(denet.program), "bpf"], stdout=writer)
    os.close(writer)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGPIPE or (process.returncode == 1 and b"Broken pipe" in stderr)
    if os.path.exists("/dev/full"):
        with open("/dev/full", "wb") as full:
            process = denet.popen([str(denet.program), "bpf"], stdout=full)
            _, stderr = process.communicate(timeout=60)
        assert process.returncode == 1 and b"No space left" in stderr


@needs_root
def test_as_nobody(denet):
    for arguments in (["bpf"], ["bpf", "--json"], ["bpf", "--watch"]):
        result = denet.call(*arguments, nobody=True)
        assert result.rc == 1 and result.stdout == b""
        lines = result.stderr.decode().splitlines()
        assert len(lines) == 1, lines
        assert lines[0].startswith("denet: cannot list BPF objects: "), lines
        assert "CAP_SYS_ADMIN" in lines[0] or "without bpf(2)" in lines[0]


@needs_bpf
@pytest.mark.parametrize("name", ["\x1b[31mred", "a\x9bb", "\u202ebidi", "quote\"\\"])
def test_hostile_owner(denet, background, name):
    Holder(background, denet, name)
    for arguments in (["bpf"], ["bpf", "--color", "never"]):
        result = denet.call(*arguments)
        text = result.stdout.decode("utf-8", "strict")
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e]", text), ascii(text)
    names = [owner["name"] for program in listing(denet)["programs"] for owner in program["owners"]]
    assert any(name[:15] in (other, other[:15]) for other in names), names


@needs_bpf
@pytest.mark.parametrize("columns", [60, 80, 132])
def test_on_a_terminal_it_fits(denet, background, columns):
    Holder(background, denet, "w" * 15)
    with Terminal([str(denet.program), "bpf", "--color", "never"], columns=columns) as terminal:
        assert terminal.wait() == 0
        lines = terminal.text().replace("\r", "").splitlines()
    rows = [line for line in lines if re.match(r" *(ID|\d+)  ", line)]
    assert len(rows) >= 7 and any("www" in row for row in rows)
    assert max(map(len, rows)) <= columns, rows


@needs_bpf
def test_watch_redraws_a_terminal(denet, background):
    holder = Holder(background, denet)
    with Terminal([str(denet.program), "bpf", "--watch", "20", "--color", "never"], rows=9) as terminal:
        for _ in range(3):
            page = terminal.expect("\x1b[H\x1b[J")
            assert page.count(b"\n") <= 9, page
        os.kill(terminal.pid, signal.SIGINT)
        assert terminal.wait() == 0
    assert holder.process.poll() is None


@pytest.mark.parametrize("arguments", [["--watch", "0"], ["--watch=x"], ["--watch", "3600001"], ["7"], ["--watch="]])
def test_wrong_arguments(denet, arguments):
    result = denet.call("bpf", *arguments)
    assert result.rc == 2 and result.stdout == b"" and len(result.stderr.splitlines()) == 1

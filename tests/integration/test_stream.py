# SPDX-License-Identifier: Apache-2.0
"""The stream, the table and the other subcommands: what they say agrees with each other."""
import csv
import json
import pathlib
import re
import subprocess

import pytest
from conftest import NOBODY, ROOT, IS_ROOT, Stream, needs_root, without_leak_check

pytestmark = pytest.mark.short


def test_header_says_what_machine_this_is(denet):
    result = denet.run(["tiny"])
    host = result.header["host"]
    assert host["kernel"] == subprocess.run(["uname", "-r"], capture_output=True, text=True).stdout.strip()
    assert host["hostname"] == subprocess.run(["uname", "-n"], capture_output=True, text=True).stdout.strip()
    assert host["arch"] == subprocess.run(["uname", "-m"], capture_output=True, text=True).stdout.strip()
    assert host["cpus_online"] == int(subprocess.run(["getconf", "_NPROCESSORS_ONLN"], capture_output=True).stdout)
    allowed = re.search(r"Cpus_allowed_list:\s*(\S+)", pathlib.Path("/proc/self/status").read_text()).group(1)
    assert host["affinity"] == allowed
    total = int(re.search(r"MemTotal:\s*(\d+)", pathlib.Path("/proc/meminfo").read_text()).group(1)) * 1024
    assert host["memory_bytes"] == total
    thp = pathlib.Path("/sys/kernel/mm/transparent_hugepage/enabled")
    assert host["thp"] == (re.search(r"\[(\w+)\]", thp.read_text()).group(1) if thp.exists() else None)
    assert result.header["mode"] == "run" and result.header["command"] == [denet.workload("tiny")]
    assert result.header["cwd"] == str(denet.folder)


@pytest.mark.parametrize("nobody", [pytest.param(False, marks=needs_root, id="root"), pytest.param(True, id="nobody")])
def test_header_says_what_we_may(denet, nobody):
    result = denet.run(["tiny"], nobody=nobody)
    privileges = result.header["privileges"]
    if nobody and IS_ROOT:
        assert privileges["euid"] == 65534 and privileges["capabilities"] == [] and privileges["no_new_privs"] is True
    if not nobody:
        assert privileges["euid"] == 0 and "cap_sys_admin" in privileges["capabilities"]
    assert privileges["perf_event_paranoid"] == int(pathlib.Path("/proc/sys/kernel/perf_event_paranoid").read_text())


@needs_root
def test_header_follows_affinity_and_cgroup(denet, cpu_group):
    result = denet.run(["tiny"], prefix=["taskset", "-c", "0"])
    assert result.header["host"]["affinity"] == "0"
    own = pathlib.Path("/proc/self/cgroup").read_text()
    assert any(line.endswith(result.header["host"]["cgroup"]["path"]) for line in own.splitlines())


def test_every_registry_metric_is_declared_once(denet, registry):
    result = denet.run(["tiny"])
    assert set(result.header["metrics"]) == {name for name, row in registry.items() if row["default"]}


def test_missing_metrics_say_why(denet):
    result = denet.run(["tiny"])
    for name, state in result.header["metrics"].items():
        if state["quality"] == "missing":
            assert len(state["reason"]) > 5, name


def test_chosen_metrics_only(denet):
    result = denet.run(["tiny"], ["--metrics", "cpu,memory.rss_bytes"])
    assert all(name.startswith("cpu.") or name == "memory.rss_bytes" for name in result.header["metrics"])
    assert "memory.rss_bytes" in result.header["metrics"]


def test_what_is_not_wanted_is_not_read(denet):
    """Without --metrics io and network, no io file is opened and no socket is made."""
    trace = denet.path("trace")
    subprocess.run(["strace", "-o", trace, "-e", "trace=openat,socket", str(denet.program), "run", "-q", "-i", "10", "-o", denet.path("s"), "--metrics", "memory.rss_bytes", "--", denet.workload("burn"), "101"], check=True, env=without_leak_check())
    text = pathlib.Path(trace).read_text()
    for word in ("/io\"", "\"io\"", "smaps_rollup", "socket(AF_NETLINK", "pressure"):
        assert word not in text, word


@pytest.mark.parametrize("tier", ["procfs", "perf"])
def test_forced_tier_is_the_tier(denet, tier):
    result = denet.run(["burn", "53"], ["--backend", tier])
    assert result.header["tier"] == tier
    if tier == "procfs":
        assert not (result.backend("perf") and result.backend("perf")["state"] == "active")


def test_forced_tier_that_is_refused_is_an_error_with_a_hint(denet):
    result = denet.finish(denet.popen([denet.workload("denysys"), "1", "perf_event_open", str(denet.program), "run", "--backend", "perf", "--", "touch", str(denet.folder / "ran")]))
    assert result.rc == 125 and not (denet.folder / "ran").exists()
    assert b"perf" in result.stderr


def test_tier_that_is_not_to_be_had(denet):
    """Not built, or not for a user without capabilities: forced, that is an error, and the command does not run."""
    result = denet.call("run", "--backend", "ebpf", "--", "touch", "ran", nobody=True)
    assert result.rc == 125 and b"ebpf" in result.stderr and not (denet.folder / "ran").exists()


def test_nothing_comes_after_the_summary(denet):
    """The command lives on, is reaped, and its end is not part of what was measured."""
    result = denet.run(["sleeps", "1", "500000"], ["--process-events", "--duration", "0.1"])
    assert result.rc == 0 and result.summary["ended_by"] == "duration"
    assert result.stream.records[-1]["kind"] == "summary"
    assert "exit" not in [event["event"] for event in result.events]


def test_interval_is_kept_and_ramps(denet):
    result = denet.run(["sleeps", "101", "10000"], ["-i", "50"])
    assert result.header["interval_ns"] == 50000000
    assert len(result.samples) >= 5
    assert sum(s["interval_ns"] for s in result.samples) <= result.summary["wall_ns"] + 1000
    for before, after in zip(result.samples, result.samples[1:]):
        assert after["t_ns"] - before["t_ns"] == after["interval_ns"]


def test_last_sample_and_summary_agree(denet):
    result = denet.run(["forkstorm", "101", "1"])
    assert result.summary["tree"]["cpu"]["total_ns"] >= result.samples[-1]["tree"]["cpu"]["total_ns"] if result.samples else True


def test_very_short_command_has_a_summary_and_totals(denet):
    result = denet.run(["tiny"])
    assert result.value("cpu.total_ns") > 0
    assert result.quality("memory.peak_rss_bytes") == "missing" or result.value("memory.peak_rss_bytes") > 100000


def test_per_process_rows(denet):
    result = denet.run(["sh", "-c", f"{denet.workload('burn')} 211 & {denet.workload('burn')} 211; wait"], ["--per-process", "-i", "20"])
    rows = [p for s in result.samples for p in s["processes"]]
    assert len({row["pid"] for row in rows if row["name"] == "burn"}) == 2
    for sample in result.samples:
        assert len(sample["processes"]) == len({p["pid"] for p in sample["processes"]})
    plain = denet.run(["burn", "53"], ["-i", "20"])
    assert not any("processes" in s for s in plain.samples)


def test_process_events_are_asked_for(denet):
    result = denet.run(["sh", "-c", "true; /bin/true; exit 3"], ["--process-events"])
    kinds = [e["event"] for e in result.events]
    if result.quality("process.started") == "exact":
        assert kinds.count("exec") >= 2 and kinds.count("exit") >= 2
        own = [e for e in result.events if e["event"] == "exit" and e["pid"] == result.header["pid"]]
        assert not own or own[0].get("code") in (3, None)
    assert not [e for e in denet.run(["sh", "-c", "/bin/true; true"]).events if e["event"] in ("fork", "exec", "exit")]


def test_commands_are_added_up_by_name(denet):
    result = denet.run(["sh", "-c", f"for i in 1 2 3 4 5; do {denet.workload('burn')} 11; done"])
    rows = {row["name"]: row for row in result.summary["commands"]}
    if result.quality("process.started") == "exact":
        assert rows["burn"]["count"] == 5
        assert rows["burn"]["cpu_ns"] is None or rows["burn"]["cpu_ns"] >= 0.99 * 55e6


# CSV

def test_csv_has_a_row_per_sample(denet):
    path = denet.path("x.csv")
    assert denet.call("run", "-q", "-i", "20", "-o", path, "--", denet.workload("burn"), "211").rc == 0
    rows = list(csv.DictReader(open(path, newline="")))
    assert len(rows) >= 3
    totals = [int(row["tree.cpu.total_ns"] if "tree.cpu.total_ns" in row else row["cpu.total_ns"]) for row in rows]
    assert totals == sorted(totals) and totals[-1] >= 200e6


def test_format_option_beats_the_extension(denet):
    path = denet.path("x.csv")
    assert denet.call("run", "-q", "--format", "json", "-o", path, "--", "true").rc == 0
    Stream(pathlib.Path(path).read_bytes(), denet.checker)
    path = denet.path("x.txt")
    assert denet.call("run", "-q", "--format", "csv", "-o", path, "--", "true").rc == 0
    assert pathlib.Path(path).read_bytes()[:1] != b"{"


# doctor, metrics

@pytest.mark.parametrize("nobody", [pytest.param(False, marks=needs_root, id="root"), pytest.param(True, id="nobody")])
def test_doctor_agrees_with_a_run(denet, registry, nobody):
    document = denet.call("doctor", "--json", nobody=nobody)
    assert document.rc == 0
    said = json.loads(document.stdout)
    states = said["metrics"] if isinstance(said["metrics"], dict) else {row["name"]: row for row in said["metrics"]}
    assert set(states) >= set(registry)
    header = denet.run(["tiny"], nobody=nobody).header["metrics"]
    for name in header:
        assert (states[name]["quality"] == "missing") == (header[name]["quality"] == "missing"), (name, states[name], header[name])


def test_doctor_for_people(denet):
    result = denet.call("doctor")
    assert result.rc == 0 and result.stderr == b""
    text = result.stdout.decode()
    assert "cpu.total_ns" in text and "hw.cycles" in text and "\x1b" not in text
    assert all(len(line) <= 120 for line in text.splitlines())


@pytest.mark.parametrize("nobody", [pytest.param(False, marks=needs_root, id="root"), pytest.param(True, id="nobody")])
def test_doctor_tells_of_each_probe_group(denet, registry, nobody):
    said = json.loads(denet.call("doctor", "--json", nobody=nobody).stdout)
    groups = {row["name"]: row for row in said["probes"]}
    assert set(groups) == {row["group"] for row in registry.values() if row["group"]}
    text = denet.call("doctor", nobody=nobody).stdout.decode()
    for name, group in groups.items():
        metrics = {metric for metric, row in registry.items() if row["group"] == name}
        missing = {metric for metric in metrics if said["metrics"][metric]["quality"] == "missing"}
        assert set(group["missing"]) == missing
        assert group["state"] == ("works" if not missing else "missing" if missing == metrics else "in part"), name
        assert bool(missing) == ("reason" in group)
        assert re.search(rf"^  {group['state']} +{name}{'[*]' if group['default'] else ''}: ", text, re.MULTILINE), name


def test_doctor_names_the_smallest_grant(denet):
    result = denet.call("doctor", nobody=True)
    text = result.stdout.decode()
    assert "sysctl" not in text.lower(), "never a host-wide switch when a capability serves"
    assert "cap_sys_admin" not in text.lower()


def test_doctor_knows_a_refusing_filter(denet):
    result = denet.finish(denet.popen([denet.workload("denysys"), "1", "perf_event_open", *(NOBODY if IS_ROOT else []), str(denet.program), "doctor"]))
    assert result.rc == 0 and b"perf_event_open" in result.stdout


def test_doctor_without_proc_fails(denet):
    result = denet.call("doctor", "--proc", "/nonexistent")
    assert result.rc == 1


def test_generated_documents_are_up_to_date(denet):
    for option, path in (("--markdown", "metrics.md"), ("--schema", "schema.json")):
        made = denet.call("metrics", option).stdout
        assert (ROOT / "docs" / path).read_bytes() == made, f"denet metrics {option} > docs/{path}"


def test_metrics_for_people_has_every_row(denet, registry):
    text = denet.call("metrics").stdout.decode()
    assert all(name in text for name in registry)


@pytest.mark.parametrize("arguments", [["doctor"], ["doctor", "--json"], ["metrics"], ["metrics", "--json"], ["metrics", "--markdown"], ["metrics", "--schema"], ["help"], ["--version"]])
def test_output_into_a_full_device_is_an_error(denet, arguments):
    with open("/dev/full", "wb") as full:
        process = subprocess.run([denet.program, *arguments], stdout=full, stderr=subprocess.PIPE)
    assert process.returncode == 1 and process.stderr.startswith(b"denet: ")


# stats on what we made

def totals_of(document):
    text = json.dumps(document)
    return text


def test_stats_on_our_own_stream(denet):
    path = denet.path("own.jsonl")
    assert denet.call("run", "-q", "-i", "10", "-o", path, "--", denet.workload("forkstorm"), "101", "2").rc == 0
    stream = Stream(pathlib.Path(path).read_bytes(), denet.checker)
    human = denet.call("stats", path)
    assert human.rc == 0 and human.stderr == b"" and len(human.stdout.splitlines()) > 5
    document = json.loads(denet.call("stats", path, "--json").stdout)
    assert str(stream.value("cpu.total_ns")) in totals_of(document)


def test_stats_from_a_pipe_equals_that_from_the_file(denet):
    path = denet.path("own.jsonl")
    assert denet.call("run", "-q", "-i", "10", "-o", path, "--", denet.workload("burn"), "101").rc == 0
    from_file = json.loads(denet.call("stats", "--json", path).stdout)
    from_pipe = json.loads(subprocess.run([denet.program, "stats", "--json", "-"], input=pathlib.Path(path).read_bytes(), capture_output=True).stdout)
    for document in (from_file, from_pipe):
        document.pop("file", None)
    assert from_file == from_pipe


def test_stats_of_a_torn_file_says_so(denet):
    path = pathlib.Path(denet.path("torn.jsonl"))
    assert denet.call("run", "-q", "-i", "10", "-o", str(path), "--", denet.workload("burn"), "101").rc == 0
    data = path.read_bytes()
    lines = data.split(b"\n")
    size = len(data) - len(lines[-2]) // 2 - 1
    path.write_bytes(data[:size])
    result = denet.call("stats", str(path))
    assert result.rc == 0
    said = result.stderr + result.stdout
    assert b"torn" in said.lower() or b"incomplete" in said.lower() or b"cut" in said.lower(), said


def test_stats_of_a_file_cut_anywhere(denet):
    path = pathlib.Path(denet.path("cut.jsonl"))
    assert denet.call("run", "-q", "-i", "20", "-o", str(path), "--", denet.workload("burn"), "53").rc == 0
    data = path.read_bytes()
    for size in [0, 1, 8, 64, 256, len(data) * 3 // 4, *range(len(data) - 4096, len(data), 173)]:
        if size < 0:
            continue
        path.write_bytes(data[:size])
        result = denet.call("stats", str(path))
        assert result.rc in (0, 1), (size, result.rc, result.stderr)
        assert result.rc == 0 or result.stderr.startswith(b"denet: ")


@pytest.mark.parametrize("path, code", [("/nonexistent", 1), ("/etc", 1), ("/dev/null", 1)])
def test_stats_of_what_is_no_stream(denet, path, code):
    result = denet.call("stats", path)
    assert result.rc == code and result.stderr.startswith(b"denet: ")


HOSTILE = [b"[" * 100000, b'{"kind":"sample",' + b'"a":' * 50000, b'{"a":1e999}', b"\0" * 1000, b'{"kind":"sample","seq":-1}', b"\xff\xfe", b"{" + b'"k":1,' * 100000 + b'"z":2}']


@pytest.mark.parametrize("line", HOSTILE, ids=range(len(HOSTILE)))
def test_stats_of_hostile_lines(denet, line):
    path = pathlib.Path(denet.path("hostile.jsonl"))
    assert denet.call("run", "-q", "-o", str(path), "--", "true").rc == 0
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(lines[0] + b"\n" + line + b"\n" + b"\n".join(lines[1:]))
    strict = denet.call("stats", str(path))
    assert strict.rc in (0, 1)
    lenient = denet.call("stats", "--lenient", str(path))
    assert lenient.rc == 0, lenient.stderr


OLD = b"""{"kind":"env","host":{"hostname":"box"},"cpu_model":"x"}
{"kind":"metadata","pid":4242,"cmd":["sleep","1"],"executable":"/bin/sleep","t0_ms":1750000000000}
{"kind":"sample","ts_ms":1750000000100,"cpu_usage":50.0,"mem_rss_kb":2048,"mem_vms_kb":8192,"disk_read_bytes":0,"disk_write_bytes":4096,"net_rx_bytes":0,"net_tx_bytes":0,"thread_count":1,"uptime_secs":0}
{"ts_ms":1750000000200,"cpu_usage":70.0,"mem_rss_kb":4096,"mem_vms_kb":8192,"disk_read_bytes":0,"disk_write_bytes":8192,"net_rx_bytes":0,"net_tx_bytes":0,"thread_count":2,"uptime_secs":0}
"""


def test_stats_of_the_older_tools_stream(denet):
    path = pathlib.Path(denet.path("old.jsonl"))
    path.write_bytes(OLD)
    result = denet.call("stats", "--json", str(path))
    assert result.rc == 0, result.stderr
    assert "4194304" in result.stdout.decode(), "the peak of 4096 kB"
    assert denet.call("stats", str(path)).rc == 0

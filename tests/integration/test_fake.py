# SPDX-License-Identifier: Apache-2.0
"""The scripted backend: what no machine at hand has (a PMU, losses, deaths in mid-run) goes all the way into the stream."""
import json
import pathlib

import pytest

from conftest import leaves

pytestmark = pytest.mark.short


def script(denet, text):
    path = pathlib.Path(denet.path("script"))
    path.write_text(text)
    return str(path)


def play(denet, text, options=("-i", "10"), command=("burn", "101")):
    return denet.run(list(command), ["--fake", script(denet, text), *options])


def test_every_metric_goes_through(denet, registry):
    """Each registry metric that a backend supplies, with a value that is its own."""
    rows = [name for name, row in registry.items() if not row["derived"]]
    text, expected, objects, tables = "", {}, {}, {}
    for i, name in enumerate(rows):
        if name.startswith(("process.count", "process.started", "process.exited")):
            text += f"offer {name} simulated script test\n"
            continue
        text += f"offer {name} simulated script test\n"
        if registry[name]["kind"] == "histogram":
            text += f"sample 1 {name}={101 + i}x3,{100003 + i}x7\n"
            objects[name] = (10, 101 + i, 100003 + i)
            continue
        if registry[name]["kind"] == "table":
            text += f"row 1 {name} key-{i} count={17 + i} latency={101 + i}x3\nrow 1 {name} other count=1\nother 1 {name} {1 + i}\n"
            tables[name] = i
            continue
        expected[name] = 1000003 + 17 * i if registry[name]["unit"] not in ("ratio", "percent") else 0.5
    text += "".join(f"sample 1 {name}={value}\n" for name, value in expected.items())
    result = play(denet, text, ("-i", "10", "--probes", "all"))
    assert result.rc == 0, result.stderr
    assert len(objects) > 10 and len(tables) > 10
    for name, (count, least, most) in objects.items():
        value = result.value(name)
        assert (value["count"], value["min"], value["max"]) == (count, least, most), name
        assert value["sum"] == 3 * least + 7 * most and value["p99"] == most, name
        assert [n for _, n in value["buckets"]] == [3, 7], name
    for name, i in tables.items():
        value = result.value(name)
        assert list(value) == [f"key-{i}", "other"], name
        assert value[f"key-{i}"]["count"] == 17 + i and value[f"key-{i}"]["latency"]["sum"] == 3 * (101 + i), name
        assert value["other"] == {"count": 1}, "a column without a value is left out"
        *path, last = name.split(".")
        inner = result.summary["tree"]
        for key in path:
            inner = inner[key]
        assert inner[f"{last}_other"] == 1 + i, name
    assert all(name not in leaves(sample["tree"]) for sample in result.samples for name in [*objects, *tables])
    for name, value in expected.items():
        if result.quality(name) == "missing":
            continue
        assert result.value(name) == value, name


def test_hardware_ratios_are_of_the_interval(denet):
    text = "".join(f"offer hw.{name} simulated script test\n" for name in ("cycles", "instructions", "cache_references", "cache_misses", "branches", "branch_misses"))
    text += "sample 1 hw.cycles=1000 hw.instructions=500 hw.cache_references=100 hw.cache_misses=7 hw.branches=50 hw.branch_misses=5\n"
    text += "sample 2 hw.cycles=2000 hw.instructions=2500 hw.cache_references=200 hw.cache_misses=18 hw.branches=150 hw.branch_misses=6\n"
    result = play(denet, text)
    assert result.rc == 0, result.stderr
    second = result.samples[1]["tree"]["hw"]
    assert second["ipc"] == 2.0 and second["cache_miss_ratio"] == pytest.approx(0.11) and second["branch_miss_ratio"] == pytest.approx(0.01)
    first = result.samples[0]["tree"]["hw"]
    assert first["ipc"] == 0.5


def test_no_division_by_zero(denet):
    text = "offer hw.cycles simulated script test\noffer hw.instructions simulated script test\nsample 1 hw.cycles=0 hw.instructions=5\nsample 2 hw.cycles=0 hw.instructions=9\n"
    result = play(denet, text)
    assert all(s["tree"]["hw"].get("ipc") is None for s in result.samples)


def test_largest_integer_survives(denet):
    result = play(denet, f"offer hw.cycles simulated script test\nsample 1 hw.cycles={2**64 - 1}\n")
    assert result.value("hw.cycles") == 2**64 - 1


def test_a_counter_that_falls_never_falls_in_the_stream(denet):
    result = play(denet, "offer hw.cycles simulated script test\nsample 1 hw.cycles=1000\nsample 3 hw.cycles=5\n")
    assert result.value("hw.cycles") == 1000, "and the checker has seen no fall"


def test_refused_metrics_are_missing_with_reason_and_hint(denet):
    result = play(denet, 'offer hw.cycles simulated script test\nrefuse hw.branches denied "told so" "do that"\nsample 1 hw.cycles=1\n')
    state = result.header["metrics"]["hw.branches"]
    assert state["quality"] == "missing" and state["source"] is None
    assert state["reason"] == "told so" and state["hint"] == "do that"
    assert result.value("hw.branches") is None


def test_degraded_metric_is_in_the_summary(denet):
    result = play(denet, 'offer hw.cycles exact script\nsample 1 hw.cycles=1\ndegrade 2 hw.cycles lower_bound "17 events lost"\nlost 2 17\n')
    assert result.header["metrics"]["hw.cycles"]["quality"] == "exact"
    assert result.summary["metrics"]["hw.cycles"]["quality"] == "lower_bound"
    assert result.summary["metrics"]["hw.cycles"]["reason"] == "17 events lost"
    assert result.summary["lost"]["events"] == 17


def test_a_backend_that_dies_is_told_and_the_command_goes_on(denet):
    result = play(denet, "offer hw.cycles exact script\nsample 1 hw.cycles=7\nsample-error 3 EIO\n", command=("sh", "-c", f"{denet.workload('burn')} 101; exit 7"))
    assert result.rc == 7
    assert any(e["event"] == "backend_lost" for e in result.events)
    assert result.quality("hw.cycles") in ("lower_bound", "missing")


def test_a_backend_that_does_not_open_supplies_nothing(denet):
    result = play(denet, "offer hw.cycles exact script\nopen-error EIO\n", command=("tiny", "7"))
    assert result.rc in (7, 125)
    if result.rc == 7:
        assert result.quality("hw.cycles") == "missing"


def test_invented_processes(denet):
    text = 'offer process.started exact script\noffer process.exited exact script\noffer process.count exact script\nfork 1 70001 root "a\\"b"\nexec 2 70001 "new\\nname"\nexit 3 70001\nfork 3 70002 root other\n'
    result = play(denet, text, ["-i", "10", "--process-events"])
    assert result.rc == 0, result.stderr
    names = [e.get("name") for e in result.events]
    assert "new\nname" in names
    assert result.value("process.started") >= 3


def test_the_stream_says_that_it_is_invented(denet):
    result = play(denet, "offer hw.cycles simulated script test\nsample 1 hw.cycles=1\n")
    assert result.header["tier"] == "fake"


@pytest.mark.parametrize("text", ["nonsense", "offer no.such.metric exact x", "offer hw.cycles great x", "sample 1 hw.cycles=-5", "sample x hw.cycles=5", 'offer hw.cycles exact "unclosed', "sample 1 hw.cycles=99999999999999999999"])
def test_a_bad_script_names_its_line(denet, text):
    result = denet.call("run", "--fake", script(denet, "# a comment\n\n" + text + "\n"), "--", "touch", str(denet.folder / "ran"))
    assert result.rc == 125 and b"line 3" in result.stderr, result.stderr
    assert not (denet.folder / "ran").exists()


def test_a_script_that_is_not_there(denet):
    result = denet.call("run", "--fake", "/nonexistent", "--", "touch", str(denet.folder / "ran"))
    assert result.rc == 125 and not (denet.folder / "ran").exists()


def test_events_by_name_that_do_not_exist(denet):
    result = denet.call("run", "--events", "definitely_not_an_event", "--", "touch", str(denet.folder / "ran"))
    assert result.rc == 125 or b"definitely_not_an_event" in result.stderr, result.stderr


def test_fake_values_for_a_csv(denet):
    path = denet.path("x.csv")
    assert denet.call("run", "-q", "-i", "10", "--fake", script(denet, "offer hw.cycles exact s\nsample 1 hw.cycles=1009\n"), "-o", path, "--", denet.workload("burn"), "53").rc == 0
    assert ",1009" in pathlib.Path(path).read_text() or "1009" in json.dumps(pathlib.Path(path).read_text())


TRACED = "offer syscall.by_name exact script\noffer syscall.latency exact script\noffer syscall.count exact script\n"


def test_objects_in_every_sample_on_demand(denet):
    text = TRACED + "".join(f"sample {n} syscall.count={n * 7} syscall.latency=101x{n}\nrow {n} syscall.by_name read count={n * 7}\n" for n in (1, 2, 3))
    result = play(denet, text, ("-i", "5", "--detail", "--probes", "latency"), ("burn", "101"))
    assert result.rc == 0 and len(result.samples) >= 3, result.stderr
    assert [n["count"] for n in result.series("syscall.latency")[:3]] == [1, 2, 3]
    assert [n["read"]["count"] for n in result.series("syscall.by_name")[:3]] == [7, 14, 21]
    result = play(denet, text, ("-i", "5", "--probes", "latency"), ("burn", "101"))
    assert "latency" not in result.samples[0]["tree"]["syscall"] and result.value("syscall.latency")["count"] >= 3


def test_an_empty_histogram_and_an_empty_table(denet):
    result = play(denet, TRACED + "sample 1 syscall.latency=none\nother 1 syscall.by_name 0\n", ("-i", "10", "--probes", "latency"))
    assert result.value("syscall.latency") == {"count": 0, "sum": 0, "min": None, "max": None, "p50": None, "p95": None, "p99": None, "buckets": []}
    assert result.value("syscall.by_name") == {}
    assert "by_name_other" not in result.summary["tree"]["syscall"]
    result = play(denet, TRACED + "sample 1 syscall.count=7\n", ("-i", "10", "--probes", "latency"))
    assert result.summary["tree"]["syscall"] == {"count": 7, "by_name": None, "latency": None}


KEYS = [b"a", b"\xff", b"\xfe", b"\\xff", b"\\", b"\\\\", b"\xef\xbf\xbd", b"\x1b[31m", b"quote\"", b"new\nline", b"\xe2\x82\xac", b"\xe2\x82", b"\xed\xa0\x80", b"other", b"count", b" ", b"a.b"]


def decode_key(key):
    """Back to the bytes that a key was."""
    data, out, at = key.encode(), bytearray(), 0
    while at < len(data):
        if data[at:at + 2] == b"\\\\":
            out += b"\\"
            at += 2
        elif data[at:at + 2] == b"\\x":
            out.append(int(data[at + 2:at + 4], 16))
            at += 4
        else:
            out.append(data[at])
            at += 1
    return bytes(out)


def test_keys_of_any_bytes_stay_apart(denet):
    text = TRACED
    for i, key in enumerate(KEYS):
        quoted = "".join(f"\\x{byte:02x}" for byte in key)
        text += f'row 1 syscall.by_name "{quoted}" count={101 + i}\n'
    result = play(denet, text)
    assert result.rc == 0, result.stderr
    assert {decode_key(key): row["count"] for key, row in result.value("syscall.by_name").items()} == {key: 101 + i for i, key in enumerate(KEYS)}


def test_events_of_backends(denet):
    text = TRACED + 'event 1 budget none "a step"\nevent 1 limit root "EMFILE: \\x1b[31m"\nevent 2 security none "x"\nevent 2 oom root "y"\n'
    result = play(denet, text)
    told = [(event["event"], event.get("pid"), event["text"]) for event in result.events]
    root = result.header["pid"]
    assert told == [("budget", None, "a step"), ("limit", root, "EMFILE: \x1b[31m"), ("security", None, "x"), ("oom", root, "y")]


def test_what_tracing_costs(denet):
    result = play(denet, TRACED)
    assert all(result.summary["self"][key] is None for key in ("bpf_ns", "bpf_runs", "bpf_programs", "bpf_maps", "bpf_map_bytes", "load_ns", "attach_ns"))
    result = play(denet, TRACED + "cost bpf_programs=7 bpf_maps=11 bpf_map_bytes=104729 load_ns=13 attach_ns=0\n")
    own = result.summary["self"]
    assert own["bpf_ns"] is None and own["bpf_runs"] is None
    assert (own["bpf_programs"], own["bpf_maps"], own["bpf_map_bytes"], own["load_ns"], own["attach_ns"]) == (7, 11, 104729, 13, 0)
    result = play(denet, TRACED + "cost bpf_programs=7 bpf_ns=17 bpf_runs=19\nsample-error 1 EIO\n")
    assert result.summary["self"]["bpf_ns"] == 17 and result.summary["self"]["bpf_runs"] == 19, "kept when the backend died"
    assert result.backend("fake") and result.summary["metrics"]["syscall.count"]["quality"] == "missing"


def test_a_backend_that_dies_leaves_nothing_behind(denet):
    """Tables and histograms are the backend's own: what it had shown is gone with it."""
    text = TRACED + "sample 1 syscall.count=7 syscall.latency=101x3\nrow 1 syscall.by_name read count=7\nsample-error 3 EIO\n"
    result = play(denet, text, ("-i", "5", "--detail", "--probes", "latency"))
    assert result.rc == 0
    assert result.series("syscall.by_name")[:3] == [{"read": {"count": 7}}, {"read": {"count": 7}}, None]
    assert result.value("syscall.by_name") is None and result.value("syscall.latency") is None and result.value("syscall.count") == 7
    assert result.quality("syscall.by_name") == "missing" and result.quality("syscall.count") == "lower_bound"


@pytest.mark.parametrize("line", ["row 1 syscall.count read count=1", "row 1 syscall.by_name", "row 1 syscall.by_name read count", "row 1 syscall.by_name read count=x",
                                  "sample 1 syscall.by_name=1", "sample 1 syscall.latency=1", "sample 1 syscall.latency=1x", "sample 1 syscall.latency=1x1,",
                                  "other 1 syscall.by_name", "other 1 syscall.count 1", "event 1 fork none x", "event 1 budget 0 x", "cost bpf=1", "cost bpf_maps=x"])
def test_scripts_that_are_wrong(denet, line):
    result = denet.call("run", "--fake", script(denet, line + "\n"), "true")
    assert result.rc == 125 and b"line 1" in result.stderr


def test_stats_read_histograms_and_skip_tables(denet):
    text = TRACED + "offer sched.run_delay sampled script looked-at\nsample 1 syscall.count=7 syscall.latency=101x3,1009x7 sched.run_delay=none\n"
    text += "".join(f'row 1 syscall.by_name "key {i}" count={101 + i} latency={103 + i}x3\n' for i in range(701)) + "other 1 syscall.by_name 17\n"
    result = play(denet, text, ("-i", "5", "--detail", "--probes", "latency"))
    assert result.rc == 0
    path = denet.path("objects.jsonl")
    pathlib.Path(path).write_bytes(result.data)
    said = json.loads(denet.call("stats", "--json", path).stdout)
    latency = said["metrics"]["syscall.latency"]
    assert latency["kind"] == "histogram" and latency["unit"] == "ns"
    assert {key: latency[key] for key in ("count", "sum", "min", "max", "p50", "p95", "p99")} == {
        "count": 10, "sum": 3 * 101 + 7 * 1009, "min": 101, "max": 1009, "p50": 1009, "p95": 1009, "p99": 1009}
    empty = said["metrics"]["sched.run_delay"]
    assert empty["count"] == 0 and empty["p50"] is None and empty["quality"] == "sampled"
    assert said["metrics"]["syscall.count"]["total"] == 7
    assert not [name for name in said["metrics"] if name.startswith("syscall.by_name")]
    assert not [note for note in said["notes"] if "not taken in time" not in note] and said["input"]["unusable_values"] == 0
    text = denet.call("stats", path).stdout.decode()
    line = next(line for line in text.splitlines() if line.startswith("syscall.latency"))
    assert line.split()[1] == "10" and "1.01 us" in line


def test_csv_has_columns_of_histograms(denet):
    text = TRACED + "sample 1 syscall.count=7 syscall.latency=101x3,100003x7\nrow 1 syscall.by_name read count=7\n"
    out = denet.path("table.csv")
    result = denet.call("run", "--fake", script(denet, text), "--probes", "latency", "-o", out, "--metrics", "syscall", "--", denet.workload("tiny"))
    assert result.rc == 0, result.stderr
    head, *rows = [line.split(",") for line in pathlib.Path(out).read_text().splitlines()]
    last = dict(zip(head, rows[-1]))
    assert [name for name in head if "syscall" in name] == ["tree.syscall.count", *(f"tree.syscall.latency.{part}" for part in ("count", "p50", "p95", "p99", "max"))]
    assert [last[f"tree.syscall.latency.{part}"] for part in ("count", "p50", "p95", "p99", "max")] == ["10", "100003", "100003", "100003", "100003"]
    result = denet.call("run", "--fake", script(denet, TRACED + "sample 1 syscall.latency=none\n"), "--metrics", "syscall.latency", "-o", out, "--", denet.workload("tiny"))
    head, *rows = [line.split(",") for line in pathlib.Path(out).read_text().splitlines()]
    assert rows[-1][3:] == ["0", "", "", "", ""]


def test_the_summary_of_what_was_traced(denet):
    text = TRACED + 'sample 1 syscall.count=104729 syscall.latency=1009x97\nrow 1 syscall.by_name "a\\x1b[2J\\nb" count=101 errors=3\ncost bpf_programs=13 bpf_map_bytes=4096\n'
    result = denet.call("run", "--fake", script(denet, text), "--probes", "latency", "--", denet.workload("tiny"))
    text = result.stderr.decode()
    assert result.rc == 0 and "104,729 calls" in text and "a?[2J?b" in text and "3 failed" in text
    assert "syscall.latency" in text and "1.01 us" in text and "13 programs, 4.0 KiB of maps" in text
    assert "\x1b" not in text

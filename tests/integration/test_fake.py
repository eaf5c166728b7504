# SPDX-License-Identifier: Apache-2.0
"""The scripted backend: what no machine at hand has (a PMU, losses, deaths in mid-run) goes all the way into the stream."""
import json
import pathlib

import pytest

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
    text, expected = "", {}
    for i, name in enumerate(rows):
        if name.startswith(("process.count", "process.started", "process.exited")):
            text += f"offer {name} simulated script test\n"
            continue
        text += f"offer {name} simulated script test\n"
        if registry[name]["kind"] in ("histogram", "table"):
            continue
        expected[name] = 1000003 + 17 * i if registry[name]["unit"] not in ("ratio", "percent") else 0.5
    text += "".join(f"sample 1 {name}={value}\n" for name, value in expected.items())
    result = play(denet, text)
    assert result.rc == 0, result.stderr
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

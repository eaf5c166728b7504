# SPDX-License-Identifier: Apache-2.0
"""What the integration tests share: a denet to run, every stream of it checked against the schema and the ordering law.

DENET      the binary (default: build/src/denet)
WORKLOADS  the folder of the built workloads (default: made here)
"""
import json
import os
import pathlib
import pwd
import shutil
import signal
import subprocess
import sys
import time

import jsonschema
import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "integration"))
TIMEOUT = 120
NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"]
QUALITIES = ["exact", "scaled", "sampled", "simulated", "lower_bound", "missing"]
IS_ROOT = os.geteuid() == 0


def strict_json(line):
    """Parses one record; what JSON allows but nobody should write is an error too."""

    def no_duplicates(pairs):
        keys = [key for key, _ in pairs]
        assert len(keys) == len(set(keys)), f"a key twice in {line[:200]!r}"
        return dict(pairs)

    def no_constant(text):
        raise AssertionError(f"{text} is not JSON")

    text = line.decode("utf-8", "strict")
    assert all(char >= " " and char not in "\x7f\u2028\u2029" for char in text), f"a raw control in {text[:200]!r}"
    return json.loads(text, object_pairs_hook=no_duplicates, parse_constant=no_constant)


# Metrics whose values are objects, by name: "histogram" or "table"; from the registry.
OBJECTS = {}


def leaves(value, path=""):
    """The metrics of a record as {dotted name: value}."""
    if isinstance(value, dict) and path not in OBJECTS:
        result = {}
        for key, inner in value.items():
            result.update(leaves(inner, f"{path}.{key}" if path else key))
        return result
    if OBJECTS.get(path.removesuffix("_other")) == "table" and path.endswith("_other"):
        assert value > 0, f"{path}: not there when it is 0"
        return {}
    return {path: value}


def check_histogram(name, value):
    buckets, ends = value["buckets"], [value[key] for key in ("min", "p50", "p95", "p99", "max")]
    assert value["count"] == sum(n for _, n in buckets), name
    assert all(n > 0 for _, n in buckets) and buckets == sorted(buckets), name
    if value["count"] == 0:
        assert ends == [None] * 5 and value["sum"] == 0, (name, value)
        return
    assert ends == sorted(ends), (name, ends)
    assert value["count"] * ends[0] <= value["sum"] <= value["count"] * ends[4], name


def check_table(name, value):
    for key, row in value.items():
        for column, cell in row.items():
            if isinstance(cell, dict):
                check_histogram(f"{name}[{key}].{column}", cell)
            else:
                assert isinstance(cell, int) and 0 <= cell < 2**64, (name, key, column, cell)


class Stream:
    """A parsed and checked stream."""

    def __init__(self, data, checker, complete=True):
        lines = data.split(b"\n")
        self.torn = lines.pop() if lines else b""
        self.records = [strict_json(line) for line in lines]
        self.header = self.records[0] if self.records else None
        self.samples = [r for r in self.records if r["kind"] == "sample"]
        self.events = [r for r in self.records if r["kind"] == "event"]
        summaries = [r for r in self.records if r["kind"] == "summary"]
        self.summary = summaries[-1] if summaries else None
        checker.check(self, complete)

    def value(self, name):
        """The metric's last value, None when the run could not have it."""
        values = dict(leaves(self.summary.get("tree", {})))
        values.update(leaves(self.summary.get("system", {})))
        return values.get(name)

    def series(self, name):
        return [{**leaves(s.get("tree", {})), **leaves(s.get("system", {}))}.get(name) for s in self.samples]

    def state(self, name):
        state = dict(self.header["metrics"].get(name, {"quality": "missing"}))
        if self.summary:
            state.update(self.summary.get("metrics", {}).get(name, {}))
        return state

    def quality(self, name):
        return self.state(name)["quality"]

    def backend(self, name):
        return next((b for b in self.header["backends"] if b["name"] == name), None)


class Checker:
    """The laws that hold for every stream, and the memory of which metrics were ever seen."""

    def __init__(self, schema, registry):
        jsonschema.Draft202012Validator.check_schema(schema)
        self.validator = jsonschema.Draft202012Validator(schema)
        self.registry = registry
        self.counters = {name for name, row in registry.items() if row["kind"] == "counter"}
        self.produced = set()
        assert not [name for name, row in registry.items() if row["kind"] == "table" and f"{name}_other" in registry], "this name is the table's"
        OBJECTS.update({name: row["kind"] for name, row in registry.items() if row["kind"] in ("histogram", "table")})

    def check(self, stream, complete):
        records = stream.records
        assert records, "an empty stream"
        for record in records:
            error = next(iter(self.validator.iter_errors(record)), None)
            assert error is None, f"{error.message[:300]} at {list(error.absolute_path)} in {str(record)[:300]}"
        kinds = [r["kind"] for r in records]
        assert kinds[0] == "header" and kinds.count("header") == 1, kinds[:5]
        if complete:
            assert stream.torn == b"", f"torn: {stream.torn[:100]!r}"
            assert kinds[-1] == "summary" and kinds.count("summary") == 1, kinds[-5:]
        declared = stream.header["metrics"]
        had = {name for name, state in declared.items() if state["quality"] != "missing"}
        for name, state in declared.items():
            assert state["quality"] in QUALITIES
            assert (state["source"] is None) == (state["quality"] == "missing"), (name, state)
            if state["quality"] != "exact":
                assert state.get("reason"), f"{name} is {state['quality']} and does not say why"
        last_t, last_seq, last_values = -1, 0, {}
        for record in records[1:]:
            if record["kind"] == "event":
                continue
            assert record["t_ns"] >= last_t, "time runs backwards"
            last_t = record["t_ns"]
            if record["kind"] == "sample":
                assert record["seq"] == last_seq + 1, (last_seq, record["seq"])
                assert record["interval_ns"] > 0
                last_seq = record["seq"]
            values = {**leaves(record.get("tree", {})), **leaves(record.get("system", {}))}
            for name, value in values.items():
                if value is None:
                    continue
                assert name in had, f"{name} has a value but was declared missing"
                if name in OBJECTS:
                    (check_histogram if OBJECTS[name] == "histogram" else check_table)(name, value)
                    if value.get("count", len(value)):
                        self.produced.add(name)
                    continue
                assert isinstance(value, (int, float)) and 0 <= value < 2**64, (name, value)
                if name in self.counters:
                    before = last_values.get(name, 0)
                    assert value >= before, f"{name} fell from {before} to {value} in {record['kind']} {record.get('seq')}"
                    last_values[name] = value
                self.produced.add(name)
            for cpu in [record.get("tree", {}).get("cpu", {}), *(row.get("cpu", {}) for row in record.get("processes", []))]:
                parts = [cpu.get(f"{part}_ns") for part in ("user", "system", "total")]
                if None not in parts and declared["cpu.total_ns"]["quality"] != "simulated":
                    assert parts[0] + parts[1] <= parts[2], f"user and system time are more than all: {parts}"
        if complete and stream.summary:
            summary = stream.summary
            for name, state in summary.get("metrics", {}).items():
                before = declared.get(name)
                assert before, f"{name} appears in the summary only"
                assert QUALITIES.index(state["quality"]) >= QUALITIES.index(before["quality"]), f"{name} got better"
            own = summary["self"]
            assert own["cpu_ns"] > 0 and (own["max_rss_bytes"] is None or own["max_rss_bytes"] > 0)
            for name in OBJECTS:
                if declared.get(name, {}).get("quality", "missing") != "missing":
                    assert name in leaves(summary["tree"]), f"{name} is not in the summary"


class Result:
    def __init__(self, process, stdout, stderr, data, checker, complete):
        self.process = process
        self.rc = process.returncode
        self.stdout, self.stderr, self.data = stdout, stderr, data
        self.stream = Stream(data, checker, complete) if data else None

    def __getattr__(self, name):
        if name == "stream" or self.stream is None:
            raise AttributeError(f"no stream (has no {name}); exit status {self.rc}, stderr: {self.stderr[-800:]!r}")
        return getattr(self.stream, name)

    @property
    def truth(self):
        """What the workload said of itself: the last line of its standard output."""
        return json.loads(self.stdout.strip().splitlines()[-1])


class Denet:
    def __init__(self, program, workloads, folder, checker):
        self.program, self.workloads, self.folder, self.checker = program, workloads, folder, checker
        self.n = 0

    def workload(self, name):
        return str(self.workloads / name)

    def path(self, suffix):
        """A fresh path in a folder where anybody may write."""
        self.n += 1
        return str(self.folder / f"{self.n}-{suffix}")

    def resolve(self, command):
        command = [os.fspath(c) if not isinstance(c, bytes) else c for c in command]
        if command and isinstance(command[0], str) and (self.workloads / command[0]).exists():
            command[0] = self.workload(command[0])
        return command

    def argv(self, options, command, out=None, nobody=False, sub="run"):
        prefix = NOBODY if nobody and IS_ROOT else []
        out_options = ["-o", out] if out else []
        separator = ["--"] if sub == "run" else []
        return [*prefix, str(self.program), sub, *out_options, *options, *separator, *self.resolve(command)]

    def popen(self, argv, **kwargs):
        kwargs.setdefault("stdin", subprocess.DEVNULL)
        kwargs.setdefault("stdout", subprocess.PIPE)
        kwargs.setdefault("stderr", subprocess.PIPE)
        kwargs.setdefault("cwd", self.folder)
        if kwargs.pop("no_leaks", False) or "strace" in [str(a) for a in argv]:
            kwargs["env"] = without_leak_check(kwargs.get("env"))
        return subprocess.Popen(argv, **kwargs)

    def finish(self, process, out=None, complete=True, timeout=TIMEOUT):
        try:
            stdout, stderr = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            stdout, stderr = process.communicate()
            pytest.fail(f"hung: {process.args}\n{stderr[-1000:]!r}")
        assert b"AddressSanitizer" not in (stderr or b"") and b"runtime error:" not in (stderr or b""), stderr.decode("utf-8", "replace")
        data = pathlib.Path(out).read_bytes() if out and os.path.exists(out) else b""
        return Result(process, stdout or b"", stderr or b"", data, self.checker, complete)

    def run(self, command, options=(), nobody=False, complete=True, prefix=(), **kwargs):
        """denet run -o FILE OPTIONS -- COMMAND, as root or as uid 65534 without capabilities."""
        out = self.path("stream.jsonl")
        return self.finish(self.popen([*prefix, *self.argv(options, command, out, nobody)], **kwargs), out, complete)

    def json(self, command, options=(), nobody=False, **kwargs):
        """denet run --json: the stream on stdout."""
        process = self.popen(self.argv(["--json", *options], command, None, nobody), **kwargs)
        result = self.finish(process)
        return Result(process, b"", result.stderr, result.stdout, self.checker, True)

    def attach_start(self, arguments, options=(), nobody=False, **kwargs):
        """Starts denet attach and returns when its header is written: from then on everything is measured."""
        out = self.path("attach.jsonl")
        process = self.popen(self.argv(options, arguments, out, nobody, sub="attach"), **kwargs)
        process.out = out
        wait_until(lambda: process.poll() is not None or (os.path.exists(out) and b"\n" in pathlib.Path(out).read_bytes()))
        return process

    def attach(self, arguments, options=(), nobody=False, **kwargs):
        out = self.path("attach.jsonl")
        return self.finish(self.popen(self.argv(options, arguments, out, nobody, sub="attach"), **kwargs), out)

    def call(self, *arguments, nobody=False, **kwargs):
        """Any denet command line, without a stream of ours."""
        prefix = NOBODY if nobody and IS_ROOT else []
        return self.finish(self.popen([*prefix, str(self.program), *map(os.fspath, arguments)], **kwargs))


def without_leak_check(env=None):
    """The leak checker of a sanitized build needs /proc and can't work under strace."""
    env = dict(env or os.environ)
    env["ASAN_OPTIONS"] = env.get("ASAN_OPTIONS", "") + ":detect_leaks=0"
    return env


def wait_until(condition, seconds=60):
    """Returns the condition's first true value; the test fails when it never comes."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.002)


@pytest.fixture(scope="session")
def build(tmp_path_factory):
    """Program and workloads, copied where every user may run them."""
    folder = tmp_path_factory.mktemp("denet")
    for parent in (folder, *folder.parents):
        if parent.owner() == pwd.getpwuid(os.geteuid()).pw_name and str(parent) != "/":
            if parent.stat().st_mode & 0o055 != 0o055:
                parent.chmod(parent.stat().st_mode | 0o055)
    program = folder / "denet"
    shutil.copy2(os.environ.get("DENET", ROOT / "build" / "src" / "denet"), program)
    program.chmod(0o755)
    workloads = folder / "workloads"
    workloads.mkdir()
    if "WORKLOADS" in os.environ:
        for file in pathlib.Path(os.environ["WORKLOADS"]).iterdir():
            if file.is_file() and os.access(file, os.X_OK):
                shutil.copy2(file, workloads)
    else:
        subprocess.run(["make", "-s", "-C", ROOT / "tests" / "workloads", f"OUT={workloads}"], check=True)
    return program, workloads


@pytest.fixture(scope="session")
def registry(build):
    text = subprocess.run([build[0], "metrics", "--json"], capture_output=True, timeout=TIMEOUT, check=True).stdout
    document = json.loads(text)
    rows = document["metrics"] if isinstance(document, dict) else document
    return {row["name"]: row for row in rows}


@pytest.fixture(scope="session")
def checker(build, registry):
    text = subprocess.run([build[0], "metrics", "--schema"], capture_output=True, timeout=TIMEOUT, check=True).stdout
    return Checker(json.loads(text), registry)


@pytest.fixture(scope="session")
def session_denet(build, checker, tmp_path_factory):
    folder = tmp_path_factory.mktemp("work")
    folder.chmod(0o1777)
    return Denet(build[0], build[1], folder, checker)


@pytest.fixture
def denet(session_denet, tmp_path):
    """A denet with a folder of this test's own, where anybody may write."""
    tmp_path.chmod(0o1777)
    for parent in tmp_path.parents:
        if parent.owner() == pwd.getpwuid(os.geteuid()).pw_name and str(parent) not in ("/", "/tmp"):
            parent.chmod(parent.stat().st_mode | 0o055)
    return Denet(session_denet.program, session_denet.workloads, tmp_path, session_denet.checker)


@pytest.fixture
def background():
    """Starts helpers that are gone at the end, whatever happened."""
    started = []

    def start(argv, **kwargs):
        kwargs.setdefault("stdin", subprocess.PIPE)
        kwargs.setdefault("stdout", subprocess.PIPE)
        process = subprocess.Popen([os.fspath(a) for a in argv], **kwargs)
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            try:
                process.send_signal(signal.SIGCONT)
                process.kill()
            except ProcessLookupError:
                pass
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe:
                pipe.close()
        process.wait()


class Stolen:
    """How long a hypervisor ran others meanwhile, on all CPUs: perf's clocks run on."""

    def __enter__(self):
        self.before = self.now()
        return self

    def __exit__(self, *_):
        self.ns = self.now() - self.before

    def unless(self, is_exact):
        """What a clock of perf's may have too much; where denet found none stolen, nothing."""
        return 0 if is_exact else self.ns

    @staticmethod
    def now():
        """The kernel counts it in ticks, each started one whole."""
        fields = pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()
        return int(fields[8]) * 10**9 // os.sysconf("SC_CLK_TCK")


def exact_but_for_theft(result, metric):
    """perf's clock runs on while a hypervisor runs others; denet finds out and says so."""
    state = result.state(metric)
    return state["quality"] == "exact" or (state["quality"] == "sampled" and "hypervisor" in state["reason"])


@pytest.fixture
def cpu_group():
    """A v1 cpuacct group: the kernel's own account of the CPU time of all that ever ran in it, however it ended."""
    base = pathlib.Path("/sys/fs/cgroup/cpuacct")
    if not IS_ROOT or not (base / "cpuacct.usage").exists():
        yield None
        return
    group = base / f"denet-test-{os.getpid()}"
    group.mkdir()
    yield group
    for pid in (group / "cgroup.procs").read_text().split():
        try:
            os.kill(int(pid), signal.SIGKILL)
        except ProcessLookupError:
            pass
    wait_until(lambda: not (group / "cgroup.procs").read_text())
    group.rmdir()


SANITIZED = bool(os.environ.get("DENET_SANITIZED"))
not_sanitized = pytest.mark.skipif(SANITIZED, reason="a sanitizer's own memory is in the way")
needs_root = pytest.mark.skipif(not IS_ROOT, reason="needs root")


def pytest_collection_modifyitems(config, items):
    """The test that looks at what all others produced comes last, and only when all others ran."""
    last = [item for item in items if item.name == "test_every_metric_was_produced"]
    others = [item for item in items if item not in last]
    items[:] = others
    if not config.option.keyword and not config.option.markexpr and not os.environ.get("DENET_PARTIAL"):
        items += last
    else:
        config.hook.pytest_deselected(items=last)


def pytest_configure(config):
    # Tests that were started by nohup, or behind a shell's "&", inherit signals that are ignored; what they measure must not.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    config.addinivalue_line("markers", "short: the subset that runs for every compiler")

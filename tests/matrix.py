# SPDX-License-Identifier: Apache-2.0
"""The test matrix behind tools/test: every build, every level, one count at the end.

A build and each test function, integration test, harness and check count one. The exit status is 1 when anything failed, or
when what was skipped is not what tests/skips.txt says.

Tests that measure a machine are at the mercy of what else it does, and of a hypervisor. A few that failed are looked at again,
alone: who then passes each time counts as passed, and is named with its failure as UNSTEADY at the end.
"""
import argparse
import concurrent.futures
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = ROOT / "build-test"
LOGS = ROOT / ".cache" / "test-logs"
PYTHON = "/usr/bin/python3"
SANITIZERS = {
    "ASAN_OPTIONS": "abort_on_error=0:exitcode=86:detect_leaks=1:detect_stack_use_after_return=0",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1:exitcode=86",
}


# More failures than this are no chance. Who fails in one of three runs still fails here in two of three.
SECOND_LOOK_MAX = 8
SECOND_LOOKS = 3


class Count:
    def __init__(self):
        self.passed, self.failed, self.skipped, self.unsteady = [], [], [], []

    def add(self, name, ok, detail=""):
        (self.passed if ok else self.failed).append(name)
        if not ok:
            print(f"  FAILED {name}")
            for line in detail.strip().splitlines()[-40:]:
                print(f"    {line}")
        return ok

    def add_all(self, failed, look_again):
        """The failures {name: detail} of a run, but for those that all further looks find passed. look_again(names) is the set of names that pass."""
        names = list(failed) if len(failed) <= SECOND_LOOK_MAX else []
        for _ in range(SECOND_LOOKS):
            passed = look_again(names) if names else set()
            names = [name for name in names if name in passed]
        for name, detail in failed.items():
            if name in names:
                self.passed.append(name)
                self.unsteady.append((name, detail))
            else:
                self.add(name, False, detail)


def call(argv, log, env=None, **kwargs):
    """Runs it with its output in a log; whether it ended well, and the output."""
    LOGS.mkdir(parents=True, exist_ok=True)
    path = LOGS / f"{log}.log"
    with open(path, "wb") as file:
        code = subprocess.run([os.fspath(a) for a in argv], stdout=file, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                              env={**os.environ, **(env or {})}, cwd=ROOT, **kwargs).returncode
    return code == 0, path.read_text("utf-8", "replace")


def build(count, name, options=(), env=None, targets=()):
    folder = BUILD / name
    action = ["--wipe"] if (folder / "meson-private" / "coredata.dat").exists() else []
    if not (folder / "build.ninja").exists():
        shutil.rmtree(folder, ignore_errors=True)
        action = []
    ok, output = True, ""
    marker = folder / ".options"
    wanted = json.dumps([list(options), env], default=str)
    if action and marker.exists() and marker.read_text() == wanted:
        action = None
    if action is not None:
        ok, output = call(["meson", "setup", *action, folder, ROOT, *options], f"{name}-setup", env)
        if ok:
            marker.write_text(wanted)
    if ok:
        ok, output = call(["ninja", "-k", "0", "-C", folder, *targets], f"{name}-build", env)
    count.add(f"{name}: build", ok, output)
    if not ok and (folder / "build.ninja").exists():
        # What can be tested still shall be: a unit test that does not compile is one failure, not all.
        ok, _ = call(["ninja", "-C", folder, "src/denet"], f"{name}-rebuild", env)
    # Not ours: what glibc can't do in a static program (in parts of libcap-ng that are not called), flags that clang ignores.
    harmless = ("in statically linked applications", "-Wunused-command-line-argument")
    warnings = [line for line in output.splitlines() if "warning:" in line and not any(word in line for word in harmless)]
    if warnings:
        count.add(f"{name}: no warnings", False, "\n".join(warnings))
    return folder if ok else None


def unit_names(folder):
    listed = subprocess.run(["meson", "introspect", "--tests", folder], capture_output=True, text=True, check=True).stdout
    return {test["name"] for test in json.loads(listed) if any(suite.endswith("unit") for suite in test["suite"])}


def unit(count, name, folder, env=None):
    """cmocka counts its functions itself; a program that dies without saying which one counts as one more failure."""
    ok, output = call(["meson", "test", "-C", folder, "--suite", "unit", "--timeout-multiplier", "4"], f"{name}-unit", env)
    log = folder / "meson-logs" / "testlog.json"
    if not log.exists():
        if unit_names(folder):
            count.add(f"{name}: unit tests", False, output)
        return
    seen = set()
    for line in log.read_text().splitlines():
        test = json.loads(line)
        seen.add(test["name"].split(" / ")[-1])
        label = f"{name}: unit {test['name'].split(' / ')[-1]}"
        text = test.get("stdout", "") + "\n" + test.get("stderr", "")
        good = re.findall(r"^\[       OK \] (\S+)", text, re.M)
        bad = {word for word in re.findall(r"^\[  FAILED  \] (\w+)$", text, re.M)}
        skipped = {word for word in re.findall(r"^\[  SKIPPED \] (\w+)$", text, re.M)}
        for function in good:
            count.passed.append(f"{label} {function}")
        for function in sorted(bad):
            count.add(f"{label} {function}", False, text if function == sorted(bad)[0] else "")
        count.skipped += [f"{label} {function}" for function in sorted(skipped)]
        if test["result"] not in ("OK", "EXPECTEDFAIL", "SKIP") and not bad:
            count.add(f"{label} ended with {test['result']} {test.get('returncode')}", False, text)
        if test["result"] == "OK" and not good and not skipped:
            count.add(f"{label} ran no test", False, text)
    for lacking in sorted(unit_names(folder) - seen):
        count.add(f"{name}: unit {lacking} was not run", False, output)


def pytest_cases(name, folder, arguments, env):
    """{test: (what happened, detail)} and the output; none when pytest itself failed."""
    report = LOGS / f"{name}.xml"
    report.unlink(missing_ok=True)
    environment = {"DENET": str(folder / "src" / "denet"), "WORKLOADS": str(folder / "tests" / "workloads"), **(env or {})}
    with tempfile.TemporaryDirectory(prefix="denet-test-") as base:
        os.chmod(base, 0o755)
        _, output = call([PYTHON, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-ra", "--tb=short", f"--basetemp={base}/t", f"--junitxml={report}",
                          *arguments], f"{name}-integration", environment)
    cases = {}
    for case in xml.etree.ElementTree.parse(report).iter("testcase") if report.exists() else ():
        test = f"{case.get('classname').split('.')[-1]}::{case.get('name')}"
        problem = case.find("failure") if case.find("failure") is not None else case.find("error")
        if problem is not None:
            cases[test] = "failed", (problem.text or problem.get("message", ""))[-3000:]
        elif case.find("skipped") is not None:
            cases[test] = "skipped", case.find("skipped").get("message")
        else:
            cases.setdefault(test, ("passed", ""))
    return cases, output


def integration(count, name, folder, arguments=(), env=None):
    cases, output = pytest_cases(name, folder, ["tests/integration", *arguments], env)
    if not cases:
        count.add(f"{name}: pytest", False, output)
        return
    failed = {}
    for test, (outcome, detail) in cases.items():
        if outcome == "failed":
            failed[f"{name}: {test}"] = detail
        elif outcome == "skipped":
            count.skipped.append(f"{name}: {test} ({detail})")
        else:
            count.passed.append(f"{name}: {test}")

    def look_again(labels):
        nodes = [f"tests/integration/{label.partition(': ')[2].replace('::', '.py::', 1)}" for label in labels]
        again, _ = pytest_cases(f"{name}-again", folder, nodes, env)
        return {f"{name}: {test}" for test, (outcome, _) in again.items() if outcome == "passed"}

    count.add_all(failed, look_again)


# The stages


def stage_main(count, options):
    folder = build(count, "main", ["-Dbuildtype=debugoptimized"], {"CC": "gcc"})
    if folder:
        unlisted = {path.stem.removeprefix("test-") for path in (ROOT / "tests" / "unit").glob("test-*.c")} - unit_names(folder)
        count.add("main: every tests/unit/test-*.c is in its meson.build", not unlisted, " ".join(sorted(unlisted)))
        unit(count, "main", folder)
        integration(count, "main", folder, ["-k", options.k] if options.k else [])


def stage_compilers(count, options):
    for name, compiler, flags in (("gcc-O0", "gcc", ["-Dbuildtype=debug", "-Dhardening=false"]),
                                  ("clang-O3", "clang", ["-Doptimization=3", "-Ddebug=true", "-Db_ndebug=true"])):
        folder = build(count, name, flags, {"CC": compiler})
        if folder:
            unit(count, name, folder)
            integration(count, name, folder, ["-m", "short"])


def stage_sanitizers(count, options):
    folder = build(count, "asan", ["-Dbuildtype=debugoptimized", "-Dhardening=false", "-Db_sanitize=address,undefined", "-Db_lundef=false",
                                   "-Dc_args=-fno-sanitize-recover=all -fno-omit-frame-pointer"], {"CC": "gcc"})
    if folder:
        unit(count, "asan", folder, SANITIZERS)
        integration(count, "asan", folder, [], {**SANITIZERS, "DENET_PARTIAL": "1", "DENET_SANITIZED": "1"})


def stage_bare(count, options):
    """Nothing optional: the program says what it can't do without it, and does all else."""
    folder = build(count, "bare", ["-Dlibpfm=disabled", "-Dcapng=disabled", "-Debpf=disabled", "-Dman=disabled"], {"CC": "gcc"})
    if folder:
        unit(count, "bare", folder)
        integration(count, "bare", folder, ["-m", "short", "-k", "stream or fake"])


def stage_static(count, options):
    folder = build(count, "static", ["-Dstatic=true", "-Dbuildtype=release", "-Dtests=disabled"], {"CC": "gcc"}, ["src/denet", "tests/workloads/tiny"])
    if not folder:
        return
    program = folder / "src" / "denet"
    _, dynamic = call(["readelf", "-d", program], "static-readelf")
    count.add("static: needs no library", "(NEEDED)" not in dynamic, dynamic)
    ok, output = call([program, "run", "--json", "--", "sh", "-c", "exit 7"], "static-run")
    first = output.splitlines()[0] if output else ""
    count.add("static: runs", first.startswith('{"kind":"header"') and '"code":7' in output, output)
    with tempfile.TemporaryDirectory(prefix="denet-root-") as root:
        shutil.copy2(program, root)
        shutil.copy2(folder / "tests" / "workloads" / "tiny", root)
        if os.geteuid() == 0:
            done = subprocess.run(["chroot", root, "/denet", "run", "-q", "--", "/tiny", "7"], capture_output=True)
            count.add("static: runs in an empty root", done.returncode == 7, done.stderr.decode("utf-8", "replace"))


def stage_arm(count, options):
    cmocka = (ROOT / ".cache" / "arm64" / "usr" / "include" / "cmocka.h").exists()
    BUILD.mkdir(exist_ok=True)
    cross = BUILD / "aarch64.ini"
    # meson 1.0 does not replace this word itself.
    cross.write_text((ROOT / "tests" / "aarch64.ini").read_text().replace("@GLOBAL_SOURCE_ROOT@", str(ROOT)))
    folder = build(count, "aarch64", ["--cross-file", cross, "-Dtests=" + ("enabled" if cmocka else "disabled")])
    if not folder:
        return
    if cmocka:
        unit(count, "aarch64", folder, {"QEMU_RESERVED_VA": "0x800000000"})
    else:
        count.skipped.append("aarch64: unit tests (no cmocka for aarch64)")


def stage_fuzz(count, options):
    folder = build(count, "fuzz", ["-Dfuzz=true", "-Dhardening=false", "-Db_sanitize=address,undefined", "-Db_lundef=false",
                                   "-Dc_args=-fsanitize=fuzzer-no-link -fno-sanitize-recover=all", "-Dtests=disabled"], {"CC": "clang"})
    if not folder:
        return
    seconds = int(os.environ.get("FUZZ_SECONDS", "45"))
    harnesses = sorted(p for p in (folder / "tests" / "fuzz").glob("fuzz-*") if p.is_file() and os.access(p, os.X_OK))
    sources = sorted((ROOT / "tests" / "fuzz").glob("fuzz-*.c"))
    count.add("fuzz: every harness is built", len(harnesses) == len(sources) > 0, f"{[p.name for p in harnesses]}")

    def run(harness):
        corpus = ROOT / ".cache" / "fuzz" / harness.name
        corpus.mkdir(parents=True, exist_ok=True)
        seeds = ROOT / "tests" / "fuzz" / "corpus" / harness.name.removeprefix("fuzz-")
        return harness, call([harness, corpus, *([seeds] if seeds.exists() else []), f"-max_total_time={seconds}", "-timeout=10", "-rss_limit_mb=1024",
                              "-print_final_stats=1", f"-artifact_prefix={corpus.parent}/{harness.name}-"], harness.name, SANITIZERS)

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for harness, (ok, output) in pool.map(run, harnesses):
            count.add(f"fuzz: {harness.name} {seconds} s", ok, output)


def stage_checks(count, options):
    for header in sorted((ROOT / "include" / "denet").glob("*.h")):
        done = subprocess.run(["gcc", "-std=gnu17", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", "-Wno-unused-parameter", "-Iinclude", "-fsyntax-only",
                               "-x", "c", "-"], input=f"#include <denet/{header.name}>\n#include <denet/{header.name}>\n", cwd=ROOT, capture_output=True, text=True)
        count.add(f"checks: {header.name} compiles alone", done.returncode == 0, done.stderr)
    files = sorted(path for folder in ("base", "host", "syscalls", "backends", "src", "include", "tests") for path in (ROOT / folder).rglob("*.[ch]"))
    if shutil.which("clang-format"):
        done = subprocess.run(["clang-format", "--dry-run", "-Werror", *files], cwd=ROOT, capture_output=True, text=True)
        bad = sorted({line.partition(":")[0] for line in done.stderr.splitlines() if ": error:" in line})
        count.add("checks: clang-format -i would change nothing", done.returncode == 0, " ".join(bad))
    else:
        count.skipped.append("checks: formatting (no clang-format)")
    lines = {path.relative_to(ROOT): path.read_text().splitlines() for path in files}
    bad = [str(path) for path, text in lines.items() if not text or "SPDX-License-Identifier: " not in text[0]]
    count.add("checks: every source names its licence", not bad, " ".join(bad))
    bad = [f"{path} ({len(text)})" for path, text in lines.items() if len(text) > 600]
    count.add("checks: no source has more than 600 lines", not bad, " ".join(bad))
    main = BUILD / "main" / "src" / "denet"
    if main.exists() and call(["ninja", "-C", BUILD / "main", "src/denet"], "checks-build")[0]:
        for option, path in (("--markdown", "metrics.md"), ("--schema", "schema.json")):
            made = subprocess.run([main, "metrics", option], capture_output=True).stdout
            kept = ROOT / "docs" / path
            count.add(f"checks: docs/{path} is what denet makes", kept.exists() and kept.read_bytes() == made, f"denet metrics {option} > docs/{path}")
    script = [ROOT / "tools" / name for name in ("setup", "denet", "test")] + [ROOT / ".ci" / "run"]
    for path in script:
        done = subprocess.run(["sh", "-n", path], capture_output=True, text=True)
        count.add(f"checks: {path.relative_to(ROOT)} is a shell script", done.returncode == 0, done.stderr)


def stage_wrapper(count, options):
    """tools/denet from elsewhere, through a link: the caller's folder and streams."""
    with tempfile.TemporaryDirectory(prefix="denet-link-") as folder:
        link = pathlib.Path(folder) / "denet-link"
        link.symlink_to(ROOT / "tools" / "denet")
        first = subprocess.run([link, "run", "-q", "--", "sh", "-c", "pwd; cat"], input=b"standard input", cwd=folder, capture_output=True)
        count.add("wrapper: streams and folder are the caller's", first.returncode == 0 and first.stdout == os.path.realpath(folder).encode() + b"\nstandard input",
                  (first.stdout + first.stderr).decode("utf-8", "replace"))
        again = subprocess.run([link, "run", "-q", "--", "sh", "-c", "exit 7"], cwd=folder, capture_output=True)
        count.add("wrapper: says nothing when nothing has changed", again.returncode == 7 and again.stderr == b"" == again.stdout, again.stderr.decode("utf-8", "replace"))
        make = subprocess.run([link, "run", "--json", "--", "make", "-C", ROOT / "tests" / "workloads", f"OUT={folder}/out"], cwd=folder, capture_output=True)
        last = make.stdout.splitlines()[-1] if make.stdout else b""
        count.add("wrapper: measures a real build", make.returncode == 0 and b'"kind":"summary"' in last and b'"code":0' in last, make.stderr.decode("utf-8", "replace"))


# The oldest kernel, where tracing programs have no task storage, and the common one.
PLAIN_KERNELS = ["5.10", "6.1"]


def kernel_rows(slots):
    """{check: (what happened, why)} of a run in guests, whether it ended well, and the output."""
    ok, output = call([PYTHON, ROOT / "tests" / "kernels" / "run", *slots], "kernels")
    rows = {}
    for line in output.splitlines():
        kind, _, name = line.partition(" ")
        if line.startswith("not ok "):
            name, _, why = line[7:].partition(": ")
            rows[f"kernels: {name}"] = "failed", why
        elif kind in ("ok", "skip"):
            rows[f"kernels: {name}"] = kind, ""
    return rows, ok, output


def stage_kernels(count, options):
    """Debian's kernels in QEMU (docs/kernels.md), which are downloaded: two of them, or all with --kernels."""
    rows, ok, output = kernel_rows([] if options.kernels else PLAIN_KERNELS)
    count.passed += [name for name, (kind, _) in rows.items() if kind == "ok"]
    count.skipped += [name for name, (kind, _) in rows.items() if kind == "skip"]

    def look_again(names):
        again, _, _ = kernel_rows(sorted({name.removeprefix("kernels: ").partition("/")[0] for name in names}))
        return {name for name, (kind, _) in again.items() if kind == "ok"}

    count.add_all({name: why for name, (kind, why) in rows.items() if kind == "failed"}, look_again)
    if not rows or not (ok or count.failed or count.unsteady):
        count.add("kernels: the run tells results", False, output)


STAGES = {
    "main": stage_main, "compilers": stage_compilers, "sanitizers": stage_sanitizers, "bare": stage_bare, "static": stage_static,
    "aarch64": stage_arm, "fuzz": stage_fuzz, "checks": stage_checks, "wrapper": stage_wrapper, "kernels": stage_kernels,
}


def allowed_skips():
    """The skips that have to happen, and those that may."""
    rows = (line.strip() for line in (ROOT / "tests" / "skips.txt").read_text().splitlines())
    allowed = {row.partition("\t")[0] for row in rows if row and not row.startswith("#")}
    maybe = {row[2:] for row in allowed if row.startswith("? ")}
    return {row for row in allowed if not row.startswith("? ")}, maybe


def main():
    parser = argparse.ArgumentParser(prog="tools/test", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the main build only")
    parser.add_argument("-k", metavar="EXPR", help="of the main build, the integration tests that match (as pytest -k)")
    parser.add_argument("stage", nargs="*", help="only these stages: " + " ".join(STAGES))
    parser.add_argument("--kernels", action="store_true", help="all kernels, not just " + " and ".join(PLAIN_KERNELS))
    options = parser.parse_args()
    for name in options.stage:
        if name not in STAGES:
            parser.error(f"no stage {name}: {' '.join(STAGES)}")
    stages = options.stage or (["main"] if options.quick or options.k else list(STAGES))
    complete = not options.stage and not options.k and not options.quick
    total, times = Count(), []
    for name in stages:
        count, start = Count(), time.monotonic()
        print(f"{name} ...", flush=True)
        STAGES[name](count, options)
        times.append((name, len(count.passed), len(count.failed), len(count.skipped), time.monotonic() - start))
        total.passed += count.passed
        total.failed += count.failed
        total.skipped += count.skipped
        total.unsteady += count.unsteady
    print()
    for name, passed, failed, skipped, seconds in times:
        print(f"{name:12} {passed:5} passed {failed:4} failed {skipped:4} skipped {seconds:7.1f} s")
    allowed, maybe = allowed_skips()
    surprises = {skip for skip in total.skipped if not any(re.fullmatch(pattern, skip) for pattern in allowed | maybe)}
    unused = {pattern for pattern in allowed if complete and not any(re.fullmatch(pattern, skip) for skip in total.skipped)}
    for skip in sorted(surprises):
        print(f"skipped, but not in tests/skips.txt: {skip}")
    for pattern in sorted(unused):
        print(f"in tests/skips.txt, but was not skipped: {pattern}")
    for name, detail in total.unsteady:
        print(f"UNSTEADY {name}: failed once, then passed {SECOND_LOOKS} times")
        for line in detail.strip().splitlines()[-12:]:
            print(f"    {line}")
    for failure in total.failed:
        print(f"FAILED {failure}")
    print(f"{len(total.passed)} passed, {len(total.failed)} failed, {len(total.skipped)} skipped")
    sys.exit(1 if total.failed or surprises or unused or not total.passed else 0)


if __name__ == "__main__":
    main()

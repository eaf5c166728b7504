#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes a recorded stream of any size, with every metric of the registry, for benchmarks and tests of readers.

Values are those of a formula, so that a reader's totals can be checked: a counter is its sample's number times a
prime of its own, a gauge goes up and down between known bounds. Whole records only.
"""
import argparse
import json
import os
import re
import sys


def registry():
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../include/denet/metrics.def")
    text = open(path, encoding="utf-8").read()
    row = re.compile(r'^M\((\w+), "([^"]+)", (\w+), (\w+), (\w+),', re.M)
    return [dict(name=m[2], kind=m[3], unit=m[4], scope=m[5]) for m in row.finditer(text)]


def primes(n):
    found, candidate = [], 1009
    while len(found) < n:
        if all(candidate % d for d in range(2, int(candidate**0.5) + 1)):
            found.append(candidate)
        candidate += 1
    return found


def value(metric, prime, seq):
    if metric["kind"] == "COUNTER":
        return seq * prime * (100003 if metric["unit"] == "NS" else 1)
    if metric["unit"] == "PERCENT":
        return round(50 + 50 * ((seq * prime) % 101 / 100), 6)
    if metric["unit"] == "RATIO":
        return round((seq * prime) % 997 / 1000, 6)
    if metric["unit"] == "BYTES":
        return 4096 * (prime + (seq * prime) % 65537)
    return 1 + (seq * prime) % 61


def nest(target, name, number):
    *parents, last = name.split(".")
    for parent in parents:
        target = target.setdefault(parent, {})
    target[last] = number


def dump(record):
    return json.dumps(record, separators=(",", ":"), ensure_ascii=False) + "\n"


def frame(metrics, numbers, seq):
    record = {"tree": {}, "system": {}}
    for metric, prime in zip(metrics, numbers):
        nest(record[metric["scope"].lower()], metric["name"], value(metric, prime, seq))
    return record


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bytes", type=int, default=1 << 20, help="size of the stream, about")
    parser.add_argument("--samples", type=int, help="number of samples, instead of a size")
    parser.add_argument("--processes", type=int, default=0, help="length of the processes array of each sample")
    parser.add_argument("--no-summary", action="store_true", help="as if denet had been killed")
    args = parser.parse_args()
    metrics = registry()
    numbers = primes(len(metrics))
    out = sys.stdout
    written = out.write(dump({
        "kind": "header", "schema": 1, "denet": "0.1.0", "time": "2026-01-02T03:04:05.678901Z", "mode": "run",
        "command": ["make", "-j8"], "cwd": "/src", "pid": 4242, "tier": "perf", "interval_ns": 100000000,
        "host": {"hostname": "build", "kernel": "6.1.0", "arch": "x86_64", "cpus_online": 8},
        "metrics": {m["name"]: {"source": "procfs", "quality": "exact"} for m in metrics}}))
    seq = 0
    while seq < args.samples if args.samples is not None else written < args.bytes:
        seq += 1
        record = {"kind": "sample", "seq": seq, "t_ns": seq * 100000007, "interval_ns": 100000007}
        record.update(frame(metrics, numbers, seq))
        if args.processes:
            record["processes"] = [
                {"pid": 4242 + i, "ppid": 1, "start_ns": i, "name": "worker-%d" % i, "cpu": {"total_ns": seq * i},
                 "memory": {"rss_bytes": 4096 * i}} for i in range(args.processes)]
        written += out.write(dump(record))
    if not args.no_summary:
        record = {"kind": "summary", "seq": seq, "t_ns": seq * 100000007, "wall_ns": seq * 100000007,
                  "ended_by": "exit", "exit": {"code": 0, "signal": None, "core_dumped": False}}
        record.update(frame(metrics, numbers, seq))
        record.update({"metrics": {}, "lost": {"events": 0, "samples": 0},
                       "self": {"cpu_ns": 1000003, "max_rss_bytes": 4194304, "bpf_ns": 0}})
        out.write(dump(record))


if __name__ == "__main__":
    main()

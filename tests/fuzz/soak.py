#!/usr/bin/env python3
"""Fuzzes every target for so much CPU time, a few at once, and says what came of it. Owner: tests/fuzz.

Builds the targets (a nightly toolchain and cargo-fuzz), then runs each until it has had its share. What was done is
kept in target/fuzz-soak, so a soak that was interrupted goes on where it was; a finding is a file in its `found`.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
TARGETS = sorted(path.stem for path in (HERE / "fuzz_targets").glob("*.rs"))
# No run is longer, so little is lost of one that is interrupted.
LONGEST_S = 300


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cpu-seconds", type=float, default=3600, help="for each target; default 3600")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="targets at once; default one a core")
    parser.add_argument("--dir", type=Path, default=HERE.parent.parent / "target" / "fuzz-soak")
    parser.add_argument("--no-build", action="store_true", help="take the targets as they were built")
    parser.add_argument("targets", nargs="*", default=[], metavar="TARGET", help=f"of {', '.join(TARGETS)}")
    return parser.parse_args()


class Soak:
    def __init__(self, options):
        self.dir, self.budget_s = options.dir, options.cpu_seconds
        self.lock, self.stopped, self.running = threading.Lock(), False, set()
        self.state_file = self.dir / "state.json"
        self.dir.mkdir(parents=True, exist_ok=True)
        self.state = json.loads(self.state_file.read_text()) if self.state_file.exists() else {}

    def of(self, target):
        return self.state.setdefault(target, {"cpu_s": 0.0, "runs": 0, "found": []})

    def soak(self, target):
        """Until the target has had its share, or has found something, or all is to stop."""
        while not self.stopped and self.of(target)["cpu_s"] < self.budget_s and not self.of(target)["found"]:
            self.run_once(target)

    def run_once(self, target):
        work, found, log = self.dir / "work" / target, self.dir / "found", self.dir / f"{target}.log"
        work.mkdir(parents=True, exist_ok=True)
        found.mkdir(exist_ok=True)
        seconds = max(1, int(min(LONGEST_S, self.budget_s - self.of(target)["cpu_s"])))
        # Time that passes, not the target's own: on a busy machine that must not look like a finding.
        command = [binary(target), work, HERE / "corpus" / target, f"-max_total_time={seconds}", "-rss_limit_mb=1024",
                   "-timeout=1200", "-print_final_stats=1", f"-artifact_prefix={found}/{target}-"]
        with open(log, "wb") as out:
            process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
        with self.lock:
            self.running.add(process.pid)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        with self.lock:
            self.running.discard(process.pid)
            self.record(target, process.returncode, used, log.read_text(errors="replace"))

    def record(self, target, code, used, said):
        state = self.of(target)
        state["cpu_s"] += used.ru_utime + used.ru_stime
        runs = re.search(r"number_of_executed_units: (\d+)", said)
        state["runs"] += int(runs[1]) if runs else 0
        if code and not self.stopped:
            written = re.findall(r"Test unit written to (\S+)", said)
            state["found"] += written or [f"exit code {code}: {self.dir / target}.log"]
        self.state_file.write_text(json.dumps(self.state, indent=1, sort_keys=True))

    def stop(self, *_):
        self.stopped = True
        for pid in list(self.running):
            os.kill(pid, signal.SIGINT)

    def table(self, targets):
        rows = [f"{'target':20} {'CPU s':>8} {'executions':>14}  findings"]
        for target in targets:
            state = self.of(target)
            rows.append(f"{target:20} {state['cpu_s']:8.0f} {state['runs']:14,}  {' '.join(state['found']) or 'none'}")
        return "\n".join(rows)


def binary(target):
    host = re.search(r"host: (\S+)", subprocess.check_output(["rustc", "-vV"], text=True))[1]
    return HERE / "target" / host / "release" / target


def main():
    options = arguments()
    targets = options.targets or TARGETS
    unknown = sorted(set(targets) - set(TARGETS))
    if unknown:
        sys.exit(f"no such target: {', '.join(unknown)}")
    if not options.no_build:
        build = ["cargo", "+nightly", "fuzz", "build", "--fuzz-dir", HERE, "-O", "--sanitizer", "none"]
        subprocess.run(build, check=True, cwd=HERE.parent.parent)
    soak = Soak(options)
    signal.signal(signal.SIGINT, soak.stop)
    signal.signal(signal.SIGTERM, soak.stop)
    # Those that had the least come first.
    with ThreadPoolExecutor(options.jobs) as pool:
        for done in pool.map(soak.soak, sorted(targets, key=lambda target: soak.of(target)["cpu_s"])):
            assert done is None
    print(soak.table(targets))
    sys.exit(any(soak.of(target)["found"] for target in targets))


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""How many instructions each case of hot_path.rs takes, under callgrind: those of the thread that asks, which carries a
request out itself unless it waits; the kernel's do not count. It needs valgrind.
"""

import argparse
import json
import re
import tempfile
from pathlib import Path

from fetch import ROOT, Failed, run


def binary():
    """The benchmark as `cargo bench` builds it."""
    said = run("cargo", "bench", "--no-run", "--quiet", "--locked", "--bench", "hot_path", "--message-format",
               "json", cwd=ROOT)
    built = (json.loads(line) for line in said.splitlines() if line.startswith("{"))
    found = [item["executable"] for item in built if item.get("target", {}).get("name") == "hot_path"]
    if not found or not found[-1]:
        raise Failed("cargo built no hot_path")
    return found[-1]


def instructions(program, case, times):
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        run("valgrind", "--tool=callgrind", "--collect-atstart=no", "--toggle-collect=*measured*",
            f"--callgrind-out-file={out}", program, "--times", times, case)
        total = re.search(r"^(?:summary|totals): (\d+)", out.read_text(), re.MULTILINE)
        if not total:
            raise Failed(f"callgrind wrote no summary of case {case}")
        return int(total[1])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=200)
    parser.add_argument("--only", nargs="*", default=[], metavar="WORD", help="cases whose name contains one of these")
    options = parser.parse_args()
    program = binary()
    print("| case | instructions |\n| --- | --- |")
    for case, name in enumerate(run(program, "--names").splitlines()):
        if options.only and not any(word in name for word in options.only):
            continue
        print(f"| {name} | {instructions(program, case, options.times) / options.times:,.0f} |", flush=True)


if __name__ == "__main__":
    main()

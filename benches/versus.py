#!/usr/bin/env python3
"""dohle against Apache Kafka on one machine, row by row, in alternation. benches/README.md says how to read it.

Fetches and builds what it needs into target/bench, starts each broker afresh for each row and round, and prints a
table of medians with the spread, the ratio and the goal. The same goes to target/bench/result.md and result.json.
"""

import argparse
import functools
import os
import sys
from pathlib import Path

import report
from brokers import Dohle, Kafka
from fetch import DOHLE, KAFKA, TOOLS, Failed, prepare, run
from work import floor, rows


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="a fifth of the work")
    parser.add_argument("--only", nargs="*", default=[], metavar="WORD", help="rows whose name contains one of these")
    parser.add_argument("--this", default="dohle", metavar="BROKER", help="dohle (default), kafka or a dohle binary")
    parser.add_argument("--against", default="kafka", metavar="BROKER",
                        help="kafka (default), dohle, a dohle binary or none")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="an option more for --this")
    parser.add_argument("--list", action="store_true", help="name the rows and stop")
    return parser.parse_args()


def contenders(options):
    """Name, class and further options of both sides. Two of a kind are told apart by a number."""
    sides, names = [], []
    for wanted, extra in ((options.this, options.set), (options.against, [])):
        if wanted == "none":
            continue
        if wanted == "kafka":
            kind = Kafka
        elif wanted == "dohle":
            kind = Dohle
        else:
            kind = functools.partial(Dohle, binary=Path(wanted).resolve(strict=True))
        name = wanted if wanted in ("kafka", "dohle") else Path(wanted).name
        name = f"{name} (2)" if name in names else name
        names.append(name)
        sides.append((name, kind, extra))
    return sides


def main():
    options = arguments()
    few = 0.2 if options.quick else 1
    chosen = [row for row in rows(few) if not options.only or any(word in row[0] for word in options.only)]
    if options.list or not chosen:
        sys.exit("\n".join(row[0] for row in rows(few)))
    sides = contenders(options)
    wanted = (options.this, options.against)
    load_before = os.getloadavg()[0]
    prepare("dohle" in wanted, "kafka" in wanted)
    versions = ([run(DOHLE, "--version").strip()] if "dohle" in wanted else []) + \
        ([f"Apache Kafka {KAFKA}"] if "kafka" in wanted else []) + [f"Kafka tools {TOOLS}"]
    head = {"machine": report.machine(), "versions": versions, "rounds": options.rounds, "scale": few,
            "load_before": load_before}
    results, failures = {}, []

    def note(row, name, figures):
        for figure, value in figures.items():
            of_rounds = results.setdefault(row, {}).setdefault(name, {}).setdefault(figure, [None] * options.rounds)
            of_rounds[number] = value
            print(f"{row} | {name} | {figure} = {value:.4g}", file=sys.stderr, flush=True)

    def measure(row, work, name, kind, settings):
        try:
            with kind(settings) as broker:
                note(row, name, work(broker))
        except (Failed, OSError) as failure:
            failures.append(f"{row} | {name}: {failure}")
            print(failures[-1], file=sys.stderr, flush=True)

    names = [side[0] for side in sides] + ["none"]
    for number in range(options.rounds):
        note(report.FLOOR, "floor", floor(few))
        for row, work, ours, theirs in chosen:
            # Who goes first changes from round to round.
            for name, kind, extra in sides[::-1] if number % 2 else sides:
                settings = theirs if kind is Kafka else ours
                if settings is not None:
                    measure(row, work, name, kind, [*settings, *extra])
        text = report.write(head, results, failures, names[:2])
    print(text)
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()

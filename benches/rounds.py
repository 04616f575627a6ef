"""Two sides, rows that are measured in alternation, a table. Owner: benches.

A row is a name, a piece of work that returns figures by name, and the options of either side (None: not for this one).
"""

import argparse
import functools
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import report
from brokers import let_the_disk_rest, sweep
from fetch import DOHLE, Failed, build_dohle, run


RIVAL = "rival"


@dataclass
class Suite:
    """Rows that share a rival. `rows` and `floor` take the share of the work, `prepare` fetches and builds what the
    sides' names ask for and returns the versions of it."""
    rival: str
    ours: Callable
    theirs: Callable
    rows: Callable
    floor: Callable
    prepare: Callable


def arguments(about):
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="a fifth of the work")
    parser.add_argument("--only", nargs="*", default=[], metavar="WORD", help="rows whose name contains one of these")
    parser.add_argument("--this", default="dohle", metavar="SIDE", help=f"dohle (default), {RIVAL} or a dohle binary")
    parser.add_argument("--against", default=RIVAL, metavar="SIDE",
                        help=f"{RIVAL} (default: what the row is measured against), dohle, a dohle binary or none")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="an option more for --this")
    parser.add_argument("--list", action="store_true", help="name the rows and stop")
    return parser.parse_args()


def contenders(options, suite):
    """Name, class and further options of both sides. Two of a kind are told apart by a number."""
    sides, names = [], []
    for wanted, extra in ((options.this, options.set), (options.against, [])):
        if wanted == "none":
            continue
        if wanted == RIVAL:
            name, kind = suite.rival, suite.theirs
        elif wanted == "dohle":
            name, kind = wanted, suite.ours
        else:
            binary = Path(wanted).resolve(strict=True)
            name, kind = binary.name, functools.partial(suite.ours, binary=binary)
        name = f"{name} (2)" if name in names else name
        names.append(name)
        sides.append((name, kind, extra))
    return sides


class Results:
    """By row, side and figure: a value for each round."""

    def __init__(self, rounds):
        self.rounds, self.number = rounds, 0
        self.figures, self.failures = {}, []

    def note(self, row, name, figures):
        for figure, value in figures.items():
            of_side = self.figures.setdefault(row, {}).setdefault(name, {})
            of_side.setdefault(figure, [None] * self.rounds)[self.number] = value
            print(f"{row} | {name} | {figure} = {value:.4g}", file=sys.stderr, flush=True)

    def measure(self, row, work, name, kind, settings):
        let_the_disk_rest()
        try:
            with kind(settings) as side:
                self.note(row, name, work(side))
        except (Failed, OSError) as failure:
            self.failures.append(f"{row} | {name}: {failure}")
            print(self.failures[-1], file=sys.stderr, flush=True)

    def measure_all(self, suite, chosen, sides):
        for row, work, ours, of_rival in chosen:
            # Who goes first changes from round to round.
            for name, kind, extra in sides[::-1] if self.number % 2 else sides:
                settings = of_rival if kind is suite.theirs else ours
                if settings is not None:
                    self.measure(row, work, name, kind, [*settings, *extra])


def compare(options, suites):
    """Measures every chosen row of every suite in every round, and prints."""
    few = 0.2 if options.quick else 1
    chosen = [(suite, [row for row in suite.rows(few)
                       if not options.only or any(word in row[0] for word in options.only)]) for suite in suites]
    chosen = [(suite, rows, contenders(options, suite)) for suite, rows in chosen if rows]
    if options.list or not chosen:
        sys.exit("\n".join(row[0] for suite in suites for row in suite.rows(few)))
    load_before = os.getloadavg()[0]
    sweep()
    wanted = (options.this, options.against)
    versions = []
    if "dohle" in wanted:
        build_dohle()
        versions.append(run(DOHLE, "--version").strip())
    for suite, *_ in chosen:
        versions += [version for version in suite.prepare(RIVAL in wanted) if version not in versions]
    head = {"machine": report.machine(), "versions": versions, "rounds": options.rounds, "scale": few,
            "load_before": load_before}
    results = Results(options.rounds)
    columns = [([row[0] for row in rows], *[side[0] for side in sides], "none")[:3] for _, rows, sides in chosen]
    for results.number in range(options.rounds):
        for suite, rows, sides in chosen:
            results.note(report.FLOOR, "floor", suite.floor(few))
            results.measure_all(suite, rows, sides)
        text = report.write(head, results.figures, results.failures, columns)
    sweep()
    print(text)
    sys.exit(bool(results.failures))

"""What every benchmark here has in common: two sides, rows that are measured in alternation, a table. Owner: benches.

A row is a name, a piece of work that returns figures by name, and the options of either side (None: not for this one).
"""

import argparse
import functools
import os
import sys
from pathlib import Path

import report
from fetch import DOHLE, Failed, run


def arguments(about, rival):
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="a fifth of the work")
    parser.add_argument("--only", nargs="*", default=[], metavar="WORD", help="rows whose name contains one of these")
    parser.add_argument("--this", default="dohle", metavar="SIDE", help=f"dohle (default), {rival} or a dohle binary")
    parser.add_argument("--against", default=rival, metavar="SIDE",
                        help=f"{rival} (default), dohle, a dohle binary or none")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="an option more for --this")
    parser.add_argument("--list", action="store_true", help="name the rows and stop")
    return parser.parse_args()


def contenders(options, dohle, rival, theirs):
    """Name, class and further options of both sides. Two of a kind are told apart by a number."""
    sides, names = [], []
    for wanted, extra in ((options.this, options.set), (options.against, [])):
        if wanted == "none":
            continue
        if wanted == rival:
            kind = theirs
        elif wanted == "dohle":
            kind = dohle
        else:
            kind = functools.partial(dohle, binary=Path(wanted).resolve(strict=True))
        name = wanted if wanted in (rival, "dohle") else Path(wanted).name
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
        try:
            with kind(settings) as side:
                self.note(row, name, work(side))
        except (Failed, OSError) as failure:
            self.failures.append(f"{row} | {name}: {failure}")
            print(self.failures[-1], file=sys.stderr, flush=True)


def compare(options, rows, floor, sides, theirs, prepare, versions, output):
    """Measures and prints; `prepare` fetches and builds, `theirs` is the rival's class, `output` the files' name."""
    few = 0.2 if options.quick else 1
    chosen = [row for row in rows(few) if not options.only or any(word in row[0] for word in options.only)]
    if options.list or not chosen:
        sys.exit("\n".join(row[0] for row in rows(few)))
    load_before = os.getloadavg()[0]
    prepare()
    own = [run(DOHLE, "--version").strip()] if "dohle" in (options.this, options.against) else []
    head = {"machine": report.machine(), "versions": own + versions, "rounds": options.rounds, "scale": few,
            "load_before": load_before}
    results = Results(options.rounds)
    names = [side[0] for side in sides] + ["none"]
    for results.number in range(options.rounds):
        results.note(report.FLOOR, "floor", floor(few))
        for row, work, ours, of_rival in chosen:
            # Who goes first changes from round to round.
            for name, kind, extra in sides[::-1] if results.number % 2 else sides:
                settings = of_rival if kind is theirs else ours
                if settings is not None:
                    results.measure(row, work, name, kind, [*settings, *extra])
        text = report.write(head, results.figures, results.failures, names[:2], output)
    print(text)
    sys.exit(bool(results.failures))

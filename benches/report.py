"""The table: medians, spreads, ratios and goals. Owner: benches."""

import json
import os
import platform
import statistics

import plot
from fetch import ROOT, WORK, run

FLOOR = "the floor"
# What dohle means to reach, by row and figure: at most or at least `factor` times what is named (1 when nothing is):
# the rival's figure, its figure of another row, or the floor's. A row's goal is that of like for like.
GOALS = {
    ("cold start of an empty node", "first Metadata s"): ("≤", 0.05, None),
    ("cold start of an empty node", "RSS empty MB"): ("≤", 10, None),
    ("1,000 clients connect", "CPU s"): ("≤", 0.1, None),
    ("produce 1 KiB", "CPU s/GB"): ("≤", 1.1, (FLOOR, "floor", "receive CPU s/GB")),
    ("produce 1 KiB", "MB/s"): ("≥", 2.5, ("produce 1 KiB", "kafka", "MB/s")),
    ("produce 1 KiB", "peak RSS MB"): ("≤", 40, None),
    ("produce 100 B", "CPU s/M records"): ("≤", 0.15, None),
    ("consume 1 KiB", "CPU s/GB"): ("≤", 1.2, (FLOOR, "floor", "send CPU s/GB")),
    ("consume 1 KiB", "peak RSS MB"): ("≤", 40, None),
    ("one at a time", "p50 ms"): ("≤", 1 / 3, ("one at a time", "kafka", "p50 ms")),
    ("one at a time", "p99 ms"): ("≤", 1 / 3, ("one at a time", "kafka", "p99 ms")),
    ("one at a time, durable", "p50 ms"): ("≤", 1 / 2, ("one at a time, durable", "kafka", "p50 ms")),
    ("one at a time, durable", "p99 ms"): ("≤", 1, ("one at a time", "kafka", "p99 ms")),
    ("1,000 partitions, durable", "p99 ms"): ("≤", 10, None),
    ("1,000 partitions, durable", "MB/s"): ("≥", 0.8, ("1,000 partitions", "dohle", "MB/s")),
    ("produce to consume, 1,000/s", "p50 ms"): ("≤", 0.4, None),
    ("produce to consume, 1,000/s", "p99 ms"): ("≤", 1.5, None),
    ("compaction", "CPU s/GB"): ("≤", 1, ("compaction", "kafka", "CPU s/GB")),
    ("compaction", "until clean s"): ("≤", 1, ("compaction", "kafka", "until clean s")),
    ("100,000 partitions at rest", "RSS MB"): ("≤", 512, None),
    ("100,000 partitions at rest", "RSS after restart MB"): ("≤", 512, None),
    ("100,000 partitions at rest", "clean restart s"): ("≤", 3, None),
    ("100,000 partitions at rest", "idle CPU %"): ("≤", 1, None),
    ("100,000 partitions at rest", "idle CPU after restart %"): ("≤", 1, None),
    ("200 topics of 10 partitions", "every leader answers s"): ("≤", 0.3, None),
    ("50 members over 100 partitions", "balanced s"): ("≤", 0.3, None),
    **{(f"writes, {outstanding} outstanding", "writes/s"):
       ("≥", 3, (f"writes, {outstanding} outstanding", "zookeeper", "writes/s")) for outstanding in (1, 16, 256)},
    ("kill -9 of the leader", "median gap ms"): ("≤", 300, None),
    ("kill -9 of the leader", "longest gap ms"): ("≤", 300, None),
}


def machine():
    with open("/proc/cpuinfo") as cpus:
        model = next((line.split(":")[1].strip() for line in cpus if line.startswith("model name")), "unknown CPU")
    with open("/proc/meminfo") as memory:
        kib = next(int(line.split()[1]) for line in memory if line.startswith("MemTotal"))
    return {"cpu": model, "cores": os.cpu_count(), "memory_mib": kib // 1024, "kernel": platform.release(),
            "filesystem": run("df", "--output=fstype", ROOT).split()[-1]}


def present(values):
    return [value for value in values if value is not None]


def spread(values, digits=3):
    values = present(values)
    if not values:
        return ""
    low, middle, high = (f"{pick(values):.{digits}g}" for pick in (min, statistics.median, max))
    return middle if len(values) == 1 else f"{middle} ({low}–{high})"


def ratios(ours, theirs):
    """Round by round, as both of a round ran next to each other."""
    return [mine / its for mine, its in zip(ours, theirs) if mine is not None and its]


def goal(row, figure, ours, results):
    """The goal in words, and whether the median meets it."""
    if (row, figure) not in GOALS:
        return ""
    sign, factor, of = GOALS[row, figure]
    bound, words = factor, f"{sign} {factor:.3g}"
    if of:
        base = results.get(of[0], {}).get(of[1], {}).get(of[2])
        words += f" × {of[1]}" + ("" if of[0] in (row, FLOOR) else f" ({of[0]})")
        if not base:
            return words
        bound = factor * statistics.median(present(base))
    middle = statistics.median(present(ours))
    met = middle <= bound if sign == "≤" else middle >= bound
    return f"{words}: {'met' if met else 'not met'}"


def floors(results):
    lines = [f"| {FLOOR} | |", "| --- | --- |"]
    lines += [f"| {figure} | {spread(values)} |" for figure, values in results.get(FLOOR, {}).get("floor", {}).items()]
    return "\n".join(lines)


def table(results, rows, this, against):
    """`results` by row, side and figure: a list with a value of each round (None where it failed)."""
    lines = [f"| row | figure | {this} | {against} | {this} / {against} | goal |", "| --- | --- | --- | --- | --- | --- |"]
    for row in rows:
        sides = results.get(row, {})
        first, second = sides.get(this, {}), sides.get(against, {})
        for figure in dict.fromkeys([*first, *second]):
            ours, theirs = first.get(figure, []), second.get(figure, [])
            lines.append(f"| {row} | {figure} | {spread(ours)} | {spread(theirs)} | {spread(ratios(ours, theirs))} | "
                         f"{goal(row, figure, ours, results) if ours and this == 'dohle' else ''} |")
    return "\n".join(lines)


def write(head, results, failures, columns):
    """A table as Markdown for each of `columns` (its rows, and the names of both sides); the same, a plot and the raw
    values go to `result` in target/bench."""
    about = head["machine"]
    tables = [floors(results), *[table(results, *of_suite) for of_suite in columns]]
    text = (f"{about['cpu']}, {about['cores']} cores, {about['memory_mib']} MiB, Linux {about['kernel']}, "
            f"{about['filesystem']}; {'; '.join(head['versions'])}; {head['rounds']} rounds in alternation, work × "
            f"{head['scale']:g}, load of the machine before {head['load_before']:.1f}. "
            f"Median (smallest–largest); a ratio is taken within each round.\n\n" + "\n\n".join(tables) + "\n")
    text += "".join(f"\n* **failed**: {failure}" for failure in failures)
    (WORK / "result.md").write_text(text)
    (WORK / "result.svg").write_text(plot.svg(head, results, columns))
    (WORK / "result.json").write_text(json.dumps(head | {"results": results, "failures": failures}, indent=1))
    return text

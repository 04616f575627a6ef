#!/usr/bin/env python3
"""dohle against Apache Kafka on one machine, row by row, in alternation. benches/README.md says how to read it.

Fetches and builds what it needs into target/bench, starts each broker afresh for each row and round, and prints a
table of medians with the spread, the ratio and the goal. The same goes to target/bench/result.md and result.json.
"""

import scaling
from brokers import Dohle, Kafka
from fetch import KAFKA, TOOLS, prepare
from rounds import arguments, compare, contenders
from work import floor, rows as work_rows


def rows(few):
    return work_rows(few) + scaling.rows(few)


def main():
    options = arguments(__doc__.splitlines()[0], "kafka")
    sides = contenders(options, Dohle, "kafka", Kafka)
    wanted = (options.this, options.against)
    versions = ([f"Apache Kafka {KAFKA}"] if "kafka" in wanted else []) + [f"Kafka tools {TOOLS}"]
    compare(options, rows, floor, sides, Kafka, lambda: prepare("dohle" in wanted, "kafka" in wanted), versions,
            "result")


if __name__ == "__main__":
    main()

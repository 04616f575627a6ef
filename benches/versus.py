#!/usr/bin/env python3
"""dohle against Apache Kafka, and its ensemble against Apache ZooKeeper, row by row, in alternation.

Fetches and builds what it needs into target/bench, starts everything afresh for each row and round, and prints a
table of medians with the spread, the ratio and the goal. The same goes to target/bench/result.md, result.json and
result.svg. benches/README.md says how to read it.
"""

import signal
import sys

import ensemble_work
import scaling
import work
from brokers import Dohle, Kafka
from ensembles import DohleEnsemble, ZooKeeper
from fetch import prepare_brokers, prepare_ensembles
from rounds import Suite, arguments, compare


def main():
    # What was started is stopped: by unwinding, which a signal alone does not do.
    for ending in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, lambda number, _: sys.exit(128 + number))
    brokers = Suite("kafka", Dohle, Kafka, lambda few: work.rows(few) + scaling.rows(few), work.floor, prepare_brokers)
    ensembles = Suite("zookeeper", DohleEnsemble, ZooKeeper, ensemble_work.rows, ensemble_work.floor,
                      prepare_ensembles)
    compare(arguments(__doc__.splitlines()[0]), [brokers, ensembles])


if __name__ == "__main__":
    main()

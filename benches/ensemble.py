#!/usr/bin/env python3
"""dohle's ensemble against Apache ZooKeeper on one machine, in alternation. benches/README.md says how to read it.

Fetches and builds what it needs into target/bench, starts each ensemble of three afresh for each row and round, and
prints a table like versus.py's. The same goes to target/bench/ensemble.md and ensemble.json.
"""

from ensemble_work import floor, rows
from ensembles import DohleEnsemble, ZooKeeper
from fetch import KAFKA, ZOOKEEPER, prepare_ensemble
from rounds import arguments, compare, contenders


def main():
    options = arguments(__doc__.splitlines()[0], "zookeeper")
    sides = contenders(options, DohleEnsemble, "zookeeper", ZooKeeper)
    wanted = (options.this, options.against)
    versions = ([f"Apache ZooKeeper {ZOOKEEPER}"] if "zookeeper" in wanted else []) + [f"kafka-clients {KAFKA}"]
    compare(options, rows, floor, sides, ZooKeeper, lambda: prepare_ensemble("dohle" in wanted), versions, "ensemble")


if __name__ == "__main__":
    main()

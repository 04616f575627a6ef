"""What is done to an ensemble, and the rows of its table. Owner: benches.

A row is a piece of work on a fresh ensemble that it starts itself. A write is a change of one small value, of 1 KiB
where nothing else is said: setData of a ZooKeeper node; for dohle a client metrics subscription by
IncrementalAlterConfigs, which is metadata and nothing but metadata. What warms up is done before what is measured.
"""

import json
import signal
import statistics
import threading
import time

from brokers import RUN, Broker
from ensembles import VOTERS
from fetch import WORK, Failed, run
from work import flush_floor

KEYS, SIZE, SMALL = 1000, 1024, 16
OUTSTANDING = (1, 16, 256)
MOST_OUTSTANDING = OUTSTANDING[-1]
# How long it may take until each server has taken a snapshot by itself.
SNAPSHOTS_WITHIN_S = 180


def filled(ensemble, load, seconds):
    """Keys with values of the size that counts, and servers and client that have worked for a while."""
    load.create(KEYS, SMALL)
    load.write(MOST_OUTSTANDING, seconds, KEYS, SIZE)


def writes(ensemble, outstanding, seconds):
    """So many under way all the time, over clients of all three servers."""
    ensemble.start()
    with ensemble.load() as load:
        filled(ensemble, load, seconds)
        load.write(outstanding, seconds / 5, KEYS, SIZE)
        leader = ensemble.members[ensemble.leader()]
        transactions, flushes = leader.transactions(), leader.flushes() if hasattr(leader, "flushes") else None
        (seen, cpu_s), disk = leader.disk_bytes_during(
            lambda: ensemble.cpu_during(lambda: load.write(outstanding, seconds, KEYS, SIZE)))
    count = seen["count"]
    done = leader.transactions() - transactions
    if done < count:
        raise Failed(f"{count} writes were acknowledged, and {done} transactions were made")
    figures = {"writes/s": seen["per_s"], "p50 ms": seen["p50_ms"], "p99 ms": seen["p99_ms"],
               "CPU s/1,000 writes": cpu_s / count * 1000, "disk B/B": disk / (count * SIZE * VOTERS),
               "peak RSS MB": ensemble.memory_mb("VmHWM")}
    if flushes is not None:
        figures["writes/flush of the leader"] = done / (leader.flushes() - flushes)
    return figures


def reads(ensemble, seconds):
    """Values of 1 KiB from one server at a time, 256 under way."""
    ensemble.start(observers=1)
    figures = {}
    with ensemble.load() as load:
        filled(ensemble, load, seconds)
        leader = ensemble.leader()
        follower = next(index for index in range(VOTERS) if index != leader)
        for role, index in (("leader", leader), ("follower", follower), ("observer", VOTERS)):
            load.read(index, MOST_OUTSTANDING, seconds, KEYS, SIZE)
            seen, cpu_s = ensemble.cpu_during(lambda: load.read(index, MOST_OUTSTANDING, seconds, KEYS, SIZE),
                                              [ensemble.members[index]])
            figures |= {f"{role}: reads/s": seen["per_s"], f"{role}: p99 ms": seen["p99_ms"],
                        f"{role}: CPU s/1,000 reads": cpu_s / seen["count"] * 1000}
    return figures


def without_a_leader(ensemble, times, end, resume):
    """The leader's process gets the signal `end` while somebody writes to every server all the time: the longest time
    without an acknowledged write. Then it comes back."""
    ensemble.start()
    everybody, gaps = range(VOTERS), []
    with ensemble.writers() as writers:
        for _ in range(times):
            leader = ensemble.leader()
            writers.wait(everybody, time.monotonic(), 60)
            time.sleep(2)
            victim, began = ensemble.members[leader], time.monotonic()
            victim.signal(end)
            writers.wait([index for index in everybody if index != leader], began, 60)
            # What stumbles after its first step counts, too.
            time.sleep(1)
            gaps.append(writers.longest_gap(began, time.monotonic()) * 1000)
            resume(victim)
            writers.wait(everybody, time.monotonic(), 60)
    return {"median gap ms": statistics.median(gaps), "longest gap ms": max(gaps)}


def killed(ensemble, times):
    return without_a_leader(ensemble, times, signal.SIGKILL, Broker.spawn)


def stopped(ensemble, times):
    return without_a_leader(ensemble, times, signal.SIGSTOP, lambda victim: victim.signal(signal.SIGCONT))


class SnapshotWatch:
    """When each voter was writing a snapshot: a thread of that name is there."""

    EVERY_S = 0.02

    def __init__(self, ensemble):
        self.members = ensemble.members[:VOTERS]
        self.windows, self.ended = [[] for _ in self.members], threading.Event()
        self.thread = threading.Thread(target=self.run)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()

    def run(self):
        began = [None] * len(self.members)
        while not self.ended.is_set():
            for index, member in enumerate(self.members):
                writing, now = member.SNAPSHOT_THREAD in member.threads(), time.monotonic()
                if writing and began[index] is None:
                    began[index] = now
                if not writing and began[index] is not None:
                    self.windows[index].append((began[index], now))
                    began[index] = None
            self.ended.wait(self.EVERY_S)

    def everybody_has(self):
        return all(self.windows)

    def merged(self):
        """In which any of them was writing one."""
        together = []
        for began, ended in sorted(window for windows in self.windows for window in windows):
            if together and began <= together[-1][1]:
                together[-1] = (together[-1][0], max(ended, together[-1][1]))
            else:
                together.append((began, ended))
        return together

    def median_s(self):
        return statistics.median(ended - began for windows in self.windows for began, ended in windows)


def snapshot_while_serving(ensemble, load, seconds):
    """Writes, 16 under way, until every server has taken a snapshot by itself, and what they were like meanwhile."""
    path, operations, spans = RUN / "writes", [], []
    load.write(16, seconds / 2, KEYS, SIZE)
    with SnapshotWatch(ensemble) as watch:
        deadline = time.monotonic() + SNAPSHOTS_WITHIN_S
        while not watch.everybody_has():
            if time.monotonic() > deadline:
                raise Failed(f"not every server has taken a snapshot within {SNAPSHOTS_WITHIN_S} s")
            began = time.monotonic()
            load.write(16, seconds, KEYS, SIZE, path)
            spans.append((began, time.monotonic()))
            for line in path.read_text().splitlines():
                ended, took = (int(word) / 1e9 for word in line.split())
                operations.append((ended, took))
    path.unlink()
    windows = watch.merged()
    during = [took for ended, took in operations if any(a < ended and ended - took < b for a, b in windows)]
    beside = [took for ended, took in operations if not any(a < ended and ended - took < b for a, b in windows)]
    inside_s = sum(max(0, min(b, end) - max(a, began)) for a, b in windows for began, end in spans)
    outside_s = sum(end - began for began, end in spans) - inside_s
    if not during or len(beside) < 100:
        raise Failed(f"{len(during)} writes during snapshots and {len(beside)} beside them do not show anything")
    newest = max(ensemble.members[0].snapshots().values())
    rates = len(during) / inside_s, len(beside) / outside_s
    return {"16 outstanding: writes/s": rates[1], "16 outstanding: p99 ms": percentile(beside, 0.99),
            "during snapshots: writes/s": rates[0], "during snapshots: p99 ms": percentile(during, 0.99),
            "during snapshots: worst ms": max(during) * 1000, "during / beside": rates[0] / rates[1],
            "snapshot s": watch.median_s(), "snapshot MB": newest / 1e6}


def percentile(seconds, share):
    return sorted(seconds)[min(len(seconds) - 1, int(share * len(seconds)))] * 1000


def many_records(ensemble, count, seconds):
    """An image of so many values of 16 bytes: filled, started again after a stop in good order and after `kill -9` of
    all at once, and written to while snapshots of it are taken."""
    ensemble.start()
    with ensemble.load() as load:
        seen, cpu_s = ensemble.cpu_during(lambda: load.create(count, SMALL))
    figures = {"filled, records/s": seen["per_s"], "filled, CPU s": cpu_s, "RSS MB": ensemble.memory_mb("VmRSS")}
    for how, what in (("clean", signal.SIGTERM), ("kill -9", signal.SIGKILL)):
        for member in ensemble.members:
            member.signal(what)
        for member in ensemble.members:
            member.process.wait(60)
        first, last = ensemble.start_all()
        figures |= {f"after {how}: first write s": first, f"after {how}: every server writes s": last,
                    f"after {how}: RSS MB": ensemble.memory_mb("VmRSS")}
    with ensemble.load() as load:
        # They all are there.
        load.read(0, 16, 2, count, SMALL)
        figures |= snapshot_while_serving(ensemble, load, seconds)
    return figures | {"peak RSS MB": ensemble.memory_mb("VmHWM")}


def rows(few):
    """Each row: name, what is done, dohle's options and ZooKeeper's. `few` scales the work."""
    seconds, times = max(2, 10 * few), max(2, int(5 * few))
    tick = ["tickTime=500"]
    # ZooKeeper's default is a snapshot in 50,000 to 100,000 transactions; it is to be seen here.
    soon = ["snapCount=20000"]
    return [
        *[(f"writes, {outstanding} outstanding", lambda e, o=outstanding: writes(e, o, seconds), [], [])
          for outstanding in OUTSTANDING],
        ("reads, 256 outstanding", lambda e: reads(e, seconds), [], []),
        ("kill -9 of the leader", lambda e: killed(e, times), [], []),
        ("kill -9 of the leader, ticks of 500 ms", lambda e: killed(e, times), [], tick),
        ("leader falls silent", lambda e: stopped(e, times), [], []),
        ("leader falls silent, ticks of 500 ms", lambda e: stopped(e, times), [], tick),
        ("a million records", lambda e: many_records(e, int(1_000_000 * few), seconds), [], soon),
    ]


def floor(few):
    """What each peer pays for each write, or for many together, and what three of them can do at most."""
    figures = flush_floor(few)
    for outstanding in OUTSTANDING:
        seen = json.loads(run(WORK / "floor_quorum", outstanding, max(1, 5 * few), WORK))
        figures |= {f"{outstanding} outstanding: writes/s": seen["per_s"], f"{outstanding} outstanding: p50 ms": seen["p50_ms"]}
    return figures

"""How cost grows with what there is of something, over two decades. Owner: benches.

Each row does the same piece of work at three sizes on one broker, smallest first, after a warm-up of the smallest; the
figures carry the size in their names (`at 1,000`), where the plot finds it.
"""

import time

from fetch import Failed
from work import PAGE_CACHE, connected, delay, franz, rdkafka

STEPS = (10, 100, 1000)


def over(sizes, once):
    """What `once` says at each size, its figures named by the size."""
    def row(broker):
        once(broker, "warm", sizes[0])
        figures = {}
        for size in sizes:
            figures |= {f"{figure} at {size:,}": value for figure, value in once(broker, f"at-{size}", size).items()}
        return figures
    return row


def partitions(records):
    def once(broker, name, count):
        franz("create", broker, "-topic", name, "-partitions", count)
        seen, cpu_s = broker.cpu_during(lambda: franz(
            "spread", broker, "-topic", name, "-partitions", count, "-records", records, "-most", records))
        # Each partition gets two records before the others.
        return {"CPU s/M records": cpu_s / ((2 * records + 2 * count) / 1e6), "p99 ms": seen["p99_ms"]}
    return over(STEPS, once)


def connections():
    def once(broker, _, count):
        before = broker.memory_mb("VmRSS")
        with connected(broker, count) as held:
            after = broker.memory_mb("VmRSS")
            return {"CPU ms each": held["CPU s"] * 1e3 / count, "RSS kB each": (after - before) * 1e3 / count}
    return over(STEPS, once)


def groups():
    def once(broker, name, count):
        franz("create", broker, "-topic", name)
        seen, cpu_s = broker.cpu_during(lambda: franz(
            "join", broker, "-topic", name, "-members", 1, "-partitions", 1, "-groups", count, "-group", name))
        return {"CPU ms each": cpu_s * 1e3 / count, "balanced s": seen["balanced_s"]}
    return over((1, 10, 100), once)


def members():
    def once(broker, name, count):
        franz("create", broker, "-topic", name, "-partitions", 100)
        seen, cpu_s = broker.cpu_during(lambda: franz(
            "join", broker, "-topic", name, "-members", count, "-group", name))
        return {"CPU ms each": cpu_s * 1e3 / count, "balanced s": seen["balanced_s"]}
    return over((1, 10, 100), once)


def topics():
    def once(broker, name, count):
        seen, cpu_s = broker.cpu_during(lambda: franz(
            "leaders", broker, "-topic", name, "-topics", count, "-partitions", 1))
        return {"CPU ms each": cpu_s * 1e3 / count, "every leader answers s": seen["answered_s"]}
    return over(STEPS, once)


def record_size(total):
    def once(broker, name, size):
        franz("create", broker, "-topic", name)
        seen, cpu_s = broker.cpu_during(lambda: rdkafka("produce", broker, name, total // size, size))
        return {"CPU s/GB": cpu_s / (total / 1e9), "MB/s": seen["mb_per_s"]}
    return over((100, 1000, 10_000), once)


def log_size(few):
    """What is in the log should cost a start nothing, nor the one who reads its end."""
    def once(broker, name, megabytes):
        franz("create", broker, "-topic", name)
        rdkafka("produce", broker, name, int(megabytes * few) * 1000, 1000)
        if not broker.stop():
            raise Failed("no clean stop within 60 s")
        broker.launch()
        time.sleep(1)
        seen = franz("sync", broker, "-topic", name, "-records", 1000, "-warm-up", 1000)
        return {"clean restart s": broker.start_s, "one at a time p50 ms": seen["p50_ms"]}
    return over(STEPS, once)


def rows(few):
    records = int(50_000 * few)
    return [
        ("by partitions", partitions(records), PAGE_CACHE, []),
        ("by connections", connections(), PAGE_CACHE, []),
        ("by groups", groups(), PAGE_CACHE + delay(0), delay(0)),
        ("by members of a group", members(), PAGE_CACHE + delay(50), delay(50)),
        ("by topics", topics(), PAGE_CACHE, []),
        ("by bytes of a record", record_size(int(400_000_000 * few)), PAGE_CACHE, []),
        ("by MB of a log", log_size(few), PAGE_CACHE, []),
    ]

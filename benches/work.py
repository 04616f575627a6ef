"""What is done to a broker, and the rows of the table. Owner: benches.

A row is a piece of work against a fresh broker that returns figures by name. Load comes from clients that are
neither broker's own (librdkafka, franz-go, plain sockets) and from Kafka's perf tools. What warms up (a JVM's
compiler, a client's connection) is done before what is measured.
"""

import json
import os
import re
import socket
import statistics
import struct
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from brokers import free_port, metadata_request
from fetch import WORK, Failed, run

# Kafka acknowledges from the page cache; like for like is to do the same.
PAGE_CACHE = ["log.durable.acks=false"]
# Kafka's nearest to a durable acknowledgement: it flushes after each append.
FLUSH_EACH = ["log.flush.interval.messages=1"]

# How often an idle cleaner looks for work is not what the rows of compaction show.
CLEAN_AT_ONCE = ["log.cleaner.backoff.ms=50"]


def delay(milliseconds):
    """How long a new group waits for further members, the same on both brokers. Without a wait a lone first member has
    the group to itself and hears of the others by its next heartbeat: then the row shows the clients' clocks."""
    return [f"group.initial.rebalance.delay.ms={milliseconds}"]


def franz(command, broker, *words):
    return json.loads(run(WORK / "franz-go", command, "-bootstrap", broker.bootstrap, *words))


def rdkafka(command, broker, topic, records, size):
    binary = WORK / "librdkafka" / "release" / "librdkafka-load"
    return json.loads(run(binary, command, broker.bootstrap, topic, records, size))


def bulk_figures(broker, seen, cpu_s, records, size):
    return {"CPU s/GB": cpu_s / (records * size / 1e9), "CPU s/M records": cpu_s / (records / 1e6),
            "MB/s": seen["mb_per_s"], "peak RSS MB": broker.memory_mb("VmHWM")}


def produce(broker, records, size):
    """librdkafka's defaults into one partition, acks=all."""
    franz("create", broker, "-topic", "bulk")
    rdkafka("produce", broker, "bulk", records // 2, size)
    (seen, cpu_s), disk = broker.disk_bytes_during(
        lambda: broker.cpu_during(lambda: rdkafka("produce", broker, "bulk", records, size)))
    return bulk_figures(broker, seen, cpu_s, records, size) | {"disk B/B": disk / (records * size)}


def consume(broker, records, size):
    """librdkafka reads one partition from its start; the records are in the page cache."""
    franz("create", broker, "-topic", "bulk")
    rdkafka("produce", broker, "bulk", records, size)
    # Cheap for all brokers and long for a JVM's compiler: read it three times before it counts.
    for _ in range(3):
        rdkafka("consume", broker, "bulk", records, size)
    seen, cpu_s = broker.cpu_during(lambda: rdkafka("consume", broker, "bulk", records, size))
    return bulk_figures(broker, seen, cpu_s, records, size)


def java_produce(broker, records, size):
    """Kafka's own perf tool with its client's defaults: idempotent, batches of 16 KiB."""
    franz("create", broker, "-topic", "bulk")

    def perf(count):
        said = run("java", "-cp", f"{WORK}/tools/*", "org.apache.kafka.tools.ProducerPerformance", "--topic", "bulk",
                   "--num-records", count, "--record-size", size, "--throughput", -1,
                   "--producer-props", f"bootstrap.servers={broker.bootstrap}", "acks=all")
        total = re.search(rf"^{count} records sent, ([\d.]+) records/sec", said, re.MULTILINE)
        if not total:
            raise Failed(f"ProducerPerformance said:\n{said[-2000:]}")
        return {"mb_per_s": float(total[1]) * size / 1e6}

    perf(records // 4)
    seen, cpu_s = broker.cpu_during(lambda: perf(records))
    return bulk_figures(broker, seen, cpu_s, records, size)


def latency_figures(seen):
    return {"p50 ms": seen["p50_ms"], "p99 ms": seen["p99_ms"]}


def one_at_a_time(broker, records):
    franz("create", broker, "-topic", "sync")
    return latency_figures(franz("sync", broker, "-topic", "sync", "-records", records, "-warm-up", records // 3))


def many_partitions(broker, records):
    """1,000 partitions written to in turn, acks=all: at 10,000 records a second, then as fast as it goes."""
    franz("create", broker, "-topic", "wide", "-partitions", 1000)
    (seen, cpu_s), disk = broker.disk_bytes_during(lambda: broker.cpu_during(
        lambda: franz("spread", broker, "-topic", "wide", "-records", records, "-most", 4 * records)))
    # The client's values are of 1 KiB, and each partition has had two before.
    return latency_figures(seen) | {"MB/s": seen["mb_per_s"], "CPU s": cpu_s, "disk B/B": disk / (5 * records * 1024)}


def end_to_end(broker, records):
    """Produce to consume at 1,000 records a second, without lingering."""
    franz("create", broker, "-topic", "paced")
    return latency_figures(franz("paced", broker, "-topic", "paced", "-records", records, "-warm-up", records // 3))


def forget(broker, topic):
    """Drops a topic's files from the page cache: what is read next comes from the disk."""
    for path in broker.dir.glob(f"data/{topic}-*/*"):
        with open(path, "rb") as file:
            # What is not on the disk yet would stay.
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def cold_beside_hot(broker, records, old, size):
    """Produce to consume at 1,000 records a second: alone, beside a consumer that reads old records from the page cache
    again and again, and beside one that gets them from the disk. The second has the same work but for the disk's."""
    franz("create", broker, "-topic", "old")
    rdkafka("produce", broker, "old", old, size)

    def paced(how):
        franz("create", broker, "-topic", how)
        return latency_figures(franz("paced", broker, "-topic", how, "-records", records, "-warm-up", records // 3))

    def beside(how, before_each):
        ended, rates = threading.Event(), []

        def read():
            while not ended.is_set():
                before_each()
                rates.append(rdkafka("consume", broker, "old", old, size)["mb_per_s"])

        with ThreadPoolExecutor(1) as reader:
            reading = reader.submit(read)
            try:
                seen = paced(how)
            finally:
                ended.set()
            reading.result()
        return seen, statistics.median(rates)

    alone = paced("alone")
    warm, warm_rate = beside("warm", lambda: None)
    cold, cold_rate = beside("cold", lambda: forget(broker, "old"))
    return {f"{figure} {how}": value for how, seen in [("alone", alone), ("beside warm", warm), ("beside cold", cold)]
            for figure, value in seen.items()} | {"warm MB/s": warm_rate, "cold MB/s": cold_rate}


def partition_dir(broker, topic):
    return broker.dir / "data" / f"{topic}-0"


def sealed(broker, topic):
    """The segments of partition 0 below the active one (nothing else is compacted): where they end, and their bytes."""
    logs = sorted(partition_dir(broker, topic).glob("*.log"))
    return int(logs[-1].stem), sum(path.stat().st_size for path in logs[:-1])


def clean_to(broker, topic):
    """Up to which offset the broker itself says that partition 0 is clean; both keep it in the same file."""
    try:
        lines = (broker.dir / "data" / "cleaner-offset-checkpoint").read_text().splitlines()
    except FileNotFoundError:
        return 0
    return next((int(line.split()[2]) for line in lines if line.startswith(f"{topic} 0 ")), 0)


def compaction(broker, records, keys, size, compression):
    """A log that is compacted for the first time, from the change of its policy until the broker's checkpoint says that
    all of it below the active segment is clean. It was written before, in whole segments and by a fixed seed, so both
    have the same to do; it fits the map of both in one pass, and lies in the page cache."""

    def once(topic, count):
        franz("keyed", broker, "-topic", topic, "-records", count, "-keys", keys, "-size", size,
              "-compression", compression)
        # What is written behind the back of both is written before it counts.
        os.sync()
        active, dirty = sealed(broker, topic)
        if not dirty:
            raise Failed(f"{topic} has one segment: nothing of it is compacted")

        def clean():
            franz("compact", broker, "-topic", topic)
            started = time.monotonic()
            while clean_to(broker, topic) < active:
                if time.monotonic() - started > 300:
                    raise Failed(f"{topic} is clean up to {clean_to(broker, topic)} of {active} after 300 s")
                time.sleep(0.01)
            return time.monotonic() - started

        seconds, cpu_s = broker.cpu_during(clean)
        # The policy leaves some segments with nothing in them.
        left = sum(path.stat().st_size for path in partition_dir(broker, topic).glob("*.log")
                   if int(path.stem) < active)
        return {"CPU s/GB": cpu_s / (dirty / 1e9), "until clean s": seconds, "MB before": dirty / 1e6,
                "MB after": left / 1e6}

    # A JVM's compiler has seen it once.
    once("warm", records // 3)
    return once("bulk", records) | {"peak RSS MB": broker.memory_mb("VmHWM")}


def at_rest(broker, topics, partitions):
    """Many partitions that nobody uses: what they weigh, what they cost, and how long a clean restart takes."""
    for number in range(topics):
        franz("create", broker, "-topic", f"rest-{number}", "-partitions", partitions)
    # Every log has its directory, and what was to be written down of it is.
    deadline = time.monotonic() + 300
    while sum(entry.name.startswith("rest-") for entry in os.scandir(broker.dir / "data")) < topics * partitions:
        if time.monotonic() > deadline:
            raise Failed("the logs are not all made after 300 s")
        time.sleep(0.5)
    time.sleep(10)

    def idle():
        before = broker.cpu_s()
        time.sleep(20)
        return (broker.cpu_s() - before) / 20 * 100

    figures = {"RSS MB": broker.memory_mb("VmRSS"), "idle CPU %": idle()}
    stopping = time.monotonic()
    if not broker.stop():
        raise Failed("no clean stop within 60 s")
    figures["clean stop s"] = time.monotonic() - stopping
    broker.launch()
    figures["clean restart s"] = broker.start_s
    time.sleep(10)
    return figures | {"RSS after restart MB": broker.memory_mb("VmRSS"), "idle CPU after restart %": idle()}


def start(broker):
    """From the start of the process to its first Metadata reply, and what it weighs a second later."""
    time.sleep(1)
    return {"first Metadata s": broker.start_s, "RSS empty MB": broker.memory_mb("VmRSS")}


def leaders(broker, topics):
    """One CreateTopics request: until Metadata names every leader, and until every leader answers ListOffsets."""
    seen = franz("leaders", broker, "-topic", "many", "-topics", topics)
    return {"every leader known s": seen["known_s"], "every leader answers s": seen["answered_s"]}


def join(broker, members):
    """All members of a group start at once and subscribe to 100 partitions: until these are spread evenly."""
    # One lone member before: the offsets topic exists, and whatever compiles has compiled.
    franz("create", broker, "-topic", "warm", "-partitions", 1)
    franz("join", broker, "-topic", "warm", "-members", 1, "-partitions", 1, "-group", "warm")
    franz("create", broker, "-topic", "spread", "-partitions", 100)
    seen, cpu_s = broker.cpu_during(lambda: franz("join", broker, "-topic", "spread", "-members", members))
    return {"balanced s": seen["balanced_s"], "CPU s": cpu_s}


@contextmanager
def connected(broker, count):
    """Connections that ask for ApiVersions and Metadata, all kept open while the `with` lasts; what making them took.
    Forty at a time wait for an answer, so that no listen backlog (Kafka's is 50) overflows and nothing shows TCP's
    retransmission timer."""
    requests = struct.pack(">ihhih", 10, 18, 0, 1, -1) + metadata_request(2)
    clients = []

    def all_of_them():
        started = time.monotonic()
        for first in range(0, count, 40):
            some = [socket.create_connection(("127.0.0.1", broker.port), 30) for _ in range(min(40, count - first))]
            clients.extend(some)
            for client in some:
                client.sendall(requests)
            for client in some:
                for _ in range(2):
                    exactly(client, struct.unpack(">i", exactly(client, 4))[0])
        return time.monotonic() - started

    try:
        seconds, cpu_s = broker.cpu_during(all_of_them)
        yield {"s": seconds, "CPU s": cpu_s}
    finally:
        for client in clients:
            client.close()


def connect(broker, count):
    with connected(broker, count) as figures:
        return figures


def exactly(client, size):
    data = client.recv(size, socket.MSG_WAITALL)
    if len(data) < size:
        raise Failed("the broker closed a connection")
    return data


def rows(few):
    """Each row: name, what is done, dohle's options and Kafka's (None: not for this broker). `few` scales the work."""
    bulk, small, single = int(1_000_000 * few), int(5_000_000 * few), int(10_000 * few)
    return [
        ("cold start of an empty node", start, PAGE_CACHE, []),
        ("1,000 clients connect", lambda b: connect(b, 1000), PAGE_CACHE, []),
        ("produce 1 KiB", lambda b: produce(b, bulk, 1024), PAGE_CACHE, []),
        ("produce 1 KiB, durable", lambda b: produce(b, bulk, 1024), [], FLUSH_EACH),
        ("produce 100 B", lambda b: produce(b, small, 100), PAGE_CACHE, []),
        ("produce 100 B, durable", lambda b: produce(b, small, 100), [], FLUSH_EACH),
        ("produce 1 KiB, Java client", lambda b: java_produce(b, bulk, 1024), PAGE_CACHE, []),
        ("produce 1 KiB, Java client, durable", lambda b: java_produce(b, bulk, 1024), [], FLUSH_EACH),
        ("consume 1 KiB", lambda b: consume(b, bulk, 1024), PAGE_CACHE, []),
        ("one at a time", lambda b: one_at_a_time(b, single), PAGE_CACHE, []),
        ("one at a time, durable", lambda b: one_at_a_time(b, single), [], FLUSH_EACH),
        ("1,000 partitions", lambda b: many_partitions(b, 5 * single), PAGE_CACHE, []),
        ("1,000 partitions, durable", lambda b: many_partitions(b, 5 * single), [], FLUSH_EACH),
        ("produce to consume, 1,000/s", lambda b: end_to_end(b, single), PAGE_CACHE, []),
        ("cold reads beside hot ones", lambda b: cold_beside_hot(b, single, 2 * bulk, 1024), PAGE_CACHE, []),
        ("compaction", lambda b: compaction(b, 3 * bulk, bulk // 2, 1024, "none"), PAGE_CACHE + CLEAN_AT_ONCE,
         CLEAN_AT_ONCE),
        ("compaction, lz4", lambda b: compaction(b, 3 * bulk, bulk // 2, 1024, "lz4"), PAGE_CACHE + CLEAN_AT_ONCE,
         CLEAN_AT_ONCE),
        ("100,000 partitions at rest", lambda b: at_rest(b, int(100 * few), 1000), PAGE_CACHE, None),
        ("200 topics of 10 partitions", lambda b: leaders(b, 200), PAGE_CACHE, []),
        ("50 members over 100 partitions", lambda b: join(b, 50), PAGE_CACHE + delay(50), delay(50)),
        ("50 members, no delay", lambda b: join(b, 50), PAGE_CACHE + delay(0), delay(0)),
    ]


def floor(few):
    """The least that any program pays here: socket to file, file to socket (CPU s/GB), and one flushed append."""
    megabytes, chunk, path = int(1024 * few), b"x" * (1 << 20), WORK / "floor.data"
    figures = {}
    for mode in ("receive", "send"):
        port = free_port()
        process = subprocess.Popen([WORK / "floor", mode, str(port), path], stdout=subprocess.PIPE)
        try:
            with dial(port) as client:
                if mode == "receive":
                    for _ in range(megabytes):
                        client.sendall(chunk)
                else:
                    into = bytearray(1 << 20)
                    for _ in range(megabytes):
                        client.sendall(b"?")
                        client.recv_into(into, len(into), socket.MSG_WAITALL)
            seen = json.loads(process.communicate(timeout=60)[0])
        finally:
            process.kill()
            process.wait()
        figures[f"{mode} CPU s/GB"] = seen["cpu_s"] / (seen["bytes"] / 1e9)
    path.unlink()
    return figures | flush_floor(few)


def flush_floor(few):
    path = WORK / "floor.data"
    seen = json.loads(run(WORK / "floor", "flush", int(2000 * few), path))
    path.unlink()
    return {"append and fdatasync p50 ms": seen["p50_ms"], "append and fdatasync p99 ms": seen["p99_ms"]}


def dial(port):
    deadline = time.monotonic() + 10
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port))
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.005)

"""What is done to a broker, and the rows of the table. Owner: benches.

A row is a piece of work against a fresh broker that returns figures by name. Load comes from clients that are
neither broker's own (librdkafka, franz-go, plain sockets) and from Kafka's perf tools. What warms up (a JVM's
compiler, a client's connection) is done before what is measured.
"""

import json
import re
import socket
import struct
import subprocess
import time

from brokers import free_port, metadata_request
from fetch import WORK, Failed, run

# Kafka acknowledges from the page cache; like for like is to do the same.
PAGE_CACHE = ["log.durable.acks=false"]
# Kafka's nearest to a durable acknowledgement: it flushes after each append.
FLUSH_EACH = ["log.flush.interval.messages=1"]


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
    seen, cpu_s = broker.cpu_during(lambda: rdkafka("produce", broker, "bulk", records, size))
    return bulk_figures(broker, seen, cpu_s, records, size)


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


def end_to_end(broker, records):
    """Produce to consume at 1,000 records a second, without lingering."""
    franz("create", broker, "-topic", "paced")
    return latency_figures(franz("paced", broker, "-topic", "paced", "-records", records, "-warm-up", records // 3))


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


def connect(broker, count):
    """Connections that ask for ApiVersions and Metadata, all kept open. Forty at a time wait for an answer, so that no
    listen backlog (Kafka's is 50) overflows and the row does not show TCP's retransmission timer."""
    requests = struct.pack(">ihhih", 10, 18, 0, 1, -1) + metadata_request(2)

    def all_of_them():
        started, clients = time.monotonic(), []
        try:
            for first in range(0, count, 40):
                some = [socket.create_connection(("127.0.0.1", broker.port), 30)
                        for _ in range(min(40, count - first))]
                clients += some
                for client in some:
                    client.sendall(requests)
                for client in some:
                    for _ in range(2):
                        exactly(client, struct.unpack(">i", exactly(client, 4))[0])
            return time.monotonic() - started
        finally:
            for client in clients:
                client.close()

    seconds, cpu_s = broker.cpu_during(all_of_them)
    return {"s": seconds, "CPU s": cpu_s}


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
        ("produce to consume, 1,000/s", lambda b: end_to_end(b, single), PAGE_CACHE, []),
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
    seen = json.loads(run(WORK / "floor", "flush", int(2000 * few), path))
    path.unlink()
    return figures | {"append and fdatasync p50 ms": seen["p50_ms"], "append and fdatasync p99 ms": seen["p99_ms"]}


def dial(port):
    deadline = time.monotonic() + 10
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port))
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.005)

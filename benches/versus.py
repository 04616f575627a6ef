#!/usr/bin/env python3
"""dohle against Apache Kafka on one machine, row by row, in alternation.

    python3 benches/versus.py [--rounds 3] [--quick] [--only ROW …] [--against kafka|none]

Fetches and builds what it needs into target/bench (Kafka by Maven, a Go and a Rust load client from their own
registries, a C program for the floor), starts each broker afresh for each round, and prints a table of medians
with the spread and the ratio. The same goes to target/bench/result.md and result.json, with the machine and the
versions. Load comes from clients that are not ours. Everything is on loopback.
"""

import argparse
import json
import os
import platform
import shutil
import signal
import socket
import statistics
import struct
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / "target" / "bench"
KAFKA = "4.4.0"
TICKS = os.sysconf("SC_CLK_TCK")


def run(*command, **options):
    """A command's standard output; what it says on failure is shown."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, **options)
    if done.returncode:
        sys.exit(f"{command[0]} failed:\n{done.stdout}\n{done.stderr}")
    return done.stdout


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


# ---- What is needed


def prepare(against):
    WORK.mkdir(parents=True, exist_ok=True)
    clients = ROOT / "benches" / "clients"
    run("cargo", "build", "--release", "--quiet", "--bin", "dohle", cwd=ROOT)
    run("go", "build", "-o", WORK / "franz-go", ".", cwd=clients / "franz-go")
    run("cargo", "build", "--release", "--quiet", "--locked", "--target-dir", WORK / "librdkafka",
        cwd=clients / "librdkafka")
    run("cc", "-O2", "-o", WORK / "floor", ROOT / "benches" / "floor.c")
    if against == "kafka" and not (WORK / "kafka").is_dir():
        pom = WORK / "kafka.pom.xml"
        pom.write_text(f"""<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>bench</groupId><artifactId>kafka</artifactId><version>1</version><dependencies><dependency>
<groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{KAFKA}</version>
</dependency></dependencies></project>""")
        run("mvn", "-q", "-B", "-f", pom, "dependency:copy-dependencies",
            f"-DoutputDirectory={WORK / 'kafka.new'}")
        (WORK / "kafka.new").rename(WORK / "kafka")


# ---- Brokers


class Broker:
    """A broker process on a port of its own with an empty data directory."""

    def __init__(self, name, options=()):
        self.name, self.options = name, list(options)
        self.dir = WORK / "run" / f"{name}-{free_port()}"
        self.dir.mkdir(parents=True)
        self.port = free_port()
        self.bootstrap = f"127.0.0.1:{self.port}"
        self.started = time.monotonic()
        self.process = subprocess.Popen(self.command(), stdout=open(self.dir / "log", "wb"),
                                        stderr=subprocess.STDOUT, cwd=self.dir)
        self.until_metadata()
        self.start_s = time.monotonic() - self.started

    def until_metadata(self):
        """A Metadata request (version 1, no topics) until it is answered."""
        request = struct.pack(">ihhihi", 14, 3, 1, 1, -1, 0)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                sys.exit(f"{self.name} ended:\n{(self.dir / 'log').read_text()[-2000:]}")
            try:
                with socket.create_connection(("127.0.0.1", self.port), 5) as client:
                    client.sendall(request)
                    if len(client.recv(4)) == 4:
                        return
            except OSError:
                time.sleep(0.001)
        sys.exit(f"{self.name} does not answer")

    def cpu_s(self):
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def memory_mb(self, what="VmRSS"):
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(what + ":"):
                return int(line.split()[1]) / 1024

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.dir)


class Dohle(Broker):
    def __init__(self, options=()):
        super().__init__("dohle", options)

    def command(self):
        options = [f"listeners=PLAINTEXT://127.0.0.1:{self.port}", "http.listen=", f"log.dirs={self.dir}/data",
                   "group.initial.rebalance.delay.ms=0", *self.options]
        return [ROOT / "target/release/dohle"] + [word for o in options for word in ("--set", o)]


class Kafka(Broker):
    def __init__(self, options=()):
        super().__init__("kafka", options)

    def command(self):
        controller = free_port()
        properties = self.dir / "server.properties"
        properties.write_text("\n".join([
            "process.roles=broker,controller", "node.id=1",
            f"controller.quorum.voters=1@127.0.0.1:{controller}",
            f"listeners=PLAINTEXT://127.0.0.1:{self.port},CONTROLLER://127.0.0.1:{controller}",
            f"advertised.listeners=PLAINTEXT://127.0.0.1:{self.port}",
            "controller.listener.names=CONTROLLER",
            "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            f"log.dirs={self.dir}/data", "offsets.topic.replication.factor=1",
            "group.initial.rebalance.delay.ms=0", *self.options]))
        java = ["java", "-cp", f"{WORK}/kafka/*"]
        run(*java, "kafka.tools.StorageTool", "format", "-t", "AAAAAAAAAAAAAAAAAAAAAQ", "-c", properties)
        self.started = time.monotonic()
        return [*java[:1], "-Xms1g", "-Xmx1g", "-server", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20",
                "-XX:InitiatingHeapOccupancyPercent=35", "-XX:+ExplicitGCInvokesConcurrent", *java[1:],
                "kafka.Kafka", properties]


# ---- Work


def franz(command, broker, *words):
    return json.loads(run(WORK / "franz-go", command, "-bootstrap", broker.bootstrap, *words))


def rdkafka(command, broker, topic, records, size):
    binary = WORK / "librdkafka" / "release" / "librdkafka-load"
    return json.loads(run(binary, command, broker.bootstrap, topic, records, size))


def produce(broker, records, size, topic="produce"):
    franz("create", broker, "-topic", topic)
    rdkafka("produce", broker, topic, records // 10, size)
    before = broker.cpu_s()
    seen = rdkafka("produce", broker, topic, records, size)
    cpu = broker.cpu_s() - before
    return {"CPU s/GB": cpu / (records * size / 1e9), "MB/s": seen["mb_per_s"],
            "CPU s/M records": cpu / (records / 1e6), "RSS after MB": broker.memory_mb("VmHWM")}


def consume(broker, records, size):
    franz("create", broker, "-topic", "consume")
    rdkafka("produce", broker, "consume", records, size)
    before = broker.cpu_s()
    seen = rdkafka("consume", broker, "consume", records, size)
    return {"CPU s/GB": (broker.cpu_s() - before) / (records * size / 1e9), "MB/s": seen["mb_per_s"]}


def one_at_a_time(broker, records):
    franz("create", broker, "-topic", "sync")
    seen = franz("sync", broker, "-topic", "sync", "-records", records)
    return {"p50 ms": seen["p50_ms"], "p99 ms": seen["p99_ms"]}


def end_to_end(broker, records):
    franz("create", broker, "-topic", "paced")
    seen = franz("paced", broker, "-topic", "paced", "-records", records)
    return {"p50 ms": seen["p50_ms"], "p99 ms": seen["p99_ms"]}


def leaders(broker, topics):
    seen = franz("leaders", broker, "-topic", "many", "-topics", topics)
    return {"created s": seen["created_s"], "every leader known s": seen["known_s"]}


def join(broker, members):
    franz("create", broker, "-topic", "group", "-partitions", 100)
    seen = franz("join", broker, "-topic", "group", "-members", members)
    return {"balanced s": seen["balanced_s"]}


def connect(broker, count):
    """Connections that each ask for ApiVersions and Metadata, all kept open."""
    requests = struct.pack(">ihhih", 10, 18, 0, 1, -1) + struct.pack(">ihhihi", 14, 3, 1, 2, -1, 0)
    before, started = broker.cpu_s(), time.monotonic()
    clients = []
    for _ in range(count):
        client = socket.create_connection(("127.0.0.1", broker.port), 30)
        client.sendall(requests)
        clients.append(client)
    for client in clients:
        for _ in range(2):
            left = struct.unpack(">i", exactly(client, 4))[0]
            exactly(client, left)
    seen = {"s": time.monotonic() - started, "CPU s": broker.cpu_s() - before}
    for client in clients:
        client.close()
    return seen


def exactly(client, size):
    data = b""
    while len(data) < size:
        piece = client.recv(size - len(data))
        if not piece:
            sys.exit("a connection was closed")
        data += piece
    return data


def floor(megabytes):
    """CPU s/GB of the two floor programs, the bytes coming from and going to a thread of this process."""
    figures = {}
    chunk, path = b"x" * (1 << 20), WORK / "floor.data"
    for mode in ("receive", "send"):
        port = free_port()
        process = subprocess.Popen([WORK / "floor", mode, str(port), path], stdout=subprocess.PIPE)
        while True:
            try:
                client = socket.create_connection(("127.0.0.1", port))
                break
            except OSError:
                time.sleep(0.01)
        if mode == "receive":
            for _ in range(megabytes):
                client.sendall(chunk)
        else:
            into = bytearray(1 << 20)
            while client.recv_into(into):
                pass
        client.close()
        seen = json.loads(process.communicate()[0])
        figures[f"{mode} CPU s/GB"] = seen["cpu_s"] / (seen["bytes"] / 1e9)
    path.unlink()
    return figures


# ---- Rows


PAGE_CACHE = ["log.durable.acks=false"]


def rows(quick):
    """Name, dohle's options, Kafka's options (None: no such row), what is done."""
    few = 0.2 if quick else 1
    bulk, small, single = int(1_000_000 * few), int(5_000_000 * few), int(10_000 * few)
    return [
        ("cold start to the first Metadata", PAGE_CACHE, [], lambda b: {"s": b.start_s, "RSS empty MB": b.memory_mb()}),
        ("produce 1 KiB acks=all", PAGE_CACHE, [], lambda b: produce(b, bulk, 1024)),
        ("produce 1 KiB acks=all, durable", [], None, lambda b: produce(b, bulk, 1024)),
        ("produce 100 B acks=all", PAGE_CACHE, [], lambda b: produce(b, small, 100)),
        ("produce 100 B acks=all, durable", [], None, lambda b: produce(b, small, 100)),
        ("consume 1 KiB", PAGE_CACHE, [], lambda b: consume(b, bulk, 1024)),
        ("one at a time acks=all", PAGE_CACHE, [], lambda b: one_at_a_time(b, single)),
        ("one at a time acks=all, durable", [], ["log.flush.interval.messages=1"],
         lambda b: one_at_a_time(b, single)),
        ("produce to consume, 1,000/s", PAGE_CACHE, [], lambda b: end_to_end(b, single)),
        ("200 topics of 10 partitions", PAGE_CACHE, [], lambda b: leaders(b, 200)),
        ("50 members, 100 partitions", PAGE_CACHE, [], lambda b: join(b, 50)),
        ("1,000 connections", PAGE_CACHE, [], lambda b: connect(b, 1000)),
    ]


def machine():
    model = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "?")
    memory = next(int(line.split()[1]) // 1024 for line in open("/proc/meminfo") if line.startswith("MemTotal"))
    filesystem = run("df", "--output=fstype", ROOT).split()[-1]
    return f"{model}, {os.cpu_count()} cores, {memory} MiB, Linux {platform.release()}, {filesystem}"


def spread(values):
    return f"{statistics.median(values):.4g} ({min(values):.4g}–{max(values):.4g})"


def table(results):
    lines = ["| row | figure | dohle | Kafka | dohle / Kafka |", "| --- | --- | --- | --- | --- |"]
    for row, brokers in results.items():
        for figure, ours in brokers.get("dohle", {}).items():
            theirs = brokers.get("kafka", {}).get(figure)
            ratio = f"{statistics.median(ours) / statistics.median(theirs):.3f}" if theirs else ""
            lines.append(f"| {row} | {figure} | {spread(ours)} | {spread(theirs) if theirs else ''} | {ratio} |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="a fifth of the work")
    parser.add_argument("--only", nargs="*", default=[], help="rows whose name contains one of these")
    parser.add_argument("--against", choices=["kafka", "none"], default="kafka")
    arguments = parser.parse_args()
    prepare(arguments.against)
    results = {}

    def note(row, broker, figures):
        for figure, value in figures.items():
            results.setdefault(row, {}).setdefault(broker, {}).setdefault(figure, []).append(value)
            print(f"{row} | {broker} | {figure} = {value:.4g}", file=sys.stderr, flush=True)

    for _ in range(arguments.rounds):
        note("the floor", "dohle", floor(256 if arguments.quick else 1024))
        for name, ours, theirs, work in rows(arguments.quick):
            if arguments.only and not any(part in name for part in arguments.only):
                continue
            for kind, options in ((Dohle, ours), (Kafka, theirs)):
                if options is None or (kind is Kafka and arguments.against == "none"):
                    continue
                broker = kind(options)
                try:
                    note(name, broker.name, work(broker))
                finally:
                    broker.stop()
    version = run(ROOT / "target/release/dohle", "--version").strip()
    head = f"{machine()}; {version} against Apache Kafka {KAFKA}; {arguments.rounds} rounds in alternation; " \
           "median (smallest–largest)"
    text = f"{head}\n\n{table(results)}\n"
    print(text)
    (WORK / "result.md").write_text(text)
    (WORK / "result.json").write_text(json.dumps({"machine": head, "results": results}, indent=1))


if __name__ == "__main__":
    main()

"""Brokers under measurement: started empty, watched through /proc, stopped. Owner: benches.

Both listen on loopback only and keep their data under target/bench, so on the filesystem of the checkout.
"""

import os
import random
import shutil
import signal
import socket
import struct
import subprocess
import time
from pathlib import Path

from fetch import DOHLE, KAFKA, WORK, Failed, run

TICKS = os.sysconf("SC_CLK_TCK")
START_S = 60
RUN = WORK / "run"
DISK_RESTS_WITHIN_S = 30
GIVEN_PORTS = set()


def free_port():
    """One that nobody had, below those of outgoing connections: none of these takes it while its server is away."""
    first_outgoing = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = random.randrange(10_000, max(first_outgoing, 20_000))
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in GIVEN_PORTS:
            GIVEN_PORTS.add(port)
            return port


def metadata_request(correlation):
    """Metadata version 1 for no topic: enough to learn that a broker serves."""
    return struct.pack(">ihhihi", 14, 3, 1, correlation, -1, 0)


def empty(directory):
    """Gives the space of its files back and leaves their names until `sweep`: for a minute after a file is deleted, ext4
    looks again at each inode that was freed whenever somebody makes a file, and the next broker would pay for that."""
    for path in directory.rglob("*"):
        if path.is_file():
            os.truncate(path, 0)


def sweep():
    """Deletes what measured servers have left."""
    shutil.rmtree(RUN, ignore_errors=True)


def let_the_disk_rest():
    """Writes what is only in memory, and waits until the disk has nothing to do: what one row leaves is not the next one's."""
    os.sync()
    deadline, before = time.monotonic() + DISK_RESTS_WITHIN_S, None
    while (now := device_stat(WORK)) != before and time.monotonic() < deadline:
        before = now
        time.sleep(0.2)


def device_stat(path):
    """The counters of the block device that has it."""
    device = os.stat(path).st_dev
    return Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}/stat").read_text().split()


class Broker:
    """A broker process on a port of its own with an empty data directory; use it in a `with`."""

    def __init__(self, options):
        self.options = list(options)
        self.port = free_port()
        self.bootstrap = f"127.0.0.1:{self.port}"
        self.dir = RUN / f"{type(self).__name__.lower()}-{self.port}"
        self.log = self.dir / "log"

    def __enter__(self):
        self.dir.mkdir(parents=True)
        try:
            self.launch()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.stop()
        empty(self.dir)

    def launch(self):
        """Starts the process and waits for its first Metadata reply: how long that was is `start_s`."""
        started = self.spawn()
        self.until_metadata(started + START_S)
        self.start_s = time.monotonic() - started

    def spawn(self):
        """Starts the process; when that was."""
        command = self.command()
        with open(self.log, "ab") as log:
            started = time.monotonic()
            self.process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd=self.dir)
        return started

    def stop(self):
        """Whether it ended by itself within a minute of being asked to."""
        process = getattr(self, "process", None)
        if not process or process.poll() is not None:
            return False
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return False
        return True

    def until_metadata(self, deadline):
        """Asks for Metadata, again and again, until it is answered."""
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise Failed(f"the broker ended:\n{self.log.read_text(errors='replace')[-2000:]}")
            try:
                with socket.create_connection(("127.0.0.1", self.port), 5) as client:
                    client.settimeout(START_S)
                    client.sendall(metadata_request(1))
                    if len(client.recv(4, socket.MSG_WAITALL)) == 4:
                        return
            except OSError:
                pass
            # Short against what is measured, long enough to leave the starting broker its core.
            time.sleep(0.0005)
        raise Failed(f"no Metadata within {START_S} s:\n{self.log.read_text(errors='replace')[-2000:]}")

    def cpu_s(self):
        """User and system seconds so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def cpu_during(self, work):
        """What `work` returns, and the broker's CPU seconds for it with what it does just after."""
        before = self.cpu_s()
        seen = work()
        time.sleep(0.2)
        return seen, self.cpu_s() - before

    def disk_bytes_during(self, work):
        """What `work` returns, and the bytes that the disk of the data was given for it, by anybody."""
        before = self.disk_bytes()
        seen = work()
        return seen, self.disk_bytes() - before

    def disk_bytes(self):
        """Bytes written to the block device so far; what is only in memory is written first."""
        os.sync()
        # Sectors there are of 512 bytes, whatever the device's are.
        return int(device_stat(self.dir)[6]) * 512

    def memory_mb(self, what):
        """VmRSS (resident now) or VmHWM (the most so far), in MB of 1,000,000 bytes."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(f"{what}:"):
                return int(line.split()[1]) * 1024 / 1e6
        raise Failed(f"no {what} of the broker")


class Dohle(Broker):
    """A dohle binary: the one just built unless another is named."""

    def __init__(self, options, binary=DOHLE):
        super().__init__(options)
        self.binary = binary

    def command(self):
        options = [f"listeners=PLAINTEXT://127.0.0.1:{self.port}", f"http.listen=127.0.0.1:{free_port()}",
                   f"log.dirs={self.dir}/data", *self.options]
        return [str(self.binary)] + [word for option in options for word in ("--set", option)]


class Kafka(Broker):
    """Apache Kafka, one node that is broker and controller, with the JVM settings of its own start script."""

    JAVA = ["java", "-cp", f"{WORK}/kafka/*"]
    JVM = ["-Xms1g", "-Xmx1g", "-server", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20",
           "-XX:InitiatingHeapOccupancyPercent=35", "-XX:+ExplicitGCInvokesConcurrent", "-XX:MaxInlineLevel=15",
           "-Djava.awt.headless=true"]

    def __init__(self, options):
        super().__init__(options)
        # The same at each start: a node keeps the address of its quorum.
        self.controller = free_port()

    def command(self):
        properties = self.dir / "server.properties"
        properties.write_text("\n".join([
            "process.roles=broker,controller", "node.id=1",
            f"controller.quorum.voters=1@127.0.0.1:{self.controller}",
            f"listeners=PLAINTEXT://127.0.0.1:{self.port},CONTROLLER://127.0.0.1:{self.controller}",
            f"advertised.listeners=PLAINTEXT://127.0.0.1:{self.port}",
            "controller.listener.names=CONTROLLER",
            "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            f"log.dirs={self.dir}/data", "offsets.topic.replication.factor=1", *self.options]))
        if not (self.dir / "data").is_dir():
            self.format(properties)
        return [*self.JAVA, *self.JVM, "kafka.Kafka", str(properties)]

    def format(self, properties):
        """Kafka wants its directory formatted. Done once and copied: it is no part of any row."""
        formatted = WORK / f"kafka-{KAFKA}.formatted"
        if not formatted.is_dir():
            run(*self.JAVA, "kafka.tools.StorageTool", "format", "-t", "AAAAAAAAAAAAAAAAAAAAAQ", "-c", properties)
            shutil.copytree(self.dir / "data", formatted)
        else:
            shutil.copytree(formatted, self.dir / "data")

"""Ensembles under measurement: three servers and perhaps an observer, started empty, watched, ended. Owner: benches.

Their members are processes like those of `brokers`; all listen on loopback and keep data and logs on one filesystem.
"""

import http.client
import json
import re
import select
import signal
import socket
import subprocess
import time
from pathlib import Path

from brokers import Broker, Dohle, empty, free_port
from fetch import DOHLE, LIMIT_S, WORK, Failed
from probe import KafkaProbe, Writers, ZooKeeperProbe

VOTERS = 3
SERVING_WITHIN_S = 120


class Ensemble:
    """Use it in a `with`, and `start` it there."""

    def __init__(self, options):
        self.options, self.members = list(options), []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for member in self.members:
            member.end()

    def start(self, observers=0):
        self.members = [self.member(number) for number in range(1, VOTERS + observers + 1)]
        for member in self.members:
            member.dir.mkdir(parents=True)
            member.others = self.members
            member.is_observer = member.number > VOTERS
        self.start_all()

    def start_all(self):
        """Seconds until the first has acknowledged a write, and until every one has."""
        began = time.monotonic()
        with self.writers() as writers:
            for member in self.members:
                member.spawn()
            first, last = writers.wait(range(len(self.members)), began, SERVING_WITHIN_S)
        return first - began, last - began

    def writers(self):
        return Writers(self.probe, [member.port for member in self.members])

    def leader(self):
        """Its index. Every other voter follows."""
        deadline = time.monotonic() + SERVING_WITHIN_S
        while time.monotonic() < deadline:
            roles = [member.role() for member in self.members]
            if roles.count("leader") == 1 and roles.count("follower") == VOTERS - 1:
                return roles.index("leader")
            time.sleep(0.05)
        raise Failed(f"no leader and followers: {roles}\n{self.last_words()}")

    def last_words(self):
        return "\n".join(member.log.read_text(errors="replace")[-1000:] for member in self.members)

    def cpu_during(self, work, members=None):
        """What `work` returns, and the CPU seconds of all servers, or of these."""
        members = members or self.members
        before = sum(member.cpu_s() for member in members)
        seen = work()
        return seen, sum(member.cpu_s() for member in members) - before

    def memory_mb(self, what):
        """Of all three voters together."""
        return sum(member.memory_mb(what) for member in self.members[:VOTERS])

    def load(self):
        return Load(self.backend, self.sessions, [member.bootstrap for member in self.members])


class Load:
    """The load client, one process for several measurements: what compiles is compiled by the first."""

    PATIENCE_S = 60

    def __init__(self, backend, sessions, servers):
        command = ["java", "-Xmx1g", "-Dorg.slf4j.simpleLogger.defaultLogLevel=error", "-cp",
                   f"{WORK}/ensemble:{WORK}/zookeeper/*", "Load", backend, sessions, *servers]
        self.process = subprocess.Popen([str(word) for word in command], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()

    def ask(self, *words, within_s=LIMIT_S):
        try:
            self.process.stdin.write(" ".join(str(word) for word in words) + "\n")
            self.process.stdin.flush()
        except OSError:
            pass  # It has ended; below it says why.
        readable, _, _ = select.select([self.process.stdout], [], [], within_s)
        if not readable:
            raise Failed(f"the load client takes more than {within_s} s for {words}")
        line = self.process.stdout.readline()
        if not line:
            raise Failed(f"the load client ended at {words}:\n{self.process.stderr.read()[:2000]}")
        return json.loads(line)

    def create(self, count, size, outstanding=4):
        return self.ask("create", count, size, outstanding)

    def write(self, outstanding, seconds, keys, size, file=None):
        words = [outstanding, int(seconds * 1000), keys, size, *([file] if file else [])]
        return self.ask("write", *words, within_s=seconds + self.PATIENCE_S)

    def read(self, server, outstanding, seconds, keys, size):
        words = [server, outstanding, int(seconds * 1000), keys, size]
        return self.ask("read", *words, within_s=seconds + self.PATIENCE_S)


class Member:
    """One server of an ensemble, beside what it has of `Broker`."""

    is_observer, others = False, ()

    def end(self):
        """However it is."""
        process = getattr(self, "process", None)
        if process and process.poll() is None:
            process.kill()
            process.wait()
        empty(self.dir)

    def signal(self, what):
        self.process.send_signal(what)
        if what == signal.SIGKILL:
            self.process.wait()

    def threads(self):
        """Their names, as the kernel knows them (15 characters)."""
        names = set()
        for task in Path(f"/proc/{self.process.pid}/task").iterdir():
            try:
                names.add((task / "comm").read_text().strip())
            except FileNotFoundError:
                pass  # It has ended.
        return names

    def snapshots(self):
        """Name and bytes of each there is."""
        found = {}
        for path in self.snapshot_dir().glob("snapshot.*"):
            try:
                found[path.name] = path.stat().st_size
            except FileNotFoundError:
                pass
        return found


class DohleMember(Member, Dohle):
    SNAPSHOT_THREAD = "zab-snapshot"

    def __init__(self, options, binary, number):
        Dohle.__init__(self, options, binary)
        self.number, self.peer_port, self.http_port = number, free_port(), free_port()

    def command(self):
        voters = ",".join(f"{member.number}@127.0.0.1:{member.peer_port}" for member in self.others
                          if not member.is_observer)
        options = [f"node.id={self.number}", f"listeners=PLAINTEXT://127.0.0.1:{self.port}",
                   f"http.listen=127.0.0.1:{self.http_port}", f"log.dirs={self.dir}/data", f"ensemble.voters={voters}",
                   f"ensemble.listener=127.0.0.1:{self.peer_port}", *self.options]
        return [str(self.binary)] + [word for option in options for word in ("--set", option)]

    def get(self, path):
        connection = http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=5)
        try:
            connection.request("GET", path)
            return connection.getresponse().read().decode()
        finally:
            connection.close()

    def role(self):
        try:
            return json.loads(self.get("/ensemble")).get("role")
        except (OSError, ValueError):
            return None

    def transactions(self):
        """Committed in this epoch."""
        return int(json.loads(self.get("/ensemble"))["committed"].split(".")[1])

    def flushes(self):
        """Of the metadata log, since the start of the process."""
        return int(re.search(r"^dohle_metadata_persist_duration_seconds_count (\d+)", self.get("/metrics"), re.M)[1])

    def snapshot_dir(self):
        return self.dir / "data" / "zab"


class DohleEnsemble(Ensemble):
    # The client's connections with each server. More of them make it slower.
    probe, backend, sessions = KafkaProbe, "kafka", 1

    def __init__(self, options, binary=DOHLE):
        super().__init__(options)
        self.binary = binary

    def member(self, number):
        return DohleMember(self.options, self.binary, number)


class ZooKeeperMember(Member, Broker):
    """With the JVM settings of its own start script (zkServer.sh) and the times of its sample configuration."""

    JVM = ["-Xmx1000m", "-XX:+HeapDumpOnOutOfMemoryError", "-XX:OnOutOfMemoryError=kill -9 %p"]
    SNAPSHOT_THREAD = "Snapshot Thread"

    def __init__(self, options, number):
        Broker.__init__(self, options)
        self.number, self.peer_port, self.election_port = number, free_port(), free_port()

    def command(self):
        data = self.dir / "data"
        data.mkdir(exist_ok=True)
        (data / "myid").write_text(f"{self.number}\n")
        servers = [f"server.{member.number}=127.0.0.1:{member.peer_port}:{member.election_port}"
                   f"{':observer' if member.is_observer else ''}" for member in self.others]
        config = self.dir / "zoo.cfg"
        options = ["tickTime=2000", "initLimit=10", "syncLimit=5", f"dataDir={data}", f"clientPort={self.port}",
                   "clientPortAddress=127.0.0.1", "admin.enableServer=false", *servers,
                   *(["peerType=observer"] if self.is_observer else [])]
        # The last of a key counts.
        by_key = dict(option.split("=", 1) for option in [*options, *self.options])
        config.write_text("".join(f"{key}={value}\n" for key, value in by_key.items()))
        return ["java", *self.JVM, "-cp", f"{WORK}/zookeeper/*",
                "org.apache.zookeeper.server.quorum.QuorumPeerMain", str(config)]

    def word(self, word):
        """The answer to one of its four-letter words."""
        with socket.create_connection(("127.0.0.1", self.port), 5) as client:
            client.sendall(word.encode())
            parts = []
            while part := client.recv(4096):
                parts.append(part)
        return b"".join(parts).decode()

    def role(self):
        try:
            mode = re.search(r"^Mode: (\w+)", self.word("srvr"), re.M)
        except OSError:
            return None
        return mode and mode[1]

    def transactions(self):
        return int(re.search(r"^Zxid: (0x\w+)", self.word("srvr"), re.M)[1], 16) & 0xffffffff

    def snapshot_dir(self):
        return self.dir / "data" / "version-2"


class ZooKeeper(Ensemble):
    # The client's sessions with each server. More of them make it slower, for the client has two threads for each.
    probe, backend, sessions = ZooKeeperProbe, "zookeeper", 1

    def member(self, number):
        return ZooKeeperMember(self.options, number)

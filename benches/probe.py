"""One write at a time, to servers that may be away: when is a write acknowledged again? Owner: benches.

Written on the wire, for the clients of both sides wait for a second or so before they try a server again: what is to
be seen here is the server. A write that a server has taken waits for as long as the server likes.
"""

import itertools
import socket
import struct
import threading
import time

ANSWER_WITHIN_S = 60
# Between two attempts at a server that is away: short against what is measured, and cheap.
PAUSE_S = 0.002


class Refused(OSError):
    """A server that is there and does not do what it is asked."""


class Probe:
    """A connection to one server; `write` comes back when its change is committed."""

    number = itertools.count(1)

    def __init__(self, port):
        self.key = f"probe-{port}"
        self.socket = socket.create_connection(("127.0.0.1", port), ANSWER_WITHIN_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self.greet()
        except BaseException:
            self.close()
            raise

    def close(self):
        self.socket.close()

    def greet(self):
        pass

    def ask(self, body):
        self.socket.sendall(struct.pack(">i", len(body)) + body)
        size = struct.unpack(">i", self.exactly(4))[0]
        return self.exactly(size)

    def exactly(self, size):
        data = self.socket.recv(size, socket.MSG_WAITALL)
        if len(data) < size:
            raise Refused("the server closed the connection")
        return data

    def write(self):
        self.put(f"value {next(self.number)}".encode())


class KafkaProbe(Probe):
    """IncrementalAlterConfigs, version 0, of a client metrics subscription."""

    KIND = 16

    def put(self, value):
        key, name, who = self.key.encode(), b"metrics", b"probe"
        header = struct.pack(f">hhih{len(who)}s", 44, 0, 1, len(who), who)
        body = struct.pack(f">ibh{len(key)}sih{len(name)}sbh{len(value)}s?", 1, self.KIND, len(key), key, 1, len(name),
                           name, 0, len(value), value, False)
        # Correlation, throttle time, one resource, its error.
        error = struct.unpack_from(">iiih", self.ask(header + body))[3]
        if error:
            raise Refused(f"error {error}")


class ZooKeeperProbe(Probe):
    """setData of a node, in a session of its own."""

    SESSION_MS, SET_DATA, CREATE, NO_NODE = 30_000, 5, 1, -101

    def greet(self):
        answer = self.ask(struct.pack(">iqiqi16s?", 0, 0, self.SESSION_MS, 0, 16, bytes(16), False))
        if struct.unpack_from(">ii", answer)[1] <= 0:
            raise Refused("no session")

    def call(self, kind, body):
        # Transaction, zxid, error.
        return struct.unpack_from(">iqi", self.ask(struct.pack(">ii", 1, kind) + body))[2]

    def put(self, value):
        path = f"/{self.key}".encode()
        named = struct.pack(f">i{len(path)}si{len(value)}s", len(path), path, len(value), value)
        error = self.call(self.SET_DATA, named + struct.pack(">i", -1))
        if error == self.NO_NODE:
            everybody = struct.pack(">iii5si6si", 1, 31, 5, b"world", 6, b"anyone", 0)
            error = self.call(self.CREATE, named + everybody)
        if error:
            raise Refused(f"error {error}")


class Writers:
    """A thread for each server that writes to it all the time; `acks` has when, and which server."""

    def __init__(self, probe, ports):
        self.acks, self.ended = [], threading.Event()
        self.threads = [threading.Thread(target=self.run, args=(probe, index, port))
                        for index, port in enumerate(ports)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        for thread in self.threads:
            thread.join()

    def run(self, probe, index, port):
        connection = None
        while not self.ended.is_set():
            try:
                connection = connection or probe(port)
                connection.write()
                self.acks.append((time.monotonic(), index))
            except OSError:
                if connection:
                    connection.close()
                connection = None
                self.ended.wait(PAUSE_S)
        if connection:
            connection.close()

    def first_acks(self, since):
        """Of each server that has acknowledged a write since then."""
        firsts = {}
        for at, index in self.acks:
            if at > since:
                firsts.setdefault(index, at)
        return firsts

    def wait(self, indexes, since, within_s):
        """Until each of these servers has acknowledged a write; when the first and the last did."""
        deadline = time.monotonic() + within_s
        while True:
            firsts = self.first_acks(since)
            if set(indexes) <= set(firsts):
                times = [firsts[index] for index in indexes]
                return min(times), max(times)
            if time.monotonic() > deadline:
                raise Refused(f"only {sorted(firsts)} of {sorted(indexes)} acknowledged a write within {within_s} s")
            time.sleep(0.02)

    def longest_gap(self, since, until):
        """Without a write that any server acknowledged."""
        times = [since, *sorted(at for at, _ in self.acks if since < at < until), until]
        return max(later - earlier for earlier, later in zip(times, times[1:]))

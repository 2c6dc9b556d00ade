"""The processes of scripts/million: the server, the clients, and what the kernel says of them.

Must not know the figures. Whatever is started here is ended here, also when a run fails.
"""

import ctypes
import json
import os
import re
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = os.path.normpath(os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", ".."))
LOGS = os.path.join(ROOT, ".cache", "logs")
CHANNELS = 100
CHANNEL = "plain:hold-"
MIB = 1 << 20


class Failed(Exception):
    """The run cannot go on: why."""


def read(path):
    with open(path, encoding="ascii") as file:
        return file.read()


def meminfo():
    """/proc/meminfo in bytes."""
    return {
        name: int(number) << 10
        for name, number in re.findall(r"^(\w+):\s+(\d+) kB", read("/proc/meminfo"), re.M)
    }


def rss(pid):
    return int(re.search(r"^VmRSS:\s+(\d+)", read(f"/proc/{pid}/status"), re.M).group(1)) << 10


def cpu_s(pid):
    tasks = os.listdir(f"/proc/{pid}/task")
    return sum(int(read(f"/proc/{pid}/task/{task}/schedstat").split()[0]) for task in tasks) / 1e9


def free_port():
    for port in range(20_100, 32_000):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise Failed("no free port between 20100 and 32000")


class Server:
    """The server under test, with a configuration of its own."""

    def __init__(self, binary, given):
        self.port = given.port or free_port()
        self.log = os.path.join(LOGS, "million-server.log")
        self.config = tempfile.NamedTemporaryFile("w", suffix=".toml", prefix="corecast-million-")
        # Arenas and history are touched or kept per worker: small ones, as there are many.
        self.config.write(
            f'workers = {given.workers}\ndriver = "{given.driver}"\nspin_us = 0\n'
            f"[client]\nping_interval_ms = {given.ping_s * 1000}\n"
            '[limits]\narena_bytes = 262144\n[log]\nlevel = "warn"\n'
        )
        self.config.flush()
        command = [
            binary,
            "serve",
            "--dev",
            "--config",
            self.config.name,
            "--listen",
            f"127.0.0.1:{self.port}",
        ]
        variables = {
            name: text for name, text in os.environ.items() if not name.startswith("CORECAST_")
        }
        with open(self.log, "w", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, env=variables, preexec_fn=become_server
            )
        self.url = f"ws://127.0.0.1:{self.port}/connection/websocket"

    def get(self, path, body=None, timeout=20):
        with urllib.request.urlopen(
            f"http://127.0.0.1:{self.port}{path}", body, timeout=timeout
        ) as answer:
            return answer.read().decode()

    def await_ready(self):
        until = time.monotonic() + 20
        while time.monotonic() < until:
            self.alive()
            try:
                self.get("/ready", timeout=1)
                return
            except OSError:
                time.sleep(0.1)
        raise Failed(f"the server did not become ready; see {self.log}")

    def alive(self):
        if self.process.poll() is not None:
            with open(self.log, encoding="utf-8", errors="replace") as log:
                lines = [line for line in log.read().splitlines() if "--dev lets" not in line]
            last = " / ".join(lines[-2:]) or "it said nothing"
            raise Failed(f"the server ended with code {self.process.returncode}: {last}")

    def gauge(self, name):
        found = re.findall(rf"^{name}(?:{{[^}}]*}})? (\S+)$", self.get("/metrics"), re.M)
        return sum(map(float, found))

    def publish(self, channel, number):
        body = json.dumps(
            {"channel": channel, "data": {"number": number}}, separators=(",", ":")
        ).encode()
        answer = json.loads(self.get("/api/publish", body))
        if "result" not in answer:
            raise Failed(f"a publish was refused: {answer}")

    def stop(self):
        """Its exit code, after SIGTERM; -9 if it had to be killed."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


def die_with_us():
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)


def become_server():
    """Workers by the dozen on a core: each is woken when the others are done, not between two of
    their answers to pings, which takes a third of the switches."""
    die_with_us()
    os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


class Holder:
    """One client process, and what it last said."""

    def __init__(self, binary, server, number, count):
        self.number, self.count, self.live, self.said, self.rest = number, count, 0, {}, b""
        self.errors = open(os.path.join(LOGS, f"million-holder-{number}.log"), "wb")
        source = f"127.1.{number // 250}.{number % 250 + 1}"
        command = [
            binary,
            "hold",
            "--url",
            server.url,
            "--source",
            source,
            "--channels",
            str(CHANNELS),
            "--channel",
            CHANNEL,
        ]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors
        )
        os.set_blocking(self.process.stdout.fileno(), False)
        self.order(f"grow {count}")

    def order(self, text):
        try:
            self.process.stdin.write(text.encode() + b"\n")
            self.process.stdin.flush()
        except OSError:
            pass  # It ended; hear() says why.

    def hear(self):
        """Reads what it says; fails with its reason when it ended."""
        data = self.process.stdout.read()
        for line in (self.rest + (data or b"")).splitlines(keepends=True):
            if not line.endswith(b"\n"):
                self.rest = line
                break
            self.rest = b""
            said = json.loads(line)
            if "failure" in said:
                why = said["failure"]
                if "no pong" in why:
                    why += "; this host is too slow for so many pings, try a longer --ping-s"
                raise Failed(f"client process {self.number}: {why}")
            self.said.update(said)
            self.live = self.said.get("live", self.live)
        if data == b"":
            raise Failed(
                f"client process {self.number} ended with code {self.process.wait()}; "
                f"see {self.errors.name}"
            )


class Crowd:
    """All client processes."""

    def __init__(self, binary, server, given):
        self.binary, self.server, self.given = binary, server, given
        self.holders, self.selector = [], selectors.DefaultSelector()
        self.shown = 0.0
        # (connections, resident bytes of the server), while it grows.
        self.states = []

    @property
    def live(self):
        return sum(holder.live for holder in self.holders)

    def hear(self, timeout):
        try:
            for key, _ in self.selector.select(timeout):
                key.data.hear()
        except Failed:
            # Clients that were closed are what a dead server looks like: it is named first.
            time.sleep(0.5)
            self.server.alive()
            raise
        self.server.alive()

    def grow(self):
        """Connects everybody; false when memory ended first."""
        started, left = time.monotonic(), self.given.connections
        while left or any(holder.live < holder.count for holder in self.holders):
            growing = sum(holder.live < holder.count for holder in self.holders)
            while left and growing < self.given.growing:
                count = min(left, self.given.per_process)
                holder = Holder(self.binary, self.server, len(self.holders), count)
                self.holders.append(holder)
                self.selector.register(holder.process.stdout, selectors.EVENT_READ, holder)
                left, growing = left - count, growing + 1
            self.hear(0.1)
            available = meminfo()["MemAvailable"]
            self.states.append((self.live, rss(self.server.process.pid)))
            self.bar(started, available)
            if available < self.given.spare_mib * MIB:
                self.bar(started, available, last=True)
                self.freeze()
                return False
        self.bar(started, meminfo()["MemAvailable"], last=True)
        return True

    def freeze(self):
        """Nobody connects any more; those under way come to their end."""
        for holder in self.holders:
            holder.order("freeze")
        self.ask("report", "opened")
        for holder in self.holders:
            holder.count = holder.said["opened"]
        until = time.monotonic() + 30
        while self.live < sum(holder.count for holder in self.holders) and time.monotonic() < until:
            self.hear(0.1)

    def ask(self, order, key):
        """Gives an order to all and waits for everybody's answer."""
        for holder in self.holders:
            holder.said.pop(key, None)
            holder.order(order)
        until = time.monotonic() + 60
        while not all(key in holder.said for holder in self.holders):
            self.hear(0.1)
            if time.monotonic() > until:
                raise Failed(f"a client process did not answer {order!r} within 60 s")

    def wait(self, seconds):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.hear(0.2)

    def bar(self, started, available, last=False):
        now, live, wanted = time.monotonic(), self.live, self.given.connections
        terminal = sys.stderr.isatty()
        if not last and now - self.shown < (0.2 if terminal else 5):
            return
        self.shown = now
        rate = live / max(now - started, 0.001)
        filled = "#" * (40 * live // wanted)
        left = (
            f"{(wanted - live) / rate:4.0f} s left"
            if live and not last
            else f"{now - started:.0f} s"
        )
        free = f"{available / 2**30:.1f} GiB free"
        text = f"[{filled:40}] {live:>9,} of {wanted:,}  {rate:,.0f}/s  {free}  {left}"
        print(
            ("\r" if terminal else "") + text,
            end="" if terminal and not last else "\n",
            file=sys.stderr,
            flush=True,
        )

    def end(self):
        """Their sockets are reset, which leaves nothing behind."""
        for holder in self.holders:
            holder.order("quit")
            try:
                holder.process.stdin.close()
            except OSError:
                pass  # It is gone already.
        for holder in self.holders:
            try:
                holder.process.wait(60)
            except subprocess.TimeoutExpired:
                holder.process.kill()
                holder.process.wait()
            holder.errors.close()

"""The server under seccomp filters: the profile of tuning/, with what starts servers in containers
before it, and one that kills whoever calls io_uring.

Needs a build: CORECAST_BIN, or the newest of target/.
"""

import ctypes
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import time
import unittest
import urllib.request

from machine import ROOT
from test_doctor import binary, doctor, nobody_without_memory, without_variables

UNISTD = ("/usr/include/x86_64-linux-gnu/asm/unistd_64.h", "/usr/include/asm/unistd_64.h")
RING = {"io_uring_setup", "io_uring_enter", "io_uring_register"}
# What a filter does with a call (linux/seccomp.h); x86-64 has the 32-bit ones under numbers of
# their own, which are refused.
ALLOW, EPERM, KILL_PROCESS = 0x7FFF0000, 0x00050001, 0x80000000

# As images have them: something is looked up by another process, then the server takes the place.
ENTRY_POINT = """set -eu
umask 077
name=$(uname -n)
echo "starting on $name" | tr a-z A-Z >&2
exec "$@"
"""
# What containers put in front of a server, each by the name of its Debian package.
WRAPPERS = {
    "tini": ["tini", "-v", "-s", "--"],
    "tini -s -g": ["tini", "-s", "-g", "--"],
    "dumb-init": ["dumb-init", "--"],
    "dumb-init --single-child": ["dumb-init", "--single-child", "--"],
    "sh": ["sh", "-c", ENTRY_POINT, "sh"],
    "bash": ["bash", "-c", ENTRY_POINT, "bash"],
    "tini and sh": ["tini", "-s", "--", "sh", "-c", ENTRY_POINT, "sh"],
}


def profile():
    """Names of system calls that the profile allows."""
    with open(os.path.join(ROOT, "tuning", "seccomp.json"), encoding="utf-8") as file:
        return {name for group in json.load(file)["syscalls"] for name in group["names"]}


def numbers():
    for path in UNISTD:
        if os.path.exists(path):
            with open(path, encoding="ascii") as file:
                return {
                    name: int(number)
                    for name, number in re.findall(r"#define __NR_(\w+) (\d+)", file.read())
                }
    return None


def confine(allowed):
    """Makes a function that lays a filter on the process: all but these calls fail with EPERM."""
    return filtering(allowed, ALLOW, EPERM)


def killing(forbidden):
    """The same, of a filter that ends the process at these calls and lets all others be."""
    return filtering(forbidden, KILL_PROCESS, ALLOW)


def filtering(names, verdict, otherwise):
    known = numbers()
    wanted = sorted(known[name] for name in names if name in known)
    rules = [(0x20, 0, 0, 4), (0x15, 1, 0, 0xC000003E), (0x06, 0, 0, 0x80000000), (0x20, 0, 0, 0)]
    for number in wanted:
        rules += [(0x15, 0, 1, number), (0x06, 0, 0, verdict)]
    rules.append((0x06, 0, 0, otherwise))
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *rule) for rule in rules))
    program = ctypes.create_string_buffer(
        struct.pack("HxxxxxxP", len(rules), ctypes.addressof(code))
    )
    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def lay():
        if prctl(38, 1, 0, 0, 0) or prctl(22, 2, program, 0, 0):
            os._exit(71)

    lay.kept = (code, program)
    return lay


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@unittest.skipIf(binary() is None, "no build of corecast")
@unittest.skipIf(numbers() is None or os.uname().machine != "x86_64", "no table of system calls")
class Confined(unittest.TestCase):
    def test_doctor_tells_a_profile_that_blocks_the_ring(self):
        good = doctor(preexec_fn=confine(profile()))
        self.assertRegex(good.stdout, r"ok +io_uring connection: accepted", good.stderr)
        blocked = doctor(preexec_fn=confine(profile() - RING))
        self.assertEqual(blocked.returncode, 1)
        self.assertRegex(blocked.stdout, r"differs +io_uring: a seccomp profile forbids io_uring")
        self.assertIn("Effect: the server runs on epoll", blocked.stdout)

    def test_init_wrappers_start_and_end_it_under_the_profile(self):
        for name, wrapper in WRAPPERS.items():
            with self.subTest(name):
                if not all(shutil.which(word) for word in wrapper[:1]):
                    self.skipTest(f"SKIPPED: {name} is not installed")
                said = self.serve("epoll", wrapper=wrapper)
                # A wrapper, or a shell, that is refused a call says so.
                self.assertNotRegex(said.lower(), "not permitted|cannot fork|failed")

    def test_epoll_touches_no_call_of_the_ring(self):
        # The filter works: a driver that asks for a ring is killed by it.
        port = free_port()
        at = f"127.0.0.1:{port}"
        killed = subprocess.run(
            [binary(), "serve", "--dev", "--driver", "io_uring", "--listen", at],
            preexec_fn=killing(RING),
            capture_output=True,
            timeout=60,
            env=without_variables(),
        )
        self.assertEqual(killed.returncode, -signal.SIGSYS)
        self.serve("epoll", killing(RING))

    def test_a_bridge_that_cannot_hear_its_bell_ends_the_server(self):
        # Workers on epoll read their bells; without clients only the bridge receives from a socket.
        at = f"127.0.0.1:{free_port()}"
        ended = subprocess.run(
            [binary(), "serve", "--dev", "--driver", "epoll", "--listen", at],
            preexec_fn=filtering({"recvfrom"}, EPERM, ALLOW),
            capture_output=True,
            text=True,
            timeout=60,
            env=without_variables(),
        )
        self.assertEqual(ended.returncode, 69, ended.stderr)
        self.assertIn("corecast: the bridge ended: Operation not permitted", ended.stderr)
        self.assertRegex(ended.stderr, "ERROR the bridge ended: Operation not permitted")

    def test_the_server_lives_under_the_profile(self):
        for driver in ("io_uring", "epoll"):
            with self.subTest(driver):
                self.serve(driver)

    @unittest.skipUnless(os.geteuid() == 0, "needs root, to be somebody else")
    def test_without_memory_for_its_rings_the_server_runs_on_epoll(self):
        said = self.serve("auto", nobody_without_memory)
        self.assertRegex(
            said, "driver=.*epoll.* why=.*worker .* gets no ring: io_uring gets no memory"
        )

    def serve(self, driver, before=None, wrapper=()):
        port = free_port()
        at = f"127.0.0.1:{port}"
        command = [*wrapper, binary(), "serve", "--dev", "--driver", driver, "--listen", at]
        server = subprocess.Popen(
            command,
            preexec_fn=before or confine(profile()),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=without_variables(),
        )
        try:
            self.await_health(at, server)
            body = json.dumps({"channel": "chat:lobby", "data": 1}).encode()
            with urllib.request.urlopen(f"http://{at}/api/publish", body, timeout=5) as answer:
                self.assertIn("offset", json.load(answer)["result"])
            with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
                client.sendall(
                    b"GET /connection/websocket HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n"
                    b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
                )
                self.assertTrue(client.recv(4096).startswith(b"HTTP/1.1 101"))
        finally:
            server.send_signal(signal.SIGTERM)
            out, _ = server.communicate(timeout=15)
        self.assertEqual(server.returncode, 0, out)
        self.assertNotIn("WARN", out)
        return out

    def await_health(self, at, server):
        until = time.monotonic() + 10
        while time.monotonic() < until and server.poll() is None:
            try:
                with urllib.request.urlopen(f"http://{at}/health", timeout=1):
                    return
            except OSError:
                time.sleep(0.02)
        self.fail("the server did not answer /health")


if __name__ == "__main__":
    unittest.main()

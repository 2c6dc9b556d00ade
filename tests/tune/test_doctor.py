"""`corecast doctor` beside the tuner, and the server under the seccomp profile.

Needs a build: CORECAST_BIN, or the newest of target/.
"""

import ctypes
import glob
import json
import os
import re
import signal
import socket
import struct
import subprocess
import time
import unittest
import urllib.request

from machine import ROOT, TUNE

UNISTD = ("/usr/include/x86_64-linux-gnu/asm/unistd_64.h", "/usr/include/asm/unistd_64.h")
RING = {"io_uring_setup", "io_uring_enter", "io_uring_register"}


def binary():
    built = (
        [os.environ["CORECAST_BIN"]]
        if "CORECAST_BIN" in os.environ
        else glob.glob(os.path.join(ROOT, "target", "*", "corecast"))
    )
    return max(built, key=os.path.getmtime) if built else None


def without_variables():
    return {name: text for name, text in os.environ.items() if not name.startswith("CORECAST_")}


def doctor(*words, **how):
    return subprocess.run(
        [binary(), "doctor", *words],
        capture_output=True,
        text=True,
        timeout=60,
        env=without_variables(),
        **how,
    )


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
    known = numbers()
    wanted = sorted(known[name] for name in allowed if name in known)
    rules = [(0x20, 0, 0, 4), (0x15, 1, 0, 0xC000003E), (0x06, 0, 0, 0x80000000), (0x20, 0, 0, 0)]
    for number in wanted:
        rules += [(0x15, 0, 1, number), (0x06, 0, 0, 0x7FFF0000)]
    rules.append((0x06, 0, 0, 0x00050001))
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


@unittest.skipIf(binary() is None, "no build of corecast")
class Agree(unittest.TestCase):
    def test_the_same_answers_as_the_tuner(self):
        for connections in ("1000", "100000", "5000000"):
            told = json.loads(doctor("--json", "--connections", connections).stdout)
            asked = [TUNE, "check", "--json", "--ports", "8000", "--connections", connections]
            checked = json.loads(subprocess.run(asked, capture_output=True, text=True).stdout)
            ours = {item["name"]: item["state"] for item in told["findings"]}
            wanted = {item["name"]: item["want"] for item in told["findings"]}
            compared = 0
            for item in checked["items"]:
                if item["group"] == "files":
                    # The tuner knows the contents; the doctor, whether they are there.
                    if item["name"] in ours and item["current"] is None:
                        self.assertEqual(ours[item["name"]], "differs", item["name"])
                    continue
                self.assertEqual(ours[item["name"]], item["state"], item["name"])
                if item["state"] != "not available":
                    self.assertEqual(wanted[item["name"]], item["want"], item["name"])
                compared += 1
            self.assertGreater(compared, 20)

    def test_exit_codes_and_words(self):
        ran = doctor("--connections", "100000000")
        self.assertEqual(ran.returncode, 1)
        self.assertRegex(ran.stdout, r"This host can hold \d+ connections; what ends it: ")
        self.assertRegex(
            ran.stdout, r"differs +connections: \d+ fit, wanted 100000000\. It costs: "
        )
        found = json.loads(doctor("--json", "--connections", "100000000").stdout)
        self.assertEqual((found["ok"], found["connections_wanted"]), (False, 100000000))
        self.assertTrue(
            all(item["cost"] for item in found["findings"] if item["state"] == "differs")
        )
        self.assertEqual(doctor("--config", "/nowhere.toml").returncode, 78)
        self.assertEqual(doctor("--connections", "many").returncode, 2)
        self.assertIn("Examples:", doctor("--help").stdout)

    def test_a_low_limit_of_descriptors_is_named(self):
        ran = doctor("--connections", "5000", preexec_fn=lambda: limit("RLIMIT_NOFILE", 1024))
        self.assertRegex(
            ran.stdout, r"differs +limit nofile: 1024, wanted at least 13192\. It costs: "
        )
        self.assertIn("workers of", ran.stdout.split("what ends it: ")[1])

    @unittest.skipUnless(os.geteuid() == 0, "needs root, to be somebody else")
    def test_a_low_limit_of_locked_memory_is_named(self):
        ran = doctor(preexec_fn=nobody_without_memory)
        self.assertRegex(ran.stdout, r"differs +limit memlock: 65536, wanted at least unlimited\. ")
        self.assertRegex(
            ran.stdout,
            r"differs +io_uring rings of all workers: worker \d gets none: io_uring gets no memory",
        )


def nobody_without_memory():
    limit("RLIMIT_MEMLOCK", 65536)
    os.setgroups([])
    os.setuid(65534)


def limit(name, number):
    import resource

    resource.setrlimit(getattr(resource, name), (number, number))


@unittest.skipIf(binary() is None, "no build of corecast")
@unittest.skipIf(numbers() is None or os.uname().machine != "x86_64", "no table of system calls")
class Confined(unittest.TestCase):
    def test_doctor_tells_a_profile_that_blocks_the_ring(self):
        good = doctor(preexec_fn=confine(profile()))
        self.assertRegex(good.stdout, r"ok +io_uring connection: accepted", good.stderr)
        blocked = doctor(preexec_fn=confine(profile() - RING))
        self.assertEqual(blocked.returncode, 1)
        self.assertRegex(blocked.stdout, r"differs +io_uring: a seccomp profile forbids io_uring")
        self.assertIn("It costs: the server runs on epoll", blocked.stdout)

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

    def serve(self, driver, before=None):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        at = f"127.0.0.1:{port}"
        command = [binary(), "serve", "--dev", "--driver", driver, "--listen", at]
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

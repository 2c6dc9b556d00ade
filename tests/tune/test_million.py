"""scripts/million in small: what it holds, and how it says that it cannot.

Needs builds: CORECAST_BIN and CORECAST_BENCH_BIN, or the newest of target/.
"""

import argparse
import contextlib
import glob
import io
import json
import os
import signal
import socket
import subprocess
import tempfile
import time
import unittest

from machine import ROOT, load

MILLION = os.path.join(ROOT, "scripts", "million")


def newest(variable, name):
    if variable in os.environ:
        return os.environ[variable]
    built = glob.glob(os.path.join(ROOT, "target", "*", name))
    return max(built, key=os.path.getmtime) if built else None


BINARIES = {
    "CORECAST_BIN": newest("CORECAST_BIN", "corecast"),
    "CORECAST_BENCH_BIN": newest("CORECAST_BENCH_BIN", "corecast-bench"),
}


@unittest.skipIf(None in BINARIES.values(), "no build of corecast and corecast-bench")
class Million(unittest.TestCase):
    def start(self, *words):
        command = [MILLION, "--settle-s", "1", "--idle-s", "1", "--workers", "3", *words]
        self.mark = f"MILLION_TEST={os.getpid()}.{time.monotonic_ns()}"
        name, value = self.mark.split("=")
        return subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **BINARIES, name: value},
        )

    def ended(self, process):
        out, err = process.communicate(timeout=60)
        self.assertEqual(left_over(self.mark), [], "processes are left")
        return process.returncode, out, err

    def million(self, *words):
        return self.ended(self.start(*words))

    def test_a_small_crowd_is_held_and_reached(self):
        with tempfile.NamedTemporaryFile() as file:
            code, out, err = self.million(
                "--connections", "1050", "--per-process", "300", "--json", file.name
            )
            self.assertEqual(code, 0, out + err)
            figures = json.load(file)
        self.assertTrue(figures["whole"])
        self.assertEqual(
            (figures["connections"], figures["server_says"], figures["client_processes"]),
            (1050, 1050, 4),
        )
        self.assertEqual(figures["deliveries"], figures["deliveries_expected"])
        self.assertGreaterEqual(figures["deliveries"], 100)
        self.assertIn("OK: 1,050 connections, every delivery arrived", out)

    def test_memory_that_ends_first_is_said_with_the_count(self):
        code, out, err = self.million(
            "--connections",
            "50000",
            "--per-process",
            "500",
            "--growing",
            "1",
            "--spare-mib",
            "100000000",
        )
        self.assertEqual(code, 3, out + err)
        self.assertRegex(out, r"STOPPED at [\d,]+ of 50,000: MemAvailable fell below 100000000 MiB")

    def test_a_server_that_dies_is_named(self):
        process = self.start("--connections", "2000", "--settle-s", "30")
        kill_child(process, "corecast-million-")
        code, out, err = self.ended(process)
        self.assertEqual((code, out), (1, ""))
        self.assertRegex(err, r"FAILED: the server ended with code -9")

    def test_a_client_process_that_dies_is_named(self):
        process = self.start("--connections", "2000", "--settle-s", "30")
        kill_child(process, "hold")
        code, out, err = self.ended(process)
        self.assertEqual((code, out), (1, ""))
        self.assertRegex(err, r"FAILED: client process 0 ended with code -9")

    def test_a_stop_leaves_nothing(self):
        process = self.start("--connections", "2000", "--settle-s", "30")
        await_word(process, "to settle")
        process.send_signal(signal.SIGTERM)
        self.assertEqual(self.ended(process)[0], 130)

    def test_a_port_in_use_is_named(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = str(taken.getsockname()[1])
            code, out, err = self.million("--connections", "10", "--port", port)
        self.assertEqual((code, out), (1, ""))
        self.assertRegex(err, f"FAILED: the server ended with code 69: .*127.0.0.1:{port}.*in use")

    def test_what_cannot_fit_is_said_before_anything_starts(self):
        for words, why in (
            (["--connections", "100000000"], "3 workers hold"),
            (["--connections", "0"], "0 is not at least 1"),
            (["--connections", "many"], "invalid"),
            (["--driver", "kqueue"], "invalid choice"),
        ):
            code, out, err = self.million(*words)
            self.assertIn(code, (1, 2), err)
            self.assertEqual(out, "")
            self.assertIn(why, err)
            self.assertNotIn("Traceback", err)


class Verdict(unittest.TestCase):
    def test_what_is_missing_is_no_success(self):
        script = load(MILLION)
        given = argparse.Namespace(connections=1000, spare_mib=1024)
        whole = {
            "connections": 1000,
            "server_says": 1000,
            "still_live": 1000,
            "deliveries": 100,
            "deliveries_expected": 100,
            "whole": True,
        }
        with contextlib.redirect_stdout(io.StringIO()):
            self.assertEqual(script.verdict(whole, given), 0)
            self.assertEqual(script.verdict({**whole, "whole": False}, given), 3)
            for name, number in (
                ("server_says", 999),
                ("still_live", 999),
                ("deliveries", 99),
                ("deliveries", 101),
            ):
                with self.assertRaises(script.Failed, msg=name):
                    script.verdict({**whole, name: number}, given)
            with self.assertRaises(script.Failed):
                script.verdict(whole, argparse.Namespace(connections=1001, spare_mib=1024))


def await_word(process, word):
    for line in process.stderr:
        if word in line:
            return
    raise AssertionError(f"{word!r} was not said")


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return file.read().split()


def words(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def kill_child(process, word):
    """Kills the first child with this word, once everybody is connected."""
    await_word(process, "to settle")
    found = [child for child in children(process.pid) if word in words(child)]
    os.kill(int(found[0]), signal.SIGKILL)


def left_over(mark):
    """Processes that were started with this mark in their environment."""
    found = []
    for path in glob.glob("/proc/[0-9]*/environ"):
        try:
            with open(path, "rb") as file:
                if mark.encode() in file.read().split(b"\0"):
                    found.append(words(path.split("/")[2]))
        except OSError:
            continue
    return found


if __name__ == "__main__":
    unittest.main()

"""Which cores do what on which machine; limits; the unit and the pages."""

import glob
import os
import re
import shutil
import subprocess
import tempfile
import unittest

from machine import ROOT, make, tune
from tuner import data, host, lasting, rules


def strided(cpus):
    """ "0-6:2" as the kernel writes it: 0,2,4,6."""
    span, _, step = cpus.partition(":")
    return ",".join(map(str, host.expand(span)[:: int(step)])) if step else cpus


class Cores(unittest.TestCase):
    def machine(self, cores, queues, nodes=None):
        root = tempfile.mkdtemp(prefix="corecast-tune-")
        self.addCleanup(shutil.rmtree, root)
        make(root, cores, queues)
        for number, cpus in enumerate(nodes or []):
            folder = os.path.join(root, f"sys/devices/system/node/node{number}")
            os.makedirs(folder, exist_ok=True)
            with open(os.path.join(folder, "cpulist"), "w", encoding="ascii") as file:
                file.write(cpus + "\n")
        return root

    def test_who_does_what(self):
        cases = [
            # cores, nodes, workers, network
            (1, None, "0", "0"),
            (2, None, "0-1", "0-1"),
            (4, None, "0-3", "0-3"),
            (8, None, "0-6", "7"),
            (16, None, "0-14", "15"),
            (32, None, "0-29", "30-31"),
            (32, ["0-15", "16-31"], "0-14,16-30", "15,31"),
            (8, ["0,2,4,6", "1,3,5,7"], "0-5", "6-7"),
        ]
        for cores, nodes, workers, network in cases:
            found = host.Host(self.machine(cores, 2, nodes))
            self.assertEqual(
                (host.compress(found.worker_cpus()), host.compress(found.network_cpus)),
                (workers, network),
                f"{cores} cores, {nodes}",
            )

    def test_no_more_workers_than_the_server_takes(self):
        with open(os.path.join(ROOT, "src", "limits.rs"), encoding="utf-8") as file:
            most = int(re.search(r"pub const WORKERS: usize = (\d+);", file.read()).group(1))
        cases = [
            # cores, nodes, workers of each node
            (64, None, [60]),
            (96, None, [63]),
            (96, ["0-47", "48-95"], [32, 31]),
            (128, ["0-63", "64-127"], [32, 31]),
            (128, ["0-127:2", "1-127:2"], [32, 31]),
            (128, ["0-31", "32-63", "64-95", "96-127"], [16, 16, 16, 15]),
            (128, ["0-31", "32-63"], [21, 21, 21]),
        ]
        for cores, nodes, expected in cases:
            nodes = [strided(cpus) for cpus in nodes or []]
            root = self.machine(cores, 2, nodes)
            ran = tune("apply", "--root", root, "--only", "files")
            self.assertEqual(ran.code, 0, ran.out + ran.err)
            with open(os.path.join(root, "etc/corecast/cpus"), encoding="ascii") as file:
                _, workers, bridge = file.read().splitlines()
            workers = host.expand(workers.split("=")[1])
            found = [len(set(workers) & set(host.expand(cpus))) for cpus in nodes or [f"0-{cores}"]]
            found += [len(workers) - sum(found)] if sum(found) < len(workers) else []
            self.assertEqual(found, expected, f"{cores} cores, {nodes}")
            self.assertLessEqual(len(workers), most)
            self.assertNotIn(int(bridge.split("=")[1]), workers)

    def test_a_shape_that_is_not_guessed_at(self):
        ran = tune("plan", "--root", self.machine(12, 2, ["0-7", "8-11"]))
        self.assertEqual((ran.code, ran.out), (2, ""))
        self.assertIn("NUMA nodes of different sizes (8, 4 cores); give --network-cpus", ran.err)
        ran = tune("plan", "--root", self.machine(12, 2, ["0-7", "8-11"]), "--network-cpus", "7,11")
        self.assertEqual(ran.code, 0, ran.err)

    def test_queues(self):
        def placed(cores, queues):
            found = host.Host(self.machine(cores, queues))
            device = "/sys/class/net/eth0/queues"
            return (
                host.mask(found.rps(f"{device}/rx-0/rps_cpus")),
                [host.mask(found.xps(f"{device}/tx-{queue}/xps_cpus")) for queue in range(queues)],
                [host.compress(cpus) for cpus in found.network_interrupts().values()],
            )

        self.assertEqual(placed(2, 1), ("3", ["3"], ["0"]))
        self.assertEqual(placed(4, 2), ("f", ["5", "a"], ["0", "1"]))
        self.assertEqual(placed(4, 4), ("0", ["1", "2", "4", "8"], ["0", "1", "2", "3"]))
        self.assertEqual(placed(8, 2), ("0", ["55", "aa"], ["7", "7"]))
        self.assertEqual(placed(40, 1)[0], "e0,00000000")

    def test_values_as_the_kernel_prints_them(self):
        for current, written in (
            ("always [madvise] never", "madvise"),
            ("4096\t5 6", "4096 5 6"),
            ("0003", "3"),
            ("8000-8001,9000", "8000,8001,9000"),
            ("00000001,00000000", "1,00000000"),
        ):
            self.assertTrue(rules.same(current, written), current)
        for current, written in (
            ("always [never]", "madvise"),
            ("4095", "4096"),
            ("", "8000"),
            ("4", "3"),
        ):
            self.assertFalse(rules.same(current, written), current)


def unit():
    with open(os.path.join(ROOT, "tuning", "corecast.service"), encoding="utf-8") as file:
        return file.read()


class Restarts(unittest.TestCase):
    def test_a_wrong_configuration_ends_it(self):
        # The exit code is looked at of the main process alone: a check before it would fail, and
        # be started again, every second.
        keys = [line.partition("=")[0] for line in unit().splitlines()]
        self.assertIn("RestartPreventExitStatus", keys)
        self.assertNotIn("ExecStartPre", keys)


class Limits(unittest.TestCase):
    LOGINS, DROP_IN = "etc/security/limits.d/90-corecast.conf", lasting.DROP_IN[1:]

    def written(self, path, *words, nr_open="1073741816"):
        with tempfile.TemporaryDirectory() as root:
            make(root)
            with open(os.path.join(root, "proc/sys/fs/nr_open"), "w", encoding="ascii") as file:
                file.write(nr_open)
            ran = tune("apply", "--root", root, *words)
            self.assertEqual(ran.code, 0, ran.out + ran.err)
            with open(os.path.join(root, path), encoding="ascii") as file:
                return file.read()

    def test_none_is_lowered(self):
        own = int(re.search(r"^LimitNOFILE=(\d+)$", unit(), re.M).group(1))
        for connections, expected in (("1000", own), ("100000", own), ("2000000", 2008192)):
            words = ("--connections", connections)
            logins = self.written(self.LOGINS, *words)
            self.assertIn(f"* hard nofile {expected}\nroot hard nofile {expected}\n", logins)
            self.assertIn(f"\nLimitNOFILE={expected}\n", self.written(self.DROP_IN, *words))

    def test_no_login_is_given_more_than_the_kernel_allows(self):
        words = ("--connections", "2000000", "--only", "files")
        found = self.written(self.LOGINS, *words, nr_open="1048576")
        self.assertIn("* hard nofile 1048576\n", found, "pam_limits refuses the login else")
        found = self.written(self.LOGINS, *words[:2], nr_open="1048576")
        self.assertIn("* hard nofile 2008192\n", found)


@unittest.skipIf(shutil.which("systemd-analyze") is None, "no systemd-analyze")
class Unit(unittest.TestCase):
    def analyze(self, *words):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "corecast.service")
            with open(path, "w", encoding="utf-8") as file:
                file.write(unit().replace("/usr/bin/corecast", "/bin/true"))
            return subprocess.run(["systemd-analyze", *words, path], capture_output=True, text=True)

    def test_systemd_knows_every_line(self):
        ran = self.analyze("verify")
        self.assertEqual((ran.returncode, ran.stderr), (0, ""))

    def test_it_is_hardened(self):
        ran = self.analyze("security", "--offline=yes", "--threshold=20")
        self.assertEqual(ran.returncode, 0, ran.stdout + ran.stderr)


class Pages(unittest.TestCase):
    def test_every_line_has_a_reason(self):
        for path in glob.glob(os.path.join(ROOT, "tuning", "*.tune")):
            for line in data.read(path):
                source = any(
                    word in line.why for word in ("measured", "kernel ", "our ", "listen(2)", "RFC")
                )
                self.assertTrue(source, f"{line.path}:{line.number}: neither measured nor cited")


if __name__ == "__main__":
    unittest.main()

"""Tuning files, arguments and machines that are malformed: one clear line, nothing written."""

import os
import shutil
import subprocess
import tempfile
import unittest

from machine import ROOT, TUNE, make, picture, tune
from tuner import sums

GOOD = "net.core.somaxconn | >= | 4096 | storms | cited"


class Malformed(unittest.TestCase):
    def test_a_clear_line_with_file_and_line(self):
        cases = [
            ("net.core.somaxconn | >= | 4096 | storms", "4 columns, not 5"),
            ("net.core.somaxconn | >= | 4096 | a | b | c", "6 columns, not 5"),
            ("net.core.somaxconn", "1 columns, not 5"),
            ("net.core.somaxconn | >= | | storms | cited", "the column want is empty"),
            ("net.core.somaxconn | >= | 4096 | storms | ", "the column why is empty"),
            ("net.core.somaxconn | => | 4096 | storms | cited", "unknown rule '=>'"),
            ("net.core.somaxconn | >= | 40x6 | storms | cited", "unknown name 'x'"),
            ("net.core.somaxconn | >= | conections | storms | cited", "unknown name 'conections'"),
            ("net.core.somaxconn | >= | 4 ; 5 | storms | cited", "';"),
            ("net.core.somaxconn | >= | max(1 | storms | cited", "a ')' is missing"),
            ("net.core.somaxconn | >= | 1 + | storms | cited", "the sum ends too early"),
            ("net.core.somaxconn | >= | 1 / 0 | storms | cited", "division by zero"),
            ("net.core.somaxconn | >= | " + "(" * 99 + " | storms | cited", "too many parentheses"),
            ("net.core.somaxconn | covers | 9 8 | storms | cited", "is not a range"),
            ("net.core.somaxconn | covers | 9 | storms | cited", "is not a range"),
            ("net.core.somaxconn | holds | cats | storms | cited", "'cats' is not valid with holds"),
            ("net.core.somaxconn | mask | irq | storms | cited", "unknown placement 'irq'"),
            ("../etc/passwd | is | x | storms | cited", "is not a name"),
            ("net core | is | x | storms | cited", "is not a name"),
            (GOOD, "net.core.somaxconn appears twice, first in line 2"),
        ]
        for line, why in cases:
            with tempfile.TemporaryDirectory() as folder:
                copy = os.path.join(folder, "tuning")
                shutil.copytree(os.path.join(ROOT, "tuning"), copy)
                path = os.path.join(copy, "sysctl.tune")
                with open(path, "w", encoding="utf-8") as file:
                    file.write(f"# a comment\n{GOOD}\n\n{line}\n")
                for command in ("plan", "apply", "check"):
                    ran = tune(command, "--root", folder, "--tuning", copy, "--memory-gib", "1")
                    self.assertEqual((ran.code, ran.out), (78, ""), line)
                    self.assertTrue(ran.err.startswith(f"tune: {path}:4: "), ran.err)
                    self.assertIn(why, ran.err)
                    self.assertEqual(ran.err.count("\n"), 1)
                self.assertEqual(os.listdir(folder), ["tuning"], "nothing was written")

    def test_files_that_cannot_be_read(self):
        with tempfile.TemporaryDirectory() as folder:
            copy = os.path.join(folder, "tuning")
            shutil.copytree(os.path.join(ROOT, "tuning"), copy)
            path = os.path.join(copy, "limits.tune")
            for content, why in (
                (b"", "it has no items"),
                (b"# only this\n", "it has no items"),
                (b"\xff|", "not UTF-8"),
            ):
                with open(path, "wb") as file:
                    file.write(content)
                ran = tune("check", "--tuning", copy)
                self.assertEqual(ran.code, 78)
                self.assertIn(f"{path}:1: {why}", ran.err)
            os.unlink(path)
            self.assertIn(f"{path}:1: No such file", tune("check", "--tuning", copy).err)


class Fits(unittest.TestCase):
    """What one file may hold, and what a machine makes of it, is no more a guess than its form."""

    def setUp(self):
        self.root = tempfile.mkdtemp(prefix="corecast-tune-")
        self.addCleanup(shutil.rmtree, self.root)
        make(self.root, cores=2)
        self.copy = os.path.join(self.root, "tuning")
        shutil.copytree(os.path.join(ROOT, "tuning"), self.copy)

    def refused(self, name, text, line, why):
        path = os.path.join(self.copy, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        before = picture(self.root)
        for command in ("plan", "apply", "check"):
            ran = tune(command, "--root", self.root, "--tuning", self.copy)
            self.assertEqual((ran.code, ran.out), (78, ""), text + ran.err)
            self.assertTrue(ran.err.startswith(f"tune: {path}:{line}: "), ran.err)
            self.assertIn(why, ran.err)
            self.assertEqual(ran.err.count("\n"), 1)
        self.assertEqual(picture(self.root), before)
        shutil.copy(os.path.join(ROOT, "tuning", name), path)

    def test_limits(self):
        nofile, memlock = "nofile | >= | 9 | a | b\n", "memlock | >= | unlimited | a | b\n"
        for text, line, why in (
            (memlock, 1, "the limit nofile is missing"),
            (nofile, 1, "the limit memlock is missing"),
            (memlock + "nofiles | >= | 9 | a | b\n", 2, "unknown limit 'nofiles'"),
            (memlock + "nofile | is | 9 | a | b\n", 2, "a limit has the rule '>=', not 'is'"),
            (memlock + "nofile | <= | 9 | a | b\n", 2, "a limit has the rule '>=', not '<='"),
            (memlock + "nofile | >= | 9 8 | a | b\n", 2, "'9 8' is not one number"),
            (memlock + "nofile | >= | 9 / (cores - 2) | a | b\n", 2, "by zero, with cores = 2"),
        ):
            self.refused("limits.tune", text, line, why)

    def test_kernel_parameters(self):
        for text, why in (
            ("a.b | >= | 100 / (cores - 2) | a | b", "division by zero, with cores = 2"),
            ("a.b | >= | 0 - 5 | a | b", "'0 - 5' comes to -5, below 0"),
            ("a.b | >= | cores - 5 | a | b", "'cores - 5' comes to -3, below 0, with cores = 2"),
            ("a.b | >= | 2 * 9223372036854775808 | a | b", "comes to more than"),
            ("a.b | >= | " + "9" * 5000 + " | a | b", "is too large"),
            ("a.b | covers | cores 1 | a | b", "'cores 1' is not a range"),
            ("a.b | >= | unlimited | a | b", "'unlimited' is only for limits"),
            ("a.b | mask | rps | a | b", "the rule 'mask' is only for queues and interrupts"),
            ("a.b | cpus | irq | a | b", "the rule 'cpus' is only for queues and interrupts"),
            ("a.b | is | x y | a | b", "'x y' is more than one word"),
            ("/etc/passwd | is | x | a | b", "'/etc/passwd' is not a kernel parameter"),
            ("vm.* | is | x | a | b", "'vm.*' is not a kernel parameter"),
        ):
            self.refused("sysctl.tune", f"# a\n{text}\n", 2, why)

    def test_devices(self):
        for text, why in (
            ("/etc/passwd | is | x | a | b", "'/etc/passwd' is not below /sys or /proc/irq"),
            ("/proc/sys/vm/swappiness | is | 1 | a | b", "is not below /sys or /proc/irq"),
            ("/sys/kernel/x | cpus | irq | a | b", "'irq' is only for /proc/irq/*/smp_affinity_list"),
            ("/proc/irq/*/smp_affinity | cpus | irq | a | b", "'irq' is only for /proc/irq/*/smp_aff"),
            ("/sys/kernel/x | mask | rps | a | b", "is only for /sys/class/net/*/queues/rx-*/rps_cpus"),
            ("/sys/class/net/*/queues/rx-*/rps_cpus | mask | xps | a | b", "queues/tx-*/xps_cpus"),
            ("/sys/kernel/x | holds | ports | a | b", "'holds' is only for kernel parameters"),
        ):
            self.refused("sysfs.tune", f"# a\n{text}\n", 2, why)

    def test_lists_of_cores_that_are_none(self):
        paths = ("sys/devices/system/cpu/online", "sys/devices/system/node/node0/cpulist")
        make(self.root, cores=8)
        for path in paths:
            whole = os.path.join(self.root, path)
            with open(whole, encoding="ascii") as file:
                good = file.read()
            for text in ("junk\n", "0-\n", "3-1\n", "0-99999999999\n", "0-99999\n", good):
                with open(whole, "w", encoding="ascii") as file:
                    file.write(text)
                ran = tune("plan", "--root", self.root)
                if text == good:
                    self.assertEqual(ran.code, 0)
                    continue
                self.assertEqual((ran.code, ran.out), (2, ""), text)
                self.assertTrue(ran.err.startswith(f"tune: /{path}: "), ran.err)

    def test_contents_that_are_no_number(self):
        for path, item, wanted in (
            ("net/core/somaxconn", "net.core.somaxconn", "4096"),
            ("net/ipv4/ip_local_port_range", "net.ipv4.ip_local_port_range", "10240 65535"),
            ("net/ipv4/ip_local_reserved_ports", "net.ipv4.ip_local_reserved_ports", "8000-8001"),
        ):
            whole = os.path.join(self.root, "proc/sys", path)
            with open(whole, "w", encoding="ascii") as file:
                file.write("no number\n")
            words = ("--root", self.root, "--ports", "8000,8001", "--only", "sysctl")
            self.assertRegex(tune("plan", *words).out, f"sysctl -w '?{item}={wanted}'?\n")
            self.assertIn(f"{item}: no number (unexpected contents)", tune("check", *words).out)
            self.assertEqual(tune("apply", *words).code, 0)
            with open(whole, encoding="ascii") as file:
                self.assertIn(file.read(), (wanted, "8000,8001"))
            self.assertEqual(tune("rollback", *words).code, 0)
            with open(whole, encoding="ascii") as file:
                self.assertEqual(file.read(), "no number\n")


class Sums(unittest.TestCase):
    def test_values(self):
        values = {"connections": 100, "cores": 4}
        cases = {
            "1": [1],
            "1_000": [1000],
            "2 * connections + 5": [205],
            "5 + 2 * connections": [205],
            "(5 + 2) * 3": [21],
            "max(1, connections, 7)": [100],
            "min(connections, cores * 2)": [8],
            "7 / 2": [3],
            "100 - 1 - 1": [98],
            "1 2 3": [1, 2, 3],
            "connections / 16  cores": [6, 4],
            "unlimited": [float("inf")],
        }
        for text, expected in cases.items():
            self.assertEqual(sums.numbers(text, values), expected, text)


class Usage(unittest.TestCase):
    def test_wrong_words(self):
        cases = [
            ([], 2, "Usage:"),
            (["--help"], 0, "Examples:"),
            (["polish"], 2, "invalid choice"),
            (["plan", "--connections", "0"], 2, "'0' is not a number from 1 to "),
            (["plan", "--connections", "many"], 2, "'many' is not a number"),
            (["plan", "--connections", "9" * 5000], 2, "is not a number"),
            (["plan", "--ports", "0"], 2, "0 is not a port"),
            (["plan", "--ports", "http"], 2, "'http' is neither a number nor a range"),
            (["plan", "--ports", "1-99999999999"], 2, "'1-99999999999' is neither"),
            (["plan", "--ports", "1-65536"], 2, "65536 is above 65535"),
            (["plan", "--ports", ",".join(["1-65535"] * 9)], 2, "some appear twice"),
            (["plan", "--ports", "8000-"], 2, "'8000-' is neither"),
            (["plan", "--ports", "9000-8000"], 2, "'9000-8000' runs backwards"),
            (["plan", "--ports", "8000,"], 2, "'' is neither"),
            (["plan", "--only", "disk"], 2, "invalid choice"),
            (["plan", "--network-cpus", "999"], 2, "network cores 999 are not all among"),
            (["plan", "--network-cpus", "1-0"], 2, "'1-0' runs backwards"),
            (["plan", "--network-cpus", "0-99999"], 2, "99999 is above 4095"),
            (["plan", "--network-cpus", ""], 2, "an empty list of cores"),
        ]
        for words, code, why in cases:
            ran = subprocess.run([TUNE, *words], capture_output=True, text=True)
            self.assertEqual(ran.returncode, code, f"{words}: {ran.stderr}")
            self.assertNotIn("Traceback", ran.stderr)
            self.assertIn(why, ran.stderr or ran.stdout)


if __name__ == "__main__":
    unittest.main()

"""What lasts over a boot: parameters of modules, the unit's own command, who may read it."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import unittest

from machine import ROOT, make, tune
from tuner import asked

SYSCTLS, CONNTRACK = "etc/sysctl.d/90-corecast.conf", "proc/sys/net/netfilter/nf_conntrack_max"
UNIT = "etc/systemd/system/corecast-tune.service"
COPY = "usr/local/lib/corecast"


class Boot(unittest.TestCase):
    def setUp(self):
        self.root = tempfile.mkdtemp(prefix="corecast-tune-")
        self.addCleanup(shutil.rmtree, self.root)
        make(self.root)

    def run_tune(self, *words, code=0, **how):
        ran = tune(*words, "--root", self.root, **how)
        self.assertEqual(ran.code, code, ran.out + ran.err)
        return ran.out

    def read(self, path):
        with open(os.path.join(self.root, path), encoding="utf-8") as file:
            return file.read()

    def put(self, path, text):
        whole = os.path.join(self.root, path)
        os.makedirs(os.path.dirname(whole), exist_ok=True)
        with open(whole, "w", encoding="utf-8") as file:
            file.write(text)

    def test_a_parameter_of_a_module_that_is_not_loaded(self):
        self.run_tune("apply")
        lines = self.read(SYSCTLS)
        self.assertIn("\n-net.netfilter.nf_conntrack_max = 265536\n", lines)
        self.assertIn("\nnet.core.somaxconn = 4096\n", lines)
        # It is loaded with more, then goes away again, then is loaded with less.
        self.put(CONNTRACK, "1000000\n")
        self.run_tune("check")
        os.unlink(os.path.join(self.root, CONNTRACK))
        self.run_tune("check")
        self.put(CONNTRACK, "7\n")
        self.run_tune("apply")
        self.assertEqual((self.read(SYSCTLS), self.read(CONNTRACK)), (lines, "265536"))
        self.run_tune("apply", "--connections", "900000")
        self.assertIn("\n-net.netfilter.nf_conntrack_max = 1865536\n", self.read(SYSCTLS))

    def test_a_parameter_of_a_module_that_is_better_is_not_lowered(self):
        self.put(CONNTRACK, "1000000\n")
        self.run_tune("apply")
        self.assertIn("\n-net.netfilter.nf_conntrack_max = 1000000\n", self.read(SYSCTLS))
        os.unlink(os.path.join(self.root, CONNTRACK))
        self.run_tune("check")

    def command(self):
        """The unit's command, and its words as systemd reads them."""
        found = re.search(r"^ExecStart=(.*)$", self.read(UNIT), re.M).group(1)
        program, *words = shlex.split(found.replace("%%", "%"))
        words = [program, *(word.replace("$$", "$") for word in words)]
        return found, words[1:] if program == "/usr/bin/env" else words

    def test_the_unit_says_what_was_said(self):
        copy = os.path.join(self.root, "my tuning 100% $x")
        shutil.copytree(os.path.join(ROOT, "tuning"), copy)
        with open(os.path.join(copy, "limits.tune"), "a", encoding="ascii") as file:
            file.write("# ours\n")
        given = ("--tuning", copy, "--cores", "16", "--memory-gib", "9")
        self.run_tune("apply", *given)
        _, words = self.command()
        # The files that were meant are copied beside the program, which looks there.
        self.assertNotIn("--tuning", words)
        self.assertEqual(words[-4:], ["--cores", "16", "--memory-gib", "9"])
        self.assertIn("# ours", self.read(f"{COPY}/tuning/limits.tune"))
        self.run_tune("apply", *given, sabotage=lambda: setattr(asked, "LASTING", ("/",)))
        self.assertEqual(self.command()[1][-6:], list(given))
        self.run_tune("apply")
        self.assertNotIn("--tuning", self.command()[1])

    def test_the_unit_never_names_a_checkout(self):
        self.run_tune("apply", "--connections", "300000")
        _, words = self.command()
        self.assertEqual(words[:4], [f"/{COPY}/scripts/tune", "apply", "--connections", "300000"])
        self.assertNotIn(ROOT, self.read(UNIT))
        # It is the whole program: the next boot runs it alone, and finds all as it should be.
        script = os.path.join(self.root, COPY, "scripts", "tune")
        ran = subprocess.run(
            [script, *words[1:], "--root", self.root], capture_output=True, text=True
        )
        self.assertEqual((ran.returncode, ran.stderr), (0, ""), ran.stdout)
        self.assertIn("\n0 written, ", ran.stdout)
        self.run_tune("rollback")
        self.assertFalse(os.path.exists(os.path.join(self.root, "usr", "local")))

    def test_a_program_below_any_path(self):
        for name in ("my place, 100% $x", 'my "own" place, 100% $x', "a\\b'c"):
            place = os.path.join(self.root, name)
            for folder in ("scripts", "tuning"):
                shutil.copytree(os.path.join(ROOT, folder), os.path.join(place, folder))
            script = os.path.join(place, "scripts", "tune")
            # As a package of it below /opt would be.
            text = (
                "import runpy, sys; sys.argv.pop(0); sys.path.insert(0, sys.argv.pop(0));"
                "from tuner import asked; asked.LASTING = ('/',);"
                "runpy.run_path(sys.argv[0], run_name='__main__')"
            )
            ran = [sys.executable, "-B", "-c", text, os.path.join(place, "tuning"), script]
            subprocess.run([*ran, "apply", "--root", self.root], check=True, capture_output=True)
            found, words = self.command()
            self.assertEqual(words[:2], [script, "apply"])
            self.assertNotRegex(found.replace("%%", ""), "%")
            if shutil.which("systemd-analyze"):
                asked_ = ["systemd-analyze", "verify", os.path.join(self.root, UNIT)]
                ran = subprocess.run(asked_, capture_output=True, text=True)
                self.assertEqual((ran.returncode, ran.stderr), (0, ""))

    def test_a_reason_that_is_not_ascii(self):
        copy = os.path.join(self.root, "tuning")
        shutil.copytree(os.path.join(ROOT, "tuning"), copy)
        path = os.path.join(copy, "sysctl.tune")
        with open(path, "a", encoding="utf-8") as file:
            file.write("net.core.optmem_max | >= | 9 | a | gr\u00f6\u00dfer, \u20ac: our own\n")
        self.put("proc/sys/net/core/optmem_max", "1\n")
        self.run_tune("apply", "--tuning", copy)
        self.assertIn("gr\u00f6\u00dfer", self.read(SYSCTLS))
        self.run_tune("check", "--tuning", copy)
        self.assertNotIn("changed since", self.run_tune("status"))
        self.assertIn("0 written", self.run_tune("apply", "--tuning", copy))

    def test_whoever_the_service_is_can_read_its_cores(self):
        self.run_tune("apply", sabotage=lambda: os.umask(0o077))
        for path, mode in (
            ("etc/corecast", 0o755),
            ("etc/corecast/cpus", 0o644),
            ("etc/systemd/system/corecast.service.d", 0o755),
            ("etc/security/limits.d", 0o755),
            ("var/lib/corecast-tune", 0o700),
            ("var/lib/corecast-tune/state.json", 0o600),
        ):
            self.assertEqual(os.stat(os.path.join(self.root, path)).st_mode & 0o777, mode, path)


if __name__ == "__main__":
    unittest.main()

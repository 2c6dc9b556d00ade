"""systemd is told of units that come and go; the units themselves."""

import os
import shutil
import subprocess
import tempfile
import unittest

from machine import make, picture, tune
from tuner import systemd

UNITS = "etc/systemd"


class Told(unittest.TestCase):
    """A systemctl of ours on PATH notes what it was told, and the units that it then saw."""

    def setUp(self):
        self.root = tempfile.mkdtemp(prefix="corecast-tune-")
        self.tools = tempfile.mkdtemp(prefix="corecast-tools-")
        for folder in (self.root, self.tools):
            self.addCleanup(shutil.rmtree, folder)
        make(self.root)
        self.before = picture(self.root)
        self.log = os.path.join(self.tools, "log")
        self.systemctl("exit 0")

    def systemctl(self, end):
        path = os.path.join(self.tools, "systemctl")
        with open(path, "w", encoding="ascii") as file:
            file.write(f'#!/bin/sh\necho "$*" $({self.sum()}) >>{self.log}\n{end}\n')
        os.chmod(path, 0o755)

    def sum(self):
        return f"find {self.root}/{UNITS} -not -type d -exec cat {{}} + | cksum"

    def seen(self):
        """What systemctl was told, with the units of then; and what it would see now."""
        ran = subprocess.run(["sh", "-c", self.sum()], capture_output=True, text=True, check=True)
        now = ran.stdout.split()
        calls = []
        if os.path.exists(self.log):
            with open(self.log, encoding="ascii") as file:
                calls = file.read().splitlines()
        return calls, " ".join(["daemon-reload", *now])

    def run_tune(self, *words, **how):
        def running():
            systemd.runs = lambda root: True
            os.environ["PATH"] = self.tools + ":" + os.environ["PATH"]

        return tune(*words, "--root", self.root, sabotage=running, **how)

    def test_after_apply_and_after_rollback(self):
        planned = self.run_tune("plan").out
        self.assertRegex(planned, r"\n# systemd keeps .*\nsystemctl daemon-reload\n")
        self.assertEqual(self.seen()[0], [])
        ran = self.run_tune("apply")
        self.assertEqual(ran.code, 0, ran.out + ran.err)
        calls, now = self.seen()
        self.assertEqual(calls, [now])
        self.assertNotIn("systemctl", self.run_tune("plan").out)
        self.assertEqual(self.run_tune("apply").code, 0)
        self.assertEqual(len(self.seen()[0]), 1, "nothing was written")
        self.assertEqual(self.run_tune("rollback").code, 0)
        calls, now = self.seen()
        self.assertEqual((len(calls), calls[1]), (2, now))
        self.assertEqual(picture(self.root), self.before)

    def test_no_unit_no_word(self):
        for command in ("plan", "apply", "rollback"):
            self.assertEqual(self.run_tune(command, "--only", "sysctl").code, 0)
        self.assertEqual(self.seen()[0], [])

    def test_where_systemd_does_not_run_nothing_is_said(self):
        os.makedirs(os.path.join(self.root, "run/systemd/system"))
        self.assertFalse(systemd.runs(self.root), "another machine's units")
        self.assertEqual(systemd.runs(""), os.path.isdir("/run/systemd/system"))
        for command in ("plan", "apply", "rollback"):
            ran = tune(command, "--root", self.root)
            self.assertNotIn("daemon-reload", ran.out + ran.err)

    def test_a_failure_is_named_and_undoes_nothing(self):
        self.systemctl("echo 'Failed to reload daemon:\nno bus' >&2; exit 1")
        ran = self.run_tune("apply")
        self.assertEqual(ran.code, 1)
        words = "systemctl daemon-reload: Failed to reload daemon: no bus; until it succeeds"
        self.assertRegex(ran.out, f"FAILED +{words}")
        self.assertEqual(self.run_tune("check").code, 0, "all is written")
        self.assertEqual(self.run_tune("apply").code, 1, "it is still owed")
        self.systemctl("exit 0")
        self.assertEqual(self.run_tune("apply").code, 0)
        self.systemctl("exit 7")
        ran = self.run_tune("rollback")
        self.assertEqual(ran.code, 1)
        self.assertRegex(ran.out, "FAILED +systemctl daemon-reload: exit code 7; ")
        self.systemctl("exit 0")
        self.assertEqual(self.run_tune("rollback").code, 0)
        calls, now = self.seen()
        self.assertEqual(calls[-1], now)
        self.assertEqual(picture(self.root), self.before)

    def test_killed_at_every_step_it_still_gets_to_know(self):
        for killed, then in (("apply", "apply"), ("apply", "rollback"), ("rollback", "rollback")):
            step, code = 0, -9
            while code == -9:
                step += 1
                if killed == "rollback":
                    self.run_tune("apply", "--only", "files")
                code = self.run_tune(killed, "--only", "files", kill_at=step).code
                self.assertEqual(self.run_tune(then, "--only", "files").code, 0)
                calls, now = self.seen()
                self.assertEqual((calls or [now])[-1], now, f"{killed} killed at step {step}")
                self.run_tune("rollback")
            self.assertGreater(step, 10)


if __name__ == "__main__":
    unittest.main()

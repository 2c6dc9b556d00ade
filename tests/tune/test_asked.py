"""What a command line leaves open: as planned, else as applied, else a default; it is told which."""

import json
import os
import re
import shutil
import tempfile
import unittest

from machine import ROOT, make, picture, tune

NOTE = os.path.join(ROOT, ".cache", "tune-plan.json")
UNIT = "etc/systemd/system/corecast-tune.service"


class Asked(unittest.TestCase):
    def setUp(self):
        self.root = self.machine()

    def machine(self):
        root = tempfile.mkdtemp(prefix="corecast-tune-")
        self.addCleanup(shutil.rmtree, root)
        make(root)
        return root

    def run_tune(self, *words, code=0, root=None):
        ran = tune(*words, "--root", root or self.root)
        self.assertEqual(ran.code, code, ran.out + ran.err)
        return ran.out

    def unit(self):
        with open(os.path.join(self.root, UNIT), encoding="utf-8") as file:
            return re.search(r"^ExecStart=(.*)$", file.read(), re.M).group(1)

    def test_apply_after_plan_keeps_what_was_planned(self):
        before = picture(self.root)
        words = ("--connections", "700000", "--ports", "4433", "--network-cpus", "2-3")
        planned = self.run_tune("plan", *words)
        self.assertIn("# For 700000 connections and ports 4433, as asked.\n", planned)
        self.assertEqual(picture(self.root), before, "a plan changes nothing of the machine")
        applied = self.run_tune("apply")
        self.assertTrue(applied.startswith("For 700000 connections and ports 4433, as planned.\n"))
        self.assertIn("Applied for 700000 connections.", self.run_tune("status"))
        self.assertIn("apply --connections 700000 --ports 4433 --network-cpus 2-3", self.unit())

    def test_what_is_applied_stays_until_something_else_is_asked(self):
        self.run_tune("apply", "--connections", "300000")
        for command in ("check", "apply"):
            said = self.run_tune(command)
            self.assertIn("For 300000 connections and ports 8000,9000, as applied.", said)
        self.run_tune("check", "--connections", "900000", code=1)
        self.run_tune("plan", "--connections", "900000")
        self.run_tune("apply", "--connections", "400000")
        self.assertIn("For 400000 connections", self.run_tune("check"))
        self.run_tune("rollback")
        self.assertIn("For 100000 connections", self.run_tune("check", code=1))

    def test_one_option_is_asked_the_others_stay(self):
        self.run_tune("apply", "--connections", "300000")
        self.run_tune("apply", "--ports", "4433")
        self.assertIn("--connections 300000 --ports 4433", self.unit())

    def test_a_plan_of_another_machine_is_not_this_ones(self):
        other = self.machine()
        self.run_tune("plan", "--connections", "700000", root=other)
        self.assertIn("For 100000 connections", self.run_tune("check", code=1))
        self.assertIn("For 700000 connections", self.run_tune("check", code=1, root=other))

    def test_a_spoilt_note_is_none(self):
        root = os.path.realpath(self.root)
        for note in (
            "",
            "[1]",
            "[" * 100_000,
            json.dumps({root: 7}),
            json.dumps({root: {"connections": "900000", "ports": [1]}}),
            json.dumps({root: {"connections": 900000, "ports": []}}),
            json.dumps({root: {"connections": 900000, "ports": [1], "network_cpus": [-1]}}),
            json.dumps({root: {"connections": 0, "ports": [1]}}),
        ):
            os.makedirs(os.path.dirname(NOTE), exist_ok=True)
            with open(NOTE, "w", encoding="ascii") as file:
                file.write(note)
            self.assertIn("For 100000 connections", self.run_tune("check", code=1), note[:80])
        self.run_tune("plan", "--connections", "700000")
        self.assertIn("For 700000 connections", self.run_tune("check", code=1))

    def test_few_plans_are_kept(self):
        for number in range(20):
            self.run_tune("plan", "--connections", str(1_000 + number), root=self.machine())
        with open(NOTE, encoding="ascii") as file:
            self.assertLessEqual(len(json.load(file)), 9)


if __name__ == "__main__":
    unittest.main()

"""`corecast doctor` beside the tuner.

Needs a build: CORECAST_BIN, or the newest of target/.
"""

import glob
import json
import os
import subprocess
import unittest

from machine import ROOT, TUNE


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
        self.assertRegex(ran.stdout, r"This host can hold \d+ connections; the limit is ")
        self.assertRegex(
            ran.stdout, r"differs +connections: \d+ fit, wanted 100000000\. Effect: "
        )
        found = json.loads(doctor("--json", "--connections", "100000000").stdout)
        self.assertEqual((found["ok"], found["connections_wanted"]), (False, 100000000))
        self.assertTrue(
            all(item["cost"] for item in found["findings"] if item["state"] == "differs")
        )
        self.assertEqual(doctor("--config", "/nowhere.toml").returncode, 78)
        self.assertEqual(doctor("--connections", "many").returncode, 2)
        self.assertIn("Examples:", doctor("--help").stdout)

    def test_what_bites_first_is_told_first(self):
        # A fifth of the descriptors that are wanted ends it before anything else does.
        ran = doctor("--connections", "1000000", preexec_fn=lambda: limit("RLIMIT_NOFILE", 1024))
        lines = ran.stdout.splitlines()
        first = next(index for index, line in enumerate(lines) if not line.startswith("differs"))
        self.assertRegex(lines[0], "^differs +(limit nofile|connections): ")
        self.assertFalse(any(line.startswith("differs") for line in lines[first:]))
        order = {"refuses": 0, "slows": 1, "forgets": 2}
        told = json.loads(
            doctor(
                "--json",
                "--connections",
                "1000000",
                preexec_fn=lambda: limit("RLIMIT_NOFILE", 1024),
            ).stdout
        )["findings"]
        bites = [order[item["bites"]] for item in told if item["state"] == "differs"]
        self.assertEqual(bites, sorted(bites))
        self.assertGreater(len(set(bites)), 1)

    def test_a_low_limit_of_descriptors_is_named(self):
        ran = doctor("--connections", "5000", preexec_fn=lambda: limit("RLIMIT_NOFILE", 1024))
        self.assertRegex(
            ran.stdout, r"differs +limit nofile: 1024, wanted at least 13192\. Effect: "
        )
        self.assertIn("workers of", ran.stdout.split("the limit is ")[1])

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


if __name__ == "__main__":
    unittest.main()

"""The tuner on this machine, for real: every kernel parameter compared byte by byte afterwards.

Root alone can, and it changes the machine for some seconds: it runs when CORECAST_TUNE_REAL is set.
"""

import json
import os
import unittest

from machine import tune

SYSCTLS = "/proc/sys"
DEVICES = ("/sys/kernel/mm/transparent_hugepage/enabled", "/sys/class/net", "/proc/irq")
FILES = (
    "/etc/sysctl.d",
    "/etc/security",
    "/etc/systemd/system",
    "/etc/corecast",
    "/var/lib/corecast-tune",
)
# What counts or is drawn; the kernel changes it by itself.
COUNTERS = (
    "ns_last_pid",
    "inode-nr",
    "inode-state",
    "dentry-state",
    "file-nr",
    "nf_conntrack_count",
    "random",
    "aio-nr",
    "pty/nr",
    "dentry-negative",
    "vm/stat_refresh",
    "sched_domain",
    "spurious",
)


def snapshot():
    """All that can be read of what the tuner might touch: path to bytes."""
    found = {}
    for start in (SYSCTLS, *DEVICES, *FILES):
        if os.path.isfile(start):
            add(found, start)
        for where, _, files in os.walk(start):
            found[where] = "folder"
            for name in files:
                add(found, os.path.join(where, name))
    for name in os.listdir("/sys/class/net"):
        queues = f"/sys/class/net/{name}/queues"
        for where, _, files in os.walk(queues):
            for file in files:
                if file in ("rps_cpus", "xps_cpus"):
                    add(found, os.path.join(where, file))
    return found


def add(found, path):
    try:
        if os.path.islink(path):
            found[path] = os.readlink(path)
            return
        if not os.stat(path).st_mode & 0o444:
            return
        with open(path, "rb") as file:
            found[path] = file.read()
    except OSError as error:
        found[path] = error.errno


def ours(path):
    return path.startswith(FILES)


@unittest.skipUnless(
    os.environ.get("CORECAST_TUNE_REAL"), "changes this machine: set CORECAST_TUNE_REAL=1"
)
@unittest.skipUnless(os.geteuid() == 0, "needs root")
class Real(unittest.TestCase):
    def setUp(self):
        if "Nothing is applied" not in tune("status").out:
            self.skipTest("a tuning is applied here, and is left alone")
        first, second = snapshot(), snapshot()
        self.steady = {
            path: held
            for path, held in first.items()
            if second.get(path) == held and not any(name in path for name in COUNTERS)
        }
        self.assertGreater(len(self.steady), 500)
        self.addCleanup(tune, "rollback")

    def assert_as_before(self, context):
        now = snapshot()
        for path, held in self.steady.items():
            self.assertEqual(now.get(path), held, f"{context}: {path}")
        left = [path for path in now if ours(path) and path not in self.steady]
        self.assertEqual(left, [], context)

    def test_apply_check_rollback(self):
        found = json.loads(tune("check", "--json").out)["items"]
        short = [item["name"] for item in found if item["state"] == "differs"]
        self.assertGreater(len(short), 5, "else there is nothing to prove")
        applied = tune("apply")
        self.assertEqual(applied.code, 0, applied.out + applied.err)
        checked = tune("check")
        self.assertEqual(checked.code, 0, checked.out)
        self.assertNotEqual(snapshot(), self.steady)
        self.assertNotIn("changed since", tune("status").out)
        rolled = tune("rollback")
        self.assertEqual(rolled.code, 0, rolled.out + rolled.err)
        self.assert_as_before("applied and rolled back")

    def test_killed_half_way(self):
        step, code = 0, -9
        while code == -9:
            step += 1
            code = tune("apply", kill_at=step).code
            rolled = tune("rollback")
            self.assertEqual(rolled.code, 0, rolled.out + rolled.err)
            self.assert_as_before(f"killed at step {step}")
        self.assertEqual(code, 0)
        self.assertGreater(step, 30, "every value is a step at least")


if __name__ == "__main__":
    unittest.main()

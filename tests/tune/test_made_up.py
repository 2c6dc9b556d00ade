"""The tuner on a made-up machine: everything, killed at every step, with every byte compared."""

import json
import os
import re
import shutil
import subprocess
import tempfile
import unittest

from machine import ROOT, TUNE, make, picture, tune


class MadeUp(unittest.TestCase):
    def setUp(self):
        self.root = tempfile.mkdtemp(prefix="corecast-tune-")
        self.addCleanup(shutil.rmtree, self.root)
        make(self.root)
        self.before = picture(self.root)

    def run_tune(self, command, *words, **how):
        return tune(command, "--root", self.root, *words, **how)

    def value(self, path):
        with open(os.path.join(self.root, path), encoding="ascii") as file:
            return file.read()

    def below_root(self, line):
        """A command's paths, moved below the machine's root; contents of files stay."""
        if line.startswith(("#", "Exec", "Environment")):
            return line
        return re.sub(r"(?<=[ >])/(?=(etc|sys|proc|usr/local)/)", self.root + "/", line)

    def assert_as_before(self, context=""):
        self.assertEqual(picture(self.root), self.before, context)

    def test_apply_check_status_rollback(self):
        self.assertEqual(self.run_tune("check").code, 1)
        applied = self.run_tune("apply")
        self.assertEqual(applied.code, 0, applied.out + applied.err)
        self.assertIn("not available  net.netfilter.nf_conntrack_max: no such file", applied.out)
        checked = self.run_tune("check")
        self.assertEqual(checked.code, 0, checked.out)
        self.assertNotIn("differs", checked.out)
        self.assertEqual(self.value("proc/sys/net/ipv4/ip_local_reserved_ports"), "8000,9000")
        self.assertEqual(self.value("proc/sys/net/ipv4/tcp_rmem"), "4096 131072 6291456")
        self.assertEqual(self.value("proc/sys/net/ipv4/tcp_mem"), "262144 524288 1048576")
        self.assertEqual(
            self.value("etc/corecast/cpus").splitlines()[1:], ["workers=0-6", "bridge=7"]
        )
        status = self.run_tune("status")
        self.assertEqual(status.code, 0)
        self.assertNotIn("changed since", status.out)
        rolled = self.run_tune("rollback")
        self.assertEqual(rolled.code, 0, rolled.out + rolled.err)
        self.assert_as_before()
        self.assertIn("Nothing is applied", self.run_tune("status").out)
        self.assertEqual(self.run_tune("rollback").code, 0, "twice is no error")

    def test_plan_and_check_change_nothing(self):
        for command in ("plan", "check", "status"):
            self.run_tune(command)
            self.run_tune(command, "--json")
        self.assert_as_before()

    def test_the_planned_commands_do_what_apply_does(self):
        plan = "\n".join(map(self.below_root, self.run_tune("plan").out.splitlines()))
        function = (
            "sysctl() { local pair=$2; local key=${pair%%=*}; "
            f'printf %s "${{pair#*=}}" >"{self.root}/proc/sys/${{key//.//}}"; }}\n'
        )
        subprocess.run(["bash", "-eu", "-c", function + plan], check=True)
        checked = self.run_tune("check")
        self.assertEqual(checked.code, 0, checked.out)

    def test_killed_at_every_step_of_apply(self):
        step, killed = 0, 0
        while True:
            step += 1
            ran = self.run_tune("apply", kill_at=step)
            if ran.code == -9:
                killed += 1
            back = self.run_tune("rollback")
            self.assertEqual(back.code, 0, f"step {step}: {back.out}{back.err}")
            self.assert_as_before(f"killed at step {step}")
            if ran.code != -9:
                self.assertEqual(ran.code, 0)
                break
        self.assertGreater(killed, 60, "every value and file is a step at least")

    def test_killed_at_every_step_of_rollback(self):
        step = 0
        while True:
            step += 1
            self.assertEqual(self.run_tune("apply").code, 0)
            ran = self.run_tune("rollback", kill_at=step)
            self.assertEqual(self.run_tune("rollback").code, 0)
            self.assert_as_before(f"killed at step {step}")
            if ran.code != -9:
                break
        self.assertGreater(step, 40)

    def test_killed_then_applied_again_still_knows_what_was_first(self):
        for step in (12, 20, 30, 45):
            self.assertEqual(self.run_tune("apply", kill_at=step).code, -9)
            self.assertEqual(self.run_tune("apply", "--connections", "500000").code, 0)
            self.assertEqual(self.run_tune("apply", "--connections", "900000").code, 0)
            self.assertEqual(self.run_tune("rollback").code, 0)
            self.assert_as_before(f"killed at step {step}")

    def test_nothing_is_written_before_the_state_is_on_disk(self):
        def no_disk():
            from tuner import state

            def full(*_):
                raise OSError(28, "No space left on device")

            state.put = full

        ran = self.run_tune("apply", sabotage=no_disk)
        self.assertEqual(ran.code, 1)
        self.assertIn("cannot be written: No space left on device; nothing was changed", ran.err)
        self.assertEqual(self.run_tune("rollback").code, 0)
        self.assert_as_before()

    def test_a_value_that_is_refused_is_named(self):
        path = os.path.join(self.root, "proc/sys/net/core/somaxconn")
        os.unlink(path)
        # The kernel lets nobody write this one, root neither.
        os.symlink("/proc/sys/kernel/cap_last_cap", path)
        ran = self.run_tune("apply")
        self.assertEqual(ran.code, 1)
        self.assertRegex(
            ran.out, r"FAILED +net.core.somaxconn: wanted '4096', but the write was refused: "
        )
        self.assertEqual(ran.out.count("FAILED"), 1, "the others were written")
        self.assertEqual(self.run_tune("rollback").code, 0)

    def test_a_value_that_reads_back_different_is_named(self):
        def deaf():
            from tuner import state

            real = state.write_value

            def write(path, text):
                real(path, "999" if path.endswith("tcp_max_orphans") else text)

            state.write_value = write

        ran = self.run_tune("apply", sabotage=deaf)
        self.assertEqual(ran.code, 1)
        self.assertRegex(
            ran.out, r"FAILED +net.ipv4.tcp_max_orphans: wanted '165536', but it reads back '999'"
        )
        found = json.loads(self.run_tune("apply", "--json", sabotage=deaf).out)
        self.assertFalse(found["ok"])
        failed = [item["name"] for item in found["items"] if item["state"] == "FAILED"]
        self.assertEqual(failed, ["net.ipv4.tcp_max_orphans"])
        self.assertEqual(self.run_tune("rollback").code, 0)
        self.assert_as_before()

    def test_a_rollback_that_fails_can_be_repeated(self):
        self.assertEqual(self.run_tune("apply").code, 0)
        path = os.path.join(self.root, "proc/sys/vm/swappiness")
        os.unlink(path)
        os.symlink("/proc/sys/kernel/cap_last_cap", path)
        ran = self.run_tune("rollback")
        self.assertEqual(ran.code, 1)
        self.assertRegex(ran.out, r"FAILED +/proc/sys/vm/swappiness: ")
        os.unlink(path)
        with open(path, "w", encoding="ascii") as file:
            file.write("10")
        self.assertEqual(self.run_tune("rollback").code, 0)
        self.assert_as_before()

    def test_a_rollback_that_does_not_take_is_named(self):
        self.assertEqual(self.run_tune("apply").code, 0)

        def deaf():
            from tuner import state

            real = state.write_value
            state.write_value = lambda path, text: real(path, "7" if "swapp" in path else text)

        ran = self.run_tune("rollback", sabotage=deaf)
        self.assertEqual(ran.code, 1)
        self.assertRegex(ran.out, r"FAILED +/proc/sys/vm/swappiness: it was '60', and reads '7'")
        self.assertEqual(self.run_tune("rollback").code, 0)
        self.assert_as_before()

    def test_a_value_that_went_away_does_not_stop_the_way_back(self):
        self.assertEqual(self.run_tune("apply").code, 0)
        shutil.rmtree(os.path.join(self.root, "sys/class/net/eth0"))
        ran = self.run_tune("rollback")
        self.assertEqual(ran.code, 0, ran.out)
        self.assertRegex(ran.out, r"gone +/sys/class/net/eth0/queues/tx-1/xps_cpus")

    def test_two_at_once(self):
        import fcntl

        folder = os.path.join(self.root, "var/lib/corecast-tune")
        os.mkdir(folder)
        handle = os.open(folder, os.O_RDONLY)
        self.addCleanup(os.close, handle)
        fcntl.flock(handle, fcntl.LOCK_EX)
        for command in ("apply", "rollback"):
            ran = self.run_tune(command)
            self.assertEqual((ran.code, ran.err), (1, "tune: another tuner is running\n"))

    def test_groups_are_separate(self):
        self.assertEqual(self.run_tune("apply", "--only", "sysctl").code, 0)
        changed = {
            path for path, held in picture(self.root).items() if self.before.get(path) != held
        }
        self.assertTrue(all(path.startswith(("proc/sys", "var/lib")) for path in changed), changed)

    def test_what_is_better_already_stays(self):
        for path, text in (("fs/nr_open", "9999999"), ("net/ipv4/tcp_mem", "1\t9999999\t9999999")):
            with open(os.path.join(self.root, "proc/sys", path), "w", encoding="ascii") as file:
                file.write(text + "\n")
        self.assertEqual(self.run_tune("apply").code, 0)
        self.assertEqual(self.value("proc/sys/fs/nr_open"), "9999999\n")
        self.assertEqual(self.value("proc/sys/net/ipv4/tcp_mem"), "262144 9999999 9999999")

    def test_not_root(self):
        if os.geteuid() != 0:
            self.skipTest("only root can be somebody else")
        command = ["setpriv", "--reuid", "65534", "--clear-groups", "python3", TUNE, "apply"]
        ran = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
        self.assertEqual(ran.returncode, 1)
        self.assertIn("run it with sudo", ran.stderr)


if __name__ == "__main__":
    unittest.main()

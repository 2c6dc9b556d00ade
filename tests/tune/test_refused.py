"""Writes that the kernel refuses: those of a read-only /proc/sys, and those that are failures."""

import errno
import json
import os
import shutil
import tempfile
import unittest

from machine import make, picture, tune


class Refused(unittest.TestCase):
    def setUp(self):
        self.root = tempfile.mkdtemp(prefix="corecast-tune-")
        self.addCleanup(shutil.rmtree, self.root)
        make(self.root)
        self.before = picture(self.root)

    def run_tune(self, command, *words, number=errno.EROFS, below="/proc/sys/"):
        """With a kernel that refuses what is written below a path."""

        def refusing():
            from tuner import state

            real = state.write_value

            def write(path, text):
                if path.startswith(self.root + below):
                    raise OSError(number, os.strerror(number), path)
                real(path, text)

            state.write_value = write

        return tune(command, "--root", self.root, *words, sabotage=refusing)

    def test_read_only_is_not_available(self):
        ran = self.run_tune("apply")
        self.assertEqual((ran.code, ran.err), (0, ""), ran.out)
        reason = "read-only here, as in a container: set it on the host"
        self.assertIn(f"not available  net.core.somaxconn: {reason}\n", ran.out)
        self.assertIn(" 0 failed.\n", ran.out)
        found = json.loads(self.run_tune("apply", "--json").out)
        states = {item["name"]: item["state"] for item in found["items"]}
        self.assertEqual(states["vm.swappiness"], "not available")
        self.assertEqual(states["/proc/irq/40/smp_affinity_list"], "ok", "others were written")
        status = self.run_tune("status")
        self.assertNotIn("/proc/sys", status.out, "what was not written is not applied")
        self.assertEqual(self.run_tune("rollback").code, 0)
        self.assertEqual(picture(self.root), self.before)

    def test_logins_are_given_no_more_than_the_kernel_stayed_with(self):
        """fs.nr_open cannot be raised: a login that is given more is refused, root's too."""
        for number, code in ((errno.EROFS, 0), (errno.EACCES, 1)):
            ran = self.run_tune("apply", number=number, below="/proc/sys/fs")
            self.assertEqual(ran.code, code, ran.out)
            path = os.path.join(self.root, "etc/security/limits.d/90-corecast.conf")
            with open(path, encoding="ascii") as file:
                text = file.read()
            self.assertIn("\n* hard nofile 1024\nroot hard nofile 1024\n", text)
            held = "in force       /etc/security/limits.d/90-corecast.conf\n"
            self.assertIn(held, self.run_tune("status").out)
            self.assertEqual(tune("rollback", "--root", self.root).code, 0)
            self.assertEqual(picture(self.root), self.before)

    def test_nothing_but_read_only_leaves_nothing(self):
        self.assertEqual(self.run_tune("apply", "--only", "sysctl").code, 0)
        self.assertEqual(picture(self.root), self.before)

    def test_a_value_that_was_written_before_is_not_forgotten(self):
        self.assertEqual(tune("apply", "--root", self.root).code, 0)
        with open(os.path.join(self.root, "proc/sys/vm/swappiness"), "w", encoding="ascii") as file:
            file.write("99\n")
        self.assertEqual(self.run_tune("apply").code, 0)
        self.assertEqual(tune("rollback", "--root", self.root).code, 0)
        self.assertEqual(picture(self.root), self.before)

    def test_all_else_is_a_failure(self):
        for number in (errno.EACCES, errno.EPERM, errno.EINVAL, errno.EIO):
            ran = self.run_tune("apply", number=number, below="/proc/sys/vm")
            self.assertEqual(ran.code, 1)
            words = f"the write was refused: {os.strerror(number)}\n"
            self.assertRegex(ran.out, f"FAILED +vm.swappiness: wanted '10', but {words}")
            self.assertEqual(ran.out.count("FAILED"), 1)
            self.assertEqual(tune("rollback", "--root", self.root).code, 0)
            self.assertEqual(picture(self.root), self.before)


if __name__ == "__main__":
    unittest.main()

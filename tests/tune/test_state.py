"""The state: what is wrong with it is said, and what it holds is put back to the letter."""

import json
import os
import shutil
import tempfile
import unittest

from machine import make, picture, tune

STATE = "var/lib/corecast-tune/state.json"
SYSCTLS, LINK = "etc/sysctl.d/90-corecast.conf", "multi-user.target.wants/corecast-tune.service"


class Made(unittest.TestCase):
    def setUp(self):
        self.root = tempfile.mkdtemp(prefix="corecast-tune-")
        self.addCleanup(shutil.rmtree, self.root)
        make(self.root)

    def run_tune(self, *words, **how):
        return tune(*words, "--root", self.root, **how)

    def put(self, path, text):
        with open(self.path(path), "w", encoding="utf-8") as file:
            file.write(text)

    def path(self, path):
        return os.path.join(self.root, path)


class LeftOver(Made):
    def test_a_link_that_a_kill_left_is_not_written_through(self):
        self.put("etc/mine.conf", "mine\n")
        os.symlink("../mine.conf", self.path(SYSCTLS) + ".corecast-tune")
        self.assertEqual(self.run_tune("apply").code, 0)
        with open(self.path("etc/mine.conf"), encoding="ascii") as file:
            self.assertEqual(file.read(), "mine\n")
        self.assertFalse(os.path.islink(self.path(SYSCTLS)))


class Spoilt(Made):
    def refused(self, text, why):
        self.put(STATE, text)
        held = picture(self.root)
        for command in ("rollback", "apply", "status"):
            ran = self.run_tune(command, "--connections", "7")
            self.assertEqual((ran.code, ran.out), (1, ""), f"{command}: {text[:200]}")
            words = f"tune: {self.path(STATE)} cannot be read: {why}"
            self.assertTrue(ran.err.startswith(words), ran.err)
            self.assertTrue(ran.err.endswith("; nothing was changed\n"), ran.err)
            self.assertEqual(ran.err.count("\n"), 1)
        self.assertEqual(picture(self.root), held)

    def test_a_file_that_is_none(self):
        self.assertEqual(self.run_tune("apply").code, 0)
        for text, why in (
            ("", ""),
            ("{", ""),
            ("\u00e4", ""),
            ("[]", "it is not a JSON object"),
            ("[" * 100_000, "it is nested too deep"),
            ('{"version": 2, "records": []}', "it is not of version 1"),
            ('{"version": 1, "records": []}', "its inputs do not say how many"),
        ):
            self.refused(text, why)

    def test_keys_and_records(self):
        self.assertEqual(self.run_tune("apply").code, 0)
        with open(self.path(STATE), encoding="ascii") as file:
            good = json.load(file)
        kinds = {record["kind"]: at for at, record in enumerate(good["records"])}
        kept = next(at for at, it in enumerate(good["records"]) if it["path"] == "/" + SYSCTLS)
        cases = [
            (("inputs", "connections"), "many", "its inputs do not say how many connections"),
            (("inputs", "ports"), None, "its inputs do not say which ports and groups"),
            (("records",), {}, "it has no list of records"),
            (("reload",), "x", "its reload is neither true nor false"),
            (("records", 3), 7, "record 4: it is not a JSON object"),
            (("records", 3, "path"), "../etc/passwd", "record 4: its path is not a path"),
            (("records", 3, "path"), "/etc/../passwd", "record 4: its path is not a path"),
            (("records", 3, "path"), "/a\0b", "record 4: its path is not a path"),
            (("records", 3, "kind"), ["file"], "record 4: its kind is none of"),
            (("records", kinds["value"], "prior"), None, "record "),
            (("records", kinds["value"], "prior"), "\u20ac", "record "),
            (("records", kinds["value"], "wrote"), 5, "record "),
            (("records", kinds["folder"], "prior"), "x", "record "),
            (("records", kept, "mode"), "0644", "record "),
            (("records", kept, "uid"), -1, "record "),
            (("records", kept, "was"), "socket", "record "),
        ]
        for keys, value, why in cases:
            state = json.loads(json.dumps(good))
            place = state
            for key in keys[:-1]:
                place = place[key]
            place[keys[-1]] = value
            self.refused(json.dumps(state), why)
            if keys[-1] not in (3, "reload", "was"):
                del place[keys[-1]]
                self.refused(json.dumps(state), "")
        self.put(STATE, json.dumps(good))
        self.assertEqual(self.run_tune("rollback").code, 0)

    def test_a_state_that_is_gone(self):
        self.assertEqual(self.run_tune("apply").code, 0)
        shutil.rmtree(os.path.dirname(self.path(STATE)))
        held = picture(self.root)
        for command, code in (("rollback", 1), ("status", 0)):
            ran = self.run_tune(command)
            self.assertEqual(ran.code, code)
            for path in (SYSCTLS, "etc/corecast/cpus", "etc/systemd/system/" + LINK):
                self.assertIn(f"not recorded   /{path}: written by scripts/tune\n", ran.out)
            self.assertNotIn("Nothing is applied", ran.out)
        self.assertEqual(picture(self.root), held)


class Exactly(Made):
    def back_and_forth(self):
        before = picture(self.root)
        ran = self.run_tune("apply")
        self.assertEqual(ran.code, 0, ran.out + ran.err)
        self.assertEqual(self.run_tune("check").code, 0)
        self.assertNotIn("changed since", self.run_tune("status").out)
        ran = self.run_tune("rollback")
        self.assertEqual(ran.code, 0, ran.out + ran.err)
        self.assertEqual(picture(self.root), before)

    def test_a_list_of_words(self):
        self.put("sys/kernel/mm/transparent_hugepage/enabled", "[always] madvise never\n")
        self.back_and_forth()

    def test_links(self):
        os.unlink(self.path(SYSCTLS))
        self.put("etc/mine.conf", "vm.swappiness = 5\n")
        os.symlink("../mine.conf", self.path(SYSCTLS))
        os.symlink("/dev/null", self.path("etc/systemd/system/corecast-tune.service"))
        wants = os.path.dirname(self.path("etc/systemd/system/" + LINK))
        os.mkdir(wants)
        os.symlink("/dev/null", os.path.join(wants, "corecast-tune.service"))
        self.back_and_forth()

    def test_a_file_where_a_link_belongs(self):
        path = "etc/systemd/system/" + LINK
        os.mkdir(os.path.dirname(self.path(path)))
        self.put(path, "[Service]\n")
        self.back_and_forth()

    def test_links_and_files_killed_at_every_step_back(self):
        self.test_a_file_where_a_link_belongs()
        os.unlink(self.path(SYSCTLS))
        os.symlink("../mine.conf", self.path(SYSCTLS))
        before, step, code = picture(self.root), 0, -9
        while code == -9:
            step += 1
            self.assertEqual(self.run_tune("apply", "--only", "files").code, 0)
            code = self.run_tune("rollback", kill_at=step).code
            ran = self.run_tune("rollback")
            self.assertEqual(ran.code, 0, f"killed at step {step}: {ran.out}")
            self.assertEqual(picture(self.root), before, f"killed at step {step}")

    @unittest.skipUnless(os.geteuid() == 0, "needs root, to give files away")
    def test_owner_and_mode(self):
        os.chown(self.path(SYSCTLS), 12, 34)
        os.chmod(self.path(SYSCTLS), 0o640)
        self.back_and_forth()
        before = picture(self.root)
        self.assertEqual(self.run_tune("apply").code, 0)
        # As after a kill between the contents and the owner.
        self.put(SYSCTLS, "# mine, from before\nvm.swappiness = 5\n")
        os.chown(self.path(SYSCTLS), 0, 0)
        os.chmod(self.path(SYSCTLS), 0o640)
        self.assertEqual(self.run_tune("rollback").code, 0)
        self.assertEqual(picture(self.root), before)


if __name__ == "__main__":
    unittest.main()

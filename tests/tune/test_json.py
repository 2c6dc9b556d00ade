"""--json: one object, however the tuner ends."""

import json
import os
import shutil
import subprocess
import tempfile
import unittest

from machine import make, tune


class Json(unittest.TestCase):
    def setUp(self):
        self.root = tempfile.mkdtemp(prefix="corecast-tune-")
        self.addCleanup(shutil.rmtree, self.root)
        make(self.root)

    def run_tune(self, *words):
        ran = tune(*words, "--root", self.root, "--json")
        found = json.loads(ran.out)
        self.assertEqual((found["code"], found["ok"]), (ran.code, ran.code == 0))
        return ran, found

    def test_each_command(self):
        for command, code in (
            ("check", 1),
            ("plan", 0),
            ("apply", 0),
            ("check", 0),
            ("status", 0),
            ("rollback", 0),
            ("rollback", 0),
            ("status", 0),
        ):
            ran, found = self.run_tune(command)
            self.assertEqual((ran.code, ran.err, found["command"]), (code, "", command))
            self.assertIsInstance(found["items"], list)
            self.assertNotIn("error", found)

    def test_errors(self):
        spoilt = os.path.join(self.root, "var/lib/corecast-tune")
        os.mkdir(spoilt)
        with open(os.path.join(spoilt, "state.json"), "w", encoding="ascii") as file:
            file.write("[]")
        cases = [
            (["plan", "--ports", "0"], "plan", 2, "0 is not a port"),
            (["plan", "--connections"], "plan", 2, "expected one argument"),
            (["polish"], None, 2, "invalid choice"),
            ([], None, 2, "required: command"),
            (["check", "--network-cpus", "999"], "check", 2, "are not all among"),
            (["apply", "--tuning", "/nowhere"], "apply", 78, "/nowhere/sysctl.tune:1: No such"),
            (["status"], "status", 1, "cannot be read: it is not a JSON object"),
            (["apply"], "apply", 1, "cannot be read: it is not a JSON object"),
            (["rollback"], "rollback", 1, "cannot be read: it is not a JSON object"),
        ]
        for words, command, code, why in cases:
            ran, found = self.run_tune(*words)
            self.assertEqual((ran.code, found["command"]), (code, command), words)
            self.assertIn(why, found["error"])
            self.assertEqual(ran.err, f"tune: {found['error']}\n")
            plain = tune(*words, "--root", self.root)
            self.assertEqual((plain.code, plain.out, plain.err), (code, "", ran.err))

    def test_a_plan_has_what_is_done(self):
        _, found = self.run_tune("plan")
        items = {item["name"]: item for item in found["items"]}
        some = items["net.ipv4.ip_local_port_range"]
        self.assertEqual(some["write"], "10240 65535")
        self.assertEqual(some["commands"], ["sysctl -w 'net.ipv4.ip_local_port_range=10240 65535'"])
        some = items["/etc/corecast/cpus"]
        self.assertRegex(some["write"], "^# By scripts/tune; .*\nworkers=0-6\nbridge=7\n$")
        cat = f"cat >/etc/corecast/cpus <<'END'\n{some['write']}END"
        make_, chmod = "(umask 022; mkdir -p /etc/corecast)", "chmod 644 /etc/corecast/cpus"
        self.assertEqual(some["commands"], [make_, cat, chmod])
        some = items["net.netfilter.nf_conntrack_max"]
        self.assertEqual((some["write"], some["commands"]), (None, []))
        told = tune("plan", "--root", self.root).out
        for item in found["items"]:
            self.assertIn("\n".join(item["commands"]), told)
            self.assertEqual(bool(item["commands"]), item["state"] == "differs")

    def test_the_commands_do_what_apply_does(self):
        _, found = self.run_tune("plan", "--only", "files")
        commands = [command for item in found["items"] for command in item["commands"]]
        moved = "\n".join(commands)
        folders = ("/etc/sysctl.d", "/etc/security", "/etc/corecast", "/etc/systemd", "/usr/local")
        for path in folders:
            for before in (" ", ">"):
                moved = moved.replace(before + path, before + self.root + path)
        subprocess.run(["bash", "-euc", "umask 077\n" + moved], check=True)
        for item in found["items"]:
            real = self.root + item["path"]
            if os.path.islink(real):
                self.assertEqual(os.readlink(real), item["write"])
            else:
                mode = 0o755 if real.endswith("/scripts/tune") else 0o644
                self.assertEqual(os.stat(real).st_mode & 0o777, mode, real)
                self.assertEqual(os.stat(os.path.dirname(real)).st_mode & 0o755, 0o755, real)
        self.assertEqual(self.run_tune("check", "--only", "files")[0].code, 0)


if __name__ == "__main__":
    unittest.main()

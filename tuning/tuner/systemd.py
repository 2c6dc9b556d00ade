"""Tells systemd of units that were written or removed; does nothing if it does not run.

systemd keeps to what it read before until it is told, so a limit of the service would wait for the
next boot, and a unit that was taken away would still start.
"""

import os
import subprocess

UNITS = "/etc/systemd/system"
RUNNING = "/run/systemd/system"
RELOAD = ["systemctl", "daemon-reload"]


def runs(root):
    """Does systemd run here, and is this the machine to tune?"""
    return os.path.realpath(root or "/") == "/" and os.path.isdir(RUNNING)


def is_unit(path):
    return path.startswith(UNITS + "/")


def reload():
    """Reloads systemd; returns what is wrong, or nothing."""
    try:
        ran = subprocess.run(RELOAD, capture_output=True, text=True, timeout=60, errors="replace")
    except (OSError, subprocess.TimeoutExpired) as error:
        return getattr(error, "strerror", None) or "no answer within 60 s"
    if ran.returncode == 0:
        return ""
    said = " ".join(ran.stderr.split())
    return said or f"exit code {ran.returncode}"


def report(outcome, failed):
    """Reads the units again and says what was wrong; is it done?"""
    error = reload()
    if error:
        words = "until it succeeds, systemd keeps to the units that it knew"
        text = f"{' '.join(RELOAD)}: {error}; {words}"
        outcome.code, outcome.more["error"] = 1, text
        outcome.say(f"{failed:14} {text}")
    return not error

"""check and apply: what each does, and its exit code; the others are in plan.py and back.py.

Exit codes: 0 done (items that this host lacks are named), 1 a shortfall, or a value that would not
take, 2 a wrong command line or a machine that the tuner does not guess at, 78 a malformed file.
"""

import errno
import os

from . import items, lasting, rules, state, systemd
from .asked import INSTALLED
from .items import ABSENT, DIFFERS, OK

FAILED, WRITTEN = "FAILED", "written"


class Outcome:
    """The result of a command: its lines of text, its items for --json, its exit code."""

    def __init__(self, code=0):
        self.code, self.lines, self.items, self.more = code, [], [], {}

    def say(self, line=""):
        self.lines.append(line)

    def public(self):
        """The output of --json."""
        return {"items": self.items, **self.more}


def check(found, _host, asked):
    """Which values are as wanted, and which are not."""
    outcome = Outcome(int(any(item.state == DIFFERS for item in found)))
    outcome.items = [item.public() for item in found]
    outcome.say(asked.line())
    for item in found:
        if not item.source or item.state == DIFFERS:
            outcome.say(line_of(item))
    copies = [item for item in found if item.source and item.state == OK]
    if copies:
        outcome.say(f"{OK:14} {INSTALLED}: {len(copies)} files of this program, for the next boot")
    short = sum(item.state == DIFFERS for item in found)
    outcome.say(f"{short} of {len(found)} items fall short." if short else "Nothing falls short.")
    return outcome


def line_of(item):
    if item.state == ABSENT:
        return f"{ABSENT:14} {item.name}: {item.reason}"
    if item.state == OK:
        return f"{OK:14} {item.name}: {item.current}"
    now = item.current if item.current is not None else "not there"
    odd = f" ({item.reason})" if item.reason else ""
    return f"{DIFFERS:14} {item.name}: {now}{odd}, wanted {item.wanted}. Effect: {item.cost}"


def apply(found, host, asked):
    """Writes what differs, once all previous values are safely on disk."""
    outcome, kept = Outcome(), state.State(host.root)
    outcome.say(asked.line())
    todo = [item for item in found if item.state == DIFFERS]
    kept.lock(make=bool(todo))
    # Also after an apply that was killed before it reloaded systemd.
    owed = (kept.read() or {}).get("reload", False)
    told = systemd.runs(host.root)
    owed = owed or told and any(systemd.is_unit(item.path) for item in todo)
    if todo:
        kept.record(records(todo, host), asked.public(), owed)
    for item in todo:
        if item.path == lasting.LIMITS_FILE and lasting.lowered(item, written(found)):
            kept.record(records([item], host), asked.public(), owed)
        item.state, item.reason = write(item, host)
        if item.state == FAILED:
            outcome.code = 1
            outcome.say(f"{FAILED:14} {item.name}: wanted {short(item)}, but {item.reason}")
        elif item.state == WRITTEN and not item.source:
            outcome.say(f"{WRITTEN:14} {item.name}: {short(item)}")
    copies = sum(item.state == WRITTEN for item in todo if item.source)
    if copies:
        outcome.say(f"{WRITTEN:14} {INSTALLED}: {copies} files of this program, for the next boot")
    if outcome.code == 0:
        asked.forget()
    try:
        if any(item.state == ABSENT for item in todo):
            kept.drop([item.path for item in todo if item.state == ABSENT])
        if owed and told and systemd.report(outcome, FAILED):
            kept.reloaded()
    except state.Failed as error:
        # The record of previous values is complete, and contains a few that were not changed.
        outcome.code = 1
        outcome.say(f"{FAILED:14} {error}")
    for item in found:
        if item.state == ABSENT and not item.source:
            outcome.say(line_of(item))
    outcome.items = [item.public() for item in found]
    counts = [
        sum(item.state == wanted for item in found) for wanted in (WRITTEN, OK, ABSENT, FAILED)
    ]
    outcome.say("{} written, {} were as wanted, {} not available here, {} failed.".format(*counts))
    if todo and kept.read():
        outcome.say(f"What was before is in {host.path(state.FOLDER)}; `rollback` restores it.")
    return outcome


def written(found):
    """fs.nr_open as it is now, whatever was wanted of it; none where that is not known."""
    item = next((item for item in found if item.name == "fs.nr_open"), None)
    text = item and (item.write if item.state == WRITTEN else item.current)
    return int(text) if text and text.isdigit() else None


def short(item):
    return repr(item.write) if item.kind == "value" else item.wanted


def records(todo, host):
    """The current values; directories that will be made come first."""
    found, folders = [], []
    for item in todo:
        if item.kind != "value":
            folders += missing_folders(host, os.path.dirname(item.path))
    for folder in dict.fromkeys(folders):
        found.append(state.capture(host.root, folder, "folder", None))
    for item in todo:
        found.append(state.capture(host.root, item.path, item.kind, item.write))
    return found


def missing_folders(host, folder):
    missing = []
    while folder != "/" and not os.path.isdir(host.path(folder)):
        missing.insert(0, folder)
        folder = os.path.dirname(folder)
    return missing


def write(item, host):
    """Writes one item; returns its new state, and the reason."""
    try:
        error = attempt(item, host.path(item.path))
    except OSError as refused:
        if item.kind == "value" and refused.errno == errno.EROFS:
            return ABSENT, "read-only here, as in a container: set it on the host"
        error = f"the write was refused: {refused.strerror}"
    return (FAILED, error) if error else (WRITTEN, "")


def attempt(item, real):
    """Writes one item and reads it back; returns what is wrong, or nothing."""
    if item.kind == "value":
        state.write_value(real, item.write)
        item.current = state.read_value(real).strip()
        return "" if rules.same(item.current, item.write) else f"it reads back {item.current!r}"
    os.makedirs(os.path.dirname(real), exist_ok=True)
    if item.kind == "link":
        state.write_link(real, item.write)
        item.current = os.readlink(real)
    else:
        state.write_file(real, item.write.encode("utf-8"), item.mode)
        good = state.read_value(real) == state.latin(item.write)
        item.current = "as planned" if good else "other contents"
    return "" if item.current == item.wanted else f"it reads back {item.current!r}"


def gather(files, host, asked):
    """The items of this machine: its values, then the files that keep them."""
    found, values = items.items(files, host, asked)
    sysctls = [item for item in found if item.group == "sysctl"]
    found.extend(lasting.files(files, host, asked, values, sysctls))
    return [item for item in found if item.group in asked.only]

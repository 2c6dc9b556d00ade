"""plan, apply, check, rollback, status: what each does, and its exit code.

Exit codes: 0 done (items that this host lacks are named), 1 a shortfall, or a value that would not
take, 2 a wrong command line or a machine that the tuner does not guess at, 78 a malformed file.
"""

import os
import shlex

from . import items, rules, state
from .items import ABSENT, DIFFERS, OK

FAILED, WRITTEN = "FAILED", "written"


class Outcome:
    """What a command found: its lines for people, its items for --json, its exit code."""

    def __init__(self, code=0):
        self.code, self.lines, self.items = code, [], []

    def say(self, line=""):
        self.lines.append(line)


def plan(found, _host, _asked):
    """The commands that `apply` amounts to. Changes nothing."""
    outcome = Outcome()
    outcome.items = [item.public() for item in found]
    for item in found:
        if item.state == DIFFERS:
            outcome.say(
                f"# {item.name}: {item.why}"
                if item.kind == "value"
                else f"# {item.cost}, otherwise"
            )
            if item.kind == "value":
                outcome.say(f"#   now {item.current or 'nothing'}; wanted {item.wanted}")
            outcome.lines.extend(shell(item))
    absent(found, outcome)
    good = sum(item.state == OK for item in found)
    outcome.say(f"# {good} of {len(found)} items are as wanted. Nothing was changed.")
    return outcome


def shell(item):
    """The same as a shell would be told."""
    path = shlex.quote(item.path)
    if item.kind == "link":
        return [
            f"mkdir -p {shlex.quote(os.path.dirname(item.path))}",
            f"ln -sfn {shlex.quote(item.write)} {path}",
        ]
    if item.kind == "file":
        folder = shlex.quote(os.path.dirname(item.path))
        return [
            f"mkdir -p {folder}",
            f"cat >{path} <<'END'",
            *item.write.rstrip("\n").split("\n"),
            "END",
        ]
    if item.group == "sysctl":
        return [f"sysctl -w {shlex.quote(f'{item.name}={item.write}')}"]
    return [f"printf '%s\\n' {shlex.quote(item.write)} >{path}"]


def absent(found, outcome):
    for item in found:
        if item.state == ABSENT:
            outcome.say(f"# not available here: {item.name}: {item.reason}")


def check(found, _host, _asked):
    """What is as wanted, and what is not."""
    outcome = Outcome(int(any(item.state == DIFFERS for item in found)))
    outcome.items = [item.public() for item in found]
    for item in found:
        outcome.say(line_of(item))
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
    return f"{DIFFERS:14} {item.name}: {now}{odd}, wanted {item.wanted}. It costs: {item.cost}"


def apply(found, host, asked):
    """Writes what differs, after all that was there before is safe on disk."""
    outcome = Outcome()
    todo = [item for item in found if item.state == DIFFERS]
    if todo:
        kept = state.State(host.root)
        kept.lock(make=True)
        kept.record(records(todo, host), asked.public())
    for item in todo:
        error = write(item, host)
        item.state, item.reason = (FAILED, error) if error else (WRITTEN, "")
        if error:
            outcome.code = 1
            outcome.say(f"{FAILED:14} {item.name}: wanted {short(item)}, but {error}")
        else:
            outcome.say(f"{WRITTEN:14} {item.name}: {short(item)}")
    for item in found:
        if item.state == ABSENT:
            outcome.say(line_of(item))
    outcome.items = [item.public() for item in found]
    counts = [
        sum(item.state == wanted for item in found) for wanted in (WRITTEN, OK, ABSENT, FAILED)
    ]
    outcome.say("{} written, {} were as wanted, {} not available here, {} failed.".format(*counts))
    if todo:
        outcome.say(f"What was before is in {host.path(state.FOLDER)}; `rollback` restores it.")
    return outcome


def short(item):
    return repr(item.write) if item.kind == "value" else item.wanted


def records(todo, host):
    """What is there now, folders that will be made first."""
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
    """Writes one item and reads it again; what is wrong, or nothing."""
    real = host.path(item.path)
    try:
        if item.kind == "value":
            state.write_value(real, item.write)
            item.current = state.read_value(real).strip()
            return "" if rules.same(item.current, item.write) else f"it reads back {item.current!r}"
        os.makedirs(os.path.dirname(real), exist_ok=True)
        if item.kind == "link":
            if os.path.lexists(real):
                os.unlink(real)
            os.symlink(item.write, real)
            item.current = os.readlink(real)
        else:
            state.write_file(real, item.write.encode("utf-8"), item.mode)
            item.current = (
                "as planned" if state.read_value(real) == latin(item.write) else "other contents"
            )
        return "" if item.current == item.wanted else f"it reads back {item.current!r}"
    except OSError as error:
        hint = " (a container's /proc/sys: set it on the host)" if error.errno == 30 else ""
        return f"the write was refused: {error.strerror}{hint}"


def latin(text):
    return text.encode("utf-8").decode("latin-1")


def rollback(host):
    """Puts everything back, the last write first, and forgets it."""
    outcome, kept = Outcome(), state.State(host.root)
    kept.lock(make=False)
    known = kept.read()
    if known is None:
        if kept.held is not None:
            kept.forget()
        outcome.say("Nothing is applied: there is nothing to roll back.")
        return outcome
    for record in reversed(known["records"]):
        item = {"name": record["path"], "kind": record["kind"], "prior": record["prior"]}
        try:
            item["state"] = state.restore(host.root, record)
        except OSError as error:
            item.update(state=FAILED, reason=error.strerror)
            outcome.code = 1
            outcome.say(f"{FAILED:14} {record['path']}: {error.strerror}")
        else:
            if item["state"] != "unchanged" and record["kind"] != "folder":
                outcome.say(f"{item['state']:14} {record['path']}: {brief(record['prior'])}")
        outcome.items.append(item)
    if outcome.code == 0:
        kept.forget()
        outcome.say(f"All {len(known['records'])} are as they were.")
    else:
        outcome.say("What failed is still recorded: run `rollback` again when its cause is gone.")
    return outcome


def brief(prior):
    if prior is None:
        return "removed"
    text = prior.strip()
    return (
        repr(text) if len(text) <= 60 and "\n" not in text else f"{len(prior)} bytes as they were"
    )


def status(host):
    """What is applied, since when, and whether it still holds."""
    outcome, known = Outcome(), state.State(host.root).read()
    if known is None:
        outcome.say("Nothing is applied.")
        return outcome
    outcome.say(f"Applied for {known['inputs']['connections']} connections.")
    for record in known["records"]:
        if record["kind"] == "folder":
            continue
        now = now_of(host, record)
        holds = now is not None and (now == record["wrote"] or rules.same(now, record["wrote"]))
        word = "in force" if holds else "changed since" if now is not None else "gone"
        outcome.items.append(
            {
                "name": record["path"],
                "state": word,
                "prior": record["prior"],
                "wrote": record["wrote"],
                "current": now,
            }
        )
        before = (
            ""
            if record["kind"] != "value"
            else (
                f": {record['prior'].strip()!r} before, {now.strip()!r} now"
                if now is not None
                else f": {record['prior'].strip()!r} before"
            )
        )
        outcome.say(f"{word:14} {record['path']}{before}")
    return outcome


def now_of(host, record):
    real = host.path(record["path"])
    try:
        return os.readlink(real) if record["kind"] == "link" else state.read_value(real)
    except OSError:
        return None


def gather(files, host, asked):
    """The items of this machine."""
    return items.items(files, host, asked)

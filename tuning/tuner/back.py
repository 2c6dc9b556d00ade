"""rollback and status: they need neither the tuning files nor a known layout of cores."""

import os

from . import lasting, rules, state, systemd
from .commands import FAILED, Outcome
from .host import MARK


def rollback(host):
    """Restores everything, the last write first, and deletes the record."""
    outcome, kept = Outcome(), state.State(host.root)
    kept.lock(make=False)
    known = kept.read()
    if known is None:
        if kept.held is not None:
            kept.forget()
        if unrecorded(host, outcome):
            outcome.code = 1
        else:
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
    # Also if units were removed before a kill: while the record exists, systemd may not have been reloaded.
    if systemd.runs(host.root) and any(systemd.is_unit(it["path"]) for it in known["records"]):
        systemd.report(outcome, FAILED)
    if outcome.code == 0:
        kept.forget()
        outcome.say(f"All {len(known['records'])} are as they were.")
    else:
        outcome.say("What failed is still recorded: run `rollback` again when its cause is gone.")
    return outcome


def unrecorded(host, outcome):
    """Names files of this program that are in no record: their previous contents are lost."""
    for path in (*lasting.OURS, lasting.BOOT_LINK, lasting.PROGRAM):
        real = host.path(path)
        try:
            if path == lasting.BOOT_LINK:
                ours = os.readlink(real) == lasting.BOOT_TARGET
            elif path == lasting.PROGRAM:
                ours = os.path.isfile(real)
            else:
                ours = state.read_value(real).startswith(MARK)
        except OSError:
            ours = False
        if ours:
            outcome.say(f"{'not recorded':14} {path}: written by scripts/tune")
            outcome.items.append({"name": path, "kind": "file", "state": "not recorded"})
    if outcome.items:
        folder = host.path(state.FOLDER)
        outcome.say(f"There is no record in {folder}, so what was before is not known:")
        outcome.say("remove these by hand, and the next boot gives the kernel's own values back.")
    return bool(outcome.items)


def brief(prior):
    if prior is None:
        return "removed"
    text = prior.strip()
    return (
        repr(text) if len(text) <= 60 and "\n" not in text else f"{len(prior)} bytes as they were"
    )


def status(host):
    """What was applied, when, and whether it is still in effect."""
    outcome, known = Outcome(), state.State(host.root).read()
    if known is None:
        if not unrecorded(host, outcome):
            outcome.say("Nothing is applied.")
        return outcome
    outcome.say(f"Applied for {known['inputs']['connections']} connections.")
    for record in known["records"]:
        if record["kind"] == "folder":
            continue
        now = now_of(host, record)
        holds = now is not None and is_same(now, record)
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


def is_same(now, record):
    if record["kind"] == "value":
        return rules.same(now, record["wrote"])
    return now == (record["wrote"] if record["kind"] == "link" else state.latin(record["wrote"]))


def now_of(host, record):
    real = host.path(record["path"])
    try:
        return os.readlink(real) if record["kind"] == "link" else state.read_value(real)
    except OSError:
        return None

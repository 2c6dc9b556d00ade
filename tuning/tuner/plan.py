"""plan: the commands that `apply` amounts to. Changes nothing."""

import os
import shlex

from . import systemd
from .commands import Outcome
from .items import ABSENT, DIFFERS, OK


def plan(found, host, asked):
    """The commands that `apply` amounts to. Changes nothing."""
    outcome = Outcome()
    outcome.say(f"# {asked.line()}")
    for item in found:
        commands = shell(item) if item.state == DIFFERS else []
        write = item.write if commands else None
        outcome.items.append({**item.public(), "write": write, "commands": commands})
        if commands:
            outcome.say(
                f"# {item.name}: {item.why}"
                if item.kind == "value"
                else f"# {item.cost}, otherwise"
            )
            if item.kind == "value":
                outcome.say(f"#   now {item.current or 'nothing'}; wanted {item.wanted}")
            outcome.lines.extend(commands)
    units = [item for item in found if item.state == DIFFERS and systemd.is_unit(item.path)]
    if units and systemd.runs(host.root):
        outcome.say("# systemd keeps to the units that it knew, otherwise")
        outcome.more["then"] = [" ".join(systemd.RELOAD)]
        outcome.lines.extend(outcome.more["then"])
    absent(found, outcome)
    if not asked.remember():
        words = f"apply --connections {asked.connections}"
        outcome.say(f"# This plan could not be noted for `apply`: say `{words}`.")
    good = sum(item.state == OK for item in found)
    outcome.say(f"# {good} of {len(found)} items are as wanted. Nothing was changed.")
    return outcome


def shell(item):
    """The same as shell commands."""
    path = shlex.quote(item.path)
    # They are read by other users, so no umask may make them private.
    folder = f"(umask 022; mkdir -p {shlex.quote(os.path.dirname(item.path))})"
    if item.kind == "link":
        return [folder, f"ln -sfn {shlex.quote(item.write)} {path}"]
    if item.source:
        install = f"install -D -m {item.mode:o} {shlex.quote(item.source)} {path}"
        return [f"(umask 022; {install})"]
    if item.kind == "file":
        return [folder, f"cat >{path} <<'END'\n{item.write}END", f"chmod {item.mode:o} {path}"]
    if item.group == "sysctl":
        return [f"sysctl -w {shlex.quote(f'{item.name}={item.write}')}"]
    return [f"printf '%s\\n' {shlex.quote(item.write)} >{path}"]


def absent(found, outcome):
    for item in found:
        if item.state == ABSENT and not item.source:
            outcome.say(f"# not available here: {item.name}: {item.reason}")

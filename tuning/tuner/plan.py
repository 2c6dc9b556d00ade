"""plan: the commands that `apply` amounts to. Changes nothing."""

import os
import shlex

from . import systemd
from .commands import Outcome
from .items import ABSENT, DIFFERS, OK


def plan(found, host, _asked):
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
    units = [item for item in found if item.state == DIFFERS and systemd.is_unit(item.path)]
    if units and systemd.runs(host.root):
        outcome.say("# systemd keeps to the units that it knew, otherwise")
        outcome.say(" ".join(systemd.RELOAD))
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

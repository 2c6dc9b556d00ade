"""The items to tune on this machine: kernel values, and files (lasting.py).

An item knows its current value, the wanted one, and the effect of a shortfall. Reads only.
"""

import errno
import os

from . import data, rules, state

GROUPS = ("sysctl", "sysfs", "files")
OK, DIFFERS, ABSENT = "ok", "differs", "not available"


class Item:
    """One value, file or link."""

    def __init__(self, group, name, path, kind, cost, why):
        self.group, self.name, self.path, self.kind = group, name, path, kind
        self.cost, self.why = cost, why
        self.state, self.current, self.wanted, self.write, self.reason = ABSENT, None, "", "", ""
        self.mode, self.enough = 0o644, None
        # Of a file that is a copy: of what.
        self.source = None

    def public(self):
        """What --json says."""
        known = {
            "name": self.name,
            "path": self.path,
            "group": self.group,
            "state": self.state,
            "current": self.current,
            "want": self.wanted,
            "cost": self.cost,
            "why": self.why,
        }
        return {**known, "reason": self.reason} if self.reason else known


class Files:
    """The tuning files, read once."""

    def __init__(self, folder):
        self.sysctl = data.read(os.path.join(folder, "sysctl.tune"))
        self.sysfs = data.read(os.path.join(folder, "sysfs.tune"))
        self.limits = data.read(os.path.join(folder, "limits.tune"))


def items(files, host, asked):
    """The kernel's values, in the order in which they are written, and what they are sums of."""
    values = {
        "connections": asked.connections,
        "cores": len(host.cpus),
        "page_bytes": host.page_bytes,
        "memory_bytes": host.memory_bytes,
        "memory_pages": host.memory_bytes // host.page_bytes,
    }
    found = []
    for line in files.sysctl:
        path = "/proc/sys/" + line.name.replace(".", "/")
        found.append(value("sysctl", line, path, host, values, asked.ports))
    for line in files.sysfs:
        found.extend(devices(line, host, values, asked.ports))
    return found, values


def value(group, line, path, host, values, ports):
    item = Item(group, line.name if group == "sysctl" else path, path, "value", line.cost, line.why)
    want = rules.Want(line, host, values, ports, path)
    # A file may set it although it does not exist now.
    item.wanted, item.write, item.enough = want.said(), want.plain(), want.holds
    try:
        item.current = " ".join(state.read_value(host.path(path)).split())
    except OSError as error:
        item.reason = "no such file" if error.errno == errno.ENOENT else error.strerror
        return item
    try:
        good = want.holds(item.current)
        item.write = rules.chosen(item.current) if good else want.to_write(item.current)
    except ValueError:
        good, item.reason = False, "unexpected contents"
    item.state = OK if good else DIFFERS
    return item


def devices(line, host, values, ports):
    """The items of a line with `*`: one for each hardware device."""
    paths = sorted(host.glob(line.name), key=natural)
    if line.rule in data.PLACEMENTS:
        # The pattern may match other paths: only queues and interrupts are changed.
        paths = [path for path in paths if data.SHAPES[line.want].fullmatch(path)]
    if line.rule == "cpus":
        known = host.network_interrupts()
        paths = [path for path in paths if int(path.split("/")[3]) in known]
    elif line.name.startswith("/sys/class/net/"):
        paths = [path for path in paths if host.is_hardware(path.split("/")[4])]
    if not paths:
        item = Item("sysfs", line.name, line.name, "value", line.cost, line.why)
        item.reason = "no such device, or its driver does not say"
        return [item]
    return [value("sysfs", line, path, host, values, ports) for path in paths]


def natural(path):
    return [int(part) if part.isdigit() else part for part in path.replace("-", "/").split("/")]


def content(host, path, text, cost):
    item = Item("files", path, path, "file", cost, "so that it survives a reboot")
    item.write, item.wanted = text, "as planned"
    real = host.path(path)
    if os.path.isfile(real):
        item.current = "other contents"
        if state.read_value(real) == state.latin(text):
            item.state, item.current = OK, "as planned"
            return item
    item.state = DIFFERS
    return item


def link(host, path, target, cost):
    item = Item("files", path, path, "link", cost, "so that it survives a reboot")
    item.write, item.wanted = target, target
    real = host.path(path)
    item.current = os.readlink(real) if os.path.islink(real) else None
    item.state = OK if item.current == target else DIFFERS
    return item

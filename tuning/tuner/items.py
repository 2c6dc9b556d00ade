"""What there is to tune on this machine: values of the kernel, and files that keep them.

An item knows what it holds now, what it should hold, and what its shortfall costs. Reads only.
"""

import errno
import os

from . import data, rules, state, systemd
from .host import MARK

GROUPS = ("sysctl", "sysfs", "files")
SYSCTL_FILE = "/etc/sysctl.d/90-corecast.conf"
LIMITS_FILE = "/etc/security/limits.d/90-corecast.conf"
DROP_IN = f"{systemd.UNITS}/corecast.service.d/90-tune.conf"
BOOT_UNIT = f"{systemd.UNITS}/corecast-tune.service"
BOOT_LINK = f"{systemd.UNITS}/multi-user.target.wants/corecast-tune.service"
BOOT_TARGET = "../corecast-tune.service"
CPU_FILE = "/etc/corecast/cpus"
OURS = (SYSCTL_FILE, LIMITS_FILE, CPU_FILE, DROP_IN, BOOT_UNIT)

# No hard limit of descriptors is written below this: tuning/corecast.service has it, and systemd
# gives logins half of it. For fewer connections than that a host is not made worse.
DESCRIPTORS = 1_048_576

OK, DIFFERS, ABSENT = "ok", "differs", "not available"


class Item:
    """One value, file or link."""

    def __init__(self, group, name, path, kind, cost, why):
        self.group, self.name, self.path, self.kind = group, name, path, kind
        self.cost, self.why = cost, why
        self.state, self.current, self.wanted, self.write, self.reason = ABSENT, None, "", "", ""
        self.mode = 0o644

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
    """Everything, in the order in which it is written."""
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
    sysctls = [item for item in found if item.group == "sysctl"]
    found.extend(kept(files, host, asked, values, sysctls))
    return [item for item in found if item.group in asked.only]


def value(group, line, path, host, values, ports):
    item = Item(group, line.name if group == "sysctl" else path, path, "value", line.cost, line.why)
    want = rules.Want(line, host, values, ports, path)
    item.wanted = want.said()
    try:
        item.current = " ".join(state.read_value(host.path(path)).split())
    except OSError as error:
        item.reason = "no such file" if error.errno == errno.ENOENT else error.strerror
        return item
    try:
        good = want.holds(item.current)
        item.write = rules.chosen(item.current) if good else want.to_write(item.current)
    except ValueError:
        good, item.write, item.reason = False, want.plain(), "unexpected contents"
    item.state = OK if good else DIFFERS
    return item


def devices(line, host, values, ports):
    """The items of a line with `*`: those that are hardware's."""
    paths = sorted(host.glob(line.name), key=natural)
    if line.rule in data.PLACEMENTS:
        # The kernel may name others beside: what is no queue and no interrupt is left alone.
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


def kept(files, host, asked, values, sysctls):
    """The files that make it last, and tell others."""
    limits = {line.name: line.numbers(values)[0] for line in files.limits}
    descriptors = max(limits["nofile"], DESCRIPTORS)
    costs = "; ".join(line.cost for line in files.limits)
    held = [item for item in sysctls if item.state != ABSENT]
    lines = "".join(f"# {item.why}\n{item.name} = {item.write}\n" for item in held)
    head = f"{MARK}; `scripts/tune rollback` takes it away again.\n"
    yield content(host, SYSCTL_FILE, head + lines, "the next boot forgets the values above")
    # The server raises its soft limit itself; a high one breaks programs that still use select.
    most = number(min(descriptors, ceiling(sysctls, asked)))
    logins = f"* hard nofile {most}\nroot hard nofile {most}\n"
    logins += "# Members of this group may lock memory, as io_uring does; root may anyway.\n"
    logins += f"@corecast - memlock {number(limits['memlock'])}\n"
    yield content(host, LIMITS_FILE, head + logins, f"started from a login: {costs}")
    cpus = "workers and interrupts are not told apart, and workers not pinned where they should"
    yield content(host, CPU_FILE, host.cpu_file(), cpus)
    unit = (
        f"{head}[Service]\nLimitNOFILE={number(descriptors, 'infinity')}\n"
        f"LimitMEMLOCK={number(limits['memlock'], 'infinity')}\n"
        f"Environment=CORECAST_CPU_FILE={CPU_FILE}\n"
    )
    boot = boot_unit(head, asked)
    units = [
        content(host, DROP_IN, unit, f"started by systemd: {costs}"),
        content(host, BOOT_UNIT, boot, "the next boot forgets what is set below /sys"),
        link(host, BOOT_LINK, BOOT_TARGET, "the unit above is not started"),
    ]
    for item in units:
        if not os.path.isdir(host.path(systemd.UNITS)):
            item.state, item.reason = ABSENT, "no systemd"
        yield item


def boot_unit(head, asked):
    command = " ".join([asked.program, "apply", *asked.words()])
    return (
        f"{head}[Unit]\nDescription=Tune this host for Corecast\n"
        "After=systemd-sysctl.service network.target\nBefore=corecast.service\n\n"
        f"[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart={command}\n\n"
        "[Install]\nWantedBy=multi-user.target\n"
    )


def content(host, path, text, cost):
    item = Item("files", path, path, "file", cost, "so that it lasts")
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
    item = Item("files", path, path, "link", cost, "so that it lasts")
    item.write, item.wanted = target, target
    real = host.path(path)
    item.current = os.readlink(real) if os.path.islink(real) else None
    item.state = OK if item.current == target else DIFFERS
    return item


def number(value_, unlimited=data.UNLIMITED):
    return unlimited if value_ == float("inf") else str(value_)


def ceiling(sysctls, asked):
    """fs.nr_open as it will be: a login that is given more than that is refused."""
    for item in sysctls:
        text = item.write if "sysctl" in asked.only else item.current
        if item.name == "fs.nr_open" and text and text.isdigit():
            return int(text)
    return float("inf")

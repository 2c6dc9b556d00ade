"""The files that keep the values over a reboot, and pass them to the server and its logins. Reads only."""

import os
import re

from . import data, state, systemd
from .asked import INSTALLED
from .host import MARK
from .items import ABSENT, content, link

SYSCTL_FILE = "/etc/sysctl.d/90-corecast.conf"
LIMITS_FILE = "/etc/security/limits.d/90-corecast.conf"
DROP_IN = f"{systemd.UNITS}/corecast.service.d/90-tune.conf"
BOOT_UNIT = f"{systemd.UNITS}/corecast-tune.service"
BOOT_LINK = f"{systemd.UNITS}/multi-user.target.wants/corecast-tune.service"
BOOT_TARGET = "../corecast-tune.service"
CPU_FILE = "/etc/corecast/cpus"
PROGRAM = f"{INSTALLED}/scripts/tune"
# Parameters of modules, which may be loaded later than the values are set.
MODULES = ("net.netfilter.",)
OURS = (SYSCTL_FILE, LIMITS_FILE, CPU_FILE, DROP_IN, BOOT_UNIT)

# No hard limit of descriptors is written below this: tuning/corecast.service has it, and systemd
# gives logins half of it. For fewer connections than that a host is not made worse.
DESCRIPTORS = 1_048_576


def files(tunes, host, asked, values, sysctls):
    """The files, in the order in which they are written."""
    limits = {line.name: line.numbers(values)[0] for line in tunes.limits}
    descriptors = max(limits["nofile"], DESCRIPTORS)
    costs = "; ".join(line.cost for line in tunes.limits)
    head = f"{MARK}; `scripts/tune rollback` takes it away again.\n"
    kernel = head + parameters(host, sysctls)
    yield content(host, SYSCTL_FILE, kernel, "the values above are lost at the next boot")
    # The server raises its soft limit itself; a high one breaks programs that still use select.
    most = number(min(descriptors, ceiling(sysctls, asked)))
    logins = f"* hard nofile {most}\nroot hard nofile {most}\n"
    logins += "# Members of this group may lock memory, as io_uring does; root may anyway.\n"
    logins += f"@corecast - memlock {number(limits['memlock'])}\n"
    yield content(host, LIMITS_FILE, head + logins, f"started from a login: {costs}")
    cpus = "workers and interrupts share cores, and workers are not pinned where they should be"
    yield content(host, CPU_FILE, host.cpu_file(), cpus)
    unit = (
        f"{head}[Service]\nLimitNOFILE={number(descriptors, 'infinity')}\n"
        f"LimitMEMLOCK={number(limits['memlock'], 'infinity')}\n"
        f"Environment=CORECAST_CPU_FILE={CPU_FILE}\n"
    )
    boot = boot_unit(head, asked)
    # The program first, so that a unit never names a missing one.
    units = [
        *program(host, asked),
        content(host, DROP_IN, unit, f"started by systemd: {costs}"),
        content(host, BOOT_UNIT, boot, "values below /sys are lost at the next boot"),
        link(host, BOOT_LINK, BOOT_TARGET, "the unit above is not started"),
    ]
    for item in units:
        if not os.path.isdir(host.path(systemd.UNITS)):
            item.state, item.reason = ABSENT, "no systemd"
        yield item


def program(host, asked):
    """The copy of this program that the next boot runs, where it needs one."""
    if not asked.copies:
        return
    cost = "the next boot has no program to set the values below /sys"
    found = [("scripts/tune", os.path.join(asked.place, "scripts", "tune"), 0o755)]
    for name in sorted(os.listdir(asked.tuning)):
        if name.endswith(".tune"):
            found.append((f"tuning/{name}", os.path.join(asked.tuning, name), 0o644))
    folder = os.path.join(asked.own_tuning, "tuner")
    for name in sorted(os.listdir(folder)):
        if name.endswith(".py"):
            found.append((f"tuning/tuner/{name}", os.path.join(folder, name), 0o644))
    for name, source, mode in found:
        with open(source, encoding="utf-8") as file:
            item = content(host, f"{INSTALLED}/{name}", file.read(), cost)
        item.source, item.mode = source, mode
        yield item


def lowered(item, most):
    """Lowers the logins' limits to what fs.nr_open came to, where it did not take; is it so? A
    login that is given more is refused, root's too."""

    def held(number_):
        return min(number_, str(most or number_), key=int)

    text = re.sub(r"(?<=hard nofile )\d+", lambda found: held(found.group()), item.write)
    changed, item.write = text != item.write, text
    return changed


def parameters(host, sysctls):
    """The lines of sysctl.d: the same whatever modules are loaded now."""
    try:
        before = state.read_value(host.path(SYSCTL_FILE))
    except OSError:
        before = ""
    lines = ""
    for item in sysctls:
        mark, text = "", item.write
        if item.state == ABSENT or item.name.startswith(MODULES):
            # With "-" it is no failure of the boot that there is none. What our line says stands
            # while it is enough: what a module brings with it comes and goes with it.
            mark, text = "-", said_before(before, item) or text
        lines += f"# {item.why}\n{mark}{item.name} = {text}\n"
    return lines


def said_before(before, item):
    name = re.escape(item.name)
    found = re.search(rf"^-{name} = (.+)$", before, re.M) if before.startswith(MARK) else None
    try:
        return found.group(1) if found and item.enough(found.group(1)) else ""
    except ValueError:
        return ""


def boot_unit(head, asked):
    words = [asked.program, "apply", *asked.words()]
    # systemd takes no program with such letters in its path; any is an argument.
    if re.search(r"[\"'\\\x00-\x1f\x7f]", asked.program):
        words.insert(0, "/usr/bin/env")
    # A program's own path is not searched for variables, its arguments are.
    program, *words = map(quoted, words)
    command = " ".join([program, *(word.replace("$", "$$") for word in words)])
    return (
        f"{head}[Unit]\nDescription=Tune this host for Corecast\n"
        "After=systemd-sysctl.service network.target\nBefore=corecast.service\n\n"
        f"[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart={command}\n\n"
        "[Install]\nWantedBy=multi-user.target\n"
    )


def quoted(word):
    """A word as systemd reads it."""
    word = word.replace("%", "%%")
    if re.fullmatch(r"[A-Za-z0-9_./,:%+=-]+", word):
        return word
    for letter, escaped in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("\t", "\\t")):
        word = word.replace(letter, escaped)
    return f'"{word}"'


def number(value_, unlimited=data.UNLIMITED):
    return unlimited if value_ == float("inf") else str(value_)


def ceiling(sysctls, asked):
    """fs.nr_open as it will be: a login that is given more than that is refused."""
    for item in sysctls:
        text = item.write if "sysctl" in asked.only else item.current
        if item.name == "fs.nr_open" and text and text.isdigit():
            return int(text)
    return float("inf")

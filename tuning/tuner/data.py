"""Reads the tuning files: lines into items, and what they want into numbers.

Must not know the machine. A malformed line is an error with its file and number, never a guess.
"""

import os
import re

from . import sums
from .sums import UNLIMITED

RULES = ("=", ">=", "<=", "is", "in", "covers", "holds", "mask", "cpus")
NUMERIC = ("=", ">=", "<=", "covers")
PLACEMENTS = {"mask": ("rps", "xps"), "cpus": ("irq",)}
COLUMNS = 5
LIMITS = ("nofile", "memlock")
SYSCTL = re.compile(r"[A-Za-z0-9_-]+(?:[./][A-Za-z0-9_-]+)+")
# Paths for which a rule's cores can be computed: a queue of a device, an interrupt.
SHAPES = {
    "rps": re.compile(r"/sys/class/net/[^/]+/queues/rx-(?:\*|[0-9]+)/rps_cpus"),
    "xps": re.compile(r"/sys/class/net/[^/]+/queues/tx-(?:\*|[0-9]+)/xps_cpus"),
    "irq": re.compile(r"/proc/irq/(?:\*|[0-9]+)/smp_affinity_list"),
}


class Malformed(Exception):
    """A tuning file that cannot be read: where, and why."""

    def __init__(self, path, line, why):
        super().__init__(f"{path}:{line}: {why}")


class Line:
    """One item of a tuning file."""

    def __init__(self, path, number, columns):
        self.path, self.number = path, number
        self.name, self.rule, self.want, self.cost, self.why = columns

    def malformed(self, why):
        return Malformed(self.path, self.number, why)

    def numbers(self, values):
        """The numbers that it wants on a machine with these values."""
        try:
            found = sums.numbers(self.want, values)
        except ValueError as error:
            here = ", ".join(f"{name} = {values[name]}" for name in sums.named(self.want))
            raise self.malformed(f"{error}{', with ' if here else ''}{here}") from None
        if self.rule == "covers" and (len(found) != 2 or found[0] > found[1]):
            raise self.malformed(f"{self.want!r} is not a range: first and last")
        if self.name in LIMITS and len(found) != 1:
            raise self.malformed(f"{self.want!r} is not one number")
        return found


def read(path):
    """The items of a file, checked as far as they can be without a machine."""
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except UnicodeDecodeError as error:
        raise Malformed(path, 1, f"not UTF-8 text: {error}") from None
    except OSError as error:
        raise Malformed(path, 1, error.strerror or error) from None
    lines = []
    for number, raw in enumerate(text.split("\n"), 1):
        stripped = raw.strip()
        if stripped and not stripped.startswith("#"):
            lines.append(parse(path, number, stripped))
    if not lines:
        raise Malformed(path, 1, "it has no items")
    names = {}
    for line in lines:
        if line.name in names:
            raise Malformed(
                path, line.number, f"{line.name} appears twice, first in line {names[line.name]}"
            )
        names[line.name] = line.number
    for name in LIMITS if os.path.basename(path) == "limits.tune" else ():
        if name not in names:
            raise Malformed(path, 1, f"the limit {name} is missing")
    return lines


def parse(path, number, text):
    columns = [column.strip() for column in text.split("|")]
    if len(columns) != COLUMNS:
        raise Malformed(
            path, number, f"{len(columns)} columns, not {COLUMNS}: name | rule | want | cost | why"
        )
    for column, title in zip(columns, ("name", "rule", "want", "cost", "why")):
        if not column:
            raise Malformed(path, number, f"the column {title} is empty")
    line = Line(path, number, columns)
    if not re.fullmatch(r"[A-Za-z0-9_./*-]+", line.name) or ".." in line.name:
        raise Malformed(path, number, f"{line.name!r} is not a name")
    if line.rule not in RULES:
        raise Malformed(path, number, f"unknown rule {line.rule!r}: one of {' '.join(RULES)}")
    try:
        check_want(line)
        FITS[os.path.basename(path)](line)
    except ValueError as error:
        raise line.malformed(error) from None
    return line


def check_want(line):
    if line.rule in NUMERIC:
        sums.shape(line.want)
        if line.want == UNLIMITED and os.path.basename(line.path) != "limits.tune":
            raise ValueError(f"{UNLIMITED!r} is only for limits")
        if not sums.named(line.want):
            line.numbers({})
    elif line.rule in PLACEMENTS and line.want not in PLACEMENTS[line.rule]:
        known = " ".join(PLACEMENTS[line.rule])
        raise ValueError(f"unknown placement {line.want!r}: one of {known}")
    elif line.rule == "holds" and line.want != "ports":
        raise ValueError(f"{line.want!r} is not valid with holds: only ports is")
    elif line.rule == "is" and len(line.want.split()) != 1:
        raise ValueError(f"{line.want!r} is more than one word; 'in' takes several")


def fits_sysctl(line):
    if not SYSCTL.fullmatch(line.name):
        raise ValueError(f"{line.name!r} is not a kernel parameter, such as net.core.somaxconn")
    if line.rule in PLACEMENTS:
        raise ValueError(f"the rule {line.rule!r} is only for queues and interrupts")


def fits_sysfs(line):
    if not line.name.startswith(("/sys/", "/proc/irq/")):
        raise ValueError(f"{line.name!r} is not below /sys or /proc/irq")
    if line.rule in ("covers", "holds"):
        raise ValueError(f"the rule {line.rule!r} is only for kernel parameters")
    if line.rule in PLACEMENTS and not SHAPES[line.want].fullmatch(line.name):
        shape = SHAPES[line.want].pattern.replace("(?:\\*|[0-9]+)", "*").replace("[^/]+", "*")
        raise ValueError(f"{line.want!r} is only for {shape}, not for {line.name!r}")


def fits_limits(line):
    if line.name not in LIMITS:
        raise ValueError(f"unknown limit {line.name!r}: one of {' '.join(LIMITS)}")
    if line.rule != ">=":
        raise ValueError(f"a limit has the rule '>=', not {line.rule!r}")


FITS = {"sysctl.tune": fits_sysctl, "sysfs.tune": fits_sysfs, "limits.tune": fits_limits}

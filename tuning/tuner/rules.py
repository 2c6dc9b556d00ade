"""Compares a value with the wanted one, and computes what to write.

Knows values as the kernel prints them: spaces, brackets, masks and ranges of ports.
"""

from . import data
from .host import compress, expand, mask


class Want:
    """The wanted state of one value, computed for this machine."""

    def __init__(self, line, host, values, ports, path):
        self.rule, self.text = line.rule, line.want
        self.numbers, self.ports, self.cpus = [], ports, []
        if self.rule in data.NUMERIC:
            self.numbers = line.numbers(values)
        elif self.rule == "mask":
            self.cpus = getattr(host, line.want)(path)
        elif self.rule == "cpus":
            self.cpus = host.network_interrupts()[int(path.split("/")[3])]

    def said(self):
        """The wanted value as text."""
        words = " ".join(map(number_text, self.numbers))
        ports = ",".join(map(str, self.ports))
        return {
            "=": words,
            ">=": f"at least {words}",
            "<=": f"at most {words}",
            "is": self.text,
            "in": " or ".join(self.text.split()),
            "covers": "-".join(words.split()),
            "holds": f"with {ports}",
            "mask": mask(self.cpus),
            "cpus": compress(self.cpus),
        }[self.rule]

    def holds(self, current):
        """Is the value that was read as it should be?"""
        if self.rule == "is":
            return chosen(current) == self.text
        if self.rule == "in":
            return chosen(current) in self.text.split()
        if self.rule == "holds":
            return set(self.ports) <= set(expand(current))
        if self.rule == "mask":
            return mask_number(current) == mask_number(mask(self.cpus))
        if self.rule == "cpus":
            return expand(current) == self.cpus
        found = [int(word) for word in current.split()]
        if len(found) != len(self.numbers):
            return False
        if self.rule == "covers":
            return found[0] <= self.numbers[0] and found[1] >= self.numbers[1]
        return all(compare(self.rule, a, b) for a, b in zip(found, self.numbers))

    def to_write(self, current):
        """The value to write, which does not worsen a better current one."""
        if self.rule == "holds":
            return compress(set(self.ports) | set(expand(current)))
        found = [int(word) for word in current.split()] if self.numbers else []
        if not found or len(found) != len(self.numbers):
            return self.plain()
        if self.rule == "covers":
            best = [min(found[0], self.numbers[0]), max(found[1], self.numbers[1])]
        else:
            pick = {"=": lambda a, b: b, ">=": max, "<=": min}[self.rule]
            best = [pick(a, b) for a, b in zip(found, self.numbers)]
        return " ".join(map(str, best))


    def plain(self):
        """The same, whatever is there."""
        if self.rule in ("is", "in"):
            return self.text.split()[0]
        if self.rule == "holds":
            return compress(self.ports)
        if self.rule == "mask":
            return mask(self.cpus)
        if self.rule == "cpus":
            return compress(self.cpus)
        return " ".join(map(str, self.numbers))


def compare(rule, found, wanted):
    return {"=": found == wanted, ">=": found >= wanted, "<=": found <= wanted}[rule]


def same(current, written):
    """Does a value read back mean what was written?"""
    if chosen(current) == written or current.split() == written.split():
        return True
    try:
        return set(expand(current)) == set(expand(written))
    except ValueError:
        pass
    try:
        return mask_number(current) == mask_number(written)
    except ValueError:
        return False


def chosen(current):
    """The selected word of a value that lists all choices: "always [madvise] never"."""
    if "[" in current:
        return current.split("[", 1)[1].split("]", 1)[0]
    return current.strip()


def mask_number(text):
    return int(text.strip().replace(",", "") or "0", 16)


def number_text(number):
    return data.UNLIMITED if number == float("inf") else str(number)

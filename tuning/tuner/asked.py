"""The command line; options that are not given are as planned, else as applied, else defaults.

`plan` notes what it was asked beside the program, so that an `apply` without options carries out
what was read. It is a note of numbers: nothing of the machine.
"""

import json
import os

from . import host as hosts, items, state

DEFAULTS = {"connections": 100_000, "ports": [8000, 9000], "network_cpus": None}
# The program that runs at boot: a checkout may move or disappear, or belong to a user other than root.
INSTALLED = "/usr/local/lib/corecast"
# Most machines of which a plan is stored; tests make many.
PLANS = 8
# Programs below these are there to stay.
LASTING = ("/usr/", "/opt/")


class Asked:
    """The options of one command."""

    def __init__(self, options, place, tuning):
        # The folder that has scripts/ and tuning/, and the tuning files of it.
        self.place, self.own_tuning, self.tuning = place, tuning, os.path.abspath(options.tuning)
        self.root = os.path.realpath(options.root)
        self.only = options.only or list(items.GROUPS)
        given = {name: getattr(options, name) for name in DEFAULTS}
        self.source, kept = self.kept()
        if all(text is None for text in given.values()) and self.source != "by default":
            self.said = self.source
        else:
            self.said = "by default" if given["connections"] is None else "as asked"
        for name, default in DEFAULTS.items():
            text = given[name] if given[name] is not None else kept.get(name)
            setattr(self, name, default if text is None else text)
        self.cores, self.memory_gib = options.cores, options.memory_gib

    @property
    def copies(self):
        """Does the next boot need a copy of the program?"""
        return not os.path.realpath(self.place).startswith(LASTING)

    @property
    def program(self):
        """The program that the next boot runs."""
        return os.path.join(INSTALLED if self.copies else self.place, "scripts", "tune")

    def words(self):
        """The same for the next boot."""
        words = ["--connections", str(self.connections), "--ports", ",".join(map(str, self.ports))]
        if self.network_cpus:
            words += ["--network-cpus", hosts.compress(self.network_cpus)]
        for group in self.only if self.only != list(items.GROUPS) else []:
            words += ["--only", group]
        foreign = os.path.realpath(self.tuning) != os.path.realpath(self.own_tuning)
        if foreign and not self.copies:
            words += ["--tuning", self.tuning]
        if self.cores:
            words += ["--cores", str(self.cores)]
        if self.memory_gib:
            words += ["--memory-gib", str(self.memory_gib)]
        return words

    def public(self):
        return {"connections": self.connections, "ports": self.ports, "only": self.only}

    def line(self):
        """The inputs of a plan, as text."""
        ports = ",".join(map(str, self.ports))
        return f"For {self.connections} connections and ports {ports}, {self.said}."

    def kept(self):
        """What was planned, or applied; and which."""
        planned = read(self.note).get(self.root)
        if is_plan(planned):
            return "as planned", planned
        try:
            known = state.State(self.root).read()
        except state.Failed:
            # A command that needs the record reports this.
            known = None
        return ("as applied", known["inputs"]) if known else ("by default", {})

    @property
    def note(self):
        return os.path.join(self.place, ".cache", "tune-plan.json")

    def remember(self):
        """Stores what was planned; false if that fails: the options then have to be given again."""
        plans = read(self.note)
        plans.pop(self.root, None)
        others = [root for root in plans if root != "/"]
        for root in others[: max(0, len(others) + 1 - PLANS)]:
            del plans[root]
        return self.write({**plans, self.root: {name: getattr(self, name) for name in DEFAULTS}})

    def forget(self):
        """What was planned is applied."""
        plans = read(self.note)
        if plans.pop(self.root, None) is not None:
            self.write(plans)

    def write(self, plans):
        try:
            os.makedirs(os.path.dirname(self.note), exist_ok=True)
            with open(self.note, "w", encoding="ascii") as file:
                json.dump(plans, file)
        except OSError:
            return False
        return True


def read(path):
    """Plans by the root of their machine; anything else was not written by this program."""
    try:
        with open(path, encoding="ascii") as file:
            plans = json.load(file)
    except (OSError, ValueError, RecursionError):
        return {}
    return plans if isinstance(plans, dict) else {}


def is_plan(found):
    """The note may have been written by another user."""
    if not isinstance(found, dict):
        return False
    cpus = found.get("network_cpus")
    return (
        is_number(found.get("connections"), 1, 100_000_000)
        and are_numbers(found.get("ports"), 1, hosts.PORT_MAX)
        and (cpus is None or are_numbers(cpus, 0, hosts.CPU_MAX))
    )


def are_numbers(found, least, most):
    whole = isinstance(found, list) and found != []
    return whole and all(is_number(it, least, most) for it in found)


def is_number(found, least, most):
    return type(found) is int and least <= found <= most

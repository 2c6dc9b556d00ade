"""Reads the tuning files: lines into items, and what they want into numbers.

Must not know the machine. A malformed line is an error with its file and number, never a guess.
"""

import re

RULES = ("=", ">=", "<=", "is", "in", "covers", "holds", "mask", "cpus")
NUMERIC = ("=", ">=", "<=", "covers")
NAMES = ("connections", "cores", "memory_bytes", "memory_pages", "page_bytes")
PLACEMENTS = {"mask": ("rps", "xps"), "cpus": ("irq",)}
COLUMNS = 5
UNLIMITED = "unlimited"
TOKEN = re.compile(r"\s*(?:([0-9][0-9_]*)|([a-z_]+)|([-+*/(),]))")


class Malformed(Exception):
    """A tuning file that cannot be read: where, and why."""

    def __init__(self, path, line, why):
        super().__init__(f"{path}:{line}: {why}")


class Line:
    """One item of a tuning file."""

    def __init__(self, path, number, columns):
        self.path, self.number = path, number
        self.name, self.rule, self.want, self.cost, self.why = columns


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
        raise Malformed(path, 1, "no item in it")
    names = {}
    for line in lines:
        if line.name in names:
            raise Malformed(
                path, line.number, f"{line.name} is there twice, first in line {names[line.name]}"
            )
        names[line.name] = line.number
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
        raise Malformed(path, number, f"{line.name!r} is no name")
    if line.rule not in RULES:
        raise Malformed(path, number, f"unknown rule {line.rule!r}: one of {' '.join(RULES)}")
    check_want(line)
    return line


def check_want(line):
    def fail(why):
        raise Malformed(line.path, line.number, why)

    if line.rule in NUMERIC:
        try:
            found = numbers(line.want, {name: 1 for name in NAMES})
        except ValueError as error:
            fail(error)
        if line.rule == "covers" and (len(found) != 2 or found[0] > found[1]):
            fail(f"{line.want!r} is no range: first and last")
    elif line.rule in PLACEMENTS and line.want not in PLACEMENTS[line.rule]:
        fail(f"unknown placement {line.want!r}: one of {' '.join(PLACEMENTS[line.rule])}")
    elif line.rule == "holds" and line.want != "ports":
        fail(f"{line.want!r} cannot be held: only ports can")


def numbers(text, values):
    """The numbers that a column stands for: one, or as many sums as stand beside each other."""
    if text == UNLIMITED:
        return [float("inf")]
    tokens, at = [], 0
    while at < len(text.rstrip()):
        found = TOKEN.match(text, at)
        if not found:
            raise ValueError(f"{text[at:].strip()[:12]!r} is neither a number nor a name")
        tokens.append(found.group(1, 2, 3))
        at = found.end()
    parser = Sums(tokens, values)
    results = [parser.sum()]
    while parser.at < len(tokens):
        results.append(parser.sum())
    return results


class Sums:
    """Sums of whole numbers: + - * /, min(), max(), parentheses; / rounds down."""

    DEPTH = 32

    def __init__(self, tokens, values):
        self.tokens, self.values, self.at, self.depth = tokens, values, 0, 0

    def mark(self):
        return self.tokens[self.at][2] if self.at < len(self.tokens) else None

    def take(self, wanted):
        if self.mark() != wanted:
            raise ValueError(f"a {wanted!r} is missing")
        self.at += 1

    def sum(self):
        result = self.product()
        while self.mark() in ("+", "-"):
            sign = self.mark()
            self.at += 1
            other = self.product()
            result = result + other if sign == "+" else result - other
        return result

    def product(self):
        result = self.atom()
        while self.mark() in ("*", "/"):
            sign = self.mark()
            self.at += 1
            other = self.atom()
            if sign == "/" and other == 0:
                raise ValueError("division by zero")
            result = result * other if sign == "*" else result // other
        return result

    def atom(self):
        if self.at >= len(self.tokens):
            raise ValueError("the sum ends too early")
        number, name, mark = self.tokens[self.at]
        self.at += 1
        if number:
            return int(number.replace("_", ""))
        if name in ("min", "max"):
            self.take("(")
            return (min if name == "min" else max)(self.inside(","))
        if name:
            if name not in self.values:
                raise ValueError(f"unknown name {name!r}: one of {' '.join(sorted(self.values))}")
            return self.values[name]
        if mark == "(":
            return self.inside(None)[0]
        raise ValueError(f"{mark!r} stands where a number should")

    def inside(self, separator):
        self.depth += 1
        if self.depth > self.DEPTH:
            raise ValueError("too many parentheses")
        found = [self.sum()]
        while separator and self.mark() == separator:
            self.at += 1
            found.append(self.sum())
        self.take(")")
        self.depth -= 1
        return found

"""Sums of a tuning file into numbers. Knows the machine only by its named numbers."""

import re

NAMES = ("connections", "cores", "memory_bytes", "memory_pages", "page_bytes")
UNLIMITED = "unlimited"
TOKEN = re.compile(r"\s*(?:([0-9][0-9_]*)|([a-z_]+)|([-+*/(),]))")
# The largest value of the kernel's counters; longer numbers are refused.
MOST = 2**64 - 1
DIGITS = 30


def numbers(text, values):
    """The numbers that a column stands for: one, or several sums separated by spaces."""
    found = calculated(text, values)
    for one in found:
        if one < 0:
            raise ValueError(f"{text!r} comes to {one}, below 0")
        if one != float("inf") and one > MOST:
            raise ValueError(f"{text!r} comes to more than {MOST}")
    return found


def shape(text):
    """Could it be calculated? A sum that names the machine is, once the machine is known."""
    if named(text):
        calculated(text, dict.fromkeys(NAMES, 1), lenient=True)
    else:
        numbers(text, {})


def named(text):
    """What it names of the machine."""
    return [name for name in NAMES if re.search(rf"\b{name}\b", text)]


def calculated(text, values, lenient=False):
    if text == UNLIMITED:
        return [float("inf")]
    tokens, at = [], 0
    while at < len(text.rstrip()):
        found = TOKEN.match(text, at)
        if not found:
            raise ValueError(f"{text[at:].strip()[:12]!r} is neither a number nor a name")
        tokens.append(found.group(1, 2, 3))
        at = found.end()
    parser = Sums(tokens, values, lenient)
    results = [parser.sum()]
    while parser.at < len(tokens):
        results.append(parser.sum())
    return results


class Sums:
    """Sums of whole numbers: + - * /, min(), max(), parentheses; / rounds down."""

    DEPTH = 32

    def __init__(self, tokens, values, lenient):
        self.tokens, self.values, self.at, self.depth = tokens, values, 0, 0
        self.lenient = lenient

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
                if not self.lenient:
                    raise ValueError("division by zero")
                other = 1
            result = result * other if sign == "*" else result // other
        return result

    def atom(self):
        if self.at >= len(self.tokens):
            raise ValueError("the sum ends too early")
        number, name, mark = self.tokens[self.at]
        self.at += 1
        if number:
            if len(number) > DIGITS:
                raise ValueError(f"{number[:12]}... is too large")
            return int(number.replace("_", ""))
        if name in ("min", "max"):
            self.take("(")
            return (min if name == "min" else max)(self.inside(","))
        if name:
            if name not in self.values:
                raise ValueError(f"unknown name {name!r}: one of {' '.join(sorted(NAMES))}")
            return self.values[name]
        if mark == "(":
            return self.inside(None)[0]
        raise ValueError(f"there is {mark!r} instead of a number")

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

"""Reads callgrind's inclusive counts, divides them, and compares them with the committed ones."""

import json
import re
import sys

# What is counted: a function of examples/instructions.rs, and how often it does its work.
PATHS = {
    "delivery": ("fan_out", 100 * 1_000, "one of 1,000 deliveries, from command to send"),
    "publish": ("publish_alone", 100, "a publish command with nobody subscribed, and its answer"),
    "rpc": ("rpc", 100, "an rpc command and its answer"),
    "unmask_kib": ("unmask", 64, "unmasking 1 KiB"),
    "json_envelope": ("read_envelope", 1_000, "reading a publish command of 110 bytes"),
    "deframe": ("deframe", 1_000, "cutting out and unmasking a frame of 110 bytes"),
    "json_framing": ("write_push", 1_000, "framing a publication of 64 bytes"),
}
RISE_MAX = 1.05


def counted(text):
    """Instructions of each path, from the annotated call of its function."""
    counts = {}
    for path, (function, times, _) in PATHS.items():
        call = re.search(rf"^\s*([\d,]+) .*=> .*instructions::{function}\b", text, re.MULTILINE)
        if not call:
            sys.exit(f"instructions: {function} was not counted; was it inlined?")
        counts[path] = round(int(call[1].replace(",", "")) / times, 1)
    return counts


def main():
    name = sys.argv[1]
    counts = counted(sys.stdin.read())
    if "--accept" in sys.argv[2:]:
        with open(name, "w", encoding="utf-8") as file:
            json.dump(counts, file, indent=2)
            file.write("\n")
        print(f"written to {name}")
    try:
        with open(name, encoding="utf-8") as file:
            accepted = json.load(file)
    except (OSError, ValueError) as error:
        sys.exit(f"instructions: {name}: {error}; write it with scripts/instructions --accept")
    failed = False
    for path, count in counts.items():
        before = accepted.get(path)
        over = before is None or count > before * RISE_MAX
        failed |= over
        change = "" if before is None else f"{100 * (count / before - 1):+6.1f} %"
        print(f"{'OVER' if over else 'ok':4} {path:14} {count:10,.1f} {change}  {PATHS[path][2]}")
    if failed:
        sys.exit("instructions: over 5 % more than committed. If that is worth it:"
                 " scripts/instructions --accept, and say why in the commit")


main()

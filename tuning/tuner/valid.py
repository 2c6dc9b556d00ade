"""Is a record valid? A rollback relies on it, so every part is checked.

Must not know the machine. What is not right is a ValueError that says where, and why.
"""

import os

KINDS = ("value", "file", "link", "folder")


def check(state):
    """Checks everything that a rollback relies on."""
    if not isinstance(state, dict):
        raise ValueError("it is not a JSON object")
    if state.get("version") != 1:
        raise ValueError("it is not of version 1")
    inputs = state.get("inputs")
    if not isinstance(inputs, dict) or not is_whole(inputs.get("connections")):
        raise ValueError("its inputs do not say how many connections")
    if not all(isinstance(inputs.get(key), list) for key in ("ports", "only")):
        raise ValueError("its inputs do not say which ports and groups")
    if not isinstance(state.get("records"), list):
        raise ValueError("it has no list of records")
    if not isinstance(state.get("reload", False), bool):
        raise ValueError("its reload is neither true nor false")
    for number, record in enumerate(state["records"], 1):
        try:
            check_record(record)
        except ValueError as error:
            raise ValueError(f"record {number}: {error}") from None


def check_record(record):
    if not isinstance(record, dict):
        raise ValueError("it is not a JSON object")
    path, kind = record.get("path"), record.get("kind")
    if not is_path(path) or not path.startswith("/") or os.path.normpath(path) != path:
        raise ValueError("its path is not a path")
    if kind not in KINDS:
        raise ValueError(f"its kind is none of {' '.join(KINDS)}")
    if "prior" not in record or "wrote" not in record:
        raise ValueError("it does not say what was there and what was written")
    prior, wrote = record["prior"], record["wrote"]
    if kind == "folder":
        if prior not in (None, True):
            raise ValueError("it does not say whether a directory existed")
        return
    if not isinstance(wrote, str) or not encodes(wrote, "utf-8"):
        raise ValueError("what was written is not text")
    if prior is None and kind != "value":
        return
    was = record.get("was", kind)
    if was not in ("value", "file", "link") or (was == "value") != (kind == "value"):
        raise ValueError("it does not say whether a file or a link was there")
    if was == "link" and not is_path(prior):
        raise ValueError("the link's target is not a path")
    if not isinstance(prior, str) or was != "link" and not encodes(prior, "latin-1"):
        raise ValueError("the previous contents are not text")
    if was == "file" and not all(is_whole(record.get(key)) for key in ("mode", "uid", "gid")):
        raise ValueError("the file's mode and owner are not numbers")


def is_whole(number):
    return type(number) is int and 0 <= number < 2**32


def is_path(text):
    return isinstance(text, str) and text != "" and "\0" not in text and encodes(text)


def encodes(text, encoding=None):
    try:
        text.encode(encoding) if encoding else os.fsencode(text)
    except UnicodeEncodeError:
        return False
    return True

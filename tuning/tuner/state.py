"""The previous values, on disk before anything is written, and how to restore them.

A record is a path, its kind and what it held. The first record of a path is kept: applying twice
does not forget the machine's own value. Going back twice, or after any interruption, is going back.
"""

import errno
import fcntl
import json
import os
import time

from . import valid

FOLDER = "/var/lib/corecast-tune"
NAME = "state.json"
# Beside a file that is being written; gone when it is in place.
PART = ".corecast-tune"


class Failed(Exception):
    """The record cannot be written or read: nothing was, or will be, changed."""


class State:
    """The records below a root, and the lock that allows only one tuner at a time."""

    def __init__(self, root):
        self.root = root.rstrip("/")
        self.folder = self.root + FOLDER
        self.path = f"{self.folder}/{NAME}"
        self.held = None

    def lock(self, make):
        if make:
            os.makedirs(self.folder, mode=0o700, exist_ok=True)
        try:
            self.held = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            return
        try:
            fcntl.flock(self.held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Failed("another tuner is running") from None

    def read(self):
        """The records, oldest first; none when nothing is applied."""
        try:
            with open(self.path, encoding="ascii") as file:
                state = json.load(file)
            valid.check(state)
            return state
        except FileNotFoundError:
            return None
        except RecursionError:
            error = "it is nested too deep"
        except OSError as refused:
            error = refused.strerror
        except ValueError as wrong:
            error = wrong
        raise Failed(f"{self.path} cannot be read: {error}; nothing was changed")

    def record(self, new, inputs, reload=False):
        """Adds records of paths that are not yet known, and waits for the disk."""
        state = self.read() or {"version": 1, "records": []}
        known = {record["path"]: record for record in state["records"]}
        for record in new:
            if record["path"] in known:
                known[record["path"]]["wrote"] = record["wrote"]
            else:
                state["records"].append(record)
        state.update(applied=int(time.time()), inputs=inputs, reload=reload)
        try:
            self.save(state)
        except Failed as error:
            raise Failed(f"{error}; nothing was changed") from None

    def drop(self, paths):
        """Forgets values that could not be written and are as they were."""
        state = self.read()
        state["records"] = [
            record
            for record in state["records"]
            if record["path"] not in paths or not holds(self.root, record)
        ]
        if state["records"] or state["reload"]:
            self.save(state)
        else:
            self.forget()

    def reloaded(self):
        """systemd has reloaded its units."""
        self.save({**self.read(), "reload": False})

    def save(self, state):
        part = self.path + PART
        try:
            put(part, json.dumps(state, indent=1).encode("ascii"), 0o600)
            os.rename(part, self.path)
            sync_folder(self.folder)
            sync_folder(os.path.dirname(self.folder))
        except OSError as error:
            raise Failed(f"{self.path} cannot be written: {error.strerror}") from None

    def forget(self):
        for path in (self.path, self.path + PART):
            if os.path.lexists(path):
                os.unlink(path)
        os.rmdir(self.folder)


def capture(root, path, kind, wrote):
    """A record of what `path` holds now; `prior` is None where nothing is there."""
    real = root + path
    record = {"path": path, "kind": kind, "wrote": wrote, "prior": None}
    if kind == "value":
        record["prior"] = read_value(real)
    elif kind == "folder":
        record["prior"] = True if os.path.isdir(real) else None
    elif os.path.islink(real):
        record.update(was="link", prior=os.readlink(real))
    elif os.path.lexists(real):
        seen = os.stat(real)
        record.update(was="file", prior=read_value(real))
        record.update(mode=seen.st_mode & 0o7777, uid=seen.st_uid, gid=seen.st_gid)
    return record


def read_value(path):
    with open(path, "rb") as file:
        return file.read().decode("latin-1")


def latin(text):
    """A written text in the form in which read_value() returns it."""
    return text.encode("utf-8").decode("latin-1")


def write_value(path, text):
    """One write call, as the kernel's files require."""
    handle = os.open(path, os.O_WRONLY | os.O_TRUNC)
    try:
        os.write(handle, text.encode("latin-1"))
    finally:
        os.close(handle)


def write_file(path, content, mode=0o644, owner=None):
    """Completely or not at all."""
    # A leftover of a killed run may be a link to another file.
    if os.path.lexists(path + PART):
        os.unlink(path + PART)
    put(path + PART, content, mode, owner)
    os.rename(path + PART, path)
    sync_folder(os.path.dirname(path))


def write_link(path, target):
    """Completely or not at all."""
    if os.path.lexists(path + PART):
        os.unlink(path + PART)
    os.symlink(target, path + PART)
    os.rename(path + PART, path)
    sync_folder(os.path.dirname(path))


def put(path, content, mode, owner=None):
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        if owner:
            os.fchown(file.fileno(), *owner)
        os.fchmod(file.fileno(), mode)
        os.fsync(file.fileno())


def sync_folder(path):
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def restore(root, record):
    """Restores the value of a record: "restored", "unchanged" or "gone"; OSError if it cannot."""
    real, prior = root + record["path"], record["prior"]
    if record["kind"] == "value":
        return restore_value(real, prior)
    if record["kind"] == "folder":
        return restore_folder(real, prior)
    if os.path.lexists(real + PART):
        os.unlink(real + PART)
    if is_as_before(real, record):
        return "unchanged"
    if prior is None:
        os.unlink(real)
    elif record.get("was", record["kind"]) == "link":
        write_link(real, prior)
    else:
        owner = (record["uid"], record["gid"])
        write_file(real, prior.encode("latin-1"), record["mode"], owner)
    return "restored"


def is_as_before(real, record):
    """Kind, contents, mode and owner."""
    now = capture("", real, record["kind"], None)
    known = ("was", "prior", "mode", "uid", "gid")
    before = {"was": record["kind"], **record} if record["prior"] is not None else record
    return all(now.get(key) == before.get(key) for key in known)


def restore_value(real, prior):
    try:
        now = read_value(real)
    except FileNotFoundError:
        return "gone"
    if now == prior:
        return "unchanged"
    # Of a value that lists all words the one in force is written; else what was read.
    word = prior.split("[", 1)[1].split("]", 1)[0] if "[" in prior else prior
    write_value(real, word)
    now = read_value(real)
    if now == word != prior:
        # It is a file, and no kernel makes the list of it again.
        write_value(real, prior)
        now = read_value(real)
    if now != prior:
        raise OSError(errno.EIO, f"it was {prior.strip()!r}, and reads {now.strip()!r}")
    return "restored"


def holds(root, record):
    """Is a value still what it was before?"""
    try:
        return read_value(root + record["path"]) == record["prior"]
    except OSError:
        return False


def restore_folder(real, prior):
    if prior or not os.path.isdir(real):
        return "unchanged"
    if os.listdir(real):
        return "unchanged"
    os.rmdir(real)
    return "restored"

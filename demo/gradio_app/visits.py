"""Visits apart: what one visitor has open, in memory and on disk, is nobody else's, and goes when they are gone.

A visit belongs to a Gradio session of one visitor, whom a cookie tells from others. Its files lie in a folder of its
own, under a name that cannot be guessed inside the visitor's folder, which `Gate` opens to that visitor alone.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from demo.gradio_app.desk import Desk, Drawn, Opened
from demo.gradio_app.refused import Refused
from demo.guard.visitors import new_secret
from demo.schemas import EverythingUpdate, FoundObject

IDLE_S = 3600
"""A visit that nobody used for so long is over."""
CLOSED_S = 300
"""So long one that was closed may come back: a phone closes the connection of a page that it puts aside."""
UPLOAD_S = 600
"""Uploads are read and removed at once; one that was never opened, or broke off, goes after this time."""
MOST_VISITS = 500
MOST_STEPS = 100
"""Steps that can be undone."""
_FOLDER = "visits-"
NO_VISITOR = "open"
"""Owner of the files of visitors whose browser keeps no cookie, as in a frame of another site."""


@dataclass(eq=False)
class Found:
    """What everything mode has found so far, by number, and how far it is."""

    objects: dict[int, tuple[FoundObject, Drawn]] = field(default_factory=dict)
    update: EverythingUpdate | None = None
    running: bool = True
    stopped: asyncio.Event = field(default_factory=asyncio.Event)


class Visit:
    """One visitor's desk with its past, what was found on the picture, and a folder. Steps hold `lock`.

    owner: the secret by which its pictures are its own, empty where they are shared by their content.
    """

    def __init__(self, folder: Path, visitor: str, owner: str = "") -> None:
        self.folder, self.visitor, self.owner = folder, visitor, owner
        self.lock = asyncio.Lock()
        self.past: list[Desk] = []
        self.now: Desk | None = None
        self.found: Found | None = None
        self.model: str | None = None  # the service's default
        self._files = 0

    @property
    def waits_as(self) -> str:
        """Who has turns in the server's lines: the visitor, or the visit itself where no cookie tells whose it is."""
        return self.visitor or self.folder.name

    @property
    def desk(self) -> Desk:
        """What lies on the desk; Refused before a picture is opened."""
        if self.now is None:
            raise Refused("No picture is open; open one first.")
        return self.now

    def open(self, picture: Opened) -> None:
        """A new picture: nothing of the last one stays."""
        self.stop()
        self.past, self.now, self.found = [], Desk(picture), None

    def step(self, desk: Desk) -> None:
        """The next state of the desk, which can be undone."""
        self.past = [*self.past, self.desk][-MOST_STEPS:]
        self.now = desk

    def undo(self) -> None:
        if not self.past:
            raise Refused("There is nothing to undo.")
        self.now = self.past.pop()

    def stop(self) -> None:
        """End a search that is under way; what it found stays."""
        if self.found is not None:
            self.found.stopped.set()

    def write(self, name: str, data: bytes) -> Path:
        """A file of this visit, under an address that no earlier one had."""
        self._files += 1
        folder = self.folder / str(self._files)
        folder.mkdir(parents=True)
        (folder / name).write_bytes(data)
        return folder / name

    def end(self) -> None:
        """Nothing stays, neither in memory nor on disk."""
        self.stop()
        self.past, self.now = [], None
        shutil.rmtree(self.folder, ignore_errors=True)


@dataclass
class _Entry:
    visit: Visit
    used_at: float
    closed: bool = False

    def is_over(self, now: float) -> bool:
        return now - self.used_at > (CLOSED_S if self.closed else IDLE_S)


class Visits:
    """All visits by visitor and session, and what Gradio's page keeps on disk: uploads in `root`, files in `folder`."""

    def __init__(self, root: Path, clock: Callable[[], float] = time.monotonic, *, private: bool = False) -> None:
        self.root, self.folder, self._clock = root, root / f"{_FOLDER}{secrets.token_hex(8)}", clock
        self.private = private
        self._entries: dict[tuple[str, str], _Entry] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._entries)

    def of(self, visitor: str, session: str) -> Visit:
        """The visit of a visitor's session; a new one at the first call. The oldest goes where there are too many."""
        with self._lock:
            entry = self._entries.pop((visitor, session), None) or _Entry(self._begin(visitor), 0)
            entry.used_at, entry.closed = self._clock(), False
            self._entries[visitor, session] = entry  # last in line
            over = list(self._entries)[:-MOST_VISITS]
        self._end(over)
        return entry.visit

    def close(self, visitor: str, session: str) -> None:
        """The page was closed: its visit ends soon, unless it comes back."""
        with self._lock:
            if entry := self._entries.get((visitor, session)):
                entry.used_at, entry.closed = self._clock(), True
                entry.visit.stop()

    def sweep(self) -> None:
        """End the visits that are over, and remove uploads that nobody opened."""
        now = self._clock()
        with self._lock:
            over = [key for key, entry in self._entries.items() if entry.is_over(now)]
        self._end(over)
        for path in self.root.iterdir():
            if not path.name.startswith(_FOLDER) and time.time() - path.stat().st_mtime > UPLOAD_S:
                remove(path)

    def end(self) -> None:
        """The server stops: no visit is left."""
        self._end(list(self._entries))
        shutil.rmtree(self.folder, ignore_errors=True)

    def _begin(self, visitor: str) -> Visit:
        owner = new_secret() if self.private else ""
        return Visit(self.folder / owner_of(visitor) / secrets.token_urlsafe(16), visitor, owner)

    def _end(self, keys: list[tuple[str, str]]) -> None:
        for key in keys:
            with self._lock:
                entry = self._entries.pop(key, None)
            if entry:
                entry.visit.end()


def owner_of(visitor: str) -> str:
    """The name of a visitor's folder, which tells nothing of the cookie."""
    return hashlib.sha256(visitor.encode()).hexdigest()[:32] if visitor else NO_VISITOR


def remove(path: Path) -> None:
    """A file, or a folder with all that is in it, if it is still there."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)

"""What the crowd was answered: right, an honest refusal, or wrong."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Literal

import httpx

Outcome = Literal["right", "busy", "made room", "left", "again", "gone", "wrong"]
OUTCOMES: dict[Outcome, str] = {
    "right": "the answer was checked and is right",
    "busy": "429 or 503 with Retry-After",
    "made room": "404 for a picture that left the cache for others; it can be uploaded again",
    "left": "the visitor went away before the answer, on purpose",
    "again": "a kept connection was closed while it was used again; asked once more, as browsers do",
    "gone": "asked after the server was told to stop, and not let in",
    "wrong": "anything else",
}
_REMEMBERED = 20


@dataclass
class Tally:
    """Counts of outcomes by what was asked, pictures by visitor, and words about what was wrong.

    stopped_at: when the server was told to stop (monotonic seconds); whoever asks later may find nobody.
    """

    counts: dict[str, Counter[Outcome]] = field(default_factory=lambda: defaultdict(Counter))
    waits: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    pictures: Counter[int] = field(default_factory=Counter)
    complaints: list[str] = field(default_factory=list)
    promised: list[int] = field(default_factory=list)
    stopped_at: float | None = None

    def note(self, what: str, outcome: Outcome, words: str = "") -> None:
        """One answer."""
        self.counts[what][outcome] += 1
        if outcome == "wrong" and len(self.complaints) < _REMEMBERED:
            self.complaints.append(f"{what}: {words}")

    def note_refusal(self, what: str, response: httpx.Response) -> int | None:
        """A refusal: seconds until one should come again, None where that is not said."""
        kind = problem_of(response)
        if response.status_code in (429, 503) and response.headers.get("retry-after", "").isdecimal():
            self.note(what, "busy")
            self.promised.append(int(response.headers["retry-after"]))
            return self.promised[-1]
        if kind == "/problems/unknown-picture":
            self.note(what, "made room")
        else:
            self.note(what, "wrong", f"{response.status_code} {kind} {response.headers.get('retry-after', '')}")
        return None

    def note_failure(self, what: str, began_at: float, error: Exception) -> None:
        """No answer at all: to be expected of a server that is stopping, of whoever was not let in any more."""
        late = self.stopped_at is not None and began_at >= self.stopped_at
        self.note(what, "gone" if late else "wrong", f"{type(error).__name__}: {error}")

    def stop(self) -> None:
        """The server is told to stop now."""
        self.stopped_at = time.monotonic()

    def total(self, outcome: Outcome) -> int:
        """Over everything that was asked."""
        return sum(counts[outcome] for counts in self.counts.values())


def problem_of(response: httpx.Response) -> str:
    """The type of a problem document; empty where it is none."""
    if response.headers.get("content-type") != "application/problem+json":
        return ""
    return str(response.json().get("type", ""))

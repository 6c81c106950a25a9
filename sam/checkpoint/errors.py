"""What is wrong with a checkpoint, in a sentence, and how its words are made."""

from __future__ import annotations

from collections.abc import Collection

NAMED_KEYS = 3
"""How many keys of each kind an error names."""


class CheckpointError(ValueError):
    """A file that cannot be loaded; the message names the file and the first few keys at fault."""


class CheckpointNotFoundError(CheckpointError, FileNotFoundError):
    """There is no such file, no model of that name, or it was published and is not on this machine."""

    __str__ = ValueError.__str__  # OSError would quote the message as a file name


def listed(names: Collection[str]) -> str:
    """The first few names, and whether there are more."""
    return ", ".join(list(names)[:NAMED_KEYS]) + (", ..." if len(names) > NAMED_KEYS else "")


def first_line(error: Exception) -> str:
    """What another library says in many lines."""
    return (str(error).splitlines() or [type(error).__name__])[0][:200]

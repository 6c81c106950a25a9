"""What the process holds on to: the C library's memory, with many threads."""

from __future__ import annotations

import ctypes
import sys
from contextlib import suppress

_M_ARENA_MAX = -8  # of glibc's malloc.h
_ARENAS = 2


def share_arenas() -> None:
    """Have all threads share two arenas of memory, where the C library is glibc.

    It gives every thread that asks one of its own, and each keeps what was once freed in it: pictures pass through so
    many threads that the process would hold several gigabytes for nothing. To be called before threads start.
    """
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # another C library
            ctypes.CDLL(None).mallopt(_M_ARENA_MAX, _ARENAS)

"""Text that the two languages write alike: JSON, XML, numbers, names of files."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from xml.sax.saxutils import escape

NO_FILE_NAME = re.compile(r'[\x00-\x1f\\/:*?"<>|]')


def encode_json(document: Any) -> bytes:
    """Compact UTF-8 with a line's end, as `JSON.stringify` writes it; numbers must come from `number` or be whole."""
    return (json.dumps(document, ensure_ascii=False, separators=(",", ":"), allow_nan=False) + "\n").encode()


def decode_json(data: bytes) -> Any:
    """Parsed JSON; `ValueError` says where it breaks off."""
    try:
        return json.loads(data.decode("utf-8-sig"), parse_constant=_no_constant)
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 text (byte {error.start}); save it as UTF-8") from error
    except json.JSONDecodeError as error:
        raise ValueError(f"not complete JSON: {error}; export it again") from error
    except RecursionError as error:
        raise ValueError("not JSON that can be read: nested too deeply") from error


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number; export it again")


def number(value: float, digits: int = 2) -> int | float:
    """A number rounded half up to `digits` decimals, an int where it is whole, so that it prints alike everywhere."""
    scale = 10**digits
    rounded = math.floor(value * scale + 0.5) / scale
    return int(rounded) if rounded == int(rounded) else rounded


def fixed(value: float, digits: int) -> str:
    """A number from 0 up, rounded half up, with exactly `digits` decimals."""
    whole = str(math.floor(value * 10**digits + 0.5)).rjust(digits + 1, "0")
    return f"{whole[:-digits]}.{whole[-digits:]}"


def attribute(value: Any) -> str:
    """A value as a quoted XML attribute."""
    return '"' + escape(str(value), {'"': "&quot;"}) + '"'


def content(value: Any) -> str:
    """A value as XML text."""
    return escape(str(value))


def stem(name: str) -> str:
    """A file name without folder and suffix, and without what file systems refuse; `picture` where nothing is left."""
    last = re.split(r"[\\/]", name)[-1]
    bare = re.sub(r"\.[^.]*$", "", last) or last
    return NO_FILE_NAME.sub("_", bare).strip(" .") or "picture"


@contextmanager
def entry(name: str) -> Iterator[None]:
    """What goes wrong within is a `ValueError` that names this entry of a file."""
    try:
        yield
    except KeyError as error:
        raise ValueError(f"{name}: {error} is missing") from error
    except (TypeError, AttributeError, IndexError, OverflowError) as error:
        raise ValueError(f"{name}: not what it should be ({type(error).__name__}: {error})") from error
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error

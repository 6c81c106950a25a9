"""Files to take home, and back: every format writes a `Session` to files by name, and some read it again.

>>> files = WRITERS["coco"](session)
>>> session = READERS["coco"](files["cat.coco.json"], picture)

A new format is a module with `write`, and `read` where it makes sense, and a line here.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from . import archive, arrays, coco, cvat, geojson, labelme, png, svg, voc, yolo
from . import session as sessions
from .session import Files, MaskObject, Picture, Session

__all__ = ["READERS", "WRITERS", "Files", "MaskObject", "Picture", "Session", "write_all"]

WRITERS: dict[str, Callable[..., Files]] = {
    "session": sessions.write,
    "coco": coco.write,
    "coco-polygons": partial(coco.write, polygons=True),
    "labelme": labelme.write,
    "yolo": yolo.write,
    "svg": svg.write,
    "geojson": geojson.write,
    "cvat": cvat.write,
    "voc": voc.write,
    "masks": png.write_binary,
    "indexed": png.write_indexed,
    "numpy": arrays.write,
}
READERS: dict[str, Callable[..., Session]] = {
    "session": sessions.read,
    "coco": coco.read,
    "labelme": labelme.read,
    "yolo": yolo.read,
    "png": png.read,
    "zip": archive.read,
}


def write_all(session: Session, formats: list[str] | None = None) -> Files:
    """NAME.zip with the session and these formats (all by default); `ValueError` names one that is unknown."""
    names = [name for name in WRITERS if name != "session"] if formats is None else formats
    if unknown := [name for name in names if name not in WRITERS]:
        raise ValueError(f"the format {unknown[0]!r} is unknown; there are {', '.join(WRITERS)}")
    return archive.write(session, {name: WRITERS[name](session) for name in names})

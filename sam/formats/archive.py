"""One zip for a whole session: any of the formats in their own folders, and the session itself, which comes back."""

from __future__ import annotations

import io
import zipfile
import zlib

from . import session as sessions
from .session import Files, Picture, Session

DATE = (1980, 1, 1, 0, 0, 0)
"""Of every entry, so that the same work gives the same file."""
LARGEST = 1 << 30
"""Bytes that a session in a zip may unpack to."""


def pack(files: Files) -> bytes:
    """A zip of files by name; pictures are stored as they are, all else is deflated."""
    with io.BytesIO() as file:
        with zipfile.ZipFile(file, "w") as archive:
            for name, data in files.items():
                stored = name.lower().endswith((".png", ".jpg", ".jpeg", ".webp", ".npz"))
                kind = zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED
                archive.writestr(zipfile.ZipInfo(name, DATE), data, compress_type=kind)
        return file.getvalue()


def write(session: Session, folders: dict[str, Files] | None = None) -> Files:
    """NAME.zip with NAME.session.json and the given exports, each in its folder."""
    inside = dict(sessions.write(session))
    for folder, files in (folders or {}).items():
        inside |= {f"{folder}/{name}": data for name, data in files.items()}
    return {f"{session.picture.stem}.zip": pack(inside)}


def read(data: bytes, picture: Picture | None = None) -> Session:
    """The session of such a zip, of several the one with `picture`'s name; `ValueError` as `read_all`."""
    found = read_all(data)
    own = [each for each in found if picture is not None and each.picture.stem == picture.stem]
    if len(found) > 1 and not own:
        names = ", ".join(each.picture.name for each in found[:3])
        raise ValueError(f"it holds {len(found)} sessions ({names} ...); say which picture")
    (session, *_) = own or found
    if picture is not None:
        sessions.require_size(session.picture, picture)
        session = Session(picture, session.objects)
    return session


def read_all(data: bytes) -> list[Session]:
    """Every session of such a zip; `ValueError` if it is damaged, too large or has none."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            found = [item for item in archive.infolist() if item.filename.endswith(".session.json")]
            for item in found:
                if item.file_size > LARGEST:
                    raise ValueError(f"its {item.filename} has {item.file_size} bytes; at most {LARGEST} are read")
            contents = [archive.read(item) for item in found]
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError) as error:
        raise ValueError(f"not a zip that can be read ({error}); export it again") from error
    if not contents:
        raise ValueError("it holds no NAME.session.json; a zip of the page or of `write_all` has one")
    return [sessions.read(content) for content in contents]

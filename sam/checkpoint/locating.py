"""Where the weights lie that somebody names."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from ..config import Preprocessing
from ..hub.downloads import DownloadError, downloaded, how_to_get
from ..hub.downloads import download as fetch_published
from ..hub.published import PUBLISHED, Published, find_published
from .errors import CheckpointNotFoundError

WEIGHTS_FOLDER = Path(__file__).parents[1] / "weights"
EMBEDDED = {"tiny": WEIGHTS_FOLDER / "tiny.safetensors"}
"""Models that come with the package, by name."""

FOLDER_FILES = ("model.safetensors", "pytorch_model.bin")


@dataclass(frozen=True)
class Located:
    """A weights file on this machine, and how its pictures are prepared where the name it was found by tells."""

    path: Path
    preprocessing: Preprocessing | None = None


def locate(source: str | Path, *, download: bool = False) -> Located:
    """Find what `load_sam` is asked for: an embedded model, then a path, then a published checkpoint by its name.

    Raises `CheckpointNotFoundError`, and `TypeError` for anything but a name or a path.
    """
    if not isinstance(source, str | os.PathLike):
        raise TypeError(f"source is {type(source).__name__}; give the name of a model, a file or a folder")
    embedded = EMBEDDED.get(source) if isinstance(source, str) else None
    if embedded is not None and not embedded.exists():
        raise CheckpointNotFoundError(
            f"{source}: the embedded weights {embedded} are missing; reinstall, or give a file"
        )
    path = embedded or Path(source).expanduser()
    if path.is_dir():
        files = [path / name for name in FOLDER_FILES if (path / name).exists()]
        if not files:
            raise CheckpointNotFoundError(f"{path}: the folder holds none of {', '.join(FOLDER_FILES)}")
        return Located(files[0])
    if path.exists():
        return Located(path)
    published = find_published(source) if isinstance(source, str) else None
    if published is None:
        names = ", ".join((*EMBEDDED, *PUBLISHED))
        raise CheckpointNotFoundError(f"{source}: no such file, and no model of that name ({names})")
    return Located(_from_cache(published, download=download), published.preprocessing)


def _from_cache(published: Published, *, download: bool) -> Path:
    try:
        path = fetch_published(published) if download else downloaded(published)
    except DownloadError as error:
        raise CheckpointNotFoundError(str(error)) from error
    if path is None:
        raise CheckpointNotFoundError(
            f"{published.name}: no such file, and {published.title} has not been downloaded; agree with download=True "
            f"or `python -m sam download {published.name}`, or {how_to_get(published)}"
        )
    return path

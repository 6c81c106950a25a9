"""The command `python -m sam convert`: what one tool wrote becomes what another reads."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from PIL import Image, ImageOps

from . import READERS, WRITERS, archive, coco, yolo
from .session import Picture, Session
from .text import decode_json, entry

EPILOG = """\
examples:
  python -m sam convert cat.zip out --format coco
  python -m sam convert labels/cat.txt out --format labelme --image cat.jpg --names data.yaml
  python -m sam convert instances.json out --format yolo --image photographs/cat.jpg
What IN is, its content tells. YOLO's files do not know their picture's size, and COCO's may describe many pictures:
--image names the one that is meant.
"""


def add_convert(commands: argparse._SubParsersAction) -> None:
    """Describe the `convert` command."""
    convert = commands.add_parser(
        "convert",
        help="annotations from one format to another",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    convert.add_argument(
        "source", type=Path, metavar="IN", help="COCO, LabelMe, YOLO, a PNG mask, a session or its zip"
    )
    convert.add_argument("output", type=Path, metavar="OUT", help="folder for the files")
    convert.add_argument("--format", choices=WRITERS, required=True)
    convert.add_argument("--image", type=Path, help="the picture that IN was made for")
    convert.add_argument("--names", type=Path, help="data.yaml with the names of YOLO's classes")
    convert.set_defaults(run=run_convert)


def run_convert(options: argparse.Namespace) -> int:
    """Run the command; `ValueError` says what cannot be read."""
    with entry(options.source.name):
        sessions = read_any(options.source, options.image, options.names)
        if options.format == "voc" and len(sessions) > 1:
            raise ValueError(f"it describes {len(sessions)} pictures, Pascal VOC's lists one; name it with --image")
    labels = list(dict.fromkeys(label for session in sessions for label in session.labels))
    shared = {"labels": labels} if options.format == "yolo" else {}
    for session in sessions:
        for name, data in WRITERS[options.format](session, **shared).items():
            path = options.output / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            print(path)
    return 0


def read_any(source: Path, image: Path | None = None, names: Path | None = None) -> list[Session]:
    """The sessions in a file of any format that is read. `ValueError` says what it lacks."""
    data, picture = source.read_bytes(), _picture(image)
    suffix = source.suffix.lower()
    if suffix == ".zip":
        return [archive.read(data, picture)] if picture else archive.read_all(data)
    if suffix == ".png":
        return [READERS["png"](data, picture or Picture(source.name, *_size(source)))]
    if suffix == ".txt":
        if picture is None:
            raise ValueError("YOLO's labels do not know their picture's size; name it with --image")
        return [yolo.read(data, picture, yolo.read_names(names.read_bytes()) if names else ())]
    return _read_json(data, picture)


def _read_json(data: bytes, picture: Picture | None) -> list[Session]:
    document = decode_json(data)
    kinds: dict[str, Callable[[], list[Session]]] = {
        "annotations": lambda: coco.read_all(data) if picture is None else [coco.read(data, picture)],
        "shapes": lambda: [READERS["labelme"](data, picture)],
        "objects": lambda: [READERS["session"](data, picture)],
    }
    for key, read in kinds.items():
        if isinstance(document, dict) and key in document:
            return read()
    raise ValueError("neither COCO ('annotations') nor LabelMe ('shapes') nor a session ('objects')")


def _picture(path: Path | None) -> Picture | None:
    return None if path is None else Picture(path.name, *_size(path))


def _size(path: Path) -> tuple[int, int]:
    """Width and height, upright."""
    with Image.open(path) as image:
        return ImageOps.exif_transpose(image).size

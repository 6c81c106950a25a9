"""Pascal VOC's folders: boxes as XML, segmentations by object and by class as indexed PNG. Later objects lie above.

Source: Everingham et al. 2010, the VOC2012 development kit: pixels count from 1, boxes include their last ones.
`labelmap.txt` is CVAT's and Datumaro's.
"""

from __future__ import annotations

import numpy as np

from ..masks import rle_window
from . import png
from .session import Files, MaskObject, Session, palette_colour
from .shapes import flatten
from .text import content


def write(session: Session) -> Files:
    """Annotations/, ImageSets/, SegmentationClass/, SegmentationObject/ and labelmap.txt.

    `ValueError` for more than 254 objects: the files have 8 bits, and 255 means "ignore".
    """
    objects, classes, name = session.objects, session.classes, session.picture.stem
    if len(objects) > png.MOST_IDS:
        raise ValueError(f"Pascal VOC holds {png.MOST_IDS} objects in a picture, these are {len(objects)}; use COCO")
    by_object = flatten(objects, session.picture, range(1, 1 + len(objects))).astype(np.uint8)
    by_class = flatten(objects, session.picture, [1 + classes[item.label] for item in objects]).astype(np.uint8)
    colours = [("background", 0), *((label, 1 + index) for label, index in classes.items())]
    return {
        f"Annotations/{name}.xml": _boxes(session).encode(),
        "ImageSets/Main/default.txt": f"{name}\n".encode(),
        "ImageSets/Segmentation/default.txt": f"{name}\n".encode(),
        f"SegmentationClass/{name}.png": png.encode(by_class, png.palette({})),
        f"SegmentationObject/{name}.png": png.encode(by_object, png.palette({})),
        "labelmap.txt": "".join(_map_line(label, index) for label, index in colours).encode(),
    }


def _map_line(label: str, index: int) -> str:
    colour = palette_colour(index)
    return f"{label.replace(':', '_')}:{','.join(str(int(colour[at : at + 2], 16)) for at in (1, 3, 5))}::\n"


def _boxes(session: Session) -> str:
    picture = session.picture
    size = f"<width>{picture.width}</width><height>{picture.height}</height><depth>3</depth>"
    lines = ["<annotation>", "  <folder></folder>", f"  <filename>{content(picture.name)}</filename>"]
    lines += [f"  <size>{size}</size>", "  <segmented>1</segmented>", *map(_box, session.objects)]
    return "\n".join([*lines, "</annotation>", ""])


def _box(item: MaskObject) -> str:
    x, y, width, height = rle_window(item.mask)
    corners = (("xmin", x + 1), ("ymin", y + 1), ("xmax", x + width), ("ymax", y + height))
    box = "".join(f"<{key}>{value}</{key}>" for key, value in corners)
    return (
        f"  <object><name>{content(item.label)}</name><pose>Unspecified</pose><truncated>0</truncated>"
        f"<difficult>0</difficult><bndbox>{box}</bndbox></object>"
    )

"""Writes formats.json: a session, and the files that both languages must make of it, byte for byte.

Run as `python tests/vectors/make_vectors.py` when a format is meant to change; the tests of both languages read it.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path

import numpy as np

from sam.formats import WRITERS, MaskObject, Picture, Session, png
from sam.formats import session as sessions
from sam.formats.arrays import npy
from sam.formats.shapes import into_layers
from sam.masks import rle_crop, rle_encode
from sam.mattes import _grown, matte
from sam.polygons import fill_holes, outline, remove_islands, simplify, trace

VECTORS = Path(__file__).with_name("formats.json")
WIDTH, HEIGHT = 57, 41


def make_masks() -> dict[str, np.ndarray]:
    """Shapes with holes, parts, saddles and borders."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    angle, radius = np.arctan2(rows - 20, columns - 26), np.hypot(rows - 20, columns - 26)
    noise = np.random.default_rng(7).random((HEIGHT, WIDTH))
    ring = (radius < 17) & (radius > 9) | (radius < 4)
    ring[1, 1] = ring[2, 2] = ring[40, 56] = True
    border = np.zeros((HEIGHT, WIDTH), bool)
    border[:, :3] = border[38:, :] = True
    pixel = np.zeros((HEIGHT, WIDTH), bool)
    pixel[30, 5] = True
    return {
        "flower": radius < 14 * (1 + 0.25 * np.sin(5 * angle)),
        'ring "ö" <&> 目标 🎯': ring,
        "noise: a, b": (noise > 0.45) & (columns > 30),
        "border": border,
        "pixel": pixel,
        "- wedge": columns + 2 * rows < 60,
        "all": np.ones((HEIGHT, WIDTH), bool),
    }


def make_session() -> Session:
    objects = [
        MaskObject(
            label if index != 4 else "flower",
            rle_encode(mask),
            sessions.palette_colour(40 + index),
            index != 3,
            None if index == 2 else index / 8,
            {"clicks": [{"x": 3, "y": 4.5, "label": 1}], "box": None} if index == 1 else None,
        )
        for index, (label, mask) in enumerate(make_masks().items())
    ]
    return Session(Picture("IMG 01.small.jpeg", WIDTH, HEIGHT), tuple(objects))


def make_vectors() -> dict:
    """Text formats as text, pictures and arrays as base64; arithmetic on every mask as numbers."""
    session = make_session()
    texts = {}
    for format in ("session", "coco", "coco-polygons", "geojson", "yolo", "cvat"):
        texts[format] = _texts(WRITERS[format](session))
    for format in ("coco-polygons", "geojson", "yolo", "svg"):
        texts[f"{format} exact"] = _texts(WRITERS[format](session, tolerance=0))
    texts["labelme"] = _texts(WRITERS["labelme"](_without_holes(session)))
    texts["voc"] = {name: data.decode() for name, data in WRITERS["voc"](session).items() if not name.endswith(".png")}
    layers = into_layers(session.objects, session.picture, 65535)
    return {
        "session": json.loads(texts["session"]["IMG 01.small.session.json"]),
        "texts": texts,
        "indexed": {name: _base64(data) for name, data in png.write_indexed(session).items()},
        "npy": {"ids.npy": _base64(npy(np.stack(layers.ids))), "labels.npy": _base64(npy(_labels(session)))},
        "feathered": [_base64(png.feathered(rle_crop(item.mask)[0], 2.5).tobytes()) for item in session.objects],
        "matte": _matte(make_masks()["flower"]),
        "arithmetic": [_arithmetic(rle_crop(item.mask)[0]) for item in session.objects],
    }


def _matte(mask: np.ndarray) -> dict:
    """A picture with a soft edge around one mask, and its alpha in 255ths."""
    random = np.random.default_rng(3)
    colour = np.where(_grown(mask, 1)[..., None] ^ mask[..., None], (110, 100, 90), np.where(mask[..., None], 180, 40))
    image = np.clip(colour + random.normal(0, 3, colour.shape), 0, 255).astype(np.uint8)
    rows = np.mgrid[:HEIGHT, :WIDTH][0]
    logits = np.where(mask, 3, -3) * (rows > 12) + np.where(mask, 1, -1) * (rows <= 12)
    alphas = [matte(image, mask, 4), matte(image, mask, 4, logits)]
    found = [_base64(np.floor(255.0 * alpha + 0.5).astype(np.uint8).tobytes()) for alpha in alphas]
    return {"image": _base64(image.tobytes()), "logits": _base64(logits.astype(np.int8).tobytes()), "alphas": found}


def _labels(session: Session) -> np.ndarray:
    return np.array([item.label for item in session.objects], dtype=np.str_)


def _without_holes(session: Session) -> Session:
    """LabelMe's bitmaps are PNG, whose bytes depend on the library that packs them."""
    plain = [item for item in session.objects if item.label in ("flower", "border", "- wedge")]
    return Session(session.picture, tuple(plain))


def _texts(files: dict[str, bytes]) -> dict[str, str]:
    return {name: data.decode() for name, data in files.items()}


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _arithmetic(crop: np.ndarray) -> dict:
    rings, found = trace(crop), outline(crop)
    return {
        "traced": [ring.ravel().tolist() for ring in rings],
        "simplified": [simplify(ring, 1.0)[0].ravel().tolist() for ring in rings],
        "outline": [[ring.ravel().tolist() for ring in polygon] for polygon in found.polygons],
        "error": found.error,
        "without holes": rle_encode(fill_holes(crop, 5))["counts"],
        "without islands": rle_encode(remove_islands(crop, 5))["counts"],
    }


if __name__ == "__main__":
    VECTORS.write_text(json.dumps(make_vectors(), ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")

"""PNG: each mask by itself, all of them as ids with a palette, cut-outs with a soft edge; and back to objects.

An indexed file carries its labels as JSON in a text chunk called `objects`. Objects that overlap go into several files
NAME.0.png, NAME.1.png ..., which is the layout of folders that `sam.datasets` reads for training.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, PngImagePlugin

from ..masks import Window, crop_to_rle, rle_crop, rle_encode
from ..mattes import matte
from .session import Files, MaskObject, Picture, Session, class_colour, palette_colour, require_size
from .shapes import into_layers
from .text import decode_json, entry, stem

MOST_IDS = 254
"""0 is nothing, and 255 is Pascal VOC's "ignore"."""
VOID = 255
LABELS = "objects"


def write_binary(session: Session) -> Files:
    """NAME.1.LABEL.png ... of the picture's size, 255 on the mask and 0 elsewhere."""
    files = {}
    for index, item in enumerate(session.objects):
        crop, (x, y, width, height) = rle_crop(item.mask)
        pixels = np.zeros(session.picture.size, np.uint8)
        pixels[y : y + height, x : x + width] = crop * np.uint8(255)
        files[f"{session.picture.stem}.{index + 1}.{stem(item.label)}.png"] = encode(pixels)
    return files


def write_indexed(session: Session) -> Files:
    """NAME.0.png, and NAME.1.png ... where objects overlap: 0 is nothing, 1 to 254 are objects in their colours."""
    layers = into_layers(session.objects, session.picture, MOST_IDS)
    files = {}
    for index, ids in enumerate(layers.ids):
        members = [order for order, layer in enumerate(layers.layer) if layer == index]
        objects = [_entry(layers.id[order], order, session.objects[order]) for order in members]
        colours = {1 + at: session.objects[order].colour for at, order in enumerate(members)}
        text = {LABELS: json.dumps(objects, ensure_ascii=False, separators=(",", ":"))}
        files[f"{session.picture.stem}.{index}.png"] = encode(ids.astype(np.uint8), palette(colours), text)
    return files


def _entry(id: int, order: int, item: MaskObject) -> dict[str, Any]:
    return {"id": id, "order": order, "label": item.label, "colour": item.colour, "visible": item.visible}


def palette(colours: dict[int, str]) -> bytes:
    """768 bytes: Pascal VOC's colours, with these instead where given."""
    return b"".join(bytes.fromhex(colours.get(index, palette_colour(index))[1:]) for index in range(256))


def encode(pixels: np.ndarray, colours: bytes | None = None, text: dict[str, str] | None = None) -> bytes:
    """A PNG of (H, W) or (H, W, 4) uint8 pixels; with a palette of 768 bytes, in which 0 is transparent, if given."""
    image = Image.fromarray(pixels)
    info = PngImagePlugin.PngInfo()
    for key, value in (text or {}).items():
        info.add_itxt(key, value)
    if colours is not None:
        image.putpalette(colours)  # makes a grey picture an indexed one
    with io.BytesIO() as file:
        image.save(file, "PNG", pnginfo=info, **({} if colours is None else {"transparency": 0}))
        return file.getvalue()


def decode(data: bytes) -> np.ndarray:
    """One number a pixel, (H, W) int32: ids of an indexed or grey PNG, alpha of one with colours and alpha.

    `ValueError` for what is no PNG, is damaged, or has neither.
    """
    return _opened(data)[0]


def _opened(data: bytes) -> tuple[np.ndarray, dict[str, Any]]:
    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            image.load()
            mode, info, pixels = image.mode, {**image.info, "mode": image.mode}, np.array(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"not a PNG that can be read ({error}); export it again") from error
    if mode in ("RGBA", "LA"):
        return pixels[..., -1].astype(np.int32), info
    if pixels.ndim != 2:
        raise ValueError(f"its pixels are {mode} colours; a mask is an indexed or grey PNG, or one with transparency")
    return pixels.astype(np.int32), info


def read(data: bytes, picture: Picture | None = None, *, layers: Sequence[bytes] = ()) -> Session:
    """The objects of a mask file, and of `layers` beside it. `ValueError` says what is wrong.

    Files with labels, and indexed or grey ones, have one object for each id but 0 (and 255 in a palette, which is
    Pascal VOC's "ignore"). Grey files with 255, files of one bit and files with transparency have one, where the
    value is at least half.
    """
    numbered, sizes = [], set()
    for index, file in enumerate((data, *layers)):
        with entry(f"mask file {index + 1}"):
            pixels, info = _opened(file)
            found = Picture(picture.name if picture else "picture", *pixels.shape[::-1])
            require_size(found, picture)
            sizes.add(found.size)
            numbered += _objects(pixels, info, found, len(numbered))
    if len(sizes) > 1:
        raise ValueError(f"the mask files differ in size: {sorted(sizes)}")
    return Session(picture or found, tuple(item for _, item in sorted(numbered, key=lambda pair: pair[0])))


def _objects(pixels: np.ndarray, info: dict[str, Any], picture: Picture, before: int) -> list[tuple[int, MaskObject]]:
    """(order, object) of one file."""
    described = _described(info)
    if not described and _is_binary(pixels, info):
        solid = pixels > 0 if pixels.max() < 2 else pixels >= 128
        return [(before, MaskObject("mask", rle_encode(solid), palette_colour(1)))] if solid.any() else []
    present = [id for id in np.unique(pixels).tolist() if id > 0 and (info["mode"] != "P" or id != VOID)]
    if len(present) > 65535:
        raise ValueError(f"{len(present)} different values; it looks like a picture, not like ids of masks")
    labels = [f"object {id}" for id in present]
    objects = []
    for index, id in enumerate(present):
        known = described.get(id, {})
        rows, columns = np.nonzero(pixels == id)
        window = slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1)
        mask = crop_to_rle(pixels[window] == id, int(columns.min()), int(rows.min()), picture.size)
        colour = known.get("colour", class_colour(index))
        item = MaskObject(known.get("label", labels[index]), mask, colour, known.get("visible", True))
        objects.append((known.get("order", before + index), item))
    return objects


def _described(info: dict[str, Any]) -> dict[int, dict[str, Any]]:
    """What the file's text says of its ids; nothing where it has none."""
    text = info.get(LABELS)
    return {item["id"]: item for item in decode_json(str(text).encode())} if text else {}


def _is_binary(pixels: np.ndarray, info: dict[str, Any]) -> bool:
    if info["mode"] in ("RGBA", "LA", "1"):
        return True
    return info["mode"] == "L" and (pixels.max() == 255 or pixels.max() < 2)


def write_cutouts(
    session: Session, image: np.ndarray, *, trimmed: bool = True, feather: float = 0.0, soft: int = 0
) -> Files:
    """NAME.1.LABEL.cutout.png ...: the visible objects' pixels of an (H, W, 3) uint8 picture, transparent around.

    trimmed, feather, soft: as `cut_out`.
    """
    if image.shape != (*session.picture.size, 3):
        raise ValueError(f"the picture is {image.shape}, the session's {(*session.picture.size, 3)}")
    files = {}
    for index, item in enumerate(session.objects):
        if item.visible:
            pixels = cut_out(image, item, trimmed=trimmed, feather=feather, soft=soft)
            files[f"{session.picture.stem}.{index + 1}.{stem(item.label)}.cutout.png"] = encode(pixels)
    return files


def cut_out(
    image: np.ndarray, item: MaskObject, *, trimmed: bool = True, feather: float = 0.0, soft: int = 0
) -> np.ndarray:
    """An object's pixels, (h, w, 4) uint8; `trimmed` to its window.

    feather: pixels over which its edge rises inwards, 0 to 64. soft: pixels to each side of its edge that the
    picture's colours may make soft (`sam.mattes`), up to 64; 0 for none. The window is wider by them.
    """
    crop, window = rle_crop(item.mask)
    if soft:
        alpha, window = _soft_alpha(image, crop, window, soft)
    else:
        alpha = feathered(crop, feather)
    if trimmed:
        return np.dstack([image[_slices(window)], alpha])
    pixels = np.dstack([image, np.zeros(image.shape[:2], np.uint8)])
    pixels[(*_slices(window), 3)] = alpha
    return pixels


def _soft_alpha(image: np.ndarray, crop: np.ndarray, window: Window, soft: int) -> tuple[np.ndarray, Window]:
    """The matte's alpha around a mask, and its window."""
    around, shown = (_grown(window, margin, image.shape[:2]) for margin in (4 * soft, soft))  # a matte sees no further
    mask = np.zeros((around[3], around[2]), bool)
    mask[_slices(window, around)] = crop
    alpha = matte(image[_slices(around)], mask, soft)[_slices(shown, around)]
    return np.floor(255.0 * alpha + 0.5).astype(np.uint8), shown


def _grown(window: Window, margin: int, size: tuple[int, int]) -> Window:
    """The window with a margin around it, as far as a picture of (height, width) goes."""
    x, y, width, height = window
    left, top = max(x - margin, 0), max(y - margin, 0)
    return left, top, min(x + width + margin, size[1]) - left, min(y + height + margin, size[0]) - top


def _slices(window: Window, within: Window = (0, 0, 0, 0)) -> tuple[slice, slice]:
    """Rows and columns of a window in the array of another one around it, or of the picture."""
    x, y = window[0] - within[0], window[1] - within[1]
    return slice(y, y + window[3]), slice(x, x + window[2])


def feathered(crop: np.ndarray, feather: float) -> np.ndarray:
    """Alpha of a mask's window, 0 to 255: rising from its edge inwards over `feather` pixels, 0 to 64; 255 within.

    Outside of the mask nothing shows, so that no background comes along. The distance is the chamfer metric with
    steps of 5 and 7 (Borgefors 1986), in fifths of a pixel, so that all languages agree.
    """
    if not 0 <= feather <= 64:
        raise ValueError(f"the feather is {feather} pixels; give 0 to 64")
    if feather == 0:
        return crop * np.uint8(255)
    depth = _depth(crop, int(np.ceil(feather)) + 1)
    return np.where(crop, np.clip(np.floor(255 * (depth / 5 - 0.5) / feather + 0.5), 0, 255), 0).astype(np.uint8)


def _depth(crop: np.ndarray, most: int) -> np.ndarray:
    """Fifths of a pixel to the nearest pixel that is not mask, exact up to `most` pixels; int32."""
    depth = np.pad(np.where(crop, 7 * (most + 1), 0), 1).astype(np.int32)
    for _ in range(most):
        inner = depth[1:-1, 1:-1]
        for dy, dx in ((-1, 0), (0, -1), (0, 1), (1, 0), (-1, -1), (-1, 1), (1, -1), (1, 1)):
            step = 7 if dx and dy else 5
            shifted = depth[1 + dy : depth.shape[0] - 1 + dy, 1 + dx : depth.shape[1] - 1 + dx]
            inner = np.minimum(inner, shifted + step)
        depth[1:-1, 1:-1] = inner
    return depth[1:-1, 1:-1]

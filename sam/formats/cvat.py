"""CVAT's XML "for images 1.1": masks as run lengths along the rows of their windows, exact; order as `z_order`.

Source: https://docs.cvat.ai/docs/dataset_management/formats/format-cvat/
"""

from __future__ import annotations

import numpy as np

from ..masks import rle_crop
from .session import Files, MaskObject, Session, class_colour
from .text import attribute, content


def write(session: Session) -> Files:
    """NAME.cvat.xml."""
    picture = session.picture
    size = f'width="{picture.width}" height="{picture.height}"'
    lines = ['<?xml version="1.0" encoding="utf-8"?>', "<annotations>", "  <version>1.1</version>"]
    lines += ["  <meta>", "    <task>"]
    lines += [f"      <name>{content(picture.name)}</name>", "      <size>1</size>", "      <mode>annotation</mode>"]
    lines += ["      <labels>", *(_label(label, index) for label, index in session.classes.items()), "      </labels>"]
    lines += ["    </task>", "  </meta>", f'  <image id="0" name={attribute(picture.name)} {size}>']
    lines += [_mask(index, item) for index, item in enumerate(session.objects)]
    return {f"{picture.stem}.cvat.xml": "\n".join([*lines, "  </image>", "</annotations>", ""]).encode()}


def _label(label: str, index: int) -> str:
    colour = class_colour(index)
    return f"        <label><name>{content(label)}</name><color>{colour}</color><type>any</type><attributes/></label>"


def _mask(order: int, item: MaskObject) -> str:
    crop, (x, y, width, height) = rle_crop(item.mask)
    return (
        f'    <mask label={attribute(item.label)} source="semi-auto" occluded="0" rle="{_row_runs(crop)}" left="{x}" '
        f'top="{y}" width="{width}" height="{height}" z_order="{order}"></mask>'
    )


def _row_runs(crop: np.ndarray) -> str:
    """Runs along the rows, of nothing and of mask in turn, nothing first."""
    pixels = np.concatenate([[False], crop.ravel()])
    bounds = np.flatnonzero(pixels[1:] != pixels[:-1])
    return ", ".join(map(str, np.diff(np.concatenate([[0], bounds, [crop.size]])).tolist()))

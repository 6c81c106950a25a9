"""SA-1B: `NAME.jpg` with `NAME.json`, which holds `image` and `annotations` with masks as COCO's run lengths.

Source: SAM paper (Kirillov et al. 2023), and the description that comes with the dataset. Files are read when asked.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .coco import stated_hw
from .instances import Annotations, Instance, InstanceRecord


@dataclass(frozen=True)
class Sa1bRecord(InstanceRecord):
    """A picture and the file beside it."""

    def annotations(self) -> Annotations:
        document = read_json(self.json_path)
        try:
            found = [Instance(annotation["segmentation"]) for annotation in document["annotations"]]
            return Annotations(tuple(found), stated_hw(document["image"]))
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"{self.json_path}: not SA-1B's 'image' and 'annotations' with 'segmentation' "
                f"({type(error).__name__}: {error}); repair or remove it"
            ) from error


def sa1b_record(json_path: Path, image_path: Path) -> Sa1bRecord:
    """The record of one picture; its source is the folder's name."""
    return Sa1bRecord(image_path, image_path.absolute().parent.name, image_path.stem, json_path)


def read_json(path: Path) -> Any:
    """Parsed JSON; `ValueError` names a file that is none."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path}: not JSON that can be read ({error}); download it again, or remove it") from error

"""The crowd's pictures: files of mixed sizes, endless in number, whose embeddings are known."""

from __future__ import annotations

import io
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from demo.routes.page import static_folder
from sam import SAM
from sam.predictor import encode

LARGER = ((2, "coffee.jpg"), (12, "rocket.jpg"))
"""Megapixels to which photographs of the gallery are enlarged."""
MOST_DEVIATION = 0.01
"""Of an embedding's own standard deviation: what half precision and another way to encode may move it, on average."""
_HEADER_BYTES = 8


@dataclass(frozen=True, eq=False)
class Original:
    """A JPEG file, and its embedding float32 [1,256,64,64] by the model itself."""

    data: bytes
    features: np.ndarray = field(repr=False)

    def copy(self, mark: bytes) -> bytes:
        """A file of the same pixels that is another file: it has a comment."""
        comment = b"\xff\xfe" + (len(mark) + 2).to_bytes(2, "big") + mark
        return self.data[:2] + comment + self.data[2:]

    def is_embedding(self, body: bytes, image_id: str) -> bool:
        """Whether the safetensors body is the embedding of these pixels, for the picture of this name."""
        length = int.from_bytes(body[:_HEADER_BYTES], "little")
        header = json.loads(body[_HEADER_BYTES : _HEADER_BYTES + length])
        if header["__metadata__"]["image_id"] != image_id:
            return False
        found = np.frombuffer(body, "<f2", offset=_HEADER_BYTES + length).reshape(self.features.shape)
        return bool(np.abs(found - self.features).mean() <= MOST_DEVIATION * self.features.std())


class Album:
    """Files for the crowd: some that everybody has, and as many as wanted that nobody else has."""

    def __init__(self, originals: Sequence[Original], *, new_share: float = 0.5) -> None:
        self.originals, self.new_share = originals, new_share

    @classmethod
    def of(cls, model: SAM) -> Album:
        """The gallery's photographs, and two of them larger."""
        files = [path.read_bytes() for path in sorted((static_folder() / "gallery").glob("*.jpg"))]
        files += [enlarged(name, megapixels) for megapixels, name in LARGER]
        return cls([Original(data, embedding_of(model, data)) for data in files])

    def choose(self, chance: random.Random) -> tuple[Original, bytes]:
        """A picture, and its file: one that everybody has, or a new one."""
        original = chance.choice(self.originals)
        return original, original.copy(chance.randbytes(16)) if chance.random() < self.new_share else original.data


def enlarged(name: str, megapixels: float) -> bytes:
    """A photograph of the gallery at so many megapixels, as a JPEG file."""
    with Image.open(static_folder() / "gallery" / name) as picture:
        factor = (megapixels * 1e6 / (picture.width * picture.height)) ** 0.5
        large = picture.convert("RGB").resize((round(picture.width * factor), round(picture.height * factor)))
    file = io.BytesIO()
    large.save(file, "JPEG", quality=85)
    return file.getvalue()


def embedding_of(model: SAM, data: bytes) -> np.ndarray:
    """What the server must answer, up to rounding."""
    with Image.open(io.BytesIO(data)) as picture:
        return encode(model, np.asarray(picture.convert("RGB"))).features.numpy()

"""Asking the model about one picture: everything, or its prompts, from an embedding that may be cached."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol

import numpy as np

from ..automatic import Record, SamAutomaticMaskGenerator, Settings
from ..automatic.search import encode_crop
from ..large import LargePicture, TiledMaskGenerator, open_picture
from ..masks import mask_to_box, rle_compress, rle_encode
from ..model import SAM
from ..predictor import ImageEmbedding, predict
from .answers import Answer, Mask, key_of
from .cache import EmbeddingCache
from .pictures import Picture
from .prompts import Mode, Prompt

TILE_ABOVE = 50.0
"""Megapixels above which a picture is looked at tile by tile, unless the caller says otherwise."""


@dataclass(frozen=True, eq=False)
class Asker:
    """A model, what is asked of it, and where its embeddings are kept.

    Pictures of more than `tile_above` megapixels are read and looked at tile by tile (`sam.large`), and have no
    embedding that could be kept.
    """

    model: SAM
    mode: Mode
    settings: Settings
    cache: EmbeddingCache | None = None
    tile_above: float = TILE_ABOVE

    def key(self, picture: Picture, prompts: Sequence[Prompt]) -> str:
        """What the answer depends on: picture, weights, mode, settings, prompts."""
        settings = asdict(self.settings) if self.mode == "everything" else self.settings.precision
        content = picture.content_hash()
        tiled = ["tiled"] if self._is_large(picture) else []
        asked = [asdict(prompt) for prompt in prompts]
        return key_of(content, self.model.weights_hash(), self.mode, settings, asked, *tiled)

    def answer(self, picture: Picture, prompts: Sequence[Prompt]) -> Answer:
        """The picture's masks. `ValueError` for what is no picture, and for prompts outside of it."""
        if self._is_large(picture):
            return self._answer_large(picture, prompts)
        image = picture.pixels()
        _require_inside(picture, prompts, image.shape[:2])
        masks: tuple[Mask, ...] = ()
        if self.mode == "everything" or prompts:
            embedding = self._embedding(picture, image)
            masks = self._everything(image, embedding) if self.mode == "everything" else self._ask(embedding, prompts)
        return Answer(picture.name, image.shape[:2], self.key(picture, prompts), masks)

    def _embedding(self, picture: Picture, image: np.ndarray) -> ImageEmbedding:
        precision = self.settings.precision
        if self.cache is None:
            return encode_crop(self.model, image, precision)
        content = picture.content_hash()
        embedding = self.cache.load(content, self.model.weights_hash(), precision)
        if embedding is None:
            embedding = encode_crop(self.model, image, precision)
            self.cache.store(content, precision, embedding)
        return replace(embedding, features=embedding.features.to(self.model.device))

    def _everything(self, image: np.ndarray, embedding: ImageEmbedding) -> tuple[Mask, ...]:
        settings = {**vars(self.settings), "output_mode": "coco_rle"}
        records = SamAutomaticMaskGenerator(self.model, **settings).generate(image, embedding=embedding)
        return tuple(map(_mask_of_record, records))

    def _is_large(self, picture: Picture) -> bool:
        return picture.megapixels() > self.tile_above

    def _answer_large(self, picture: Picture, prompts: Sequence[Prompt]) -> Answer:
        with open_picture(picture.path) as source:
            _require_inside(picture, prompts, source.hw)
            if self.mode == "everything":
                settings = replace(self.settings, output_mode="coco_rle")
                masks = tuple(map(_mask_of_record, TiledMaskGenerator(self.model, settings).generate(source)))
            else:
                large = LargePicture(self.model, source)
                masks = tuple(_mask_in_large(large, prompt) for prompt in prompts)
            return Answer(picture.name, source.hw, self.key(picture, prompts), masks)

    def _ask(self, embedding: ImageEmbedding, prompts: Sequence[Prompt]) -> tuple[Mask, ...]:
        return tuple(_mask(prompt, *self._best(embedding, prompt)) for prompt in prompts)

    def _best(self, embedding: ImageEmbedding, prompt: Prompt) -> tuple[np.ndarray, float]:
        """One point is ambiguous and gets the best of three masks; more points or a box get the single mask."""
        if prompt.box is not None:
            answer = predict(self.model, embedding, box=prompt.box, multimask_output=False)
        else:
            coords, labels = [point[:2] for point in prompt.points], [point[2] for point in prompt.points]
            answer = predict(self.model, embedding, coords, labels, multimask_output=len(coords) == 1)
        best = int(answer.iou_predictions.argmax())
        return answer.masks[best], float(answer.iou_predictions[best])


class Place(Protocol):
    """Where the model is asked."""

    def answers(
        self, asker: Asker, asked: Sequence[tuple[Picture, Sequence[Prompt]]]
    ) -> Iterator[tuple[str, Answer | ValueError]]:
        """Each picture's name and its answer, as they come; a ValueError for a picture that has none."""


class Here:
    """In this process, one picture after the other."""

    def answers(
        self, asker: Asker, asked: Sequence[tuple[Picture, Sequence[Prompt]]]
    ) -> Iterator[tuple[str, Answer | ValueError]]:
        """See `Place`."""
        for picture, prompts in asked:
            try:
                yield picture.name, asker.answer(picture, prompts)
            except ValueError as error:
                yield picture.name, error


def _mask_of_record(record: Record) -> Mask:
    return Mask(
        record["segmentation"],
        record["area"],
        _covering(record["bbox"]),
        record["predicted_iou"],
        record["stability_score"],
        prompt={"points": record["point_coords"]},
    )


def _mask_in_large(picture: LargePicture, prompt: Prompt) -> Mask:
    """A box chooses its view; points are asked as if one view of every pixel around them were on the screen."""
    shown = (0, 0, picture.detail, picture.detail)
    if prompt.box is not None:
        found = picture.predict(box=prompt.box)
    else:
        found = picture.predict(
            [point[:2] for point in prompt.points], [point[2] for point in prompt.points], shown=shown
        )
    rle, box = rle_compress(found.picture_rle()), list(found.window)
    return Mask(rle, found.area, box, found.iou_prediction, category=prompt.category, prompt=_asked(prompt))


def _mask(prompt: Prompt, mask: np.ndarray, iou: float) -> Mask:
    x0, y0, x1, y1 = mask_to_box(mask).tolist()
    box = _covering([x0, y0, x1 - x0, y1 - y0]) if mask.any() else [0, 0, 0, 0]
    encoded = rle_compress(rle_encode(mask))
    return Mask(encoded, int(mask.sum()), box, iou, category=prompt.category, prompt=_asked(prompt))


def _asked(prompt: Prompt) -> dict[str, Any]:
    return {"box": list(prompt.box)} if prompt.box else {"points": [list(point) for point in prompt.points]}


def _covering(bbox: Sequence[int]) -> list[int]:
    """XYWH between outermost pixels -> XYWH that covers them, as COCO means it."""
    return [*bbox[:2], bbox[2] + 1, bbox[3] + 1]


def _require_inside(picture: Picture, prompts: Sequence[Prompt], hw: tuple[int, int]) -> None:
    for prompt in prompts:
        for x, y in [point[:2] for point in prompt.points] or [prompt.box[:2]]:
            if not (0 <= x < hw[1] and 0 <= y < hw[0]):
                raise ValueError(f"{picture.path}: the prompt at {x:g}, {y:g} lies outside of {hw[1]} x {hw[0]} pixels")

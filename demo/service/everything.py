"""Everything in a picture, as it is found: searches of many visitors, batch by batch in turn on one lane."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import numpy as np

from demo.lanes import Lane, result
from demo.problems import BadRequest, Busy
from demo.schemas import EverythingRequest, EverythingUpdate, FoundObject
from sam import SAM
from sam.automatic import Record, SamAutomaticMaskGenerator, Settings, Update, by_area, tree, without_duplicates
from sam.automatic.grids import crops, point_grids
from sam.masks import rle_compress
from sam.predictor import ImageEmbedding

RUNS = 16  # searches under way; each more makes all others slower
RUNS_PER_VISITOR = 4
RETRY_AFTER_S = 10
POINTS_PER_UPDATE = 16


class Everything:
    """Every search has one batch of points in line at a time, so that all come round equally often."""

    def __init__(self) -> None:
        self._lane = Lane("find everything", capacity=2 * RUNS, first_s=1)
        self._lock = threading.Lock()
        self._running: Counter[str] = Counter()

    @property
    def running(self) -> int:
        """Searches under way."""
        return self._running.total()

    def generator(self, model: SAM, request: EverythingRequest) -> SamAutomaticMaskGenerator:
        """What answers `request`; raises BadRequest where its parts do not fit."""
        changes = request.model_dump(include=set(request.CHANGES), exclude_none=True)
        how = {"points_per_batch": POINTS_PER_UPDATE, "output_mode": "uncompressed_rle"}
        try:
            return SamAutomaticMaskGenerator.preset(model, request.preset, **how, **changes)
        except ValueError as error:
            raise BadRequest(str(error)) from None

    async def search(
        self,
        generator: SamAutomaticMaskGenerator,
        image: np.ndarray,
        embedding: ImageEmbedding,
        request: EverythingRequest,
        visitor: str,
        stop: threading.Event | None = None,
    ) -> AsyncIterator[EverythingUpdate]:
        """Updates until all points are asked. Who leaves, or sets `stop`, ends the work before its next decoder batch.

        Raises Busy when too many searches are under way, or too many of this visitor's.
        """
        with self._place(visitor):
            left = stop or threading.Event()
            updates = generator.generate_iter(image, embedding=embedding, cancelled=left.is_set)
            answer, started_at = Answer(request, image.shape[:2]), time.monotonic()
            try:
                yield EverythingUpdate([], [], {}, 0, points_to_ask(generator.settings, image.shape[:2]))
                while (update := await result(self._lane.submit(_next, answer, updates, visitor=visitor))) is not None:
                    elapsed_s = time.monotonic() - started_at
                    yield update.with_eta(elapsed_s * (update.total - update.done) / update.done)
            finally:
                left.set()

    @property
    def lanes(self) -> tuple[Lane, ...]:
        """Where searches wait for their next batch."""
        return (self._lane,)

    @contextmanager
    def _place(self, visitor: str) -> Iterator[None]:
        with self._lock:
            of_visitor, total = self._running[visitor], self._running.total()
            if total >= RUNS or of_visitor >= RUNS_PER_VISITOR:
                detail = f"{total} searches are under way, {of_visitor} of them yours"
                raise Busy(detail, retry_after_s=RETRY_AFTER_S, waiting=total)
            self._running[visitor] += 1
        try:
            yield
        finally:
            with self._lock:
                self._running[visitor] -= 1
                self._running += Counter()  # forget visitors that have none


def points_to_ask(settings: Settings, image_hw: tuple[int, int]) -> int:
    """How many points the grids of all crops have."""
    grids = point_grids(settings)
    return sum(len(grids[crop.layer]) for crop in crops(image_hw, settings))


class Answer:
    """The objects that one search shows: filtered, numbered, each below its whole."""

    def __init__(self, request: EverythingRequest, image_hw: tuple[int, int]) -> None:
        self.least_area = request.least_share * image_hw[0] * image_hw[1]
        self.most_iou = request.most_iou
        self._records: dict[int, Record] = {}
        self._shown: set[int] = set()

    def take(self, update: Update) -> EverythingUpdate:
        """What an update of the generator changes for those who watch."""
        self._records |= {number: record | {"id": number} for number, record in update.added.items()}
        self._records = {number: self._records[number] for number in update.order}
        records = without_duplicates(by_area(list(self._records.values()), self.least_area), self.most_iou)
        current = {record["id"]: record for record in records}
        added = [_found(record) for number, record in current.items() if number not in self._shown]
        retracted = sorted(self._shown - current.keys())
        self._shown = set(current)
        return EverythingUpdate(added, retracted, _parents(records), update.done, update.total)


def _next(answer: Answer, updates: Iterator[Update]) -> EverythingUpdate | None:
    """On the lane: the next batch of points, or None after the last."""
    update = next(updates, None)
    return None if update is None else answer.take(update)


def _parents(records: list[Record]) -> dict[int, int]:
    nodes = (node for whole in tree(records) for node in whole.walk())
    return {part.record["id"]: node.record["id"] for node in nodes for part in node.parts}


def _found(record: Record) -> FoundObject:
    left, top, width, height = record["bbox"]  # of outermost pixels
    return FoundObject(
        id=record["id"],
        mask=rle_compress(record["segmentation"]),
        score=round(float(record["predicted_iou"]), 4),
        stability=round(float(record["stability_score"]), 4),
        area=int(record["area"]),
        box=(int(left), int(top), int(left + width) + 1, int(top + height) + 1),
        point=tuple(map(float, record["point_coords"][0])),
    )

"""Closer views of pictures: windows that are encoded by themselves when somebody zooms in, for finer masks.

A view never keeps a picture waiting for more than one encode: however many are asked for, they are read one after the
other, and only one of them at a time stands in the line to the encoder, where it has its turn like a visitor.
"""

from __future__ import annotations

import logging
import threading
from concurrent.futures import Future
from functools import partial

from demo.cache import ByteCache
from demo.codings import Coding
from demo.lanes import Lane, result
from demo.problems import Busy, EncodeFailed, Problem, UnfitView
from demo.schemas import Picture, Precision, Prompts, Window
from demo.service.pictures import Encoded, Job, Pictures
from sam.large import on_grid, pick_view
from sam.large.picker import side_for_box, side_for_points, views_outward

VIEWS_AT_ONCE = 2
"""Views of one picture that may be on their way: one that is looked at, one that was left a moment ago."""
_WAITING_VIEWS = 16
_RETRY_AFTER_S = 2

log = logging.getLogger(__name__)


class Views:
    """Encodes windows of `pictures` and remembers them up to `cache_bytes`; who asks for the same joins its job."""

    def __init__(self, pictures: Pictures, *, cache_bytes: int) -> None:
        self._pictures = pictures
        self._looking = Lane("look closely", capacity=_WAITING_VIEWS, first_s=_RETRY_AFTER_S)
        self._finished: ByteCache[Job] = ByteCache(cache_bytes)
        self._unfinished: dict[str, Job] = {}
        self._lock = threading.Lock()

    @property
    def lanes(self) -> tuple[Lane, ...]:
        """Where views wait before they stand in the line to the encoder."""
        return (self._looking,)

    async def encoded(self, image_id: str, window: Window, visitor: str = "") -> Encoded:
        """The view's embedding, as soon as it is there. Raises UnfitView for a window that no view has."""
        whole = await self._pictures.encoded(image_id)
        if window == whole.picture.window:
            return whole
        return await result(self._join_or_begin(whole, window, visitor).encoded)

    async def file(self, image_id: str, window: Window, precision: Precision, coding: Coding) -> tuple[bytes, Coding]:
        """The view's embedding as `Pictures.file` has the picture's."""
        whole = await self._pictures.encoded(image_id)
        if window == whole.picture.window:
            return await self._pictures.file(image_id, precision, coding)
        return await self._pictures.body(self._join_or_begin(whole, window), precision, coding)

    def _join_or_begin(self, whole: Encoded, window: Window, visitor: str = "") -> Job:
        _require_view(whole.picture, window)
        key = f"{whole.picture.id}/{window}"
        with self._lock:
            if (job := self._unfinished.get(key) or self._finished.get(key)) is not None:
                return job
            under_way = sum(each.image_id == whole.picture.id for each in self._unfinished.values())
            if under_way >= VIEWS_AT_ONCE:
                detail = f"{under_way} views of this picture are being encoded"
                raise Busy(detail, retry_after_s=_RETRY_AFTER_S, waiting=under_way)
            job = Job(whole.picture.id)
            looking = self._looking.submit(self._look, job, whole, window, visitor=visitor)
            self._unfinished[key] = job
        looking.add_done_callback(partial(self._settle, key, job))
        return job

    def _look(self, job: Job, whole: Encoded, window: Window) -> Encoded:
        """On the lane of views: through the line to the encoder."""
        return self._pictures.encode_window(job, whole, window).result()

    def _settle(self, key: str, job: Job, looking: Future[Encoded]) -> None:
        """From the line to the cache; what failed is forgotten, and tried again when it is asked for again."""
        error = looking.exception()
        with self._lock:
            del self._unfinished[key]
            if error is None:
                self._finished.put(key, job, looking.result().size)
        if error is None:
            job.encoded.set_result(looking.result())
            return
        log.warning("the view %s failed", key, exc_info=error)
        problem = error if isinstance(error, Problem) else EncodeFailed(type(error).__name__, id=job.image_id)
        job.encoded.set_exception(problem)


def windows_for(picture: Picture, prompts: Prompts, shown: Window | None) -> list[Window]:
    """Where to look for the answer: the view that fits what is shown, then larger ones around it.

    The view that the prompts name, or all of the picture, where they correct a mask of it or nobody says what is shown.
    Raises UnfitView for prompts outside of the picture.
    """
    if prompts.view or prompts.mask is not None or shown is None:
        return [prompts.view or picture.window]
    (left, right), (top, bottom) = ((min(along), max(along)) for along in zip(*prompts.places, strict=True))
    around = (left, top, right, bottom)
    side = side_for_box(around) if prompts.box else side_for_points(picture.original_hw, around, shown)
    try:
        return [view.window for view in views_outward(picture.original_hw, around, side)]
    except ValueError as error:
        raise UnfitView(str(error)) from None


def _require_view(picture: Picture, window: Window) -> None:
    if on_grid(picture.original_hw, window):
        return
    (height, width), (x, y, across, down) = picture.original_hw, window
    middle = (min(max(x + across / 2, 0), width), min(max(y + down / 2, 0), height))
    nearest = pick_view(picture.original_hw, (*middle, *middle), max(across, down)).window
    detail = f"{_text(window)} is no view of a picture of {width} x {height}; the nearest is {_text(nearest)}"
    raise UnfitView(detail, given=window, nearest=nearest)


def _text(window: Window) -> str:
    return ",".join(map(str, window))

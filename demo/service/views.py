"""Closer views of pictures: windows that are encoded by themselves when somebody zooms in, for finer masks.

A view never keeps a picture waiting for more than one encode: however many are asked for, they are read one after the
other, and only one of them at a time stands in the line to the encoder, where it has its turn like a visitor.
"""

from __future__ import annotations

import logging
import math
import threading
from concurrent.futures import Future
from contextlib import ExitStack
from functools import partial

from demo.cache import ByteCache
from demo.lanes import Lane
from demo.problems import Busy, EncodeFailed, Problem, UnfitView
from demo.schemas import Picture, Prompts, Window
from demo.service.models import LoadedModel
from demo.service.pictures import Encoded, Encoding, Pictures, closing, told
from sam.large import on_grid, pick_view
from sam.large.picker import side_for_box, side_for_points, views_outward

VIEWS_AT_ONCE = 2
"""Views of one picture that may be on their way: one that is looked at, one that was left a moment ago."""
_WAITING_VIEWS = 16
_RETRY_AFTER_S = 2

log = logging.getLogger(__name__)


class Views:
    """Encodes windows of `pictures` and remembers them up to `cache_bytes`; who asks for the same joins its encode."""

    def __init__(self, pictures: Pictures, *, cache_bytes: int, longest_wait_s: float = math.inf) -> None:
        self._pictures = pictures
        self._looking = Lane(
            "look closely", capacity=_WAITING_VIEWS, first_s=_RETRY_AFTER_S, longest_wait_s=longest_wait_s
        )
        self._finished: ByteCache[Encoding] = ByteCache(cache_bytes)
        self._unfinished: dict[str, Encoding] = {}
        self._lock = threading.RLock()  # what is done at once settles its encode while it begins

    @property
    def lanes(self) -> tuple[Lane, ...]:
        """Where views wait before they stand in the line to the encoder."""
        return (self._looking,)

    @property
    def bytes_used(self) -> int:
        """Of the views that are remembered."""
        return self._finished.bytes_used

    def find(self, picture: Picture, window: Window) -> Encoding | None:
        """The view's encode under the picture's model, if it ever began and is still here."""
        key = _key(picture, window)
        with self._lock:
            return self._unfinished.get(key) or self._finished.get(key)

    def join(self, picture: Picture, model: LoadedModel, window: Window, *, visitor: str = "") -> Encoding:
        """The view's encode; it begins now unless it did. Raises UnfitView for a window that no view has."""
        _require_view(picture, window)
        with self._lock:
            if known := self.find(picture, window):
                return known
            way, key = Encoding(), _key(picture, window)
            under_way = sum(each.startswith(picture.id) for each in self._unfinished)
            if under_way >= VIEWS_AT_ONCE:
                detail = f"{under_way} views of this picture are being encoded"
                raise Busy(detail, retry_after_s=_RETRY_AFTER_S, waiting=under_way)
            with ExitStack() as stack:
                stack.enter_context(model.using())
                looking = self._looking.submit(self._look, way, picture.id, model, window, visitor=visitor)
                way.encoded.add_done_callback(closing(stack.pop_all()))
            self._unfinished[key] = way
        looking.add_done_callback(partial(self._settle, key, way))
        return way

    def _look(self, way: Encoding, image_id: str, model: LoadedModel, window: Window) -> Encoded:
        """On the lane of views: through the line to the encoder."""
        return self._pictures.encode_window(way, image_id, model, window).result()

    def _settle(self, key: str, way: Encoding, looking: Future[Encoded]) -> None:
        """From the line to the cache; what failed is forgotten, and tried again when it is asked for again."""
        error = told(looking)
        with self._lock:
            del self._unfinished[key]
            if error is None:
                self._finished.put(key, way, looking.result().size)
        if error is None:
            way.encoded.set_result(looking.result())
        elif isinstance(error, Problem):
            way.encoded.set_exception(error)
        else:
            log.error("the encode of a view failed", exc_info=error)  # of which picture is nobody's business
            way.encoded.set_exception(EncodeFailed(type(error).__name__))


def _key(picture: Picture, window: Window) -> str:
    return f"{picture.id}/{picture.model.weights_hash}/{_text(window)}"


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

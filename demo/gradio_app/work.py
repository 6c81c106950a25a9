"""What a visitor can do, each thing once: the page's buttons and the named endpoints both come here.

Every step leaves the visit's desk in the next state, or raises `Refused` or a `Problem` and leaves it alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

from demo.gradio_app.desk import KINDS, Answer, Desk, Drawn, Kind, Opened, Point, Thing
from demo.gradio_app.drawing import draw, preview
from demo.gradio_app.refused import Refused
from demo.gradio_app.visits import Found, Visit
from demo.problems import Problem
from demo.routes.page import static_folder
from demo.schemas import Edge, Event, EverythingRequest, EverythingUpdate, FoundObject, ModelOffer, Service

GALLERY = static_folder() / "gallery"
PRESETS = ("few", "balanced", "fine")


class Work:
    """The steps, over the service."""

    def __init__(self, service: Service) -> None:
        self.service = service

    # ---- the picture ------------------------------------------------------------------------------

    async def open(self, visit: Visit, file: Path) -> AsyncIterator[Event]:
        """Put a picture file on the desk, and tell how far its encode is until it is done."""
        try:
            data = await asyncio.to_thread(file.read_bytes)
        except OSError:
            raise Refused("The uploaded file is no longer here; upload it again.") from None
        model = visit.model
        picture, _ = await self.service.add(data, model=model, visitor=visit.waits_as, owner=visit.owner)
        small = await asyncio.to_thread(preview, data, self.service.limits)
        async with visit.lock:
            visit.open(Opened(file.name, picture.id, picture.original_hw, small))
        async for event in _unless_failed(self.service.progress(picture.id, model=model, visitor=visit.waits_as)):
            yield event

    def example(self, name: str) -> Path:
        """The file of a gallery picture; Refused unless it is one."""
        names = sorted(path.name for path in GALLERY.glob("*.jpg"))
        if name not in names:
            raise Refused(f"There is no example {name!r}; there are {', '.join(names)}.")
        return GALLERY / name

    # ---- the model --------------------------------------------------------------------------------

    def models(self) -> list[ModelOffer]:
        """What this visitor may choose: what is downloaded; consent to more is given on the full page."""
        return [offer for offer in self.service.models() if offer.state not in ("not_downloaded", "downloading")]

    async def choose_model(self, visit: Visit, model: str) -> AsyncIterator[Event]:
        """Go on with another model, and tell how far it is; the prompts are asked anew, the objects stay."""
        self.service.load(model)
        async for event in _unless_failed(self.service.model_progress(model)):
            yield event
        if visit.now is not None:
            async for event in _unless_failed(
                self.service.progress(visit.now.picture.id, model=model, visitor=visit.waits_as)
            ):
                yield event
        async with visit.lock:
            visit.model = model
            if visit.now is not None and visit.now.answer is not None:
                visit.step(await self._answered(visit, replace(visit.now, answer=None)))

    # ---- prompts ----------------------------------------------------------------------------------

    async def click(self, visit: Visit, kind: Kind, point: Point) -> None:
        """What a click at a point of the original does; see `Kind`."""
        if kind not in KINDS:
            raise Refused(f"A click of kind {kind!r} is unknown; there are {', '.join(KINDS)}.")
        async with visit.lock:
            if kind == "take":
                return self._take(visit, point)
            desk = visit.desk.with_corner(point) if kind == "corner" else visit.desk.with_click(point, kind)
            visit.step(desk if desk.corner else await self._answered(visit, desk))

    async def choose(self, visit: Visit, index: int) -> None:
        """Another of the four candidates: 0 is the single mask, 1 to 3 are the three."""
        async with visit.lock:
            desk = visit.desk
            if desk.answer is None:
                raise Refused("There is no mask to choose from yet; click on the picture first.")
            if not 0 <= index < len(desk.answer.candidates.scores):
                raise Refused(f"There is no candidate {index}; give 0 to {len(desk.answer.candidates.scores) - 1}.")
            if index != desk.answer.chosen:
                drawn = await self._drawn_logits(visit, desk.picture, desk.answer.candidates.logits[index])
                visit.step(replace(desk, answer=Answer(desk.answer.candidates, index, drawn)))

    async def undo(self, visit: Visit) -> None:
        """The desk as it was before the last step."""
        async with visit.lock:
            visit.undo()

    async def clear(self, visit: Visit) -> None:
        """No prompts, and no mask that was not kept."""
        async with visit.lock:
            visit.step(visit.desk.without_prompts())

    # ---- objects ----------------------------------------------------------------------------------

    async def keep(self, visit: Visit, label: str) -> None:
        """The mask becomes an object with this label, or a numbered one."""
        async with visit.lock:
            visit.step(visit.desk.keep(label))

    async def relabel(self, visit: Visit, index: int, label: str) -> None:
        async with visit.lock:
            visit.step(visit.desk.relabel(index, label))

    async def remove(self, visit: Visit, index: int) -> None:
        async with visit.lock:
            visit.step(visit.desk.remove(index))

    async def show(self, visit: Visit, indices: list[int]) -> None:
        """Exactly these objects are drawn and exported."""
        async with visit.lock:
            visit.step(visit.desk.show(indices))

    async def export(self, visit: Visit, kind: str, edge: Edge) -> Path:
        """A file with the objects that are shown, or the mask if there are none, in a format of the service."""
        async with visit.lock:
            desk = visit.desk
            if not desk.exported:
                raise Refused("There is nothing to take home yet; make a mask first.")
            picture = desk.picture
            name, data = await self.service.export(
                picture.id, picture.name, desk.exported, kind, edge, visitor=visit.waits_as
            )
            return await asyncio.to_thread(visit.write, name, data)

    # ---- everything -------------------------------------------------------------------------------

    async def find(self, visit: Visit, request: EverythingRequest) -> AsyncIterator[EverythingUpdate]:
        """Look for all objects, and put what is found on the visit, batch by batch; prompts go on meanwhile."""
        picture = visit.desk.picture
        visit.stop()
        found = visit.found = Found()
        try:
            updates = self.service.everything(picture.id, request, model=visit.model, visitor=visit.waits_as)
            async with aclosing(_until(found.stopped, updates)) as going:
                async for update in going:
                    await self._add(found, picture, update)
                    yield update
        finally:
            found.running = False

    async def take_all(self, visit: Visit) -> None:
        """Everything that was found becomes objects, in one step."""
        async with visit.lock:
            desk, found = visit.desk, visit.found
            taken = {thing.found_id for thing in desk.things}
            left = [item for number, item in found.objects.items() if number not in taken] if found else []
            if not left:
                raise Refused("Nothing was found that is not kept already; find everything first.")
            for item, drawn in sorted(left, key=lambda pair: -pair[0].area):
                desk = desk.with_thing(_thing(desk, item, drawn))
            visit.step(desk)

    async def stop(self, visit: Visit) -> None:
        """End the search that is under way; what it found stays."""
        visit.stop()

    async def forget_found(self, visit: Visit) -> None:
        """What was found and not kept goes."""
        visit.stop()
        visit.found = None

    # ---- how it looks -----------------------------------------------------------------------------

    async def draw(self, visit: Visit) -> Path:
        """The desk as a picture file of the visit."""
        desk = visit.desk
        taken = {thing.found_id for thing in desk.things}
        objects = visit.found.objects.items() if visit.found else ()
        found = [drawn.sketch for number, (_, drawn) in objects if number not in taken]
        data = await asyncio.to_thread(draw, desk, found)
        return await asyncio.to_thread(visit.write, "picture.jpg", data)

    # ---- helpers ----------------------------------------------------------------------------------

    async def _answered(self, visit: Visit, desk: Desk) -> Desk:
        candidates = await self.service.candidates(
            desk.picture.id, desk.prompts, model=visit.model, visitor=visit.waits_as
        )
        drawn = await self._drawn_logits(visit, desk.picture, candidates.logits[candidates.best])
        return replace(desk, answer=Answer(candidates, candidates.best, drawn))

    async def _drawn_logits(self, visit: Visit, picture: Opened, logits) -> Drawn:
        mask = await self.service.full_mask(picture.id, logits, model=visit.model, visitor=visit.waits_as)
        return await self._drawn(picture, mask)

    async def _drawn(self, picture: Opened, mask: dict) -> Drawn:
        return Drawn(mask, await asyncio.to_thread(self.service.sketch, mask, picture.preview.shape[:2]))

    async def _add(self, found: Found, picture: Opened, update: EverythingUpdate) -> None:
        drawn = {item.id: (item, await self._drawn(picture, item.mask)) for item in update.added}
        kept = {number: pair for number, pair in found.objects.items() if number not in update.retracted}
        found.objects, found.update = kept | drawn, update

    def _take(self, visit: Visit, point: Point) -> None:
        """The smallest object under the point becomes one of the desk's."""
        desk, found = visit.desk, visit.found
        desk.picture.require_inside(point)
        taken = {thing.found_id for thing in desk.things}
        under = [
            pair
            for number, pair in (found.objects.items() if found else ())
            if number not in taken and _covers(pair[1], desk.picture, point)
        ]
        if not under:
            raise Refused("Nothing that was found lies there; click on another place, or find everything first.")
        item, drawn = min(under, key=lambda pair: pair[0].area)
        visit.step(desk.with_thing(_thing(desk, item, drawn)))


def wanted(preset: str) -> EverythingRequest:
    """How much a preset asks for; Refused unless it is one."""
    if preset not in PRESETS:
        raise Refused(f"There is no preset {preset!r}; there are {', '.join(PRESETS)}.")
    return EverythingRequest(preset=preset)


def _thing(desk: Desk, item: FoundObject, drawn: Drawn) -> Thing:
    return Thing(desk.label_or_next(""), desk.next_colour, item.score, drawn, found_id=item.id)


def _covers(drawn: Drawn, picture: Opened, point: Point) -> bool:
    x, y = (int(at / scale) for at, scale in zip(point, picture.scale_xy, strict=True))
    row, column = y - drawn.sketch.y, x - drawn.sketch.x
    height, width = drawn.sketch.pixels.shape
    return 0 <= row < height and 0 <= column < width and bool(drawn.sketch.pixels[row, column])


async def _unless_failed(events: AsyncIterator[Event]) -> AsyncIterator[Event]:
    """The events, or Refused in the words of the one that tells of a failure."""
    async with aclosing(events):
        async for event in events:
            if event.name == "failed":
                raise Refused(f"{event.data['title']}: {event.data['detail']}.")
            yield event


async def _until(stopped: asyncio.Event, updates: AsyncIterator[EverythingUpdate]) -> AsyncIterator[EverythingUpdate]:
    """The updates, until somebody stops them: also while the next one is waited for."""
    stop = asyncio.ensure_future(stopped.wait())
    try:
        async with aclosing(updates):
            while not stopped.is_set():
                step = asyncio.ensure_future(anext(updates, None))
                await asyncio.wait({step, stop}, return_when=asyncio.FIRST_COMPLETED)
                if not step.done():
                    step.cancel()
                    await asyncio.gather(step, return_exceptions=True)
                    return
                if (update := step.result()) is None:
                    return
                yield update
    finally:
        stop.cancel()


def sentence(error: Problem | Refused) -> str:
    """What a visitor reads when something is refused."""
    return str(error) if isinstance(error, Refused) else f"{error.title}: {error.detail}."

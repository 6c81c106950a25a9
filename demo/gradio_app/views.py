"""What the visit looks like in words: the page's controls and the answers of the named endpoints, from one state."""

from __future__ import annotations

from html import escape
from typing import Any

from demo.gradio_app.desk import Desk, Thing
from demo.gradio_app.visits import Found, Visit
from demo.schemas import Event, ModelOffer

CANDIDATES = ("Single", "Part", "Object", "Group")
"""As the page names them."""


def candidate_choices(desk: Desk | None) -> list[tuple[str, int]]:
    """The candidates with their scores, as a radio takes them."""
    if desk is None or desk.answer is None:
        return []
    scores = desk.answer.candidates.scores
    return [(f"{name}: {score:.2f}", at) for at, (name, score) in enumerate(zip(CANDIDATES, scores, strict=True))]


def model_choices(offers: list[ModelOffer]) -> list[tuple[str, str]]:
    """The models by title, as a dropdown takes them."""
    return [(offer.title, offer.id) for offer in offers]


def thing_choices(desk: Desk | None) -> list[tuple[str, int]]:
    """The kept objects by number and label."""
    return [(f"{at + 1}. {thing.label}", at) for at, thing in enumerate(desk.things)] if desk else []


def status(visit: Visit) -> str:
    """A sentence or two on what is on the desk."""
    if visit.now is None:
        return ""
    desk = visit.now
    height, width = desk.picture.original_hw
    parts = [f"{desk.picture.name}, {width} × {height} pixels."]
    if desk.corner is not None:
        parts.append(f"First corner at ({desk.corner[0]:.0f}, {desk.corner[1]:.0f}); now the one across.")
    elif desk.answer is not None:
        parts.append(f"The mask covers {share(desk):.1%} of the picture, score {desk.answer.score:.2f}.")
    elif desk.things:
        parts.append(f"{len(desk.things)} kept. Click the next object.")
    else:
        parts.append("Click what you mean.")
    return line(" ".join(parts))


def encoding(event: Event) -> str:
    """How far the model is, and the picture's encode."""
    if event.name == "loading":
        return line("The model is being loaded …", "<progress>")
    if event.name == "queued":
        ahead = event.data["position"]
        return line(f"Waiting for the model, {ahead} ahead …" if ahead else "Waiting for the model …", "<progress>")
    expected, elapsed = event.data.get("expected_s"), event.data.get("elapsed_s", 0)
    bar = f'<progress value="{min(elapsed / expected, 1):.2f}">' if expected else "<progress>"
    left = f", about {max(expected - elapsed, 0):.0f} s left" if expected else ""
    return line(f"The model looks at the picture{left} …", bar)


def searching(found: Found | None) -> str:
    """How far everything mode is."""
    if found is None:
        return ""
    if found.update is None:
        return line("Begins …", '<progress aria-label="Everything">')
    count, update = len(found.objects), found.update
    objects = f"{count} object{'' if count == 1 else 's'}"
    if not found.running:
        return line(f"{objects} found." if update.done == update.total else f"Stopped; {objects} found so far.")
    left = f", about {update.eta_s:.0f} s left" if update.eta_s is not None else ""
    bar = f'<progress aria-label="Everything" value="{update.done}" max="{update.total}">'
    return line(f"{objects} so far, {update.done} of {update.total} points asked{left}", bar)


def line(text: str, bar: str = "") -> str:
    """A line that a screen reader reads when it changes, and a bar below it."""
    return f'<div role="status">{escape(text)}</div>{bar + "</progress>" if bar else ""}'


def alternative(visit: Visit) -> str:
    """The picture in words, for who does not see it."""
    if visit.now is None:
        return "No picture is open."
    desk = visit.now
    mask = f"a mask over {share(desk):.0%} of it" if desk.answer else "no mask"
    return f"{desk.picture.name}: {mask}, {len(desk.things)} kept objects"


def share(desk: Desk) -> float:
    """How much of the picture the mask covers, 0 to 1."""
    if desk.answer is None:
        return 0.0
    height, width = desk.picture.preview.shape[:2]
    return float(desk.answer.drawn.sketch.pixels.sum() / (height * width))


def report(visit: Visit) -> dict[str, Any]:
    """The desk as data, for programs."""
    desk = visit.desk
    height, width = desk.picture.original_hw
    return {
        "picture": {"name": desk.picture.name, "width": width, "height": height},
        "points": [[click.x, click.y] for click in desk.clicks],
        "labels": [click.label for click in desk.clicks],
        "corner": desk.corner and list(desk.corner),
        "box": desk.box and list(desk.box),
        "candidates": [round(score, 4) for score in desk.answer.candidates.scores] if desk.answer else [],
        "chosen": desk.answer.chosen if desk.answer else None,
        "mask": desk.answer.drawn.mask if desk.answer else None,
        "objects": [_thing_report(thing) for thing in desk.things],
        "model": visit.model,
    }


def search_report(found: Found) -> dict[str, Any]:
    """Everything mode as data, for programs."""
    update = found.update
    objects = [
        {"id": item.id, "score": item.score, "area": item.area, "box": list(item.box)}
        for item, _ in found.objects.values()
    ]
    return {"done": update.done, "total": update.total, "objects": objects} if update else {"objects": objects}


def _thing_report(thing: Thing) -> dict[str, Any]:
    return {
        "label": thing.label,
        "colour": thing.colour,
        "score": round(thing.score, 4),
        "shown": thing.shown,
        "mask": thing.drawn.mask,
    }

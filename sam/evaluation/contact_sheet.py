"""One picture of a report's best, median and worst cases, for people to look at."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from PIL import Image, ImageDraw

from ..datasets import Record
from ..masks import rle_decode
from .drawing import INK, PAPER, Scene, draw_scene, font, window_around
from .protocol import bounding_box, first_click
from .report import Report, Row

PROMPTS = ("1 click", "box")
COLUMNS = 6
CELL = (230, 200)
"""Width and height of one case, in pixels."""
GAP, HEADING, CAPTION = 8, 30, 22


def draw_contact_sheet(report: Report, records: Iterable[Record], source: str, columns: int = COLUMNS) -> Image.Image:
    """Best, median and worst cases of one source, a row each, for one click and for the box.

    Pink is the answer, the yellow line the truth, the green dot or box the prompt; beneath stands the IoU. A picture
    appears once a row. `report` comes fresh from `evaluate`: stored ones hold no answers. `records` are those
    it was made from.
    """
    by_name = {record.name: record for record in records if record.source == source}
    rows = [
        (f"{prompt}: {title}", [_draw_case(case, by_name[case.picture], prompt) for case in cases])
        for prompt in PROMPTS
        for title, cases in choose_cases(report.by_source[source], prompt, columns).items()
    ]
    return _grid(f"{source}, {len(report.by_source[source])} masks: pink the answer, yellow the truth", rows)


def choose_cases(rows: Sequence[Row], measure: str, count: int) -> dict[str, list[Row]]:
    """Up to `count` rows of distinct pictures that score best, around the median, and worst, best first."""
    ranked = sorted(rows, key=lambda row: row.scores[measure], reverse=True)
    middle = len(ranked) // 2
    by_closeness = sorted(range(len(ranked)), key=lambda rank: abs(rank - middle))
    cases = {"best": ranked, "median": [ranked[rank] for rank in by_closeness], "worst": ranked[::-1]}
    chosen = {title: _of_distinct_pictures(candidates, count) for title, candidates in cases.items()}
    return {title: sorted(few, key=lambda row: row.scores[measure], reverse=True) for title, few in chosen.items()}


def scene_of(row: Row, record: Record, prompt: str) -> Scene:
    """What one row's answer to a prompt looks like."""
    truth = record.layers()[row.layer] == row.segment
    image, answer = record.image(), rle_decode(row.answers[prompt])
    if prompt == "box":
        return Scene(image, answer, truth, box=bounding_box(truth))
    return Scene(image, answer, truth, clicks=((*first_click(truth), 1),))


def _of_distinct_pictures(rows: Sequence[Row], count: int) -> list[Row]:
    """The first row of each of the first `count` pictures."""
    first: dict[str, Row] = {}
    for row in rows:
        first.setdefault(row.picture, row)
    return list(first.values())[:count]


def _draw_case(row: Row, record: Record, prompt: str) -> Image.Image:
    scene = scene_of(row, record, prompt)
    window = window_around(scene.truth, scene.answer)
    scale = min(CELL[0] / (window[2] - window[0]), CELL[1] / (window[3] - window[1]))
    drawing = draw_scene(scene, window, scale)
    cell = Image.new("RGB", (CELL[0], CELL[1] + CAPTION), PAPER)
    cell.paste(drawing, ((CELL[0] - drawing.width) // 2, (CELL[1] - drawing.height) // 2))
    caption = f"{row.scores[prompt]:.2f}   {row.picture}"
    ImageDraw.Draw(cell).text((CELL[0] / 2, CELL[1] + 3), caption, INK, font(14), anchor="ma")
    return cell


def _grid(title: str, rows: Sequence[tuple[str, Sequence[Image.Image]]]) -> Image.Image:
    """Rows of cells, each under its heading."""
    columns = max(3, *(len(cells) for _, cells in rows))  # room for the title
    row_height = HEADING + CELL[1] + CAPTION + GAP
    sheet = Image.new("RGB", (GAP + columns * (CELL[0] + GAP), 2 * HEADING + len(rows) * row_height), PAPER)
    canvas = ImageDraw.Draw(sheet)
    canvas.text((GAP, GAP), title, INK, font(22))
    for index, (heading, cells) in enumerate(rows):
        top = 2 * HEADING + index * row_height
        canvas.text((GAP, top), heading, INK, font(17))
        for column, cell in enumerate(cells):
            sheet.paste(cell, (GAP + column * (CELL[0] + GAP), top + HEADING))
    return sheet

"""A mouse that never rests: masks keep coming; how smoothly is for `python -m demo.bench --only hover`."""

import itertools
import math

import pytest

pytestmark = pytest.mark.browser

ENOUGH = 20
WATCH = """() => {
    const record = window.hoverRecord = { places: [], answered: [] };
    let last = '';
    const look = () => {
        const { hover, mask } = samDebug.state();
        const click = mask?.prompts.clicks[0];
        const place = JSON.stringify(click);
        if (hover) record.places.push(hover);
        if (click && place !== last) record.answered.push([click.x, click.y]);
        last = place;
        requestAnimationFrame(look);
    };
    look();
}"""


@pytest.mark.parametrize("tier", ["wasm", "wasm-threads"])
def test_masks_follow_a_moving_mouse(sam_page, photographs, tier):
    sam_page.open(tier=tier)
    sam_page.open_gallery(photographs["coffee"])
    sam_page.hover(10, 10)
    sam_page.page.evaluate(WATCH)
    for x, y in _wander(sam_page.view()):
        sam_page.point_on_screen(x, y)
        if sam_page.page.evaluate("() => hoverRecord.answered.length") > ENOUGH:
            break
    record = sam_page.page.evaluate("() => hoverRecord")
    assert all(place in record["places"] for place in record["answered"]), "masks of where the pointer never was"


def _wander(view):
    """A Lissajous figure over the picture: slow and fast, never twice the same."""
    for step in itertools.count():
        x = view.x + view.width * (0.5 + 0.42 * math.sin(1.3 * step / 60))
        y = view.y + view.height * (0.5 + 0.42 * math.sin(2.1 * step / 60 + 1))
        yield x, y

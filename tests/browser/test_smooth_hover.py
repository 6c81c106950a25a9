"""Ten seconds of a moving mouse: masks keep coming; how smoothly is for `python -m demo.bench --only hover`."""

import math
import time

import numpy as np
import pytest

pytestmark = pytest.mark.browser

SECONDS, STEP_S = 10, 1 / 60
LONG_TASK_MS = 50
MASKS_PER_SECOND = 2  # a floor for a busy machine; the figures are printed
WATCH = """() => {
    const record = window.hoverRecord = { moves: [], masks: [], tasks: [] };
    new PerformanceObserver((list) => {
        for (const { startTime, duration } of list.getEntries()) record.tasks.push([startTime, duration]);
    }).observe({ type: 'longtask' });
    addEventListener('pointermove', ({ timeStamp, clientX, clientY }) => {
        record.moves.push([timeStamp, clientX, clientY]);
    }, { capture: true });
    let last = '';
    const look = () => {
        const click = samDebug.state().mask?.prompts.clicks[0];
        const place = JSON.stringify(click);
        if (click && place !== last) record.masks.push([performance.now(), click.x, click.y]);
        last = place;
        requestAnimationFrame(look);
    };
    look();
}"""


@pytest.mark.parametrize("tier", ["wasm", "wasm-threads"])
def test_masks_follow_a_moving_mouse(sam_page, photographs, capsys, tier):
    picture = photographs["coffee"]
    sam_page.open(tier=tier)
    sam_page.open_gallery(picture)
    sam_page.hover(10, 10)
    sam_page.page.evaluate(WATCH)
    _wander(sam_page, picture.size)
    record = sam_page.page.evaluate("() => hoverRecord")
    delays = _delays(record, sam_page.view(), picture.size)
    long_tasks = [round(duration) for _, duration in record["tasks"]]
    with capsys.disabled():
        middle, high = np.percentile(delays, [50, 95])
        rate = len(delays) / SECONDS
        print(f"\n{tier}: {rate:.1f} masks/s, pointer to mask p50 {middle:.0f} ms, p95 {high:.0f} ms,", end=" ")
        print(f"{len(record['moves']) / SECONDS:.0f} moves/s, tasks over {LONG_TASK_MS} ms: {long_tasks}")
    assert len(delays) >= MASKS_PER_SECOND * SECONDS


def _wander(sam_page, size: tuple[int, int]) -> None:
    """A Lissajous figure over the picture: slow and fast, never twice the same."""
    view = sam_page.view()
    began = time.monotonic()
    while (now := time.monotonic() - began) < SECONDS:
        x = view.x + view.width * (0.5 + 0.42 * math.sin(1.3 * now))
        y = view.y + view.height * (0.5 + 0.42 * math.sin(2.1 * now + 1))
        sam_page.page.mouse.move(x, y)
        time.sleep(max(0, STEP_S - (time.monotonic() - began - now)))


def _delays(record: dict, view, size: tuple[int, int]) -> list[float]:
    """For every mask shown, milliseconds since the pointer was where the mask says."""
    times, *places = np.array(record["moves"]).T
    xs, ys = (
        (at - start) * side / span
        for at, start, side, span in zip(places, (view.x, view.y), size, (view.width, view.height), strict=True)
    )
    delays = []
    for shown_at, x, y in record["masks"]:
        distances = np.where(times <= shown_at, np.hypot(xs - x, ys - y), np.inf)
        if distances.min() < 0.1:
            delays.append(shown_at - times[distances.argmin()])
    return delays

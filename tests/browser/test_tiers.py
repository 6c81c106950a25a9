"""Every place where a mask can be decoded gives PyTorch's mask; the best that works is taken, the reasons are told."""

import os
import re

import numpy as np
import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

CLOSE = 0.97
POINTS = [(130, 130), (360, 220)]


@pytest.mark.parametrize(("tier", "precision"), [("wasm-threads", "int8"), ("wasm", "int8"), ("server", "fp32")])
def test_tier_gives_pytorchs_mask(sam_page, oracle, photographs, tier, precision):
    """WebGPU's too: see `test_webgpu`."""
    if tier == "wasm-threads" and (os.cpu_count() or 1) < 2:
        pytest.skip("this machine has one core")
    decoder = sam_page.open(tier=tier)["decoder"]
    assert (decoder["tier"], decoder["precision"]) == (tier, precision)
    assert (decoder["threads"] > 1) == (tier == "wasm-threads")
    sam_page.open_gallery(photographs["chelsea"])
    for point in POINTS:
        assert oracle.agreement(photographs["chelsea"], sam_page.hover(*point)) >= CLOSE, point
    kept = sam_page.click(*POINTS[0])
    corrected = sam_page.click(*POINTS[1], button="right")
    np.testing.assert_array_equal(corrected.feedback, kept.logits)
    assert oracle.agreement(photographs["chelsea"], corrected) >= CLOSE
    assert sam_page.state()["decoder"]["tier"] == tier, "another tier had to help out"


def test_tier_lost_between_two_clicks_loses_neither(sam_page, oracle, photographs):
    """The decoder fails after a click; the next click, with the first one's mask, is answered by the tier below."""
    picture, workers = photographs["chelsea"], []
    sam_page.page.on("worker", lambda worker: workers.append(worker))
    lost = sam_page.open()["decoder"]["tier"]
    sam_page.open_gallery(picture)
    kept = sam_page.click(*POINTS[0])
    (worker,) = [worker for worker in workers if worker.url.endswith("decoder.worker.js")]
    worker.evaluate("() => { Float32Array.prototype.set = () => { throw new RangeError('out of memory'); }; }")
    corrected = sam_page.click(*POINTS[1], button="right")
    decoder = sam_page.state()["decoder"]
    assert decoder["tier"] != lost
    assert {"tier": lost, "reason": "out of memory"} in decoder["refused"]
    assert [click["label"] for click in corrected.prompts["clicks"]] == [1, 0]
    np.testing.assert_array_equal(corrected.feedback, kept.logits)
    assert oracle.agreement(picture, corrected) >= CLOSE


def test_best_tier_that_works_is_taken_and_told(sam_page):
    decoder = sam_page.open()["decoder"]
    assert sam_page.page.evaluate("() => crossOriginIsolated")
    assert decoder["tier"] == ("wasm-threads" if os.cpu_count() > 1 else "wasm")
    assert [refusal["tier"] for refusal in decoder["refused"]][:1] == ["webgpu"]
    assert sam_page.page.locator("#tier").inner_text().startswith("WebAssembly")


def test_memory_is_told_where_the_tier_is(sam_page, photographs):
    sam_page.open()
    sam_page.open_gallery(photographs["chelsea"])
    sam_page.page.locator("#tier").click()
    line = sam_page.page.locator("#memory")
    expect(line).to_have_text(re.compile(r"Memory: (at least )?\d+ MB.*"))  # browsers count when they find the time
    assert int(re.search(r"\d+", line.inner_text())[0]) >= 2, "the embedding alone has 2 MB"

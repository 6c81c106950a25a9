"""The mask under the mouse, on photographs: the page's answer, and its pixels, against PyTorch's."""

import json
from dataclasses import fields
from functools import partial

import numpy as np
import pytest
from browser_pictures import drawn_mask, expected_in_view, in_view, overlap
from playwright.sync_api import Route

from sam.export import HoverPair, export_hover_pair

pytestmark = pytest.mark.browser

SHIPPED, EXACT, DRAWN = 0.97, 0.99, 0.9
POINTS = {
    "chelsea": [(130, 130), (250, 160), (360, 220), (40, 40)],
    "coffee": [(300, 180), (430, 330), (120, 60)],
    "astronaut": [(220, 130), (330, 350), (60, 200), (430, 150)],
}


@pytest.mark.parametrize("name", POINTS)
def test_mask_under_the_mouse_is_pytorchs(sam_page, oracle, photographs, name):
    sam_page.open()
    sam_page.open_gallery(photographs[name])
    for point in POINTS[name]:
        shown = sam_page.hover(*point)
        assert oracle.agreement(photographs[name], shown) >= SHIPPED, point
        assert shown.iou == pytest.approx(oracle.logits(photographs[name], shown.prompts)[1][shown.index], abs=0.05)


def test_pointer_that_waits_for_the_picture_has_its_mask_at_once(sam_page, oracle, photographs):
    picture = photographs["coffee"]
    sam_page.open()
    with sam_page.holding("**/api/embeddings/**"):
        sam_page.upload(picture)
        box = sam_page.page.locator("#stage").bounding_box()
        sam_page.point_on_screen(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    sam_page.wait_until_ready(picture)
    assert oracle.agreement(picture, sam_page.answer()) >= SHIPPED


def test_fp32_decoder_in_the_browser_is_pytorchs(sam_page, oracle, photographs):
    """The same page and runtime with nothing rounded: an fp32 graph and fp32 embeddings in place of the shipped."""
    picture = photographs["chelsea"]
    _serve_fp32(sam_page.page, export_hover_pair(oracle.model, "fp32"))
    assert sam_page.open()["decoder"]["precision"] == "fp32"
    sam_page.open_gallery(picture)
    for point in POINTS["chelsea"]:
        shown = sam_page.hover(*point)
        expected, _ = oracle.logits(picture, shown.prompts)
        assert oracle.agreement(picture, shown) >= EXACT
        np.testing.assert_allclose(shown.logits, expected[shown.index], atol=1e-3 * np.abs(expected).max())


@pytest.mark.parametrize("renderer", ["webgl2", "2d"])
def test_drawn_tint_covers_pytorchs_mask(sam_page, oracle, photographs, renderer):
    picture = photographs["coffee"]
    sam_page.open(renderer=renderer)
    if sam_page.wait_for("a renderer", lambda state: state["renderer"])["renderer"] != renderer:
        pytest.skip("this Chromium has no WebGL2")
    sam_page.open_gallery(picture)
    sam_page.leave_picture()
    bare = sam_page.screenshot()
    for point in POINTS["coffee"]:
        shown = sam_page.hover(*point)
        view = sam_page.view()
        expected = expected_in_view(picture, oracle.logits(picture, shown.prompts)[0][shown.index], view)
        assert overlap(drawn_mask(bare, sam_page.screenshot(), view), expected) >= DRAWN, point


def test_mask_goes_when_the_mouse_leaves(sam_page, photographs):
    sam_page.open()
    sam_page.open_gallery(photographs["coffee"])
    sam_page.leave_picture()
    view = sam_page.view()
    bare = in_view(sam_page.screenshot(), view)
    sam_page.hover(*POINTS["coffee"][0])
    assert not np.array_equal(in_view(sam_page.screenshot(), view), bare)
    sam_page.leave_picture()
    assert sam_page.state()["mask"] is None
    np.testing.assert_array_equal(in_view(sam_page.screenshot(), view), bare)


def _serve_fp32(page, pair: HoverPair) -> None:
    """Answer in the server's place where it names or sends a decoder; ask it for embeddings in fp32."""
    graphs = {role.name: getattr(pair, role.name) for role in fields(pair)}
    files = {
        role: {"url": f"/api/decoders/{graph.sha256}.onnx", "sha256": graph.sha256, "bytes": len(graph.bytes)}
        for role, graph in graphs.items()
    }

    def describe(route):
        reply = route.fetch().json()
        reply["decoders"] = [reply["decoders"][0] | {"precision": "fp32", "files": files}]
        route.fulfill(json=reply)

    def accept(route):
        answer = route.fetch()
        route.fulfill(response=answer, body=json.dumps(answer.json()).replace("/fp16", "/fp32"))

    page.route("**/api/model", describe)
    page.route("**/api/images", accept)
    for role, graph in graphs.items():
        page.route(f"**{files[role]['url']}", partial(_send, graph.bytes))


def _send(body: bytes, route: Route) -> None:
    route.fulfill(body=body)

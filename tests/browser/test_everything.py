"""Everything mode, as a person sees it: objects appear, some are taken, the search is stopped, hovering goes on."""

import json

import httpx
import pytest
from browser_page import PATIENCE_MS
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

HOLD_AT_THE_FIRST_OBJECT = """() => {
    const ask = window.fetch;
    const released = new Promise((release) => { window.releaseTheSearch = release; });
    let rest = '';
    const held = () => new TransformStream({
        async transform(chunk, controller) {
            const events = (rest + chunk).split(/(?<=\\n\\n)/);
            rest = events.at(-1).endsWith('\\n\\n') ? '' : events.pop();
            for (const event of events) {
                controller.enqueue(event);
                if (event.includes('"added":[{')) await released;
            }
        },
    });
    window.fetch = async (...asked) => {
        const answer = await ask(...asked);
        if (!answer.url.endsWith('/everything')) return answer;
        const events = answer.body.pipeThrough(new TextDecoderStream()).pipeThrough(held());
        return new Response(events.pipeThrough(new TextEncoderStream()), answer);
    };
}"""


def begin(page, preset: str = "Few") -> None:
    page.page.get_by_role("button", name=preset, exact=True).click()
    page.page.get_by_role("button", name="Find everything").click()


@pytest.fixture
def held_page(sam_page, coffee):
    """The page with a picture; what the server finds after its first object is kept from it until `release`."""
    sam_page.page.add_init_script(f"({HOLD_AT_THE_FIRST_OBJECT})()")
    sam_page.open()
    sam_page.open_gallery(coffee)
    return sam_page


def release(page) -> None:
    page.page.evaluate("() => releaseTheSearch()")


def searches(server) -> int:
    """How many the server has in hand."""
    return httpx.get(f"{server.address}healthz", timeout=PATIENCE_MS / 1000).json()["searches"]


def found(state: dict) -> list[dict]:
    return state["found"]["objects"] if state["found"] else []


def finished(state: dict) -> bool:
    return state["found"] is not None and state["found"]["status"] == "done"


def centre(page) -> tuple[float, float]:
    """A point on the screen that lies on a found object: somewhere on the boxes' middle lines."""
    for each in found(page.state()):
        left, top, right, bottom = each["box"]
        for share in (0.5, 0.3, 0.7, 0.1, 0.9):
            yield left + (right - left) * share, (top + bottom) / 2


def take_one(page) -> dict:
    before = len(page.state()["things"])
    for x, y in centre(page):
        page.page.mouse.click(*page.screen(x, y))
        state = page.state()
        if len(state["things"]) > before:
            return state
        page.press("Escape")  # a click beside every object has asked the model
    raise AssertionError("no found object could be clicked")


def test_objects_appear_while_the_search_goes_on_and_are_counted(held_page):
    page = held_page
    begin(page)
    state = page.wait_for("the first object", found)
    assert state["found"]["status"] == "running" and 0 < state["found"]["done"] < state["found"]["total"]
    expect(page.page.locator("#found")).to_be_visible()
    expect(page.page.locator("#everything [role=progressbar]")).to_be_visible()
    release(page)
    state = page.wait_for("the end", finished)
    expect(page.page.locator("#everything [role=status]")).to_contain_text(f"{len(found(state))} object")
    expect(page.page.locator("#everything [role=progressbar]")).to_be_hidden()


def test_the_bar_is_as_long_as_the_search_is_far(held_page):
    page = held_page
    begin(page)
    state = page.wait_for("the first object", found)
    far = state["found"]["done"] / state["found"]["total"]
    page.page.wait_for_function(
        """(far) => {
            const width = (name) => document.querySelector(`#everything ${name}`).getBoundingClientRect().width;
            return Math.abs(width('.fill') / width('.track') - far) < 0.01;
        }""",
        arg=far,
    )
    assert 0 < far < 1


def test_one_object_is_taken_by_a_click_and_comes_back_with_undo(page):
    begin(page)
    before = found(page.wait_for("the end", finished))
    state = take_one(page)
    (thing,) = state["things"]
    assert thing["inside"] > 0 and thing["origin"].startswith(state["found"]["search"])
    assert len(found(state)) == len(before) - 1
    page.press("Control+z")
    state = page.wait_for("nothing taken", lambda state: not state["things"])
    assert len(found(state)) == len(before)


def test_all_wholes_are_taken_in_one_step_and_then_the_parts(page):
    begin(page)
    state = page.wait_for("the end", finished)
    ids, parents = {each["id"] for each in found(state)}, state["found"]["parents"]
    wholes = {number for number in ids if str(number) not in parents}
    page.page.get_by_role("button", name="Take all").click()
    state = page.wait_for("the wholes", lambda state: state["things"])
    assert {int(thing["origin"].split("/")[1]) for thing in state["things"]} == wholes
    page.press("Control+z")
    page.wait_for("nothing taken", lambda state: not state["things"])
    page.page.get_by_role("button", name="Parts").click()
    page.page.get_by_role("button", name="Take all").click()
    state = page.wait_for("everything", lambda state: len(state["things"]) == len(ids))
    areas = [thing["inside"] for thing in state["things"]]
    assert areas == sorted(areas), "parts lie on their wholes"


def test_a_search_is_stopped_by_its_button_and_the_server_stops_too(held_page, server):
    page = held_page
    begin(page, "Fine")
    page.wait_for("the first object", found)
    page.page.get_by_role("button", name="Stop").click()
    state = page.wait_for("the stop", lambda state: state["found"]["status"] == "stopped")
    assert state["found"]["done"] < state["found"]["total"]
    page.wait_for("the server", lambda _: searches(server) == 0)


def test_leaving_the_picture_stops_its_search(page, server):
    begin(page, "Fine")
    page.wait_for("progress", lambda state: state["found"] and state["found"]["done"] > 0)
    page.page.locator("#close-picture").click()
    page.wait_for("the server", lambda _: searches(server) == 0)


def test_hovering_goes_on_while_everything_is_searched(held_page):
    page = held_page
    begin(page, "Fine")
    page.wait_for("the first object", found)
    for x, y in ((x, y) for x in range(20, 600, 40) for y in range(20, 400, 40)):
        page.page.mouse.move(*page.screen(x, y))
        state = page.wait_for("the pointer", lambda state, to=(x, y): state["hover"] == pytest.approx(to, abs=2))
        if state["found"]["pointed"] is None:
            break
    assert page.answer().prompts["clicks"]
    assert page.state()["found"]["status"] == "running"


def test_escape_forgets_what_was_found(page):
    begin(page)
    page.wait_for("an object", found)
    page.leave_picture()
    expect(page.page.locator("#found")).to_be_visible()
    page.press("Escape")
    page.wait_for("nothing", lambda state: state["found"] is None)
    expect(page.page.locator("#found")).to_be_hidden()


def test_a_server_that_refuses_is_quoted_and_may_be_asked_again(page, guard):
    guard.expect("503")
    problem = {"type": "/problems/busy", "title": "Too much work is waiting", "status": 503, "detail": "16 searches"}
    page.refuse("**/everything", problem)
    begin(page)
    state = page.wait_for("the refusal", lambda state: state["found"] and state["found"]["status"] == "failed")
    assert state["found"]["problem"]["detail"] == "16 searches"
    assert "16 searches" in page.page.locator("#everything [role=status]").text_content()
    page.page.get_by_role("button", name="Find everything").click()
    page.wait_for("an object", found)


def test_a_picture_that_the_server_has_forgotten_is_sent_again_and_searched(page, guard):
    guard.expect("404")
    sent = []
    page.refuse("**/everything", {"title": "Unknown picture", "status": 404, "detail": "It made room for others."})
    page.page.on("request", lambda request: sent.append(request.url) if request.method == "POST" else None)
    begin(page)
    page.wait_for("an object", found)
    assert [url.rpartition("/")[2] for url in sent] == ["everything", "images", "everything"]


def test_a_search_that_breaks_off_keeps_what_was_found(page):
    events = 'event: started\ndata: {"search_url":"/x","total":4}\n\nevent: update\ndata: ' + json.dumps(
        {"added": [], "retracted": [], "parents": {}, "done": 1, "total": 4, "eta_s": 2}) + "\n\n"  # fmt: skip
    page.page.route("**/everything", lambda route: route.fulfill(content_type="text/event-stream", body=events))
    begin(page)
    state = page.wait_for("the break", lambda state: state["found"] and state["found"]["status"] == "failed")
    assert (state["found"]["done"], state["found"]["total"]) == (1, 4)
    assert "broke off" in page.page.locator("#everything [role=status]").text_content()

"""What the browser keeps of a person's work: over a reload, beside other tabs, after them."""

import numpy as np
import pytest
from browser_page import SamPage
from browser_pictures import CUP, TABLE, Picture

pytestmark = pytest.mark.browser

OFFERED = 8
COUNT_STORED = """() => new Promise((resolve) => {
    const opening = indexedDB.open('segment-anything');
    opening.onsuccess = () => {
        const names = [...opening.result.objectStoreNames];
        const transaction = opening.result.transaction(names);
        const counts = names.map((name) => [name, transaction.objectStore(name).count()]);
        transaction.oncomplete = () => {
            opening.result.close();
            resolve(Object.fromEntries(counts.map(([name, { result }]) => [name, result])));
        };
    };
})"""
NAME_LOCKS = "async () => (await navigator.locks.query()).held.map(({ name }) => name)"
QUEUE_FOR_THE_SESSION = """async () => {
    const { held } = await navigator.locks.query();
    navigator.locks.request(held[0].name, () => new Promise(() => {}));
}"""
MAKE_OLD = """() => new Promise((resolve) => {
    const opening = indexedDB.open('segment-anything');
    opening.onsuccess = () => {
        const transaction = opening.result.transaction('works', 'readwrite');
        const works = transaction.objectStore('works');
        works.getAll().onsuccess = ({ target }) => target.result.forEach(
            (entry) => works.put({ ...entry, savedAt: 0 }));
        transaction.oncomplete = () => resolve(opening.result.close());
    };
})"""


def stored(page: SamPage) -> dict[str, int]:
    """How much there is of what, once this tab has nothing left to store or to forget."""
    page.wait_until_stored()
    return page.page.evaluate(COUNT_STORED)


def recent(page: SamPage) -> list[str]:
    page.wait_until_stored()
    return page.page.locator("#recent button").all_inner_texts()


@pytest.fixture
def other_tab(context, server):
    """Opens the page in one more tab of the same browser."""

    def open_tab() -> SamPage:
        tab = SamPage(context.new_page(), server.address)
        tab.open()
        return tab

    return open_tab


def leave(page: SamPage) -> None:
    """Close a tab with all of its work stored, and wait until the browser says that nobody has it open."""
    page.wait_until_stored()
    session = page.page.evaluate("sessionStorage.getItem('sam-session')")
    beside = page.page.context.new_page()
    beside.goto(f"{page.address}static/icon.svg")
    page.page.close()
    while f"sam-session/{session}" in beside.evaluate(NAME_LOCKS):
        beside.wait_for_timeout(50)
    beside.close()


# ---- one tab ----------------------------------------------------------------------------------------


def test_work_survives_a_reload(page, photographs):
    page.click(*CUP)
    page.press("n")
    kept = page.click(*TABLE)
    inside = page.state()["things"][0]["inside"]
    page.wait_until_stored()
    page.page.reload()
    page.wait_until_ready(photographs["coffee"])
    assert page.state()["things"][0]["inside"] == inside
    again = page.answer()
    assert again.prompts == kept.prompts
    np.testing.assert_array_equal(again.logits > 0, kept.logits > 0)


def test_each_object_is_stored_once_and_forgotten_with_its_picture(page):
    for place in (CUP, TABLE):
        page.click(*place)
        page.press("n")
    assert stored(page) == {"pictures": 1, "works": 1, "fields": 4}, "each as decoded and as shown"
    page.press("Control+z")
    page.press("Control+z")
    assert stored(page) == {"pictures": 1, "works": 1, "fields": 2}
    page.press("Control+Shift+z")
    page.press("Control+Shift+z")
    assert stored(page)["fields"] == 4
    page.page.locator("#strip .card-close").dispatch_event("click")
    assert stored(page) == {"pictures": 0, "works": 0, "fields": 0}


# ---- several tabs -----------------------------------------------------------------------------------


def test_ten_pictures_survive_that_other_tabs_are_opened_and_reloaded(sam_page, other_tab):
    """However old they are: a tab that is open has all of them."""
    sam_page.open()
    pictures = [Picture.encoded(f"{shade}.png", np.full((8, 8, 3), shade, np.uint8)) for shade in range(10)]
    files = [{"name": each.name, "mimeType": each.mime_type, "buffer": each.data} for each in pictures]
    sam_page.page.locator("#file").set_input_files(files)
    sam_page.wait_for("ten", lambda state: [each["status"] for each in state["pictures"]] == ["ready"] * 10)
    assert stored(sam_page)["pictures"] == 10
    sam_page.page.evaluate(MAKE_OLD)
    other = other_tab()
    assert recent(other) == [], "they are at work elsewhere"
    sam_page.page.reload()
    sam_page.wait_for("ten again", lambda state: len(state["pictures"]) == 10)
    assert stored(sam_page)["pictures"] == 10

    leave(sam_page)
    other.page.reload()
    assert len(recent(other)) == OFFERED
    assert stored(other)["pictures"] == OFFERED, "what nobody has open and nobody is offered is forgotten in time"


def test_a_picture_that_was_left_open_is_picked_up_as_a_copy(page, other_tab):
    page.click(*CUP)
    page.press("n")
    [thing] = page.state()["things"]
    left = stored(page)
    leave(page)
    other = other_tab()
    other.page.get_by_role("button", name="coffee.jpg, 1 object").click()
    [same] = other.wait_for("its object", lambda state: state["things"])["things"]
    assert same == thing
    assert stored(other) == {kind: 2 * count for kind, count in left.items()}
    leave(other)
    third = other_tab()
    assert recent(third) == ["coffee.jpg, 1 object"], "what the copy goes on from is not offered beside it"


def test_a_picture_opened_before_a_reloaded_tab_is_itself_again_takes_nothings_place(page, context, photographs):
    """Another page keeps the tab's lock from it until the picture is open."""
    page.click(*CUP)
    page.press("n")
    left = stored(page)
    holder = context.new_page()
    holder.goto(f"{page.address}static/icon.svg")
    holder.evaluate(QUEUE_FOR_THE_SESSION)
    page.page.reload()
    page.wait_until_loaded()
    page.upload_and_wait(photographs["chelsea"])
    holder.close()
    assert stored(page) == {"pictures": 2, "works": 2, "fields": left["fields"]}
    assert [each["name"] for each in page.state()["pictures"]] == ["chelsea.jpg"]
    page.page.reload()
    page.wait_until_ready(photographs["chelsea"])


def test_a_duplicated_tab_has_work_of_its_own(page, context, server):
    page.click(*CUP)
    page.press("n")
    before = stored(page)
    with context.expect_page() as opened:
        page.page.evaluate("window.open(location.href)")  # which copies sessionStorage, as duplicating does
    other = SamPage(opened.value, server.address)
    other.wait_until_loaded()
    other.wait_for("its object", lambda state: len(state["things"]) == 1)
    assert stored(other) == {kind: 2 * count for kind, count in before.items()}
    other.page.locator("#strip .card-close").dispatch_event("click")
    assert stored(other) == before
    page.page.reload()
    page.wait_for("its object", lambda state: len(state["things"]) == 1)

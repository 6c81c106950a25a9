"""Files of every kind leave the page and come in again: as a person saves, drops and undoes, read by Python."""

import io
import json
import re
import zipfile

import numpy as np
import pytest
from browser_page import PATIENCE_MS
from browser_pictures import CUP
from PIL import Image
from playwright.sync_api import expect

from sam.formats import READERS, WRITERS, MaskObject, Picture, Session, png, yolo
from sam.masks import mask_iou, rle_decode, rle_encode

pytestmark = pytest.mark.browser

SIZE = (600, 400)  # of coffee, height last
PACKER = re.compile(r"/take-home\.worker\.js$")
HOLD_THE_FILE = """
const { postMessage } = self;
self.postMessage = (reply, transfer) => reply.file || postMessage.call(self, reply, transfer);
"""
"""Packing that gets no further than to its last word."""


@pytest.fixture
def two(page):
    """A mask of the model's and a painted one above it, which overlap."""
    page.click(*CUP)
    page.press("n")
    page.press("Escape")
    page.lasso([(200, 100), (400, 100), (400, 300), (200, 300)])
    page.press("n")
    page.wait_for("two objects", lambda state: len(state["things"]) == 2)
    page.press("s")
    return page


def open_panel(page) -> None:
    if not page.page.locator("#take-home").is_visible():
        page.page.locator("#take-home-button").click()
        page.page.locator("#take-home").wait_for()


def save(page, *formats: str) -> tuple[str, bytes]:
    """Check these formats, press Save: the file's name and content."""
    open_panel(page)
    for box in page.page.locator("#take-home input[name=format]").all():
        box.set_checked(box.get_attribute("value") in formats)
    with page.page.expect_download() as download:
        page.page.get_by_role("button", name="Save", exact=True).click()
    return download.value.suggested_filename, download.value.path().read_bytes()


def session_of(page) -> Session:
    session = READERS["zip"](save(page, "session")[1])
    page.page.get_by_role("button", name="Close", exact=True).click()
    return session


def give(page, *files: tuple[str, bytes]) -> None:
    payload = [{"name": name, "mimeType": "", "buffer": data} for name, data in files]
    page.page.locator("#file").set_input_files(payload)


def give_and_wait(page, count: int, *files: tuple[str, bytes]) -> None:
    give(page, *files)
    page.wait_for(f"{count} objects", lambda state: len(state["things"]) == count)


def masks_of(session: Session) -> list[np.ndarray]:
    return [rle_decode(item.mask) for item in session.objects]


def problems(page) -> str:
    popover = page.page.locator("#file-problems")
    popover.wait_for()
    return popover.inner_text()


def unzip(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def flower(label: str = "flower") -> Session:
    """An object with a hole, an island and an edge finer than the page's own grid."""
    rows, columns = np.mgrid[: SIZE[1], : SIZE[0]] + 0.5
    angle, radius = np.arctan2(rows - 200, columns - 300), np.hypot(rows - 200, columns - 300)
    mask = (radius < 120 * (1 + 0.1 * np.sin(40 * angle))) & (radius > 30)
    mask[3:9, 5:20] = True
    return Session(Picture("coffee.jpg", *SIZE), (MaskObject(label, rle_encode(mask), "#123456"),))


# ---- out --------------------------------------------------------------------------------------------


def test_every_format_holds_what_is_shown(two):
    """All at once, in one zip: exact formats have the same masks, polygons nearly, in the same order."""
    name, data = save(two, *WRITERS, "cutouts")
    assert name == "coffee.zip"
    files = unzip(data)
    assert {path.split("/")[0] for path in files if "/" in path} == {*WRITERS, "cutouts", "images"} - {"session"}
    session = READERS["zip"](data)
    expected = masks_of(session)
    assert [item.label for item in session.objects] == ["Object 1", "Object 2"]  # the lowest first
    exact = READERS["coco"](files["coco/coffee.coco.json"])
    assert [item.mask for item in exact.objects] == [item.mask for item in session.objects]
    for path in ("coco-polygons/coffee.coco.json", "labelme/coffee.json"):
        found = masks_of(READERS[path.split("/")[0].removesuffix("-polygons")](files[path], session.picture))
        assert min(mask_iou(one, other) for one, other in zip(found, expected, strict=True)) >= 0.995, path
    names = yolo.read_names(files["yolo/data.yaml"])
    labels = yolo.read(files["yolo/labels/coffee.txt"], session.picture, names)
    assert [item.label for item in labels.objects] == ["Object 1", "Object 2"]
    for index, mask in enumerate(expected):
        (alone,) = png.read(files[f"masks/coffee.{index + 1}.Object {index + 1}.png"]).objects
        np.testing.assert_array_equal(rle_decode(alone.mask), mask)
    layers = [data for path, data in files.items() if path.startswith("indexed/")]
    together = png.read(layers[0], session.picture, layers=layers[1:])
    assert [item.mask for item in together.objects] == [item.mask for item in session.objects]


def test_one_cut_out_is_trimmed_or_of_full_size_and_may_be_soft(two):
    row = two.page.locator("#object-list li").first
    row.locator(".pick").click()
    open_panel(two)
    two.page.get_by_text("Selected", exact=True).click()
    name, data = save(two, "cutouts")
    assert name == "coffee.1.Object 2.cutout.png"
    hard = np.asarray(Image.open(io.BytesIO(data)))
    assert hard.shape[:2] < SIZE[::-1] and set(np.unique(hard[..., 3])) == {0, 255}
    two.page.get_by_text("Full size", exact=True).click()
    two.page.get_by_text("Feather", exact=True).click()
    feathered = np.asarray(Image.open(io.BytesIO(save(two, "cutouts")[1])))
    assert feathered.shape[:2] == SIZE[::-1]
    assert 0 < (feathered[..., 3] == 255).sum() < (hard[..., 3] == 255).sum()
    two.page.get_by_text("Soft", exact=True).click()
    two.page.locator(".look").wait_for()
    soft = np.asarray(Image.open(io.BytesIO(save(two, "cutouts")[1])))
    assert len(np.unique(soft[..., 3])) > 10


def test_enter_saves_once_however_often_it_is_pressed(two):
    open_panel(two)
    downloads = []
    two.page.on("download", lambda download: downloads.append(download))
    two.page.locator("#take-home input[value=masks]").focus()
    with two.page.expect_download(), two.holding(PACKER):
        for _ in range(4):
            two.press("Enter")
    two.page.locator(".take-says").get_by_text("kB.").wait_for()
    with two.page.expect_download():
        two.press("Enter")
    assert len(downloads) == 2, "one, and another when that is done"


def test_panel_that_could_not_be_loaded_is_loaded_at_the_next_press(page, guard):
    guard.expect("ERR_FAILED")
    refused = []

    def refuse_once(route) -> None:
        if refused:
            return route.continue_()
        refused.append(route.request.url)
        return route.abort()

    page.page.route(re.compile(r"/(take-home/panel|panel-\w+)\.js$"), refuse_once)
    page.page.locator("#take-home-button").click()
    page.wait_for("the message", lambda state: "could not be loaded" in (state["notice"] or ""))
    assert refused
    open_panel(page)


def test_outline_slider_shows_what_it_comes_to(two):
    two.page.locator("#object-list li").last.locator(".pick").click()
    open_panel(two)
    two.page.locator("#take-home input[value=svg]").check()
    says, slider = two.page.locator(".take-measure").first, two.page.get_by_role("slider", name="Outline")
    expect(says).to_contain_text("points")
    before, seen = says.inner_text(), []
    for value in ("20", "60", "100"):
        slider.fill(value)
        two.page.wait_for_function("(before) => !before.includes(document.querySelector('.take-measure').textContent)",
                                   arg=[*(text for text, _, _ in seen), before])  # fmt: skip
        text = says.inner_text()
        points, error = int(text.split()[1].replace(",", "")), float(text.split(" within ")[1].split()[0])
        seen.append((text, points, error))
    assert [points for _, points, _ in seen] == sorted((points for _, points, _ in seen), reverse=True)
    assert seen[0][2] < seen[-1][2] <= 5


def test_several_pictures_go_in_one_zip_and_share_their_classes(two, photographs):
    two.upload_and_wait(photographs["chelsea"])
    two.click(230, 150)
    two.page.get_by_role("combobox", name="Label of the next object").click()
    two.page.keyboard.type("cat")
    two.press("Enter")
    two.press("n")
    open_panel(two)
    two.page.get_by_text("All pictures", exact=True).click()
    name, data = save(two, "session", "coco", "yolo")
    files = unzip(data)
    assert name == "pictures.zip"
    assert files["images/chelsea.jpg"] == photographs["chelsea"].data
    assert yolo.read_names(files["yolo/data.yaml"]) == ["Object 1", "Object 2", "cat"]
    assert files["yolo/labels/chelsea.txt"].startswith(b"2 ")
    document = json.loads(files["coco/annotations.coco.json"])
    assert {image["file_name"]: image["id"] for image in document["images"]} == {"coffee.jpg": 1, "chelsea.jpg": 2}
    assert [item["image_id"] for item in document["annotations"]] == [1, 1, 2]


@pytest.mark.parametrize("context_options", [{"permissions": ["clipboard-read", "clipboard-write"]}])
def test_cut_out_goes_to_the_clipboard(two):
    open_panel(two)
    two.page.get_by_role("button", name="Copy cut-out").click()
    two.wait_for("the copy", lambda state: "Copied" in (state["notice"] or ""))
    size = two.page.evaluate("""async () => {
        const [item] = await navigator.clipboard.read();
        const { width, height } = await createImageBitmap(await item.getType('image/png'));
        return [width, height];
    }""")
    assert 190 < size[0] < 215 and 190 < size[1] < 215


def test_cancelled_work_writes_nothing(two):
    addition = HOLD_THE_FILE

    def add(route) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, body=addition + answer.text())

    two.page.route(PACKER, add)
    downloads = []
    two.page.on("download", lambda download: downloads.append(download.suggested_filename))
    open_panel(two)
    two.page.get_by_text("Soft", exact=True).click()
    two.page.get_by_role("button", name="Save", exact=True).click()
    two.page.get_by_text(re.compile("Packing")).first.wait_for()
    two.page.get_by_role("button", name="Cancel").click()
    two.page.get_by_text("Cancelled; nothing was written.").wait_for()
    addition = ""
    assert save(two, "coco")[0] == "coffee.coco.json"
    assert downloads == ["coffee.coco.json"]


# ---- in ---------------------------------------------------------------------------------------------


def test_session_comes_back_with_its_picture_on_another_day(two, chromium, server, guard):
    name, data = save(two, "session")
    context = chromium.new_context()
    context.set_default_timeout(PATIENCE_MS)
    guard.watch(context)
    other = type(two)(context.new_page(), server.address)
    other.open()
    give_and_wait(other, 2, (name, data))
    assert other.state()["picture"]["name"] == "coffee.jpg"
    assert session_of(other) == READERS["zip"](data)
    other.page.locator("#object-list li").last.locator(".pick").click()
    other.page.get_by_role("button", name="Edit Object 1").click()  # from its prompts, as if it had never left
    assert other.answer().prompts["clicks"][0]["x"] == pytest.approx(CUP[0], abs=1)
    context.close()


def test_files_of_others_become_objects_and_leave_as_they_came(page):
    for format in ("session", "coco", "coco-polygons", "labelme", "yolo", "masks", "indexed", "cutouts"):
        bring_in_and_take_out(page, format)


def bring_in_and_take_out(page, format: str) -> None:
    session = flower()
    picture = session.picture
    if format == "cutouts":
        files = png.write_cutouts(session, np.zeros((*picture.size, 3), np.uint8), trimmed=False)
    else:
        files = WRITERS[format](session)
    if format in ("coco-polygons", "labelme", "yolo", "cutouts"):
        reader = {"coco-polygons": "coco", "cutouts": "png"}.get(format, format)
        read = [READERS[reader](data, picture) for name, data in files.items() if not name.endswith("yaml")]
        session = Session(picture, read[0].objects)
    open_panel(page)
    payload = [{"name": name.split("/")[-1], "mimeType": "", "buffer": data} for name, data in files.items()]
    page.page.get_by_label("Annotations", exact=True).set_input_files(payload)
    page.wait_for(f"an object from {format}", lambda state: len(state["things"]) == 1)
    if format not in ("cutouts",):
        assert page.state()["things"][0]["label"] == "flower", format
    found = session_of(page)
    assert found.objects[0].mask == session.objects[0].mask, format
    page.press("Control+z")
    assert page.state()["things"] == [], format


def test_what_comes_in_lies_above_what_is_there_and_can_be_worked_on(two):
    (data,) = WRITERS["coco"](flower()).values()
    give_and_wait(two, 3, ("coffee.coco.json", data))
    assert [thing["label"] for thing in two.state()["things"]] == ["flower", "Object 2", "Object 1"]
    exact = session_of(two).objects[-1].mask
    two.page.locator("#object-list li").first.locator(".pick").click()
    slider = two.page.get_by_role("slider", name="Grow or shrink")
    slider.fill("40")
    assert rle_decode(session_of(two).objects[-1].mask).sum() > rle_decode(exact).sum()
    slider.fill("0")
    assert session_of(two).objects[-1].mask == exact  # not edited any more, so it is the file's again


def test_bad_files_are_refused_by_name_and_nothing_is_lost(two):
    before = two.state()["things"]
    small = WRITERS["coco"](halved(flower()))["coffee.coco.json"]
    for name, data, message in (
        ("coffee.coco.json", coco()[:-40], "not complete JSON"),
        ("coffee.coco.json", coco(segmentation=[[900, 900, 1200, 900, 1200, 1200]]), "annotation 1: a polygon"),
        ("coffee.coco.json", coco(segmentation=[[610, 10, 620, 10, 620, 30]]), "covers no pixel"),
        ("coffee.coco.json", coco(category_id=7), "annotation 1: its category 7"),
        ("small.coco.json", small, "made for 'coffee.jpg' of 300"),
        ("coffee.txt", b"0 0.1 0.1 0.5 0.1 0.5 0.5\n0 0.1 2 0.5 0.1 0.5 0.5", "line 2: a number outside"),
        ("coffee.json", b'{"answer": 42}', "neither COCO"),
        ("coffee.zip", b"PK\x03\x04 no zip", "not a zip"),
    ):
        give(two, (name, data))
        text = problems(two)
        assert name in text and message in text
        assert two.state()["things"] == before
        two.page.locator("#file-problems button").click()


def test_ten_thousand_objects_are_refused_and_odd_labels_are_not(two):
    tile = {"size": [400, 600], "counts": [10, 5, 239985]}
    many = json.loads(coco(segmentation=tile))
    many["annotations"] = [{**many["annotations"][0], "id": index} for index in range(10_000)]
    before = two.state()["things"]
    give(two, ("coffee.coco.json", json.dumps(many).encode()))
    assert "10000 objects; the page works with up to 500" in problems(two)
    assert two.state()["things"] == before
    two.page.locator("#file-problems button").click()
    odd = 'a "b" <i>& 目标 🎯'
    give_and_wait(two, 3, ("coffee.coco.json", WRITERS["coco"](flower(odd))["coffee.coco.json"]))
    assert two.state()["things"][0]["label"] == odd
    assert session_of(two).objects[-1].label == odd


def test_grey_photograph_is_still_a_picture(page, photographs):
    grey = Image.fromarray(photographs["coffee"].pixels).convert("L")
    with io.BytesIO() as file:
        grey.save(file, "PNG")
        give(page, ("grey.png", file.getvalue()))
    page.wait_for("the photograph", lambda state: state["picture"]["name"] == "grey.png")


def coco(**changes) -> bytes:
    document = json.loads(WRITERS["coco"](flower())["coffee.coco.json"])
    document["annotations"][0].update(changes)
    return json.dumps(document).encode()


def halved(session: Session) -> Session:
    mask = rle_decode(session.objects[0].mask)[::2, ::2]
    return Session(Picture("coffee.jpg", 300, 200), (MaskObject("flower", rle_encode(mask), "#123456"),))

"""Another model on the page: chosen by hand or by keys, downloaded after a yes; pictures, prompts and objects stay."""

import re
import threading
import time
from collections.abc import Iterator

import pytest
import torch
from browser_page import PATIENCE_MS, PHONE, SamPage
from browser_pictures import Oracle, overlap
from browser_server import DemoServer, Tripwire
from file_server import file_server, status
from playwright.sync_api import Locator, expect

from sam import SAM, load_sam
from sam.hub.downloads import REPORT_INTERVAL_S

pytestmark = pytest.mark.browser

CLOSE = 0.97
CAT, EAR = (130, 130), (300, 100)


@pytest.fixture(scope="module")
def tuned() -> SAM:
    """A fine-tuned tiny: it answers as before and means something else by it."""
    model = load_sam("tiny")
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in model.mask_decoder.parameters():
            if weight.ndim > 1:
                weight.add_(0.5 * weight.std() * torch.randn(weight.shape, generator=generator))
    return model


@pytest.fixture(scope="module")
def hub(tuned, tmp_path_factory) -> Iterator:
    """A hub where the fine-tuned model is published; it sends more than half, and the rest when it is told to."""
    file = tmp_path_factory.mktemp("hub") / "model.safetensors"
    tuned.save(file)
    go_on = threading.Event()

    def in_parts(request, content: bytes) -> None:
        request.send_response(200)
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        most = 3 * len(content) // 4
        for part in (content[: len(content) // 2], content[len(content) // 2 : most]):
            request.wfile.write(part)
            request.wfile.flush()
            time.sleep(2 * REPORT_INTERVAL_S)  # what comes at once is told once
        go_on.wait()
        request.wfile.write(content[most:])

    with file_server(file.read_bytes(), in_parts, status(404)) as server:
        server.go_on = go_on
        yield server
        go_on.set()


@pytest.fixture(scope="module")
def tripwire() -> Iterator[Tripwire]:
    """Its own: one test agrees to a download, which ends here."""
    with Tripwire() as listening:
        yield listening
        listening.shutdown()


@pytest.fixture(scope="module")
def server(runtime, tripwire, tuned, hub, tmp_path_factory) -> Iterator[DemoServer]:
    """The demo with the embedded model, the fine-tuned one, and what can be downloaded."""
    folder = tmp_path_factory.mktemp("server")
    tuned.save(folder / "tuned.safetensors")
    offered = {
        "SAM_DEMO_MODELS": f"{folder / 'tuned.safetensors'},somebody/model",
        "SAM_DEMO_OFFER_DOWNLOADS": "yes",
        "HF_ENDPOINT": hub.address.rpartition("/")[0],
        "SAM_HOME": str(folder / "home"),
    }
    demo = DemoServer(folder / "log.txt", "tiny", tripwire.environment | offered)
    demo.start()
    yield demo
    demo.stop()


@pytest.fixture
def browsers_own() -> tuple[str, ...]:
    """One test agrees to a download that ends at the tripwire."""
    return ("github.com",)


def row(page: SamPage, title: str) -> Locator:
    return page.page.locator("#models li").filter(has=page.page.get_by_text(title, exact=True))


def wait_for_model(page: SamPage, model_id: str) -> None:
    page.wait_for(model_id, lambda state: state["service"].get("info", {}).get("id") == model_id)
    expect(page.page.locator("#model[data-status=ready]")).to_be_visible(timeout=PATIENCE_MS)


def test_switching_by_keys_keeps_prompts_and_objects_and_the_other_model_answers_them(sam_page, photographs, tuned):
    picture = photographs["chelsea"]
    sam_page.open(tier="wasm")
    sam_page.open_gallery(picture)
    sam_page.click(*CAT)
    sam_page.press("n")
    [kept] = sam_page.state()["things"]
    before = sam_page.click(*EAR)
    uploads = []
    sam_page.page.on("request", lambda request: uploads.append(request.url) if request.method == "POST" else None)

    sam_page.page.locator("#model").focus()
    sam_page.press("Enter")
    use = sam_page.page.get_by_role("button", name="Use: tuned")
    while not use.evaluate("(button) => button === document.activeElement"):
        sam_page.press("Tab")
    sam_page.press("Enter")
    wait_for_model(sam_page, "tuned")
    sam_page.wait_until_ready(picture)
    after = sam_page.answer()

    assert after.prompts == before.prompts
    assert Oracle(tuned).agreement(picture, after) >= CLOSE > overlap(before.logits > 0, after.logits > 0)
    assert sam_page.state()["things"] == [kept]
    assert not any("/api/images" in url for url in uploads), "the server has the picture"
    expect(row(sam_page, "tuned").get_by_text("In use.")).to_be_visible()

    sam_page.wait_until_stored()
    sam_page.page.reload()
    sam_page.wait_until_ready(picture)
    wait_for_model(sam_page, "tuned")


def test_a_phone_has_the_list_as_a_sheet(context, server, photographs):
    page = SamPage(context.new_page(), server.address)
    page.page.set_viewport_size(PHONE["viewport"])
    page.open(tier="wasm")
    page.open_gallery(photographs["chelsea"])
    page.page.locator("#model").click()
    expect(row(page, "tuned")).to_be_visible()
    box = page.page.locator("#models").bounding_box()
    assert box["x"] >= 0 and box["x"] + box["width"] <= PHONE["viewport"]["width"]
    row(page, "tuned").get_by_role("button").click()
    wait_for_model(page, "tuned")


def test_a_download_waits_for_a_yes_shows_its_progress_and_is_used(sam_page, photographs, tuned, hub, guard):
    sam_page.open(tier="wasm")
    sam_page.open_gallery(photographs["chelsea"])
    sam_page.click(*EAR)
    sam_page.page.locator("#model").click()
    there = row(sam_page, "somebody/model on Hugging Face")
    there.get_by_role("button", name="Download").click()
    expect(there.get_by_text("Licence: see")).to_be_visible()
    assert hub.asked == [], "nobody has agreed"
    there.get_by_role("button", name="Not now").click()
    there.get_by_role("button", name="Download").click()
    there.get_by_role("button", name="Agree and download").click()
    progress = there.get_by_role("progressbar")
    expect(progress).to_have_attribute("aria-valuenow", re.compile("[567][0-9]"))
    expect(there.get_by_role("button", name="Cancel")).to_be_visible()
    other = SamPage(sam_page.page.context.new_page(), sam_page.address)
    other.open(tier="wasm")
    other.page.locator("#model").click()
    bar = row(other, "somebody/model on Hugging Face").get_by_role("progressbar")
    expect(bar).to_have_attribute("aria-valuenow", re.compile("[567][0-9]"))
    other.page.close()
    hub.go_on.set()
    wait_for_model(sam_page, "somebody--model")
    sam_page.wait_until_ready(photographs["chelsea"])
    assert Oracle(tuned).agreement(photographs["chelsea"], sam_page.answer()) >= CLOSE


def test_a_download_that_fails_says_why_and_the_page_goes_on(sam_page, photographs):
    """The tripwire lets nothing through."""
    sam_page.open(tier="wasm")
    sam_page.open_gallery(photographs["chelsea"])
    sam_page.page.locator("#model").click()
    there = row(sam_page, "MobileSAM")
    there.get_by_role("button", name="Download").click()
    there.get_by_role("button", name="Agree and download").click()
    expect(there.get_by_text("The download failed")).to_be_visible(timeout=PATIENCE_MS)
    expect(there.get_by_role("button", name="Try again")).to_be_visible()
    assert sam_page.hover(*CAT).logits is not None

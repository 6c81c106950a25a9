"""On WebGPU the masks are PyTorch's, and nothing but them comes back: what is prepared stays where it is read."""

import pytest
from browser_pictures import GRID

pytestmark = pytest.mark.browser

CAT = (130, 130)
MASKS = 4
LOGITS_BYTES, IOU_BYTES = MASKS * GRID * GRID * 4, MASKS * 4
COUNT_READS = """
const { mapAsync } = GPUBuffer.prototype;
self.bytesRead = [];
GPUBuffer.prototype.mapAsync = function (mode, offset = 0, size = this.size - offset) {
  if (mode & GPUMapMode.READ) self.bytesRead.push(size);
  return mapAsync.call(this, mode, offset, size);
};
"""


def test_masks_are_pytorchs_and_only_logits_and_their_iou_are_read_back(sam_page, oracle, photographs):
    """From the picture to its mask, preparing included."""
    page, picture, workers = sam_page.page, photographs["chelsea"], []
    if not sam_page.has_webgpu():
        pytest.skip("this Chromium has no WebGPU adapter, not even SwiftShader")
    page.route("**/decoder.worker.js", _counting)
    page.on("worker", lambda worker: workers.append(worker))
    decoder = sam_page.open(tier="webgpu")["decoder"]
    assert (decoder["tier"], decoder["precision"]) == ("webgpu", "fp16")
    (worker,) = [worker for worker in workers if worker.url.endswith("decoder.worker.js")]
    worker.evaluate("() => { bytesRead.length = 0; }")
    sam_page.open_gallery(picture)
    shown = sam_page.hover(*CAT)
    assert sorted(worker.evaluate("() => bytesRead")) == [IOU_BYTES, LOGITS_BYTES]
    corrected = [sam_page.click(*CAT), sam_page.click(CAT[0] + 60, CAT[1] + 60)][-1]
    assert corrected.feedback is not None and oracle.agreement(picture, corrected) >= 0.97
    assert set(worker.evaluate("() => bytesRead")) == {IOU_BYTES, LOGITS_BYTES}
    assert oracle.agreement(picture, shown) >= 0.97
    assert sam_page.state()["decoder"]["tier"] == "webgpu", "another tier had to help out"


def _counting(route) -> None:
    answer = route.fetch()
    route.fulfill(response=answer, body=answer.text() + COUNT_READS)

"""What a visit costs: bytes that come over the wire until the first mask, and on the next visit."""

from collections import Counter

import pytest
from browser_page import SamPage
from playwright.sync_api import BrowserContext, Request

pytestmark = pytest.mark.browser

MEGABYTE = 1_000_000
FIRST_VISIT, NEXT_VISIT = 6 * MEGABYTE, 0.05 * MEGABYTE
KINDS = {
    "/static/vendor/onnxruntime": "runtime",
    "/api/decoders/": "decoder",
    "/api/embeddings/": "embedding",
    "/static/gallery/": "pictures",
}
CAT = (130, 130)


class Meter:
    """Bytes of all answers in a context, headers included, by kind; what the cache answers weighs nothing."""

    def __init__(self, context: BrowserContext) -> None:
        self._finished: list[Request] = []
        context.on("requestfinished", lambda request: self._finished.append(request))

    def read(self) -> Counter[str]:
        """What came since the last reading."""
        finished, self._finished[:] = list(self._finished), []
        bytes_by_kind: Counter[str] = Counter()
        for request in finished:
            sizes = request.sizes()
            bytes_by_kind[_kind(request.url)] += sizes["responseBodySize"] + sizes["responseHeadersSize"]
        return bytes_by_kind

    def forget(self) -> None:
        """What came since the last reading belongs to no visit."""
        self._finished.clear()


def test_first_visit_is_light_and_the_next_moves_next_to_nothing(context, server, photographs, capsys):
    meter = Meter(context)
    visits = []
    for _ in range(2):
        sam_page = SamPage(context.new_page(), server.address)
        sam_page.open(tier="wasm")
        sam_page.open_gallery(photographs["chelsea"])
        sam_page.hover(*CAT)
        visits.append(meter.read())
        sam_page.page.close()
        meter.forget()
    with capsys.disabled():
        for name, visit in zip(("first visit", "next visit"), visits, strict=True):
            print(f"\n{name}:", ", ".join(f"{kind} {count:,} B" for kind, count in visit.most_common()))
    first, following = ({kind: count for kind, count in visit.items() if kind != "pictures"} for visit in visits)
    assert sum(first.values()) < FIRST_VISIT, first
    assert sum(following.values()) < NEXT_VISIT, following
    assert not following.get("runtime") and not following.get("decoder") and not following.get("embedding")


def _kind(url: str) -> str:
    return next((kind for part, kind in KINDS.items() if part in url), "page")

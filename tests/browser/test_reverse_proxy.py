"""Behind a reverse proxy that mounts the server under a prefix, stripped or not: the page, its workers and Gradio."""

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest
from browser_page import PATIENCE_MS, Guard, SamPage
from browser_proxy import reverse_proxy, serving
from browser_server import DemoServer

from demo.settings import parse_settings

pytestmark = pytest.mark.browser

PREFIX = "/some/prefix"
CLOSE = 0.97
POINT = (130, 130)


@pytest.fixture(scope="module")
def prefixed_server(runtime, tripwire, tmp_path_factory) -> Iterator[DemoServer]:
    log = tmp_path_factory.mktemp("prefixed") / "log.txt"
    demo = DemoServer(log, parse_settings([]).checkpoint, tripwire.environment | {"SAM_DEMO_ROOT_PATH": PREFIX})
    demo.start()
    yield demo
    demo.stop()


@pytest.fixture(params=[True, False], ids=["stripped", "kept"])
def mounted(prefixed_server, request) -> Iterator[str]:
    """The server's address behind the proxy."""
    with serving(reverse_proxy(prefixed_server.address, PREFIX, strips=request.param)) as proxy:
        yield proxy.rstrip("/") + PREFIX + "/"


@pytest.fixture
def visitor(chromium, tripwire):
    """Opens a context that fails the test when it causes errors or leaves the host and the prefix that it is given."""

    @contextmanager
    def visit(address: str):
        guard = Guard(host=urlsplit(address).netloc)
        proxy = {"server": tripwire.address, "bypass": "127.0.0.1"}
        context = chromium.new_context(viewport={"width": 1280, "height": 800}, reduced_motion="reduce", proxy=proxy)
        context.set_default_timeout(PATIENCE_MS)
        guard.expect("/favicon.ico")  # Gradio's page names none, so browsers ask the host, as they do everywhere
        guard.watch(context)
        asked = []
        context.on("request", lambda request: asked.append(request.url))
        yield context
        context.close()
        assert guard.unexpected == []
        assert [url for url in asked if url.startswith("http") and not url.startswith(address)] == []

    return visit


@pytest.mark.parametrize("tier", ["wasm-threads", "server"])
def test_the_page_works_under_a_prefix(mounted, visitor, oracle, photographs, tier):
    with visitor(mounted) as context:
        page = SamPage(context.new_page(), mounted)
        assert page.open(tier=tier)["decoder"]["tier"] == tier
        page.open_gallery(photographs["chelsea"])
        assert oracle.agreement(photographs["chelsea"], page.hover(*POINT)) >= CLOSE
        assert page.page.evaluate("() => crossOriginIsolated")


def test_gradio_works_under_a_prefix(mounted, visitor, photographs):
    coffee = photographs["coffee"]
    with visitor(mounted) as context:
        page = context.new_page()
        page.goto(f"{mounted}gradio")
        assert page.url == f"{mounted}gradio/"
        page.locator("input[type=file]").first.set_input_files(
            {"name": coffee.name, "mimeType": coffee.mime_type, "buffer": coffee.data}
        )
        shown = page.locator(f'.stage img[src^="{mounted}gradio/gradio_api/file="]')
        shown.wait_for()
        page.wait_for_function("image => image.naturalWidth > 0", arg=shown.element_handle())


def test_the_prefix_without_its_slash_leads_to_the_page(prefixed_server, chromium):
    page = chromium.new_page()
    page.set_default_timeout(PATIENCE_MS)
    page.goto(prefixed_server.address.rstrip("/") + PREFIX)
    assert page.url == prefixed_server.address.rstrip("/") + PREFIX + "/"
    page.close()

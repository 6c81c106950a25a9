"""The real page in a real Chromium on a real server; skipped by name where one of them cannot be had."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from browser_page import PATIENCE_MS, Guard, SamPage
from browser_pictures import Oracle, Picture
from browser_server import ROOT, DemoServer, Tripwire
from filelock import FileLock
from playwright.sync_api import Browser, BrowserContext, Playwright, expect, sync_playwright

from demo.routes.page import Document, static_folder, vendor_is_built
from demo.settings import parse_settings
from sam import load_sam

CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM_FLAGS = (
    "--no-sandbox",
    "--no-first-run",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-unsafe-webgpu",
    "--use-webgpu-adapter=swiftshader",
    "--proxy-server=http://127.0.0.1:1",  # what Chromium itself calls home ends here; a context has the tripwire
)
INSTALL_S = 600
ONE_AT_A_TIME = FileLock(Path(tempfile.gettempdir()) / "segment-anything-tests.lock")
"""The tests run in two processes; what is missing is installed and built by one of them."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Browser tests go last: they are the slowest, and Playwright keeps an event loop in this thread until the end."""
    here = Path(__file__).parent
    items.sort(key=lambda item: here in item.path.parents)


# ---- what the tests run on --------------------------------------------------------------------------


@pytest.fixture(scope="session")
def playwright() -> Iterator[Playwright]:
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as started:
        yield started


@pytest.fixture(scope="session")
def tripwire() -> Iterator[Tripwire]:
    with Tripwire() as listening:
        yield listening
        listening.shutdown()


@pytest.fixture(scope="session")
def chromium(playwright: Playwright) -> Iterator[Browser]:
    with ONE_AT_A_TIME:
        path = _find_chromium(playwright) or _install_chromium()
    if path is None:
        pytest.skip("no Chromium: none is installed, CHROMIUM names none, and apt-get could not install it")
    browser = playwright.chromium.launch(executable_path=path, args=CHROMIUM_FLAGS, timeout=PATIENCE_MS)
    yield browser
    browser.close()


@pytest.fixture(scope="session")
def runtime() -> None:
    """What the page runs on, and the page as it is served to people: built, and from the sources as they are now."""
    with ONE_AT_A_TIME:
        _build_page()


def _build_page() -> None:
    static = static_folder()
    document = Document(static)
    if vendor_is_built(static) and document.path != document.source:
        return
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is missing, and so is what it would build in static/vendor")
    commands = [["run", "page"]] if vendor_is_built(static) else [["ci", "--ignore-scripts"], ["run", "vendor"]]
    for command in commands:
        subprocess.run([npm, *command], cwd=ROOT, check=True, capture_output=True)


@pytest.fixture(scope="session")
def server(runtime, tripwire: Tripwire, tmp_path_factory) -> Iterator[DemoServer]:
    """The demo with the embedded model, or the one that SAM_DEMO_CHECKPOINT names."""
    log = tmp_path_factory.mktemp("server") / "log.txt"
    demo = DemoServer(log, parse_settings([]).checkpoint, tripwire.environment)
    demo.start()
    yield demo
    demo.stop()


@pytest.fixture(scope="session")
def oracle() -> Oracle:
    return Oracle(load_sam(parse_settings([]).checkpoint))


@pytest.fixture(scope="session")
def photographs() -> dict[str, Picture]:
    """The gallery by name: "chelsea", "coffee", ..."""
    files = (static_folder() / "gallery").glob("*.jpg")
    return {file.stem: Picture(file.name, file.read_bytes()) for file in files}


# ---- what one test gets -----------------------------------------------------------------------------


@pytest.fixture
def browsers_own() -> tuple[str, ...]:
    """Addresses that the browser itself asks, whatever the page: none, where a page has no form."""
    return ()


@pytest.fixture
def guard(server: DemoServer, tripwire: Tripwire, browsers_own: tuple[str, ...]) -> Iterator[Guard]:
    """Fails the test that causes an error, is refused by a policy, or asks anybody but our server."""
    before = len(tripwire.calls)
    guard = Guard(host=urlsplit(server.address).netloc)
    yield guard
    assert guard.unexpected == []
    assert [call for call in tripwire.calls[before:] if not any(own in call for own in browsers_own)] == []


@pytest.fixture
def context_options() -> dict:
    """How the test's browser context differs from the usual; a test parametrizes it."""
    return {}


@pytest.fixture
def context(chromium: Browser, guard: Guard, tripwire: Tripwire, context_options: dict) -> Iterator[BrowserContext]:
    proxy = {"server": tripwire.address, "bypass": "127.0.0.1"}
    options = {"viewport": {"width": 1280, "height": 800}, "reduced_motion": "reduce", "proxy": proxy}
    context = chromium.new_context(**(options | context_options))
    context.set_default_timeout(PATIENCE_MS)
    guard.watch(context)
    yield context
    context.close()


@pytest.fixture
def sam_page(context: BrowserContext, server: DemoServer) -> SamPage:
    return SamPage(context.new_page(), server.address)


@pytest.fixture
def coffee(photographs: dict[str, Picture]) -> Picture:
    """The picture that `browser_pictures` names places in."""
    return photographs["coffee"]


@pytest.fixture
def page(sam_page: SamPage, coffee: Picture) -> SamPage:
    """The page with that picture open."""
    sam_page.open()
    sam_page.open_gallery(coffee)
    return sam_page


# ---- Chromium ---------------------------------------------------------------------------------------


def _find_chromium(playwright: Playwright) -> str | None:
    named = os.environ.get("CHROMIUM")
    if named:
        return shutil.which(named)
    installed = next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)
    own = playwright.chromium.executable_path
    return installed or (own if Path(own).is_file() else None)


def _install_chromium() -> str | None:
    """Debian's and Ubuntu's package, where we may install it."""
    apt = shutil.which("apt-get")
    if os.environ.get("CHROMIUM") or apt is None or os.geteuid() != 0:
        return None
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for arguments in (["update"], ["install", "-y", "--no-install-recommends", "chromium"]):
        try:
            subprocess.run([apt, *arguments], env=environment, timeout=INSTALL_S, check=True, capture_output=True)
        except (subprocess.SubprocessError, OSError):
            return None
    return shutil.which("chromium")

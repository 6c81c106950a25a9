"""The built page: small, whole, served as long as it is what the sources say, and never a moment longer."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from demo_world import Browser

from demo.app import create_app
from demo.routes.page import FOREVER, REVALIDATE

ROOT = Path(__file__).parents[2]
LIMIT, LIMIT_WITH_ALL = 80_000, 90_000
"""Bytes of our own JavaScript and CSS, packed with Brotli: of a visit, and with what only saving files loads."""
OF_A_VISIT = ("main.js", "decoder.worker.js", "teammate.worker.js", "painter.worker.js", "styles.css")


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """The page's own sources in a folder of their own, built there."""
    node = shutil.which("node")
    if node is None or not (ROOT / "node_modules" / "esbuild").is_dir():
        pytest.skip("node or node_modules/esbuild is missing: npm ci")
    root = tmp_path_factory.mktemp("checkout")
    (root / "node_modules").symlink_to(ROOT / "node_modules")
    shutil.copytree(ROOT / "static", root / "static", ignore=shutil.ignore_patterns("vendor", "gallery", "*.wasm"))
    build(root, node)
    return root / "static"


def build(root: Path, node: str) -> None:
    run = subprocess.run([node, "static/build-page.mjs"], cwd=root, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


@pytest.fixture
def page(built, tmp_path) -> Path:
    """A build of one's own to spoil."""
    return shutil.copytree(built, tmp_path / "static")


def scripts(html: str) -> list[str]:
    return re.findall(r'<script type="module" src="(.*?)">', html)


def test_javascript_and_css_of_a_visit_weigh_less_than_80_kb(built):
    [folder] = (built / "vendor").glob("page-*")
    weights = {
        file.name: file.with_name(file.name + ".br").stat().st_size
        for suffix in ("js", "css")
        for file in folder.glob(f"*.{suffix}")
    }
    visit = set(OF_A_VISIT)
    while found := {name for each in visit for name in imports(folder / each)} - visit:
        visit |= found
    assert sum(weights[name] for name in visit) < LIMIT, {name: weights[name] for name in visit}
    assert sum(weights.values()) < LIMIT_WITH_ALL, weights


def imports(module: Path) -> list[str]:
    """What a built module cannot start without."""
    return re.findall(r'(?:from|import)\s*"\./(.*?)"', module.read_text())


def test_the_build_is_served_packed_and_for_ever_under_an_address_of_its_own(service, built):
    browser = Browser(create_app(service, static=built))
    document = browser.get("/", headers={"Accept-Encoding": "gzip"})
    assert document.headers["content-type"] == "text/html; charset=utf-8"
    assert document.headers["content-encoding"] == "gzip"
    assert document.headers["cache-control"] == REVALIDATE
    known = {"If-None-Match": document.headers["etag"], "Accept-Encoding": "gzip"}
    assert browser.get("/", headers=known).status_code == 304
    addresses = re.findall(r'(?:href|src)="(static/vendor/page-[0-9a-f]{16}/.*?)"', document.text)
    assert {address.rpartition("/")[2] for address in addresses} >= {"main.js", "styles.css"}
    for address in addresses:
        answer = browser.get(address, headers={"Accept-Encoding": "gzip"})
        assert (answer.status_code, answer.headers["content-encoding"]) == (200, "gzip")
        assert answer.headers["cache-control"] == FOREVER


def test_what_the_build_needs_lies_beside_it(built):
    """Every import and every worker's address names a file of the build; the kernel's leads to its folder."""
    [folder] = (built / "vendor").glob("page-*")
    for file in folder.glob("*.js"):
        code = file.read_text()
        for name in re.findall(r'(?:from|import)\s*"(\./.*?)"', code) + re.findall(r'new URL\("(\./.*?)"', code):
            assert (folder / name).is_file(), (file.name, name)
    assert "../../kernels/" in (folder / "decoder.worker.js").read_text() + "".join(
        chunk.read_text() for chunk in folder.glob("chunk-*.js")
    )
    assert (folder / "../../kernels/decoder.ts").is_file()


@pytest.mark.parametrize("name", ["js/state/selectors.js", "styles.css", "index.html"])
def test_an_edited_source_is_served_at_once_and_said(service, page, name, caplog):
    browser = Browser(create_app(service, static=page))
    assert "/vendor/" in scripts(browser.get("/").text)[0]
    (page / name).write_text((page / name).read_text() + "\n")
    for _ in range(2):
        assert scripts(browser.get("/").text) == ["static/js/main.js"]
    assert [record.getMessage() for record in caplog.records if name in record.getMessage()] == [
        f"static/{name} changed since the page was built; serving the sources until: npm run page"
    ]


def test_a_source_that_was_put_back_has_its_build_again(service, page):
    browser, module = Browser(create_app(service, static=page)), page / "js" / "state" / "selectors.js"
    before = module.read_text()
    module.write_text("// another branch\n")
    assert scripts(browser.get("/").text) == ["static/js/main.js"]
    module.write_text(before)
    assert "/vendor/" in scripts(browser.get("/").text)[0]
    module.unlink()
    assert scripts(browser.get("/").text) == ["static/js/main.js"]


def test_whoever_wants_to_read_the_page_asks_for_its_source(service, built):
    browser = Browser(create_app(service, static=built))
    assert scripts(browser.get("/?source").text) == ["static/js/main.js"]
    assert scripts(browser.get("/?tier=wasm").text) != ["static/js/main.js"]


def test_a_checkout_without_a_build_serves_its_sources(service, page):
    (page / "vendor" / "page.json").unlink()
    assert scripts(Browser(create_app(service, static=page)).get("/").text) == ["static/js/main.js"]


def test_a_new_build_replaces_the_old_one(page):
    (page.parent / "node_modules").symlink_to(ROOT / "node_modules")
    module = page / "js" / "state" / "selectors.js"
    module.write_text(module.read_text().replace("const LARGEST_VIEW = 2048;", "const LARGEST_VIEW = 2049;"))
    [before] = (page / "vendor").glob("page-*")
    build(page.parent, shutil.which("node"))
    [after] = (page / "vendor").glob("page-*")
    assert before.name != after.name == json.loads((page / "vendor" / "page.json").read_text())["folder"]

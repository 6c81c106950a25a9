"""Under a prefix, in a frame, behind a proxy that isolates: addresses and headers are right."""

import pytest
from demo_world import Browser, png

from demo.app import create_app
from demo.guard.hosting import Hosting

PREFIX = "/some/prefix"
ISOLATION = ("Cross-Origin-Opener-Policy", "Cross-Origin-Embedder-Policy", "Cross-Origin-Resource-Policy")


@pytest.fixture(scope="module")
def prefixed(shared_service) -> Browser:
    return Browser(create_app(shared_service, hosting=Hosting(root_path=PREFIX)))


@pytest.mark.parametrize("given", [PREFIX, ""], ids=["kept", "stripped"])
def test_answers_name_addresses_under_the_prefix_whether_or_not_a_proxy_strips_it(prefixed, given):
    reply = prefixed.post(f"{given}/api/images", content=png(seed=41)).json()
    assert all(reply[name].startswith(f"{PREFIX}/api/") for name in ("embedding_url", "events_url", "decode_url"))
    address = given + reply["embedding_url"].removeprefix(PREFIX)
    assert prefixed.get(address).status_code == 200
    model = prefixed.get(f"{given}/api/model").json()
    urls = [file["url"] for decoder in model["decoders"] for file in decoder["files"].values()]
    assert urls and all(url.startswith(f"{PREFIX}/api/decoders/") for url in urls)
    assert prefixed.get(given + urls[0].removeprefix(PREFIX)).status_code == 200
    assert prefixed.get(f"{given}/static/js/main.js").status_code == 200


@pytest.mark.parametrize(
    ("address", "target"),
    [(PREFIX, f"{PREFIX}/"), (f"{PREFIX}/gradio", f"{PREFIX}/gradio/"), ("/gradio", f"{PREFIX}/gradio/")],
)
def test_redirects_keep_the_prefix_and_name_no_host(prefixed, address, target):
    answer = prefixed.get(address)
    assert (answer.status_code, answer.headers["location"]) == (307, target)


@pytest.mark.parametrize("address", ["/api/model/", "/some/prefixes", "/some/prefix/nothing"])
def test_what_is_not_there_is_a_problem_under_a_prefix_too(prefixed, address):
    answer = prefixed.get(address)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


def test_the_page_names_nothing_by_absolute_path(prefixed):
    html = prefixed.get(f"{PREFIX}/").text
    assert 'src="static/' in html
    assert 'href="/' not in html and 'src="/' not in html


def test_nobody_may_frame_the_page_unless_told(browser):
    assert "frame-ancestors 'none'" in browser.get("/").headers["Content-Security-Policy"]


def test_named_origins_may_frame_the_page_and_only_its_documents_consent(shared_service):
    hosting = Hosting(root_path=PREFIX, frame_ancestors="https://a.example https://*.b.example")
    browser = Browser(create_app(shared_service, hosting=hosting))
    for address, consent in [
        ("/", "cross-origin"),
        ("/api/model", "same-origin"),
        ("/static/styles.css", "same-origin"),
    ]:
        headers = browser.get(PREFIX + address).headers
        assert "frame-ancestors https://a.example https://*.b.example" in headers["Content-Security-Policy"]
        assert headers["Cross-Origin-Resource-Policy"] == consent, address


def test_where_a_proxy_isolates_the_server_sends_none_of_those_headers(shared_service):
    browser = Browser(create_app(shared_service, hosting=Hosting(isolation_headers=False)))
    headers = browser.get("/").headers
    assert not any(name in headers for name in ISOLATION)
    assert headers["X-Content-Type-Options"] == "nosniff"

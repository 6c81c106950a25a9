"""Requests that mean harm: paths out of the folders, headers that would change what others are served."""

import pytest
from demo_world import Browser, png

from demo.app import create_app
from demo.settings import Settings

PROBLEM = "application/problem+json"


@pytest.fixture(scope="module")
def local(shared_service) -> Browser:
    return Browser(create_app(shared_service, hosting=Settings().hosting))


@pytest.mark.parametrize(
    "path",
    [
        "..%2f..%2fpyproject.toml",
        "%2e%2e/%2e%2e/pyproject.toml",
        "....//....//pyproject.toml",
        "..%5c..%5cpyproject.toml",
        "js/..%2f..%2fpyproject.toml",
        "%2fetc%2fpasswd",
        "/etc/passwd",
        "gallery/%2e%2e/%2e%2e/pyproject.toml",
        "vendor/..%2f..%2f..%2fREADME.md",
        "js/main.js%00.png",
        "%00",
        "a" * 5000,
    ],
)
def test_no_path_leads_out_of_the_page(browser, path):
    answer = browser.get(f"/static/{path}")
    assert answer.status_code in (400, 404)
    assert answer.headers["content-type"] == PROBLEM and "root" not in answer.text and "[project]" not in answer.text


def test_no_link_leads_out_of_the_page(service, tmp_path):
    (tmp_path / "page").mkdir()
    (tmp_path / "secret.txt").write_text("a secret")
    (tmp_path / "page" / "link.txt").symlink_to(tmp_path / "secret.txt")
    answer = Browser(create_app(service, static=tmp_path / "page")).get("/static/link.txt")
    assert answer.status_code == 404


EVIL = "evil.example"
HEADERS = {
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Prefix": "/evil",
    "X-Forwarded-Port": "666",
    "X-Forwarded-Scheme": "https",
    "X-Original-URL": "/api/docs",
    "X-Rewrite-URL": "/api/docs",
    "X-HTTP-Method-Override": "DELETE",
    "Forwarded": f"host={EVIL};proto=https",
    "X-Host": EVIL,
    "Referer": f"https://{EVIL}/",
}


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize("address", ["/", "/api/openapi.json", "/static/js/main.js", "/gradio", "/nowhere"])
def test_no_header_of_a_visitor_changes_what_others_may_be_served(local, header, address):
    """A cache that keeps an answer by its address would serve it to everybody."""
    plain, poisoned = (
        local.get(address, headers={"Host": "localhost"} | extra) for extra in ({}, {header: HEADERS[header]})
    )
    assert (plain.status_code, plain.content) == (poisoned.status_code, poisoned.content)
    assert dict(plain.headers) == dict(poisoned.headers) and EVIL not in poisoned.text


def test_a_forwarded_host_is_refused_as_host_is(local):
    """Gradio makes addresses of it."""
    for value in (EVIL, f"localhost, {EVIL}", "localhost:8000@evil.example"):
        answer = local.get("/gradio/config", headers={"Host": "localhost", "X-Forwarded-Host": value})
        assert (answer.status_code, answer.headers["content-type"]) == (421, PROBLEM)
    assert local.get("/", headers={"Host": "localhost", "X-Forwarded-Host": "127.0.0.1:9"}).status_code != 421


def test_addresses_in_answers_name_no_host(local):
    reply = local.post("/api/images", content=png(seed=130), headers={"Host": "localhost"}).json()
    assert all(value.startswith("/api/") for name, value in reply.items() if name.endswith("_url"))


@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "PUT", "PATCH", "PROPFIND", "GET\t"])
def test_other_methods_do_nothing(browser, method):
    assert browser.request(method, "/api/images", content=b"x").status_code in (404, 405)


def test_what_is_repeated_in_a_refusal_is_no_markup(browser):
    """Problems are JSON that no browser takes for a page."""
    answer = browser.get("/api/images/<script>alert(1)</script>/events")
    assert answer.headers["content-type"] == PROBLEM and answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("address", ["/", "/api/docs", "/static/js/main.js"])
def test_no_page_runs_scripts_of_others_or_is_framed(browser, address):
    policy = browser.get(address).headers["content-security-policy"]
    for directive in ("default-src 'self'", "object-src 'none'", "base-uri 'none'", "frame-ancestors 'none'"):
        assert directive in policy
    assert "unsafe-inline" not in policy and "*" not in policy


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"a":' * 50_000, b'{"points": 1' + b"0" * 100_000 + b"}"])
def test_json_that_is_deep_or_long_is_refused_cheaply(browser, body):
    address = browser.upload(png(seed=131))["decode_url"]
    answer = browser.post(address, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422) and answer.headers["content-type"] == PROBLEM

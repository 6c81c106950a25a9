"""DNS rebinding and forged requests: only the server's own names are served, only its own pages change anything."""

import pytest
from demo_world import Browser, png
from hypothesis import given
from hypothesis import strategies as st

from demo.app import create_app
from demo.guard.hosting import Hosting, host_name
from demo.guard.origins import is_at
from demo.settings import Settings, parse_settings

PROBLEM = "application/problem+json"
LOCAL = Settings().hosting


@pytest.fixture(scope="module")
def local(shared_service) -> Browser:
    """The server as `python -m demo` starts it: for this machine only."""
    return Browser(create_app(shared_service, hosting=LOCAL))


def ask(browser: Browser, host: str, method: str = "GET", address: str = "/healthz", **headers: str):
    return browser.request(method, address, headers={"Host": host} | headers)


# ---- names


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8000", "localhost.", "127.0.0.1:8000", "[::1]:1", "[::1]"])
def test_this_machines_own_names_are_served(local, host):
    assert ask(local, host).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "rebound.example:8000",
        "localhost.example",
        "127.0.0.1.example:80",
        "10.0.0.5",
        "0.0.0.0:8000",
        "",
        "[::2]",
        "[::1",
    ],
)
@pytest.mark.parametrize("address", ["/", "/api/model", "/static/js/main.js", "/gradio/", "/nowhere"])
def test_a_name_that_somebody_else_made_up_is_not_served(local, host, address):
    answer = ask(local, host, address=address)
    assert (answer.status_code, answer.headers["content-type"]) == (421, PROBLEM)
    assert answer.json()["type"] == "/problems/other-host" and "--allowed-hosts" in answer.json()["detail"]
    assert "content-security-policy" in answer.headers


def test_named_hosts_are_served_beside_those_of_this_machine(shared_service):
    settings = parse_settings(["--allowed-hosts", "sam.example.org *.example.net"], {})
    browser = Browser(create_app(shared_service, hosting=settings.hosting))
    served = ("sam.example.org", "Sam.Example.Org:8443", "a.b.example.net", "localhost:8000")
    refused = ("example.org", "example.net", "xexample.net", "sam.example.org.example")
    assert {ask(browser, host).status_code for host in served} == {200}
    assert {ask(browser, host).status_code for host in refused} == {421}


@pytest.mark.parametrize(
    ("arguments", "environment", "served"),
    [
        (["--host", "127.0.0.7"], {}, False),
        (["--host", "::1"], {}, False),
        (["--host", "localhost"], {}, False),
        (["--host", "0.0.0.0"], {}, True),
        (["--host", "0.0.0.0", "--allowed-hosts", "mine.example"], {}, False),
        (["--host", "0.0.0.0"], {"SPACE_ID": "somebody/space"}, True),
        ([], {"SAM_DEMO_ALLOWED_HOSTS": "*"}, True),
    ],
)
def test_any_name_is_served_only_where_none_can_be_known(arguments, environment, served):
    assert parse_settings(arguments, environment).hosting.serves("any.example") is served


@pytest.mark.parametrize(("host", "asked"), [("127.0.0.7", "127.0.0.7:8000"), ("fd00::1", "[FD00::1]:8000")])
def test_the_address_that_it_is_bound_to_is_served(host, asked):
    assert Settings(host=host, allowed_hosts="mine.example").hosting.serves(asked)


@pytest.mark.parametrize("wrong", ["https://example.org", "example.org:80", "a b/c", "exa*ple.org"])
def test_what_is_no_host_is_refused_by_name(wrong):
    with pytest.raises(ValueError, match="allowed-hosts has"):
        parse_settings(["--allowed-hosts", wrong], {})


@given(st.text(max_size=40))
def test_no_header_host_breaks_its_reader(host):
    assert isinstance(LOCAL.serves(host), bool)
    assert host_name(host) == host_name(host).lower()


# ---- pages


@pytest.fixture
def upload(local):
    def send(browser: Browser = local, **headers: str) -> int:
        headers = {"Host": "127.0.0.1:8000"} | headers
        return browser.post("/api/images", content=png(seed=80), headers=headers).status_code

    return send


OWN = [
    {},
    {"Origin": "http://127.0.0.1:8000"},
    {"Origin": "http://127.0.0.1:8000", "Sec-Fetch-Site": "same-origin"},
    {"Sec-Fetch-Site": "none"},
    {"Origin": "http://behind-a-proxy.example", "Sec-Fetch-Site": "same-origin"},
]
FOREIGN = [
    {"Origin": "http://evil.example"},
    {"Origin": "http://127.0.0.1:9000"},
    {"Origin": "http://localhost:8000"},
    {"Origin": "https://127.0.0.1:8000.evil.example"},
    {"Origin": "null"},
    {"Origin": ""},
    {"Origin": "http://127.0.0.1:99999999"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Origin": "http://127.0.0.1:8000", "Sec-Fetch-Site": "cross-site"},
]


@pytest.mark.parametrize("headers", OWN, ids=str)
def test_programs_and_the_servers_own_pages_upload(upload, headers):
    assert upload(**headers) in (200, 201)


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
def test_pages_of_others_upload_nothing(upload, headers):
    assert upload(**headers) == 403


@pytest.mark.parametrize(
    ("method", "address"),
    [
        ("POST", "/gradio/gradio_api/upload"),
        ("POST", "/gradio/gradio_api/queue/join"),
        ("DELETE", "/api/searches/x"),
        ("POST", "/nowhere"),
    ],
)
def test_every_change_is_guarded_whatever_its_route(local, method, address):
    answer = ask(local, "localhost", method, address, Origin="http://evil.example")
    assert (answer.status_code, answer.headers["content-type"]) == (403, PROBLEM)
    assert answer.json()["type"] == "/problems/other-site"


@pytest.mark.parametrize("prefix", ["", "/sam"], ids=["stripped", "kept"])
def test_under_a_prefix_too(shared_service, upload, prefix):
    browser = Browser(create_app(shared_service, hosting=Hosting(root_path="/sam", hosts=())))
    for headers, status in [({"Host": "evil.example"}, 421), ({"Origin": "http://evil.example"}, 403)]:
        answer = browser.post(f"{prefix}/api/images", headers={"Host": "localhost"} | headers)
        assert answer.status_code == status


def test_behind_a_proxy_that_changes_host_the_named_host_is_the_servers_own(shared_service, upload):
    hosting = parse_settings(["--allowed-hosts", "sam.example.org"], {}).hosting
    browser = Browser(create_app(shared_service, hosting=hosting))
    assert upload(browser, Origin="https://sam.example.org") in (200, 201)
    assert upload(browser, Origin="https://sam.example.org:9000") == 403
    assert upload(browser, Origin="https://evil.example") == 403


@pytest.mark.parametrize(
    ("origin", "host", "same"),
    [
        ("https://a.example", "a.example", True),
        ("https://a.example", "a.example:443", True),
        ("http://a.example", "A.EXAMPLE:80", True),
        ("http://[::1]:8000", "[::1]:8000", True),
        ("https://a.example:8443", "a.example", False),
        ("file://a.example", "a.example", False),
        ("null", "null", False),
    ],
)
def test_a_page_is_of_the_server_when_host_and_port_agree(origin, host, same):
    assert is_at(origin, host) is same


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_no_part_of_another_sites_page_is_served_but_links_and_frames_are(local, site):
    """An image of theirs could cost an encode here; who may frame the page is another header's matter."""
    for mode, status in [("no-cors", 403), ("cors", 403), ("navigate", 200)]:
        headers = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": mode}
        assert ask(local, "localhost", **headers).status_code == status


def test_reading_across_sites_is_left_to_the_browser_which_is_told_no(local):
    answer = ask(local, "localhost", Origin="http://evil.example")
    assert answer.status_code == 200
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_gradio_lets_no_other_site_read_what_a_visitors_cookie_opens(shared_service):
    """On a public name it would name any origin in Access-Control-Allow-Origin, with credentials."""
    pytest.importorskip("gradio")
    from demo.gradio_app import mount_gradio

    browser = Browser(mount_gradio(create_app(shared_service), shared_service))
    answer = ask(browser, "sam.example.org", address="/gradio/config", Origin="https://evil.example")
    assert answer.status_code == 200
    assert not [name for name in answer.headers if name.startswith("access-control")]

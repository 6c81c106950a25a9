"""Metrics and logs: routes, statuses and seconds; never a picture's name, hash or content, nor a whole address."""

import asyncio
import io
import json
import logging
from collections.abc import AsyncIterator
from ipaddress import ip_network

import pytest
from demo_world import LIMITS, Browser, png
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from demo.app import create_app
from demo.guard.bodies import BodyPatience
from demo.guard.clients import client_of as address_of
from demo.guard.clients import read_networks
from demo.guard.hosting import Hosting
from demo.guard.rates import Rates
from demo.guard.safeguards import Safeguards
from demo.settings import parse_settings
from demo.watch import logs
from demo.watch.logs import JsonLines, network_of


@pytest.fixture
def scraped(shared_service):
    """A server, and what Prometheus reads of it."""
    everyone = read_networks("127.0.0.0/8", "metrics")
    browser = Browser(create_app(shared_service, safeguards=Safeguards(metrics=everyone)))

    def scrape() -> dict[tuple, float]:
        answer = browser.get("/metrics")
        assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/plain")
        families = text_string_to_metric_families(answer.text)
        return {
            (sample.name, *sorted(sample.labels.items())): sample.value for each in families for sample in each.samples
        }

    return browser, scrape


def test_requests_are_counted_by_route_and_status(scraped):
    browser, scrape = scraped
    picture = browser.upload(png(seed=120))
    browser.get(picture["embedding_url"])
    browser.get(f"/api/images/{'0' * 64}/picture")
    browser.post("/api/images", headers={"Sec-Fetch-Site": "cross-site"})
    for _ in range(3):
        browser.get("/nowhere")
    browser.get("/static/reference.css")
    requests = {
        (dict(key[1:])["method"], dict(key[1:])["route"], dict(key[1:])["status"]): value
        for key, value in scrape().items()
        if key[0] == "sam_demo_requests_total"
    }
    assert requests["POST", "/api/images", "201"] == 1
    assert requests["POST", "unknown", "403"] == 1, "refused before anybody looked for its route"
    assert requests["GET", "/api/embeddings/{image_id}/{weights_hash}/{precision}", "200"] == 1
    assert requests["GET", "/api/images/{image_id}/picture", "404"] == 1
    assert requests["GET", "unknown", "404"] == 3
    assert requests["GET", "/static", "200"] == 1


def test_refusals_are_counted_by_problem_wherever_they_come_from(shared_service):
    """Before the route is looked up (421, 403, 429) and after that (413, 408, 404), by names of our own alone."""
    safeguards = Safeguards(
        rates=Rates(searches=1),
        metrics=read_networks("127.0.0.0/8", "metrics"),
        bodies=BodyPatience(first_s=0.2),
    )
    browser = Browser(create_app(shared_service, hosting=Hosting(hosts=("demo.test",)), safeguards=safeguards))

    async def trickle() -> AsyncIterator[bytes]:
        yield b"half"
        await asyncio.sleep(60)

    for name in ("evil.example", "another.example"):
        assert browser.get("/", headers={"Host": name}).status_code == 421
    assert browser.post("/api/images", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    searches = [browser.post(f"/api/images/{seed:064}/everything", json={}).status_code for seed in range(4)]
    assert searches == [404, 429, 429, 429]
    assert browser.post("/api/images", content=bytes(LIMITS.max_bytes + 1)).status_code == 413
    assert browser.post("/api/images", content=trickle()).status_code == 408
    families = text_string_to_metric_families(browser.get("/metrics").text)
    refusals = {
        (sample.labels["problem"], sample.labels["route"]): sample.value
        for family in families
        for sample in family.samples
        if sample.name == "sam_demo_refusals_total"
    }
    assert refusals == {
        ("other-host", "unknown"): 2,
        ("other-site", "unknown"): 1,
        ("too-many-requests", "unknown"): 3,
        ("unknown-picture", "/api/images/{image_id}/everything"): 1,
        ("too-many-bytes", "/api/images"): 1,
        ("too-slow", "/api/images"): 1,
    }


def test_what_the_service_holds_is_told(scraped):
    browser, scrape = scraped
    browser.get(browser.upload(png(seed=121))["embedding_url"])
    figures = scrape()
    assert figures["sam_demo_cached_bytes",] > 1_000_000 and figures["sam_demo_cached_pictures",] >= 1
    assert figures["sam_demo_encodes_total",] >= 1 and figures["sam_demo_encode_seconds_total",] > 0
    assert figures["sam_demo_encode_queue",] >= 0 and figures["sam_demo_searches",] == 0
    assert any(key[0] == "sam_demo_request_seconds_bucket" for key in figures)


def test_no_picture_is_named_in_figures(scraped):
    browser, _ = scraped
    picture = browser.upload(png(seed=122))
    browser.get(picture["embedding_url"])
    assert picture["id"] not in browser.get("/metrics").text


@pytest.mark.parametrize(
    ("readers", "status"), [("", 404), ("10.0.0.0/8", 404), ("127.0.0.1", 200), ("10.0.0.0/8,127.0.0.0/8", 200)]
)
def test_figures_are_for_the_networks_that_are_named(shared_service, readers, status):
    safeguards = parse_settings(["--metrics", readers], {}).safeguards
    assert Browser(create_app(shared_service, safeguards=safeguards)).get("/metrics").status_code == status


@pytest.fixture
def lines(monkeypatch):
    """What is logged as JSON, line by line."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    requests = logging.getLogger("demo.requests")
    monkeypatch.setattr(requests, "handlers", [handler])
    monkeypatch.setattr(requests, "level", logging.INFO)
    requests.manager._clear_cache()
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    requests.manager._clear_cache()


def test_a_request_is_one_line_without_picture_name_or_address(shared_service, lines):
    browser = Browser(create_app(shared_service))
    picture = browser.upload(png(seed=123))
    browser.get(picture["embedding_url"] + "?name=holiday.jpg", headers={"Cookie": "sam_visitor=secret"})
    browser.get("/nowhere/holiday.jpg")
    told = lines()
    assert [(line["method"], line["route"], line["status"]) for line in told] == [
        ("POST", "/api/images", told[0]["status"]),
        ("GET", "/api/embeddings/{image_id}/{weights_hash}/{precision}", 200),
        ("GET", "unknown", 404),
    ]
    assert told[1]["sent_bytes"] > 1_000_000 and told[1]["seconds"] >= told[1]["first_s"] > 0
    assert {line["network"] for line in told} == {"127.0.0.0/24"}
    text = json.dumps(told)
    assert not any(secret in text for secret in (picture["id"], "holiday", "secret", "127.0.0.1"))


def test_an_encode_that_fails_is_logged_without_its_picture(service, caplog):
    service.model.encode = lambda pixels: 1 / 0
    browser = Browser(create_app(service))
    picture = browser.upload(png(seed=124))
    browser.get(picture["embedding_url"])
    assert "an encode failed" in caplog.text and picture["id"] not in caplog.text


@given(st.ip_addresses(v=4))
def test_a_network_hides_who_of_256_addresses_asked(address):
    network = ip_network(network_of(address_of({"client": (str(address), 1)})))
    assert network.prefixlen == 24 and address in network


@given(st.ip_addresses(network="2000::/3"))
def test_a_network_hides_which_subscriber_asked(address):
    network = ip_network(network_of(address_of({"client": (str(address), 1)})))
    assert network.prefixlen == 48 and address in network


def test_the_formats_are_text_and_json():
    assert parse_settings(["--log-format", "json"], {}).log_format == "json"
    with pytest.raises(ValueError, match="log-format is 'xml'"):
        parse_settings([], {"SAM_DEMO_LOG_FORMAT": "xml"})
    assert logs.FORMATS == ("text", "json")


def test_an_exception_is_one_line_too():
    try:
        1 / 0  # noqa: B018
    except ZeroDivisionError as error:
        record = logging.LogRecord("a", logging.ERROR, "", 1, "it %s", ("broke",), (type(error), error, None))
    line = JsonLines().format(record)
    assert "\n" not in line and json.loads(line)["message"] == "it broke"

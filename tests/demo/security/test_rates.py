"""Rate limits: nobody has more than a share a minute, nobody is held back by others, and memory is bounded."""

import re

import pytest
from demo_world import Browser, png
from hypothesis import given
from hypothesis import strategies as st

from demo.app import create_app
from demo.guard import rates
from demo.guard.hosting import Hosting
from demo.guard.rates import COSTLY, PUBLIC, UNLIMITED, Buckets, Rates, read_rates
from demo.guard.safeguards import Safeguards
from demo.settings import Settings, parse_settings


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@given(st.integers(1, 50), st.lists(st.floats(0, 40), max_size=80))
def test_in_any_minute_at_most_twice_the_rate_passes_and_waiting_as_told_helps(per_minute, pauses):
    clock = Clock()
    buckets, passed = Buckets(per_minute, clock), []
    for pause in pauses:
        clock.now += pause
        wait_s = buckets.take("somebody")
        if wait_s == 0:
            passed.append(clock.now)
        else:
            assert 0 < wait_s <= 60 / per_minute
            clock.now += wait_s * (1 + 1e-9)
            assert buckets.take("somebody") == 0
            passed.append(clock.now)
    for start in passed:
        assert sum(start <= moment < start + 60 for moment in passed) <= 2 * per_minute


@given(st.lists(st.sampled_from("abc"), max_size=60))
def test_each_client_has_a_bucket_of_its_own(asked):
    buckets = Buckets(10, Clock())
    passed = [client for client in asked if buckets.take(client) == 0]
    assert all(passed.count(client) == min(10, asked.count(client)) for client in "abc")


def test_clients_that_stay_away_are_forgotten_and_of_too_many_the_oldest(monkeypatch):
    monkeypatch.setattr(rates, "MOST_CLIENTS", 100)
    clock = Clock()
    buckets = Buckets(1, clock)
    for number in range(1000):
        buckets.take(str(number))
        assert len(buckets) <= 100
    assert buckets.take("999") > 0
    clock.now = 61
    buckets.take("somebody")
    assert len(buckets) == 1


def limited(service, **of) -> Browser:
    return Browser(create_app(service, safeguards=Safeguards(rates=Rates(**of))))


def test_the_one_too_many_is_told_when_to_come_back(shared_service):
    browser = limited(shared_service, uploads=2)
    for _ in range(2):
        browser.upload(png(seed=90))
    answer = browser.post("/api/images", content=png(seed=90))
    document = answer.json()
    assert (answer.status_code, document["type"]) == (429, "/problems/too-many-requests")
    assert int(answer.headers["retry-after"]) == document["retry_after_s"] in range(1, 31)
    assert document["limit"] == 2 and "content-security-policy" in answer.headers


def test_kinds_are_counted_apart_and_reading_is_free(shared_service):
    browser = limited(shared_service, uploads=1, searches=1)
    picture = browser.upload(png(seed=91))
    assert browser.post("/api/images", content=png(seed=91)).status_code == 429
    for _ in range(3):
        assert browser.get(picture["embedding_url"]).status_code == 200
        assert browser.post(picture["decode_url"], json={"points": [[1, 2]], "labels": [1]}).status_code == 200
    assert browser.post(picture["everything_url"], json={"points_per_side": 1}).status_code == 200
    assert browser.post(picture["everything_url"], json={"points_per_side": 1}).status_code == 429


def test_views_are_counted_however_they_are_asked_for(shared_service):
    browser = limited(shared_service, views=1)
    picture = browser.upload(png(300, 200, seed=94))
    assert browser.get(picture["views_url"].format(view="0,0,128,128")).status_code == 200
    assert browser.get(picture["embedding_url"] + "/128,64,128,128").status_code == 429
    assert browser.get(picture["embedding_url"]).status_code == 200


def test_a_refused_body_is_not_read(shared_service):
    browser = limited(shared_service, uploads=1)
    browser.upload(png(seed=92))

    async def body():
        raise AssertionError("the body was read")
        yield b""

    assert browser.post("/api/images", content=body()).status_code == 429


@pytest.mark.parametrize("prefix", ["", "/sam"], ids=["stripped", "kept"])
def test_a_prefix_is_no_way_round(shared_service, prefix):
    hosting, safeguards = Hosting(root_path="/sam"), Safeguards(rates=Rates(uploads=1))
    browser = Browser(create_app(shared_service, hosting=hosting, safeguards=safeguards))
    answers = [browser.post(f"{prefix}/api/images", content=png(seed=93)).status_code for _ in range(2)]
    assert answers[1] == 429


FREE = {
    "DELETE /api/searches/x",
    "GET /healthz",
    "GET /api/model",
    "GET /api/models",
    "GET /api/models/x",
    "GET /api/models/x/events",
    "GET /api/decoders/x",
    "GET /api/images/x/events",
    "GET /api/embeddings/x/x/x",
}
"""What ends work, tells of it, or is made once for each picture and model, in the turns of whoever asks first."""


def test_every_route_that_works_for_whoever_asks_is_counted(shared_service):
    """A new route is either in the table or a thing that costs nothing."""
    asked = [
        f"{method.upper()} {re.sub('{.*?}', 'x', path)}"
        for path, methods in create_app(shared_service).openapi()["paths"].items()
        for method in methods
    ]
    uncounted = {request for request in asked if not any(kind.fullmatch(request) for kind in COSTLY.values())}
    assert uncounted == FREE


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        ([], UNLIMITED),
        (["--host", "0.0.0.0"], PUBLIC),
        (["--trusted-proxies", "127.0.0.1"], PUBLIC),
        (["--host", "0.0.0.0", "--rate-limits", "off"], UNLIMITED),
        (["--rate-limits", "uploads=5, searches=1"], Rates(uploads=5, searches=1)),
    ],
)
def test_limits_hold_by_default_where_others_reach_the_server(arguments, wanted):
    assert parse_settings(arguments, {}).safeguards.rates == wanted


@pytest.mark.parametrize("wrong", ["uploads", "uploads=0", "uploads=-1", "hovers=3", "uploads=1e3", "on"])
def test_rates_that_are_none_are_refused_by_name(wrong):
    with pytest.raises(ValueError, match="rate-limits has"):
        Settings(rate_limits=wrong)


def test_rates_are_read_as_written():
    assert read_rates("") == UNLIMITED
    assert read_rates("prompts=7") == Rates(prompts=7)

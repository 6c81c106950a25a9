"""Clients are told apart by their address, which only a trusted proxy may name."""

import asyncio
from ipaddress import ip_address

import pytest
import uvicorn
from hypothesis import given
from hypothesis import strategies as st

from demo.__main__ import uvicorn_config
from demo.guard.clients import NOBODY, client_of, read_networks
from demo.settings import Settings, parse_settings


def client_seen(settings: Settings, peer: str, *forwarded: str) -> tuple[str, str]:
    """The client and the scheme that the application sees behind uvicorn's own reading of the headers."""
    seen = []

    async def app(scope, receive, send) -> None:
        seen.append((client_of(scope), scope["scheme"]))

    config = uvicorn_config(app, settings)
    config.load()
    headers = [(b"x-forwarded-for", value.encode()) for value in forwarded] + [(b"x-forwarded-proto", b"https")]
    scope = {"type": "http", "client": (peer, 1234), "scheme": "http", "headers": headers}
    asyncio.run(config.loaded_app(scope, None, None))
    return seen[0]


def test_without_a_trusted_proxy_nobody_chooses_an_address():
    assert client_seen(Settings(), "127.0.0.1", "203.0.113.9") == ("127.0.0.1", "http")


def test_a_trusted_proxy_names_the_client_and_the_scheme():
    settings = Settings(trusted_proxies="127.0.0.1, 10.0.0.0/8")
    assert client_seen(settings, "127.0.0.1", "203.0.113.9") == ("203.0.113.9", "https")


def test_addresses_that_the_client_made_up_itself_are_left_of_its_own():
    settings = Settings(trusted_proxies="10.0.0.0/8")
    assert client_seen(settings, "10.0.0.1", "198.51.100.1, 203.0.113.9", "10.7.7.7") == ("203.0.113.9", "https")
    assert client_seen(settings, "192.0.2.5", "203.0.113.9") == ("192.0.2.5", "http")


def test_a_trusted_proxy_that_passes_on_nonsense_names_nobody():
    settings = Settings(trusted_proxies="10.0.0.0/8")
    assert client_seen(settings, "10.0.0.1", "x" * 8000)[0] == NOBODY


@given(st.ip_addresses(network="2000::/3"), st.integers(0, 2**64 - 1))
def test_ipv6_addresses_of_one_subscriber_are_one_client(address, own):
    sibling = ip_address(int(address) >> 64 << 64 | own)
    assert client_of({"client": (str(address), 1)}) == client_of({"client": (str(sibling), 2)})


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_is_one_client_however_it_is_written(address):
    mapped = f"::ffff:{address}"
    assert client_of({"client": (mapped, 1)}) == client_of({"client": (str(address), 2)}) == str(address)


@pytest.mark.parametrize("scope", [{}, {"client": None}, {"client": ("", 0)}, {"client": ("test", 1)}])
def test_a_connection_without_an_address_is_nobodys(scope):
    assert client_of(scope) == NOBODY


@pytest.mark.parametrize("wrong", ["somewhere", "10.0.0.1/8", "10.0.0.0/40", "*"])
def test_what_is_no_network_is_refused_by_name(wrong):
    with pytest.raises(ValueError, match=r"trusted-proxies.*networks look like"):
        parse_settings(["--trusted-proxies", f"127.0.0.1,{wrong}"], {})


def test_networks_are_separated_by_commas_or_spaces():
    assert [str(network) for network in read_networks("127.0.0.1, 10.0.0.0/8 ::1", "x")] == [
        "127.0.0.1/32",
        "10.0.0.0/8",
        "::1/128",
    ]


def test_uvicorns_own_variable_does_not_widen_the_trust(monkeypatch):
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "*")
    assert client_seen(Settings(), "127.0.0.1", "203.0.113.9")[0] == "127.0.0.1"
    assert isinstance(uvicorn_config(None, Settings()), uvicorn.Config)

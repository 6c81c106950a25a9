"""Who asks: clients told apart by their address, as fair lines and rate limits need it.

The address is the connection's. Behind proxies that `--trusted-proxies` names, uvicorn puts in its place the last one
in X-Forwarded-For that is none of theirs; a header that anybody could send is not asked otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from starlette.types import Scope

Network = IPv4Network | IPv6Network
NOBODY = "unknown"
"""The client of a connection without an address, as over a Unix socket."""
_IPV6_PREFIX = 64  # what one subscriber is given; the rest of the address is theirs to choose


def client_of(scope: Scope) -> str:
    """The client of a request: an IPv4 address, or the network of an IPv6 address, "2001:db8::/64"."""
    host = (scope.get("client") or (None,))[0]
    try:
        address = ip_address(host)
    except ValueError:
        return NOBODY
    if isinstance(address, IPv6Address):
        address = address.ipv4_mapped or ip_network((int(address), _IPV6_PREFIX), strict=False)
    return str(address)


def is_within(scope: Scope, networks: Iterable[Network]) -> bool:
    """Whether a request comes from an address of one of the networks."""
    client = client_of(scope)
    if client == NOBODY:
        return False
    address = ip_address(scope["client"][0])
    address = getattr(address, "ipv4_mapped", None) or address
    return any(address in network for network in networks)


def read_networks(text: str, name: str) -> tuple[Network, ...]:
    """Addresses and networks separated by commas or spaces; ValueError names the setting and the one that is none."""
    try:
        return tuple(ip_network(part) for part in text.replace(",", " ").split())
    except ValueError as error:
        raise ValueError(f"{name}: {error}; networks look like 127.0.0.1, 10.0.0.0/8 or fd00::/8") from None

"""Clients that hold the server up, over raw sockets: each is ended, others are served meanwhile, nothing is kept.

The server's time passes as the tests let it: a quarter of its patience at a stroke, or hours.
"""

import select
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import ClassVar

import httpx
import pytest
from demo_world import Clock, DecoderGate, png, serving, wait_until

from demo.app import create_app
from demo.gradio_app import mount_gradio
from demo.guard.bodies import BodyPatience
from demo.guard.connections import LONGEST_HEAD, Connection, Patience
from demo.guard.safeguards import Safeguards

HEAD = b"POST /api/images HTTP/1.1\r\nHost: localhost\r\nContent-Length: 200000\r\n\r\n"
PATIENCE_S = 1000
"""So long that no machine is so slow."""
BYTES_PER_S = 50


class Watched(Connection):
    """With less of an answer in the kernel's buffers, where it costs the server nothing."""

    patience = Patience(head_s=PATIENCE_S, stall_s=PATIENCE_S)
    blocked: ClassVar[set[int]] = set()
    lost: ClassVar[set[int]] = set()
    """Ports of clients that do not read what is written, and of those whose connection ended."""

    def connection_made(self, transport) -> None:
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
        super().connection_made(transport)

    def pause_writing(self) -> None:
        super().pause_writing()
        self.blocked.add(self.client[1])

    def connection_lost(self, error) -> None:
        self.lost.add(self.client[1])
        super().connection_lost(error)


@pytest.fixture(scope="module")
def clock() -> Clock:
    """The server's."""
    return Clock()


@pytest.fixture(scope="module")
def server(shared_service, clock) -> Iterator[str]:
    safeguards = Safeguards(bodies=BodyPatience(first_s=PATIENCE_S, least_bytes_per_s=BYTES_PER_S))
    app = mount_gradio(create_app(shared_service, safeguards=safeguards), shared_service)
    with serving(app, lent=True, http=Watched, loop=lambda: clock) as address:
        yield address


@pytest.fixture(autouse=True)
def ports_come_again() -> None:
    """A port may have been another client's before."""
    Watched.blocked.clear()
    Watched.lost.clear()


@contextmanager
def connected(address: str, receive_buffer: int = 0):
    host, _, port = address.removeprefix("http://").partition(":")
    with socket.socket() as client:
        if receive_buffer:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        client.settimeout(120)
        client.connect((host, int(port)))
        yield client


def rest_of(client: socket.socket) -> bytes:
    """What the server still says before it ends the connection."""
    parts = []
    with suppress(ConnectionError):
        while part := client.recv(65536):
            parts.append(part)
    return b"".join(parts)


def end_of(client: socket.socket, clock: Clock, trickling: bytes = b"x") -> bytes:
    """What the server says until it ends the connection of a client that sends so much in a quarter of its patience."""
    said = b""
    with suppress(ConnectionError):
        for _ in range(1000):
            client.sendall(trickling)
            clock.let_pass(PATIENCE_S / 4)
            if select.select([client], [], [], 0.01)[0]:
                part = client.recv(65536)
                said += part
                if not part:
                    return said
        raise AssertionError(f"the connection goes on after {said!r}")
    return said + rest_of(client)


def test_a_connection_that_says_nothing_is_ended(server, clock):
    with connected(server) as client:
        assert end_of(client, clock, trickling=b"") == b""


def test_a_head_that_trickles_in_is_ended(server, clock):
    with connected(server) as client:
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
        assert end_of(client, clock) == b""


def test_a_second_head_on_the_same_connection_may_not_trickle_either(server, clock):
    with connected(server) as client:
        client.sendall(b"GET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n")
        said = b""
        while b'"Not Found"}' not in said:
            part = client.recv(65536)
            assert part, said
            said += part
        assert end_of(client, clock) == b""


FORM = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'


@pytest.mark.parametrize("path", [b"/api/images", b"/gradio/gradio_api/upload", b"/gradio/gradio_api/queue/join"])
def test_a_body_that_trickles_in_is_refused_with_a_problem_and_the_connection_ended(server, clock, path):
    with connected(server) as client:
        form = b"Content-Type: multipart/form-data; boundary=x\r\n\r\n" + FORM
        client.sendall(HEAD.replace(b"/api/images", path)[:-2] + (form if b"upload" in path else b"\r\n"))
        said = end_of(client, clock)
        assert (
            said.startswith(b"HTTP/1.1 408") and b"/problems/too-slow" in said and b"connection: close" in said.lower()
        )


def test_a_body_that_stops_is_refused_too(server, clock):
    with connected(server) as client:
        client.sendall(HEAD + b"x" * 1000)
        assert end_of(client, clock, trickling=b"").startswith(b"HTTP/1.1 408")


def test_an_answer_that_is_read_slowly_arrives(server, clock):
    """Many times as long as a reader who stops is waited for."""
    with httpx.Client(base_url=server) as browser:
        picture = browser.post("/api/images", content=png(seed=113)).json()
        length = len(browser.get(picture["embedding_url"], headers={"Accept-Encoding": "identity"}).content)
    with connected(server, receive_buffer=4096) as client:
        client.sendall(f"GET {picture['embedding_url']} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        wait_until(lambda: client.getsockname()[1] in Watched.blocked)
        received = read_since = 0
        while received < length:
            part = client.recv(65536)
            assert part, f"ended after {received} of {length} bytes"
            received, read_since = received + len(part), read_since + len(part)
            if read_since > 2 * (Watched.patience.least_bytes + 65536):  # some of it had been sent long before
                clock.let_pass(PATIENCE_S)
                read_since = 0


def test_a_body_that_is_slow_but_arrives_is_read(server, clock):
    """Later than the server waits for a first byte, but never slower than it has to be."""
    data = png(800, 600, seed=110)
    head = HEAD.replace(b"200000", str(len(data)).encode())
    assert 0.9 * len(data) / BYTES_PER_S > 1.5 * PATIENCE_S
    with connected(server) as client:
        client.sendall(head)
        for start in range(0, len(data), 5000):
            client.sendall(data[start : start + 5000])
            clock.let_pass(0.9 * 5000 / BYTES_PER_S)
        assert client.recv(20).startswith(b"HTTP/1.1 20")


def test_a_refused_body_that_goes_on_trickling_is_ended(server, clock):
    with connected(server) as client:
        client.sendall(HEAD.replace(b"200000", b"900000000"))
        assert client.recv(20).startswith(b"HTTP/1.1 413")
        end_of(client, clock)


def test_an_answer_that_nobody_reads_is_dropped_with_its_connection(server, clock):
    with httpx.Client(base_url=server) as browser:
        picture = browser.post("/api/images", content=png(seed=111)).json()
        browser.get(picture["embedding_url"])
    with connected(server, receive_buffer=4096) as client:
        fp32 = picture["embedding_url"].replace("fp16", "fp32")
        client.sendall(f"GET {fp32} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        wait_until(lambda: client.getsockname()[1] in Watched.blocked)
        clock.let_pass(PATIENCE_S)
        wait_until(lambda: client.getsockname()[1] in Watched.lost)
        assert len(rest_of(client)) < 4_000_000, "the whole embedding"


def test_a_search_ends_when_its_reader_is_gone(server, shared_service, monkeypatch):
    gate = DecoderGate(monkeypatch, let_through=0)
    with httpx.Client(base_url=server) as browser:
        picture = browser.post("/api/images", content=png(seed=112)).json()
        browser.get(picture["embedding_url"])
    with connected(server) as client:
        body = b'{"points_per_side": 64, "pred_iou_thresh": 0, "stability_score_thresh": 0}'
        head = f"POST {picture['everything_url']} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
        client.sendall(head.encode() + b"Content-Type: application/json\r\n\r\n" + body)
        wait_until(lambda: shared_service.health().searches == 1)
    wait_until(lambda: shared_service.health().searches == 0)
    gate.open()


def test_a_head_that_is_too_long_is_refused(server):
    with connected(server) as client:
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Long: " + b"x" * (LONGEST_HEAD + 70_000))
        assert rest_of(client).startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize(
    "head",
    [
        b"GET /healthz HTTP/1.1\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
def test_heads_that_two_servers_might_read_differently_are_refused(server, head):
    with connected(server) as client:
        client.sendall(head)
        assert rest_of(client)[:12] in (b"HTTP/1.1 400", b"")


def test_others_are_served_while_a_hundred_connections_hang(server):
    clients = []
    try:
        for _ in range(100):
            host, _, port = server.removeprefix("http://").partition(":")
            clients.append(socket.create_connection((host, int(port))))
            clients[-1].sendall(HEAD + b"x" * 100)
        assert httpx.get(f"{server}/healthz").status_code == 200
    finally:
        for client in clients:
            client.close()

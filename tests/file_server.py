"""A real HTTP server on this machine that serves one file, as servers should and as they should not."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Answer = Callable[[BaseHTTPRequestHandler, bytes], None]


@dataclass
class FileServer:
    """`answers` are given in turn, the last one for ever; `asked` holds the Range and If-Range of every request."""

    content: bytes
    answers: list[Answer] = field(default_factory=list)
    asked: list[tuple[str | None, str | None]] = field(default_factory=list)
    address: str = ""

    def take(self) -> Answer:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@contextmanager
def file_server(content: bytes, *answers: Answer) -> Iterator[FileServer]:
    """A server at `address` that answers so."""
    state = FileServer(content, list(answers))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.asked.append((self.headers["Range"], self.headers["If-Range"]))
            if self.path.startswith("/moved/"):
                return redirected(self, state.content)
            state.take()(self, state.content)

        def log_message(self, *words: object) -> None:
            """Nobody reads it."""

    class Quiet(ThreadingHTTPServer):
        def handle_error(self, request: object, client_address: object) -> None:
            """A client that hangs up is what some tests do."""

    server = Quiet(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    state.address = f"http://127.0.0.1:{server.server_port}/weights.pth"
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


# --- answers ---------------------------------------------------------------------------------------------------------


def ranges(etag: str | None = '"one"', *, send: int | None = None, headers: dict[str, str] | None = None) -> Answer:
    """As a good server does: parts where they are asked for, of this version. send: break off after so many bytes."""

    def answer(request: BaseHTTPRequestHandler, content: bytes) -> None:
        first = wanted(request, etag)
        if first is not None and first >= len(content):
            return reply(request, 416, b"", {"Content-Range": f"bytes */{len(content)}"})
        given = {**(headers or {}), **({"ETag": etag} if etag else {})}
        if first is not None:
            given["Content-Range"] = f"bytes {first}-{len(content) - 1}/{len(content)}"
        body = content[first or 0 :]
        reply(request, 200 if first is None else 206, body if send is None else body[:send], given, len(body))

    return answer


def whole(*, send: int | None = None, announce: int | None = None, etag: str | None = None) -> Answer:
    """A server that knows no ranges. announce: the length that it claims."""

    def answer(request: BaseHTTPRequestHandler, content: bytes) -> None:
        body = content if send is None else content[:send]
        reply(request, 200, body, {"ETag": etag} if etag else {}, len(content) if announce is None else announce)

    return answer


def another(content: bytes, etag: str) -> Answer:
    """The same address with another file, served well."""
    return lambda request, _: ranges(etag)(request, content)


def wrong_part(request: BaseHTTPRequestHandler, content: bytes) -> None:
    """A part that was not asked for."""
    reply(request, 206, content[1:], {"Content-Range": f"bytes 1-{len(content) - 1}/{len(content)}", "ETag": '"one"'})


def status(number: int) -> Answer:
    """Nothing but this."""
    return lambda request, _: reply(request, number, b"no", {})


def page(request: BaseHTTPRequestHandler, _: bytes) -> None:
    """What a hotel's network answers to everything."""
    reply(request, 200, b"<html>log in</html>", {"Content-Type": "text/html; charset=utf-8"})


def redirected(request: BaseHTTPRequestHandler, _: bytes) -> None:
    """To the same file elsewhere."""
    reply(request, 302, b"", {"Location": request.path.replace("/moved", "")})


def wanted(request: BaseHTTPRequestHandler, etag: str | None) -> int | None:
    """The first byte that is asked for, None for the whole file."""
    found = re.fullmatch(r"bytes=(\d+)-", request.headers["Range"] or "")
    condition = request.headers["If-Range"]
    return int(found[1]) if found and condition in (None, etag) else None


def reply(
    request: BaseHTTPRequestHandler, number: int, body: bytes, headers: dict[str, str], length: int | None = None
) -> None:
    request.send_response(number)
    for name, value in headers.items():
        request.send_header(name, value)
    request.send_header("Content-Length", str(len(body) if length is None else length))
    request.end_headers()
    request.wfile.write(body)
    request.close_connection = True

"""How long files and cached embeddings take while the crowd is there, measured from a process of its own.

In the crowd's process a request would wait for two hundred others that are not the server's fault.
"""

from __future__ import annotations

import http.client
import multiprocessing
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from multiprocessing.connection import Connection
from urllib.parse import urlsplit

from demo.bench.crowd.visitor import said_to_come_from

INTERVAL_S = 0.1
NUMBER = 1 << 20
"""Of the first address that it comes from; each request has another, so that no limit of requests is met."""
Times = dict[str, list[float]]


@contextmanager
def probing(server: str, paths: Mapping[str, str]) -> Iterator[Times]:
    """Milliseconds by name of what was asked, there once the context is left."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=probe, args=(server, dict(paths), there), daemon=True)
    process.start()
    times: Times = {}
    try:
        yield times
    finally:
        here.send("stop")
        times |= here.recv() if here.poll(30) else {}
        process.join(30)


def probe(server: str, paths: Mapping[str, str], stop: Connection) -> None:
    """Ask for one path after the other, one request at a time on one connection, until told to stop."""
    connection = http.client.HTTPConnection(urlsplit(server).netloc, timeout=60)
    times, number = defaultdict(list), NUMBER
    while not stop.poll(INTERVAL_S):
        number += 1
        name, path = list(paths.items())[number % len(paths)]
        started = time.perf_counter()
        try:
            connection.request("GET", path, headers={"Accept-Encoding": "br, zstd, gzip", **said_to_come_from(number)})
            response = connection.getresponse()
            response.read()
        except OSError:
            connection.close()
            continue
        if response.status == 200:
            times[name].append((time.perf_counter() - started) * 1000)
    stop.send(dict(times))

"""`python held_server.py GATE SECONDS [--OPTION ...]`: the demo, whose encodes wait until the file GATE is there.

Each is believed to take so many seconds, takes none, and finds always the same. All the time something runs that nobody
waits for.
"""

import sys
import time
from functools import partial
from pathlib import Path

import numpy as np

from demo.__main__ import load, serve
from demo.app import create_app


def build(gate: Path, seconds: float, settings):
    service = load(settings)
    embedding = service.model.encode(np.zeros((48, 64, 3), np.uint8))

    def encode(pixels):
        while not gate.exists():
            time.sleep(0.02)
        return embedding

    service.model.encode, service.model.times.first_s = encode, seconds
    service.warm_up = lambda: service._tracing.submit(time.sleep, 3600)
    return create_app(service, hosting=settings.hosting, safeguards=settings.safeguards)


if __name__ == "__main__":
    gate, seconds, *options = sys.argv[1:]
    sys.exit(serve(options, partial(build, Path(gate), float(seconds))))

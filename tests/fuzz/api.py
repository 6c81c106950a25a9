"""Fuzz the HTTP API against its own OpenAPI document: what is sent may break it, what comes back must follow it.

    python -m tests.fuzz.api --examples 300      so many requests of each route (`pip install ".[fuzz]"`)

The service is the real one over a small model; half of the requests name a picture that is there.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections import Counter
from collections.abc import Sequence

import numpy as np
import schemathesis
import torch
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase, given, settings
from PIL import Image
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from starlette.testclient import TestClient

from demo.app import create_app
from demo.pictures import PictureLimits
from demo.service import DemoService, LoadedModel
from sam import SAM

CHECKS = (
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
)


def picture() -> bytes:
    """A small picture file."""
    pixels = np.random.default_rng(0).integers(0, 255, (24, 32, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def fuzz(app: FastAPI, examples: int) -> Counter[tuple[str, int]]:
    """Send `examples` requests to each operation; answers by operation and status. Raises what breaks a rule."""
    client = TestClient(app)
    known = client.post("/api/images", content=picture()).raise_for_status().json()
    client.get(known["embedding_url"]).raise_for_status()
    real = {"image_id": known["id"], "weights_hash": known["model"]["weights_hash"], "model_id": known["model"]["id"]}
    schema, seen = schemathesis.openapi.from_asgi("/api/openapi.json", app), Counter()
    for result in schema.get_all_operations():
        _fuzz_operation(result.ok(), real, seen, examples)
    return seen


def _fuzz_operation(operation, real: dict[str, str], seen: Counter[tuple[str, int]], examples: int) -> None:
    how = {"deadline": None, "database": None, "phases": [Phase.generate], "suppress_health_check": list(HealthCheck)}

    @settings(max_examples=examples, **how)
    @given(case=operation.as_strategy())
    def ask(case) -> None:
        if seen.total() % 2:
            case.path_parameters |= {name: real[name] for name in case.path_parameters if name in real}
        response = case.call(timeout=300)
        seen[operation.label, response.status_code] += 1
        case.validate_response(response, checks=CHECKS)

    ask()


def application() -> FastAPI:
    """The app over a service of its own: the tiny variant with random weights."""
    torch.manual_seed(0)
    model = SAM.from_variant("tiny").eval()
    return create_app(DemoService(LoadedModel(model), limits=PictureLimits(max_bytes=300_000, max_pixels=1_000_000)))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.api", description=__doc__.split("\n")[0])
    parser.add_argument("--examples", type=int, default=300, help="requests of each route (default 300)")
    options = parser.parse_args(arguments)
    seen = fuzz(application(), options.examples)
    for (label, status), count in sorted(seen.items()):
        print(f"{count:6} {status} {label}")
    print(f"{sum(seen.values()):6} requests, all answered as documented")
    return 0


if __name__ == "__main__":
    sys.exit(main())

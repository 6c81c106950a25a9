"""The API answers as its OpenAPI document says, whatever it is asked; `python -m tests.fuzz.api` asks for longer."""

import pytest

pytest.importorskip("schemathesis")
from tests.fuzz.api import application, fuzz


def test_every_route_answers_as_documented():
    app = application()
    try:
        seen = fuzz(app, examples=3)
    finally:
        app.state.service.close()
    assert len({label for label, _ in seen}) >= 15
    assert any(status < 300 for _, status in seen) and any(status == 404 for _, status in seen)
